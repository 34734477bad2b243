"""Reading pictures of any kind, resampling them, writing PNG."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eva_helpers.files import InputError, write_whole

MIN_SIDE = 32  # px: the network halves the resolution five times


def open_image(path: str | os.PathLike, at_least: int = 0) -> Image.Image:
    """Open and fully decode a picture, upright (EXIF orientation applied).

    Args:
        path: of the file.
        at_least: px. A JPEG may be decoded at a half, quarter or eighth of its size, which is
            faster, as long as both sides keep this many pixels; 0 decodes at full size.

    Raises:
        InputError: the file is missing, not a picture, truncated, or too large to decode safely.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder, not a picture" if path.is_dir() else "not there"
        raise InputError(f"{path} is {what}: check the path and the file's name.")
    try:
        with Image.open(path) as picture:
            if at_least:
                picture.draft(None, (at_least, at_least))
            return ImageOps.exif_transpose(picture)  # decodes every pixel: truncation shows here
    except Image.DecompressionBombError:
        raise InputError(
            f"{path} has too many pixels to be decoded safely: "
            "make it smaller first (4,000 px a side is plenty)."
        ) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path} is not a picture this can read (JPEG, PNG, WebP, TIFF ...): "
            "convert it to JPEG or PNG."
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} is damaged or truncated ({error}): copy or save it again."
        ) from None


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Any PIL image as uint8 RGB (H, W, 3).

    Transparent pixels become white; 16-bit and float grey are scaled to 8 bits.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = np.asarray(picture).astype(np.float64)
        highest = grey.max(initial=0)
        unit = 1.0 if picture.mode == "F" and highest <= 1 else 255.0 if highest <= 255 else 65535.0
        scaled = np.rint(np.clip(grey / unit, 0, 1) * 255).astype(np.uint8)
        return np.repeat(scaled[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB"))


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3); see `to_rgb`. Raises InputError as `open_image`."""
    return to_rgb(open_image(path))


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
    """A one-channel map (mask, depth) as it is stored: uint8 or uint16 (H, W).

    Colour files are converted to grey. `at_least` and errors as in `open_image`.
    """
    picture = open_image(path, at_least)
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16)
    return np.asarray(picture.convert("L"))


def write_png(path: str | os.PathLike, picture: np.ndarray) -> Path:
    """Write uint8 or uint16 (H, W[, C]) as PNG, whole or not at all. Raises InputError."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return write_whole(path, buffer.getvalue())


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample (H, W[, C]) to `size` = (height, width): by area when shrinking, else linearly."""
    if array.shape[:2] == tuple(size):
        return array
    shrinking = array.shape[0] >= size[0] and array.shape[1] >= size[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(array, (size[1], size[0]), interpolation=method)


def size_text(array: np.ndarray) -> str:
    """Width x height of (H, W[, C]), such as "640x480"."""
    return f"{array.shape[1]}x{array.shape[0]}"
