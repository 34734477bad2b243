"""Whether two photos fit together, and their alignment.

Bad masks are usually caused by a background that does not match the image. This module works
outside the network, once per pair and at the photos' own size: `check_pair` finds large movements
and tells the user what is wrong, `align_background` corrects it. The small differences that remain
are matched inside the network, by `model.matching`.

What counts is the part of the background that is seen again in the image, because the object may
cover most of the frame.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from eva_helpers.predict.registration import STRUCTURE, registration, seen, structure, warp

WORKING_SIZE = 256  # px of the longer side: enough for a thousandth of the frame
SHIFT_LIMIT = 0.014  # share of the frame above which the camera has moved
ROTATION_LIMIT = 1.2  # degrees above which the camera has moved
ZOOM_LIMIT = 0.02  # change in scale above which the camera has zoomed
TURNED = 45  # degrees above which one photo is turned
GAIN_LIMIT = 0.14  # change in brightness above which the exposure differs
SIMILARITY_LIMIT = 0.65  # below it, the background shows another place
SATURATED = 250  # of 255
DARK = 12  # of 255: below it, and as near to 255, ratios say little
VISIBLE = 0.2  # share of the background that is seen again at least
AGAIN = 0.7  # local correlation of what is seen again
PLAIN_STEP = 3  # px between the plain windows that count; of those with structure, all count
LEVEL = 0.08  # log ratio of brightness within which plain parts are alike
PLAIN_GAIN = 0.27  # log ratio that is believed without structure, and
PLAIN_TINT = 0.22  # the largest difference of it between channels


@dataclass(frozen=True)
class PairCheck:
    """How a background has to be moved and brightened to match its image.

    Attributes:
        move: float64 (2, 3), the similarity transform from background pixels to image pixels.
        gain: factors for the red, green and blue of the background.
        similarity: the local correlation after both that a fifth of the background exceeds: about
            1 for the same place, below 0.5 for another one.
        size: (height, width) of the photos.
    """

    move: np.ndarray
    gain: tuple[float, ...]
    similarity: float
    size: tuple[int, int]

    @property
    def shift(self) -> float:
        """How far the centre of the frame moves, as a share of the longer side."""
        centre = np.array(self.size[::-1]) / 2
        return float(np.linalg.norm(self.move @ (*centre, 1) - centre)) / max(self.size)

    @property
    def rotation(self) -> float:
        """Degrees, anticlockwise positive."""
        return math.degrees(math.atan2(self.move[0, 1], self.move[0, 0]))

    @property
    def zoom(self) -> float:
        """The factor by which the background is enlarged to match the image."""
        return math.hypot(*self.move[0, :2])

    @property
    def same_place(self) -> bool:
        """Whether enough of the background is seen again in the image."""
        return self.similarity >= SIMILARITY_LIMIT

    @property
    def problems(self) -> list[str]:
        """What is wrong in words; empty for a good pair."""
        if not self.same_place:
            return [
                "the background seems to show another place: "
                "the two photos have little in common apart from the object"
            ]
        return self._movement() + self._exposure()

    def _movement(self) -> list[str]:
        angle = abs(self.rotation)
        if angle > TURNED:
            return [
                f"one of the photos is turned by {angle:.0f} degrees "
                "(it may have lost its EXIF orientation)"
            ]
        zoomed = abs(math.log(self.zoom)) > ZOOM_LIMIT
        if not zoomed and self.shift <= SHIFT_LIMIT and angle <= ROTATION_LIMIT:
            return []
        extent = f"by {self.shift:.1%} of the frame, {angle:.1f} degrees, zoom {self.zoom:.2f}"
        return [f"the camera moved or zoomed between the photos ({extent})"]

    def _exposure(self) -> list[str]:
        worst = max(self.gain, key=lambda factor: abs(math.log(factor)))
        if abs(math.log(worst)) <= math.log(1 + GAIN_LIMIT):
            return []
        change = f"up to {abs(worst - 1):.0%} {'brighter' if worst > 1 else 'darker'}"
        return [f"the image is {change} than the background (exposure or white balance)"]

    @property
    def verdict(self) -> str:
        """One sentence: what is wrong and the remedy, or that the photos match."""
        if not self.problems:
            return "The two photos match."
        remedy = "use a tripod, or pass align=True (--align)"
        if not self.same_place:
            remedy = "use the right background"
        elif abs(self.rotation) > TURNED:
            remedy = "turn it upright, or pass align=True (--align)"
        problems = " and ".join(self.problems)
        return f"{problems[0].upper()}{problems[1:]}: {remedy}."


def check_pair(background: np.ndarray, image: np.ndarray) -> PairCheck:
    """Compare two photos, uint8 RGB (H, W, 3) of one size, on small copies."""
    scale = min(1.0, WORKING_SIZE / max(image.shape[:2]))
    small_b, small_i = (
        cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for photo in (background, image)
    )
    move = registration(_grey(small_b), _grey(small_i))
    moved = warp(small_b, move)
    known = seen(small_i.shape[:2], move)
    gain, similarity = _compare(moved, small_i, known)
    return PairCheck(move / (1, 1, scale), gain, similarity, image.shape[:2])


def align_background(background: np.ndarray, check: PairCheck, image: np.ndarray) -> np.ndarray:
    """The background, moved and brightened to match the image; all uint8 RGB (H, W, 3).

    Where the background has no information it takes the image's value, so that no object is found
    there: at the edge that comes into view, and where it is saturated and the image is brighter.
    A background that shows another place is returned as it is.
    """
    if not check.same_place:
        return background
    moved = warp(background, check.move, cv2.INTER_CUBIC)
    tones = np.arange(256)[:, None] * np.array(check.gain)
    matched = cv2.LUT(moved, np.rint(tones.clip(0, 255)).astype(np.uint8)[None])
    np.maximum(matched, image, out=matched, where=moved >= SATURATED)
    np.copyto(matched, image, where=~seen(check.size, check.move)[..., None])
    return matched


def _grey(photo: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def _compare(
    background: np.ndarray, image: np.ndarray, known: np.ndarray
) -> tuple[tuple[float, ...], float]:
    """Gain and similarity of two small photos, the background moved; `known` is bool (H, W)."""
    correlation, *variances = structure(_grey(background), _grey(image))
    textured = variances[0] > STRUCTURE
    ratio, usable = _log_ratio(background, image)
    again = textured & known & (correlation > AGAIN)
    if (again & usable).mean() > 0.02:
        gain = np.median(ratio[again & usable], axis=0)
    else:
        gain = _plain_gain(ratio[known & ~textured])
    alike = (np.abs(ratio - gain) < LEVEL).all(2) & (variances[1] <= STRUCTURE)
    sparse = np.zeros_like(known)
    sparse[::PLAIN_STEP, ::PLAIN_STEP] = True
    values = np.where(textured, correlation, alike)[known & (textured | sparse)]
    return tuple(np.exp(gain).clip(0.25, 4).tolist()), float(np.quantile(values, 1 - VISIBLE))


def _log_ratio(background: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log ratio of the values (H, W, 3), and where neither photo is dark or saturated (H, W)."""
    b, i = (
        cv2.GaussianBlur(photo, (0, 0), 1.5).astype(np.float32).clip(DARK, None)
        for photo in (background, image)
    )
    usable = ((np.minimum(b, i) > DARK) & (np.maximum(b, i) < 255 - DARK)).all(2)
    return np.log(i / b), usable


def _plain_gain(ratio: np.ndarray) -> np.ndarray:
    """The gain of plain parts, log ratios (N, 3): none if it explains some, else the median.

    Without structure, a large change or another colour is another place, not another exposure.
    """
    believed = ratio[(np.abs(ratio).max(1) < PLAIN_GAIN) & (np.ptp(ratio, axis=1) < PLAIN_TINT)]
    unchanged = (np.abs(ratio) < LEVEL).all(1).sum() > VISIBLE * len(ratio)
    return np.zeros(3) if unchanged or not len(believed) else np.median(believed, axis=0)
