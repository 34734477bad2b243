"""Short trainings of narrow networks, in which loss weights matter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.dataset import MAPS, CompositeDataset
from eva_helpers.data.loaders import make_loader
from eva_helpers.evaluation.scoring import Batch, evaluate, summary
from eva_helpers.losses import LossWeights, raw_terms, weighted_sum
from eva_helpers.model import NarrowNet, inference

SIZE = 64  # px
BATCH = 32
LR = 3e-3
WARM_UP = 50  # steps
EMA = 0.98
WIDTHS = (8, 16, 24, 32, 32)
STRENGTH = 1.0  # of the capture differences
EMPTY = 0.05
SCORES = ("mask_iou", "depth_rmse_std")
Descent = Callable[[dict[str, Tensor], nn.Module], None]


def fixed(weights: LossWeights) -> Descent:
    """The gradients of the weighted sum."""
    return lambda terms, net: weighted_sum(terms, weights).backward()


class Samples:
    """Training samples in memory, uint8: they are drawn at random for every batch."""

    def __init__(self, catalogue: Catalogue, count: int, seed: int) -> None:
        data = CompositeDataset(
            catalogue, size=SIZE, strength=STRENGTH, augment=True, empty=EMPTY, seed=seed
        )
        loader = make_loader(data, BATCH, samples=count, seed=seed)
        parts = [
            {name: (255 * batch[name]).round().byte() for name in MAPS}
            for batch in tqdm(loader, desc="samples")
        ]
        self.maps = {name: torch.cat([part[name] for part in parts]) for name in MAPS}

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless batches."""
        rng = np.random.default_rng(seed)
        while True:
            chosen = torch.from_numpy(rng.integers(len(self.maps["mask"]), size=BATCH))
            yield {name: value[chosen].float() / 255 for name, value in self.maps.items()}


def train(
    descend: Descent, batches: Iterator[Batch], lengths: tuple[int, ...], seed: int,
    learned: Iterable[Tensor] = (),
) -> list[dict[str, Tensor]]:  # fmt: skip
    """The averaged parameters of a NarrowNet after each of `lengths` steps.

    `descend` turns the raw loss terms into gradients of the network's parameters, and of `learned`,
    which are trained with them.
    """
    torch.manual_seed(seed)
    net = NarrowNet(WIDTHS).to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(net)
    optimizer = torch.optim.AdamW([*net.parameters(), *learned], LR, weight_decay=0.01)
    stored = []
    for step in range(1, lengths[-1] + 1):
        batch = next(batches)
        optimizer.param_groups[0]["lr"] = LR * min(1, step / WARM_UP)
        terms = raw_terms(*net(batch["background"], batch["image"]), batch)
        optimizer.zero_grad()
        descend(terms, net)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        blend(averaged, net, min(EMA, step / (step + 9)))
        if step in lengths:
            stored.append({k: v.detach().clone() for k, v in averaged.named_parameters()})
    return stored


@torch.no_grad()
def blend(averaged: nn.Module, net: nn.Module, keep: float) -> None:
    """Move the averaged parameters towards those of `net`."""
    for old, new in zip(averaged.parameters(), net.parameters(), strict=True):
        old.lerp_(new, 1 - keep)


def score(net: nn.Module, validation: list[Batch], z_near: float) -> dict[str, float]:
    """SCORES of a network on validation batches."""
    metrics = summary(evaluate(inference(net, "cpu", exact=True), validation, z_near))
    return {name: metrics[name] for name in SCORES}
