"""One loss from all terms. Weights are applied here and nowhere else."""

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from eva_helpers.losses.weighting import TERMS, LossWeights
from eva_helpers.schemas import Balancing

BALANCES = get_args(Balancing)


def weighted_sum(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """`w.mask (mask + w.dice dice) + w.depth (w.ssim ssim + w.edge edge + w.l1 l1 + w.ssi ssi)`.

    A term of weight 0 is left out, so that its decoder gets no gradient at all. Raises ValueError
    if a term is missing or unknown.
    """
    if terms.keys() != TERMS.keys():
        raise ValueError(f"loss terms are {sorted(terms)}: expected {sorted(TERMS)}.")
    parts = weights.parts().items()
    return torch.stack([weight * terms[name] for name, weight in parts if weight > 0]).sum()


def task_losses(terms: dict[str, Tensor], weights: LossWeights) -> tuple[Tensor, Tensor]:
    """The losses of mask and depth, weighted within each task only; errors as `weighted_sum`."""
    mask, depth = (replace(weights, mask=share, depth=1.0 - share) for share in (1.0, 0.0))
    return weighted_sum(terms, mask), weighted_sum(terms, depth)


class Balance(torch.nn.Module):
    """How the losses of mask and depth become one; terms within a task are always weighted.

    `fixed`: the weighted sum. `uncertainty`: exp(-s) * loss + s per task, with learned log
    variances s in [-4, 4] (Kendall et al., 2018). `geometric`: the square root of the product
    (Chennupati et al., 2019). The latter two ignore the weights of the tasks in `LossWeights`, and
    count the mask alone in a batch without depth labels. Raises ValueError for another name.
    """

    def __init__(self, kind: str = "fixed") -> None:
        super().__init__()
        if kind not in BALANCES:
            raise ValueError(f"balance is {kind!r}: expected one of {', '.join(BALANCES)}.")
        self.kind = kind
        learned = kind == "uncertainty"
        self.log_variances = torch.nn.Parameter(torch.zeros(2), requires_grad=learned)

    def tasks(self, weights: LossWeights) -> set[str]:
        """What is trained: "mask", "depth" or both."""
        if self.kind != "fixed":
            weights = replace(weights, mask=1.0, depth=1.0)
        return {TERMS[name] for name, part in weights.parts().items() if part > 0}

    def forward(self, terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
        if self.kind == "fixed":
            return weighted_sum(terms, weights)
        count = 1 + bool(terms["l1"] > 0)
        tasks = torch.stack(task_losses(terms, weights))[:count]
        if self.kind == "geometric":
            return tasks.clamp_min(1e-8).log().mean().exp()
        s = self.log_variances.clamp(-4, 4)[:count]
        return (tasks * torch.exp(-s) + s).sum()
