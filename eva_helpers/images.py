"""Reading pictures at the border of the package, with errors that a person can act on."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


class InputError(ValueError):
    """Something given from outside cannot be used; the message says what, what was expected and the remedy."""


def command_line(main: Callable[[list[str] | None], int | None]) -> Callable[[list[str] | None], int]:
    """Make `main(arguments)` a command line: input that cannot be used becomes one sentence on standard error and exit status 2."""

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        try:
            return main(arguments) or 0
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run


def open_image(path: str | os.PathLike, at_least: int = 0) -> Image.Image:
    """Open and fully decode a picture, upright (EXIF orientation applied).

    With `at_least`, a JPEG may come at a half, quarter or eighth of its size, as long as both sides keep so many pixels: its decoder then
    has far less to do.

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
            return ImageOps.exif_transpose(picture)  # decodes every pixel, so a truncated file shows here
    except Image.DecompressionBombError:
        raise InputError(f"{path} has too many pixels to be decoded safely: make it smaller first (4,000 px a side is plenty).") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture this can read (JPEG, PNG, WebP, TIFF ...): convert it to JPEG or PNG.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}): copy or save it again.") from None


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Any PIL image to uint8 RGB (H, W, 3); transparency is laid on white, 16-bit and float grey are scaled to 8 bits."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = np.asarray(picture).astype(np.float64)
        top = 1.0 if picture.mode == "F" and grey.max(initial=0) <= 1 else 255.0 if grey.max(initial=0) <= 255 else 65535.0
        return np.repeat(np.rint(np.clip(grey / top, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("RGB"))


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3); grey, palette, CMYK, 16-bit, RGBA and EXIF-rotated files are understood."""
    return to_rgb(open_image(path))


def read_rgba(path: str | os.PathLike) -> np.ndarray:
    """A cut-out as uint8 RGBA (H, W, 4).

    Raises:
        InputError: it has no transparency, or nothing in it is visible.
    """
    picture = open_image(path)
    if not picture.has_transparency_data:
        raise InputError(f"{path} has no transparency: a cut-out is an RGBA picture whose alpha shows the object (PNG or WebP).")
    rgba = np.asarray(picture.convert("RGBA"))
    if not (rgba[..., 3] > 127).any():
        raise InputError(f"{path} is fully transparent: there is no object in this cut-out; remove it or save it again.")
    return rgba


def read_map(path: str | os.PathLike, at_least: int = 0) -> np.ndarray:
    """A one-channel map (mask, depth) as it is stored: uint8 or uint16 (H, W). Colour files are turned to grey."""
    picture = open_image(path, at_least)
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16)
    return np.asarray(picture.convert("L"))


def write_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write uint8 or uint16 as PNG under its final name only when it is whole."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        Image.fromarray(picture).save(partial, format="PNG")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path} could not be written ({error.strerror or error}): check the folder and the free space.") from None
