"""A pair of photos at its own size, aligned by what a small copy of it has shown."""

from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from eva_helpers.images import resize
from eva_helpers.model.matching import Match, fit
from eva_helpers.refinement.boxes import Box

STILL = 0.25  # px: a smaller movement of the whole photo is not worth resampling it


def as_tensor(photo: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) as float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float().div(255)[None]


def as_photos(tensors: Tensor) -> list[np.ndarray]:
    """The inverse of `as_tensor`, for (B, 3, H, W): B photos."""
    values = (tensors.detach().cpu() * 255).round().clamp(0, 255).byte()
    return list(values.permute(0, 2, 3, 1).numpy())


class AlignedPair:
    """Background and image, uint8 RGB (H, W, 3), aligned on copies of `size` (height, width).

    The alignment is a few numbers, so it is fitted once and applied at any size.
    """

    def __init__(self, background: np.ndarray, image: np.ndarray, size: tuple[int, int]) -> None:
        self.background = background
        self.image = image
        small, goal = (as_tensor(resize(photo, size)) for photo in (background, image))
        self.match: Match = fit(small, goal)
        self.small = (self.match.tone(self.match.move(small), goal), goal)

    @cached_property
    def moved(self) -> np.ndarray:
        """The background, moved to match the image."""
        height, width = self.image.shape[:2]
        matrix = self.match.matrix(0, height, width)
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
        if np.abs(corners @ matrix.T - corners[:, :2]).max() < STILL:
            return self.background
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self.background, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )

    def crop(self, box: Box, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The moved background and the image in a box, uint8 at `size` (height, width)."""
        top, left, bottom, right = box
        part = (slice(top, bottom), slice(left, right))
        return resize(self.moved[part], size), resize(self.image[part], size)

    def tensors(self, background: np.ndarray, image: np.ndarray) -> tuple[Tensor, Tensor]:
        """Parts that `crop` returned, in the image's tones, (1, 3, h, w) in [0, 1]."""
        goal = as_tensor(image)
        return self.match.tone(as_tensor(background), goal), goal
