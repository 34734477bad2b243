"""Uses of mask and depth: cutting out, a new background, portrait mode, distances in metres.

Photos are uint8 RGB (H, W, 3), maps float32 (H, W) in [0, 1] as in a Prediction; InputError is
raised where their sizes differ.
"""

import cv2
import numpy as np

from eva_helpers.catalogue.catalogue import STANDARD_FOCAL, STANDARD_HEIGHT
from eva_helpers.files import InputError
from eva_helpers.images import resize, size_text
from eva_helpers.schemas import Positive, checked

NEARBY = 0.006  # of the longer side: radius in which colours are averaged
FREE = 0.02  # of the mask: below it, a pixel is the background's
TRUSTED = 1e-3  # weight of the larger surroundings in that mean
BLURRED = 1024  # px of the longer side at which the scene is filled and blurred
LEVELS = 6  # blurred copies that portrait mode interpolates between


def cut_out(image: np.ndarray, mask: np.ndarray, empty: np.ndarray | None = None) -> np.ndarray:
    """The object on a transparent background, uint8 RGBA (H, W, 4); `empty` as `foreground`."""
    return np.dstack([foreground(image, mask, empty), np.rint(mask * 255).astype(np.uint8)])


def replace_background(
    image: np.ndarray, mask: np.ndarray, background: np.ndarray, empty: np.ndarray | None = None
) -> np.ndarray:
    """The object in front of another background, which is stretched to the image's size.

    `empty`, the photo of the scene without the object, as in `foreground`.
    """
    colours = foreground(image, mask, empty)
    return _over(colours, mask, resize(background, image.shape[:2]))


def foreground(image: np.ndarray, mask: np.ndarray, empty: np.ndarray | None = None) -> np.ndarray:
    """The object's own colours, uint8 RGB (H, W, 3), also where the mask is soft.

    There a pixel mixes object and background; without unmixing, a rim of the old background would
    show around a cut-out. `empty`, the photo without the object, gives the background's colours,
    but for its exposure, which is taken from the image; without it they are those nearby.
    The object's mean colour nearby is the one that explains the mixed pixels best (least squares);
    each pixel's own difference from it counts by its share of the object (Forte, 2021).
    """
    _check(image, mask, *(() if empty is None else (empty,)))
    result = image.copy()
    if not mask.any():
        return result
    radius = max(3, round(NEARBY * max(image.shape[:2])))
    rows, columns = _around(mask, 8 * radius)
    alpha = mask[rows, columns, None]
    mixed = image[rows, columns].astype(np.float32)
    free = (alpha < FREE).astype(np.float32)
    if empty is None and not free.any():
        return result
    behind = _nearby(mixed * free, free, radius)
    if empty is not None:
        known = empty[rows, columns].astype(np.float32)
        behind = known * (behind + 1) / (_nearby(known * free, free, radius) + 1)
    part = mixed - (1 - alpha) * behind  # alpha times the object's colour
    colour = _nearby(alpha * part, alpha**2, radius)
    unmixed = np.rint(colour + alpha * (part - alpha * colour)).clip(0, 255).astype(np.uint8)
    np.copyto(result[rows, columns], unmixed, where=alpha > 0)
    return result


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
    for name, value in {"focal": focal, "height": height, "z_near": z_near}.items():
        checked(Positive, value, name)
    with np.errstate(divide="ignore"):
        return z_near / depth * (focal / STANDARD_FOCAL) * (height / STANDARD_HEIGHT)


def _around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns in which the mask is not 0, and `margin` px around them."""
    x, y, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    rows = slice(max(0, y - margin), y + height + margin)
    return rows, slice(max(0, x - margin), x + width + margin)


def _nearby(values: np.ndarray, weights: np.ndarray, radius: int) -> np.ndarray:
    """Sum of `values` (H, W, 3) over that of `weights` (H, W, 1), within `radius` px.

    Where the weights are almost 0, the sums of a surrounding eight times as large count.
    """
    near, wide = (
        [cv2.blur(each, (side, side)) for each in (values, weights)]
        for side in (2 * radius + 1, 16 * radius + 1)
    )
    around = wide[0] / np.maximum(wide[1], 1e-6)[..., None]
    return (near[0] + TRUSTED * around) / (near[1] + TRUSTED)[..., None]


def _over(image: np.ndarray, mask: np.ndarray, scene: np.ndarray) -> np.ndarray:
    alpha = mask[..., None]
    return np.rint(image * alpha + scene * (1 - alpha)).clip(0, 255).astype(np.uint8)


def _check(image: np.ndarray, *maps: np.ndarray) -> None:
    for array in maps:
        if array.shape[:2] != image.shape[:2]:
            sizes = f"the map is {size_text(array)} and the image {size_text(image)}"
            raise InputError(f"{sizes}: expected the same size; use the arrays of one Prediction.")
