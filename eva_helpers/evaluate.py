"""Evaluation of a network beside its baselines, as JSON and figures: `python -m eva_helpers.evaluate --out DIR`.

Everything is measured on the test split. What the baselines need (a threshold, a mean depth) is chosen on training pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from eva_helpers import assets, dataset, metrics, training
from eva_helpers.augment import cast_shadow
from eva_helpers.images import InputError, command_line

UNSEEN = "unseen background, unseen object"
NETWORK, SUBTRACTION, BACKGROUND = "network", "subtraction / constant depth", "network's depth of the background"
MOVED = "true mask, a pixel off"
SIZE_BINS = (0.0, 0.08, 0.16, 0.32, 1.0)  # of the object: square root of its share of the frame
EMPTY_LIMIT = 0.001  # an empty scene with more than this share of false mask counts as a false alarm
INTERVALS = ("mask_iou", "mask_dice", "depth_rmse_std", "depth_delta1", "depth_ordered")


def misalignment(background: np.ndarray, image: np.ndarray, mask: np.ndarray, level: float, rng: np.random.Generator) -> tuple:
    """The background shifted by `level` frames in a random direction."""
    angle, (height, width) = rng.uniform(0, 2 * np.pi), image.shape[:2]
    move = np.float32([[1, 0, level * width * np.cos(angle)], [0, 1, level * height * np.sin(angle)]])
    return cv2.warpAffine(background, move, (width, height), borderMode=cv2.BORDER_REFLECT_101), image


def exposure(background: np.ndarray, image: np.ndarray, mask: np.ndarray, level: float, rng: np.random.Generator) -> tuple:
    """The background brighter or darker by `level` stops."""
    return np.rint(np.minimum(background * 2.0 ** (level * rng.choice((-1, 1))), 255)).astype(np.uint8), image


def noise(background: np.ndarray, image: np.ndarray, mask: np.ndarray, level: float, rng: np.random.Generator) -> tuple:
    """Independent Gaussian noise of standard deviation `level` on both photos."""
    return tuple(np.rint(shot + rng.normal(0, 255 * level, shot.shape)).clip(0, 255).astype(np.uint8) for shot in (background, image))


def jpeg(background: np.ndarray, image: np.ndarray, mask: np.ndarray, level: float, rng: np.random.Generator) -> tuple:
    """Both photos through JPEG of quality `level`."""
    coded = (cv2.imencode(".jpg", shot, [cv2.IMWRITE_JPEG_QUALITY, int(level)])[1] for shot in (background, image))
    return tuple(cv2.imdecode(data, cv2.IMREAD_COLOR) for data in coded)


def shadow(background: np.ndarray, image: np.ndarray, mask: np.ndarray, level: float, rng: np.random.Generator) -> tuple:
    """A shadow of darkness `level` beside the object, on the image alone."""
    return background, cast_shadow(image, mask, rng, darkness=level)


CONDITIONS: dict[Callable, tuple[str, tuple[float, ...]]] = {  # one capture difference alone -> what the level is, and its levels
    misalignment: ("shift of the background, share of the frame", (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04)),
    exposure: ("background brighter or darker, stops", (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)),
    noise: ("noise of both photos, standard deviation", (0.0, 0.01, 0.02, 0.04, 0.08)),
    jpeg: ("JPEG quality of both photos", (95, 75, 50, 30, 15)),
    shadow: ("darkness of the cast shadow", (0.0, 0.2, 0.4, 0.6, 0.8)),
}


def background_depth(net: torch.nn.Module) -> Callable:
    """`predict` for `metrics.evaluate` that looks at the background alone: what a depth is worth that ignores the object."""
    learnt = metrics.network(net)
    return lambda background, image: learnt(background, background)


def scores(rows: dict[str, np.ndarray]) -> dict:
    """Means, and 95 % intervals by bootstrap over images for the main ones."""
    return metrics.summary(rows) | {"interval": {key: metrics.interval(rows[key]) for key in INTERVALS if key in rows}}


def calibrated(catalogue: assets.Catalogue, size: int, seed: int, strength: float = 1.0, count: int = 256) -> Callable:
    """Subtraction at the threshold that is best on training pairs, with their mean depth."""
    known = dataset.CompositeDataset(catalogue, size=size, strength=strength, seed=seed)
    pairs = list(dataset.loader(dataset.fixed_sample(known, count, seed), 32))
    return metrics.baseline(metrics.best_threshold(pairs), metrics.mean_depth(pairs))


def compare(methods: dict[str, Callable], items, z_near: float) -> dict[str, dict[str, np.ndarray]]:
    """Every method's per-image metrics on the same batches."""
    loader = dataset.loader(items, 32)
    return {name: metrics.evaluate(method, loader, z_near, full=True) for name, method in methods.items()}


def by_size(rows: dict[str, dict[str, np.ndarray]]) -> dict[str, dict]:
    """Mean mask IoU of every method, and of the true mask moved by a pixel, for objects of each size in SIZE_BINS; not empty scenes."""
    result, first = {}, next(iter(rows.values()))
    columns = {name: part["mask_iou"] for name, part in rows.items()} | {MOVED: first["mask_moved_iou"]}
    for low, high in zip(SIZE_BINS, SIZE_BINS[1:], strict=False):
        chosen = (first["size"] > low) & (first["size"] <= high)
        if chosen.any():
            means = {name: round(float(column[chosen].mean()), 4) for name, column in columns.items()}
            result[f"{low:g}-{high:g}"] = {"images": int(chosen.sum())} | means
    return result


