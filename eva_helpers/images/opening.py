"""Which files are pictures, and decoding them as they are stored."""

import importlib
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eva_helpers.files import InputError

PICTURES = (  # what can be read; .heic, .heif and .hif with the package pillow-heif
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs"),
    *(".gif", ".bmp", ".dib", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".tga", ".qoi"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif"),
)
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MODES = (
    "1",
    "L",
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
)
DEEP = ("I", "F")  # beginnings of the modes with more than 8 bits
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True)}
TURNS |= {8: (1, False)}  # EXIF orientation: quarter turns to the left, then mirrored

Picture = Image.Image | np.ndarray  # 8 bits a channel | more: (H, W[, 3 or 4]) as stored


def is_picture(path: str | os.PathLike) -> bool:
    """Whether `path` has the name of a picture: one of PICTURES in any case, not hidden."""
    path = Path(path)
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def picture_files(folder: str | os.PathLike) -> list[Path]:
    """The pictures in `folder`, by name; none where there is no such folder."""
    return sorted(path for path in Path(folder).glob("*") if is_picture(path) and path.is_file())


def open_picture(path: str | os.PathLike, at_least: int = 0) -> Picture:
    """Open and fully decode a picture, upright (EXIF orientation applied).

    Args:
        path: of the file.
        at_least: px. A JPEG may be decoded at a half, quarter or eighth of its size, which is
            faster, as long as both sides keep this many pixels; 0 decodes at full size.

    Returns:
        A PIL image of 8 bits a channel; or, where the file has more, an array as stored:
        uint16, int32 or float (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        InputError: the file is missing, not a picture, truncated, or too large to decode safely.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder, not a picture" if path.is_dir() else "not there"
        raise InputError(f"{path} is {what}: check the path and the file's name.")
    try:
        return _decode(path, at_least)
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
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, cv2.error) as error:
        raise InputError(
            f"{path} is damaged or truncated ({error}): copy or save it again."
        ) from None


def open_image(path: str | os.PathLike, at_least: int = 0) -> Image.Image:
    """As `open_picture`, but always a PIL image; colours of more than 8 bits are cut to 8."""
    picture = open_picture(path, at_least)
    if isinstance(picture, Image.Image):
        return picture
    if picture.ndim == 3:
        return Image.fromarray((picture.astype(np.float32) / 257).astype(np.uint8))
    return Image.fromarray(picture if picture.dtype == np.uint16 else picture.astype(np.float32))


def _decode(path: Path, at_least: int) -> Picture:
    opened: Image.Image
    try:
        opened = Image.open(path)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            header = file.read(12)
        if header[:4] in (b"II*\0", b"MM\0*"):
            return _stored(path)  # TIFF of other kinds, such as float colours
        if header[4:8] != b"ftyp" or header[8:] not in HEIF:
            raise
        opened = _open_heif(path)
    with opened as picture:
        if at_least:
            picture.draft(None, (at_least, at_least))
        if _deep_colour(picture):
            picture.load()  # truncation shows here
            turns, mirrored = TURNS.get(picture.getexif().get(0x0112, 1), (0, False))
            array = np.rot90(_stored(path), turns)
            return np.ascontiguousarray(array[:, ::-1] if mirrored else array)
        upright = ImageOps.exif_transpose(picture)  # decodes every pixel: truncation shows here
    if upright.mode.startswith(DEEP):
        return np.asarray(upright)
    if upright.mode not in MODES:
        raise InputError(f"{path} has colours of kind {upright.mode}: save it as RGB.")
    return upright


def _open_heif(path: Path) -> Image.Image:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise InputError(
            f"{path} is HEIC, which needs the package pillow-heif: "
            "`pip install pillow-heif`, or convert it to JPEG."
        ) from None
    return Image.open(path)


def _deep_colour(picture: Image.Image) -> bool:
    """Whether Pillow would cut the file's colours to 8 bits."""
    if picture.mode.startswith(DEEP):
        return False
    bits = picture.tag_v2.get(258, 8) if hasattr(picture, "tag_v2") else 8  # TIFF BitsPerSample
    return np.max(bits) > 8 or any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def _stored(path: Path) -> np.ndarray:
    """The values of a PNG or TIFF as stored: (H, W), or RGB or RGBA (H, W, C)."""
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise UnidentifiedImageError(path)
    if array.ndim == 3 and array.shape[2] >= 3:
        order = cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB
        array = cv2.cvtColor(array, order)
    return array
