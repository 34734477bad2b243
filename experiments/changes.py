"""What the variants change: networks, data, losses and trainings beside those of the base."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, LRScheduler

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.training import Trainer
from experiments import networks
from experiments.common import DATA

BATCH = 16


class SupervisedTrainer(Trainer):
    """Adds the auxiliary loss of `networks.Supervised`."""

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        features: list[Tensor] = []
        hooks = [
            decoder.ups[1].register_forward_hook(lambda *call: features.append(call[-1]))
            for decoder in (self.net.mask_decoder, self.net.depth_decoder)
        ]
        loss, terms = super().losses(batch)
        for hook in hooks:
            hook.remove()
        return loss + 0.4 * self.net.auxiliary_loss(features, batch), terms


class ConstantTrainer(Trainer):
    """Every step at about the mean learning rate of the one-cycle schedule."""

    def make_schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        super().make_schedule(optimizer, steps)  # its initial momentum stays
        for group in optimizer.param_groups:
            group["lr"] = self.config.lr / 2
        return ConstantLR(optimizer, factor=1.0)


@dataclass(frozen=True)
class Variant:
    """What differs from the base; `model`, `data`, `weights` and `training` replace settings."""

    network: type[MaskDepthNet] = MaskDepthNet
    trainer: type[Trainer] = Trainer
    model: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    batch: int = BATCH
    seed: int = 0

    def change(self) -> dict[str, Any]:
        """The differences as plain values, classes by their names."""
        base = Variant()
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.__name__ if isinstance(value, type) else value
            for name, value in values.items()
            if value != getattr(base, name)
        }


VARIANTS = {
    "base": Variant(),
    "base, another seed": Variant(seed=1),
    "network: background not matched": Variant(networks.Unmatched),
    "network: depth not layered": Variant(networks.OneDepthMap),
    "network: fusion both": Variant(networks.BothFeatures),
    "network: fusion difference alone": Variant(networks.DifferenceAlone),
    "network: one layer of detail": Variant(networks.OneDetailLayer),
    "network: narrower": Variant(
        model={"widths": (16, 32, 56, 88, 112), "decoder": (24, 32, 48, 64)}
    ),
    "network: wider decoders": Variant(model={"decoder": (48, 64, 96, 128), "detail": 32}),
    "network: mask seen by the depth": Variant(networks.MaskSeenByDepth),
    "network: no coordinates": Variant(networks.WithoutCoordinates),
    "network: deep supervision": Variant(networks.Supervised, SupervisedTrainer),
    "network: resnet18": Variant(model={"encoder": "resnet18"}),
    "network: resnet34": Variant(model={"encoder": "resnet34"}),
    "data: with true pairs": Variant(data={"true_pairs": DATA["true_pairs"]}),
    "data: no variety": Variant(data={"variety": 0.0}),
    "data: no capture differences": Variant(data={"strength": 0.0}),
    "losses: no Dice (as in the original project)": Variant(weights={"dice": 0.0}),
    "losses: L1 0.1 (as in the original project)": Variant(weights={"l1": 0.1}),
    "losses: scale-and-shift-invariant, L1 0.5": Variant(
        weights={"ssi": 1.0, "l1": 0.5, "ssim": 0.0, "edge": 0.0}
    ),
    "losses: mask alone": Variant(weights={"mask": 1.0, "depth": 0.0}),
    "losses: depth alone": Variant(weights={"mask": 0.0, "depth": 1.0}),
    "losses: uncertainty": Variant(training={"balance": "uncertainty"}),
    "losses: geometric": Variant(training={"balance": "geometric"}),
    "training: batches of 32": Variant(batch=32),
    "training: constant learning rate": Variant(trainer=ConstantTrainer),
    "training: no averaged weights": Variant(training={"ema": 0.0}),
    "training: no averaged weights, another seed": Variant(training={"ema": 0.0}, seed=1),
    "training: weights averaged over 30 steps": Variant(training={"ema": 1 - 1 / 30}),
    "training: weights averaged over 30 steps, another seed": Variant(
        training={"ema": 1 - 1 / 30}, seed=1
    ),
}
