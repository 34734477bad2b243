"""Resampling arrays, and writing them as PNG."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from eva_helpers.files import write_whole


def write_png(path: str | os.PathLike, picture: np.ndarray) -> Path:
    """Write uint8 or uint16 (H, W[, C]) as PNG, whole or not at all. Raises InputError."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return write_whole(path, buffer.getvalue())


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample (H, W[, C]) to `size` = (height, width): by area when shrinking, else linearly."""
    if array.shape[:2] == tuple(size):
        return array
    shrinking = array.shape[0] >= size[0] and array.shape[1] >= size[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(array, (size[1], size[0]), interpolation=method)


def size_text(array: np.ndarray) -> str:
    """Width x height of (H, W[, C]), such as "640x480"."""
    return f"{array.shape[1]}x{array.shape[0]}"
