"""Is it worth while to train small photos first? `python benchmarks/progressive.py`.

The shipped recipe in small, for about the same time each way: at 64 px alone, at 224 px alone, and progressively (64 px first, then
mixed sizes, without and with layers of their own for large photos). Each is scored on the validation split at 64 and at 224 px,
capture differences at strength 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from train_shipped import STAGES, Stage, held_out, minutes, train

from eva_helpers import assets, metrics, training
from eva_helpers.folders import put
from eva_helpers.losses import LossWeights

RESULTS = Path(__file__).parent / "results" / "progressive.json"
SIZES = (64, 224)
PLANS = {  # samples are chosen so that on two cores all take about as long
    "64 px alone": (Stage("64px", {64: (16, 24576)}, 1, 3e-3),),
    "224 px alone": (Stage("224px", {224: (4, 2880)}, 1, 3e-3),),
    "progressive: 64 px, then mixed": (
        Stage("64px", {64: (16, 12288)}, 1, 3e-3),
        Stage("mixed", {64: (16, 2304), 128: (8, 1344), 224: (4, 1056)}, 1, 2e-3),
    ),
    "progressive, large photos with layers of their own": (
        Stage("64px", {64: (16, 12288)}, 1, 3e-3),
        Stage("sized", {64: (16, 2304), 128: (8, 1344), 224: (4, 1056)}, 1, 2e-3, sized=True),
    ),
}


def shortened(stages: tuple[Stage, ...], share: float) -> tuple[Stage, ...]:
    """The same stages with a share of their samples, at least one batch of each size."""
    return tuple(
        replace(stage, parts={size: (batch, max(batch, round(samples * share))) for size, (batch, samples) in stage.parts.items()})
        for stage in stages
    )


def score(net, catalogue: assets.Catalogue, count: int) -> dict[str, dict]:
    """Mask IoU and depth RMSE / std on validation composites of each of SIZES."""
    result = {}
    for size in SIZES:
        means = metrics.summary(metrics.evaluate(metrics.network(net), held_out(catalogue, size, count), catalogue.z_near))
        result[f"{size} px"] = {key: means[key] for key in ("mask_iou", "depth_rmse_std", "depth_delta1")}
    return result


def shipped(folder: Path, catalogue: assets.Catalogue, count: int) -> dict[str, dict]:
    """What the shipped training, which `make train` left in `folder`, was worth after each of the stages that are there."""
    results, stages = {}, STAGES["full"]
    for number, stage in enumerate(stages, 1):
        if not (folder / stage.name).is_dir():  # trained before `--further`
            continue
        net = training.load_weights(folder / stage.name / "last.safetensors")
        results[f"shipped, after its stage {stage.name}"] = {"minutes": minutes(folder, stages[:number])} | score(net, catalogue, count)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the samples; less for a quick look")
    parser.add_argument("--count", type=int, default=256, help="validation composites of each size")
    parser.add_argument("--json", type=Path, default=RESULTS, help="plans that stand in it are not trained again")
    parser.add_argument("--shipped", type=Path, metavar="FOLDER", help="also score the stages of `make train` in it, such as runs/train")
    options = parser.parse_args()
    settings = {"count": options.count, "share": options.share}
    stored = json.loads(options.json.read_text()) if options.json.exists() else settings
    if {key: stored[key] for key in settings} != settings:
        print(f"error: {options.json} was made with another --count or --share: remove it, or give another --json.", file=sys.stderr)
        return 2
    catalogue, results = assets.load_catalogue(), stored.get("plans", {})

    def write() -> None:
        order = [*PLANS, *(name for name in results if name not in PLANS)]
        plans = {name: results[name] for name in order if name in results}
        put(options.json, (json.dumps(settings | {"plans": plans}, indent=1) + "\n").encode())

    for name, plan in PLANS.items():
        if name in results:
            continue
        stages = shortened(plan, options.share)
        with tempfile.TemporaryDirectory() as folder:
            net = train(catalogue, stages, Path(folder), LossWeights(), workers=0, seed=0)
            results[name] = {"minutes": minutes(Path(folder), stages)} | score(net, catalogue, options.count)
        write()  # a run that is stopped meanwhile loses none
        print(name, results[name], flush=True)
    if options.shipped:
        results |= shipped(options.shipped, catalogue, options.count)
        write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
