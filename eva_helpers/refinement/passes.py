"""From a coarse mask to one at the photo's own size.

whole frame, at most 224 px -> coarse mask -> boxes around objects
each box, at most 448 px -> the same network again -> fine mask
twice as large, on tiles along the outline -> refiner -> ... -> the photo's own size
"""

from copy import deepcopy

import cv2
import numpy as np
import torch
from torch import Tensor

from eva_helpers.hardware import autocast
from eva_helpers.images import resize
from eva_helpers.model import MaskDepthNet
from eva_helpers.refinement.aligned import AlignedPair, as_photos
from eva_helpers.refinement.boxes import Box, grown, object_boxes
from eva_helpers.refinement.tiles import sharpened
from eva_helpers.schemas import MIN_SIDE

INPUT_SIZE = 224  # px of the longer side at which the whole frame is seen
BOX_SIZE = 448  # px of the longer side at which a box is seen again
WORTHWHILE = 1.1  # times the coarse resolution, for a second pass
SUPPORT = 1.0  # weight of the first pass's logits beside those of the second
SUREST = 0.005  # distance of a probability from 0 and 1 at least
FADE = 0.05  # share of a box's sides in which its mask fades into the coarse one
STRIP = 256  # rows whose depth is composed at a time: large photos need no more memory


