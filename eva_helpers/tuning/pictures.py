"""Pictures that are drawn fast enough to follow a slider."""

import io
from collections.abc import Callable

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.plots.pictures import DEPTH_MAP

Limits = tuple[float, float]


def mosaic(examples: Batch, mask: Tensor, depth: Tensor, zoom: int = 2) -> np.ndarray:
    """Image, mask, depth and depth error (red: too far, blue: too near), a column per example.

    Takes (B, 1, H, W); returns uint8 (4 * H * zoom, B * W * zoom, 3).
    """
    error = 2 * (depth - examples["depth"])
    rows = [
        examples["image"].permute(0, 2, 3, 1).numpy(),
        mask.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy(),
        colormaps[DEPTH_MAP](depth[:, 0].numpy())[..., :3],
        colormaps["RdBu"](0.5 + error[:, 0].numpy())[..., :3],
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


def as_jpeg(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as JPEG: of photos, in a tenth of the time of `png`."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 93]
    sharp = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", picture[..., ::-1], quality + sharp)[1].tobytes()


def chart(figure: Figure) -> tuple[np.ndarray, Callable, tuple[Limits, Limits]]:
    """A figure of one plot as uint8 (H, W, 3); where a point (x, y) is in it, px; its limits."""
    figure.set_dpi(64)  # a thumbnail beside the examples
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    ax = figure.axes[0]

    def place(x: float, y: float) -> np.ndarray:
        across, up = ax.transData.transform((x, y))
        return np.array([across, len(picture) - up])

    return picture, place, (_sorted(ax.get_xlim()), _sorted(ax.get_ylim()))


def _sorted(limits: tuple[float, float]) -> Limits:
    """Both limits, the lesser one first."""
    return min(limits), max(limits)


def ringed(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The chart with a ring around `place` (x, y): much faster than drawing it again."""
    x, y = np.rint(place).astype(int).tolist()
    return cv2.circle(picture.copy(), (x, y), 11, (213, 94, 0), 2, cv2.LINE_AA)
