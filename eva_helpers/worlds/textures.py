"""Textures for rendered worlds: noise, bricks, boards, stripes, one colour, or parts of photos.

A texture is a square uint8 picture (SIDE, SIDE, 3) that covers one tile of `Texture.metres`. It is
sampled from coarser levels where a pixel covers more of it, so that it does not flicker.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 128  # px
LEVELS = 6  # each half as fine as the one before
GREENS = (0.15, 0.31)  # hues of plants
EARTHS = (0.04, 0.14)  # hues of wood, stone and sand


class Texture(NamedTuple):
    """All levels of a texture at the same size, uint8 (LEVELS, SIDE, SIDE, 3), and its tile."""

    levels: np.ndarray
    metres: float


def layered(picture: np.ndarray, metres: float) -> Texture:
    """A texture of a picture, uint8 (SIDE, SIDE, 3), that is repeated every `metres`."""
    levels = [picture]
    for number in range(1, LEVELS):
        side = SIDE >> number
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        levels.append(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))
    return Texture(np.stack(levels), metres)


def sample(texture: Texture, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Colours, float32 (N, 3) in [0, 1], at `u`, `v` metres; a pixel covers `footprint` metres."""
    scale = SIDE / texture.metres
    level = np.log2((footprint * scale).clip(1, 2 ** (LEVELS - 1))).round().astype(int)
    columns = (np.floor(u * scale) % SIDE).astype(int)
    rows = (np.floor(v * scale) % SIDE).astype(int)
    return texture.levels[level, rows, columns].astype(np.float32) / 255


def colour(rng: np.random.Generator, hues: tuple[float, float] = (0, 1)) -> np.ndarray:
    """A random colour, float (3,) in [0, 255]: half of them rather grey."""
    hue = rng.uniform(*hues) * 179
    saturation = rng.uniform(0, 70) if rng.random() < 0.5 else rng.uniform(40, 190)
    hsv = np.array([[[hue, saturation, rng.uniform(50, 240)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def waves(rng: np.random.Generator, finest: int = 6) -> np.ndarray:
    """Noise of several sizes that repeats at its edges: (SIDE, SIDE), mean 0, deviation 1."""
    total = np.zeros((SIDE, SIDE))
    roughness = rng.uniform(0.45, 0.95)
    for octave in range(1, finest + 1):
        cells = 2**octave
        grid = np.pad(rng.normal(size=(cells, cells)), 1, mode="wrap")
        size = SIDE * (cells + 2) // cells
        margin = (size - SIDE) // 2
        large = cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
        total += large[margin : margin + SIDE, margin : margin + SIDE] * roughness**octave
    return (total - total.mean()) / total.std()


def grain(rng: np.random.Generator, hues: tuple[float, float] = (0, 1)) -> np.ndarray:
    """Two colours mixed by noise: grass, leaves, gravel, plaster, stone."""
    first = colour(rng, hues)
    second = first * rng.uniform(0.3, 0.9) + rng.normal(0, 10, 3)
    share = 0.5 + rng.uniform(0.1, 0.35) * waves(rng)[..., None]
    return _picture(first * share + second * (1 - share))


def bricks(rng: np.random.Generator, hues: tuple[float, float] = EARTHS) -> np.ndarray:
    """Rows of bricks, tiles or boards, with joints of another brightness."""
    rows, columns = 2 ** rng.integers(1, 5), 2 ** rng.integers(0, 4)
    y, x = np.mgrid[:SIDE, :SIDE]
    row = y * rows // SIDE
    shifted = x + (row % 2) * (SIDE // columns // 2) * int(rng.integers(2))
    column = shifted * columns // SIDE % columns
    light = rng.uniform(0.75, 1.2, (rows, columns))[row, column]
    joint = (y % (SIDE // rows) < 2) | (shifted % (SIDE // columns) < 2)
    light = np.where(joint, rng.uniform(0.4, 1.3), light) * (1 + 0.06 * waves(rng))
    return _picture(colour(rng, hues) * light[..., None])


def stripes(rng: np.random.Generator, hues: tuple[float, float] = (0, 1)) -> np.ndarray:
    """Stripes of two colours."""
    count = int(2 ** rng.integers(1, 5))
    place = np.arange(SIDE) * count * 2 // SIDE % 2
    mixed = np.where(place[:, None], colour(rng, hues), colour(rng, hues))
    whole = np.broadcast_to(mixed[:, None], (SIDE, SIDE, 3))
    return _picture(whole if rng.random() < 0.5 else whole.transpose(1, 0, 2))


def plain(rng: np.random.Generator, hues: tuple[float, float] = (0, 1)) -> np.ndarray:
    """One colour with faint stains: paint, cloth."""
    return _picture(colour(rng, hues) * (1 + rng.uniform(0, 0.06) * waves(rng)[..., None]))


def photo_part(rng: np.random.Generator, photos: Sequence[np.ndarray]) -> np.ndarray:
    """A square part of a photo, mirrored so that it repeats without an edge."""
    photo = photos[int(rng.integers(len(photos)))]
    side = int(rng.uniform(0.2, 0.7) * min(photo.shape[:2]))
    top, left = (int(rng.integers(size - side + 1)) for size in photo.shape[:2])
    half = cv2.resize(
        photo[top : top + side, left : left + side],
        (SIDE // 2, SIDE // 2),
        interpolation=cv2.INTER_AREA,
    )
    wide = np.hstack([half, half[:, ::-1]])
    return np.vstack([wide, wide[::-1]])


def _picture(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
