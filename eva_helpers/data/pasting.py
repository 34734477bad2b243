"""Pasting a cut-out into a background so that image, mask and depth agree."""

from dataclasses import dataclass, replace

import numpy as np

from eva_helpers.images import resize

OCCLUSION_SLACK = 0.15  # m: only what is closer to the camera by more than this occludes an object

Layers = tuple[np.ndarray, np.ndarray]  # a cut-out: uint8 RGBA (h, w, 4) and relief (h, w) in m


@dataclass(frozen=True)
class Placement:
    """Where a cut-out goes.

    `scale` converts its pixels to those of the background, (`top`, `left`) is its corner there, `z`
    the distance of its contact point in metres, `unit` that of the `Camera`. A `grounded` object
    stands on the ground and can be occluded.
    """

    scale: float
    top: int
    left: int
    flip: bool
    z: float
    grounded: bool
    unit: float = 1.0


def scale_cutout(
    rgba: np.ndarray, relief: np.ndarray, scale: float, flip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resample a cut-out, uint8 RGBA (h, w, 4) with its relief (h, w) in metres.

    Returns premultiplied `rgb` (h, w, 3) in [0, 255], `alpha` (h, w) in [0, 1] and `relief` (h, w),
    all float32. Colours are premultiplied before resampling, so that those of transparent pixels
    never bleed into the edge.
    """
    height, width = (max(1, round(side * scale)) for side in rgba.shape[:2])
    layers = rgba.astype(np.float32)
    layers[..., :3] *= layers[..., 3:] / 255.0
    layers = resize(layers, (height, width))
    relief = resize(relief, (height, width))
    if flip:
        layers = layers[:, ::-1]
        relief = relief[:, ::-1]
    return layers[..., :3], layers[..., 3] / 255.0, relief


def pyramid(rgba: np.ndarray, relief: np.ndarray) -> list[Layers]:
    """A cut-out at full, half, quarter ... size, down to 16 px: small pastes start from those."""
    levels = [(rgba, relief)]
    while min(levels[-1][0].shape[:2]) >= 32:
        rgb, alpha, relief = scale_cutout(*levels[-1], 0.5, flip=False)
        straight = rgb / np.maximum(alpha, 1 / 255)[..., None]
        layers = np.rint(np.dstack([straight, alpha * 255])).clip(0, 255)
        levels.append((layers.astype(np.uint8), relief))
    return levels


def pyramid_level(
    levels: list[Layers], place: Placement
) -> tuple[np.ndarray, np.ndarray, Placement]:
    """The smallest level that `place` still shrinks, and the placement in pixels of that level."""
    number = int(np.clip(np.floor(-np.log2(place.scale)), 0, len(levels) - 1))
    return *levels[number], replace(place, scale=place.scale * 2**number)


def _overlap(start: int, length: int, frame: int) -> tuple[slice, slice]:
    """Along one axis: the part of the frame that a cut-out covers, and that part of the cut-out."""
    first = max(0, start)
    last = max(first, min(frame, start + length))
    return slice(first, last), slice(first - start, last - start)


def paste(
    background: np.ndarray,
    depth: np.ndarray,
    rgba: np.ndarray,
    relief: np.ndarray,
    place: Placement,
    z_near: float,
    recolour: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Composite one cut-out ("over", Porter and Duff, 1984); what is outside the frame is cut off.

    Args:
        background: uint8 (H, W, 3).
        depth: its inverse depth, float32 (H, W) in [0, 1].
        rgba: the cut-out, uint8 (h, w, 4).
        relief: its distance behind the contact point, float32 (h, w) in metres.
        place: where it goes; anything closer to the camera occludes a grounded object.
        z_near: the distance in metres at which inverse depth is 1.
        recolour: colour matrix (3, 3) for the cut-out.

    Returns:
        `image` uint8 (H, W, 3); `mask` float32 (H, W), the coverage in [0, 1]; `depth` float32
        (H, W), the object's where it covers at least half of a pixel.
    """
    rgb, alpha, relief = scale_cutout(rgba, relief, place.scale, place.flip)
    rows, inner_rows = _overlap(place.top, alpha.shape[0], depth.shape[0])
    cols, inner_cols = _overlap(place.left, alpha.shape[1], depth.shape[1])
    rgb = rgb[inner_rows, inner_cols]
    alpha = alpha[inner_rows, inner_cols]
    z = np.maximum(place.z + place.unit * relief[inner_rows, inner_cols], 0.05)
    under = depth[rows, cols]
    nearness = np.minimum(z_near / z, 1.0)
    if place.grounded:
        visible = (under * (z - OCCLUSION_SLACK) <= z_near).astype(np.float32)
        rgb = rgb * visible[..., None]
        alpha = alpha * visible
    else:  # nothing occludes it, so no part of it may be behind what it covers
        nearness = np.maximum(nearness, under)
    if recolour is not None:  # premultiplied: white is 255 times the coverage
        rgb = np.minimum(np.maximum(rgb @ recolour.T, 0), 255 * alpha[..., None])
    image = background.copy()
    image[rows, cols] = np.rint(background[rows, cols] * (1.0 - alpha[..., None]) + rgb).clip(
        0, 255
    )
    mask = np.zeros(depth.shape, np.float32)
    mask[rows, cols] = alpha
    new_depth = depth.copy()
    new_depth[rows, cols] = np.where(alpha >= 0.5, nearness, under)
    return image, mask, new_depth