def robustness(net: torch.nn.Module, catalogue: assets.Catalogue, size: int, count: int, seed: int, progress: bool = False) -> dict:
    """Mean mask IoU against each of CONDITIONS alone, on unseen pairs, beside subtraction at its best threshold *for each level*."""
    result = {}
    for condition, (meaning, levels) in tqdm(CONDITIONS.items(), desc="robustness", disable=not progress):
        card = {"level": meaning, "levels": list(levels), NETWORK: [], "subtraction, best threshold": []}
        for level in levels:
            pairs = dataset.quadrant(catalogue, UNSEEN, size=size, seed=seed)
            pairs.capture = lambda *shots, condition=condition, level=level: condition(*shots[:3], level, shots[3])
            batches = list(dataset.loader(dataset.fixed_sample(pairs, count, seed), 32))
            methods = {NETWORK: metrics.network(net), "subtraction, best threshold": metrics.baseline(metrics.best_threshold(batches), 0.0)}
            for name, method in methods.items():
                card[name].append(round(float(metrics.evaluate(method, batches, catalogue.z_near)["mask_iou"].mean()), 4))
        result[condition.__name__] = card
    return result


def false_alarms(methods: dict[str, Callable], catalogue: assets.Catalogue, size: int, count: int, seed: int, strength: float) -> dict:
    """Share of empty test scenes (two shots, no object) with more than EMPTY_LIMIT of false mask."""
    empty = dataset.CompositeDataset(catalogue, "test", "test", size=size, strength=strength, empty=1.0, seed=seed)
    alarms = {name: [] for name in methods}
    for batch in dataset.loader(dataset.fixed_sample(empty, count, seed), 32):
        for name, method in methods.items():
            with torch.no_grad():
                mask = method(batch["background"], batch["image"])[0]
            alarms[name].append((mask > 0.5).float().mean((1, 2, 3)) > EMPTY_LIMIT)
    return {name: round(torch.cat(values).float().mean().item(), 4) for name, values in alarms.items()}


def report(
    net: torch.nn.Module,
    catalogue: assets.Catalogue,
    sizes: tuple[int, ...] = (64, 224),
    count: int = 384,
    seed: int = 0,
    strength: float = 1.0,
    progress: bool = False,
) -> dict:
    """Everything, as plain values: quadrants and empty scenes at each size, true pairs at the largest, robustness at the smallest."""
    result: dict = {"catalogue": catalogue.name, "samples": count, "seed": seed, "strength": strength, "quadrants": {}}
    result |= {"empty scenes": {}, "mask IoU by object size": {}}
    for size in sizes:
        simple = calibrated(catalogue, size, seed, strength)
        methods = {NETWORK: metrics.network(net), SUBTRACTION: simple, BACKGROUND: background_depth(net)}
        options = {"size": size, "strength": strength, "seed": seed + 1}
        result["quadrants"][f"{size} px"] = table = {}
        for name in tqdm(dataset.QUADRANTS, desc=f"quadrants, {size} px", disable=not progress):
            items = dataset.fixed_sample(dataset.quadrant(catalogue, name, **options), count, seed)
            rows = compare(methods, items, catalogue.z_near)
            table[name] = {who: scores(part) for who, part in rows.items()}
        result["mask IoU by object size"][f"{size} px"] = by_size({who: rows[who] for who in (NETWORK, SUBTRACTION)})
        pair = {who: methods[who] for who in (NETWORK, SUBTRACTION)}
        result["empty scenes"][f"{size} px"] = false_alarms(pair, catalogue, size, max(16, count // 2), seed, strength)
    if catalogue.true_pairs("test"):
        pairs = dataset.PairDataset(catalogue, size=sizes[-1], strength=strength, seed=seed)
        rows = compare(methods, pairs, catalogue.z_near)
        result["true pairs"] = {f"{sizes[-1]} px": {who: scores(part) for who, part in rows.items()}, "pairs": len(pairs)}
    result["robustness"] = {f"{sizes[0]} px": robustness(net, catalogue, sizes[0], max(16, count // 2), seed, progress)}
    return result


def lines(result: dict) -> str:
    """The main figures of a report as text."""
    parts = []
    for size, table in result["quadrants"].items():
        rows = {f"{name}: {who}": row for name, methods in table.items() for who, row in methods.items()}
        parts.append(f"test split, {size}\n" + metrics.table(rows))
    for size, methods in result.get("true pairs", {}).items():
        if isinstance(methods, dict):
            parts.append(f"{result['true pairs']['pairs']} true pairs, {size}\n" + metrics.table(methods))
    for size, alarms in result["empty scenes"].items():
        parts.append(f"empty scenes with a false mask, {size}: " + ", ".join(f"{who} {share:.1%}" for who, share in alarms.items()))
    return "\n\n".join(parts)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eva_helpers.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--catalogue", help="folder of another catalogue (default: the embedded park)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="px a side, ascending (default: 64 224)")
    parser.add_argument("--samples", type=int, default=384, help="fixed composites a quadrant and size (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for evaluation.json and the figures")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MPLBACKEND", "agg")
    from eva_helpers import plots

    path = options.out / "evaluation.json"
    if path.exists():
        raise InputError(f"{path} is there already and would be overwritten: choose another --out folder.")
    if min(options.sizes) < 32 or options.samples < 1:
        raise InputError(f"--sizes {options.sizes} --samples {options.samples}: expected at least 32 px and one sample.")
    net = training.load_weights(options.weights or assets.WEIGHTS)
    catalogue = assets.load_catalogue(options.catalogue or assets.PARK)
    result = report(net, catalogue, tuple(sorted(options.sizes)), options.samples, options.seed, progress=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    for size, card in result["robustness"].items():
        plots.save(plots.robustness(card, f"unseen pairs, {size}"), options.out, "robustness")
    print(lines(result))
    print("wrote", path)


if __name__ == "__main__":
    sys.exit(main())
