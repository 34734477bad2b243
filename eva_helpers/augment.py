"""Albumentations pipelines: geometry shared by the four maps, and the differences between the two shots.

The two are separate on purpose. Geometry moves background, image, mask and depth together. Two real shots, however, also differ
by exposure, white balance, noise, JPEG, a pixel of camera shake and the object's shadow: these go to one photo only, and a
network that has never seen them does no better than subtraction.
"""

from __future__ import annotations

import os
import random

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its version check would open a connection at import

import albumentations as A
import cv2
import numpy as np

MARGIN = 1.25  # composites are made this much larger than the crop that is trained on
FOUR_MAPS = {"background": "image", "depth": "mask"}  # `image` and `mask` are Albumentations' own names
SHADOW_CHANCE = 0.5


def geometry(size: int) -> A.Compose:
    """Crop to (size, size), mirror and tilt: the same for all four maps; maps are resampled linearly, so soft edges stay soft."""
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Rotate(limit=4, border_mode=cv2.BORDER_REFLECT_101, p=0.3),
            A.RandomResizedCrop(size=(size, size), scale=(0.5, 1.0), ratio=(0.9, 1.1), p=1.0),
        ],
        additional_targets=FOUR_MAPS,
        mask_interpolation=cv2.INTER_LINEAR,
    )


class CaptureDifferences:
    """What makes two shots of one scene differ; `strength` 0 gives ideal pairs, 1 an ordinary pair of phone photos.

    Ranges follow what the background-matting field trains with (colour jitter 0.18, hue 0.1, gamma N(1, 0.12), noise up to 0.03,
    1 degree and 1 % of misalignment, JPEG quality 25-95, cast shadows). One call takes and returns `background` and `image`,
    uint8 (H, W, 3); `mask` float32 (H, W) tells where the shadow starts.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not 0 <= strength <= 3:
            raise ValueError(f"strength is {strength}: expected 0 (ideal pairs) to 3 (far worse than a phone).")
        self.strength = strength
        self.background = A.Compose([shake(strength), *exposure(strength), *sensor(strength)])
        self.image = A.Compose(sensor(strength))

    def __call__(
        self, background: np.ndarray, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.strength == 0:
            return background, image
        if rng.random() < SHADOW_CHANCE:
            image = cast_shadow(image, mask, rng, self.strength)
        return seeded(self.background, rng)(image=background)["image"], seeded(self.image, rng)(image=image)["image"]


def seeded(pipeline: A.Compose, rng: np.random.Generator) -> A.Compose:
    """Make `pipeline` draw from `rng` alone: its own seeding depends on the worker and gives every step the same numbers."""
    pipeline.set_random_state(rng, random.Random(int(rng.integers(2**63))))
    return pipeline


def shake(strength: float) -> A.BasicTransform:
    """Misalignment of the background: up to 1 % of the frame and 1 degree at strength 1."""
    shift = 0.01 * strength
    return A.Affine(
        translate_percent={"x": (-shift, shift), "y": (-shift, shift)},
        rotate=(-strength, strength),
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.4,
    )


def exposure(strength: float) -> list[A.BasicTransform]:
    """Exposure, contrast, white balance and gamma of the background."""
    jitter, gamma = min(0.9, 0.18 * strength), min(80, 24 * strength)  # gamma: two standard deviations of N(1, 0.12)
    return [
        A.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter, hue=min(0.5, 0.04 * strength), p=0.7),
        A.RandomGamma(gamma_limit=(100 - gamma, 100 + gamma), p=0.4),
    ]


def sensor(strength: float) -> list[A.BasicTransform]:
    """Blur, noise and JPEG: each photo draws its own."""
    worst = int(np.clip(95 - 70 * strength, 1, 95))
    return [
        A.GaussianBlur(sigma_limit=(0.2, max(0.21, 0.8 * strength)), blur_limit=0, p=0.15),
        A.GaussNoise(std_range=(0.0, min(1.0, 0.03 * strength)), p=0.4),
        A.ImageCompression(quality_range=(worst, 95), p=0.4),
    ]


def cast_shadow(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Darken the scene beside the object with its own silhouette, sheared, flattened and blurred; the object stays as it is.

    The shape is not physical, only shadow-like: what matters is that a darkening alone never makes a mask.
    """
    rows = np.flatnonzero(mask.max(axis=1) > 0.5)
    if len(rows) == 0:
        return image
    foot, height = float(rows[-1]), float(rows[-1] - rows[0] + 1)
    shear = rng.uniform(-1.5, 1.5)
    squash = rng.choice((-1, 1)) * rng.uniform(0.1, 0.6)  # a negative one throws the shadow towards the camera
    to_shadow = np.float32([[1, -shear, shear * foot], [0, squash, foot * (1 - squash)]])
    shadow = cv2.warpAffine(mask, to_shadow, mask.shape[::-1], flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(0.5, rng.uniform(0.02, 0.12) * height))
    shade = 1.0 - rng.uniform(0.1, 0.6) * min(1.5, strength) * shadow * (1.0 - mask)
    return np.rint(image * np.clip(shade, 0.1, 1.0)[..., None]).astype(np.uint8)
