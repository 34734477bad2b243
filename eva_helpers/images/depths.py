"""Depth files of one folder: how they are stored, and reading them alike."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.images.arrays import resize
from eva_helpers.images.opening import Picture, open_picture

GREY_NOISE = 24  # of 255: JPEG makes channels of grey pictures differ by up to this
OFF_MAP = 48  # of 255: a colour this far from all colours of the map does not belong to it
EXACT = 12  # of 255: mean distance of a colour-mapped picture from its map, after JPEG
WHITES = (255, 1023, 4095, 16383, 65535)
STEPS = 64  # per channel, in the table from colours to values
MAPS = (  # of Matplotlib; those of OpenCV follow as "cv2 NAME"
    *("viridis", "plasma", "inferno", "magma", "cividis", "jet", "turbo", "rainbow", "Spectral"),
    *("hot", "afmhot", "gist_heat", "copper", "bone", "pink", "cool", "spring", "summer"),
    *("autumn", "winter", "gist_rainbow", "gist_ncar", "nipy_spectral", "gnuplot", "gnuplot2"),
    *("CMRmap", "cubehelix", "brg", "terrain", "ocean", "gist_earth", "gist_stern", "coolwarm"),
    *("bwr", "seismic", "RdBu", "RdYlBu", "RdYlGn", "PiYG", "PRGn", "BrBG", "PuOr", "RdGy"),
    *("YlGnBu", "YlOrRd", "YlOrBr", "YlGn", "GnBu", "PuBu", "PuBuGn", "BuGn", "BuPu", "OrRd"),
    *("PuRd", "RdPu", "Blues", "Greens", "Reds", "Oranges", "Purples", "Wistia"),
)


@dataclass(frozen=True)
class DepthReader:
    """Reads depth files that are stored alike: grey values up to `white`, or a colour map."""

    white: float = 255.0
    colours: str = ""

    def __str__(self) -> str:
        if self.colours:
            return f"the colour map {self.colours} (its first colour as 0)"
        return f"grey, {self.white:g} as white"

    def __call__(self, path: str | os.PathLike, size: int) -> np.ndarray:
        """The values as stored, 0 to white as float32 (S, S) in [0, 1].

        Raises InputError as `open_picture`, or if the file is stored in another way.
        """
        values = _values(path, 0 if self.colours else size)
        if (values.ndim == 3) != bool(self.colours):
            raise _unlike(path, self)
        if self.colours:
            index, distance = _table(self.colours)
            place = tuple((values >> 2).transpose(2, 0, 1))
            if (distance[place] > OFF_MAP).mean() > 0.05:
                raise _unlike(path, self)
            unit = index[place].astype(np.float32) / 255
        else:
            if values.dtype.kind == "f":
                values = np.where(np.isposinf(values), self.white, values)
            if not (values.min() >= 0 and values.max() <= 1.01 * self.white):  # or NaN
                raise _unlike(path, self)
            unit = values.astype(np.float32)
            unit *= np.float32(1 / self.white)
        return np.minimum(resize(unit, (size, size)), 1)


def depth_reader(paths: Sequence[str | os.PathLike], white: float | None = None) -> DepthReader:
    """How the depth files `paths` (a sample of a folder) are stored.

    `white` is the value that stands for 1, None where it can be seen from the files: 255 in 8-bit
    and 65,535 in 16-bit files that use more than half of their range, 1 in floats up to 1.

    Raises:
        InputError: the scale or the colour map is not recognised, or files are stored in different
            ways; a file cannot be read.
    """
    pictures = {path: _values(path, 0) for path in paths}
    first = paths[0]
    for path, values in pictures.items():
        if (values.ndim, values.dtype.kind) != (pictures[first].ndim, pictures[first].dtype.kind):
            raise InputError(
                f"{path} is stored in another way than {first}: "
                "the depth files of a folder must be of one kind."
            )
    if pictures[first].ndim == 3:
        return DepthReader(colours=_colour_map(pictures))
    if white is None:
        white = _white(first, list(pictures.values()))
    return DepthReader(white)


def _unlike(path: str | os.PathLike, reader: DepthReader) -> InputError:
    return InputError(
        f"{path} is no depth file like the others of its folder ({reader}): "
        "save it like them, without unknown values (NaN)."
    )


def _values(path: str | os.PathLike, at_least: int) -> np.ndarray:
    """Grey values (H, W) as stored; or colours, uint8 (H, W, 3)."""
    picture: Picture = open_picture(path, at_least, infinite=True)
    if isinstance(picture, Image.Image):
        if picture.mode in ("L", "1"):
            return np.asarray(picture.convert("L"))
        picture = np.asarray(picture.convert("RGB"))
    if picture.ndim == 2:
        return picture
    colours = picture[..., :3]
    high, low = colours.max(-1), colours.min(-1)
    if (high - low <= GREY_NOISE / 255 * max(high.max(), 1)).mean() > 0.999:
        return colours[..., 1]
    return colours if colours.dtype == np.uint8 else (colours / 257).astype(np.uint8)


def _white(path: str | os.PathLike, pictures: Sequence[np.ndarray]) -> float:
    """The value of white, where it is certain."""
    highest = max(float(np.nanmax(np.where(np.isinf(p), np.nan, p))) for p in pictures)
    kind = max((picture.dtype for picture in pictures), key=lambda dtype: dtype.itemsize)
    full = 1.0 if kind.kind == "f" else 255.0 if kind == np.uint8 else 65535.0
    if full / (16 if full == 255 else 2) < highest <= full or (highest == 0 and full == 255):
        return full
    if highest in WHITES:
        return highest
    raise InputError(
        f"the depth files, such as {path}, have values up to {highest:g} ({kind}): millimetres, "
        "metres or fewer bits; give the value that stands for the far end of the scale, such as "
        "10000 for 10 m in millimetres (depth_white=10000, --depth-white 10000, or DEPTH_WHITE in "
        "notebook 04)."
    )


def _colour_map(pictures: dict) -> str:
    """The name of the colour map whose colours the pictures have."""
    rng = np.random.default_rng(0)
    pixels = [rng.choice(values.reshape(-1, 3), 2000) for values in pictures.values()]
    sample = rng.choice(np.concatenate(pixels), 1000).astype(np.float32)
    means = {}
    for name in _names():
        distances = _nearest(sample, _map_colours(name))[1]
        means[name] = float(np.minimum(distances, 64).mean())
    best = min(means, key=lambda name: means[name])
    if means[best] > EXACT:
        raise InputError(
            f"the depth files, such as {next(iter(pictures))}, are in colour, and the colour map "
            "is not recognised: save depth as 8- or 16-bit grey."
        )
    return best


def _names() -> list[str]:
    cv = [name for name in dir(cv2) if name.startswith("COLORMAP_") and "TWILIGHT" not in name]
    return [*MAPS, *(f"cv2 {name.removeprefix('COLORMAP_')}" for name in cv)]


def _map_colours(name: str) -> np.ndarray:
    """The 256 colours of a map, float32 (256, 3) up to 255."""
    if name.startswith("cv2 "):
        number = getattr(cv2, f"COLORMAP_{name.removeprefix('cv2 ')}")
        ramp = np.arange(256, dtype=np.uint8)
        return cv2.applyColorMap(ramp, number).reshape(256, 3)[:, ::-1].astype(np.float32)
    from matplotlib import colormaps

    return (255 * colormaps[name](np.arange(256))[:, :3]).astype(np.float32)


def _nearest(colours: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For colours (N, 3): the index of the nearest of `of` (256, 3), and its distance."""
    squares = (of**2).sum(1) - 2 * colours @ of.T
    index = squares.argmin(1)
    squared = squares[np.arange(len(index)), index] + (colours**2).sum(1)
    return index, np.sqrt(np.maximum(squared, 0))


@functools.lru_cache(4)
def _table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Index in the colour map and distance from it, uint8 (64, 64, 64), of RGB values / 4."""
    steps = np.arange(STEPS, dtype=np.float32) * (256 // STEPS) + 1.5
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    nearest, distance = _nearest(grid, _map_colours(name))
    shape = (STEPS,) * 3
    return (
        nearest.astype(np.uint8).reshape(shape),
        np.minimum(distance, 255).astype(np.uint8).reshape(shape),
    )
