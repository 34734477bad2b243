"""How the camera moved between two photos.

Candidates for the movement come from ORB feature points and from phase correlation. The one that
makes the background's structure agree best with the image is taken, if it is better than none.
"""

import math

import cv2
import numpy as np

WINDOW = 15  # px: side of the windows that are correlated
SMOOTHING = 1.5  # px: standard deviation of the blur that removes noise first
STRUCTURE = 5.0  # least variance of a window that shows more than noise and shading
GAIN = 0.02  # least rise of the mean correlation for which a movement is believed
FEATURES = 500  # ORB points per photo
INLIERS = 12  # matched points that must agree on a movement
SCALES = (0.75, 1.33)  # zooms that are believed
STILL = np.eye(2, 3)


def warp(photo: np.ndarray, move: np.ndarray, method: int = cv2.INTER_LINEAR) -> np.ndarray:
    """The photo (H, W[, C]) after `move`, reflected at the border."""
    size = photo.shape[1::-1]
    return cv2.warpAffine(photo, move, size, flags=method, borderMode=cv2.BORDER_REFLECT_101)


def seen(shape: tuple[int, int], move: np.ndarray) -> np.ndarray:
    """Which pixels of a frame of `shape` the background shows after `move`; bool (H, W)."""
    full = np.full(shape, 255, np.uint8)
    return cv2.warpAffine(full, move, shape[::-1]) > 127


def structure(background: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, ...]:
    """Local correlation and the variances of background and image; grey photos (H, W).

    All float32 (H, W). The correlation of a window without structure is 0.
    """
    b, i = (
        cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SMOOTHING) for grey in (background, image)
    )
    mean_b, mean_i, square_b, square_i, product = (
        cv2.blur(values, (WINDOW, WINDOW)) for values in (b, i, b * b, i * i, b * i)
    )
    variance_b = square_b - mean_b**2
    variance_i = square_i - mean_i**2
    covariance = product - mean_b * mean_i
    spread = np.sqrt(np.maximum(variance_b, STRUCTURE) * np.maximum(variance_i, STRUCTURE))
    return covariance / spread, variance_b, variance_i


def registration(background: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The movement float64 (2, 3) from background to image, grey photos of one size."""
    best = STILL
    highest = _agreement(background, image, STILL) + GAIN
    for candidate in (_from_points, _from_phase):
        move = candidate(background, image)
        if move is not None and (agreement := _agreement(background, image, move)) > highest:
            best = move
            highest = agreement
    return best


def _agreement(background: np.ndarray, image: np.ndarray, move: np.ndarray) -> float:
    """Mean correlation where the moved background has structure."""
    correlation, variance, _ = structure(warp(background, move), image)
    places = (variance > STRUCTURE) & seen(image.shape, move)
    if places.mean() < 0.005:
        return 0.0
    return float(correlation[places].clip(0).mean())


def _from_points(background: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """The similarity transform (2, 3) that matched ORB points agree on (RANSAC), or None."""
    detector = cv2.ORB.create(
        FEATURES, scaleFactor=1.2, nlevels=5, edgeThreshold=12, patchSize=24, fastThreshold=7
    )
    points_b, codes_b = detector.detectAndCompute(background, None)
    points_i, codes_i = detector.detectAndCompute(image, None)
    if not points_b or not points_i:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(codes_b, codes_i)
    if len(matches) < INLIERS:
        return None
    start = np.array([points_b[match.queryIdx].pt for match in matches], np.float32)
    end = np.array([points_i[match.trainIdx].pt for match in matches], np.float32)
    move, inliers = cv2.estimateAffinePartial2D(
        start, end, method=cv2.RANSAC, ransacReprojThreshold=1.5, maxIters=1000
    )
    if move is None or inliers.sum() < INLIERS:
        return None
    return move if SCALES[0] < math.hypot(*move[0, :2]) < SCALES[1] else None


def _from_phase(background: np.ndarray, image: np.ndarray) -> np.ndarray | None:
    """The shift (2, 3) by phase correlation: it needs no corners."""
    blurred = (cv2.GaussianBlur(photo, (0, 0), 1.0) for photo in (background, image))
    edges_b, edges_i = (cv2.Laplacian(photo, cv2.CV_32F) for photo in blurred)
    window = cv2.createHanningWindow(image.shape[::-1], cv2.CV_32F)
    shift, response = cv2.phaseCorrelate(edges_b, edges_i, window)
    believed = response > 0.05 and math.hypot(*shift) < 0.2 * max(image.shape)
    return np.column_stack([np.eye(2), shift]) if believed else None
