"""The raw loss terms: scalars of maps (B, 1, H, W). Depth is inverse depth in [0, 1]."""

import torch.nn.functional as F
from torch import Tensor

from eva_helpers.losses.ssim import depth_ssim


def mask_bce(mask_logits: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits against soft coverage in [0, 1]."""
    return F.binary_cross_entropy_with_logits(mask_logits, mask)


def mask_dice(mask_logits: Tensor, mask: Tensor) -> Tensor:
    """Soft Dice loss (Milletari et al., 2016), which counts small objects as much as large ones.

    Mean over images of `1 - (2 sum(p m) + 1) / (sum(p^2) + sum(m^2) + 1)`: 0 for two empty masks.
    """
    p = mask_logits.sigmoid().flatten(1)
    m = mask.flatten(1)
    total = p.square().sum(1) + m.square().sum(1)
    return (1 - (2 * (p * m).sum(1) + 1) / (total + 1)).mean()


def depth_edge(depth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of finite differences, rows plus columns (Alhashim and Wonka, 2018)."""
    return _slopes(depth - target)


def _slopes(error: Tensor) -> Tensor:
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def depth_l1(depth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(depth, target)


def align_scale_shift(depth: Tensor, target: Tensor) -> Tensor:
    """`scale * depth + shift`, least-squares fit to `target` per image; constant depth: scale 0."""
    x = depth.flatten(1)
    y = target.flatten(1)
    centred = x - x.mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True).clamp_min(1e-6)
    scale = (centred * y).sum(1, keepdim=True) / variance
    return (scale * centred + y.mean(1, keepdim=True)).view_as(depth)


def depth_ssi(depth: Tensor, target: Tensor, scales: int = 4) -> Tensor:
    """Scale-and-shift-invariant loss for labels without a scale (MiDaS, Ranftl et al., 2020).

    Mean `|aligned - target|`, plus half its finite differences at each of `scales` halved sizes.
    """
    error = align_scale_shift(depth, target) - target
    loss = error.abs().mean()
    for _ in range(scales):
        loss = loss + 0.5 * _slopes(error)
        if min(error.shape[2:]) < 4:
            break
        error = F.avg_pool2d(error, 2)
    return loss


DEPTH_LOSSES = {"ssim": depth_ssim, "edge": depth_edge, "l1": depth_l1, "ssi": depth_ssi}


def raw_terms(mask_logits: Tensor, depth: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """All terms of TERMS, unweighted scalars; `batch` holds the true `mask` and `depth`.

    The terms of depth are means over the samples with a depth label; 0, without gradient, where no
    sample has one.
    """
    mask = batch["mask"]
    terms = {"mask": mask_bce(mask_logits, mask), "dice": mask_dice(mask_logits, mask)}
    target = batch["depth"]
    labelled = target.flatten(1).any(1)
    if not labelled.any():
        return terms | dict.fromkeys(DEPTH_LOSSES, depth.new_zeros(()))
    if not labelled.all():
        depth, target = depth[labelled], target[labelled]
    return terms | {name: loss(depth, target) for name, loss in DEPTH_LOSSES.items()}
