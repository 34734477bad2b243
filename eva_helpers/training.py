"""The training loop on Accelerate: weighted loss, one-cycle schedule, averaged weights, resume."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from eva_helpers import __version__, files
from eva_helpers.evaluation import evaluate, summary
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.hardware import keep_freed_memory, precision
from eva_helpers.losses import Balance, LossWeights, raw_terms
from eva_helpers.model import MaskDepthNet, inference, save_weights

OnStep = Callable[[int, dict[str, float]], None] | None


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training.

    `lr` is the peak of the one-cycle schedule. `ema` is the decay of the averaged weights, which
    are evaluated and kept; 1 / (1 - ema) should be few of all steps. `balance` is one of
    `losses.BALANCES`. `seed` is recorded, not applied: seed torch before building the network.
    """

    epochs: int = 10
    lr: float = 3e-3
    weight_decay: float = 0.02
    ema: float = 0.99
    clip: float = 1.0
    balance: str = "fixed"
    seed: int = 0


class Trainer:
    """Trains a MaskDepthNet; `weights` may be replaced at any time, for the next step on.

    After every epoch it reports a line, adds a row to `history.jsonl` in `folder`, and saves the
    averaged weights as `last.safetensors`, those with the best score (validation mask IoU minus
    depth RMSE / std) as `best.safetensors`, and everything needed to resume in `state/`.

    Raises:
        InputError: `folder` already holds a training and `resume` is False, or other settings.
    """

    def __init__(
        self,
        net: MaskDepthNet,
        train: DataLoader,
        validation: Iterable[Batch],
        folder: str | Path,
        config: TrainingConfig | None = None,
        weights: LossWeights | None = None,
        *,
        z_near: float,
        resume: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.config = config or TrainingConfig()
        self.weights = weights or LossWeights()
        self.folder = files.make_folder(Path(folder))
        self.validation = validation
        self.z_near = z_near
        self.say = say
        self.history: list[dict[str, Any]] = []
        self.epoch = 0
        self.best = -math.inf
        self._claim_folder(resume)
        self._prepare(net, train)
        if resume and (self.folder / "state").is_dir():
            self._resume()

    def _claim_folder(self, resume: bool) -> None:
        path = self.folder / "config.json"
        if path.exists() and not resume:
            remedy = "choose another folder, or pass resume=True to continue it"
            raise files.InputError(f"{self.folder} already holds a training: {remedy}.")
        settings = asdict(self.config)
        if not files.same_settings(path, settings, "resume with the same settings"):
            files.write_json(path, settings | {"version": __version__})

    def _prepare(self, net: MaskDepthNet, train: DataLoader) -> None:
        self.accelerator = Accelerator(mixed_precision=precision())
        self.balance = Balance(self.config.balance).to(self.accelerator.device)
        net = net.to(memory_format=torch.channels_last)
        optimizer = self.make_optimizer(net)
        schedule = self.make_schedule(optimizer, self.config.epochs * len(train))
        prepared = self.accelerator.prepare(net, optimizer, train, schedule)
        self.net, self.optimizer, self.train_loader, self.schedule = prepared
        # without Accelerate's autocast, which `predict` and `inference` set themselves
        bare = self.accelerator.unwrap_model(self.net, keep_fp32_wrapper=False)
        ema = get_ema_multi_avg_fn(self.config.ema)
        self.averaged = AveragedModel(bare, multi_avg_fn=ema, use_buffers=True)
        self.averaged_net = cast(MaskDepthNet, self.averaged.module)
        self.accelerator.register_for_checkpointing(self.averaged, self.balance)

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

    def _resume(self) -> None:
        state = self.folder / "state"
        self.accelerator.load_state(str(state))
        self.epoch = files.read_json(state / "progress.json", "the state of a training")["epoch"]
        lines = (self.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        self.history = [json.loads(line) for line in lines[: self.epoch]]
        self.best = max((row["score"] for row in self.history), default=-math.inf)
        self.say(f"resumed after epoch {self.epoch} from {state}")

    def predict(self, batch: Batch, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits and depth, float32 (B, 1, H, W), with gradients."""
        with self.accelerator.autocast():
            mask_logits, depth = self.net(batch["background"], batch["image"], *condition)
        return mask_logits.float(), depth.float()

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, and the raw terms."""
        terms = raw_terms(*self.predict(batch), batch)
        return self.balance(terms, self.weights), terms

    def step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the raw terms and the weighted `loss`."""
        loss, terms = self.losses(batch)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.averaged.update_parameters(self.accelerator.unwrap_model(self.net))
        return {name: value.item() for name, value in terms.items()} | {"loss": loss.item()}

    def run_epoch(self, on_step: OnStep = None) -> dict:
        """Train on all batches, validate, save; returns the epoch's row of the history."""
        self.net.train()
        seen = 0
        sums: dict[str, float] = defaultdict(float)
        start = time.perf_counter()
        for number, batch in enumerate(self.train_loader):
            terms = self.step(batch)
            seen += len(batch["image"])
            for name, value in terms.items():
                sums[name] += value
            if on_step:
                on_step(self.epoch * len(self.train_loader) + number, terms)
        seconds = time.perf_counter() - start
        row: dict[str, Any] = {"epoch": self.epoch + 1}
        row |= {name: value / (number + 1) for name, value in sums.items()}
        method = inference(self.averaged_net, self.accelerator.device)
        row |= summary(evaluate(method, self.validation, self.z_near))
        row["score"] = row["mask_iou"] - row["depth_rmse_std"]
        row |= {"samples_per_second": seen / seconds, "seconds": seconds}
        row["weights"] = asdict(self.weights)
        self._save(row)
        return row

    def fit(self, on_step: OnStep = None) -> list[dict]:
        """Train the remaining epochs; returns the history (one dict per epoch)."""
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        while self.epoch < self.config.epochs:
            self.run_epoch(on_step)
        return self.history

    def _save(self, row: dict) -> None:
        self.history.append(row)
        self.epoch += 1
        save_weights(self.averaged_net, self.folder / "last.safetensors")
        if row["score"] > self.best:
            self.best = row["score"]
            save_weights(self.averaged_net, self.folder / "best.safetensors")
        lines = "".join(json.dumps(row) + "\n" for row in self.history)
        files.write_whole(self.folder / "history.jsonl", lines.encode())
        self.accelerator.save_state(str(self.folder / "state"))
        files.write_json(self.folder / "state" / "progress.json", {"epoch": self.epoch})
        names = ("loss", "mask", "ssim", "edge", "l1")
        terms = "  ".join(f"{name} {row[name]:.4f}" for name in names)
        scores = f"val IoU {row['mask_iou']:.4f}  RMSE/std {row['depth_rmse_std']:.4f}"
        speed = f"{row['samples_per_second']:.0f} samples/s"
        self.say(f"epoch {self.epoch:>3}/{self.config.epochs}  {terms}  |  {scores}  |  {speed}")
