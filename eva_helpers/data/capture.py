"""Differences between two shots; a network trained without them does no better than subtraction."""

from collections.abc import Callable

import albumentations as A
import cv2
import numpy as np

from eva_helpers.data.augment import seeded
from eva_helpers.schemas import Strength, checked

SHADOW_CHANCE = 0.5
# takes background, image, mask and rng, returns background and image; see `CaptureDifferences`
Capture = Callable[..., tuple[np.ndarray, np.ndarray]]


class CaptureDifferences:
    """Exposure, white balance, noise, JPEG, camera shake and the object's shadow.

    Called with `background` and `image`, uint8 (H, W, 3), `mask`, float32 (H, W) in [0, 1], and a
    random generator; returns both photos. Ranges are typical of background matting (Sengupta et
    al., 2020; Lin et al., 2021). `strength` 0 gives ideal pairs, 1 an ordinary pair of phone
    photos, 3 is far worse. Raises InputError if it is outside [0, 3].
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength = checked(Strength, strength, "strength")
        self.background = A.Compose([shake(strength), *exposure(strength), *sensor(strength)])
        self.image = A.Compose(sensor(strength))

    def __call__(
        self, background: np.ndarray, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.strength == 0:
            return background, image
        if rng.random() < SHADOW_CHANCE:
            image = cast_shadow(image, mask, rng, self.strength)
        background = seeded(self.background, rng)(image=background)["image"]
        return background, seeded(self.image, rng)(image=image)["image"]


def shake(strength: float) -> A.BasicTransform:
    """Misalignment of the background: up to 1 % of the frame and 1 degree at strength 1."""
    shift = (-0.01 * strength, 0.01 * strength)
    return A.Affine(
        translate_percent={"x": shift, "y": shift},
        rotate=(-strength, strength),
        border_mode=cv2.BORDER_REFLECT_101,
        p=0.4,
    )


def exposure(strength: float) -> list[A.BasicTransform]:
    """Exposure, contrast, white balance and gamma of the background."""
    jitter = min(0.9, 0.18 * strength)
    hue = min(0.5, 0.04 * strength)
    gamma = min(80, 24 * strength)  # two standard deviations of N(1, 0.12), in percent
    return [
        A.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter, hue=hue, p=0.7),
        A.RandomGamma(gamma_limit=(100 - gamma, 100 + gamma), p=0.4),
    ]


def sensor(strength: float) -> list[A.BasicTransform]:
    """Blur, noise and JPEG compression; each photo draws its own."""
    worst = int(np.clip(95 - 70 * strength, 1, 95))
    return [
        A.GaussianBlur(sigma_limit=(0.2, max(0.21, 0.8 * strength)), blur_limit=0, p=0.15),
        A.GaussNoise(std_range=(0.0, min(1.0, 0.03 * strength)), p=0.4),
        A.ImageCompression(quality_range=(worst, 95), p=0.4),
    ]


def cast_shadow(
    image: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    strength: float = 1.0,
    darkness: float | None = None,
) -> np.ndarray:
    """Darken the scene beside the object by its sheared, flattened and blurred silhouette.

    Not physical, but it teaches that darkening alone is not an object. `image` is uint8 (H, W, 3),
    in and out, `mask` float32 (H, W) in [0, 1]; `darkness`, in [0, 1], is drawn unless given.
    """
    rows = np.flatnonzero(mask.max(axis=1) > 0.5)
    if len(rows) == 0:
        return image
    foot = float(rows[-1])
    height = float(rows[-1] - rows[0] + 1)
    shear = rng.uniform(-1.5, 1.5)
    squash = rng.choice((-1, 1)) * rng.uniform(0.1, 0.6)  # negative: towards the camera
    to_shadow = np.array([[1, -shear, shear * foot], [0, squash, foot * (1 - squash)]], np.float32)
    shadow = cv2.warpAffine(mask, to_shadow, mask.shape[::-1], flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(0.5, rng.uniform(0.02, 0.12) * height))
    if darkness is None:
        darkness = rng.uniform(0.1, 0.6) * min(1.5, strength)
    shade = 1.0 - darkness * shadow * (1.0 - mask)
    return np.rint(image * np.clip(shade, 0.1, 1.0)[..., None]).astype(np.uint8)
