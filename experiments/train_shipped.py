"""Train the shipped weights from scratch on the embedded park: `make train`.

Most steps use photos of 64 px, where they are cheap; then sizes up to 224 px are mixed, so that one
network serves them all; then large photos get a mask decoder and normalisation layers of their own,
plain scenes are added, the refiner is trained, and last rendered worlds are added, whose depth has
no scale. The training can be stopped at any time and started again: every stage resumes after its
last epoch. `--further` continues from the shipped weights and trains only the stages that they have
not had. Results go to `runs/train`; only `--ship` replaces the shipped weights.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.evaluation.report import evaluation_report, report_text
from eva_helpers.files import InputError, command_line, make_folder, read_json, write_json
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.profile import parameters
from eva_helpers.model.weights import load_weights, save_weights
from eva_helpers.paths import ROOT, WEIGHTS
from eva_helpers.tuning.weights_json import read_weights
from experiments.common import EMPTY, STRENGTH, TRUE_PAIRS, VARIETY, commit, say
from experiments.stages import FULL, SMOKE, Stage, before, minutes, train

PROFILES = {  # name -> stages, sizes that are evaluated, fixed composites per quadrant and size
    "full": (FULL, (64, 224), 384),
    "smoke": (SMOKE, (64,), 16),
}


def started_at(folder: Path, now: str) -> str:
    """The commit at which the training in `folder` was first started; `now` for a new one."""
    path = folder / "commit.txt"
    if not path.exists():
        make_folder(folder)
        path.write_text(now + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def earlier(folder: Path, stages: tuple[Stage, ...]) -> Path:
    """Where `--further` keeps the weights it continues from, with their card.

    They are the shipped ones as they were when the training in `folder` began.

    Raises:
        InputError: the shipped weights have had all stages.
    """
    path = folder / "earlier.safetensors"
    if not path.exists():
        card = WEIGHTS.with_suffix(".json")
        if len(read_json(card)["stages"]) >= len(stages):
            raise InputError(
                f"{WEIGHTS} has had all {len(stages)} stages: "
                "train from scratch, without --further."
            )
        make_folder(folder)
        shutil.copy(card, path.with_suffix(".json"))
        shutil.copy(WEIGHTS, path)
    return path


def begin(
    options: argparse.Namespace, stages: tuple[Stage, ...]
) -> tuple[MaskDepthNet | None, tuple[Stage, ...], str]:
    """The network to start from (None: random weights), the stages to train, the commit to record.

    Raises:
        InputError: `options.out` was begun with `--further`, which is not given now.
    """
    if not options.further:
        if (options.out / "earlier.json").exists():
            raise InputError(
                f"{options.out} was begun with --further: "
                "give that again, or another folder with --out."
            )
        return None, stages, started_at(options.out, options.commit)
    path = earlier(options.out, stages)
    card = before(options.out)
    remaining = stages[len(card["stages"]) :]
    started = started_at(options.out, options.commit)
    return load_weights(path), remaining, f"{card['commit']}, stage {remaining[0].name} {started}"


def card(
    catalogue: Catalogue,
    stages: tuple[Stage, ...],
    net: MaskDepthNet,
    report: dict,
    options: argparse.Namespace,
) -> dict:
    """What is stored beside the weights: network, data, commits, settings, test scores."""
    return {
        "network": net.config.to_dict() | {"parameters": parameters(net)},
        "trained_on": {
            "catalogue": catalogue.name,
            "views": len(catalogue.backgrounds("train")),
            "cutouts": len(catalogue.objects("train")),
            "capture_strength": STRENGTH,
            "empty": EMPTY,
            "variety": VARIETY,
            "true_pairs": {"share": TRUE_PAIRS, "rendered": len(catalogue.true_pairs("train"))},
        },
        "commit": options.started,
        "evaluated_at": options.commit,
        "command": "make train",
        "seed": options.seed,
        "stages": [asdict(stage) for stage in stages],
        "loss_weights": asdict(options.weights),
        "minutes": minutes(options.out, stages),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "test_scores": report,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; `weights` are the loss weights, `out` is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument(
        "--out", type=Path, help="default: runs/train, or runs/train-NAME with a weighting"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="loader processes (default: none, for few cores)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weighting", metavar="JSON", help="loss weights, as notebook 06 saves")
    parser.add_argument(
        "--further",
        action="store_true",
        help="start from the shipped weights: only the stages that they have not had",
    )
    parser.add_argument(
        "--ship", action="store_true", help=f"also write {WEIGHTS.name} and its card"
    )
    options = parser.parse_args(arguments)
    suffix = f"-{Path(options.weighting).stem}" if options.weighting else ""
    options.out = options.out or ROOT / "runs" / f"train{suffix}"
    options.weights = read_weights(options.weighting) if options.weighting else LossWeights()
    return options


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    options = parse(arguments)
    stages, sizes, count = PROFILES[options.profile]
    catalogue = load_catalogue()
    options.commit = commit()
    net, remaining, options.started = begin(options, stages)
    training = (options.out, options.weights, options.workers, options.seed)
    net = train(catalogue, remaining, *training, net)
    say(f"trained in {minutes(options.out, stages)} minutes; evaluating")
    report = evaluation_report(net, catalogue, sizes, count, options.seed)
    description = card(catalogue, stages, net, report, options)
    for folder in (options.out, WEIGHTS.parent) if options.ship else (options.out,):
        path = folder / WEIGHTS.name
        save_weights(net, path, half=True)
        write_json(path.with_suffix(".json"), description)
        say("wrote", path)
    print(report_text(report))


if __name__ == "__main__":
    sys.exit(main())
