"""The training loop on Accelerate: weighted loss, one-cycle schedule, averaged weights, resume."""

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from torch.utils.data import DataLoader

from eva_helpers.data import Alternate, data_settings, set_epoch
from eva_helpers.evaluation import evaluate, summary
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, inference, weights_file
from eva_helpers.training.budget import affordable, step_speed
from eva_helpers.training.checkpoint import Contents, packed, unpack
from eva_helpers.training.config import TrainingConfig, all_settings
from eva_helpers.training.folder import RunFolder
from eva_helpers.training.history import Row, epoch_line, mean_terms, scores
from eva_helpers.training.steps import NotFinite, Steps
from eva_helpers.training.tracking import Tracking, check_tracker

OnStep = Callable[[int, dict[str, float]], None] | None
IN_A_ROW = 3  # skipped steps end the training
MEASURED = 0.05  # share of a limited time in which the speed is measured
SAFE = 0.9  # share of a limited time that is planned


class Trainer(Steps):
    """Trains a MaskDepthNet; `weights` may be replaced at any time, for the next step on.

    After every epoch it reports a line, adds a row to `history.jsonl` in `folder`, and saves the
    averaged weights as `last.safetensors`, those with the best score as `best.safetensors`, and
    everything needed to resume in `state/`. The score is the validation mask IoU minus depth
    RMSE / std, without what `weights` at the start do not train, and without what has no labels.
    With `log_with`, the name of a tracker that Accelerate knows, all of it is logged there, too.

    Raises:
        InputError: `folder` cannot be written; it holds a training and `resume` is False; or one
            with other settings of network, losses, data or training, or with damaged files; the
            tracker is unknown or not installed.
    """

    def __init__(
        self,
        net: MaskDepthNet,
        train: DataLoader | Alternate,
        validation: Iterable[Batch],
        folder: str | Path,
        config: TrainingConfig | None = None,
        weights: LossWeights | None = None,
        *,
        z_near: float,
        resume: bool = False,
        say: Callable[[str], None] = print,
        log_with: str = "",
    ) -> None:
        check_tracker(log_with)
        config = config or TrainingConfig()
        weights = weights or LossWeights()
        self.train_loader = train
        self.validation = validation
        self.z_near = z_near
        self.say = say
        self.history: list[Row] = []
        self.epoch = 0
        self.best = -math.inf
        self._best_weights = b""  # their file
        self._skipped = 0
        settings = all_settings(
            config,
            trainer={"kind": type(self).__name__, "z_near": z_near},
            network={"kind": type(net).__name__} | net.config.to_dict(),
            weight=asdict(weights),
            data=data_settings(train),
            validation=data_settings(validation),
        )
        self.run = RunFolder(Path(folder), settings, resume, say)
        self.folder = self.run.path
        epochs, steps = self.run.plan or (config.epochs, len(train))
        total = epochs * steps
        super().__init__(net, config, weights, total, log_with=log_with, folder=self.folder)
        self.tracking = Tracking(self.accelerator, settings)
        self.tasks = self.balance.tasks(weights)
        if self.run.state:
            self._resume(self.run.state)

    @property
    def epochs(self) -> int:
        """How many epochs the training has: `config.epochs`, or fewer in limited time."""
        return self.run.plan[0] if self.run.plan else self.config.epochs

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return self.run.plan[1] if self.run.plan else len(self.train_loader)

    def run_epoch(self, on_step: OnStep = None) -> Row:
        """Train on all batches, validate, save; returns the epoch's row of the history."""
        set_epoch(self.train_loader, self.epoch)
        self.net.train()
        done = self.epoch * self.steps
        self.tracking.start(done)
        seen = 0
        steps = []
        start = time.perf_counter()
        for number, batch in enumerate(islice(self.train_loader, self.steps)):
            try:
                steps.append(self.step(batch))
            except NotFinite as problem:
                self._skip(f"epoch {self.epoch + 1}, step {number + 1}: {problem}")
                continue
            self._skipped = 0
            self.tracking.step(done + number + 1, steps[-1]["loss"], self.learning_rate)
            seen += len(batch["image"])
            if on_step:
                on_step(done + number, steps[-1])
        seconds = time.perf_counter() - start
        row: Row = {"epoch": self.epoch + 1} | mean_terms(steps, self.tasks)
        row |= scores(self._validate(), self.tasks)
        row |= {"samples_per_second": seen / seconds, "seconds": seconds}
        row["weights"] = asdict(self.weights)
        self.tracking.epoch(done + self.steps, row, self.learning_rate)
        self._save(row)
        return row

    def _skip(self, problem: str) -> None:
        """Report a step that was skipped; the third in a row ends the training."""
        self._skipped += 1
        self.forget_statistics()
        if self._skipped < IN_A_ROW:
            self.say(f"skipped {problem}")
            return
        raise InputError(
            f"{IN_A_ROW} steps in a row were not finite ({problem}): check the samples, or train "
            f"with a smaller LR than {self.config.lr:g}; {self.folder} keeps what was trained."
        )

    def _validate(self) -> dict[str, float]:
        method = inference(self.averaged_net, self.accelerator.device)
        return summary(evaluate(method, self.validation, self.z_near))

    def fit(self, on_step: OnStep = None) -> list[Row]:
        """Train the remaining epochs; returns the history (one dict per epoch)."""
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        if self.config.minutes and not (self.epoch or self.run.plan):
            self._fit_to_time()
        try:
            while self.epoch < self.epochs:
                self.run_epoch(on_step)
        finally:
            self.tracking.finish()
        return self.history

    def _fit_to_time(self) -> None:
        """Plan what fits into `config.minutes`, by the speed of a few steps, which are undone."""
        start = time.perf_counter()
        limit = 60 * self.config.minutes
        before = packed(self.parts(), self.train_loader)
        self.net.train()
        step, speed = step_speed(self.train_loader, self._attempt, MEASURED * limit)
        trained = time.perf_counter()
        self._validate()
        end = time.perf_counter()
        unpack(before, self.parts(), self.train_loader)
        left = SAFE * limit - (end - start)
        self.run.plan = list(affordable(left, step, end - trained, self.epochs, self.steps))
        self.run.write_config()
        self.start_schedule(self.epochs * self.steps)
        total = len(self.train_loader)
        steps = "" if self.steps == total else f", {self.steps} of {total} steps,"
        planned = f"trains {self.epochs} of {self.config.epochs} epochs{steps}"
        self.say(f"{planned} in {self.config.minutes:g} minutes: {speed:.0f} samples/s")

    def _attempt(self, batch: Batch) -> None:
        with suppress(NotFinite):
            self.step(batch)

    def _save(self, row: Row) -> None:
        self.history.append(row)
        self.epoch += 1
        last = weights_file(self.averaged_net)
        if row["score"] > self.best:
            self.best = row["score"]
            self._best_weights = last
        progress = {"epoch": self.epoch, "history": self.history, "weights": asdict(self.weights)}
        training = packed(self.parts(), self.train_loader)
        self.run.save(progress, training, self._best_weights, last)
        self.say(epoch_line(row, self.epochs))

    def _resume(self, state: Contents) -> None:
        progress = json.loads(state["progress.json"])
        self.epoch = progress["epoch"]
        self.history = progress["history"]
        self.best = max(row["score"] for row in self.history)
        self.weights = LossWeights(**progress["weights"])
        self._best_weights = state["best.safetensors"]
        unpack(state["training.pt"], self.parts(), self.train_loader)
        self.run.publish(state, weights_file(self.averaged_net))
        self.say(f"resumed after epoch {self.epoch} in {self.folder}")