class CoarseToFine:
    """Mask and depth at the photos' own size, on the CPU, by a copy of `net`.

    The whole frame is seen at `size` px or less of the longer side. With `step`, boxes are seen in
    few sizes only, multiples of so many px: every other size costs memory that is not given back.
    Called with photos as tensors
    (B, 3, H, W) in [0, 1], it returns (B, 1, H, W), as `model.inference` does.
    """

    def __init__(self, net: MaskDepthNet, size: int = INPUT_SIZE, step: int = 1) -> None:
        self.net = deepcopy(net).eval().cpu().to(memory_format=torch.channels_last)
        self.size = size
        self.step = step

    def __call__(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        shots = (as_photos(photos) for photos in (background, image))
        maps = [self.maps(*pair) for pair in zip(*shots, strict=True)]
        mask, depth = (np.stack(each)[:, None] for each in zip(*maps, strict=True))
        return torch.from_numpy(mask), torch.from_numpy(depth)

    def maps(self, background: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mask and depth of uint8 RGB photos (H, W, 3), float32 (H, W) in [0, 1]."""
        pair, coarse, depth_maps = self.first_pass(background, image)
        mask = self.refined(pair, coarse)
        return mask, self._composed_depth(depth_maps, mask)

    def first_pass(
        self, background: np.ndarray, image: np.ndarray
    ) -> tuple[AlignedPair, np.ndarray, np.ndarray]:
        """The aligned pair; the coarse mask (h, w); depth maps (n, h, w)."""
        with torch.inference_mode():
            pair = self._aligned(background, image)
            with autocast("cpu"):
                mask_logits, depth_maps = self.net.predict_layers(*pair.small)
        return pair, mask_logits.sigmoid()[0, 0].numpy(), depth_maps[0].numpy()

    def coarse_mask(self, background: np.ndarray, image: np.ndarray) -> np.ndarray:
        """The mask (h, w) of `first_pass`, without the time for the depth."""
        with torch.inference_mode():
            pair = self._aligned(background, image)
            with autocast("cpu"):
                mask_logits = self.net.predict_mask(*pair.small)
        return mask_logits.sigmoid()[0, 0].numpy()

    def _aligned(self, background: np.ndarray, image: np.ndarray) -> AlignedPair:
        scale = min(1.0, self.size / max(image.shape[:2]))
        return AlignedPair(background, image, _scaled(image.shape[:2], scale))

    def refined(self, pair: AlignedPair, coarse: np.ndarray) -> np.ndarray:
        """The mask at the photos' own size, float32 (H, W), from a coarse one (h, w)."""
        mask = resize(coarse, pair.image.shape[:2]).copy()
        for box in object_boxes(coarse, pair.image.shape):
            if self.step > 1:
                parts = -(-max(box[2] - box[0], box[3] - box[1]) // BOX_SIZE)
                box = grown(box, self.step * parts, mask.shape)
            sides = (box[2] - box[0], box[3] - box[1])
            scale = min(1.0, BOX_SIZE / max(sides))
            if scale * max(mask.shape) < WORTHWHILE * max(coarse.shape):
                continue
            fine = self.second_pass(pair, box, _scaled(sides, scale))
            fine = _supported(fine, _inside(_evidence(coarse), mask.shape, box, fine.shape))
            while self.net.refiner is not None and min(np.divide(sides, fine.shape)) > 1:
                twice = tuple(np.minimum(np.multiply(fine.shape, 2), sides).tolist())
                crops = pair.crop(box, twice)
                fine = sharpened(self.net.refiner, pair.match.tone, *crops, fine)
            _paste(mask, resize(fine, sides), box)
        return mask

    def second_pass(self, pair: AlignedPair, box: Box, size: tuple[int, int]) -> np.ndarray:
        """The mask of a box at `size` (height, width), float32."""
        photos = pair.tensors(*pair.crop(box, size))
        with torch.inference_mode(), autocast("cpu"):
            return self.net.predict_mask(*photos).sigmoid()[0, 0].numpy()

    def _composed_depth(self, depth_maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Depth at the size of a mask (H, W), whose edges it follows, from maps (n, h, w)."""
        maps = [torch.from_numpy(resize(each, mask.shape)) for each in depth_maps]
        depth = np.empty_like(mask)
        for row in range(0, len(mask), STRIP):
            rows = slice(row, row + STRIP)
            strips = torch.stack([each[rows] for each in maps])[None]
            part = self.net.compose_depth(strips, torch.from_numpy(mask[rows])[None, None])
            depth[rows] = part[0, 0].clamp(0, 1).numpy()
        return depth


def _scaled(sides: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Height and width times `scale`, at least MIN_SIDE."""
    height, width = (max(MIN_SIDE, round(side * scale)) for side in sides)
    return height, width


def _evidence(coarse: np.ndarray) -> np.ndarray:
    """Logits of a coarse mask away from its outline, where a finer pass knows better; there 0."""
    near = np.ones((3, 3), np.uint8)
    inside = _logit(cv2.erode(coarse, near))
    outside = _logit(cv2.dilate(coarse, near))
    return np.maximum(inside, 0) + np.minimum(outside, 0)


def _supported(fine: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """A fine mask with the coarse one's evidence: a box shows less of what surrounds an object.

    A shadow that fills a box looks like an object, and the inside of a large one like nothing new.
    """
    logits = _logit(fine) + SUPPORT * evidence
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _logit(mask: np.ndarray) -> np.ndarray:
    sure = np.clip(mask, SUREST, 1 - SUREST)
    return np.log(sure / (1 - sure))


def _inside(
    small: np.ndarray, frame: tuple[int, ...], box: Box, size: tuple[int, ...]
) -> np.ndarray:
    """The part of a small map of a frame (H, W) that is in a box, at `size` (height, width)."""
    top, left, bottom, right = box
    rows, columns = np.divide(small.shape, frame)
    down = (bottom - top) / size[0] * rows
    along = (right - left) / size[1] * columns
    to_map = np.array(
        [[along, 0, left * columns + along / 2 - 0.5], [0, down, top * rows + down / 2 - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(small, to_map, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _paste(mask: np.ndarray, fine: np.ndarray, box: Box) -> None:
    """Put a box's mask into the whole one, fading in except at the frame's edges."""
    top, left, bottom, right = box
    share_y = _fade(top, bottom, mask.shape[0])
    share_x = _fade(left, right, mask.shape[1])
    place = mask[top:bottom, left:right]
    place += (fine - place) * share_y[:, None] * share_x


def _fade(start: int, end: int, frame: int) -> np.ndarray:
    """Share of a box from `start` to `end` along one axis, float32 (end - start,)."""
    length = end - start
    steps = (np.arange(length, dtype=np.float32) + 1) / max(1.0, FADE * length)
    rising = np.minimum(steps, 1) if start > 0 else np.ones_like(steps)
    falling = np.minimum(steps[::-1], 1) if end < frame else np.ones_like(steps)
    return rising * falling
