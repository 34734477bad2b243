"""A narrow network with one decoder for both tasks: where the loss weights really matter.

background and image -> encoder, halved five times -> one decoder -> mask logits and depth

Encoder, decoder and all but the last convolution are shared by mask and depth, as in the original
project, and there are few channels to share.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eva_helpers.model.net import check_photos

WIDTHS = (8, 16, 24, 32, 40)  # channels at 1/2, 1/4, 1/8, 1/16 and 1/32
GROUPS = 4  # of a normalisation
INPUTS = 6  # channels of both photos


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, group normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.ReLU())


class NarrowNet(nn.Module):
    """Background and image (B, 3, H, W) in [0, 1] -> mask logits and inverse depth, (B, 1, H, W).

    Depth is in [0, 1], near = 1. Raises ValueError as `MaskDepthNet`.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        down = zip((INPUTS, *widths), widths, strict=False)
        self.encoder = nn.ModuleList(block(*channels, stride=2) for channels in down)
        finer = (*widths[-2::-1], INPUTS)
        coarser = (*widths[:0:-1], widths[0])
        outputs = (*widths[-2::-1], widths[0])
        self.decoder = nn.ModuleList(
            block(low + skip, out) for low, skip, out in zip(coarser, finer, outputs, strict=True)
        )
        self.last = nn.Conv2d(widths[0], 2, 3, padding=1)

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        check_photos(background, image)
        skips = [torch.cat([background, image], dim=1) - 0.5]
        for down in self.encoder:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.decoder:
            skip = skips.pop()
            x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([x, skip], dim=1))
        mask_logits, depth = self.last(x).float().chunk(2, dim=1)
        return mask_logits, depth.sigmoid()
