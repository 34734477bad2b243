"""The losses: BCE for the mask; Kornia SSIM, edges and L1 for the depth; and one visible weighted sum.

Every term is a plain function that returns its raw value. The weights are applied in `weighted_sum` and nowhere else, and the raw
terms are what is logged, so a recorded curve can be re-weighted afterwards.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from kornia.losses import ssim_loss
from torch import Tensor

SSIM_WINDOW = 11  # the window of the SSIM paper (Wang et al., 2004)


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts: mask against depth, and within the depth SSIM, edges and L1.

    0.3 / 0.7 is the source's balance (the depth is the harder task). The source gives L1 only 0.1; here it is 1, because SSIM and
    edges are nearly blind to a constant offset, and without L1 nothing holds the level of the depth.

    Raises:
        ValueError: a weight is negative or not finite, or nothing is left to train.
    """

    mask: float = 0.3
    depth: float = 0.7
    ssim: float = 1.0
    edge: float = 1.0
    l1: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"loss weight {name} is {value!r}: expected a finite number, zero or more.")
        if self.mask == 0 and self.depth * (self.ssim + self.edge + self.l1) == 0:
            raise ValueError("all loss weights are zero: give mask, or depth with one of ssim, edge, l1, a positive weight.")


def mask_bce(mask_logits: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits (B, 1, H, W) against soft coverage in [0, 1]; any real logits."""
    return F.binary_cross_entropy_with_logits(mask_logits, mask)


def depth_ssim(depth: Tensor, target: Tensor) -> Tensor:
    """Kornia's SSIM loss, mean of clamp((1 - SSIM) / 2, 0, 1), on depth (B, 1, H, W) in [0, 1]; nearly blind to an offset."""
    return ssim_loss(depth, target, SSIM_WINDOW, max_val=1.0)


def depth_edge(depth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the finite differences along rows and along columns (the edge term of DenseDepth, Alhashim 2018)."""
    error = depth - target
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def depth_l1(depth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of inverse depth."""
    return F.l1_loss(depth, target)


def raw_terms(mask_logits: Tensor, depth: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """All terms, unweighted: `mask` (BCE), `ssim`, `edge`, `l1`, each a scalar. `batch` follows the data contract."""
    mask, target = batch["mask"], batch["depth"]
    return {
        "mask": mask_bce(mask_logits, mask),
        "ssim": depth_ssim(depth, target),
        "edge": depth_edge(depth, target),
        "l1": depth_l1(depth, target),
    }


def weighted_sum(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """`w.mask * mask + w.depth * (w.ssim * ssim + w.edge * edge + w.l1 * l1)`.

    A part of weight 0 is left out, so that its decoder gets no gradient at all.

    Raises:
        ValueError: a term is missing or unknown.
    """
    expected = {"mask", "ssim", "edge", "l1"}
    if terms.keys() != expected:
        raise ValueError(f"loss terms are {sorted(terms)}: expected {sorted(expected)}.")
    parts = {
        "mask": weights.mask,
        "ssim": weights.depth * weights.ssim,
        "edge": weights.depth * weights.edge,
        "l1": weights.depth * weights.l1,
    }
    return torch.stack([weight * terms[name] for name, weight in parts.items() if weight > 0]).sum()
