"""Curves and scores of trainings and networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from scipy.ndimage import uniform_filter1d

from eva_helpers.plots.pictures import show

BLUE = "#0072b2"  # these can be told apart by colour-blind people (Okabe and Ito, 2008)
ORANGE = "#d55e00"
TERM_COLOURS = {
    "mask": BLUE, "dice": "#56b4e9", "ssim": ORANGE,
    "edge": "#009e73", "l1": "#cc79a7", "ssi": "#e69f00",
}  # fmt: skip
TERMS = {name: (name, colour) for name, colour in TERM_COLOURS.items()}
NAMES = ("mask", "depth", *TERMS)
GREY = "#333333"
WEIGHTS = {f"weight {name}": TERMS.get(name, (name, GREY)) for name in NAMES}
SCORES = {
    "mask_iou": ("mask IoU (higher is better)", BLUE),
    "depth_rmse_std": ("depth RMSE / std (lower is better)", ORANGE),
}
GRADIENTS = {"gradient mask": ("mask", BLUE), "gradient depth": ("depth", ORANGE)}
SMOOTHED = 9  # steps: those of single batches vary
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
    """A steered training: losses, weights, gradients, validation, and a picture of the examples.

    `record` has a row per step (terms, `weight NAME`, `lr`; in some of them `cosine` and `gradient
    TASK`), `history` one per epoch. Drawn without pyplot, so in any thread.
    """
    figure = Figure(figsize=(14, 5.6))
    grid = figure.add_gridspec(3, 3, width_ratios=(1, 1, 1.25))
    # fixed, because a layout engine takes a third of the time to draw
    figure.subplots_adjust(0.04, 0.09, 0.99, 0.95, wspace=0.14, hspace=0.38)
    axes = [figure.add_subplot(grid[row, column]) for column in range(2) for row in range(3)]
    terms, weights, rate, scores, cosine, norms = axes
    for ax in (weights, rate, cosine, norms):
        ax.sharex(terms)
    shown = record[:: max(1, len(record) // 400)]
    scale = "log" if shown else "linear"
    _lines(terms, shown, "step", TERMS, title="raw loss terms", yscale=scale)
    steps = {"drawstyle": "steps-post"}  # a weight applies until the next change
    _lines(weights, shown, "step", WEIGHTS, steps, title="current loss weights", ylim=(0, None))
    _lines(rate, shown, "step", {"lr": ("", GREY)}, title="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    epochs = list(history)  # a training may add to it meanwhile
    _lines(scores, epochs, "epoch", SCORES, title="validation by epoch", ylim=(0, LIMIT))
    measured = [row for row in record if "cosine" in row]
    title = "encoder: cosine of the gradients of mask and depth"
    _lines(cosine, measured, "step", {"cosine": ("", GREY)}, title=title, ylim=(-1, 1))
    cosine.axhline(0, color=GREY, lw=0.8)
    _lines(norms, measured, "step", GRADIENTS, title="encoder: their norms", ylim=(0, None))
    _small(axes)
    for ax in (terms, weights, scores, cosine):
        ax.set_xlabel("")
    show(figure.add_subplot(grid[:, 2]), picture, "image / mask / depth / depth error")
    return figure


def tries(curves: Mapping[str, Rows], scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Weightings of one training laid over each other: raw loss terms, and validation scores.

    `curves` has rows of `step` and terms by name, `scores` the final `mask_iou` and
    `depth_rmse_std` by the same names. Curves begin at the left, and are means of SMOOTHED steps.
    """
    figure = Figure(figsize=(12, 5.4))
    axes = figure.subplots(2, 3).flat
    figure.subplots_adjust(0.05, 0.19, 0.99, 0.95, wspace=0.16, hspace=0.42)
    steps = [row for rows in curves.values() for row in rows]
    names = [name for name in TERMS if any(row.get(name) for row in steps)]
    *places, last = axes
    for ax, term in zip(places, names, strict=False):
        for number, rows in enumerate(curves.values()):
            first = rows[0]["step"] if rows else 0
            values = uniform_filter1d([row[term] for row in rows], SMOOTHED, mode="nearest")
            ax.plot([row["step"] - first for row in rows], values, color=f"C{number}")
        ax.set(title=term, xlabel="step with this weighting", yscale="log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    for number, name in enumerate(curves):
        here = [[scores.get(name, {}).get(key, np.nan)] for key in SCORES]
        last.plot(*here, "o-", color=f"C{number}", label=name)
    last.set(title="validation (better: down, right)", xlabel="mask IoU", ylabel="depth RMSE / std")
    last.grid(alpha=0.3)
    _small((*places, last))
    figure.legend(loc="lower center", ncols=4, fontsize=8)
    return figure


def _small(axes: Sequence[Axes]) -> None:
    """Smaller text, for many axes in one figure."""
    for ax in axes:
        ax.tick_params(labelsize=8)
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
            text.set_fontsize(9)


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
    known = [key for key in columns if any(key in row for row in rows)]
    for key in known:
        label, colour = columns[key]
        values = np.minimum([row.get(key, np.nan) for row in rows], top)
        line = ".-" if len(rows) < 50 else "-"
        ax.plot(places, values, line, color=colour, label=label, clip_on=False, **(style or {}))
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    ax.set(xlabel=unit, **settings)
    if any(columns[key][0] for key in known):
        ax.legend(fontsize=7, ncols=3 if len(columns) > 2 else 1)


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


def fronts(rows_by_steps: Mapping[int, Rows], project: Rows | None = None) -> Figure:
    """Depth RMSE / std against mask IoU: a line for each length of training, in steps.

    Rows have `mask_iou` and `depth_rmse_std`, in the order of the mask's share of the loss;
    `project` those of the project's network, which are drawn as stars.
    """
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    ax = figure.add_subplot(title="Validation scores: each point is a weighting")
    colours = colormaps["viridis_r"](np.linspace(0.15, 1, len(rows_by_steps)))
    for (steps, rows), colour in zip(rows_by_steps.items(), colours, strict=True):
        line = ([row[key] for row in rows] for key in SCORES)
        ax.plot(*line, "o-", color=colour, ms=4, label=f"narrow network, {steps} steps")
    if project:
        points = ([row[key] for row in project] for key in SCORES)
        ax.plot(
            *points, "*", color=ORANGE, ms=11, label=f"project's network, {len(project)} points"
        )
    ax.set(xlabel="mask IoU (right is better)", ylabel="depth RMSE / std (lower is better)")
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    return figure
