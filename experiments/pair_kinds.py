"""Synthetic pairs of photos for the pair check: good ones, moved ones and wrong backgrounds.

Each kind is a function of a random generator that returns background and image, uint8 RGB
(H, W, 3), and the object's mask, float32 (H, W) in [0, 1]. Backgrounds are plain walls, rectangles
of all sizes, or the park's, objects are random shapes, smooth or textured.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np

from eva_helpers.catalogue import load_catalogue
from eva_helpers.data.capture import CaptureDifferences
from eva_helpers.data.distractors import random_object
from eva_helpers.images import read_rgb, resize

FRAME = (300, 400)  # height and width of walls and rectangles in px
SPLIT = "validation"  # of the park's backgrounds
COVERED = (0.33, 0.67)  # share of the frame that an object covers which fills it
SMALL = (0.03, 0.3)  # share of the frame that other objects cover
ZOOMS = (0.88, 1.14)

Array = np.ndarray
Rng = np.random.Generator
Pair = tuple[Array, Array, Array]
Place = Callable[[Rng], Array]
Kind = Callable[[Rng], Pair]


def wall(rng: Rng) -> Array:
    """A plain wall: one colour, shaded smoothly."""
    colour = rng.uniform(35, 235) * np.exp(rng.normal(0, 0.12, 3))
    down, right = (np.linspace(1, 1 + rng.uniform(-0.15, 0.15), side) for side in FRAME)
    return np.clip(colour * (down[:, None] * right)[..., None], 5, 250).astype(np.uint8)


def rectangles(rng: Rng) -> Array:
    """A textured place: rectangles of all sizes and colours."""
    height, width = FRAME
    photo = np.full((*FRAME, 3), 110, np.uint8)
    for _ in range(160):
        corner = rng.integers(0, (width, height))
        end = corner + rng.integers(6, 80, 2)
        cv2.rectangle(photo, corner.tolist(), end.tolist(), rng.integers(40, 200, 3).tolist(), -1)
    return cv2.GaussianBlur(photo, (0, 0), 0.8)


@functools.cache
def _park(split: str) -> list[list[Array]]:
    """The views of each of the park's scenes."""
    scenes: dict[str, list[Array]] = {}
    for scene in load_catalogue().backgrounds(split):
        scenes.setdefault(scene.scene, []).append(read_rgb(scene.image))
    return list(scenes.values())


def park(rng: Rng) -> Array:
    """A view of the park."""
    views = _park(SPLIT)[rng.integers(len(_park(SPLIT)))]
    return views[rng.integers(len(views))]


def with_object(
    photo: Array, rng: Rng, covered: tuple[float, float] = SMALL
) -> tuple[Array, Array]:
    """The photo with an object in front that covers such a share of the frame, and its mask."""
    while True:
        rgba = _object(rng, rng.uniform(*covered), photo.shape[1::-1])
        mask = rgba[..., 3:].astype(np.float32) / 255
        contrast = np.abs(rgba[..., :3].astype(float) - photo).max(2)[mask[..., 0] > 0.5]
        if covered[0] <= mask.mean() <= covered[1] and np.quantile(contrast, 0.1) > 30:
            image = photo * (1 - mask) + rgba[..., :3] * mask
            return np.rint(image).astype(np.uint8), mask[..., 0]


def _object(rng: Rng, share: float, frame: tuple[int, ...]) -> Array:
    """An object in an empty frame, uint8 RGBA; `share` of its area, more than what is inside."""
    smooth = np.broadcast_to(rng.integers(0, 256, 3), (8, 8, 3)).astype(np.uint8)
    rgba = random_object(rng, smooth if rng.random() < 0.5 else rectangles(rng), 192)
    scale = np.sqrt(share * frame[0] * frame[1] / max((rgba[..., 3] > 127).sum(), 1))
    rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    at = rng.uniform(0.3, 0.7, 2) * frame - np.array(rgba.shape[1::-1]) / 2
    return cv2.warpAffine(rgba, np.column_stack([np.eye(2), at]), frame)


def noisy(photo: Array, rng: Rng, deviation: float = 2.0) -> Array:
    """The photo with Gaussian noise."""
    return np.rint(photo + rng.normal(0, deviation, photo.shape)).clip(0, 255).astype(np.uint8)


def good(place: Place, covered: tuple[float, float] = SMALL, strength: float = 0.0) -> Kind:
    """Pairs of one `place`; with capture differences, or little noise where `strength` is 0."""

    def pair(rng: Rng) -> Pair:
        background = place(rng)
        image, mask = with_object(background, rng, covered)
        if not strength:
            return noisy(background, rng), noisy(image, rng), mask
        return *CaptureDifferences(strength)(background, image, mask, rng), mask

    return pair


def wrong(place: Place, other: Place, strength: float = 0.0) -> Kind:
    """Pairs of a background `other` with an image of another place."""

    def pair(rng: Rng) -> Pair:
        background, image, mask = good(place, strength=strength)(rng)
        while True:
            elsewhere = resize(other(rng), image.shape[:2])
            change = np.log((elsewhere + 8.0) / (background + 8.0)).mean((0, 1))
            if np.abs(change).max() > 0.25 or place is not wall:  # another colour of wall
                return noisy(elsewhere, rng), image, mask

    return pair


def moved(place: Place, shift: float = 0.0, turn: float = 0.0) -> Kind:
    """Good pairs whose camera zoomed, and moved by a share of the frame and degrees, in between."""

    def pair(rng: Rng) -> Pair:
        big = resize(place(rng), (440, 560))
        height, width = (side * 5 // 7 for side in big.shape[:2])
        centre = big.shape[1] / 2, big.shape[0] / 2
        move = cv2.getRotationMatrix2D(centre, rng.uniform(-turn, turn), rng.uniform(*ZOOMS))
        move[:, 2] += rng.uniform(-shift, shift, 2) * width
        there = cv2.warpAffine(big, move, big.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
        top, left = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
        inside = slice(top, top + height), slice(left, left + width)
        image, mask = with_object(big[inside], rng)
        return noisy(there[inside], rng), noisy(image, rng), mask

    return pair


KINDS: dict[str, tuple[Kind, bool]] = {  # name -> pairs, and whether they should be flagged
    "wall": (good(wall), False),
    "wall, large object": (good(wall, COVERED), False),
    "rectangles": (good(rectangles), False),
    "rectangles, large object": (good(rectangles, COVERED), False),
    "park": (good(park), False),
    "park, large object": (good(park, COVERED), False),
    "wall, capture differences": (good(wall, strength=1.0), False),
    "park, capture differences": (good(park, strength=1.0), False),
    "park, capture differences, large object": (good(park, COVERED, 1.0), False),
    "rectangles, zoom": (moved(rectangles), True),
    "park, zoom": (moved(park), True),
    "park, zoom, shift and turn": (moved(park, 0.04, 4.0), True),
    "wrong: another wall": (wrong(wall, wall), True),
    "wrong: a wall for the park": (wrong(park, wall), True),
    "wrong: the park for a wall": (wrong(wall, park), True),
    "wrong: another view of the park": (wrong(park, park, 1.0), True),
}
