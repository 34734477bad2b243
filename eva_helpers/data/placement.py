"""Where an object goes: on walkable ground, or anywhere in the frame."""

from typing import NamedTuple

import numpy as np

from eva_helpers.catalogue import Camera, Cutout
from eva_helpers.data.pasting import Placement

IN_FRONT = 1.02  # an object placed at random is 2 % closer than the closest point it covers
MIN_OBJECT = 6  # px: the least height of a pasted object
SIZES = (0.05, 0.8)  # longer side of the object / shorter side of the frame, drawn uniformly


class View(NamedTuple):
    """A background at the resolution of the samples."""

    background: np.ndarray  # uint8 (H, W, 3)
    depth: np.ndarray  # inverse depth, float32 (H, W) in [0, 1]
    ground: np.ndarray  # flat indices of the walkable pixels
    camera: Camera | None
    z_near: float  # the distance in metres at which inverse depth is 1


def place_grounded(
    rng: np.random.Generator, view: View, cutout: Cutout, shape: tuple[int, int], flip: bool
) -> Placement | None:
    """Put the contact point on walkable ground; the size follows from the distance there.

    Pinhole camera: pixels = metres * focal / z. Sizes are drawn uniformly from those that the
    ground allows, because uniform positions would make most objects small. `shape` is the (height,
    width) of the cut-out in pixels. None if its real size or the camera is unknown, or if its size
    is within SIZES nowhere on the ground.
    """
    camera = view.camera
    if not (camera and cutout.metres_per_pixel and cutout.contact):
        return None
    frame = min(view.depth.shape)
    focal = cutout.metres_per_pixel * camera.focal  # the cut-out's scale at distance z: focal / z
    # longer side of the object / shorter side of the frame, at every walkable pixel
    size = view.depth.ravel()[view.ground] * (focal * max(shape) / (view.z_near * frame))
    fits = (size >= max(SIZES[0], MIN_OBJECT / frame)) & (size <= SIZES[1])
    size = size[fits]
    if len(size) == 0:
        return None
    off = np.abs(size - rng.uniform(size.min(), size.max()))
    close = view.ground[fits][off <= max(0.02, off.min())]
    row, column = divmod(int(close[rng.integers(len(close))]), view.depth.shape[1])
    z = view.z_near / float(view.depth[row, column])
    scale = focal / z
    top = round(row - cutout.contact[0] * scale)
    middle = shape[1] - cutout.contact[1] if flip else cutout.contact[1]
    left = round(column - middle * scale)
    return Placement(scale, top, left, flip, z, grounded=True, unit=camera.unit)


def place_random(
    rng: np.random.Generator, view: View, cutout: Cutout, shape: tuple[int, int], flip: bool
) -> Placement:
    """Anywhere in the frame, even in the sky; up to a third of each side may be cut off.

    The distance follows from the size where the real size is known, but the object is always in
    front of what it covers.
    """
    height, width = view.depth.shape
    longer = rng.uniform(*SIZES) * min(height, width)
    scale = max(longer / max(shape), MIN_OBJECT / min(shape))
    h, w = (round(side * scale) for side in shape)
    top = int(rng.integers(-h // 3, max(height - h + h // 3, 1 - h // 3)))
    left = int(rng.integers(-w // 3, max(width - w + w // 3, 1 - w // 3)))
    covered = view.depth[max(0, top) : top + h, max(0, left) : left + w]
    nearness = float(covered.max(initial=1e-3)) * IN_FRONT
    if cutout.metres_per_pixel and view.camera:
        natural = view.z_near * scale / (cutout.metres_per_pixel * view.camera.focal)
        nearness = max(nearness, natural)
    unit = view.camera.unit if view.camera else 1.0
    return Placement(scale, top, left, flip, view.z_near / nearness, grounded=False, unit=unit)
