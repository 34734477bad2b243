"""Metrics of masks and of inverse depth, each (B, 1, H, W) in [0, 1].

Every function returns one float64 value per image, (B,), so that means, worst cases and confidence
intervals come from the same numbers. Masks (coverage or probability) are thresholded at 0.5. An
image whose true depth is 0 everywhere has no depth label: its metrics of depth are NaN.
"""

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eva_helpers.losses import align_scale_shift, ssim_map

FAR = 100.0  # metres: beyond this, inverse depth is too coarse for ratios of distances
PAIR_DISTANCE = 0.03  # between the points that `ordered` compares, as a share of the shorter side


def _per_image(values: Tensor) -> Tensor:
    return values.double().flatten(1)


def _of_labelled(scores: dict[str, Tensor], truth: Tensor) -> dict[str, Tensor]:
    labelled = truth.flatten(1).any(1)
    return {name: torch.where(labelled, values, torch.nan) for name, values in scores.items()}


def iou(prediction: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union, `|A & B| / |A | B|`. Two empty masks score 1, a single one 0."""
    both, either = overlap(prediction, truth)
    return torch.where(either > 0, both / either.clamp_min(1), 1.0)


def dice(prediction: Tensor, truth: Tensor) -> Tensor:
    """Dice coefficient, `2 |A & B| / (|A| + |B|)`. Two empty masks score 1, a single one 0."""
    both, either = overlap(prediction, truth)
    total = both + either  # = |A| + |B|
    return torch.where(total > 0, 2 * both / total.clamp_min(1), 1.0)


def overlap(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels in both masks and pixels in either; their sums over a set give pooled IoU and Dice."""
    a, b = (_per_image(mask > 0.5) for mask in (prediction, truth))
    return (a * b).sum(1), torch.maximum(a, b).sum(1)


def boundary_f(prediction: Tensor, truth: Tensor, tolerance: float = 0.008) -> Tensor:
    """Boundary F-measure (Perazzi et al., 2016): contours are matched by dilation.

    `tolerance` is a share of the image diagonal, at least 1 px. Empty masks score as in `iou`.
    """
    reach = max(1, int(np.ceil(tolerance * np.hypot(*truth.shape[2:]))))
    a, b = (_contour(mask > 0.5) for mask in (prediction, truth))
    near_a, near_b = (F.max_pool2d(edge, 2 * reach + 1, 1, reach) for edge in (a, b))
    count_a, count_b = (_per_image(edge).sum(1) for edge in (a, b))
    precision = _per_image(a * near_b).sum(1) / count_a.clamp_min(1)
    recall = _per_image(b * near_a).sum(1) / count_b.clamp_min(1)
    f = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return torch.where(count_a + count_b > 0, f, 1.0)


def _contour(mask: Tensor) -> Tensor:
    mask = mask.float()
    return mask - (1 - F.max_pool2d(1 - mask, 3, 1, 1))  # minus the eroded mask


def ordered(prediction: Tensor, truth: Tensor, mask: Tensor, margin: float = 1.05) -> Tensor:
    """Share of point pairs across the object's contour whose depth order is right.

    A pair is a point on the object (coverage over 0.9) and one off it (under 0.1), a few pixels
    apart in a row or column, of which `truth` has the first closer by a factor of `margin` (at its
    feet, object and ground are equally far). NaN for an image without such a pair.
    """
    step = max(2, round(PAIR_DISTANCE * min(mask.shape[2:])))
    right = torch.zeros(len(mask)).double()
    count = torch.zeros(len(mask)).double()
    for dim, start in product((2, 3), (0, step)):
        length = mask.shape[dim] - step
        maps = (mask, truth, prediction)
        on, off = ([x.narrow(dim, at, length) for x in maps] for at in (start, step - start))
        compared = (on[0] > 0.9) & (off[0] < 0.1) & (on[1] > margin * off[1])
        right += _per_image(compared & (on[2] > off[2])).sum(1).cpu()
        count += _per_image(compared).sum(1).cpu()
    return right / count  # 0 / 0 is NaN


def depth_metrics(prediction: Tensor, truth: Tensor, z_near: float) -> dict[str, Tensor]:
    """Metrics of inverse depth d; the distance is z = z_near / d, in metres.

    On distances, where the truth `z*` is closer than FAR (Eigen et al., 2014):

    - `abs_rel`: mean of `|z - z*| / z*`;
    - `log10`: mean of `|log10 z - log10 z*|`;
    - `delta1` (2, 3): share of pixels with `max(z / z*, z* / z) < 1.25` (1.25^2, 1.25^3).

    On inverse depth, all pixels:

    - `rmse`: root of the mean of `(d - d*)^2`;
    - `rmse_std`: rmse / standard deviation of `d*` in the image (its mean as a constant prediction
      would score 1).

    3.3 m predicted for 3 m is an abs_rel of 0.1 and counts in delta1.
    """
    d, t = (_per_image(depth) for depth in (prediction, truth))
    known = (t > z_near / FAR).double()
    count = known.sum(1).clamp_min(1)
    # z / z*; predicted distances are limited to ten times FAR
    ratio = t.clamp_min(z_near / FAR) / d.clamp_min(z_near / (10 * FAR))
    worse = torch.maximum(ratio, 1 / ratio)
    scores = {
        "abs_rel": ((ratio - 1).abs() * known).sum(1) / count,
        "rmse": (d - t).square().mean(1).sqrt(),
        "rmse_std": rmse_std(prediction, truth),
        **{f"delta{k}": ((worse < 1.25**k) * known).sum(1) / count for k in (1, 2, 3)},
        "log10": (ratio.log10().abs() * known).sum(1) / count,
    }
    return _of_labelled(scores, truth)


def rmse_std(prediction: Tensor, truth: Tensor) -> Tensor:
    """`rmse_std` of `depth_metrics`; an image without depth label has NaN."""
    d, t = (depth.flatten(1) for depth in (prediction, truth))
    error = (d - t).double().square().mean(1).sqrt()
    score = error / t.double().std(1, correction=0).clamp_min(1e-3)
    return torch.where(t.any(1), score, torch.nan)


def more_depth_metrics(prediction: Tensor, truth: Tensor, z_near: float) -> dict[str, Tensor]:
    """Slower metrics of inverse depth.

    `ssim` is the mean SSIM (Wang et al., 2004), `gradient` the mean absolute error of finite
    differences. `aligned_rmse_std`, `aligned_abs_rel` and `aligned_delta1` are computed after
    fitting scale and shift of each image by least squares (as MiDaS; Ranftl et al., 2020).
    """
    error = (prediction - truth).double()
    rows, columns = (error.diff(dim=dim).abs().flatten(1).mean(1) for dim in (2, 3))
    fitted = depth_metrics(align_scale_shift(prediction, truth).clamp(0, 1), truth, z_near)
    scores = {
        "ssim": _per_image(ssim_map(prediction, truth)).mean(1),
        "gradient": rows + columns,
        **{f"aligned_{key}": fitted[key] for key in ("rmse_std", "abs_rel", "delta1")},
    }
    return _of_labelled(scores, truth)


def correlation(prediction: Tensor, truth: Tensor) -> Tensor:
    """Pearson correlation, for labels without a scale; 0 where one of the two is constant."""
    values = (_per_image(x) for x in (prediction, truth))
    a, b = (x - x.mean(1, keepdim=True) for x in values)
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt().clamp_min(1e-12)
