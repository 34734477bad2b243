"""Whether two photos fit together, and their alignment.

Bad masks are usually caused by a background that does not match the image. This module works
outside the network, once per pair and at the photos' own size: `check_pair` finds large movements
from ORB feature points and tells the user what is wrong, `align_background` corrects it. The
small differences that remain are matched inside the network, by `model.matching`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

WORKING_SIZE = 256  # px of the longer side: enough for a thousandth of the frame
SHIFT_LIMIT = 0.014  # share of the frame above which the camera has moved
ROTATION_LIMIT = 1.2  # degrees above which the camera has moved
GAIN_LIMIT = 0.14  # change in brightness above which the exposure differs
SIMILARITY_LIMIT = 0.45  # below it, the background shows another place
SATURATED = 250  # of 255
FEATURES = 500  # ORB points per photo
INLIERS = 16  # matched points that must agree on a movement


@dataclass(frozen=True)
class PairCheck:
    """How a background has to be moved and brightened to match its image.

    Attributes:
        move: float64 (2, 3), the similarity transform from background pixels to image pixels.
        gain: factors for the red, green and blue of the background.
        similarity: local correlation after both: about 1 for the same place, 0 for another one.
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
    def problems(self) -> list[str]:
        """What is wrong in words; empty for a good pair."""
        if self.similarity < SIMILARITY_LIMIT:
            return [
                "the background seems to show another place: "
                "the two photos have little in common apart from the object"
            ]
        found = []
        if self.shift > SHIFT_LIMIT or abs(self.rotation) > ROTATION_LIMIT:
            extent = f"by {self.shift:.1%} of the frame, {abs(self.rotation):.1f} degrees"
            found.append(f"the camera moved between the photos ({extent})")
        worst = max(self.gain, key=lambda factor: abs(math.log(factor)))
        if abs(math.log(worst)) > math.log(1 + GAIN_LIMIT):
            change = f"up to {abs(worst - 1):.0%} {'brighter' if worst > 1 else 'darker'}"
            found.append(f"the image is {change} than the background (exposure or white balance)")
        return found

    @property
    def verdict(self) -> str:
        """One sentence: what is wrong and the remedy, or that the photos match."""
        if not self.problems:
            return "The two photos match."
        remedy = "use a tripod, or pass align=True (--align)"
        if self.similarity < SIMILARITY_LIMIT:
            remedy = "use the right background"
        return f"{' and '.join(self.problems).capitalize()}: {remedy}."


def check_pair(background: np.ndarray, image: np.ndarray) -> PairCheck:
    """Compare two photos, uint8 RGB (H, W, 3) of one size, on small copies."""
    scale = min(1.0, WORKING_SIZE / max(image.shape[:2]))
    small_b, small_i = (
        cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for photo in (background, image)
    )
    move = _registration(_grey(small_b), _grey(small_i))
    size = small_i.shape[1::-1]
    moved = cv2.warpAffine(small_b, move, size, borderMode=cv2.BORDER_REFLECT_101)
    similarity = _similarity(_grey(moved), _grey(small_i))
    return PairCheck(move / (1, 1, scale), _gain(moved, small_i), similarity, image.shape[:2])


def align_background(background: np.ndarray, check: PairCheck, image: np.ndarray) -> np.ndarray:
    """The background, moved and brightened to match the image; all uint8 RGB (H, W, 3).

    Where the background has no information it takes the image's value, so that no object is found
    there: at the edge that comes into view, and where it is saturated and the image is brighter.
    """
    size = check.size[::-1]
    border = cv2.BORDER_REFLECT_101
    moved = cv2.warpAffine(background, check.move, size, flags=cv2.INTER_CUBIC, borderMode=border)
    known = cv2.warpAffine(np.full(check.size, 255, np.uint8), check.move, size) > 127
    matched = np.rint(np.minimum(moved * np.array(check.gain), 255)).astype(np.uint8)
    matched = np.where(moved >= SATURATED, np.maximum(matched, image), matched)
    return np.where(known[..., None], matched, image)


def _grey(photo: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def _registration(background: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The movement (2, 3) from feature points where enough agree, else by phase correlation."""
    move = _from_points(background, image)
    if move is not None:
        return move
    blurred = (cv2.GaussianBlur(photo, (0, 0), 1.0) for photo in (background, image))
    edges_b, edges_i = (cv2.Laplacian(photo, cv2.CV_32F) for photo in blurred)
    window = cv2.createHanningWindow(image.shape[::-1], cv2.CV_32F)
    shift, response = cv2.phaseCorrelate(edges_b, edges_i, window)
    believed = response > 0.08 and math.hypot(*shift) < 0.2 * max(image.shape)
    return np.column_stack([np.eye(2), shift if believed else (0.0, 0.0)])


def _from_points(background: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """The similarity transform (2, 3) that matched ORB points agree on (RANSAC), or None."""
    detector = cv2.ORB.create(
        FEATURES, scaleFactor=1.3, nlevels=4, edgeThreshold=12, patchSize=24, fastThreshold=7
    )
    points_b, codes_b = detector.detectAndCompute(background, None)
    points_i, codes_i = detector.detectAndCompute(image, None)
    if min(len(points_b), len(points_i)) < INLIERS:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(codes_b, codes_i)
    start = np.array([points_b[match.queryIdx].pt for match in matches], np.float32)
    end = np.array([points_i[match.trainIdx].pt for match in matches], np.float32)
    move, inliers = cv2.estimateAffinePartial2D(
        start, end, method=cv2.RANSAC, ransacReprojThreshold=1.5, maxIters=500
    )
    if move is None or inliers.sum() < INLIERS or not 0.9 < math.hypot(*move[0, :2]) < 1.1:
        return None
    return move


def _gain(background: np.ndarray, image: np.ndarray) -> tuple[float, ...]:
    """Median ratio per channel where neither photo is dark or saturated: robust to the object."""
    b, i = (
        cv2.GaussianBlur(photo, (0, 0), 1.5).reshape(-1, 3).astype(np.float32)
        for photo in (background, image)
    )
    usable = ((np.minimum(b, i) > 12) & (np.maximum(b, i) < 243)).all(1)
    if usable.sum() < 0.02 * len(b):
        return 1.0, 1.0, 1.0
    return tuple(np.median(i[usable] / b[usable], axis=0).clip(0.25, 4).tolist())


def _similarity(background: np.ndarray, image: np.ndarray) -> float:
    """The local correlation that 60 % of the textured pixels exceed; the object is in the rest."""
    b, i = (photo.astype(np.float32) for photo in (background, image))
    mean_b, mean_i, square_b, square_i, product = (
        cv2.blur(values, (15, 15)) for values in (b, i, b * b, i * i, b * i)
    )
    variance_b = square_b - mean_b**2
    variance_i = square_i - mean_i**2
    textured = np.maximum(variance_b, variance_i) > 30
    if textured.mean() < 0.02:
        return 1.0  # both photos are blank: nothing to complain about
    spread = np.sqrt(np.maximum(variance_b * variance_i, 1.0))
    return float(np.quantile(((product - mean_b * mean_i) / spread)[textured], 0.4))
