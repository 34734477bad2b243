"""Pasting a cut-out into a scene: image, mask and depth that belong together. Pure numpy and OpenCV."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from eva_helpers.assets import Camera, resize

IN_FRONT = 1.02  # an object placed without a floor is 2 % nearer than the nearest thing it covers
OCCLUSION_SLACK = 0.15  # metres: what is nearer than the object by more than this hides it
SMALLEST = 6  # pixels: the least height of a pasted object
SIZES = (0.05, 0.8)  # the object's longer side over the frame's shorter one, all equally often: a speck, and hardly any scene left


@dataclass(frozen=True)
class Placement:
    """Where a cut-out goes: `scale` from cut-out to scene pixels, (top, left) of it in the scene, `z` distance of its contact point.

    `foot` is the scene row of that point, for objects that stand on something; `unit` is the distance that a metre is (`assets.Camera`).
    """

    scale: float
    top: int
    left: int
    flip: bool
    z: float
    grounded: bool
    foot: float = 0.0
    unit: float = 1.0


def scale_cutout(rgba: np.ndarray, relief: np.ndarray, scale: float, flip: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resample a cut-out.

    Returns premultiplied `rgb` float32 (h, w, 3) in [0, 255], `alpha` float32 (h, w) in [0, 1] and `relief` (h, w) in metres.
    Colours are premultiplied first, so that what lies under transparent pixels never bleeds into the edge.
    """
    size = tuple(max(1, round(side * scale)) for side in rgba.shape[:2])
    layers = rgba.astype(np.float32)
    layers[..., :3] *= layers[..., 3:] / 255.0
    layers, relief = resize(layers, size), resize(relief, size)
    if flip:
        layers, relief = layers[:, ::-1], relief[:, ::-1]
    return layers[..., :3], layers[..., 3] / 255.0, relief


