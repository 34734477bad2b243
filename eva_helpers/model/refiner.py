"""Sharpening a mask at twice its resolution: the last passes over a large photo.

Below the size at which the encoder and the decoder have found the object, only its outline is left
to be drawn, and that needs a few pixels around it. So this small network runs on tiles along the
outline alone, as the refinement stage of BackgroundMattingV2 does (Lin et al., 2021), and again at
twice that size until the photo's own is reached.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUTS = 10  # channels: image, difference, |difference|, mask
DETAIL = 8  # channels at full resolution
LIMIT = 0.002  # the mask's distance from 0 and 1 at least, so that its logit can still be turned
REACH = 20  # px: what is farther away affects no pixel


class Refiner(nn.Module):
    """Background and image (B, 3, H, W), an enlarged mask (B, 1, H, W), in [0, 1] -> logits.

    The background is aligned with the image; H and W are even. Most layers run at half resolution,
    where 2x2 pixels are channels. Without normalisation layers a tile has the same result alone as
    in its picture, except within REACH of its edge. A new refiner changes nothing.
    """

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        sizes = ((4 * INPUTS, channels), (channels, channels), (channels, channels))
        layers = [
            (nn.Conv2d(*size, 3, padding=2**number, dilation=2**number), nn.ReLU())
            for number, size in enumerate(sizes)
        ]
        self.surroundings = nn.Sequential(*(part for layer in layers for part in layer))
        self.to_detail = nn.Conv2d(channels, 4 * DETAIL, 1)
        last = nn.Conv2d(DETAIL, 1, 3, padding=1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.detail = nn.Sequential(
            nn.Conv2d(DETAIL + INPUTS, DETAIL, 3, padding=1), nn.ReLU(), last
        )

    def forward(self, background: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        difference = image - background
        known = torch.cat([image - 0.5, difference, difference.abs(), mask - 0.5], dim=1)
        coarse = self.to_detail(self.surroundings(F.pixel_unshuffle(known, 2)))
        change = self.detail(torch.cat([F.pixel_shuffle(coarse, 2), known.to(coarse.dtype)], dim=1))
        return mask.clamp(LIMIT, 1 - LIMIT).logit() + change.float()
