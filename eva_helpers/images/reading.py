"""Pictures as arrays: photos, cut-outs, and maps as they are stored."""

import os
from typing import Any

import numpy as np
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.images.opening import DEEP, Picture, decoding, open_image, open_picture, usable

WHITES = (255, 1023, 4095, 16383, 65535, 2**24 - 1, 2**32 - 1)  # 8, 10, 12, 14 ... bits


def as_picture(photo: Any, name: str) -> Picture:
    """A photo that is given as a path, a PIL image or an array, uint8 RGB (H, W, 3).

    Raises:
        InputError: as `open_picture`, or it is something else; `name` is what it is called.
    """
    if isinstance(photo, (str, os.PathLike)):
        return open_picture(photo)
    if isinstance(photo, Image.Image):
        with decoding(name):
            photo.load()
        return usable(photo, name)
    if not isinstance(photo, np.ndarray):
        what = f"{name} is of type {type(photo).__name__}"
        raise InputError(f"{what}: expected a path, a PIL image or an array, uint8 (H, W, 3).")
    if photo.dtype != np.uint8 or photo.shape[2:] != (3,):
        what = f"{name} is {photo.dtype} {photo.shape}"
        raise InputError(f"{what}: expected uint8 RGB of shape (H, W, 3).")
    return usable(photo, name)


def white_level(*pictures: Picture) -> float | None:
    """The value of white in the pictures of more than 8 bits, judged over all of them together.

    The smallest of 1 (floats only), 255, 1023, 4095, 16383, 65535 that no value exceeds. None
    where all pictures have 8 bits. Photos of a pair are scaled alike by one common level.
    """
    arrays = [array for array in map(_deep, pictures) if array is not None]
    if not arrays:
        return None
    colours = [array[..., :3] if array.ndim == 3 else array for array in arrays]
    highest = max(float(np.max(array, initial=0)) for array in colours)
    if highest <= 1 and all(array.dtype.kind == "f" for array in arrays):
        return 1.0
    return float(next((white for white in WHITES if highest <= white), highest))


def _deep(picture: Picture) -> np.ndarray | None:
    """The values of a picture of more than 8 bits."""
    if isinstance(picture, Image.Image):
        return np.asarray(picture) if picture.mode.startswith(DEEP) else None
    return None if picture.dtype == np.uint8 else picture


def to_rgb(picture: Picture, white: float | None = None) -> np.ndarray:
    """Any picture as uint8 RGB (H, W, 3); transparent pixels become white.

    More than 8 bits are scaled to 8: `white` is the value that becomes 255 (None: this picture's
    `white_level`).
    """
    array = _deep(picture)
    if array is not None:
        scaled = array / np.float32(white or white_level(array) or 1)
        picture = Image.fromarray(np.rint(255 * scaled.clip(0, 1)).astype(np.uint8))
    elif isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    return np.asarray(picture.convert("RGB"))


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3); see `to_rgb`. Raises InputError as `open_picture`."""
    return to_rgb(open_picture(path))


def read_rgba(path: str | os.PathLike) -> np.ndarray:
    """A cut-out as uint8 RGBA (H, W, 4).

    Raises:
        InputError: it has no transparency, or nothing in it is visible.
    """
    picture = open_image(path)
    if not picture.has_transparency_data:
        raise InputError(
            f"{path} has no transparency: a cut-out is an RGBA picture whose alpha shows "
            "the object (PNG or WebP)."
        )
    rgba = np.asarray(picture.convert("RGBA"))
    if not (rgba[..., 3] > 127).any():
        raise InputError(
            f"{path} is fully transparent: there is no object in this cut-out; "
            "remove it or save it again."
        )
    return rgba


def read_map(path: str | os.PathLike, at_least: int = 0) -> np.ndarray:
    """A one-channel map (depth code, classes) as it is stored: uint8 or uint16 (H, W).

    Colour files are converted to grey. `at_least` as in `open_picture`. Raises InputError also
    for values that 16 bits cannot hold.
    """
    picture = open_picture(path, at_least)
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("L"))
    grey = picture[..., :3].mean(-1) if picture.ndim == 3 else picture
    if picture.dtype.kind == "f" or grey.min() < 0 or grey.max() > 65535:
        raise InputError(f"{path} holds {picture.dtype} values: expected whole numbers to 65,535.")
    return grey.astype(np.uint16)
