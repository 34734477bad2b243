"""How well a mask's outline is drawn: errors of alpha as the matting field counts them.

All functions take two masks of one size, float32 (H, W) in [0, 1]: the predicted and the true one.
"""

import cv2
import numpy as np

BAND = 11  # px, width of the band along the true outline
TOLERANCE = 2  # px by which an outline may be off
GRADIENT_SIGMA = 1.4  # px, of the Gaussian whose derivatives measure gradients


def matting_scores(mask: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """All scores of this module, and the IoU at 0.5."""
    return {
        "iou": mask_iou(mask, truth),
        "band_error": band_error(mask, truth),
        "boundary_f": boundary_f(mask, truth),
        "sad": sad(mask, truth),
        "mse": float(np.square(mask - truth).mean()),
        "grad": gradient_error(mask, truth),
    }


def mask_iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of the pixels above 0.5; 1 if both are empty."""
    found = mask > 0.5
    wanted = truth > 0.5
    union = np.count_nonzero(found | wanted)
    return float(np.count_nonzero(found & wanted) / union) if union else 1.0


def band_error(mask: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute error in a band of BAND px along the true outline; 0 without an outline."""
    binary = (truth > 0.5).astype(np.uint8)
    band = cv2.morphologyEx(binary, cv2.MORPH_GRADIENT, np.ones((BAND, BAND), np.uint8)) > 0
    return float(np.abs(mask - truth)[band].mean()) if band.any() else 0.0


def boundary_f(mask: np.ndarray, truth: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """F score of the outlines at 0.5, matched within `tolerance` px (Martin et al., 2004)."""
    found, wanted = (_outline(each) for each in (mask, truth))
    if not (found.any() and wanted.any()):
        return float(found.any() == wanted.any())
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * tolerance + 1, 2 * tolerance + 1))
    precision = (cv2.dilate(wanted, disc) & found).sum() / found.sum()
    recall = (cv2.dilate(found, disc) & wanted).sum() / wanted.sum()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def sad(mask: np.ndarray, truth: np.ndarray) -> float:
    """Sum of absolute differences, in thousands of pixels."""
    return float(np.abs(mask - truth).sum() / 1000)


def gradient_error(mask: np.ndarray, truth: np.ndarray) -> float:
    """Squared differences of gradient magnitudes, summed, in thousands (Rhemann et al., 2009)."""
    difference = _gradient(mask) - _gradient(truth)
    return float(np.square(difference).sum() / 1000)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Inner border pixels of the mask at 0.5, uint8 (H, W)."""
    binary = (mask > 0.5).astype(np.uint8)
    return binary - cv2.erode(binary, np.ones((3, 3), np.uint8))


def _gradient(mask: np.ndarray) -> np.ndarray:
    """Gradient magnitude of the mask after a Gaussian blur."""
    blurred = cv2.GaussianBlur(mask, (0, 0), GRADIENT_SIGMA)
    x, y = (cv2.Sobel(blurred, cv2.CV_32F, *each, scale=1 / 8) for each in ((1, 0), (0, 1)))
    return cv2.magnitude(x, y)
