"""Which files are pictures, and decoding them as they are stored."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from eva_helpers.files import InputError, is_file, paths_in
from eva_helpers.schemas import MAX_SIDE

FORMATS = {  # Pillow's that are read, and the endings of their files; EPS would run Ghostscript
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo", "PNG": ".png .apng", "WEBP": ".webp",
    "AVIF": ".avif .avifs", "GIF": ".gif", "BMP": ".bmp", "DIB": ".dib", "TIFF": ".tif .tiff",
    "JPEG2000": ".jp2 .j2k .jpx", "TGA": ".tga", "QOI": ".qoi", "PPM": ".ppm .pgm .pbm .pnm",
    "ICO": "", "HEIF": ".heic .heif .hif",  # with the package pillow-heif
}  # fmt: skip
PICTURES = tuple(" ".join(FORMATS.values()).split())
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"),
    *("CMYK", "YCbCr", "HSV", "LAB"),
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
    return [path for path in paths_in(Path(folder)) if is_picture(path) and path.is_file()]


def open_picture(path: str | os.PathLike, at_least: int = 0, infinite: bool = False) -> Picture:
    """Open and fully decode a picture, upright (EXIF orientation applied).

    Args:
        path: of the file.
        at_least: px. A JPEG may be decoded at a half, quarter or eighth of its size, which is
            faster, as long as both sides keep this many pixels; 0 decodes at full size.
        infinite: floats may be infinite, as in depth maps.

    Returns:
        A PIL image of 8 bits a channel; or, where the file has more, an array as stored:
        uint16, int32 or float (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        InputError: the file is missing, not a picture, truncated, too large to decode safely, or
            holds values that are not numbers.
    """
    if not is_file(path):
        what = "a folder, not a picture" if Path(path).is_dir() else "not there"
        raise InputError(f"{path} is {what}: check the path and the file's name.")
    with decoding(f"{path}"):
        return usable(_decode(Path(path), at_least), f"{path}", infinite)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Whatever a decoder raises meanwhile becomes an InputError about the picture `name`."""
    try:
        yield
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise InputError(
            f"{name} has too many pixels to be decoded safely: "
            "make it smaller first (4,000 px a side is plenty)."
        ) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is not a picture this can read (JPEG, PNG, WebP, TIFF ...): "
            "convert it to JPEG or PNG."
        ) from None
    except Exception as error:  # decoders raise all kinds of errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name} is damaged or truncated ({reason}): copy or save it again."
        ) from None


def usable(picture: Picture, name: str, infinite: bool = False) -> Picture:
    """The picture. Raises InputError for sides, colours or values that cannot be worked with."""
    sides = picture.size if isinstance(picture, Image.Image) else picture.shape[1::-1]
    _check_sides(name, *sides)
    mode = getattr(picture, "mode", "F")
    if mode not in MODES and not mode.startswith(DEEP):
        raise InputError(f"{name} has colours of kind {mode}: save it as RGB.")
    values = np.asarray(picture) if mode == "F" else np.zeros(0)
    if values.dtype.kind == "f" and not (np.isfinite(values) | (infinite & (values > 0))).all():
        raise InputError(f"{name} has values that are not numbers (NaN): fill them.")
    return picture


def _check_sides(name: str, *sides: int) -> None:
    if not 1 <= min(sides) <= max(sides) <= MAX_SIDE:
        size = "x".join(map(str, sides))
        raise InputError(f"{name} is {size} px: expected sides of 1 to {MAX_SIDE:,} px; resize it.")


def open_image(path: str | os.PathLike, at_least: int = 0) -> Image.Image:
    """As `open_picture`, but always a PIL image; colours of more than 8 bits are cut to 8."""
    picture = open_picture(path, at_least)
    if isinstance(picture, Image.Image):
        return picture
    if picture.ndim == 3:
        return Image.fromarray((picture.astype(np.float32) / 257).astype(np.uint8))
    return Image.fromarray(picture if picture.dtype == np.uint16 else picture.astype(np.float32))


def _decode(path: Path, at_least: int) -> Picture:
    try:
        opened = _open(path)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            header = file.read(12)
        if header[:4] in (b"II*\0", b"MM\0*"):
            _check_sides(f"{path}", *_tiff_size(path))
            return _stored(path)  # TIFF of other kinds, such as float colours
        if header[4:8] != b"ftyp" or header[8:] not in HEIF:
            raise
        opened = _open_heif(path)
    with opened as picture:
        _check_sides(f"{path}", *picture.size)
        if at_least:
            picture.draft(None, (at_least, at_least))
        if _deep_colour(picture):
            picture.load()  # truncation shows here
            turns, mirrored = TURNS.get(picture.getexif().get(0x0112, 1), (0, False))
            array = np.rot90(_stored(path), turns)
            return np.ascontiguousarray(array[:, ::-1] if mirrored else array)
        upright = ImageOps.exif_transpose(picture)  # decodes every pixel: truncation shows here
    return np.asarray(upright) if upright.mode.startswith(DEEP) else upright


def _open(path: Path) -> Image.Image:
    """Open a picture of FORMATS alone."""
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def _tiff_size(path: Path) -> tuple[int, int]:
    """Width and height that a TIFF promises. Raises DecompressionBombError."""
    with path.open("rb") as file:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
    width, height = (int(tags[tag]) for tag in (256, 257))
    if width * height > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
        raise Image.DecompressionBombError
    return width, height


def _open_heif(path: Path) -> Image.Image:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise InputError(
            f"{path} is HEIC, which needs the package pillow-heif: "
            "`pip install pillow-heif`, or convert it to JPEG."
        ) from None
    return _open(path)


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
