"""A network on the test split beside its baselines, as plain values and as text.

What the baselines need (a threshold, a mean depth) is chosen on training pairs.
"""

from functools import partial
from itertools import pairwise

import pandas as pd
from torch import nn
from torch.utils.data import Dataset
from tqdm import tqdm

from eva_helpers.catalogue import Catalogue
from eva_helpers.data import (
    QUADRANTS,
    CompositeDataset,
    PairDataset,
    fixed_sample,
    make_loader,
    quadrant,
)
from eva_helpers.evaluation.baselines import (
    BACKGROUND,
    NETWORK,
    SUBTRACTION,
    background_depth,
    calibrated_subtraction,
)
from eva_helpers.evaluation.robustness import UNSEEN, robustness
from eva_helpers.evaluation.scoring import Method, Rows, evaluate, interval, summary
from eva_helpers.model import inference

MOVED = "true mask shifted by 1 px"
SIZE_BINS = (0.0, 0.08, 0.16, 0.32, 1.0)  # square root of the object's share of the frame
EMPTY_LIMIT = 0.001  # share of the frame; smaller masks in an empty scene are no false alarms
COLUMNS = ["mask_iou", "mask_dice", "depth_rmse_std", "depth_delta1"]  # of `report_text`
INTERVALS = (*COLUMNS, "depth_ordered")
Methods = dict[str, Method]


def scores(rows: dict[str, Rows]) -> dict[str, dict]:
    """`summary` of every method, and `interval` of the main metrics that it has."""
    result: dict[str, dict] = {}
    for name, part in rows.items():
        result[name] = summary(part)
        known = [key for key in INTERVALS if key in result[name]]
        result[name]["interval"] = {key: interval(part[key]) for key in known}
    return result


def compare(methods: Methods, items: Dataset, z_near: float) -> dict[str, Rows]:
    """Per-image metrics of every method on the same items (see `evaluate`, full)."""
    loader = make_loader(items, 32)
    return {name: evaluate(method, loader, z_near, full=True) for name, method in methods.items()}


def by_size(rows: dict[str, Rows]) -> dict[str, dict[str, float]]:
    """Mean mask IoU of every method, and of the shifted true mask, by object size in SIZE_BINS.

    Scenes without an object are left out, and so are empty bins.
    """
    first = next(iter(rows.values()))
    columns = {name: part["mask_iou"] for name, part in rows.items()}
    columns[MOVED] = first["mask_moved_iou"]
    result = {}
    for low, high in pairwise(SIZE_BINS):
        chosen = (first["size"] > low) & (first["size"] <= high)
        if chosen.any():
            means = {name: round(float(iou[chosen].mean()), 4) for name, iou in columns.items()}
            result[f"{low:g}-{high:g}"] = {"images": int(chosen.sum())} | means
    return result


def false_alarms(
    methods: Methods, catalogue: Catalogue, size: int, count: int, seed: int, strength: float
) -> dict[str, float]:
    """Share of empty test scenes (two photos, no object) with a false mask above EMPTY_LIMIT."""
    empty = CompositeDataset(
        catalogue, "test", "test", size=size, strength=strength, empty=1.0, seed=seed
    )
    rows = compare(methods, fixed_sample(empty, count, seed), catalogue.z_near)
    alarms = {name: part["mask_union"] > EMPTY_LIMIT * size**2 for name, part in rows.items()}
    return {name: round(float(values.mean()), 4) for name, values in alarms.items()}


def evaluation_report(
    net: nn.Module, catalogue: Catalogue, sizes: tuple[int, ...] = (64, 224), count: int = 384,
    seed: int = 0, strength: float = 1.0, progress: bool = False,
) -> dict:  # fmt: skip
    """All scores as plain values; `sizes` ascending, in px.

    The quadrants, empty scenes and object sizes at each size, true pairs at the largest,
    robustness at the smallest. `count` composites are scored per quadrant and size.
    """
    result: dict = {"catalogue": catalogue.name, "samples": count, "seed": seed}
    result |= {"strength": strength, "quadrants": {}, "empty scenes": {}}
    result["mask IoU by object size"] = {}
    half = max(16, count // 2)
    for size in sizes:
        simple = calibrated_subtraction(catalogue, size, seed, strength)
        both = {NETWORK: inference(net), SUBTRACTION: simple}
        methods = both | {BACKGROUND: background_depth(net)}
        rows = {}
        for name in tqdm(QUADRANTS, desc=f"quadrants, {size} px", disable=not progress):
            pairs = quadrant(catalogue, name, size=size, strength=strength, seed=seed + 1)
            rows[name] = compare(methods, fixed_sample(pairs, count, seed), catalogue.z_near)
        part = f"{size} px"
        result["quadrants"][part] = {name: scores(each) for name, each in rows.items()}
        unseen = {who: rows[UNSEEN][who] for who in both}
        result["mask IoU by object size"][part] = by_size(unseen)
        result["empty scenes"][part] = false_alarms(both, catalogue, size, half, seed, strength)
    if catalogue.true_pairs("test"):
        true_pairs = PairDataset(catalogue, size=size, strength=strength, seed=seed)
        table = scores(compare(methods, true_pairs, catalogue.z_near))
        result["true pairs"] = {part: table, "pairs": len(true_pairs)}
    smallest = robustness(net, catalogue, sizes[0], half, seed, progress)
    result["robustness"] = {f"{sizes[0]} px": smallest}
    return result


def report_text(result: dict) -> str:
    """The main scores of an `evaluation_report` as text tables; of depth only where labelled."""
    sets = {size: dict(quadrants) for size, quadrants in result["quadrants"].items()}
    for size, methods in result.get("true pairs", {}).items():
        if size in sets:
            sets[size][f"{result['true pairs']['pairs']} true pairs"] = methods
    rows = {
        (size, name, who): row
        for size, parts in sets.items()
        for name, methods in parts.items()
        for who, row in methods.items()
    }
    frame = partial(pd.DataFrame.from_dict, orient="index")
    table = frame(rows)
    columns = [name for name in COLUMNS if name in table]
    text = table[columns].to_string(float_format="{:.4f}".format, na_rep="")
    alarms = frame(result["empty scenes"]).to_string(float_format="{:.1%}".format)
    return f"test split\n{text}\n\nempty scenes with a false mask\n{alarms}"
