"""Train the weights that the project ships, from nothing, on the embedded park alone: `make train`.

Progressive size: most steps at 64 px, where they are cheap, then mixed sizes up to 224 px, so that one network serves them all; in the
last stage large photos get a mask decoder and normalisations of their own. Can be stopped at any time and started again: every
stage resumes after its last epoch. `--further` starts with the shipped weights and trains only the stages that they have not had. Results
go to `runs/train/`; only `--ship` writes into `assets/weights/`.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from eva_helpers import assets, dataset, evaluate, training, widgets
from eva_helpers.images import InputError, command_line
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, ModelConfig, parameters, with_sizes

STRENGTH = 1.25  # of the capture differences: a margin above the 1.0 that is tested
EMPTY = 0.08  # share of pairs without an object: the mask must learn to stay empty
VARIETY = 1.0  # colours, objects of no kind, two objects: what the park lacks and photographs have
TRUE_PAIRS = 0.2  # share of rendered pairs with real shadows and real contact, which composites lack
DATA = {"strength": STRENGTH, "empty": EMPTY, "variety": VARIETY, "true_pairs": TRUE_PAIRS}
EVALUATED = 384  # fixed composites per quadrant and size


@dataclass(frozen=True)
class Stage:
    """One training: `parts` maps the side in px to (batch size, samples an epoch); `sized` as in ModelConfig."""

    name: str
    parts: dict[int, tuple[int, int]]
    epochs: int
    lr: float
    sized: bool = False


STAGES = {
    "full": (
        Stage("64px", {64: (16, 16384)}, epochs=8, lr=3e-3),
        Stage("mixed", {64: (16, 3072), 128: (8, 1800), 224: (4, 1400)}, epochs=8, lr=2e-3),
        Stage("sized", {64: (16, 6144), 128: (8, 1800), 224: (4, 1400)}, epochs=15, lr=2e-3, sized=True),
    ),
    "smoke": (
        Stage("64px", {64: (8, 16)}, 1, 1e-3),
        Stage("mixed", {64: (8, 8), 96: (4, 8)}, 1, 1e-3),
        Stage("sized", {64: (8, 8), 96: (4, 8)}, 1, 1e-3, sized=True),
    ),
}


class Alternate:
    """Several loaders as one: batches of all of them, evenly interleaved."""

    def __init__(self, loaders: list[DataLoader]) -> None:
        self.loaders = loaders
        turns = [((number + 0.5) / len(loader), which) for which, loader in enumerate(loaders) for number in range(len(loader))]
        self.order = [which for _, which in sorted(turns)]

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        sources = [iter(loader) for loader in self.loaders]
        return (next(sources[which]) for which in self.order)


def loaders(catalogue: assets.Catalogue, stage: Stage, workers: int, seed: int) -> Alternate:
    """Training pairs of every size of the stage: both placements, all augmentations, capture differences."""
    return Alternate(
        [
            dataset.loader(
                dataset.CompositeDataset(catalogue, size=size, augment=True, seed=seed + size, **DATA),
                batch,
                samples=samples,
                workers=workers,
                seed=seed + size,
            )
            for size, (batch, samples) in stage.parts.items()
        ]
    )


def held_out(catalogue: assets.Catalogue, size: int, count: int, strength: float = 1.0, batch: int = 32, seed: int = 0) -> DataLoader:
    """Fixed composites of validation scenes and dogs: the same ones for every strength of the capture differences."""
    pairs = dataset.CompositeDataset(catalogue, "validation", "validation", size=size, strength=strength, seed=seed)
    return dataset.loader(dataset.fixed_sample(pairs, count, seed), batch)


def train(
    catalogue: assets.Catalogue,
    stages: tuple[Stage, ...],
    folder: Path,
    weights: LossWeights,
    workers: int,
    seed: int,
    net: MaskDepthNet | None = None,
) -> MaskDepthNet:
    """All stages, the first from `net` or from nothing, each from the last weights of the one before; returns the last one's best."""
    for number, stage in enumerate(stages):
        size = max(stage.parts)
        validation = held_out(catalogue, size, 192 if size < 128 else 96, seed=seed)
        torch.manual_seed(seed)
        net = net.train() if net else MaskDepthNet(ModelConfig())
        if stage.sized and not net.config.sized:
            net = with_sizes(net)
        config = training.TrainingConfig(epochs=stage.epochs, lr=stage.lr, ema=0.998, seed=seed + number)
        batches = loaders(catalogue, stage, workers, seed)
        print(f"stage {stage.name}: {stage.epochs} epochs of {len(batches)} steps, sizes {', '.join(map(str, stage.parts))} px", flush=True)
        trainer = training.Trainer(
            net, batches, validation, folder / stage.name, config, weights, z_near=catalogue.z_near, resume=True, say=say
        )
        trainer.fit()
        net = training.load_weights(folder / stage.name / "last.safetensors")
    return training.load_weights(folder / stages[-1].name / "best.safetensors")


