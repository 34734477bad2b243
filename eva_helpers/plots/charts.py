"""Curves and scores of trainings and networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eva_helpers.plots.pictures import show

BLUE = "#0072b2"  # these can be told apart by colour-blind people (Okabe and Ito, 2008)
ORANGE = "#d55e00"
TERM_COLOURS = {
    "mask": BLUE, "dice": "#56b4e9", "ssim": ORANGE,
    "edge": "#009e73", "l1": "#cc79a7", "ssi": "#e69f00",
}  # fmt: skip
TERMS = {name: (name, colour) for name, colour in TERM_COLOURS.items()}
NAMES = ("mask", "depth", *TERMS)
WEIGHTS = {f"weight {name}": TERMS.get(name, (name, "#333333")) for name in NAMES}
SCORES = {
    "mask_iou": ("mask IoU (higher is better)", BLUE),
    "depth_rmse_std": ("depth RMSE / std (lower is better)", ORANGE),
}
LIMIT = 1.3  # larger errors, those of the first epochs, are drawn at the edge

Rows = Sequence[Mapping[str, Any]]


def curves(history: Rows) -> Figure:
    """Left: every raw loss term by epoch; right: validation mask IoU and depth RMSE / std.

    What a training has no values of is left out.
    """
    figure = plt.figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _lines(left, history, "epoch", TERMS, title="raw loss terms", yscale="log")
    _lines(right, history, "epoch", SCORES, title="validation", ylim=(0, LIMIT))
    return figure


def tuning(record: Rows, history: Rows, picture: np.ndarray) -> Figure:
    """A steered training: raw terms, current weights, validation, and a picture of the examples.

    `record` has a row per step (terms, and `weight NAME`), `history` one per epoch. Drawn without
    pyplot, so in any thread.
    """
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1.25))
    terms, weights, scores = (figure.add_subplot(grid[row, 0]) for row in range(3))
    shown = record[:: max(1, len(record) // 400)]
    scale = "log" if shown else "linear"
    _lines(terms, shown, "step", TERMS, title="raw loss terms", yscale=scale)
    steps = {"drawstyle": "steps-post"}  # a weight applies until the next change
    _lines(weights, shown, "step", WEIGHTS, steps, title="current loss weights", ylim=(0, None))
    _lines(scores, history, "epoch", SCORES, title="validation", ylim=(0, LIMIT))
    show(figure.add_subplot(grid[:, 1]), picture, "image / mask / depth / depth error")
    return figure


def _lines(
    ax: Axes,
    rows: Rows,
    unit: str,
    columns: Mapping[str, tuple[str, str]],
    style: Mapping[str, Any] | None = None,
    **settings: Any,
) -> None:
    """The `columns` (label and colour) that any of `rows` has, against `unit` (step or epoch)."""
    places = [row[unit] for row in rows]
    top = settings.get("ylim", (0, None))[1] or np.inf
    for key in [key for key in columns if any(key in row for row in rows)]:
        label, colour = columns[key]
        values = np.minimum([row.get(key, np.nan) for row in rows], top)
        line = ".-" if len(rows) < 50 else "-"
        ax.plot(places, values, line, color=colour, label=label, clip_on=False, **(style or {}))
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    ax.set(xlabel=unit, **settings)
    if rows:
        ax.legend(fontsize=7, ncols=3)


def histogram(ax: Axes, values: np.ndarray, title: str, label: str, bins: int = 40) -> Axes:
    """A histogram of `values`, (N,), as shares of them all."""
    ax.hist(values, bins=bins, weights=np.full(len(values), 1 / len(values)), color=BLUE)
    ax.set(title=title, xlabel=label, ylabel="share")
    ax.grid(alpha=0.3)
    return ax


def robustness(card: Mapping[str, Mapping[str, Any]], title: str = "") -> Figure:
    """Mask IoU against each condition's level; `card` as from `evaluation.robustness`."""
    figure = plt.figure(figsize=(2.6 * len(card), 2.9), layout="constrained")
    axes = figure.subplots(1, len(card), sharey=True, squeeze=False)[0]
    for ax, (name, part) in zip(axes, card.items(), strict=True):
        methods = [key for key in part if key not in ("level", "levels")]
        for method, colour in zip(methods, (BLUE, "#999999"), strict=True):
            ax.plot(part[method], ".-", color=colour, label=method)
        levels = [f"{level:g}" for level in part["levels"]]
        ax.set_xticks(range(len(levels)), levels, fontsize=7)
        ax.set_xlabel(part["level"], fontsize=7)
        ax.set(title=name, ylim=(0, 1))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("mask IoU")
    axes[0].legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def tradeoff(rows: Rows, current: Mapping[str, Any] | None = None) -> Figure:
    """Depth RMSE / std against mask IoU of every weighting; `rows` as from `tuning.tradeoff`.

    Points are coloured by the mask's share of the loss; `current` is ringed.
    """
    figure = Figure(figsize=(6.2, 3.8), layout="constrained")
    ax = figure.add_subplot(title=f"Validation scores for {len(rows)} weightings")
    shares = [row["weights"].mask / (row["weights"].mask + row["weights"].depth) for row in rows]
    x, y = (np.array([row[key] for row in rows]) for key in SCORES)
    figure.colorbar(ax.scatter(x, y, c=shares, s=45), label="share of the mask in the loss")
    if current:
        here = current["mask_iou"], current["depth_rmse_std"]
        ax.scatter(*here, s=220, facecolors="none", edgecolors=ORANGE, linewidths=2)
    middle = np.array([x.min() + x.max(), y.min() + y.max()]) / 2
    ax.update_datalim([middle - 0.025, middle + 0.025])  # small differences must not fill the axes
    ax.margins(0.1)
    ax.set(xlabel="mask IoU (right is better)", ylabel="depth RMSE / std (lower is better)")
    ax.grid(alpha=0.3)
    return figure
