"""How much each loss term counts, and weightings derived from others."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from eva_helpers.files import InputError
from eva_helpers.schemas import Weight, check_fields

MASK_TERMS = ("mask", "dice")
DEPTH_TERMS = ("ssim", "edge", "l1", "ssi")
WEIGHED = ("mask", "ssim", "edge", "l1")  # the terms that `weight_vector` counts
TERMS = dict.fromkeys(MASK_TERMS, "mask") | dict.fromkeys(DEPTH_TERMS, "depth")  # term -> task


@dataclass(frozen=True)
class LossWeights:
    """Weights of the tasks mask and depth, and of the terms within a task (the mask's BCE has 1).

    The balance of the tasks is the original project's. Its L1 weight is 0.1; with 1 the depth was
    more accurate in short trainings (`experiments/variants.py`). `ssi`, the scale-and-shift-
    invariant term, is for labels without a scale.

    Raises:
        InputError: a weight is negative or not finite, or all are zero.
    """

    mask: Weight = 0.3
    depth: Weight = 0.7
    ssim: Weight = 1.0
    edge: Weight = 1.0
    l1: Weight = 1.0
    dice: Weight = 1.0
    ssi: Weight = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "loss weight ")
        if not any(self.parts().values()):
            raise InputError(
                "all loss weights are zero: give mask, or depth with one of "
                f"{', '.join(DEPTH_TERMS)}, a positive weight."
            )

    def parts(self) -> dict[str, float]:
        """The factor of each raw term."""
        inner = asdict(self) | {"mask": 1.0}
        return {name: getattr(self, task) * inner[name] for name, task in TERMS.items()}


def weight_vector(weights: LossWeights) -> Tensor:
    """The shares of mask, ssim, edge and l1 in the loss, (4,), with sum 1.

    Raises InputError if all four are zero.
    """
    parts = torch.tensor([weights.parts()[name] for name in WEIGHED])
    if parts.sum() == 0:
        raise InputError("mask, ssim, edge and l1 all have weight 0: expected one to be positive.")
    return parts / parts.sum()
