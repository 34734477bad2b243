"""What a loss-conditional network predicts at any weighting of the losses."""

from collections.abc import Callable
from copy import deepcopy
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from eva_helpers.evaluation import Method, evaluate, summary
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError
from eva_helpers.losses import CONDITIONED, LossWeights, emphasised, raw_terms, weight_vector
from eva_helpers.model import inference
from eva_helpers.tuning.pictures import mosaic
from eva_helpers.tuning.weights_json import DEFAULT

SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)  # of one weight in the sum of all


def at_weighting(net: nn.Module | Callable, weights: LossWeights) -> Method:
    """A conditional network, or its `model.inference`, at a weighting; only its ratios count.

    It runs on the CPU in float32, because predictions at two weightings differ by less than
    bfloat16 resolves.

    Raises:
        InputError: mask, ssim, edge and l1 have no weight.
    """
    try:
        vector = weight_vector(weights)
    except ValueError as error:
        raise InputError(str(error)) from None
    predict = inference(net, "cpu", exact=True) if isinstance(net, nn.Module) else net
    return lambda background, image: predict(background, image, vector)


def preview(
    net: nn.Module | Callable, examples: Batch, weights: LossWeights, before: Tensor | None = None
) -> np.ndarray:
    """A `mosaic` of a conditional network's predictions for the examples at a weighting.

    Its last row is the change of the depth since `before` (without: at the default weights).
    """
    pair = (examples["background"], examples["image"])
    mask, depth = at_weighting(net, weights)(*pair)
    if before is None:
        _, before = at_weighting(net, DEFAULT)(*pair)
    return mosaic(examples, mask, depth, before)


def tradeoff(
    net: nn.Module, batches: list[Batch], z_near: float, weightings: list[LossWeights]
) -> list[dict]:
    """Scores of a conditional network at each weighting: a row each, with its `weights`.

    Raises:
        InputError: `batches` have no depth labels, so that there is nothing to trade.
    """
    if not any(batch["depth"].any() for batch in batches):
        raise InputError(
            "the samples have no depth labels, so weights of mask and depth cannot be compared: "
            "label them with `eva-helpers photos ... --depth`, or use the embedded park."
        )
    scores = (summary(evaluate(at_weighting(net, each), batches, z_near)) for each in weightings)
    return [row | {"weights": each} for row, each in zip(scores, weightings, strict=True)]


@torch.inference_mode()
def term_losses(
    net: nn.Module, batches: list[Batch], *condition: Tensor, dice: float = 1.0
) -> dict[str, float]:
    """Mean raw loss of each term of CONDITIONED, in float32; the mask's with `dice` times Dice."""
    net = deepcopy(net).eval()
    terms = []
    for batch in batches:
        mask_logits, depth = net(batch["background"], batch["image"], *condition)
        terms.append(raw_terms(mask_logits, depth, batch))
    mean = {name: float(np.mean([row[name] for row in terms])) for name in terms[0]}
    mean["mask"] += dice * mean["dice"]
    return {name: mean[name] for name in CONDITIONED}


def responses(
    net: nn.Module, batches: list[Batch], weights: LossWeights = DEFAULT
) -> dict[str, list[float]]:
    """How the loss of each term responds to its own weight: a value for each of SHARES.

    The other terms keep their proportions in `weights`. For networks that are optimal at every
    weighting, such a loss does not rise. Dice belongs to the mask.
    """

    def loss(term: str, share: float) -> float:
        vector = weight_vector(emphasised(weights, term, share))
        return term_losses(net, batches, vector, dice=weights.dice)[term]

    return {term: [loss(term, share) for share in SHARES] for term in CONDITIONED}


def simplex(shares: tuple[float, ...] = SHARES) -> list[LossWeights]:
    """Weightings to map: each share of the mask with four mixtures of ssim, edge and l1."""
    mixtures = ((1.0, 1.0, 1.0), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))
    return [LossWeights(mask, 1 - mask, *mixture) for mixture, mask in product(mixtures, shares)]


def nearest(rows: list[dict], weights: LossWeights) -> int:
    """Number of the row of `tradeoff` whose normalised weighting is the nearest."""
    vector = weight_vector(weights)
    distances = [(weight_vector(row["weights"]) - vector).abs().sum().item() for row in rows]
    return int(np.argmin(distances))
