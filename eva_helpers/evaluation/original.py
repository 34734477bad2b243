"""The original project's network and loss, rebuilt from its description for comparison.

Two branches, for image (with residual blocks) and background, and two heads of 3x3 convolutions,
all at full resolution: nothing is strided. This rebuild has the published receptive field (21 px)
and 97 % of the published 3,199,552 parameters.
"""

import torch
from torch import Tensor, nn

from eva_helpers.losses import LossWeights, raw_terms, weighted_sum
from eva_helpers.model.encoders import conv_bn


class Layer(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*conv_bn(inputs, outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """A layer to the new width, then two more with a skip connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = Layer(inputs, outputs)
        self.inner = nn.Sequential(Layer(outputs, outputs), Layer(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return x + self.inner(x)


class OriginalNet(nn.Module):
    """Background and image (B, 3, H, W) -> mask logits and depth (B, 1, H, W), as MaskDepthNet."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(Layer(3, 32), Residual(32, 64), Residual(64, 128))
        widths = (3, 32, 64, 64, 128, 128)
        self.background = nn.Sequential(*map(Layer, widths[:-1], widths[1:]))
        self.heads = nn.ModuleList(
            nn.Sequential(Layer(256, 256), Layer(256, 256), nn.Conv2d(256, 1, 3, padding=1))
            for _ in range(2)
        )

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.background(background), self.image(image)], dim=1)
        mask_logits, depth_logits = (head(x) for head in self.heads)
        return mask_logits, torch.sigmoid(depth_logits)


def original_loss(mask_logits: Tensor, depth: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """0.3 BCE + 0.7 (SSIM + edge + 0.1 L1), from this project's terms: only the networks differ."""
    return weighted_sum(raw_terms(mask_logits, depth, batch), LossWeights(l1=0.1, dice=0.0))
