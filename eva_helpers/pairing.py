"""Do the two photos belong together? The commonest cause of a bad mask is a background that does not match: measured before predicting.

`check_pair` finds how the background must be moved, turned and brightened to match the image, and how alike the two are then.
`align` does just that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

WORKING = 256  # the longer side at which pairs are compared: enough for a tenth of a per cent of the frame
SHIFT_LIMIT, ROTATION_LIMIT = 0.014, 1.2  # shares of the frame and degrees above which a pair is called misaligned
GAIN_LIMIT = 0.14  # change of brightness above which a pair is called differently exposed
SIMILARITY_LIMIT = 0.45  # local correlation below which the background is another place
SATURATED = 250  # of 255
FEATURES, INLIERS = 500, 16  # ORB points looked for, and matches that must agree to be believed


@dataclass(frozen=True)
class PairCheck:
    """What `check_pair` found.

    `move`: float64 (2, 3), the similarity that takes background pixels to image pixels, at the photos' own size.
    `gain`: what the background's red, green and blue must be multiplied with. `similarity`: median local correlation of the two after
    that, outside the least similar part (the object); about 1 for the same place, about 0 for another one.
    """

    move: np.ndarray
    gain: tuple[float, float, float]
    similarity: float
    size: tuple[int, int]

    @property
    def shift(self) -> float:
        """How far the middle of the frame moves, as a share of the longer side."""
        height, width = self.size
        x, y = self.move @ (width / 2, height / 2, 1)
        return math.hypot(x - width / 2, y - height / 2) / max(self.size)

    @property
    def rotation(self) -> float:
        """Degrees, anticlockwise positive."""
        return math.degrees(math.atan2(self.move[0, 1], self.move[0, 0]))

    @property
    def exposure(self) -> float:
        """Ratio of brightness, image over background."""
        return float(np.mean(self.gain))

    @property
    def problems(self) -> list[str]:
        """What is wrong, worst first, in words; empty for a good pair."""
        if self.similarity < SIMILARITY_LIMIT:
            return ["the background seems to show another place: the two photos have little in common apart from the object"]
        found = []
        if self.shift > SHIFT_LIMIT or abs(self.rotation) > ROTATION_LIMIT:
            found.append(f"the camera moved between the photos (by {self.shift:.1%} of the frame, {abs(self.rotation):.1f} degrees)")
        worst = max(self.gain, key=lambda value: abs(math.log(value)))
        if abs(math.log(worst)) > math.log(1 + GAIN_LIMIT):
            way = "brighter" if self.exposure > 1 else "darker"
            found.append(f"the image is {abs(self.exposure - 1):.0%} {way} than the background or differs in colour")
        return found

    @property
    def verdict(self) -> str:
        """One sentence with the remedy, or that all is well."""
        if not self.problems:
            return "The two photos match."
        remedy = "use the right background" if self.similarity < SIMILARITY_LIMIT else "use a tripod, or pass align=True (--align)"
        return f"{' and '.join(self.problems).capitalize()}: {remedy}."


def check_pair(background: np.ndarray, image: np.ndarray) -> PairCheck:
    """Compare two photos, uint8 RGB (H, W, 3) of one size."""
    height, width = image.shape[:2]
    scale = min(1.0, WORKING / max(height, width))
    small = [
        cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else photo for photo in (background, image)
    ]
    grey = [cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) for photo in small]
    move = _registration(*grey)
    moved = cv2.warpAffine(small[0], move, grey[1].shape[::-1], borderMode=cv2.BORDER_REFLECT_101)
    gain = _gain(moved, small[1])
    similarity = _similarity(cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY), grey[1])
    move = move.copy()
    move[:, 2] /= scale
    return PairCheck(move, gain, similarity, (height, width))


def align(background: np.ndarray, check: PairCheck, image: np.ndarray) -> np.ndarray:
    """The background moved and brightened to match the image.

    What the background does not tell takes the image's value, so that no object is found there: the rim that comes into view, and what is
    saturated, where the image is not darker than it can be. The network does so too (`matching`), but here what was white is brightened
    and white no more.
    """
    height, width = check.size
    moved = cv2.warpAffine(background, check.move, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    known = cv2.warpAffine(np.full(background.shape[:2], 255, np.uint8), check.move, (width, height)) > 127
    matched = np.rint(np.minimum(moved * np.array(check.gain), 255)).astype(np.uint8)
    return np.where(known[..., None], np.where(moved >= SATURATED, np.maximum(matched, image), matched), image)


def _registration(background: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) from matched ORB points where enough agree, else the shift by phase correlation."""
    found = _from_points(background, image)
    if found is not None:
        return found
    photos = [cv2.Laplacian(cv2.GaussianBlur(photo, (0, 0), 1.0), cv2.CV_32F) for photo in (background, image)]
    window = cv2.createHanningWindow(background.shape[::-1], cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(*photos, window)
    believed = response > 0.08 and math.hypot(x, y) < 0.2 * max(background.shape)
    return np.float64([[1, 0, x if believed else 0], [0, 1, y if believed else 0]])


def _from_points(background: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    detector = cv2.ORB_create(FEATURES, scaleFactor=1.3, nlevels=4, edgeThreshold=12, patchSize=24, fastThreshold=7)
    (points_b, codes_b), (points_i, codes_i) = (detector.detectAndCompute(photo, None) for photo in (background, image))
    if codes_b is None or codes_i is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(codes_b, codes_i)
    if len(matches) < INLIERS:
        return None
    start, end = np.float32([points_b[m.queryIdx].pt for m in matches]), np.float32([points_i[m.trainIdx].pt for m in matches])
    move, inliers = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=1.5, maxIters=500)
    if move is None or inliers.sum() < INLIERS:
        return None
    zoom = math.hypot(move[0, 0], move[0, 1])
    return move if 0.9 < zoom < 1.1 else None


def _gain(background: np.ndarray, image: np.ndarray) -> tuple[float, float, float]:
    """Median ratio per channel over pixels that are neither dark nor saturated: the object is a minority."""
    b, i = (cv2.GaussianBlur(photo, (0, 0), 1.5).reshape(-1, 3).astype(np.float32) for photo in (background, image))
    usable = ((b > 12) & (b < 243) & (i > 12) & (i < 243)).all(1)
    if usable.sum() < 0.02 * len(b):
        return 1.0, 1.0, 1.0
    return tuple(float(value) for value in np.median(i[usable] / b[usable], axis=0).clip(0.25, 4))


def _similarity(background: np.ndarray, image: np.ndarray, share: float = 0.6) -> float:
    """Quantile of local correlation: at least `share` of the frame, where there is something to see, is more alike than this."""
    b, i = (photo.astype(np.float32) for photo in (background, image))
    mean_b, mean_i = (cv2.blur(photo, (15, 15)) for photo in (b, i))
    var_b, var_i = cv2.blur(b * b, (15, 15)) - mean_b**2, cv2.blur(i * i, (15, 15)) - mean_i**2
    cross = cv2.blur(b * i, (15, 15)) - mean_b * mean_i
    textured = np.maximum(var_b, var_i) > 30
    if textured.mean() < 0.02:
        return 1.0  # nothing to see in either: no reason to complain
    return float(np.quantile((cross / np.sqrt(np.maximum(var_b * var_i, 1.0)))[textured], 1 - share))
