"""Mask IoU against one capture difference at a time.

Each takes background and image, uint8 RGB (H, W, 3), the mask, float32 (H, W) in [0, 1], a level
and a random generator, and returns the two changed photos.
"""

from collections.abc import Callable

import cv2
import numpy as np
from torch import nn
from tqdm import tqdm

from eva_helpers.catalogue import Catalogue
from eva_helpers.data import fixed_sample, make_loader, quadrant
from eva_helpers.data.capture import Capture, cast_shadow
from eva_helpers.evaluation.baselines import NETWORK, best_threshold, subtraction
from eva_helpers.evaluation.scoring import evaluate
from eva_helpers.model import inference

BEST_SUBTRACTION = "subtraction, best threshold"
UNSEEN = "unseen background, unseen object"
Array = np.ndarray
Rng = np.random.Generator
Photos = tuple[Array, Array]
Change = Callable[[Array, Array, Array, float, Rng], Photos]


def shift(background: Array, image: Array, mask: Array, level: float, rng: Rng) -> Photos:
    """The background shifted by `level`, a share of the frame, in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    height, width = image.shape[:2]
    x = level * width * np.cos(angle)
    y = level * height * np.sin(angle)
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(background, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return moved, image


def exposure(background: Array, image: Array, mask: Array, level: float, rng: Rng) -> Photos:
    """The background brighter or darker by `level` stops."""
    exposed = background * 2.0 ** (level * rng.choice((-1, 1)))
    return np.rint(np.minimum(exposed, 255)).astype(np.uint8), image


def noise(background: Array, image: Array, mask: Array, level: float, rng: Rng) -> Photos:
    """Independent Gaussian noise of standard deviation `level` (1 is white) on both photos."""
    noisy = (photo + rng.normal(0, 255 * level, photo.shape) for photo in (background, image))
    background, image = (np.rint(photo).clip(0, 255).astype(np.uint8) for photo in noisy)
    return background, image


def jpeg(background: Array, image: Array, mask: Array, level: float, rng: Rng) -> Photos:
    """Both photos compressed as JPEG of quality `level`."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(level)]
    files = (cv2.imencode(".jpg", photo, options)[1] for photo in (background, image))
    background, image = (np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)) for file in files)
    return background, image


def shadow(background: Array, image: Array, mask: Array, level: float, rng: Rng) -> Photos:
    """A cast shadow of darkness `level` beside the object, in the image alone."""
    return background, cast_shadow(image, mask, rng, darkness=level)


def at_level(change: Change, level: float) -> Capture:
    """`change` at a fixed level, in the form of a dataset's `capture`."""
    return lambda background, image, mask, rng: change(background, image, mask, level, rng)


# name -> the change, what its level is, and the levels to try
CONDITIONS = {
    "misalignment": (
        shift, "shift of the background, share of the frame", (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04)
    ),
    "exposure": (
        exposure, "background brighter or darker, stops", (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    ),
    "noise": (noise, "noise of both photos, standard deviation", (0.0, 0.01, 0.02, 0.04, 0.08)),
    "jpeg": (jpeg, "JPEG quality of both photos", (95, 75, 50, 30, 15)),
    "shadow": (shadow, "darkness of the cast shadow", (0.0, 0.2, 0.4, 0.6, 0.8)),
}  # fmt: skip


def robustness(
    net: nn.Module, catalogue: Catalogue, size: int, count: int, seed: int, progress: bool = False
) -> dict[str, dict]:
    """Mean mask IoU on unseen pairs at each level of CONDITIONS, one condition at a time.

    Subtraction gets the best threshold *for each level*, which favours it.
    """
    network = inference(net)
    pairs = quadrant(catalogue, UNSEEN, size=size, seed=seed)
    batches = make_loader(fixed_sample(pairs, count, seed), 32)
    result = {}
    for name in tqdm(CONDITIONS, desc="robustness", disable=not progress):
        change, meaning, levels = CONDITIONS[name]
        scores: dict[str, list[float]] = {NETWORK: [], BEST_SUBTRACTION: []}
        for level in levels:
            pairs.capture = at_level(change, level)
            changed = list(batches)
            simple = subtraction(best_threshold(changed), 0.0)
            for who, method in ((NETWORK, network), (BEST_SUBTRACTION, simple)):
                rows = evaluate(method, changed, catalogue.z_near)
                scores[who].append(round(float(rows["mask_iou"].mean()), 4))
        result[name] = {"level": meaning, "levels": list(levels)} | scores
    return result
