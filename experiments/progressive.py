"""Is training on small photos first worthwhile?

The shipped recipe in small, for about the same time each way: at 64 px alone, at 224 px alone, and
progressively (64 px first, then mixed sizes, without and with layers of their own for large
photos). Each is scored on the validation split at 64 and at 224 px, with capture differences at
strength 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.evaluation.scoring import evaluate, summary
from eva_helpers.files import command_line, output_file
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.inference import inference
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.weights import load_weights
from experiments.common import RESULTS, Results, held_out, say
from experiments.stages import FULL, Stage, minutes, train

SIZES = (64, 224)
MIXED = {64: (16, 2304), 128: (8, 1344), 224: (4, 1056)}
PLANS = {  # the numbers of samples make all plans take about as long on two cores
    "64 px alone": (Stage("64px", {64: (16, 24576)}, 1, 3e-3),),
    "224 px alone": (Stage("224px", {224: (4, 2880)}, 1, 3e-3),),
    "progressive: 64 px, then mixed": (
        Stage("64px", {64: (16, 12288)}, 1, 3e-3),
        Stage("mixed", MIXED, 1, 2e-3),
    ),
    "progressive, large photos with layers of their own": (
        Stage("64px", {64: (16, 12288)}, 1, 3e-3),
        Stage("sized", MIXED, 1, 2e-3, sized=True),
    ),
}


def shortened(stages: tuple[Stage, ...], share: float) -> tuple[Stage, ...]:
    """The same stages with a share of their samples, at least one batch of each size."""
    return tuple(
        replace(
            stage,
            parts={
                size: (batch, max(batch, round(samples * share)))
                for size, (batch, samples) in stage.parts.items()
            },
        )
        for stage in stages
    )


def score(net: MaskDepthNet, catalogue: Catalogue, count: int) -> dict[str, dict]:
    """Mask IoU, depth RMSE / std and delta1 on `count` validation composites of each size."""
    result = {}
    for size in SIZES:
        pairs = held_out(catalogue, size, count)
        means = summary(evaluate(inference(net), pairs, catalogue.z_near))
        keys = ("mask_iou", "depth_rmse_std", "depth_delta1")
        result[f"{size} px"] = {key: means[key] for key in keys}
    return result


def run(plan: tuple[Stage, ...], catalogue: Catalogue, count: int) -> dict:
    """Train one plan from scratch; minutes of training, and scores."""
    with tempfile.TemporaryDirectory() as folder:
        net = train(catalogue, plan, Path(folder), LossWeights())
        return {"minutes": minutes(Path(folder), plan)} | score(net, catalogue, count)


def shipped(folder: Path, catalogue: Catalogue, count: int) -> dict[str, dict]:
    """Scores of the shipped training, which `make train` left in `folder`, after each stage."""
    results = {}
    for number, stage in enumerate(FULL, 1):
        if not (folder / stage.name).is_dir():  # trained before `--further`
            continue
        net = load_weights(folder / stage.name / "last.safetensors")
        row = {"minutes": minutes(folder, FULL[:number])} | score(net, catalogue, count)
        results[f"shipped, after its stage {stage.name}"] = row
    return results


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the samples; less for a quick look"
    )
    parser.add_argument("--count", type=int, default=256, help="validation composites of each size")
    parser.add_argument(
        "--json",
        type=output_file,
        default=RESULTS / "progressive.json",
        help="plans that it holds are not trained again (default: %(default)s)",
    )
    parser.add_argument(
        "--shipped",
        type=Path,
        metavar="FOLDER",
        help="also score the stages of `make train` in it, such as runs/train",
    )
    options = parser.parse_args(arguments)
    results = Results(options.json, {"count": options.count, "share": options.share}, "plans")
    catalogue = load_catalogue()
    for name, plan in PLANS.items():
        if name not in results.rows:
            say(name)
            results.update({name: run(shortened(plan, options.share), catalogue, options.count)})
            say(name, results.rows[name])
    if options.shipped:
        results.update(shipped(options.shipped, catalogue, options.count))


if __name__ == "__main__":
    sys.exit(main())
