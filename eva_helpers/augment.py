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

from eva_helpers.assets import resize

MARGIN = 1.25  # composites are made this much larger than the crop that is trained on
FOUR_MAPS = {"background": "image", "depth": "mask"}  # `image` and `mask` are Albumentations' own names
CROP_AREA = (0.6, 1.0)  # share of the frame that a crop keeps; smaller parts cost mask accuracy and no longer help the depth
SHADOW_CHANCE = 0.5


def geometry() -> A.Compose:
    """Mirror and tilt: the same for all four maps, which are resampled linearly, so that soft edges stay soft."""
    return A.Compose(
        [A.HorizontalFlip(p=0.5), A.Rotate(limit=4, border_mode=cv2.BORDER_REFLECT_101, p=0.3)],
        additional_targets=FOUR_MAPS,
        mask_interpolation=cv2.INTER_LINEAR,
    )


def crop(sample: dict[str, np.ndarray], size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random part of the frame (CROP_AREA), resampled to (size, size): the same part of all four maps.

    Zooming in looks like stepping closer, and a network that is given no focal length cannot tell the two apart. So the inverse
    depth is multiplied with the zoom: what looks the same keeps the same label.
    """
    height, width = sample["image"].shape[:2]
    area, ratio = rng.uniform(*CROP_AREA), np.exp(rng.uniform(-0.1, 0.1))
    h, w = (max(1, min(side, round(side * np.sqrt(area) * r))) for side, r in ((height, 1 / ratio), (width, ratio)))
    top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
    part = {name: resize(np.ascontiguousarray(array[top : top + h, left : left + w]), (size, size)) for name, array in sample.items()}
    part["depth"] = np.minimum(part["depth"] * np.float32(height / h), 1.0)
    return part


def colours() -> A.Compose:
    """Another light and another camera, for both photos alike: or the network learns this park's colours by heart."""
    return A.Compose(
        [
            A.HueSaturationValue(12, 60, 0, p=0.5),
            A.RandomBrightnessContrast(0.25, 0.3, p=0.6),
            A.RandomGamma((65, 150), p=0.3),
            A.ToGray(p=0.06),
        ],
        additional_targets={"background": "image"},
    )


def recolouring(rng: np.random.Generator) -> np.ndarray:
    """A random colour matrix (3, 3) for RGB values: channels mixed and weighted anew, rows about 1 so that brightness stays."""
    mix = np.eye(3) + rng.normal(0, 0.35, (3, 3))
    return (mix / np.maximum(mix.sum(1, keepdims=True), 0.4) * rng.uniform(0.6, 1.3)).astype(np.float32)


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


def sway(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leaves and grass between two shots: in patches of the frame the background's texture moves by up to about 1 % of it.

    uint8 (H, W, 3) in and out. A tree in the wind differs everywhere a little, and none of it is an object. (Albumentations' elastic
    transforms move the whole frame, by pixels: here only patches move, by a share of the frame.)
    """
    height, width = background.shape[:2]
    cells, reach = int(rng.integers(8, 33)), rng.uniform(0.001, 0.005) * width
    patches = rng.normal(0, 1, (4, 4, 1)) > 0
    moves = np.float32(rng.normal(0, reach, (cells, cells, 2)))
    moves = cv2.resize(moves, (width, height), interpolation=cv2.INTER_CUBIC)
    moves *= cv2.resize(patches.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(background, x + moves[..., 0], y + moves[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def cast_shadow(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, strength: float = 1.0, darkness: float | None = None
) -> np.ndarray:
    """Darken the scene beside the object with its own silhouette, sheared, flattened and blurred; the object stays as it is.

    The shape is not physical, only shadow-like: what matters is that a darkening alone never makes a mask. `darkness` in [0, 1] is
    drawn, by `strength`, unless given.
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
    darkness = rng.uniform(0.1, 0.6) * min(1.5, strength) if darkness is None else darkness
    shade = 1.0 - darkness * shadow * (1.0 - mask)
    return np.rint(image * np.clip(shade, 0.1, 1.0)[..., None]).astype(np.uint8)
