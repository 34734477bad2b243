"""Finding photos that are there twice: resized, compressed again or slightly brightened."""

import cv2
import numpy as np

SIDE = 12  # cells a side: their averages are compared, which compression hardly changes
NOISE = 2.5  # of 255: difference of average colours of the same picture
BRIGHTER = 0.04  # of the brightness: what a plain picture may differ by
DETAIL = (0.15, 0.05, 0.6)  # of the detail that both show: cells, tint and brightness, besides
SHAPE = 0.07  # RMS difference of alpha, and difference of log(width / height)


class Duplicates:
    """The pictures so far, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.cells: list[np.ndarray] = []

    def add(self, name: str, picture: np.ndarray) -> str | None:
        """Remember uint8 RGB[A] (H, W, C), or return the name of one that is nearly the same."""
        cells = cells_of(picture)
        if self.cells:
            same = nearly_same(cells, np.stack(self.cells))
            if same.any():
                return self.names[int(same.argmax())]
        self.names.append(name)
        self.cells.append(cells)
        return None


def cells_of(picture: np.ndarray) -> np.ndarray:
    """Averages of uint8 RGB[A] (H, W, C) in SIDE x SIDE cells: float32 (cells, 5).

    Columns: colour of what is visible (0-255), alpha (0-1), log(width / height) of the picture.
    """
    height, width = picture.shape[:2]
    opaque = np.full((height, width), 255, np.uint8)
    alpha = (picture[..., 3] if picture.shape[2] == 4 else opaque) / np.float32(255)
    weighted = np.dstack([picture[..., :3] * alpha[..., None], alpha])
    cells: np.ndarray = cv2.resize(weighted, (SIDE, SIDE), interpolation=cv2.INTER_AREA).reshape(
        -1, 4
    )
    cells[:, :3] /= np.maximum(cells[:, 3:], 1e-3)
    return np.column_stack([cells, np.full(len(cells), np.log(width / height), np.float32)])


def nearly_same(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of `others` (n, cells, 5) show the picture `one` (cells, 5): bool (n,).

    Copies have the same shape and, but for noise and brightness, the same colours. Plain pictures
    are all alike, so the tolerance grows with the detail, the contrast of neighbouring cells.
    """
    weight = np.square(one[:, 3] * others[..., 3])[..., None]  # edges are blends
    weight /= np.maximum(weight.mean(1, keepdims=True), 1e-6)
    (mean, pattern), (other_mean, other) = (
        _mean_and_pattern(weight, colours) for colours in (one[:, :3], others[..., :3])
    )
    factor = (_rms(pattern) / np.maximum(_rms(other), 1e-6)).clip(0.8, 1.25)[:, None, None]
    brightness = mean.mean(1)
    gain = brightness / np.maximum(other_mean.mean(1), 1e-6)
    tint = np.abs(mean - gain[:, None] * other_mean).max(1)
    shift = np.abs(mean - other_mean).mean(1)
    detail = np.minimum(_detail(pattern), _detail(other))
    cells, colour, light = (NOISE + share * detail for share in DETAIL)
    same_shape = (np.abs(one[0, 4] - others[:, 0, 4]) < SHAPE) & (
        np.sqrt(np.square(one[:, 3] - others[..., 3]).mean(1)) < SHAPE
    )
    same_colours = (tint < colour) & (shift < light + BRIGHTER * brightness)
    return same_shape & same_colours & (_rms(pattern - factor * other) < cells)


def _mean_and_pattern(weight: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean (n, 3), and deviation from it (n, cells, 3), of `colours` [n,] cells, 3."""
    mean = (weight * colours).mean(1)
    return mean, np.sqrt(weight) * (colours - mean[:, None])


def _rms(pattern: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(pattern).mean((1, 2)))


def _detail(pattern: np.ndarray) -> np.ndarray:
    grid = pattern.reshape(-1, SIDE, SIDE, 3)
    return np.sqrt(np.square(np.diff(grid, axis=2)).mean((1, 2, 3)))
