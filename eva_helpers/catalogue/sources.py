"""Photo files to build a catalogue from: a folder of photos, or a photo and its trimap."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from eva_helpers.catalogue.reading import same_size
from eva_helpers.files import InputError
from eva_helpers.images import open_image, read_map, read_rgb, read_rgba


@dataclass(frozen=True)
class PhotoFile:
    """A photo for a catalogue: `kind` is "scenes" (`read` returns uint8 RGB) or "cutouts" (RGBA).

    `read` raises InputError if the photo cannot be used.
    """

    kind: str
    name: str
    read: Callable[[], np.ndarray]


def photos_of_folder(folder: str | os.PathLike) -> list[PhotoFile]:
    """The photos in `folder/bg` and the cut-outs in `folder/fg`.

    A cut-out without transparency takes its mask from `folder/fg_mask/NAME.*`.

    Raises:
        InputError: one of the two folders is missing or empty.
    """
    folder = Path(folder)
    masks = {path.stem: path for path in sorted(folder.glob("fg_mask/*"), reverse=True)}
    photos = []
    for name in ("bg", "fg"):
        paths = sorted(path for path in folder.glob(f"{name}/*") if path.is_file())
        if not paths:
            expected = f"expected photos in {folder}/bg and cut-outs in {folder}/fg"
            raise InputError(f"{folder / name} holds no files: {expected}.")
        for path in paths:
            if name == "bg":
                photos.append(PhotoFile("scenes", path.name, partial(read_rgb, path)))
            else:
                read = partial(_read_object, path, masks.get(path.stem))
                photos.append(PhotoFile("cutouts", path.name, read))
    return photos


def _read_object(path: Path, mask: Path | None) -> np.ndarray:
    """A cut-out, or a photo with `mask` as alpha: uint8 RGBA (H, W, 4)."""
    if mask is None or open_image(path).has_transparency_data:
        return read_rgba(path)
    rgb = read_rgb(path)
    alpha = read_map(mask)
    same_size(mask, alpha, path.name, rgb)
    if not (alpha > 127).any():
        raise InputError(f"{mask} is empty: mark the object in white.")
    return np.dstack([rgb, alpha.astype(np.uint8)])


def from_trimap(photo: str | os.PathLike, trimap: str | os.PathLike) -> np.ndarray:
    """A cut-out, uint8 RGBA (H, W, 4), from a trimap (1 object, 2 background, 3 border).

    Across the border, alpha falls from 1 to 0 by the distances to object and background. Raises
    InputError if the sizes differ or no object is marked.
    """
    rgb = read_rgb(photo)
    classes = read_map(trimap)
    same_size(trimap, classes, "its photo", rgb)
    to_object, to_background = (
        cv2.distanceTransform((classes != known).astype(np.uint8), cv2.DIST_L2, 3)
        for known in (1, 2)
    )
    alpha = to_background / np.maximum(to_object + to_background, 1e-6)
    if not (alpha > 0.5).any():
        raise InputError(f"{trimap} marks no object: expected pixels of value 1.")
    return np.dstack([rgb, np.rint(alpha * 255).astype(np.uint8)])
