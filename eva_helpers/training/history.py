"""Rows of a training's history: what is trained and labelled, and nothing else."""

import math
from typing import Any

from eva_helpers.files import InputError
from eva_helpers.losses import TERMS

Row = dict[str, Any]
SCORES = {"mask_iou": 1, "depth_rmse_std": -1}  # with their signs in the score


def mean_terms(steps: list[dict[str, float]], tasks: set[str]) -> Row:
    """Means of the loss and of the raw terms of `tasks` over `steps`.

    A step without depth labels has depth terms of 0 and does not count for them.
    """
    row = {}
    for name in dict.fromkeys(name for terms in steps for name in terms):
        values = [terms[name] for terms in steps if terms[name] and math.isfinite(terms[name])]
        if values and TERMS.get(name, name) in (*tasks, "loss"):
            row[name] = sum(values) / len(values)
    return row


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
    terms = [
        f"{name} {row[name]:.4f}" for name in ("loss", "mask", "ssim", "edge", "l1") if name in row
    ]
    names = {"mask_iou": "IoU", "depth_rmse_std": "RMSE/std"}
    metrics = [f"{text} {row[name]:.4f}" for name, text in names.items() if name in row]
    parts = ["  ".join(terms), "val " + "  ".join(metrics)]
    speed = f"{row['samples_per_second']:.0f} samples/s"
    return f"epoch {row['epoch']:>3}/{epochs}  " + "  |  ".join([*parts, speed])
