"""Training a network for all weightings of the losses at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eva_helpers.data.dataset import MAPS
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.losses.terms import raw_terms
from eva_helpers.losses.total import weighted_sum
from eva_helpers.losses.weighting import CONDITIONED, LossWeights, normalised, weight_vector
from eva_helpers.training import Trainer


def drawn_weights(rng: np.random.Generator, usual: LossWeights) -> tuple[LossWeights, LossWeights]:
    """A random `normalised` weighting and its mirror image.

    What counts n times its `usual` share in one counts 1/n times that in the other. The logarithms
    of the ratios of mask, SSIM, edges and L1 are uniform, for one of the four over twice the range,
    as when one slider is moved far; Dice and `ssi` keep their `usual` weights. In mirrored pairs,
    what all weightings have in common pulls the outputs for both in the same direction.
    """
    shares = weight_vector(usual).double().numpy()
    rest = normalised(usual)
    ratios = rng.uniform(-3, 3, len(CONDITIONED))
    ratios[rng.integers(len(CONDITIONED))] *= 2

    def weighting(sign: int) -> LossWeights:
        parts = shares * np.exp(sign * ratios)
        mask, *inner = (parts / parts.sum()).tolist()
        return LossWeights(
            mask, 1 - mask, *(part / (1 - mask) for part in inner), rest.dice, rest.ssi
        )

    return weighting(1), weighting(-1)


class ConditionalTrainer(Trainer):
    """Trains a ConditionalNet on random weightings, drawn from the seed and the step.

    Each of GROUPS parts of a batch gets a weighting and is shown twice, with it and with its mirror
    image: a weighting changes far less than samples differ by, and with the same samples on both
    sides, the latter cancels. `weights` are those that the network assumes without a condition, and
    give the weight of Dice beside BCE.
    """

    GROUPS = 4

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        drawn = self.weightings()
        parts = torch.arange(len(batch["image"])).tensor_split(self.GROUPS)
        sizes = 2 * [len(part) for part in parts]
        twice = {name: torch.cat([batch[name], batch[name]]) for name in MAPS}
        conditions = [
            weight_vector(weights).expand(size, -1)
            for weights, size in zip(drawn, sizes, strict=True)
        ]
        outputs = self.predict(twice, torch.cat(conditions))
        maps = zip(
            *(each.split(sizes) for each in (*outputs, twice["mask"], twice["depth"])), strict=True
        )
        groups = [
            raw_terms(mask_logits, depth, {"mask": mask, "depth": true_depth})
            for mask_logits, depth, mask, true_depth in maps
        ]
        losses = [
            weighted_sum(terms, weights) for terms, weights in zip(groups, drawn, strict=True)
        ]
        terms = {
            name: torch.stack([terms[name] for terms in groups]).mean().detach()
            for name in groups[0]
        }
        return torch.stack(losses).mean(), terms

    def weightings(self) -> list[LossWeights]:
        """This step's weightings, one per group, then their mirror images."""
        rng = np.random.default_rng((self.config.seed, self.schedule.scheduler.last_epoch))
        pairs = [drawn_weights(rng, self.weights) for _ in range(self.GROUPS)]
        return [weights for side in zip(*pairs, strict=True) for weights in side]
