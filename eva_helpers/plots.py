"""Figures. Every function takes arrays (and optionally axes) and returns axes or a figure; none calls `plt.show`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DEPTH_MAP = "magma"  # near = bright, as the contract's inverse depth; readable in grey and by colour-blind people
TERM_COLOURS = {
    "mask": "#0072b2",
    "dice": "#56b4e9",
    "ssim": "#d55e00",
    "edge": "#009e73",
    "l1": "#cc79a7",
    "ssi": "#e69f00",
    "loss": "#333333",
}


def as_picture(value: torch.Tensor | np.ndarray) -> np.ndarray:
    """(3, H, W), (1, H, W) or (H, W) tensor, or (H, W[, 3]) array, to what imshow takes."""
    if isinstance(value, torch.Tensor):
        value = value.detach().float().cpu().numpy()
        if value.ndim == 3:
            value = value.transpose(1, 2, 0) if value.shape[0] == 3 else value[0]
    return value


def show(ax: Axes, value: torch.Tensor | np.ndarray, title: str = "", kind: str = "photo", top: float | None = None) -> Axes:
    """One picture without ticks; `kind` is "photo", "mask" or "depth"; `top` is the depth drawn brightest."""
    picture = as_picture(value)
    colours = {"photo": {}, "mask": {"cmap": "gray", "vmin": 0, "vmax": 1}, "depth": {"cmap": DEPTH_MAP, "vmin": 0, "vmax": top}}[kind]
    ax.imshow(picture, **colours)
    ax.set_title(title, fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def panels(background: np.ndarray, image: np.ndarray, mask: np.ndarray, depth: np.ndarray) -> Figure:
    """The four panels of one pair: background, image, mask, depth."""
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
    for ax, value, title, kind in zip(
        axes,
        (background, image, mask, depth),
        ("background", "image", "mask", "depth (near = bright)"),
        ("photo", "photo", "mask", "depth"),
        strict=True,
    ):
        show(ax, value, title, kind)
    return figure


def samples(rows: Sequence[dict], titles: Sequence[str] = ()) -> Figure:
    """One row per sample of the data contract: background, image, mask, depth."""
    figure, axes = plt.subplots(len(rows), 4, figsize=(8, 2.05 * len(rows)), squeeze=False, layout="constrained")
    for number, (row, line) in enumerate(zip(rows, axes, strict=True)):
        for ax, name in zip(line, ("background", "image", "mask", "depth"), strict=True):
            show(ax, row[name], name if number == 0 else "", name if name in ("mask", "depth") else "photo")
        if number < len(titles):
            line[0].set_ylabel(titles[number], fontsize=9)
    return figure


def tiles(pictures: Sequence, columns: int = 8, titles: Sequence[str] = (), size: float = 1.3, kind: str = "photo") -> Figure:
    """A contact sheet."""
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, (size + 0.25 * bool(titles)) * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(pictures) :]:
        ax.axis("off")
    for number, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        show(ax, picture, titles[number] if number < len(titles) else "", kind)
        ax.title.set_fontsize(7)
    return figure


def cases(rows: Sequence[dict], titles: Sequence[str] = ()) -> Figure:
    """One row per case: image, true and predicted mask, true and predicted depth, depth error.

    Each row has `image`, `mask`, `depth` and `predicted_mask`, `predicted_depth`; both depths share one scale.
    """
    names = ("image", "mask", "predicted mask", "depth", "predicted depth", "depth error")
    figure, axes = plt.subplots(len(rows), 6, figsize=(11, 1.95 * len(rows)), squeeze=False, layout="constrained")
    for number, (row, line) in enumerate(zip(rows, axes, strict=True)):
        top = float(as_picture(row["depth"]).max())
        heads = names if number == 0 else ("",) * 6
        show(line[0], row["image"], heads[0])
        show(line[1], row["mask"], heads[1], "mask")
        show(line[2], row["predicted_mask"], heads[2], "mask")
        show(line[3], row["depth"], heads[3], "depth", top)
        show(line[4], row["predicted_depth"], heads[4], "depth", top)
        error = as_picture(row["predicted_depth"]) - as_picture(row["depth"])
        line[5].imshow(error, cmap="RdBu", vmin=-top / 2, vmax=top / 2)
        line[5].set(title=heads[5], xticks=[], yticks=[])
        line[5].title.set_fontsize(9)
        if number < len(titles):
            line[0].set_ylabel(titles[number], fontsize=8)
    return figure


def curves(history: Sequence[dict]) -> Figure:
    """Left: every raw loss term by epoch; right: validation mask IoU and depth RMSE / std."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    for name in (name for name in TERM_COLOURS if name in history[0] and name != "loss"):
        left.plot(epochs, [row[name] for row in history], marker=".", color=TERM_COLOURS[name], label=name)
    left.set(title="raw terms, training", xlabel="epoch", yscale="log")
    right.plot(epochs, [row["mask_iou"] for row in history], marker=".", color="#0072b2", label="mask IoU (higher is better)")
    right.plot(epochs, [row["depth_rmse_std"] for row in history], marker=".", color="#d55e00", label="depth RMSE / std (lower is better)")
    right.set(title="validation", xlabel="epoch", ylim=(0, 1.05))
    for ax in (left, right):
        ax.legend(fontsize=8)
        ax.grid(alpha=0.3)
    return figure


