"""Uses of mask and depth: cutting out, a new background, portrait mode, distances in metres.

Photos are uint8 RGB (H, W, 3), maps float32 (H, W) in [0, 1] as in a Prediction; InputError is
raised where their sizes differ.
"""

import cv2
import numpy as np

from eva_helpers.catalogue.catalogue import STANDARD_FOCAL, STANDARD_HEIGHT
from eva_helpers.files import InputError
from eva_helpers.images import resize, size_text

BLURRED = 1024  # px of the longer side at which the scene is filled and blurred
LEVELS = 6  # blurred copies that portrait mode interpolates between


def cut_out(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The object on a transparent background, uint8 RGBA (H, W, 4)."""
    _check(image, mask)
    return np.dstack([image, np.rint(mask * 255).astype(np.uint8)])


def replace_background(image: np.ndarray, mask: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The object in front of another background, which is stretched to the image's size."""
    _check(image, mask)
    return _over(image, mask, resize(background, image.shape[:2]))


def portrait(
    image: np.ndarray, mask: np.ndarray, depth: np.ndarray, strength: float = 0.03
) -> np.ndarray:
    """Portrait mode: the object stays sharp; the rest blurs with its distance from the object.

    As with a lens, blur grows with the difference in *inverse* depth. Its largest sigma is
    `strength` of the image's longer side. Without an object, the nearest part stays sharp.
    """
    _check(image, mask, depth)
    found = mask > 0.5
    away = np.abs(depth - float(np.median(depth[found]) if found.any() else depth.max()))
    level = away / max(float(away.max()), 1e-6) * (LEVELS - 1) * (1 - mask)
    height, width = image.shape[:2]
    scale = min(1.0, BLURRED / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    # without the object, whose colours would bleed into the blurred scene around it
    hole = cv2.dilate((resize(mask, size) > 0.1).astype(np.uint8), np.ones((5, 5), np.uint8))
    scene = resize(image, size)
    scene = cv2.inpaint(scene, hole, 5, cv2.INPAINT_TELEA) if hole.any() else scene
    blurred = np.zeros((*size, 3), np.float32)
    nearest = resize(level, size)
    for number, sigma in enumerate(np.linspace(0, strength * max(size), LEVELS)[1:], 1):
        copy = cv2.GaussianBlur(scene, (0, 0), sigma) if sigma > 0.3 else scene
        blurred += np.clip(1 - np.abs(nearest - number), 0, 1)[..., None] * copy
    filled = resize(hole, (height, width))[..., None]
    sharp = np.where(filled, resize(scene, (height, width)), image)
    share = np.clip(1 - level, 0, 1)[..., None]
    return _over(image, mask, resize(blurred, (height, width)) + share * sharp)


def metres(
    depth: np.ndarray, focal: float = STANDARD_FOCAL, height: float = STANDARD_HEIGHT,
    z_near: float = 1.5,
) -> np.ndarray:  # fmt: skip
    """Distance along the optical axis in metres of a depth map, (H, W); infinite where it is 0.

    A photo alone does not determine the scale (see `catalogue.Camera`), the camera does: `focal`
    is its focal length over the picture's width (in landscape format the 35 mm equivalent of EXIF
    divided by 36), `height` its height above the ground in metres, `z_near` the catalogue's.
    """
    if not (focal > 0 and height > 0):
        usual = f"such as {STANDARD_FOCAL} and {STANDARD_HEIGHT}"
        raise InputError(f"focal is {focal}, height {height}: expected both positive, {usual}.")
    with np.errstate(divide="ignore"):
        return z_near / depth * (focal / STANDARD_FOCAL) * (height / STANDARD_HEIGHT)


def _over(image: np.ndarray, mask: np.ndarray, scene: np.ndarray) -> np.ndarray:
    alpha = mask[..., None]
    return np.rint(image * alpha + scene * (1 - alpha)).clip(0, 255).astype(np.uint8)


def _check(image: np.ndarray, *maps: np.ndarray) -> None:
    for array in maps:
        if array.shape[:2] != image.shape[:2]:
            sizes = f"the map is {size_text(array)} and the image {size_text(image)}"
            raise InputError(f"{sizes}: expected the same size; use the arrays of one Prediction.")
