"""Drawing an enlarged mask's outline, tile by tile, with the network's refiner."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from eva_helpers.hardware import autocast
from eva_helpers.images import resize
from eva_helpers.model.refiner import REACH

TILE = 64  # px, of the tiles that are refined; REACH around them is seen
BATCH = 32  # tiles at a time
MOST = 5000  # tiles: a mask whose outline is everywhere is only enlarged
CERTAIN = 0.03  # distance from 0 or 1 within which a pixel needs no refinement
NEAR = 4  # px before enlarging: as far from uncertain pixels the outline is drawn again

Tone = Callable[[Tensor, Tensor], Tensor]  # of backgrounds to that of images
Tile = tuple[int, int]  # top, left


def sharpened(
    refiner: nn.Module, tone: Tone, background: np.ndarray, image: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """The mask (h, w) at the photos' size, its outline drawn from them, float32 (H, W).

    `background` and `image` are uint8 (H, W, 3), aligned but for the tones, and at most about
    twice as large as the mask. What is farther than about a tile from the outline is only enlarged.
    """
    shape = image.shape[:2]
    enlarged = resize(mask, shape).copy()
    tiles = outline_tiles(mask, shape)
    if len(tiles) > MOST:
        return enlarged
    result = enlarged.copy()
    for start in range(0, len(tiles), BATCH):
        batch = tiles[start : start + BATCH]
        photos = [_cut(photo, batch).div(255) for photo in (background, image)]
        masks = _cut(enlarged[..., None], batch)
        with torch.inference_mode():
            aligned = tone(*photos)
            with autocast("cpu"):
                refined = refiner(aligned, photos[1], masks).float().sigmoid()[:, 0].numpy()
        for (top, left), part in zip(batch, refined, strict=True):
            place = result[top : top + TILE, left : left + TILE]
            place[:] = part[REACH : REACH + len(place), REACH : REACH + place.shape[1]]
    return result


def outline_tiles(mask: np.ndarray, shape: tuple[int, int]) -> list[Tile]:
    """The tiles of a frame of `shape` that are near uncertain pixels of a mask (h, w)."""
    uncertain = ((mask > CERTAIN) & (mask < 1 - CERTAIN)).astype(np.uint8)
    # a sharp edge has no uncertain pixel: there, neighbours differ
    edge = cv2.morphologyEx((mask > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    near = cv2.dilate(np.maximum(edge, uncertain), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8))
    rows, columns = np.nonzero(near)
    scale = np.divide(shape, mask.shape)
    tiles = (np.stack([rows, columns], 1) * scale // TILE).astype(int)
    return [tuple(tile) for tile in (np.unique(tiles, axis=0) * TILE).tolist()]


def _cut(array: np.ndarray, tiles: list[Tile]) -> Tensor:
    """Tiles (N, C, TILE + 2 REACH, ...) of (H, W, C), float32; its border is repeated outside."""
    side = TILE + 2 * REACH
    height, width, channels = array.shape
    parts = np.empty((len(tiles), side, side, channels), array.dtype)
    for part, (top, left) in zip(parts, tiles, strict=True):
        rows = np.arange(top - REACH, top - REACH + side).clip(0, height - 1)
        columns = np.arange(left - REACH, left - REACH + side).clip(0, width - 1)
        part[:] = array[rows[:, None], columns]
    return torch.from_numpy(parts).permute(0, 3, 1, 2).float()
