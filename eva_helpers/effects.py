"""What a mask and a depth map are good for, in a few lines each: cutting out, another background, blur with distance, metres.

Photos are uint8 RGB (H, W, 3); `mask` and `depth` are float32 (H, W) in [0, 1] as a Prediction holds them (near = 1).
"""

from __future__ import annotations

import cv2
import numpy as np

from eva_helpers.assets import FOCAL, HEIGHT, resize, shape
from eva_helpers.images import InputError

LEVELS = 6  # blurred copies between which portrait mode mixes


def _check(image: np.ndarray, *maps: np.ndarray) -> None:
    for array in maps:
        if array.shape[:2] != image.shape[:2]:
            raise InputError(
                f"the map is {shape(array)} and the image {shape(image)}: expected the same size; use one Prediction's arrays."
            )


def cutout(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The object on transparent ground, RGBA uint8 (H, W, 4)."""
    _check(image, mask)
    return np.dstack([image, np.rint(mask * 255).astype(np.uint8)])


def replace_background(image: np.ndarray, mask: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The object before another background, which is stretched to the image's size."""
    _check(image, mask)
    alpha = mask[..., None]
    return np.rint(image * alpha + resize(background, image.shape[:2]) * (1 - alpha)).astype(np.uint8)


def portrait(image: np.ndarray, mask: np.ndarray, depth: np.ndarray, strength: float = 0.03) -> np.ndarray:
    """Portrait mode: the object sharp, everything else blurred the more, the farther its depth is from the object's.

    `strength` is the largest blur's sigma as a share of the image's longer side. As in a lens, blur grows with the difference of
    *inverse* depth. Without an object, what is nearest stays sharp.
    """
    _check(image, mask, depth)
    focus = float(np.median(depth[mask > 0.5])) if (mask > 0.5).any() else float(depth.max())
    away = np.abs(depth - focus)
    level = away / max(float(away.max()), 1e-6) * (LEVELS - 1) * (1 - mask)
    # The object is taken out before blurring, or its colours would bleed into the blurred scene around it.
    solid = (mask > 0.1).astype(np.uint8)
    scene = cv2.inpaint(image, cv2.dilate(solid, np.ones((5, 5), np.uint8)), 5, cv2.INPAINT_TELEA) if solid.any() else image
    sigmas = np.linspace(0, strength * max(image.shape[:2]), LEVELS)
    result = np.zeros(image.shape, np.float32)
    for number, sigma in enumerate(sigmas):
        copy = cv2.GaussianBlur(scene, (0, 0), sigma) if sigma > 0.3 else scene
        result += np.clip(1 - np.abs(level - number), 0, 1)[..., None] * copy
    return np.rint(image * mask[..., None] + result * (1 - mask[..., None])).clip(0, 255).astype(np.uint8)


def metres(depth: np.ndarray, focal: float = FOCAL, height: float = HEIGHT, z_near: float = 1.5) -> np.ndarray:
    """Distance along the viewing axis in metres, (H, W), from a depth map; infinite where depth is 0.

    A picture alone does not tell the scale (`assets.Camera`); the camera does. `focal` is its focal length over the picture's width (the
    35 mm equivalent of EXIF / 36 for a wide picture), `height` its height above the ground in metres, `z_near` the catalogue's.
    """
    if not (focal > 0 and height > 0):
        raise InputError(f"focal is {focal} and height {height}: expected both positive, such as {FOCAL} and {HEIGHT}.")
    with np.errstate(divide="ignore"):
        return z_near / depth * (focal / FOCAL) * (height / HEIGHT)