def point_cloud(image: np.ndarray, depth: np.ndarray, focal: float, z_near: float, far: float = 6.0) -> Figure:
    """The scene in space, from three sides: every pixel nearer than `far` metres at its place, in its colour.

    `image` uint8 (H, W, 3), `depth` (H, W) inverse depth; `focal` in px: x = (column - W / 2) z / focal, likewise for y (pinhole).
    """
    z = z_near / np.maximum(depth, 1e-6)
    rows, columns = np.nonzero(z < far)
    z, colours = z[rows, columns], image[rows, columns] / 255.0
    x, y = (columns - depth.shape[1] / 2) * z / focal, (depth.shape[0] / 2 - rows) * z / focal
    figure = plt.figure(figsize=(12, 4.2), layout="constrained")
    views = (("as the camera", 8, -90, "y"), ("from the right", 22, -50, ""), ("from above", 60, -75, "z"))
    for number, (title, tilt, turn, hidden) in enumerate(views, 1):
        ax = figure.add_subplot(1, 3, number, projection="3d")
        ax.scatter(x, z, y, c=colours, s=5, linewidths=0)
        ax.view_init(tilt, turn)
        ax.set(title=title, xlabel="x, m", ylabel="distance, m", zlabel="height, m")
        ax.set_box_aspect((1, 1.3, 0.5), zoom=0.85)  # the labels need room
        for axis, labels in zip("xyz", (5, 5, 4), strict=True):
            ax.locator_params(axis=axis, nbins=labels)
        ax.xaxis.labelpad, ax.zaxis.labelpad = 6, 12
        if hidden:  # the axis that is looked along: its labels would lie upon each other
            ax.set(**{f"{hidden}label": "", f"{hidden}ticks": []})
    return figure


def histogram(ax: Axes, values: np.ndarray, title: str, label: str, bins: int = 40) -> Axes:
    """A plain histogram as share of all values."""
    ax.hist(values, bins=bins, weights=np.full(len(values), 1 / len(values)), color="#0072b2")
    ax.set(title=title, xlabel=label, ylabel="share")
    ax.grid(alpha=0.3)
    return ax


def bars(ax: Axes, results: dict[str, dict[str, float]], key: str, title: str) -> Axes:
    """One horizontal bar per row of `results`, with its value written beside it."""
    names = list(results)[::-1]
    drawn = ax.barh(
        names,
        [results[name][key] for name in names],
        color=["#999999" if n.startswith(" ") else "#0072b2" for n in names],  # baselines are indented
    )
    ax.bar_label(drawn, fmt="%.3f", padding=3, fontsize=8)
    ax.set(title=title)
    ax.margins(x=0.15)
    ax.tick_params(labelsize=8)
    return ax


def save(figure: Figure, folder: str | Path, name: str) -> Path:
    """Write `folder/name.png` for the run's record."""
    path = Path(folder) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path