def say(line: str) -> None:
    print(line, flush=True)


def commit() -> str:
    """The checkout's commit, with "+changes" when files differ from it."""
    git = ["git", "-C", str(assets.ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+changes" if changed else "")


def started_at(folder: Path, now: str) -> str:
    """The commit that the training in `folder` was first started at: `now`, unless it is there already, to be resumed or evaluated."""
    path = folder / "commit.txt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(now + "\n")
    return path.read_text().strip()


def earlier(folder: Path, stages: tuple[Stage, ...]) -> Path:
    """Where `--further` keeps the weights it started from, with their card: the shipped ones as they were when `folder` was begun.

    Raises:
        InputError: the shipped weights have had all stages.
    """
    path = folder / "earlier.safetensors"
    if not path.exists():
        if len(json.loads(assets.WEIGHTS.with_suffix(".json").read_text())["stages"]) >= len(stages):
            raise InputError(f"{assets.WEIGHTS} has had all {len(stages)} stages: train from nothing, without --further.")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(assets.WEIGHTS.with_suffix(".json"), path.with_suffix(".json"))
        shutil.copy(assets.WEIGHTS, path)
    return path


def minutes(folder: Path, stages: tuple[Stage, ...]) -> float:
    """What all training epochs took, interruptions and validation apart; with those before `--further`."""
    path = folder / "earlier.json"
    before = json.loads(path.read_text()) if path.exists() else {"minutes": 0, "stages": []}
    stages = stages[len(before["stages"]) :]
    rows = [json.loads(line) for stage in stages for line in (folder / stage.name / "history.jsonl").read_text().splitlines()]
    return round(before["minutes"] + sum(row["seconds"] for row in rows) / 60, 1)


def card(catalogue: assets.Catalogue, stages: tuple[Stage, ...], net: MaskDepthNet, report: dict, options: argparse.Namespace) -> dict:
    """What stands beside the weights: data, commit, command, settings, scores."""
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


@command_line
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=STAGES, default="full")
    parser.add_argument("--out", type=Path, help="default: runs/train, or runs/train-NAME with a weighting")
    parser.add_argument("--workers", type=int, default=0, help="loader processes; on two cores the training needs both itself")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weighting", metavar="JSON", help="loss weights, such as notebook 06 saves")
    parser.add_argument("--further", action="store_true", help="start with the shipped weights: only the stages that they have not had")
    parser.add_argument("--ship", action="store_true", help="also write assets/weights/small.safetensors and .json")
    options = parser.parse_args(arguments)
    options.out = options.out or assets.ROOT / "runs" / ("train" + (f"-{Path(options.weighting).stem}" if options.weighting else ""))
    options.commit, options.weights = commit(), widgets.read_weights(options.weighting) if options.weighting else LossWeights()
    catalogue, stages = assets.load_catalogue(), STAGES[options.profile]
    path = earlier(options.out, stages) if options.further else None
    if not path and (options.out / "earlier.json").exists():
        raise InputError(f"{options.out} was begun with --further: give that again, or another folder with --out.")
    options.started = started_at(options.out, options.commit)
    net, rest = None, stages
    if path:
        before = json.loads(path.with_suffix(".json").read_text())
        net, rest = training.load_weights(path), stages[len(before["stages"]) :]
        options.started = f"{before['commit']}, stage {rest[0].name} {options.started}"
    net = train(catalogue, rest, options.out, options.weights, options.workers, options.seed, net)
    sizes, count = ((64, 224), EVALUATED) if options.profile == "full" else ((64,), 16)
    print(f"trained in {minutes(options.out, stages)} minutes; evaluating", flush=True)
    report = evaluate.report(net, catalogue, sizes, count, options.seed)
    for target in (options.out, assets.WEIGHTS.parent) if options.ship else (options.out,):
        target.mkdir(parents=True, exist_ok=True)
        training.save_weights(net, target / assets.WEIGHTS.name, half=True)
        (target / assets.WEIGHTS.with_suffix(".json").name).write_text(
            json.dumps(card(catalogue, stages, net, report, options), indent=1) + "\n"
        )
        print("wrote", target / assets.WEIGHTS.name)
    print(evaluate.lines(report))


if __name__ == "__main__":
    sys.exit(main())
