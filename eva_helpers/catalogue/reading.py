"""Reading what a catalogue lists: backgrounds, cut-outs and true pairs as arrays."""

from pathlib import Path

import cv2
import numpy as np

from eva_helpers.catalogue.catalogue import Camera, Catalogue, Cutout, DepthEncoding, Pair, Scene
from eva_helpers.files import InputError
from eva_helpers.images import read_map, read_rgb, read_rgba, resize, size_text


def decode_depth(
    code: np.ndarray, encoding: DepthEncoding, z_near: float, unit: float = 1.0
) -> np.ndarray:
    """Decode stored depth, uint16 (H, W), to inverse depth, float32 (H, W) in [0, 1], near = 1.

    `{"kind": "log", "near": a, "step": s}`: z = a * exp(s * (v - 1)) metres, v = 0 infinitely far;
    `{"kind": "inverse"}`: v / 65535 is z_near / z already. `unit` is the Camera's, for metres.

    Raises InputError if the kind of encoding is unknown.
    """
    if encoding["kind"] == "inverse":
        return code.astype(np.float32) / 65535.0
    if encoding["kind"] != "log":
        kind = encoding["kind"]
        raise InputError(f"depth encoding {kind!r} is unknown: expected 'log' or 'inverse'.")
    nearest = z_near / (unit * encoding["near"])
    inverse = nearest * np.exp(-encoding["step"] * (code.astype(np.float32) - 1.0))
    return np.where(code == 0, 0.0, np.minimum(inverse, 1.0)).astype(np.float32)


def same_size(what: object, array: np.ndarray, whose: str, picture: np.ndarray) -> None:
    """Raise InputError unless both arrays (H, W[, C]) have the same height and width."""
    if array.shape[:2] != picture.shape[:2]:
        sizes = f"{what} is {size_text(array)}, but {whose} {size_text(picture)}"
        raise InputError(f"{sizes}: they must match.")


def _read_depth(catalogue: Catalogue, path: Path, camera: Camera | None) -> np.ndarray:
    unit = camera.unit if camera else 1.0
    return decode_depth(read_map(path), catalogue.depth_encoding, catalogue.z_near, unit)


def read_background(
    catalogue: Catalogue, scene: Scene, size: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Camera | None]:
    """A scene as background, depth, ground and camera.

    These are uint8 (H, W, 3); float32 (H, W) in [0, 1], 0 if unlabelled; bool (H, W). `size`
    resamples to (size, size) by area, so that a thin distant branch fades instead of flickering.

    Raises InputError if depth or ground differ in size from the picture.
    """
    background = read_rgb(scene.image)
    height, width = background.shape[:2]
    camera = scene.camera(width, size)
    depth = np.zeros((height, width), np.float32)
    if scene.depth:
        depth = _read_depth(catalogue, scene.depth, camera)
    ground = read_map(scene.ground) > 127 if scene.ground else np.zeros((height, width), bool)
    same_size(scene.depth, depth, scene.image.name, background)
    same_size(scene.ground, ground, scene.image.name, background)
    if size is not None:
        background, depth = (resize(array, (size, size)) for array in (background, depth))
        nearest = cv2.resize(ground.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
        ground = nearest > 0
    return background, depth, ground, camera


def read_cutout(catalogue: Catalogue, cutout: Cutout) -> tuple[np.ndarray, np.ndarray]:
    """A cut-out as `rgba` uint8 (h, w, 4) and `relief` float32 (h, w).

    The relief is in metres behind (+) or in front of (-) the contact point. Raises InputError if
    its size is not that of the picture.
    """
    rgba = read_rgba(cutout.image)
    if cutout.relief is None:
        return rgba, np.zeros(rgba.shape[:2], np.float32)
    code = read_map(cutout.relief)
    same_size(cutout.relief, code, cutout.image.name, rgba)
    encoding = catalogue.relief_encoding
    assert encoding is not None  # a Catalogue with reliefs has one
    return rgba, (code.astype(np.float32) - encoding["zero"]) * encoding["step"]


def read_pair(catalogue: Catalogue, pair: Pair, size: int | None = None) -> dict[str, np.ndarray]:
    """A true pair: `background`, `image` uint8 (H, W, 3); `mask`, `depth` float32 (H, W) in [0, 1].

    `size` resamples to (size, size). Raises InputError if the view is not in the catalogue, or if
    image, maps and view do not fit.
    """
    scene = next((scene for scene in catalogue.scenes if scene.id == pair.scene), None)
    if scene is None:
        where = f"{catalogue.folder}/catalogue.json: pair {pair.id}"
        raise InputError(f"{where} names view {pair.scene}, which is not there: restore it.")
    background, depth, _, camera = read_background(catalogue, scene)
    part = {
        "image": read_rgb(pair.image),
        "mask": read_map(pair.mask).astype(np.float32) / 255,
        "depth": _read_depth(catalogue, pair.depth, camera),
    }
    height, width = part["image"].shape[:2]
    top = pair.top or 0
    left = pair.left or 0
    place = (slice(top, top + height), slice(left, left + width))
    must_fill = pair.top is None or pair.left is None
    shape = background.shape if must_fill else background[place].shape
    if part["image"].shape != shape:
        sizes = f"its image is {size_text(part['image'])}, its view {size_text(background)}"
        expected = f"it must fill it, or lie inside it at row {top}, column {left}"
        raise InputError(f"pair {pair.id}: {sizes}: {expected}.")
    whole = {"image": background.copy(), "mask": np.zeros_like(depth), "depth": depth}
    for name, array in part.items():
        same_size(f"pair {pair.id}: its {name}", array, "its image", part["image"])
        whole[name][place] = array
    sample = {"background": background} | whole
    return {name: resize(array, (size, size)) for name, array in sample.items()} if size else sample