def pyramid(rgba: np.ndarray, relief: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """A cut-out at full, half, quarter ... size, down to 16 px: small pastes then need not touch every stored pixel."""
    levels = [(rgba, relief)]
    while min(levels[-1][0].shape[:2]) >= 32:
        rgb, alpha, relief = scale_cutout(*levels[-1], 0.5, flip=False)
        straight = rgb / np.maximum(alpha, 1 / 255)[..., None]
        levels.append((np.rint(np.dstack([straight, alpha * 255])).clip(0, 255).astype(np.uint8), relief))
    return levels


def level(levels: list[tuple[np.ndarray, np.ndarray]], place: Placement) -> tuple[np.ndarray, np.ndarray, Placement]:
    """The smallest level of a pyramid that still has to be shrunk for `place`, and the placement in terms of it."""
    number = int(np.clip(np.floor(-np.log2(place.scale)), 0, len(levels) - 1))
    return *levels[number], replace(place, scale=place.scale * 2**number)


def paste(
    background: np.ndarray,
    depth: np.ndarray,
    rgba: np.ndarray,
    relief: np.ndarray,
    place: Placement,
    z_near: float,
    recolour: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Composite one cut-out.

    Args:
        background: uint8 (H, W, 3). depth: float32 (H, W), inverse depth in [0, 1].
        rgba, relief: the cut-out, uint8 (h, w, 4), and its depth in metres relative to the contact point, float32 (h, w).
        recolour: a matrix (3, 3) that the cut-out's colours are multiplied with.

    Returns:
        `image` uint8 (H, W, 3), `mask` float32 (H, W) coverage in [0, 1], `depth` float32 (H, W). The object's depth holds
        where it covers at least half a pixel. Parts outside the frame are cut; a grounded object is hidden by what is nearer.
    """
    rgb, alpha, relief = scale_cutout(rgba, relief, place.scale, place.flip)
    height, width = background.shape[:2]
    rows = slice(max(0, place.top), min(height, place.top + alpha.shape[0]))
    cols = slice(max(0, place.left), min(width, place.left + alpha.shape[1]))
    image, mask, new_depth = background.copy(), np.zeros((height, width), np.float32), depth.copy()
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return image, mask, new_depth
    inner = (slice(rows.start - place.top, rows.stop - place.top), slice(cols.start - place.left, cols.stop - place.left))
    rgb, alpha, z = rgb[inner], alpha[inner], np.maximum(place.z + place.unit * relief[inner], 0.05)
    under = depth[rows, cols]
    if place.grounded:
        visible = (under * (z - OCCLUSION_SLACK) <= z_near).astype(np.float32)
        rgb, alpha = rgb * visible[..., None], alpha * visible
    if recolour is not None:
        rgb = np.minimum(np.maximum(rgb @ recolour.T, 0), 255 * alpha[..., None])  # premultiplied: white is 255 times the coverage
    nearness = np.minimum(z_near / z, 1.0)
    if not place.grounded:  # pasted over everything, so no part of it may lie behind what it covers
        nearness = np.maximum(nearness, under)
    image[rows, cols] = np.rint(background[rows, cols] * (1.0 - alpha[..., None]) + rgb).clip(0, 255)
    mask[rows, cols] = alpha
    new_depth[rows, cols] = np.where(alpha >= 0.5, nearness, under)
    return image, mask, new_depth


def stranger(rng: np.random.Generator, texture: np.ndarray, side: int = 96) -> np.ndarray:
    """An object of no kind, RGBA uint8 (h, w, 4): one to four random shapes, filled with a piece of a picture or with plain colours.

    Trained on dogs alone, a network learns to look for dogs; what it should look for is what has changed.
    """
    alpha = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 5)):
        turn = np.linspace(0, 2 * np.pi, int(rng.choice((3, 4, 4, 5, 6, 40, 40))), endpoint=False) + rng.uniform(0, 2 * np.pi)
        wobble = 1 + sum(rng.uniform(0, 0.35) / k * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
        outline = np.stack([np.cos(turn), np.sin(turn)], 1) * wobble[:, None] * np.exp(rng.uniform(-1.7, -0.1, 2)) * side / 2
        tilt = rng.normal(0, 0.4)
        outline = outline @ np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]) + side * rng.uniform(0.3, 0.7, 2)
        cv2.fillPoly(alpha, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    rows, columns = np.flatnonzero(alpha.max(1)), np.flatnonzero(alpha.max(0))
    alpha = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = (max(8, round(length * rng.uniform(0.15, 0.9))) for length in texture.shape[:2])
    top, left = rng.integers(texture.shape[0] - h + 1), rng.integers(texture.shape[1] - w + 1)
    piece = np.ascontiguousarray(texture[top : top + h, left : left + w])
    if rng.random() < 0.35:  # plain: nothing but its corners' colours
        piece = np.ascontiguousarray(piece[:: h - 1, :: w - 1])
    return np.dstack([cv2.resize(piece, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR), alpha])


def place_grounded(
    rng: np.random.Generator,
    ground: np.ndarray,
    depth: np.ndarray,
    shape: tuple[int, int],
    contact: tuple[float, float],
    metres_per_pixel: float,
    camera: Camera,
    z_near: float,
    flip: bool,
) -> Placement | None:
    """Feet on walkable ground, size from the distance there (pinhole: pixels = metres * focal / z). None without such ground.

    Of the sizes that the ground allows, all are equally often: places taken evenly would make most objects small.

    Args:
        ground: flat indices of the walkable pixels of the scene. depth: inverse depth (H, W). shape, contact: of the cut-out.
        camera: of this scene array.
    """
    # The cut-out's longer side in frames at every place of the ground: proportional to the inverse depth there.
    size = depth.ravel()[ground] * (metres_per_pixel * camera.focal * max(shape) / (z_near * min(depth.shape)))
    fits = (size >= max(SIZES[0], SMALLEST / min(depth.shape))) & (size <= SIZES[1])
    ground, size = ground[fits], size[fits]
    if len(ground) == 0:
        return None
    off = np.abs(size - rng.uniform(size.min(), size.max()))
    close = ground[off <= max(0.02, off.min())]
    row, col = divmod(int(close[rng.integers(len(close))]), depth.shape[1])
    z = z_near / float(depth[row, col])
    scale = metres_per_pixel * camera.focal / z
    foot, middle = contact[0] * scale, (shape[1] - contact[1] if flip else contact[1]) * scale
    return Placement(scale, round(row - foot), round(col - middle), flip, z, grounded=True, foot=row, unit=camera.unit)


def place_random(
    rng: np.random.Generator,
    depth: np.ndarray,
    shape: tuple[int, int],
    metres_per_pixel: float | None,
    camera: Camera | None,
    z_near: float,
    flip: bool,
    sizes: tuple[float, float] = SIZES,
) -> Placement:
    """Anywhere in the frame, even in the sky, as the source did; wholly inside, or cut by the frame by up to a third.

    The distance follows from the size when the cut-out's real size is known, but is never behind what the object covers.
    """
    height, width = depth.shape
    longer = rng.uniform(*sizes) * min(height, width)
    scale = max(longer / max(shape), SMALLEST / min(shape))
    h, w = round(shape[0] * scale), round(shape[1] * scale)
    top = int(rng.integers(-h // 3, max(height - h + h // 3, 1 - h // 3)))
    left = int(rng.integers(-w // 3, max(width - w + w // 3, 1 - w // 3)))
    covered = depth[max(0, top) : top + h, max(0, left) : left + w]
    nearest = float(covered.max(initial=1e-3)) * IN_FRONT
    natural = z_near * scale / (metres_per_pixel * camera.focal) if metres_per_pixel and camera else 0.0
    return Placement(scale, top, left, flip, z_near / max(nearest, natural, 1e-3), grounded=False, unit=camera.unit if camera else 1.0)


def contact_shadow(image: np.ndarray, mask: np.ndarray, foot_row: float, strength: float) -> np.ndarray:
    """Darken the floor softly around the feet: the object's lower quarter, flattened and blurred. uint8 in, uint8 out."""
    rows = np.arange(mask.shape[0], dtype=np.float32)[:, None]
    height = max(2.0, float((mask.max(axis=1) > 0.5).sum()))
    feet = mask * (np.abs(rows - foot_row) < height / 4)
    blurred = cv2.GaussianBlur(feet, (0, 0), max(0.8, height / 10), sigmaY=max(0.5, height / 30))
    shade = 1.0 - strength * blurred * (1.0 - mask)
    return np.rint(image * shade[..., None]).astype(np.uint8)
