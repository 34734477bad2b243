"""Augmentation that treats both photos of a pair alike; `capture` makes them differ."""

import random

import albumentations as A
import cv2
import numpy as np

from eva_helpers.images import resize

MARGIN = 1.25  # composites are this much larger than the training crop
CROP_AREA = (0.6, 1.0)  # share of the frame; smaller crops cost mask accuracy and gain no depth
BOX_MARGIN = (0.05, 0.5)  # on every side of an object's box, as a share of the box
BOX_OFF = 0.05  # standard deviation of its error, likewise
UNSHARP_PIXELS = 3.5  # px of the largest detail that a photo may lack
MAX_ENLARGED = 3.5  # times
FOUR_MAPS = {"background": "image", "depth": "mask"}  # `image` and `mask` are Albumentations' own


def geometry() -> A.Compose:
    """Mirror and rotate all four maps; linear interpolation, so that soft edges stay soft."""
    return A.Compose(
        [A.HorizontalFlip(p=0.5), A.Rotate(limit=4, border_mode=cv2.BORDER_REFLECT_101, p=0.3)],
        additional_targets=FOUR_MAPS,
        mask_interpolation=cv2.INTER_LINEAR,
    )


def crop(
    sample: dict[str, np.ndarray], size: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """A random part of the frame (CROP_AREA), the same in all four maps, at (size, size).

    Zooming in looks like stepping closer: without the focal length, a network cannot tell them
    apart. So the inverse depth is multiplied by the zoom: what looks the same keeps its label.
    """
    height, width = sample["image"].shape[:2]
    shrink = np.sqrt(rng.uniform(*CROP_AREA))
    ratio = np.exp(rng.uniform(-0.1, 0.1))
    h = max(1, min(height, round(height * shrink * (1 / ratio))))
    w = max(1, min(width, round(width * shrink * ratio)))
    top = rng.integers(height - h + 1)
    left = rng.integers(width - w + 1)
    part = {
        name: resize(np.ascontiguousarray(array[top : top + h, left : left + w]), (size, size))
        for name, array in sample.items()
    }
    part["depth"] = np.minimum(part["depth"] * np.float32(height / h), 1.0)
    return part


def unsharp(sample: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """All four maps as if enlarged: without detail of up to UNSHARP_PIXELS px."""
    height, width = sample["mask"].shape
    scale = 1 / np.exp(rng.uniform(0, np.log(UNSHARP_PIXELS)))
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    return {name: resize(resize(array, small), (height, width)) for name, array in sample.items()}


def around_object(sample: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The object's box with some surroundings, enlarged to the sample's size; without depth label.

    The box is off by some, as that of a coarse mask is; without an object it is anywhere.
    """
    height, width = sample["mask"].shape
    x, y, w, h = cv2.boundingRect((sample["mask"] > 0.3).astype(np.uint8))
    if w * h == 0:
        x, y = rng.integers(0, (width, height))
        w = h = 1
    side = max(w, h) * (1 + 2 * rng.uniform(*BOX_MARGIN))
    side = float(np.clip(side, min(height, width) / MAX_ENLARGED, min(height, width)))
    off = rng.normal(0, BOX_OFF * side, 2)
    left = round(np.clip(x + (w - side) / 2 + off[0], 0, width - side))
    top = round(np.clip(y + (h - side) / 2 + off[1], 0, height - side))
    end = round(side)
    part = {
        name: resize(
            np.ascontiguousarray(array[top : top + end, left : left + end]), (height, width)
        )
        for name, array in sample.items()
    }
    part["depth"] = np.zeros_like(part["depth"])
    return part


def colours() -> A.Compose:
    """Random light and camera colours, the same in both photos, against memorising the park's."""
    return A.Compose(
        [
            A.HueSaturationValue(12, 60, 0, p=0.5),
            A.RandomBrightnessContrast(0.25, 0.3, p=0.6),
            A.RandomGamma((65, 150), p=0.3),
            A.ToGray(p=0.06),
        ],
        additional_targets={"background": "image"},
    )


def seeded(pipeline: A.Compose, rng: np.random.Generator) -> A.Compose:
    """Make `pipeline` draw from `rng` alone; Albumentations' own seeding depends on the worker."""
    pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    return pipeline
