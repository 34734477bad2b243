"""The training loop on Accelerate: weighted loss, one-cycle schedule, averaged weights, resume."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from torch.utils.data import DataLoader

from eva_helpers.data import Alternate, data_settings, divided, watched_processes
from eva_helpers.evaluation import evaluate, summary
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, inference
from eva_helpers.training.budget import affordable, step_speed
from eva_helpers.training.checkpoint import packed, unpack
from eva_helpers.training.config import TrainingConfig, all_settings
from eva_helpers.training.folder import RunFolder
from eva_helpers.training.history import Row, epoch_line, scores
from eva_helpers.training.processes import count, joined, on_main, same_buffers, state
from eva_helpers.training.resuming import Resumable
from eva_helpers.training.steps import NotFinite
from eva_helpers.training.threads import threads_of_this_process
from eva_helpers.training.tracking import Tracking, check_tracker

OnStep = Callable[[int, dict[str, float]], None] | None
IN_A_ROW = 3  # skipped steps end the training
MEASURED = 0.05  # share of a limited time in which the speed is measured
SAFE = 0.9  # share of a limited time that is planned


class Trainer(Resumable):
    """Trains a MaskDepthNet; `weights` may be replaced at any time, for the next step on.

    After every epoch it reports a line, adds a row to `history.jsonl` in `folder`, and saves the
    averaged weights as `last.safetensors`, those with the best score as `best.safetensors`, and
    everything needed to resume in `state/`. The score is the validation mask IoU minus depth
    RMSE / std, without what `weights` at the start do not train, and without what has no labels.
    Every few minutes the state is saved within the epoch, too. With `log_with`, the name of a
    tracker that Accelerate knows, all of it is logged there, too.

    Under `torchrun` or `accelerate launch`, every process trains on its share of each batch, and
    the main process writes and reports.

    Raises:
        InputError: `folder` cannot be written; it holds a training and `resume` is False; or one
            with other settings of network, losses, data or training, or with damaged files;
            batches cannot be divided equally among the processes; or the tracker is unknown or not
            installed.
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
        self.z_near = z_near
        self._skipped = 0
        settings = all_settings(
            config,
            trainer={"kind": type(self).__name__, "z_near": z_near},
            network={"kind": type(net).__name__} | net.config.to_dict(),
            weight=asdict(weights),
            data=data_settings(train),
            validation=data_settings(validation),
        )
        share = (state().process_index, count())
        train = divided(train, *share)
        self.validation = divided(validation, *share, everyone=False)
        run = on_main(lambda: RunFolder(Path(folder), settings, resume, say))
        planned = (config.epochs, len(train))
        super().__init__(net, train, run, config, weights, planned, say, log_with)
        self.tracking = Tracking(self.accelerator, settings)
        self.tasks = self.balance.tasks(weights)
        self.threads = threads_of_this_process(self.accelerator.device, share[1])

    @property
    def epochs(self) -> int:
        """How many epochs the training has: `config.epochs`, or fewer in limited time."""
        return self.run.plan[0] if self.run.plan else self.config.epochs

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return self.run.plan[1] if self.run.plan else len(self.train_loader)

    @property
    def done(self) -> int:
        """How many steps are done, in all epochs."""
        return self.epoch * self.steps + self.progress.steps

    def run_epoch(self, on_step: OnStep = None) -> Row:
        """Train on all batches that are left of the epoch, validate, save; returns its row."""
        self.net.train()
        self.tracking.start(self.done)
        done = self.progress
        start = time.perf_counter()
        for batch in self.batches(self.steps):
            self.threads.next_step()
            terms = self._checked_step(batch)
            now = time.perf_counter()
            done.seconds += now - start
            start = now
            if terms is None:
                continue
            self.tracking.step(self.done, terms["loss"], self.learning_rate)
            if on_step:
                on_step(self.done - 1, terms)
            self.save_in_time()
        row: Row = {"epoch": self.epoch + 1} | done.row(self.tasks)
        row |= scores(self._validate(), self.tasks)
        row |= {"threads": self.threads.used} if self.threads.most > 1 else {}
        row["weights"] = asdict(self.weights)
        self.tracking.epoch(self.done, row, self.learning_rate)
        self.end_epoch(row)
        self.say(epoch_line(row, self.epochs))
        return row

    def _checked_step(self, batch: Batch) -> dict[str, float] | None:
        """A step, counted; None if it is skipped."""
        self.progress.steps += 1
        try:
            terms = self.step(batch)
        except NotFinite as problem:
            self._skip(f"epoch {self.epoch + 1}, step {self.progress.steps}: {problem}")
            return None
        self._skipped = 0
        self.progress.add(terms)
        self.progress.samples += len(batch["image"]) * count()
        return terms

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
        same_buffers(self.averaged_net)
        method = inference(self.averaged_net, self.accelerator.device)
        return summary(joined(evaluate(method, self.validation, self.z_near)))

    def fit(self, on_step: OnStep = None) -> list[Row]:
        """Train the remaining epochs; returns the history (one dict per epoch)."""
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        if self.config.minutes and not (self.epoch or self.progress.steps or self.run.plan):
            self._fit_to_time()
        remedy = f"resume with fewer of them (workers); {self.folder} keeps what was trained"
        try:
            with watched_processes(remedy):
                while self.epoch < self.epochs:
                    self.run_epoch(on_step)
        finally:
            self.threads.end()
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
        left_for = (left, step, end - trained, self.epochs, self.steps)
        self.run.plan = on_main(lambda: list(affordable(*left_for)))
        on_main(self.run.write_config)
        self.start_schedule(self.epochs * self.steps)
        total = len(self.train_loader)
        steps = "" if self.steps == total else f", {self.steps} of {total} steps,"
        planned = f"trains {self.epochs} of {self.config.epochs} epochs{steps}"
        speed *= count()
        self.say(f"{planned} in {self.config.minutes:g} minutes: {speed:.0f} samples/s")

    def _attempt(self, batch: Batch) -> None:
        with suppress(NotFinite):
            self.step(batch)