def robustness(card: dict[str, dict], title: str = "") -> Figure:
    """Mask IoU against each condition's level, one axes a condition; `card` as `evaluate.robustness` returns it."""
    figure, axes = plt.subplots(1, len(card), figsize=(2.6 * len(card), 2.9), layout="constrained", sharey=True, squeeze=False)
    for ax, (name, part) in zip(axes[0], card.items(), strict=True):
        places = range(len(part["levels"]))
        for who, colour in (("network", "#0072b2"), ("subtraction, best threshold", "#999999")):
            ax.plot(places, part[who], marker="o", color=colour, label=who)
        ax.set(title=name, xlabel=part["level"], ylim=(0, 1))
        ax.set_xticks(places, [f"{level:g}" for level in part["levels"]], fontsize=7.5)
        ax.xaxis.label.set_fontsize(7)
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("mask IoU")
    axes[0][0].legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def tuning(record: Sequence[dict], history: Sequence[dict], picture: np.ndarray) -> Figure:
    """A training under somebody's hands: raw terms, the weights in force, validation metrics, and a picture of the examples.

    `record` has a row a step (terms, and `weight NAME`), `history` a row an epoch. Drawn without pyplot, so from any thread.
    """
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1.25))
    terms, weights, scores = (figure.add_subplot(grid[row, 0]) for row in range(3))
    shown = record[:: max(1, len(record) // 400)]
    steps = [row["step"] for row in shown]
    for name in (name for name in TERM_COLOURS if record and name in record[0] and name != "loss"):
        terms.plot(steps, [row[name] for row in shown], color=TERM_COLOURS[name], lw=1, label=name)
    for key in (key for key in (record[0] if record else ()) if key.startswith("weight ")):
        name = key.removeprefix("weight ")
        weights.step(steps, [row[key] for row in shown], where="post", color=TERM_COLOURS.get(name, "#333333"), lw=1.5, label=name)
    epochs = range(1, len(history) + 1)
    scores.plot(epochs, [row["mask_iou"] for row in history], marker=".", color="#0072b2", label="mask IoU")
    top = 1.3  # the first epochs' errors, far above 1, would press the rest flat; they are drawn at the edge
    errors = [min(row["depth_rmse_std"], top) for row in history]
    scores.plot(epochs, errors, marker=".", color="#d55e00", label="depth RMSE / std", clip_on=False)
    terms.set(title="raw terms", yscale="log" if record else "linear")
    weights.set(title="weights in force", xlabel="step", ylim=(0, None))
    scores.set(title="validation", xlabel="epoch", ylim=(0, top))
    for ax in (terms, weights, scores):
        ax.grid(alpha=0.3)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=6, ncols=3, loc="upper right")
    right = figure.add_subplot(grid[:, 1])
    show(right, picture, "image / mask / depth / depth error")
    return figure


def responses(answers: dict[str, dict[str, Sequence[float]]], shares: Sequence[float]) -> Figure:
    """How each term's loss answers to its own weight: a panel for each entry of `answers` (title -> see `widgets.responses`).

    Drawn as change in per cent against the smallest share.
    """
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = figure.subplots(1, len(answers), sharey=True, squeeze=False)[0]
    for ax, (title, terms) in zip(axes, answers.items(), strict=True):
        for name, losses in terms.items():
            ax.plot(shares, [100 * (loss / losses[0] - 1) for loss in losses], marker="o", ms=4, color=TERM_COLOURS[name], label=name)
        ax.axhline(0, color="#333333", lw=0.8)
        ax.set(title=title, xlabel="the term's share of all weights", xlim=(0, 1))
        ax.grid(alpha=0.3)
    axes[0].set(ylabel="change of the term's own loss, %")
    axes[-1].legend(fontsize=8)
    return figure


def tradeoff(rows: Sequence[dict], current: dict | None = None) -> Figure:
    """Depth RMSE / std against mask IoU for every weighting of `rows` (see `widgets.tradeoff`), coloured by the mask's share."""
    figure = Figure(figsize=(6.2, 3.8), layout="constrained")
    ax = figure.add_subplot()
    x, y = ([row[key] for row in rows] for key in ("mask_iou", "depth_rmse_std"))
    dots = ax.scatter(x, y, c=[row["weights"].mask / (row["weights"].mask + row["weights"].depth) for row in rows], cmap="viridis", s=45)
    if current:
        ax.scatter(current["mask_iou"], current["depth_rmse_std"], s=220, facecolors="none", edgecolors="#d55e00", linewidths=2, zorder=3)
    figure.colorbar(dots, label="share of the mask in the loss")
    ax.set(xlabel="mask IoU (right is better)", ylabel="depth RMSE / std (lower is better)", title="what each weighting buys")
    for limits, values in ((ax.set_xlim, x), (ax.set_ylim, y)):  # at least 0.05 wide: an axis must not make much of little
        middle, half = (min(values) + max(values)) / 2, max(0.6 * (max(values) - min(values)), 0.025)
        limits(middle - half, middle + half)
    ax.grid(alpha=0.3)
    return figure
