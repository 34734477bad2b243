"""Photos, masks and depth maps: one, a contact sheet, or a row per sample."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from eva_helpers.files import writable_folder, write_whole
from eva_helpers.images import resize

DEPTH_MAP = "magma"  # near = bright; readable in greyscale and by colour-blind people
SAMPLE = ("background", "image", "mask", "depth")
LARGEST = 800  # px of a picture's longer side in a figure
NARROWEST = 168  # px of a picture in a strip: narrower ones are enlarged, so that titles fit
TITLE = 22  # px: height of the titles in a strip
CASE = ("image", "mask", "predicted mask", "depth", "predicted depth", "depth error")

Picture = torch.Tensor | np.ndarray
Rows = Sequence[Mapping[str, Picture]]
Titles = Sequence[str]


def as_picture(value: Picture) -> np.ndarray:
    """A (3, H, W), (1, H, W) or (H, W) tensor, or an (H, W[, 3]) array, as imshow takes it."""
    if not isinstance(value, torch.Tensor):
        return value
    channels = value.detach().float().cpu().reshape(-1, *value.shape[-2:])
    return channels.permute(1, 2, 0).squeeze(-1).numpy()


def show(
    ax: Axes, value: Picture, title: str = "", kind: str = "photo", top: float | None = None
) -> Axes:
    """One picture without ticks; `kind` is "photo", "mask", "depth" or "error" (of depth).

    The colours of depth end at `top`, those of its error at `top` / 2 (None: at the largest).
    """
    colours: dict[str, dict[str, Any]] = {
        "mask": {"cmap": "gray", "vmin": 0, "vmax": 1},
        "depth": {"cmap": DEPTH_MAP, "vmin": 0, "vmax": top},
        "error": {"cmap": "RdBu", "norm": CenteredNorm(halfrange=top / 2 if top else None)},
    }
    ax.imshow(_reduced(as_picture(value)), **colours.get(kind, {}))
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])
    return ax


def _reduced(picture: np.ndarray) -> np.ndarray:
    """At most LARGEST px a side: what matplotlib draws costs time and memory by the pixel."""
    height, width = picture.shape[:2]
    scale = LARGEST / max(height, width)
    if scale >= 1:
        return picture
    numbers = picture if picture.dtype == np.uint8 else picture.astype(np.float32, copy=False)
    return resize(numbers, (max(1, round(height * scale)), max(1, round(width * scale))))


def panels(
    background: Picture, image: Picture, mask: Picture, depth: Picture, pyplot: bool = True
) -> Figure:
    """The four panels of one pair: background, image, mask, depth.

    Without `pyplot` no window or notebook shows the figure, and nothing keeps it in memory.
    """
    row = dict(zip(SAMPLE, (background, image, mask, depth), strict=True))
    figure = _grid([row], SAMPLE, (), 3.2, plt.figure if pyplot else Figure)
    figure.axes[3].set_title("depth (near = bright)", fontsize=9)
    return figure


def samples(rows: Rows, titles: Titles = ()) -> Figure:
    """One row per sample of the data contract: background, image, mask, depth."""
    return _grid(rows, SAMPLE, titles, 2.05)


def cases(rows: Rows, titles: Titles = ()) -> Figure:
    """One row per case: image, true and predicted mask, true and predicted depth, depth error.

    Each has `image`, `mask`, `depth`, `predicted_mask` and `predicted_depth`; the depths share a
    colour scale. In the error, red is predicted too far, blue too near. Without any depth label
    (0 everywhere), depth is left out.
    """
    labelled = any(as_picture(row["depth"]).any() for row in rows)
    errors = [as_picture(row["predicted_depth"]) - as_picture(row["depth"]) for row in rows]
    shown = [{**row, "depth_error": error} for row, error in zip(rows, errors, strict=True)]
    return _grid(shown, CASE if labelled else CASE[:3], titles, 1.95)


def _grid(
    rows: Rows, names: Sequence[str], titles: Titles, size: float,
    make: Callable[..., Figure] = plt.figure,
) -> Figure:  # fmt: skip
    """A row of pictures `size` inches wide per sample; the kind is the last word of a name."""
    height, width = as_picture(rows[0]["depth"]).shape
    area = (0.95 * size * len(names), (0.9 * height / width + 0.1) * size * len(rows))
    figure = make(figsize=area, layout="constrained")
    axes = figure.subplots(len(rows), len(names), squeeze=False)
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        top = float(as_picture(row["depth"]).max())
        for ax, name in zip(line, names, strict=True):
            show(ax, row[name.replace(" ", "_")], "" if number else name, name.split()[-1], top)
    for ax, title in zip(axes[:, 0], titles, strict=False):
        ax.set_ylabel(title, fontsize=9)
    return figure


def tiles(
    pictures: Sequence, columns: int = 8, titles: Titles = (), size: float = 1.3, kind: str = ""
) -> Figure:
    """A contact sheet; every picture is `size` inches wide, `kind` as in `show`."""
    rows = -(-len(pictures) // columns)
    area = (size * columns, (size + 0.25 * bool(titles)) * rows)
    figure = plt.figure(figsize=area, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for ax, picture, title in zip_longest(axes, pictures, titles):
        if picture is None:
            ax.axis("off")
        else:
            show(ax, picture, title or "", kind).title.set_fontsize(7)
    return figure


def strip(pictures: Sequence[np.ndarray], titles: Titles) -> np.ndarray:
    """Pictures of one size in a row, titled, as uint8 (h, w, 3): fast enough to follow a slider.

    Photos are uint8 (H, W, 3), masks float (H, W) in [0, 1].
    """
    font = ImageFont.truetype(findfont("DejaVu Sans"), 13)  # of all figures
    height, width = pictures[0].shape[:2]
    zoom = ceil(NARROWEST / width)
    step = zoom * width + 6
    sheet = Image.new("RGB", (step * len(pictures) - 6, TITLE + zoom * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        pixels = picture if picture.ndim == 3 else np.rint(picture * 255).astype(np.uint8)
        left = number * step
        sheet.paste(Image.fromarray(pixels.repeat(zoom, 0).repeat(zoom, 1)), (left, TITLE))
        pen.text((left + zoom * width / 2, TITLE / 2), title, "black", font, anchor="mm")
    return np.asarray(sheet)


def save(figure: Figure, folder: str | Path, name: str) -> Path:
    """Write `folder/name.png`."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100)
    return write_whole(writable_folder(folder) / f"{name}.png", picture.getvalue())
