"""Plain scenes and smooth objects, which a catalogue of parks lacks: walls, balls, boxes."""

import cv2
import numpy as np

from eva_helpers.data.distractors import random_object
from eva_helpers.data.pasting import Placement

FLOOR = 0.3  # share of walls that stand on a floor
GREY = 0.5  # share of colours that are nearly grey
HEIGHTS = (0.12, 0.95)  # of smooth objects, as a share of the frame
LEAST_CONTRAST = 30  # of 255, between an object and what it stands before


def smooth_picture(rng: np.random.Generator, size: int, contrast: float = 0.35) -> np.ndarray:
    """One colour with soft shading, uint8 (size, size, 3): a wall, or the side of an object.

    Brightness varies by up to about `contrast` over the frame, linearly and in a few soft waves.
    """
    colour = rng.uniform(0, 255, 3)
    if rng.random() < GREY:
        colour = rng.uniform(10, 255) + rng.normal(0, 8, 3)
    x = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = rng.normal(0, contrast / 2, 2)
    waves = rng.normal(0, rng.uniform(0, contrast / 4), (4, 4)).astype(np.float32)
    light = cv2.resize(waves, (size, size), interpolation=cv2.INTER_CUBIC)
    light = light + slope[0] * x[:, None] + slope[1] * x
    return np.rint(colour * (1 + light[..., None])).clip(0, 255).astype(np.uint8)


def plain_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wall, uint8 (size, size, 3), some of them above a floor."""
    wall = smooth_picture(rng, size)
    if rng.random() < FLOOR:
        edge = rng.uniform(0.4, 0.95) * size + np.arange(size) * rng.normal(0, 0.05)
        floor = np.arange(size)[:, None] > edge
        wall = np.where(floor[..., None], smooth_picture(rng, size), wall)
    return wall


def smooth_object(rng: np.random.Generator, behind: np.ndarray) -> np.ndarray:
    """A smooth object, uint8 RGBA (h, w, 4), in another colour than the picture `behind`."""
    for _ in range(10):
        texture = smooth_picture(rng, 64)
        means = (picture.mean((0, 1)) for picture in (texture, behind))
        if np.abs(np.subtract(*means)).max() > LEAST_CONTRAST:
            break
    return random_object(rng, texture, max(96, len(behind)))


def place_anywhere(rng: np.random.Generator, shape: tuple[int, int], size: int) -> Placement:
    """A cut-out of `shape` in a frame of `size` px: any height of HEIGHTS, its centre inside."""
    height = float(np.exp(rng.uniform(*np.log(HEIGHTS)))) * size
    scale = height / shape[0]
    top, left = (
        round(centre - scale * side / 2)
        for centre, side in zip(rng.uniform(0.1, 0.9, 2) * size, shape, strict=True)
    )
    return Placement(scale, top, left, bool(rng.integers(2)), 1.0, grounded=False)
