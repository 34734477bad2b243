"""Mask and depth metrics with the baselines they stand beside.

All metrics work per image: they take (B, 1, H, W) and return one float64 value per image (B,), so that means, medians, worst cases
and confidence intervals come from the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eva_helpers.hardware import autocast
from eva_helpers.losses import align, ssim_map

FAR = 100.0  # metres: farther than this an inverse depth says nothing, so ratios leave it out
THRESHOLDS = tuple(np.round(np.geomspace(0.01, 0.6, 24), 4).tolist())  # tried for the subtraction baseline
ORDER_STEP = 0.03  # how far apart, in frames, the two points of a pair are whose order in depth is asked for


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


def overlap(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels in both masks and pixels in either, per image: sums of them over a set give the pooled IoU and Dice."""
    a, b = _per_image(prediction > 0.5), _per_image(truth > 0.5)
    return (a * b).sum(1), torch.maximum(a, b).sum(1)


def boundary_f(prediction: Tensor, truth: Tensor, tolerance: float = 0.008) -> Tensor:
    """F-measure of the outlines, matched within `tolerance` of the diagonal, at least a pixel (Perazzi et al., 2016, by dilation).

    Two empty masks agree (1); one empty mask scores 0.
    """
    reach = max(1, int(np.ceil(tolerance * np.hypot(*truth.shape[2:]))))
    a, b = (_outline(mask > 0.5) for mask in (prediction, truth))
    near_a, near_b = (F.max_pool2d(edge, 2 * reach + 1, 1, reach) for edge in (a, b))
    count_a, count_b = (_per_image(edge).sum(1) for edge in (a, b))
    precision = _per_image(a * near_b).sum(1) / count_a.clamp_min(1)
    recall = _per_image(b * near_a).sum(1) / count_b.clamp_min(1)
    f = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return torch.where(count_a + count_b > 0, f, torch.ones_like(f))


def _outline(mask: Tensor) -> Tensor:
    mask = mask.float()
    return mask - (1 - F.max_pool2d(1 - mask, 3, 1, 1))  # minus the eroded mask


def ordered(prediction: Tensor, truth: Tensor, mask: Tensor, margin: float = 1.05) -> Tensor:
    """Share of point pairs across the object's outline whose order in depth is right; depths are inverse, (B, 1, H, W).

    A pair is a point inside the object (coverage over 0.9) and one outside it (under 0.1), a few pixels apart along a row or a
    column, of which the truth has the object nearer by `margin` at least (at its feet the two are level). NaN without such a pair.
    """
    step = max(2, round(ORDER_STEP * min(mask.shape[2:])))
    right, count = torch.zeros(len(mask)).double(), torch.zeros(len(mask)).double()
    for dim in (2, 3):
        length = mask.shape[dim] - step
        for inside, outside in ((0, step), (step, 0)):
            (m1, t1, p1), (m2, t2, p2) = ([x.narrow(dim, at, length) for x in (mask, truth, prediction)] for at in (inside, outside))
            asked = (m1 > 0.9) & (m2 < 0.1) & (t1 > margin * t2)
            right += _per_image(asked & (p1 > p2)).sum(1).cpu()
            count += _per_image(asked).sum(1).cpu()
    return right / count  # 0 / 0 is NaN: nothing was asked


