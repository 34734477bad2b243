"""How far a training has come, in a folder from which it goes on at the step it was saved at."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from eva_helpers.data import batches_from, set_epoch
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, weights_file
from eva_helpers.training.checkpoint import (
    Contents,
    RandomState,
    packed,
    random_state,
    set_random_state,
    unpack,
)
from eva_helpers.training.config import TrainingConfig
from eva_helpers.training.folder import BEST, PROGRESS, RunFolder
from eva_helpers.training.history import Progress, Row
from eva_helpers.training.processes import is_main, same_random_numbers
from eva_helpers.training.steps import Steps


class Resumable(Steps):
    """Steps in epochs; what is done of them is saved in `run` and restored from it."""

    def __init__(
        self, net: MaskDepthNet, train_loader: Any, run: RunFolder, config: TrainingConfig,
        weights: LossWeights, planned: tuple[int, int], say: Callable[[str], None],
        log_with: str = "",
    ) -> None:  # fmt: skip
        epochs, steps = run.plan or planned
        steps *= epochs
        super().__init__(net, config, weights, steps, log_with=log_with, folder=run.path)
        self.run = run
        self.folder = run.path
        self.train_loader = train_loader
        self.say: Callable[[str], None] = say if is_main() else _silent
        self.history: list[Row] = []
        self.epoch = 0
        self.progress = Progress()  # of the next epoch
        self.best = -math.inf
        self._best_weights = b""  # their file
        self._begun: RandomState | None = None  # when the epoch began
        if run.state:
            self._resume(run.state)
        self._saved = time.monotonic()

    def batches(self, steps: int) -> Iterator[Batch]:
        """What is left of an epoch of `steps` batches; an interruption changes no order."""
        set_epoch(self.train_loader, self.epoch)
        same_random_numbers()
        now = random_state(self.train_loader)
        if self._begun:
            set_random_state(self._begun, self.train_loader)
        batches = batches_from(self.train_loader, self.progress.steps)
        if self._begun:
            set_random_state(now, self.train_loader)
        self._begun = self._begun or now
        return islice(batches, steps - self.progress.steps)

    def end_epoch(self, row: Row) -> None:
        """Add the epoch's row to the history, and save."""
        self.history.append(row)
        self.epoch += 1
        self.progress = Progress()
        self._begun = None
        if row["score"] > self.best:
            self.best = row["score"]
            self._best_weights = weights_file(self.averaged_net)
        self._save()

    def save_in_time(self) -> None:
        """Save if the last time is long ago."""
        limit = 60 * self.config.save_minutes
        if limit and time.monotonic() - self._saved > limit:
            self._save()

    def _save(self) -> None:
        """Let the main process write all that is needed to go on from here."""
        if is_main():
            progress = {"epoch": self.epoch, "history": self.history}
            progress |= {"weights": asdict(self.weights), "running": asdict(self.progress)}
            training = packed(self.parts(), self.train_loader, self._begun)
            self.run.save(progress, training, self._best_weights, weights_file(self.averaged_net))
        self._saved = time.monotonic()

    def _resume(self, state: Contents) -> None:
        progress = json.loads(state[PROGRESS])
        self.epoch = progress["epoch"]
        self.history = progress["history"]
        self.progress = Progress(**progress.get("running", {}))  # version 0.3 had none
        self.best = max((row["score"] for row in self.history), default=-math.inf)
        self.weights = LossWeights(**progress["weights"])
        self._best_weights = state.get(BEST, b"")
        self._begun = unpack(state["training.pt"], self.parts(), self.train_loader)
        if is_main():
            self.run.publish(state, weights_file(self.averaged_net))
        within = f", step {self.progress.steps} of the next," if self.progress.steps else ""
        self.say(f"resumed after epoch {self.epoch}{within} in {self.folder}")


def _silent(line: str) -> None:
    """Of several processes, only the main one speaks."""
