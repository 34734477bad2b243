"""Variants of the network: each differs from MaskDepthNet in one choice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.model.decoders import Decoder
from eva_helpers.model.net import DEPTH_DETAIL, MASK_LAYERS, MaskDepthNet, ModelConfig


class Unmatched(MaskDepthNet):
    """The background is not aligned with the image before the encoder."""

    def match(self, background: Tensor, image: Tensor) -> Tensor:
        return background


class BothFeatures(MaskDepthNet):
    """The decoders get the features of image and background, not their difference."""

    def fuse(self, image: Tensor, background: Tensor) -> Tensor:
        return torch.cat([image, background], dim=1)


class DifferenceAlone(MaskDepthNet):
    """The decoders get the difference of the features alone."""

    def fuse(self, image: Tensor, background: Tensor) -> Tensor:
        return image - background


class OneDetailLayer(MaskDepthNet):
    """The mask decoder has one hidden convolution at full resolution."""

    def build_decoders(self, skips: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        return decoders(self.config, skips, layers=1)


class WithoutCoordinates(MaskDepthNet):
    """The depth decoder is not told where in the frame a pixel is."""

    def build_decoders(self, skips: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        return decoders(self.config, skips, coordinates=False)


class OneDepthMap(MaskDepthNet):
    """The depth is a single map, not the object's in front of the scene's."""

    def build_decoders(self, skips: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        return decoders(self.config, skips, maps=1)

    def compose_depth(self, depth_maps: Tensor, mask: Tensor) -> Tensor:
        return depth_maps


class MaskSeenByDepth(MaskDepthNet):
    """The depth decoder also sees the predicted mask at full resolution."""

    def build_decoders(self, skips: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        return decoders(self.config, skips, guides=10)

    def predict_depth(self, skips: list[Tensor], guides: Tensor, mask: Tensor) -> Tensor:
        return super().predict_depth(skips, torch.cat([guides, mask], dim=1), mask)


class Supervised(MaskDepthNet):
    """Deep supervision: both decoders also predict at 1/4 (see SupervisedTrainer)."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self.heads = nn.ModuleList(nn.Conv2d(self.config.decoder[1], 1, 1) for _ in range(2))

    def auxiliary_loss(self, features: list[Tensor], batch: Batch) -> Tensor:
        """Loss of the predictions at 1/4 from the features of the two decoders there."""
        logits, depth_logits = (
            head(feature.float()) for head, feature in zip(self.heads, features, strict=True)
        )
        mask, depth = (
            F.adaptive_avg_pool2d(batch[name], logits.shape[2:]) for name in ("mask", "depth")
        )
        mask_loss = F.binary_cross_entropy_with_logits(logits, mask)
        return 0.3 * mask_loss + 0.7 * F.l1_loss(depth_logits.sigmoid(), depth)


def decoders(
    config: ModelConfig, skips: tuple[int, ...], layers: int = MASK_LAYERS, **depth: int
) -> tuple[Decoder, Decoder]:
    """The decoders of MaskDepthNet with other `layers` or other arguments of the depth's."""
    options = {"coordinates": True, "maps": 2} | depth
    return (
        Decoder(skips, config.decoder, config.detail, layers),
        Decoder(skips, config.decoder, DEPTH_DETAIL, **options),
    )
