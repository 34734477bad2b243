"""Pictures that are drawn fast enough to follow a slider."""

import io

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.plots import tradeoff
from eva_helpers.plots.pictures import DEPTH_MAP

CHANGE = 30  # amplifies the change of the depth


def mosaic(
    examples: Batch, mask: Tensor, depth: Tensor, before: Tensor | None = None, zoom: int = 2
) -> np.ndarray:
    """Image, mask, depth and depth error (red: too far, blue: too near), a column per example.

    Takes (B, 1, H, W); with `before`, a depth too, a last row shows the change since then, CHANGE
    times amplified. Returns uint8 (rows * H * zoom, B * W * zoom, 3).
    """
    differences = [2 * (depth - examples["depth"])]
    if before is not None:
        differences.append(CHANGE * (depth - before))
    rows = [
        examples["image"].permute(0, 2, 3, 1).numpy(),
        mask.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy(),
        colormaps[DEPTH_MAP](depth[:, 0].numpy())[..., :3],
        *(colormaps["RdBu"](0.5 + each[:, 0].numpy())[..., :3] for each in differences),
    ]
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)


def png(picture: np.ndarray | Figure) -> bytes:
    """A picture, uint8 (H, W, 3), or a figure as PNG."""
    buffer = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(buffer, format="png", dpi=80, pil_kwargs={"compress_level": 1})
    else:
        Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def chart(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """`plots.tradeoff` as uint8 (H, W, 3), and the place of each row in it: (n, 2) px, (x, y)."""
    figure = tradeoff(rows)
    figure.set_dpi(64)  # a thumbnail beside the examples
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    scores = [[row["mask_iou"], row["depth_rmse_std"]] for row in rows]
    places = figure.axes[0].transData.transform(scores)
    return picture, np.abs(places - (0, len(picture)))  # y is measured from below


def ringed(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The chart with a ring around `place` (x, y): much faster than drawing it again."""
    x, y = np.rint(place).astype(int).tolist()
    return cv2.circle(picture.copy(), (x, y), 11, (213, 94, 0), 2, cv2.LINE_AA)
