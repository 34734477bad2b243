"""One step of a training, and all that it changes: on Accelerate, with averaged weights."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from eva_helpers.evaluation.scoring import Batch, not_finite
from eva_helpers.hardware import precision
from eva_helpers.losses import Balance, LossWeights, raw_terms
from eva_helpers.model import MaskDepthNet
from eva_helpers.training.config import TrainingConfig
from eva_helpers.training.processes import average_gradients, first_of, over_batch, together


class NotFinite(Exception):  # noqa: N818 - the training goes on
    """A step is skipped, because its samples, loss or gradient are not finite."""


class Steps:
    """Network, averaged network, optimiser and schedule; `weights` apply from the next step on.

    `log_with` names the tracker that `accelerator` has, `folder` is where it may write.
    `on_loss` is called in every step with the loss and its raw terms, before anything is changed.
    """

    def __init__(
        self, net: MaskDepthNet, config: TrainingConfig, weights: LossWeights, steps: int,
        *, log_with: str = "", folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.weights = weights
        self.on_loss: Callable[[Tensor, dict[str, Tensor]], None] | None = None
        tracker = {"log_with": log_with or None, "project_dir": folder}
        # the schedule counts whole batches, of which every process has a share
        divided = DataLoaderConfiguration(split_batches=True)
        self.accelerator = Accelerator(
            mixed_precision=precision(), dataloader_config=divided, **tracker
        )
        self.balance = Balance(config.balance).to(self.accelerator.device)
        net = together(net).to(memory_format=torch.channels_last)
        # not for evaluation: without DistributedDataParallel, see `average_gradients`
        self.net = self.accelerator.prepare_model(net, evaluation_mode=True)
        self.optimizer = self.accelerator.prepare_optimizer(self.make_optimizer(net))
        self.start_schedule(steps)
        # without Accelerate's autocast, which `predict` and `inference` set themselves
        bare = self.accelerator.unwrap_model(self.net, keep_fp32_wrapper=False)
        ema = get_ema_multi_avg_fn(config.ema)
        self.averaged = AveragedModel(bare, multi_avg_fn=ema, use_buffers=True)
        self.averaged_net = cast(MaskDepthNet, self.averaged.module)

    def make_optimizer(self, net: MaskDepthNet) -> torch.optim.Optimizer:
        """AdamW over the network's parameters and those that the balance learns."""
        learned = [p for p in self.balance.parameters() if p.requires_grad]
        decay = self.config.weight_decay
        parameters = [*net.parameters(), *learned]
        return torch.optim.AdamW(parameters, self.config.lr, weight_decay=decay, fused=True)

    def make_schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """One cycle of the learning rate: up for a fifth of `steps`, then down."""
        steps = 6 if steps == 5 else max(2, steps)  # OneCycleLR divides by 0.2 * steps - 1
        return OneCycleLR(optimizer, self.config.lr, total_steps=steps, pct_start=0.2)

    def start_schedule(self, steps: int) -> None:
        """Begin the schedule of a training of `steps` steps."""
        schedule = self.make_schedule(self.optimizer.optimizer, steps)
        self.schedule = self.accelerator.prepare(schedule)

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return self.optimizer.param_groups[0]["lr"]

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mask logits and depth, float32 (B, 1, H, W), with gradients."""
        with self.accelerator.autocast():
            mask_logits, depth = self.net(batch["background"], batch["image"])
        return mask_logits.float(), depth.float()

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The raw terms, of the whole batch, of which `batch` is this process's share."""
        return over_batch(raw_terms(*self.predict(batch), batch), batch)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, and the raw terms."""
        terms = self.terms(batch)
        return self.balance(terms, self.weights), terms

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the raw terms and the weighted `loss`.

        Raises NotFinite before it changes any weight.
        """
        if bad := first_of(not_finite(batch)):
            raise NotFinite(bad)
        loss, terms = self.losses({k: v.to(self.accelerator.device) for k, v in batch.items()})
        if self.on_loss:
            self.on_loss(loss, terms)
        # one transfer: each would wait for the GPU
        numbers = torch.stack([*terms.values(), loss]).detach().tolist()
        values = dict(zip((*terms, "loss"), numbers, strict=True))
        if not math.isfinite(values["loss"]):
            bad = ", ".join(name for name, value in values.items() if not math.isfinite(value))
            raise NotFinite(f"not finite: {bad}")
        self.optimizer.zero_grad()
        if loss.requires_grad:
            self.accelerator.backward(loss)
        average_gradients(self.net.parameters())
        if all(each.grad is None for each in self.net.parameters()):
            return values  # depth alone is trained, and no sample has a label
        norm = self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.clip)
        if not (norm.isfinite() or self.accelerator.scaler):  # which expects it
            raise NotFinite("not finite: the gradient")
        self.optimizer.step()
        self.schedule.step()
        self.averaged.update_parameters(self.accelerator.unwrap_model(self.net))
        return values

    def parts(self) -> dict[str, Any]:
        """All that has a state."""
        net = self.accelerator.unwrap_model(self.net)
        parts = {"net": net, "averaged": self.averaged, "balance": self.balance}
        parts |= {"optimizer": self.optimizer, "schedule": self.schedule}
        scaler = self.accelerator.scaler
        return parts | ({"scaler": scaler} if scaler else {})

    @torch.no_grad()
    def forget_statistics(self) -> None:
        """Set the network's batch statistics to their averages, after a batch that spoilt them."""
        for own, average in zip(self.net.buffers(), self.averaged_net.buffers(), strict=True):
            own.copy_(average)
