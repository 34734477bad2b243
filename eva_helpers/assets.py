"""Where the park, the weights and the run folders are, and reading a scene catalogue from a folder.

A *catalogue* is a folder with a `catalogue.json`: backgrounds with depth, cut-outs, and a fixed split of both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from eva_helpers.images import InputError, read_map, read_rgb, read_rgba

ROOT = Path(os.environ.get("EVA_ROOT", Path(__file__).resolve().parent.parent))
PARK = ROOT / "assets" / "park"
WEIGHTS = ROOT / "assets" / "weights" / "small.safetensors"
DRIVE = Path("/content/drive")  # where Colab mounts Google Drive
GALLERY = ROOT / "assets" / "gallery"
SPLITS = ("train", "validation", "test")
FOCAL, HEIGHT = 0.8, 1.4  # of the standard camera: focal length / picture width, metres above the ground (about the park's medians)


@dataclass(frozen=True)
class Camera:
    """How metres become pixels and depth in one picture: a metre at distance z is `focal` / z pixels high and `unit` long in depth.

    Distances are those of the *standard camera*. A picture does not tell how long its lens was and how high it was held: a camera at
    half the height takes the same picture of the ground at half the distance. So labels that depend on both could only be learnt
    by heart. As the labels are (Yin et al., 2023, do it for the focal length), z = z_metres * FOCAL * HEIGHT / (focal length / width *
    camera height), which the horizon and the ground tell; `effects.metres` goes back.
    """

    focal: float
    unit: float = 1.0


@dataclass(frozen=True)
class Scene:
    """One background: a view of an empty scene. `focal` is in pixels of the stored picture; `scene` names what views share.

    `camera_height` is in metres. Without `depth` it can train masks only.
    """

    id: str
    scene: str
    split: str
    image: Path
    depth: Path | None
    ground: Path | None = None
    focal: float | None = None
    camera_height: float | None = None
    info: dict = field(default_factory=dict, compare=False)

    def camera(self, width: int, size: int | None = None) -> Camera | None:
        """Of the stored picture, `width` px wide, or of a copy that is `size` px wide; None where the focal length is unknown."""
        if not self.focal:
            return None
        unit = FOCAL * width / self.focal * (HEIGHT / self.camera_height if self.camera_height else 1.0)
        return Camera(self.focal * unit * (size or width) / width, unit)


@dataclass(frozen=True)
class Cutout:
    """One object on transparent ground. `contact` is (row, column) of the point that touches the floor."""

    id: str
    object: str
    split: str
    image: Path
    relief: Path | None = None
    metres_per_pixel: float | None = None
    contact: tuple[float, float] | None = None
    info: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Pair:
    """A true pair: the view `scene` with object `object` really in it; mask and depth are exact.

    The files show the whole view, or the part of it that begins at row `top` and column `left`; around that, it is as it was.
    """

    id: str
    scene: str
    object: str
    split: str
    image: Path
    mask: Path
    depth: Path
    top: int | None = None
    left: int | None = None
    info: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Catalogue:
    """Backgrounds, cut-outs and true pairs of one folder; `z_near`, in metres before the standard camera, is depth 1.0."""

    folder: Path
    name: str
    z_near: float
    depth_encoding: dict
    relief_encoding: dict
    scenes: tuple[Scene, ...]
    cutouts: tuple[Cutout, ...]
    pairs: tuple[Pair, ...] = ()

    def backgrounds(self, split: str | None = None) -> list[Scene]:
        """Scenes of one split ("train", "validation", "test"), or all of them with None; views that only true pairs use are left out."""
        return _of_split(tuple(scene for scene in self.scenes if scene.split in SPLITS), split, f"{self.folder}: no background")

    def objects(self, split: str | None = None) -> list[Cutout]:
        """Cut-outs of one split, or all with None."""
        return _of_split(self.cutouts, split, f"{self.folder}: no cut-out")

    def true_pairs(self, split: str) -> list[Pair]:
        """True pairs of one split: of its views and its objects. Many catalogues have none."""
        return [pair for pair in self.pairs if pair.split == split]


def _of_split(items: tuple, split: str | None, missing: str) -> list:
    if split is not None and split not in SPLITS:
        raise InputError(f"split {split!r} is unknown: it is one of {', '.join(SPLITS)}, or None for all.")
    chosen = [item for item in items if split in (None, item.split)]
    if not chosen:
        raise InputError(f"{missing} in split {split!r}: the catalogue is too small or its split is wrong.")
    return chosen


def load_catalogue(folder: str | os.PathLike = PARK) -> Catalogue:
    """Read `folder/catalogue.json`.

    Raises:
        InputError: the file is missing or damaged, an entry lacks a field, or a file it names is missing or outside the folder.
    """
    folder = Path(folder)
    path = folder / "catalogue.json"
    if not path.is_file():
        raise InputError(f"{path} is not there: expected a catalogue folder such as assets/park; clone the whole repository.")
    try:
        data = json.loads(path.read_text())
        scenes = tuple(_entry(folder, Scene, entry, ("image", "depth", "ground")) for entry in data["scenes"])
        cutouts = tuple(_entry(folder, Cutout, entry, ("image", "relief")) for entry in data["cutouts"])
        pairs = tuple(_entry(folder, Pair, entry, ("image", "mask", "depth")) for entry in data.get("pairs", ()))
        encodings = data["depth_encoding"], data.get("relief_encoding", {})
        return Catalogue(folder, data["name"], float(data["z_near"]), *encodings, scenes, cutouts, pairs)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}): restore it from the repository.") from None
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: an entry is incomplete ({error}): every scene needs id, scene, split, image and depth.") from None


def _entry(folder: Path, kind: type, entry: dict, files: tuple[str, ...]) -> Scene | Cutout | Pair:
    known = kind.__dataclass_fields__.keys() - {"info"}
    values = {key: value for key, value in entry.items() if key in known}
    values |= {name: _inside(folder, values[name]) for name in files if values.get(name) is not None}
    values |= {group: str(values[group]) for group in ("scene", "object") if group in known}
    if values.get("contact") is not None:
        values["contact"] = tuple(values["contact"])
    return kind(**values, info={key: value for key, value in entry.items() if key not in known})


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{folder}/catalogue.json names {name}, which is outside its folder: only files inside are read.")
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path} is missing or empty, but the catalogue names it: restore it, or remove the entry.")
    return path


def decode_depth(code: np.ndarray, encoding: dict, z_near: float, unit: float = 1.0) -> np.ndarray:
    """Stored 16-bit depth to the contract's inverse depth, float32 (H, W) in [0, 1], near = 1.

    `{"kind": "log", "near": a, "step": s}`: z = a * exp(s * (v - 1)) metres and v = 0 is infinitely far;
    `{"kind": "inverse"}`: v / 65535 is z_near / z already. `unit` is the Camera's, for stored metres.
    """
    if encoding["kind"] == "inverse":
        return code.astype(np.float32) / 65535.0
    if encoding["kind"] != "log":
        raise InputError(f"depth encoding {encoding['kind']!r} is unknown: expected 'log' or 'inverse'.")
    inverse = z_near / (unit * encoding["near"]) * np.exp(-encoding["step"] * (code.astype(np.float32) - 1.0))
    return np.where(code == 0, 0.0, np.minimum(inverse, 1.0)).astype(np.float32)


def read_background(
    catalogue: Catalogue, scene: Scene, size: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Camera | None]:
    """A scene as `background` uint8 (H, W, 3), `depth` float32 (H, W) in [0, 1], `ground` bool (H, W) and its `camera`.

    A scene without depth labels has depth 0 everywhere. `size` resamples to (size, size) by area, so that a thin far branch fades
    instead of flickering.

    Raises:
        InputError: depth or ground have another size than the picture.
    """
    background = read_rgb(scene.image)
    depth, camera = np.zeros(background.shape[:2], np.float32), scene.camera(background.shape[1], size)
    if scene.depth:
        depth = decode_depth(read_map(scene.depth), catalogue.depth_encoding, catalogue.z_near, camera.unit if camera else 1.0)
    ground = read_map(scene.ground) > 127 if scene.ground else np.zeros(depth.shape, bool)
    for name, array in (("depth", depth), ("ground", ground)):
        if array.shape != background.shape[:2]:
            raise InputError(f"{getattr(scene, name)} is {shape(array)}, but {scene.image.name} is {shape(background)}: they must match.")
    if size is None:
        return background, depth, ground, camera
    background, depth = (resize(array, (size, size)) for array in (background, depth))
    return background, depth, cv2.resize(ground.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0, camera


def read_cutout(catalogue: Catalogue, cutout: Cutout) -> tuple[np.ndarray, np.ndarray]:
    """A cut-out as `rgba` uint8 (h, w, 4) and `relief` float32 (h, w): metres behind (+) or before (-) its contact point."""
    rgba = read_rgba(cutout.image)
    if cutout.relief is None:
        return rgba, np.zeros(rgba.shape[:2], np.float32)
    code, encoding = read_map(cutout.relief), catalogue.relief_encoding
    if code.shape != rgba.shape[:2]:
        raise InputError(f"{cutout.relief} is {shape(code)}, but {cutout.image.name} is {shape(rgba)}: they must match.")
    return rgba, (code.astype(np.float32) - encoding["zero"]) * encoding["step"]


def read_pair(catalogue: Catalogue, pair: Pair, size: int | None = None) -> dict[str, np.ndarray]:
    """A true pair as `background`, `image` uint8 (H, W, 3), `mask`, `depth` float32 (H, W) in [0, 1]; `size` resamples to (size, size).

    Raises:
        InputError: its view is not in the catalogue, its maps have another size than its picture, or they do not fit into the view.
    """
    scene = next((scene for scene in catalogue.scenes if scene.id == pair.scene), None)
    if scene is None:
        raise InputError(f"{catalogue.folder}/catalogue.json: pair {pair.id} names view {pair.scene}, which is not there.")
    background, before, _, camera = read_background(catalogue, scene)
    part = {"image": read_rgb(pair.image), "mask": read_map(pair.mask).astype(np.float32) / 255}
    part["depth"] = decode_depth(read_map(pair.depth), catalogue.depth_encoding, catalogue.z_near, camera.unit if camera else 1.0)
    for name, array in part.items():
        if array.shape[:2] != part["image"].shape[:2]:
            raise InputError(f"pair {pair.id}: its {name} is {shape(array)}, its image {shape(part['image'])}: they must match.")
    (height, width), whole = part["mask"].shape, pair.top is None or pair.left is None
    top, left = (0, 0) if whole else (pair.top, pair.left)
    inside = 0 <= top <= len(background) - height and 0 <= left <= background.shape[1] - width
    if not inside or (whole and (height, width) != background.shape[:2]):
        expected = "they must match" if whole else f"it must lie inside it at row {top}, column {left}"
        raise InputError(f"pair {pair.id}: its image is {shape(part['image'])}, its view {shape(background)}: {expected}.")
    around = {"image": background, "mask": np.zeros_like(before), "depth": before}
    sample = {"background": background} | {name: array.copy() for name, array in around.items()}
    for name, array in part.items():
        sample[name][top : top + height, left : left + width] = array
    return {name: resize(array, (size, size)) for name, array in sample.items()} if size else sample


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample to `size` = (height, width): by area when shrinking, linearly when growing."""
    if array.shape[:2] == tuple(size):
        return array
    shrinking = array.shape[0] >= size[0] and array.shape[1] >= size[1]
    return cv2.resize(array, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def shape(array: np.ndarray) -> str:
    """Width x height, as people write it."""
    return f"{array.shape[1]}x{array.shape[0]}"


def new_run(name: str, folder: str | os.PathLike | None = None) -> Path:
    """Make and return a run folder of its own, `runs/<name>` or `runs/<name>-2` ...: nothing is ever overwritten."""
    base = Path(folder) if folder else ROOT / "runs"
    for number in range(1, 10_000):
        path = base / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
    raise InputError(f"{base} already holds 10,000 runs called {name}: remove some.")


def run_folder(run_dir: str | os.PathLike = "") -> Path:
    """The folder a notebook writes to: `run_dir`, or `runs/by-hand` of the checkout when it is empty.

    A folder on Google Drive (/content/drive/MyDrive/...) is mounted first: it outlives a Colab machine, and a training there resumes.

    Raises:
        InputError: a folder on Google Drive, but this is not Colab.
    """
    path = Path(run_dir) if run_dir else ROOT / "runs" / "by-hand"
    if path.is_relative_to(DRIVE) and not DRIVE.exists():
        try:
            from google.colab import drive
        except ImportError:
            raise InputError(f"{path} is on Google Drive, which only Colab mounts: give another RUN_DIR.") from None
        drive.mount(str(DRIVE))
    path.mkdir(parents=True, exist_ok=True)
    return path


def record_metrics(run: Path, notebook: str, values: dict[str, float | int | str]) -> Path:
    """Put a notebook's figures into `run/metrics.json` under its name; those of the other notebooks stay."""
    path = run / "metrics.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(known | {notebook: values}, indent=1) + "\n")
    os.replace(partial, path)
    return path
