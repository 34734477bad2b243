"""Augmentation that treats both photos of a pair alike; `capture` makes them differ."""

import random

import albumentations as A
import cv2
import numpy as np

from eva_helpers.images import resize

MARGIN = 1.25  # composites are this much larger than the training crop
CROP_AREA = (0.6, 1.0)  # share of the frame; smaller crops cost mask accuracy and gain no depth
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
