"""The losses: BCE and Dice for the mask; Kornia SSIM, edges, L1 and a scale-free term for the depth; and one visible weighted sum.

Every term is a plain function that returns its raw value. The weights are applied in `weighted_sum` and nowhere else, and the raw
terms are what is logged, so a recorded curve can be re-weighted afterwards.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor

SSIM_WINDOW = 11  # the window of the SSIM paper (Wang et al., 2004)
SSIM_SIGMA = 1.5  # and its width, which Kornia fixes
TERMS = {"mask": "mask", "dice": "mask", "ssim": "depth", "edge": "depth", "l1": "depth", "ssi": "depth"}  # term -> its task
CONDITIONED = ("mask", "ssim", "edge", "l1")  # the terms whose weights a conditional network takes
BALANCES = ("fixed", "uncertainty", "geometric")


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts: mask against depth, Dice beside the mask's BCE, and within the depth SSIM, edges, L1 and `ssi`.

    0.3 / 0.7 is the source's balance (the depth is the harder task). The source gives L1 only 0.1; here it is 1, because SSIM and
    edges are nearly blind to a constant offset, and without L1 nothing holds the level of the depth. `ssi`, the scale-and-shift-
    invariant term, is for labels without a scale and off by default.

    Raises:
        ValueError: a weight is negative or not finite, or nothing is left to train.
    """

    mask: float = 0.3
    depth: float = 0.7
    ssim: float = 1.0
    edge: float = 1.0
    l1: float = 1.0
    dice: float = 1.0
    ssi: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise ValueError(f"loss weight {name} is {value!r}: expected a finite number, zero or more.")
        if not any(self.parts().values()):
            raise ValueError("all loss weights are zero: give mask, or depth with one of ssim, edge, l1, ssi, a positive weight.")

    def parts(self) -> dict[str, float]:
        """What each raw term is multiplied with."""
        inner = {"mask": 1.0, "dice": self.dice, "ssim": self.ssim, "edge": self.edge, "l1": self.l1, "ssi": self.ssi}
        return {name: getattr(self, task) * inner[name] for name, task in TERMS.items()}


