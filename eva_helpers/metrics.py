"""Mask and depth metrics with the baselines they stand beside.

All metrics work per image: they take (B, 1, H, W) and return one float64 value per image (B,), so that means, medians, worst cases
and confidence intervals come from the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

FAR = 100.0  # metres: farther than this an inverse depth says nothing, so ratios leave it out
THRESHOLDS = tuple(np.round(np.geomspace(0.01, 0.6, 24), 4).tolist())  # tried for the subtraction baseline
DEPTH_KEYS = ("abs_rel", "rmse", "rmse_std", "delta1", "log10")


def _per_image(values: Tensor) -> Tensor:
    return values.double().flatten(1)


def iou(prediction: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of boolean masks: |A & B| / |A | B|. Two empty masks agree (1); one empty mask scores 0."""
    a, b = _per_image(prediction > 0.5), _per_image(truth > 0.5)
    union = torch.maximum(a, b).sum(1)
    return torch.where(union > 0, (a * b).sum(1) / union.clamp_min(1), torch.ones_like(union))


def dice(prediction: Tensor, truth: Tensor) -> Tensor:
    """Dice of boolean masks: 2 |A & B| / (|A| + |B|). Two empty masks agree (1); one empty mask scores 0."""
    a, b = _per_image(prediction > 0.5), _per_image(truth > 0.5)
    total = a.sum(1) + b.sum(1)
    return torch.where(total > 0, 2 * (a * b).sum(1) / total.clamp_min(1), torch.ones_like(total))


def depth_metrics(prediction: Tensor, truth: Tensor, z_near: float, far: float = FAR) -> dict[str, Tensor]:
    """Metrics of inverse depth in [0, 1], per image.

    On distances z = z_near / depth where the truth is nearer than `far` metres (Eigen et al., 2014):
      `abs_rel` = mean |z - z*| / z*;  `delta1` = share with max(z / z*, z* / z) < 1.25;  `log10` = mean |log10 z - log10 z*|.
    On inverse depth, all pixels: `rmse` = sqrt(mean (d - d*)^2);  `rmse_std` = rmse / standard deviation of d* in the image
    (1 is what the image's own mean would score).
    """
    d, t = _per_image(prediction), _per_image(truth)
    known = (t > z_near / far).double()
    count = known.sum(1).clamp_min(1)
    ratio = t.clamp_min(z_near / far) / d.clamp_min(z_near / (10 * far))  # = z / z*; a prediction is cut off at ten times `far`
    rmse = (d - t).square().mean(1).sqrt()
    return {
        "abs_rel": ((ratio - 1).abs() * known).sum(1) / count,
        "rmse": rmse,
        "rmse_std": rmse / t.std(1, correction=0).clamp_min(1e-3),
        "delta1": ((torch.maximum(ratio, 1 / ratio) < 1.25) * known).sum(1) / count,
        "log10": (ratio.log10().abs() * known).sum(1) / count,
    }


def correlation(prediction: Tensor, truth: Tensor) -> Tensor:
    """Pearson correlation per image; 0 where one of the two is constant. For labels without a scale."""
    a, b = _per_image(prediction), _per_image(truth)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt().clamp_min(1e-12)


def difference(background: Tensor, image: Tensor) -> Tensor:
    """What plain subtraction sees: max over channels of |image - background|, (B, 3, H, W) -> (B, 1, H, W) in [0, 1]."""
    return (image - background).abs().amax(1, keepdim=True)


def best_threshold(batches: Iterable[dict[str, Tensor]]) -> float:
    """The threshold at which subtraction's mean IoU is best on `batches`: choose it on training or validation data."""
    scores = [torch.stack([iou(difference(b["background"], b["image"]) > t, b["mask"]) for t in THRESHOLDS]) for b in batches]
    return THRESHOLDS[int(torch.cat(scores, 1).mean(1).argmax())]


def mean_depth(batches: Iterable[dict[str, Tensor]]) -> float:
    """The constant inverse depth that serves as baseline: the mean over `batches` (training data)."""
    values = [batch["depth"].mean().item() for batch in batches]
    return sum(values) / len(values)


@torch.no_grad()
def evaluate(predict, batches: Iterable[dict[str, Tensor]], z_near: float) -> dict[str, np.ndarray]:
    """Run `predict(background, image) -> (mask probability, depth)` over `batches`; arrays of per-image metrics by name."""
    rows: dict[str, list[Tensor]] = {}
    for batch in batches:
        mask, depth = predict(batch["background"], batch["image"])
        row = {"mask_iou": iou(mask, batch["mask"]), "mask_dice": dice(mask, batch["mask"])}
        row |= {f"depth_{key}": value for key, value in depth_metrics(depth, batch["depth"], z_near).items()}
        for key, value in row.items():
            rows.setdefault(key, []).append(value.cpu())
    return {key: torch.cat(values).numpy() for key, values in rows.items()}


def network(net: torch.nn.Module, device: torch.device | str = "cpu"):
    """`predict` for `evaluate` from a MaskDepthNet: sigmoid of the mask's logits, depth as it is."""

    def predict(background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        was_training = net.training
        mask_logits, depth = net.eval()(background.to(device), image.to(device))
        net.train(was_training)
        return mask_logits.sigmoid().cpu(), depth.cpu()

    return predict


def baseline(threshold: float, depth: float):
    """`predict` for `evaluate` without a network: subtraction at `threshold` for the mask, a constant for the depth."""

    def predict(background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = difference(background, image)
        return (seen > threshold).float(), torch.full_like(seen, depth)

    return predict


def summary(rows: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over images, rounded to four digits."""
    return {key: round(float(np.mean(values)), 4) for key, values in rows.items()}


def table(results: dict[str, dict[str, float]], keys: tuple[str, ...] = ("mask_iou", "mask_dice", "depth_rmse_std", "depth_delta1")) -> str:
    """Rows of `summary` values as aligned text."""
    width = max(len(name) for name in results)
    lines = [" " * width + "".join(f"{key:>16}" for key in keys)]
    lines += [f"{name:<{width}}" + "".join(f"{row[key]:>16.4f}" for key in keys) for name, row in results.items()]
    return "\n".join(lines)