def depth_metrics(prediction: Tensor, truth: Tensor, z_near: float, far: float = FAR) -> dict[str, Tensor]:
    """Metrics of inverse depth in [0, 1], per image.

    On distances z = z_near / depth where the truth is nearer than `far` metres (Eigen et al., 2014):
      `abs_rel` = mean |z - z*| / z*;  `delta1` (2, 3) = share with max(z / z*, z* / z) < 1.25 (1.25^2, 1.25^3);
      `log10` = mean |log10 z - log10 z*|.
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
        **{f"delta{k}": ((torch.maximum(ratio, 1 / ratio) < 1.25**k) * known).sum(1) / count for k in (1, 2, 3)},
        "log10": (ratio.log10().abs() * known).sum(1) / count,
    }


def more_depth_metrics(prediction: Tensor, truth: Tensor, z_near: float, far: float = FAR) -> dict[str, Tensor]:
    """Slower ones, per image, on inverse depth: `ssim` (mean of the SSIM map), `gradient` (mean absolute error of finite
    differences), and `aligned_rmse_std`, `aligned_abs_rel`, `aligned_delta1`: after the best scale and shift of each image.
    """
    error = (prediction - truth).double()
    fitted = depth_metrics(align(prediction, truth).clamp(0, 1), truth, z_near, far)
    return {
        "ssim": ssim_map(prediction, truth).double().flatten(1).mean(1),
        "gradient": error.diff(dim=2).abs().flatten(1).mean(1) + error.diff(dim=3).abs().flatten(1).mean(1),
        **{f"aligned_{key}": fitted[key] for key in ("rmse_std", "abs_rel", "delta1")},
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
def evaluate(predict, batches: Iterable[dict[str, Tensor]], z_near: float, full: bool = False) -> dict[str, np.ndarray]:
    """Run `predict(background, image) -> (mask probability, depth)` over `batches`; arrays of per-image metrics by name.

    `full` adds the slower metrics, and what is needed to pool them or to sort them by the object's size: `mask_intersection`,
    `mask_union` (pixels), `size` (square root of the object's share of the frame), `mask_moved_iou` (what the true mask itself would
    score, one pixel to the right: how much a pixel is worth).
    """
    rows: dict[str, list[Tensor]] = {}
    for batch in batches:
        mask, depth = predict(batch["background"], batch["image"])
        row = {"mask_iou": iou(mask, batch["mask"]), "mask_dice": dice(mask, batch["mask"])}
        row |= {f"depth_{key}": value for key, value in depth_metrics(depth, batch["depth"], z_near).items()}
        if full:
            row |= {f"depth_{key}": value for key, value in more_depth_metrics(depth, batch["depth"], z_near).items()}
            row |= {"depth_ordered": ordered(depth, batch["depth"], batch["mask"]), "mask_boundary_f": boundary_f(mask, batch["mask"])}
            row["mask_intersection"], row["mask_union"] = overlap(mask, batch["mask"])
            row["size"] = batch["mask"].flatten(1).mean(1).sqrt()
            row["mask_moved_iou"] = iou(batch["mask"].roll(1, dims=-1), batch["mask"])
        for key, value in row.items():
            rows.setdefault(key, []).append(value.cpu())
    return {key: torch.cat(values).numpy() for key, values in rows.items()}


def network(net: torch.nn.Module, device: torch.device | str | None = None, *condition: Tensor, exact: bool = False):
    """`predict` for `evaluate` from a MaskDepthNet: sigmoid of the mask's logits, depth as it is.

    It runs, and `net` is moved, to `device` (None: the GPU where there is one). `condition` goes to a ConditionalNet. `exact`: in float32
    even where bfloat16 is fast.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    net.to(device, memory_format=torch.channels_last)

    def predict(background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        was_training = net.training
        with nullcontext() if exact else autocast(device):
            mask_logits, depth = net.eval()(background.to(device), image.to(device), *condition)
        net.train(was_training)
        return mask_logits.float().sigmoid().cpu(), depth.float().cpu()

    return predict


def baseline(threshold: float, depth: float):
    """`predict` for `evaluate` without a network: subtraction at `threshold` for the mask, a constant for the depth."""

    def predict(background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = difference(background, image)
        return (seen > threshold).float(), torch.full_like(seen, depth)

    return predict


def summary(rows: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over the images that have a value, rounded to four digits; where pixels are counted also `mask_pooled_iou` and `_dice`."""
    means = {key: values for key, values in rows.items() if key not in ("mask_intersection", "mask_union")}
    result = {key: round(float(np.nanmean(values)), 4) if np.isfinite(values).any() else float("nan") for key, values in means.items()}
    if "mask_union" in rows:
        both, either = rows["mask_intersection"].sum(), rows["mask_union"].sum()
        result |= {"mask_pooled_iou": round(both / max(either, 1), 4), "mask_pooled_dice": round(2 * both / max(either + both, 1), 4)}
    return result


def interval(values: np.ndarray, seed: int = 0, draws: int = 1000) -> tuple[float, float]:
    """95 % confidence interval of the mean by bootstrap over images (Efron, 1979): `draws` means of images drawn with replacement."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    means = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)


def table(results: dict[str, dict[str, float]], keys: tuple[str, ...] = ("mask_iou", "mask_dice", "depth_rmse_std", "depth_delta1")) -> str:
    """Rows of `summary` values as aligned text."""
    width = max(len(name) for name in results)
    lines = [" " * width + "".join(f"{key:>16}" for key in keys)]
    lines += [f"{name:<{width}}" + "".join(f"{row[key]:>16.4f}" for key in keys) for name, row in results.items()]
    return "\n".join(lines)
