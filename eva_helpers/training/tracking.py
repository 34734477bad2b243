"""Experiment trackers: a training's numbers go to any tracker that Accelerate knows."""

from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from eva_helpers.files import InputError
from eva_helpers.losses import TERMS, LossWeights
from eva_helpers.training.history import Row

PROJECT = "eva-helpers"  # the project's name in a tracker, the folder's for TensorBoard
PACKAGES = {"comet_ml": "comet-ml"}  # to install, where it is not the tracker's name
EVERY = 10  # steps between two points of the loss of a single step
COUNTS = ("epoch", "seconds", "samples_per_second")  # of a row: neither losses nor scores


def check_tracker(name: str) -> None:
    """Raise InputError unless `name` is empty (none) or a tracker that can be used here."""
    if name and name not in LOGGER_TYPE_TO_CLASS:
        raise InputError(
            f"the tracker {name!r} is unknown: expected one of {', '.join(LOGGER_TYPE_TO_CLASS)}."
        )
    if name in {*LoggerType.list()} - {*map(str, get_available_trackers())}:
        package = PACKAGES.get(name, name)
        raise InputError(f"the tracker {name} is not installed: `pip install {package}`.")


class Tracking:
    """Logs a training of certain `settings` to the tracker of `accelerator`, if it has one.

    The axis of all points is the number of optimiser steps since the training began.
    """

    def __init__(self, accelerator: Accelerator, settings: dict[str, Any]) -> None:
        self.accelerator = accelerator
        self.settings = settings

    def start(self, done: int) -> None:
        """Open the tracker, unless it is open, to log what follows after `done` steps.

        Points beyond them, of an epoch that was killed and is trained again, are dropped by
        TensorBoard. Settings are logged when a training begins.
        """
        if self.accelerator.trackers or not self.accelerator.log_with:
            return
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self.settings.items()
        }
        options = {"tensorboard": {"purge_step": done + 1}}
        self.accelerator.init_trackers(PROJECT, None if done else plain, options)

    def step(self, number: int, loss: float, lr: float) -> None:
        """Log the loss and the learning rate of every EVERY-th step, from 1."""
        if number % EVERY == 0:
            self.accelerator.log({"step/loss": loss, "step/lr": lr}, number)

    def epoch(self, number: int, row: Row, lr: float) -> None:
        """Log a row of the history after step `number`.

        `train/` are mean raw terms and the loss, `share/` the terms times their weights (of a fixed
        balance), `validation/` the scores of the averaged network.
        """
        values: dict[str, float] = {"lr": lr}
        for name in row.keys() - {"weights"}:
            group = "train/" if name == "loss" or name in TERMS else "validation/"
            values[name if name in COUNTS else group + name] = row[name]
        if self.settings["balance"] == "fixed":
            parts = LossWeights(**row["weights"]).parts()
            trained = [name for name, part in parts.items() if part and name in row]
            values |= {f"share/{name}": parts[name] * row[name] for name in trained}
        self.accelerator.log(values, number)

    def finish(self) -> None:
        """Close the tracker; `start` opens it again."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.trackers.clear()
