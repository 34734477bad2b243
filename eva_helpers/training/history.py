"""Rows of a training's history: what is trained and labelled, and nothing else."""

import math
from dataclasses import dataclass, field
from typing import Any

from eva_helpers.files import InputError
from eva_helpers.losses import TERMS

Row = dict[str, Any]
SCORES = {"mask_iou": 1, "depth_rmse_std": -1}  # with their signs in the score


@dataclass
class Progress:
    """What is done of an epoch: steps (skipped ones included), samples, seconds, sums of terms."""

    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: dict[str, float]) -> None:
        """Count the loss and the raw terms of a step.

        A step without depth labels has depth terms of 0 and does not count for them.
        """
        for name, value in terms.items():
            if value and math.isfinite(value):
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, tasks: set[str]) -> Row:
        """Means of the loss and of the raw terms of `tasks`."""
        wanted = [name for name in self.sums if TERMS.get(name, name) in (*tasks, "loss")]
        return {name: self.sums[name] / self.counts[name] for name in wanted}

    def row(self, tasks: set[str]) -> Row:
        """What the history says of an epoch's training."""
        speed = {"samples_per_second": self.samples / self.seconds, "seconds": self.seconds}
        return self.means(tasks) | speed


def scores(metrics: dict[str, float], tasks: set[str]) -> Row:
    """The metrics of `tasks`, and their `score`: mask IoU minus depth RMSE / std.

    Raises:
        InputError: there is none, because depth alone is trained and nothing has depth labels.
    """
    row = {name: value for name, value in metrics.items() if name.split("_")[0] in tasks}
    known = [sign * row[name] for name, sign in SCORES.items() if name in row]
    if not known:
        raise InputError(
            "depth alone is trained, but the validation samples have no depth labels: "
            "label them, or give the mask a weight."
        )
    return row | {"score": sum(known)}


def epoch_line(row: Row, epochs: int) -> str:
    """A row as text."""
    shown = ("loss", "mask", "dice", "ssim", "edge", "l1")
    texts = {"mask": "bce"}  # the cross-entropy, which is not the whole loss of the mask
    terms = [f"{texts.get(name, name)} {row[name]:.4f}" for name in shown if name in row]
    names = {"mask_iou": "IoU", "depth_rmse_std": "RMSE/std"}
    metrics = [f"{text} {row[name]:.4f}" for name, text in names.items() if name in row]
    parts = ["  ".join(terms), "val " + "  ".join(metrics)]
    speed = f"{row['samples_per_second']:.0f} samples/s"
    if "threads" in row:
        speed += f" ({row['threads']} thread{'s' * (row['threads'] > 1)})"
    return f"epoch {row['epoch']:>3}/{epochs}  " + "  |  ".join([*parts, speed])
