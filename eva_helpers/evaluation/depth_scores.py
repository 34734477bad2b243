"""Depth as the field judges it: after a named alignment, by order, by edges, by correlation.

Arrays are inverse depth, (H, W), near = large, of one image. `valid`, bool (H, W), tells which
pixels of `truth` are labelled; a prediction or a label of 0 is infinitely far.
"""

import numpy as np
import torch

from eva_helpers.evaluation import metrics

ALIGNMENTS = ("metric", "scale", "affine")
FAR = 0.01  # of the truth's median: what has a smaller inverse depth counts as infinitely far
PAIRS = 4000  # that are compared in an image
APART = 0.05  # of the label's range, by which the two points of a pair differ at least
EDGES = np.linspace(1.05, 1.25, 9)  # ratios of distance that make an edge


def align(depth: np.ndarray, truth: np.ndarray, how: str) -> np.ndarray:
    """`depth` (N,) brought to the scale of `truth` (N,), both positive at some pixel.

    `metric`: unchanged; `scale`: times the median of truth / depth; `affine`: scale and shift of
    inverse depth by least squares (Ranftl et al., 2020). Raises ValueError for another name.
    """
    if how == "metric":
        aligned = depth
    elif how == "scale":
        seen = (depth > 0) & (truth > 0)
        aligned = depth * (np.median(truth[seen] / depth[seen]) if seen.any() else 1.0)
    elif how == "affine":
        variance = depth.var()
        slope = (
            ((depth - depth.mean()) * (truth - truth.mean())).mean() / variance if variance else 0
        )
        aligned = slope * (depth - depth.mean()) + truth.mean()
    else:
        raise ValueError(f"alignment is {how!r}: expected one of {', '.join(ALIGNMENTS)}.")
    return aligned


def distance_scores(
    depth: np.ndarray, truth: np.ndarray, how: str, valid: np.ndarray | None = None
) -> dict[str, float]:
    """`abs_rel`, `log10`, `delta1` to `delta3` of distances, `rmse_std` of inverse depth.

    Distances are 1 / inverse depth (Eigen et al., 2014); the alignment is `how` of ALIGNMENTS.
    `rmse_std` is the root mean square error over the standard deviation of the truth. Raises
    ValueError if no pixel is labelled.
    """
    d, t = _labelled(depth, truth, valid)
    aligned = align(d, t, how)
    floor = FAR * np.median(t[t > 0])
    near = t > floor  # beyond, ratios of distances say nothing
    ratio = t[near] / aligned[near].clip(floor, 10 * t.max())
    worse = np.maximum(ratio, 1 / ratio)
    scores = {
        "abs_rel": np.abs(ratio - 1).mean(),
        "log10": np.abs(np.log10(ratio)).mean(),
        **{f"delta{k}": (worse < 1.25**k).mean() for k in (1, 2, 3)},
        "rmse_std": np.sqrt(np.square(aligned - t).mean()) / max(t.std(), 1e-9),
    }
    return {name: float(value) for name, value in scores.items()}


def ordered_pairs(
    depth: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None, seed: int = 0
) -> float:
    """Share of random pairs of points whose order is right (as DA-2K; Yang et al., 2024).

    Pairs count whose labels differ by more than APART of the range of the labels (2nd to 98th
    percentile). A tie of the prediction counts half. NaN without such pairs.
    """
    d, t = _labelled(depth, truth, valid)
    a, b = np.random.default_rng(seed).integers(len(t), size=(2, PAIRS))
    low, high = np.percentile(t, [2, 98])
    counts = np.abs(t[a] - t[b]) > APART * (high - low)
    signs = np.sign(d[a] - d[b]) * np.sign(t[a] - t[b])
    return float((0.5 + 0.5 * signs[counts]).mean()) if counts.any() else float("nan")


def edge_recall(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Share of the truth's depth edges that the prediction has at the same place (Depth Pro).

    Two neighbours form an edge if one is nearer by a ratio; the shares at the ratios EDGES are
    averaged, weighted by the ratio's excess over 1 (Bochkovskii et al., 2024). Nothing is aligned,
    because ratios do not depend on scale. NaN without an edge.
    """
    known = truth >= 0 if valid is None else valid
    floor = FAR * np.median(truth[known & (truth > 0)])
    shares, weights = [], []
    for ratio in EDGES:
        both = there = 0
        for axis in (0, 1):
            pairs = _neighbours(known, axis)
            both_known = pairs[0] & pairs[1]
            steps = [_steps(values.clip(floor), axis, ratio) for values in (truth, depth)]
            true_edges = steps[0] * both_known
            there += np.abs(true_edges).sum()
            both += (true_edges * steps[1] > 0).sum()
        if there:
            shares.append(both / there)
            weights.append(ratio - 1)
    return float(np.average(shares, weights=weights)) if shares else float("nan")


def correlation(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Pearson's; 0 where one of the two is constant."""
    d, t = (torch.from_numpy(values)[None] for values in _labelled(depth, truth, valid))
    return metrics.correlation(d, t).item()


def _labelled(
    depth: np.ndarray, truth: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The labelled pixels of both, float64 (N,)."""
    known = truth >= 0 if valid is None else valid
    if not (known & (truth > 0)).any():
        raise ValueError("no pixel has a depth label: expected some of `truth` to be positive.")
    return depth[known].astype(float), truth[known].astype(float)


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    length = values.shape[axis]
    return values.take(range(length - 1), axis), values.take(range(1, length), axis)


def _steps(values: np.ndarray, axis: int, ratio: float) -> np.ndarray:
    """1 where the second neighbour is nearer by over `ratio`, -1 where the first is, else 0."""
    first, second = _neighbours(values, axis)
    return (second > ratio * first).astype(int) - (first > ratio * second)
