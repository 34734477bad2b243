"""Baselines: subtraction of the photos, a constant depth, the depth of the background."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from eva_helpers.catalogue import Catalogue
from eva_helpers.data import CompositeDataset, fixed_sample, make_loader
from eva_helpers.evaluation.metrics import iou
from eva_helpers.evaluation.scoring import Batch, Method
from eva_helpers.model import inference

THRESHOLDS = tuple(np.round(np.geomspace(0.01, 0.6, 24), 4).tolist())  # candidates of subtraction
# methods in reports
NETWORK = "network"
SUBTRACTION = "subtraction / constant depth"
BACKGROUND = "network's depth of the background"


def photo_difference(background: Tensor, image: Tensor) -> Tensor:
    """Maximum over channels of `|image - background|`: (B, 3, H, W) -> (B, 1, H, W), in [0, 1]."""
    return (image - background).abs().amax(1, keepdim=True)


def best_threshold(batches: Iterable[Batch]) -> float:
    """The one of THRESHOLDS with the best mean IoU on `batches` (training or validation data)."""
    scores = []
    for batch in batches:
        change = photo_difference(batch["background"], batch["image"])
        scores.append(torch.stack([iou(change > t, batch["mask"]) for t in THRESHOLDS]))
    return THRESHOLDS[int(torch.cat(scores, 1).mean(1).argmax())]


def mean_depth(batches: Iterable[Batch]) -> float:
    """Mean inverse depth of `batches` (training data), the constant-depth baseline.

    Samples without depth label do not count; 0 where none has one.
    """
    depths = torch.cat([batch["depth"].flatten(1).mean(1) for batch in batches])
    return (depths.sum() / (depths > 0).sum().clamp_min(1)).item()


def subtraction(threshold: float, depth: float) -> Method:
    """Mask: where the photos differ by more than `threshold`. Depth: the constant `depth`."""

    def method(background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        change = photo_difference(background, image)
        return (change > threshold).float(), torch.full_like(change, depth)

    return method


def calibrated_subtraction(
    catalogue: Catalogue, size: int, seed: int, strength: float = 1.0, count: int = 256
) -> Method:
    """`subtraction` with the best threshold and the mean depth of `count` training pairs."""
    known = CompositeDataset(catalogue, size=size, strength=strength, seed=seed)
    pairs = list(make_loader(fixed_sample(known, count, seed), 32))
    return subtraction(best_threshold(pairs), mean_depth(pairs))


def background_depth(net: nn.Module) -> Method:
    """The network with the background in place of the image: its depth ignores the object."""
    method = inference(net)
    return lambda background, image: method(background, background)