def mask_bce(mask_logits: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits (B, 1, H, W) against soft coverage in [0, 1]; any real logits."""
    return F.binary_cross_entropy_with_logits(mask_logits, mask)


def mask_dice(mask_logits: Tensor, mask: Tensor) -> Tensor:
    """Soft Dice loss, mean over images of 1 - (2 sum(p m) + 1) / (sum(p^2) + sum(m^2) + 1) (Milletari et al., 2016).

    Unlike BCE it counts a small object as much as a large one. The 1 makes an empty mask well defined: 0 if nothing is predicted.
    """
    p, m = mask_logits.sigmoid().flatten(1), mask.flatten(1)
    overlap, total = (p * m).sum(1), p.square().sum(1) + m.square().sum(1)
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


@lru_cache(maxsize=16)
def _blur_matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """SSIM's Gaussian along one axis, borders included, as a matrix (size, size): Kornia's own filter applied to the identity."""
    kernel = get_gaussian_kernel1d(SSIM_WINDOW, SSIM_SIGMA, device=device, dtype=dtype)
    one = torch.ones(1, 1, device=device, dtype=dtype)
    return filter2d_separable(torch.eye(size, device=device, dtype=dtype)[None, None], kernel, one)[0, 0].T.contiguous()


def ssim_map(depth: Tensor, target: Tensor) -> Tensor:
    """SSIM at every pixel (Wang et al., 2004), (B, 1, H, W): the same numbers as `kornia.metrics.ssim(depth, target, 11)`, to rounding.

    The blur is two matrix products instead of a convolution with wide borders, which is several times faster on a CPU.

    Raises:
        ValueError: a side is not larger than half the window.
    """
    if min(depth.shape[2:]) <= SSIM_WINDOW // 2:
        raise ValueError(f"depth is {tuple(depth.shape)}: expected sides of more than {SSIM_WINDOW // 2} px.")
    rows, columns = (_blur_matrix(side, depth.device, depth.dtype) for side in depth.shape[2:])
    moments = torch.cat([depth, target, depth * depth, target * target, depth * target], dim=1)
    x, y, xx, yy, xy = (rows @ moments @ columns.T).split(1, dim=1)
    c1, c2 = 0.01**2, 0.03**2
    return (2 * x * y + c1) * (2 * (xy - x * y) + c2) / ((x * x + y * y + c1) * (xx - x * x + yy - y * y + c2) + 1e-12)


def depth_ssim(depth: Tensor, target: Tensor) -> Tensor:
    """Kornia's SSIM loss, mean of clamp((1 - SSIM) / 2, 0, 1), on depth (B, 1, H, W) in [0, 1]; nearly blind to an offset."""
    return ((1 - ssim_map(depth, target)) / 2).clamp(0, 1).mean()


def depth_edge(depth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the finite differences along rows and along columns (the edge term of DenseDepth, Alhashim 2018)."""
    return _slopes(depth - target)


def _slopes(error: Tensor) -> Tensor:
    return error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def depth_l1(depth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of inverse depth."""
    return F.l1_loss(depth, target)


def align(depth: Tensor, target: Tensor) -> Tensor:
    """`scale * depth + shift`, fitted to `target` per image by least squares; (B, 1, H, W) both. A constant depth keeps scale 0."""
    x, y = depth.flatten(1), target.flatten(1)
    centred = x - x.mean(1, keepdim=True)
    scale = (centred * y).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp_min(1e-6)
    return (scale * centred + y.mean(1, keepdim=True)).view_as(depth)


def depth_ssi(depth: Tensor, target: Tensor, scales: int = 4) -> Tensor:
    """Scale-and-shift-invariant loss: mean |aligned - target|, plus its finite differences at `scales` halved sizes, halved in weight.

    After MiDaS (Ranftl et al., 2020); for labels that have no scale. The fit itself is differentiated through.
    """
    error = align(depth, target) - target
    loss = error.abs().mean()
    for _ in range(scales):
        loss = loss + 0.5 * _slopes(error)
        if min(error.shape[2:]) < 4:
            break
        error = F.avg_pool2d(error, 2)
    return loss


def raw_terms(mask_logits: Tensor, depth: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """All terms, unweighted: those of TERMS, each a scalar. `batch` follows the data contract."""
    mask, target = batch["mask"], batch["depth"]
    return {
        "mask": mask_bce(mask_logits, mask),
        "dice": mask_dice(mask_logits, mask),
        "ssim": depth_ssim(depth, target),
        "edge": depth_edge(depth, target),
        "l1": depth_l1(depth, target),
        "ssi": depth_ssi(depth, target),
    }


def weighted_sum(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """`w.mask * (mask + w.dice * dice) + w.depth * (w.ssim * ssim + w.edge * edge + w.l1 * l1 + w.ssi * ssi)`.

    A part of weight 0 is left out, so that its decoder gets no gradient at all.

    Raises:
        ValueError: a term is missing or unknown.
    """
    if terms.keys() != TERMS.keys():
        raise ValueError(f"loss terms are {sorted(terms)}: expected {sorted(TERMS)}.")
    return torch.stack([weight * terms[name] for name, weight in weights.parts().items() if weight > 0]).sum()


def task_losses(terms: dict[str, Tensor], weights: LossWeights) -> tuple[Tensor, Tensor]:
    """The mask's loss and the depth's, each weighted within itself and not against the other; errors as `weighted_sum`."""
    mask, depth = (replace(weights, mask=share, depth=1.0 - share) for share in (1.0, 0.0))
    return weighted_sum(terms, mask), weighted_sum(terms, depth)


def condition(weights: LossWeights) -> Tensor:
    """The weights as a conditional network takes them: mask, ssim, edge and l1 parts, (4,), scaled to the sum 1.

    Raises:
        ValueError: none of the four has a weight.
    """
    parts = torch.tensor([weights.parts()[name] for name in CONDITIONED])
    if parts.sum() == 0:
        raise ValueError("mask, ssim, edge and l1 all have weight 0: a conditional network knows no other terms.")
    return parts / parts.sum()


def drawn_weights(rng: np.random.Generator, usual: LossWeights) -> tuple[LossWeights, LossWeights]:
    """A random `normalised` weighting and its mirror: what counts n times its usual proportion in one counts 1/n times in the other.

    Mask, SSIM, edges and L1 are even in the logarithm, one of them over twice the range, as when one knob is turned far; Dice and `ssi`
    are `usual`. In mirrored pairs, so that what is common to all weightings pulls the answers to both alike.
    """
    shares, rest = condition(usual).double().numpy(), normalised(usual)
    ratios = rng.uniform(-3, 3, len(CONDITIONED))
    ratios[rng.integers(len(CONDITIONED))] *= 2

    def weighting(sign: int) -> LossWeights:
        parts = shares * np.exp(sign * ratios)
        mask, *inner = (parts / parts.sum()).tolist()
        return LossWeights(mask, 1 - mask, *(part / (1 - mask) for part in inner), rest.dice, rest.ssi)

    return weighting(1), weighting(-1)


def emphasised(weights: LossWeights, term: str, share: float) -> LossWeights:
    """The `normalised` weighting in which `term` (mask, ssim, edge or l1) has `share` of the whole; the others keep their proportions.

    Raises:
        ValueError: another term, a share that is not between 0 and 1, or weights that leave nothing to the others (and see `normalised`).
    """
    parts = dict(zip(CONDITIONED, condition(weights).tolist(), strict=True))
    if term not in parts or not 0 < share < 1 or parts[term] == 1:
        expected = f"one of {', '.join(CONDITIONED)}, a share between 0 and 1, and other terms"
        raise ValueError(f"{term!r} with share {share} of {weights}: expected {expected}.")
    rest = (1 - share) / (1 - parts[term])
    parts = {name: share if name == term else part * rest for name, part in parts.items()}
    depth = 1 - parts["mask"]
    inner = {name: parts[name] / depth for name in CONDITIONED[1:]}
    return replace(normalised(weights), mask=parts["mask"], depth=depth, **inner)


def normalised(weights: LossWeights) -> LossWeights:
    """The same weighting with mask + depth = 1 and ssim + edge + l1 = 1; Dice keeps its proportion to the mask's BCE.

    Raises:
        ValueError: see `condition`; or ssim, edge and l1 have no weight.
    """
    mask, *inner = condition(weights).tolist()
    if mask == 1:
        raise ValueError("ssim, edge and l1 have no weight: expected one of them, and the depth, to be positive.")
    total = weights.ssim + weights.edge + weights.l1
    return LossWeights(mask, 1 - mask, *(part / (1 - mask) for part in inner), weights.dice, weights.ssi / total)


class Balance(torch.nn.Module):
    """How the two tasks' losses become one. The weights within a task are always those of `LossWeights`.

    `fixed`: the weighted sum. `uncertainty`: exp(-s) * loss + s per task with a learned log-variance s, kept in [-4, 4] (Kendall et
    al., 2018). `geometric`: the square root of the product (Chennupati et al., 2019); it has no knob. The latter two ignore
    `LossWeights.mask` and `.depth`.

    Raises:
        ValueError: another name.
    """

    def __init__(self, kind: str = "fixed") -> None:
        super().__init__()
        if kind not in BALANCES:
            raise ValueError(f"balance is {kind!r}: expected one of {', '.join(BALANCES)}.")
        self.kind = kind
        self.log_variances = torch.nn.Parameter(torch.zeros(2), requires_grad=kind == "uncertainty")

    def forward(self, terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
        if self.kind == "fixed":
            return weighted_sum(terms, weights)
        mask, depth = task_losses(terms, weights)
        if self.kind == "geometric":
            return (mask.clamp_min(1e-8) * depth.clamp_min(1e-8)).sqrt()
        s = self.log_variances.clamp(-4, 4)
        return (torch.stack([mask, depth]) * torch.exp(-s) + s).sum()
