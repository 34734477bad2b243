"""The training loop on Accelerate: weighted loss, one-cycle schedule, averaged weights, checkpoints, resume."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from eva_helpers import metrics
from eva_helpers.hardware import keep_memory, precision
from eva_helpers.images import InputError
from eva_helpers.losses import Balance, LossWeights, condition, drawn_weights, raw_terms, weighted_sum
from eva_helpers.model import MaskDepthNet, ModelConfig, build

FORMAT = "eva_helpers.MaskDepthNet"


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training.

    `lr` is the one-cycle peak; `ema` the decay of the averaged weights that are evaluated and kept: it spans 1 / (1 - ema) steps, which
    should be few of all (a quarter of them costs accuracy: `benchmarks/variants.py`). `balance` is one of `losses.BALANCES`.
    """

    epochs: int = 10
    lr: float = 3e-3
    weight_decay: float = 0.02
    ema: float = 0.99
    clip: float = 1.0
    balance: str = "fixed"
    seed: int = 0


class Trainer:
    """Trains a MaskDepthNet; `weights` may be replaced at any time and holds from the next step on.

    Every epoch prints one line, appends it to `history.jsonl` in `folder`, saves the averaged weights as `last.safetensors` (and
    `best.safetensors` when the score, mask IoU minus depth RMSE / std, is the best so far) and the full state in `state/`.

    Raises:
        InputError: `folder` already holds a training and `resume` is False, or holds one with other settings.
    """

    def __init__(
        self,
        net: MaskDepthNet,
        train: DataLoader,
        validation: DataLoader,
        folder: str | os.PathLike,
        config: TrainingConfig | None = None,
        weights: LossWeights | None = None,
        *,
        z_near: float,
        resume: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        self.config, self.weights, self.folder, self.say, self.z_near = (
            config or TrainingConfig(),
            weights or LossWeights(),
            Path(folder),
            say,
            z_near,
        )
        self._claim(resume)
        set_seed(self.config.seed)
        self.accelerator = Accelerator(mixed_precision=precision())
        if self.accelerator.device.type == "cpu":
            keep_memory()
        self.balance = Balance(self.config.balance)
        learned = [p for p in self.balance.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW([*net.parameters(), *learned], self.config.lr, weight_decay=self.config.weight_decay, fused=True)
        steps = max(2, self.config.epochs * len(train))
        steps += steps == 5  # OneCycleLR divides by 0.2 * steps - 1
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.config.lr, total_steps=steps, pct_start=0.2)
        net = net.to(memory_format=torch.channels_last)
        self.net, self.optimizer, self.train_loader, self.schedule = self.accelerator.prepare(net, optimizer, train, schedule)
        self.validation = validation
        self.averaged = AveragedModel(
            self.accelerator.unwrap_model(self.net), multi_avg_fn=get_ema_multi_avg_fn(self.config.ema), use_buffers=True
        )
        self.balance.to(self.accelerator.device)
        self.accelerator.register_for_checkpointing(self.averaged, self.balance)
        self.history: list[dict] = []
        self.epoch, self.best = 0, -float("inf")
        if resume:
            self._resume()

    def _claim(self, resume: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings, path = json.dumps(asdict(self.config)), self.folder / "config.json"
        if path.exists() and not resume:
            raise InputError(f"{self.folder} already holds a training: choose another folder, or pass resume=True to continue it.")
        if path.exists() and path.read_text() != settings:
            raise InputError(f"{self.folder} was trained with {path.read_text()}, now it is {settings}: resume with the same settings.")
        path.write_text(settings)

    def _resume(self) -> None:
        state = self.folder / "state"
        if not state.is_dir():
            return
        self.accelerator.load_state(str(state))
        self.history = [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]
        self.history = self.history[: json.loads((state / "progress.json").read_text())["epoch"]]
        self.epoch, self.best = len(self.history), max((row["score"] for row in self.history), default=-float("inf"))
        self.say(f"resumed after epoch {self.epoch} from {state}")

    def losses(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss to minimise, and the raw terms."""
        terms = raw_terms(*self.predict(batch), batch)
        return self.balance(terms, self.weights), terms

    def predict(self, batch: dict[str, torch.Tensor], *condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask logits and depth (B, 1, H, W) in float32, with gradients."""
        with self.accelerator.autocast():
            mask_logits, depth = self.net(batch["background"], batch["image"], *condition)
        return mask_logits.float(), depth.float()

    def step(self, batch: dict[str, torch.Tensor]) -> dict[str, float]:
        """One optimiser step; returns the raw terms and the weighted `loss`."""
        loss, terms = self.losses(batch)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.averaged.update_parameters(self.accelerator.unwrap_model(self.net))
        return {name: value.item() for name, value in terms.items()} | {"loss": loss.item()}

    def run_epoch(self, on_step: Callable[[int, dict[str, float]], None] | None = None) -> dict:
        """One pass over the training loader, validation, checkpoint; returns and records the epoch's line."""
        self.net.train()
        start, seen, sums = time.perf_counter(), 0, {}
        for number, batch in enumerate(self.train_loader):
            terms = self.step(batch)
            seen += len(batch["image"])
            sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
            if on_step:
                on_step(self.epoch * len(self.train_loader) + number, terms)
        seconds = time.perf_counter() - start
        scores = metrics.summary(self.evaluate())
        row = {"epoch": self.epoch + 1, **{name: value / (number + 1) for name, value in sums.items()}, **scores}
        row |= {
            "weights": asdict(self.weights),
            "samples_per_second": seen / seconds,
            "seconds": seconds,
            "score": scores["mask_iou"] - scores["depth_rmse_std"],
        }
        self._record(row)
        return row

    def evaluate(self) -> dict:
        """Per-image metrics of the averaged weights on the validation loader."""
        return metrics.evaluate(metrics.network(self.averaged.module, self.accelerator.device), self.validation, self.z_near)

    def fit(self, on_step: Callable | None = None, on_epoch: Callable[[dict], None] | None = None) -> list[dict]:
        """Train the remaining epochs; returns the history (one dict an epoch)."""
        while self.epoch < self.config.epochs:
            row = self.run_epoch(on_step)
            if on_epoch:
                on_epoch(row)
        return self.history

    def _record(self, row: dict) -> None:
        self.history.append(row)
        self.epoch += 1
        save_weights(self.averaged.module, self.folder / "last.safetensors")
        if row["score"] > self.best:
            self.best = row["score"]
            save_weights(self.averaged.module, self.folder / "best.safetensors")
        with (self.folder / "history.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.accelerator.save_state(str(self.folder / "state"))
        (self.folder / "state" / "progress.json").write_text(json.dumps({"epoch": self.epoch}))
        self.say(
            f"epoch {self.epoch:>3}/{self.config.epochs}  loss {row['loss']:.4f}  mask {row['mask']:.4f}  ssim {row['ssim']:.4f}  "
            f"edge {row['edge']:.4f}  l1 {row['l1']:.4f}  |  val IoU {row['mask_iou']:.4f}  RMSE/std {row['depth_rmse_std']:.4f}  "
            f"|  {row['samples_per_second']:.0f} samples/s"
        )


class ConditionalTrainer(Trainer):
    """Trains a ConditionalNet: every step draws weightings from seed and step, one for each of GROUPS parts of the batch, and shows each
    part twice, with the weighting and with its mirror.

    What a weight changes is far less than what samples differ by: with the same samples on both sides, the latter cancels.
    `weights` says what the network answers without a condition, and the weight of Dice beside BCE.
    """

    GROUPS = 4

    def losses(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        rng = np.random.default_rng((self.config.seed, self.schedule.scheduler.last_epoch))
        pairs = [drawn_weights(rng, self.weights) for _ in range(self.GROUPS)]
        drawn = [weights for side in zip(*pairs, strict=True) for weights in side]
        sizes = 2 * [len(part) for part in torch.arange(len(batch["image"])).tensor_split(self.GROUPS)]
        twice = {name: torch.cat([batch[name], batch[name]]) for name in ("background", "image", "mask", "depth")}
        conditions = torch.cat([condition(weights).expand(size, -1) for weights, size in zip(drawn, sizes, strict=True)])
        answers = zip(*(answer.split(sizes) for answer in self.predict(twice, conditions)), strict=True)
        truths = zip(twice["mask"].split(sizes), twice["depth"].split(sizes), strict=True)
        groups = [raw_terms(*answer, {"mask": mask, "depth": depth}) for answer, (mask, depth) in zip(answers, truths, strict=True)]
        loss = torch.stack([weighted_sum(terms, weights) for terms, weights in zip(groups, drawn, strict=True)]).mean()
        return loss, {name: torch.stack([terms[name] for terms in groups]).mean().detach() for name in groups[0]}


def save_weights(net: MaskDepthNet, path: str | os.PathLike, half: bool = False) -> None:
    """Write the network as safetensors with its configuration in the file's metadata; `half` stores float16."""
    path = Path(path)
    tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"format": FORMAT, "config": json.dumps(net.config.to_dict())})
    os.replace(partial, path)


def load_weights(path: str | os.PathLike) -> MaskDepthNet:
    """Read a network written by `save_weights`, in float32 and evaluation mode.

    Raises:
        InputError: the file is missing, damaged, or holds another network.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not there: expected a weights file (.safetensors); notebook 04 makes one, assets/weights has one.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a safetensors file ({error}): expected weights saved by eva_helpers.") from None
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} holds another network's weights: expected a file saved by eva_helpers.training.save_weights.")
    try:
        net = build(ModelConfig.from_dict(json.loads(metadata["config"]) | {"pretrained": False}))
        net.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version's network ({str(error).splitlines()[0]}): train it again.") from None
    return net.eval()
