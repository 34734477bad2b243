"""Masks in any encoding, as coverage."""

import os

import cv2
import numpy as np
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.images.opening import Picture, open_picture
from eva_helpers.images.reading import white_level

LABELS = 31  # values up to this are labels of objects, not brightness
VOID = (255, 65535)  # marks pixels that belong to no label
COLOURFUL = 0.15  # channels that differ by more than this share of the highest value
EXPECTED = "expected a mask that is 0 where there is no object and brightest on the object"


def read_mask(
    path: str | os.PathLike, at_least: int = 0, inverted: bool | None = None
) -> np.ndarray:
    """A mask as coverage by the object, float32 (H, W) in [0, 1].

    Recognised are grey values in any number of bits or floats, labels (0 no object, 255 void),
    palettes, an alpha channel, and one or several colours on a plain ground.

    Args:
        path: of the file.
        at_least: as in `open_picture`.
        inverted: whether the object is the dark part; None: it is where the whole border of a
            mostly bright mask is bright.

    Raises:
        InputError: as `open_picture`, or the encoding is not recognised.
    """
    try:
        coverage = _coverage(open_picture(path, at_least), constant=inverted is not None)
        if inverted is None:
            inverted = _bright_border(coverage)
    except _UnknownError as reason:
        raise InputError(f"{path} {reason}: {EXPECTED}.") from None
    return 1 - coverage if inverted else coverage


class _UnknownError(ValueError):
    """The encoding is not recognised; the message continues the file's name."""


def _bright_border(coverage: np.ndarray) -> bool:
    border = np.concatenate([coverage[[0, -1]].ravel(), coverage[:, [0, -1]].ravel()]) > 0.5
    corners = coverage[[0, 0, -1, -1], [0, -1, 0, -1]] > 0.5
    if not (corners.all() and border.mean() > 0.75):
        return False
    if coverage.mean() < 0.5:
        raise _UnknownError("has a bright border, but is mostly dark inside")
    return True


def _coverage(picture: Picture, constant: bool) -> np.ndarray:
    """The bright part, or that with a label; `constant` allows the whole picture."""
    values = _values(picture)
    if values.ndim == 3:
        high, low = values.max(-1), values.min(-1)
        if (high - low > COLOURFUL * high.max(initial=1)).mean() > 0.001:
            return _of_colours(values.astype(np.float32))
        values = high
    return _of_grey(values, constant)


def _values(picture: Picture) -> np.ndarray:
    """The channel or channels that hold the mask: (H, W), or RGB (H, W, 3)."""
    if isinstance(picture, Image.Image):
        if picture.mode == "P" and not picture.has_transparency_data:
            return _of_palette(picture)
        if picture.mode in ("1", "L"):
            return np.asarray(picture.convert("L"))
        picture = np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    if picture.ndim == 3 and picture.shape[2] == 4:
        alpha = picture[..., 3]
        return alpha if alpha.min() < alpha.max() else picture[..., :3]
    return picture


def _of_palette(picture: Image.Image) -> np.ndarray:
    """Labels where the palette has colours and 0 is black, as in PASCAL VOC; else the colours."""
    index = np.asarray(picture)
    palette = np.reshape(picture.getpalette() or [0] * 768, (-1, 3))
    used = np.unique(index)
    colours = palette[used[used < len(palette)]]
    distinct = len(np.unique(colours, axis=0)) == len(used)
    if distinct and (np.ptp(colours, axis=1).max() == 0 or used[0] > 0 or palette[0].any()):
        return np.asarray(picture.convert("RGB"))
    return np.where(index == VOID[0], 0, index > 0).astype(np.uint8)


def _of_grey(values: np.ndarray, constant: bool) -> np.ndarray:
    """Coverage of grey values: of two values, of labels, or of brightness."""
    levels, counts = _histogram(values)
    if not (levels[0] >= 0 and np.isfinite(levels[-1])):  # NaN is last
        raise _UnknownError("has values below 0 or that are not numbers")
    if len(levels) == 1 and levels[0] and not constant:
        raise _UnknownError(f"is {levels[0]} everywhere")
    if len(levels) == 1 or (len(levels) == 2 and levels[0] == 0):
        return (values > 0).astype(np.float32)
    labels = _labels(levels, counts)
    if labels is None:
        return _of_brightness(values, levels, counts)
    if labels[0] > 0:
        shown = ", ".join(f"{label:g}" for label in labels[:4])
        raise _UnknownError(f"has no 0, but the values {shown}")
    return ((values > 0) & (values <= labels[-1])).astype(np.float32)


def _histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, ascending, and how often."""
    if values.dtype not in (np.uint8, np.uint16):
        return np.unique(values, return_counts=True)
    bins = 256 if values.dtype == np.uint8 else 65536
    whole = np.ascontiguousarray(values)
    counts = cv2.calcHist([whole], [0], None, [bins], [0, bins]).ravel()
    levels = np.flatnonzero(counts)
    return levels, counts[levels]


def _of_brightness(values: np.ndarray, levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    white = 255.0 if values.dtype == np.uint8 else white_level(values) or 1.0
    if levels[0] > 0.25 * white:
        raise _UnknownError(f"is nowhere darker than {levels[0]:g} of {white:g}")
    if levels[-1] < 0.5 * white and counts[1:].sum() > 0.02 * values.size:
        raise _UnknownError(f"is nowhere brighter than {levels[-1]:g} of {white:g}")
    unit = values.astype(np.float32)
    unit *= np.float32(1 / white)
    return np.minimum(unit, 1, out=unit)


def _labels(levels: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """The labels, where the values are labels: small, or dark and few with many pixels each."""
    void = np.isin(levels, VOID) & (levels > LABELS)
    if counts[void].sum() >= counts[~void & (levels > 0)].sum():
        return None
    labels = levels[~void]
    whole = (labels == np.rint(labels)).all() and (levels.dtype.kind != "f" or labels[-1] > 1)
    few = len(labels) <= 8 and labels[-1] < 128 and counts[~void].min() >= 0.002 * counts.sum()
    return labels if whole and (labels[-1] <= LABELS or few) else None


def _of_colours(values: np.ndarray) -> np.ndarray:
    """Everything that differs from the border's colour: soft where it has one colour only."""
    edges = [values[0], values[-1], values[:, 0], values[:, -1]]
    border = np.concatenate(edges)
    ground = np.median(border, axis=0)
    difference = np.abs(values - ground).max(-1)
    highest = difference.max()
    if (np.abs(border - ground).max(-1) > 0.2 * highest).mean() > 0.5:
        raise _UnknownError("is a picture of many colours")
    marked = difference > 0.25 * highest
    shades = (values[marked] * (15 / max(values.max(), 1))).astype(np.int64)
    bins = np.sort(np.bincount(shades @ (256, 16, 1)))[::-1]
    if bins[:24].sum() < 0.9 * bins.sum():
        raise _UnknownError("is a picture of many colours")
    hues = (values[marked] - ground) / difference[marked, None]
    if hues.std(0).max() > 0.15:  # several
        return marked.astype(np.float32)
    return np.minimum(difference / np.median(difference[marked]), 1).astype(np.float32)
