"""Per-image metrics of a method on batches of pairs, their means and confidence intervals."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import eva_helpers.evaluation.metrics as m
from eva_helpers.data import MAPS
from eva_helpers.files import InputError

# Background and image, float32 (B, 3, H, W), -> mask probability and inverse depth, float32
# (B, 1, H, W), all in [0, 1]; `model.inference` makes one of a network.
Method = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Batch = dict[str, Tensor]  # `background`, `image`, `mask`, `depth`
Rows = dict[str, np.ndarray]  # metric -> one value per image, (N,)


def evaluate(method: Method, batches: Iterable[Batch], z_near: float, full: bool = False) -> Rows:
    """Per-image metrics of `method` on `batches`, by name; `z_near`: metres at inverse depth 1.

    `full` adds the slower metrics, and what pooling and sorting by size need: `mask_intersection`,
    `mask_union` (pixels); `size` (square root of the object's share of the frame); and
    `mask_moved_iou`, the IoU that the true mask itself has after a shift by 1 px.

    Raises:
        InputError: a sample or a prediction has values that are not finite.
    """
    rows: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(batches):
        if bad := not_finite(batch):
            raise InputError(f"batch {number} to evaluate: {bad}; remove or mend the files.")
        mask, depth = method(batch["background"], batch["image"])
        if not (mask.isfinite().all() and depth.isfinite().all()):
            raise InputError("the predictions are not finite: train again, with a smaller LR.")
        row = {"mask_iou": m.iou(mask, batch["mask"]), "mask_dice": m.dice(mask, batch["mask"])}
        scores = m.depth_metrics(depth, batch["depth"], z_near)
        if full:
            row |= _more_mask_metrics(mask, batch["mask"])
            scores |= m.more_depth_metrics(depth, batch["depth"], z_near)
            scores["ordered"] = m.ordered(depth, batch["depth"], batch["mask"])
        row |= {f"depth_{key}": value for key, value in scores.items()}
        for key, value in row.items():
            rows.setdefault(key, []).append(value.detach().cpu())
    return {key: torch.cat(values).numpy() for key, values in rows.items()}


def not_finite(batch: Batch) -> str:
    """The samples of a batch that have values that are not finite, as text; empty: none."""
    sums = {name: batch[name].flatten(1).sum(1) for name in MAPS}
    bad = {name: (~values.isfinite()).nonzero().flatten().tolist() for name, values in sums.items()}
    return "; ".join(f"{name} of sample {n} is not finite" for name in MAPS for n in bad[name][:3])


def _more_mask_metrics(mask: Tensor, truth: Tensor) -> dict[str, Tensor]:
    both, either = m.overlap(mask, truth)
    return {
        "mask_boundary_f": m.boundary_f(mask, truth),
        "mask_intersection": both,
        "mask_union": either,
        "size": truth.flatten(1).mean(1).sqrt(),
        "mask_moved_iou": m.iou(truth.roll(1, dims=-1), truth),
    }


def summary(rows: Rows) -> dict[str, float]:
    """Mean of each metric over the images that have a value, to four digits.

    Metrics that no image has a value of are left out, as those of depth without labels. Pixel
    counts become `mask_pooled_iou` and `mask_pooled_dice`: all pixels of the set together.
    """
    means = pd.DataFrame(rows).mean()
    counts = ("mask_intersection", "mask_union")
    known = [key for key in rows if key not in counts and np.isfinite(means[key])]
    result = {key: round(float(means[key]), 4) for key in known}
    if "mask_union" in rows:
        both, either = (rows[key].sum() for key in counts)
        result["mask_pooled_iou"] = round(both / max(either, 1), 4)
        result["mask_pooled_dice"] = round(2 * both / max(either + both, 1), 4)
    return result


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % confidence interval of the mean by percentile bootstrap over images (Efron, 1979).

    Only finite values count; both ends are NaN where there is none.
    """
    from scipy.stats import bootstrap  # takes a second to import

    values = values[np.isfinite(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    sample = np.resize(values, max(2, len(values)))  # scipy refuses a single value
    rng = np.random.default_rng(seed)
    result = bootstrap((sample,), np.mean, n_resamples=1000, method="percentile", random_state=rng)
    low, high = (round(float(end), 4) for end in result.confidence_interval)
    return low, high
