"""Training in stages of growing photos: the recipe of the shipped weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import make_loader, set_epoch
from eva_helpers.files import read_json
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.net import MaskDepthNet, ModelConfig, with_sizes
from eva_helpers.model.weights import load_weights
from eva_helpers.training import Trainer, TrainingConfig
from experiments.common import DATA, held_out, say

EMA = 0.998  # decay of the averaged weights


@dataclass(frozen=True)
class Stage:
    """One training: `parts` maps the side in px to (batch size, samples an epoch).

    `sized` as in ModelConfig, `plain` and `boxes` as in CompositeDataset.
    """

    name: str
    parts: dict[int, tuple[int, int]]
    epochs: int
    lr: float
    sized: bool = False
    plain: float = 0.0
    boxes: float = 0.0


FULL = (
    Stage("64px", {64: (16, 16384)}, epochs=8, lr=3e-3),
    Stage("mixed", {64: (16, 3072), 128: (8, 1800), 224: (4, 1400)}, epochs=8, lr=2e-3),
    Stage(
        "boxes",
        {64: (16, 3072), 128: (8, 1600), 224: (4, 2000)},
        epochs=8,
        lr=2e-3,
        plain=0.2,
        boxes=0.5,
    ),
)
SMOKE = (
    Stage("64px", {64: (8, 16)}, epochs=1, lr=1e-3),
    Stage("mixed", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3),
    Stage("boxes", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3, plain=0.5, boxes=0.5),
)


class Alternate:
    """Several loaders as one: the batches of all of them, evenly interleaved."""

    def __init__(self, loaders: list[DataLoader]) -> None:
        self.loaders = loaders
        turns = [
            ((number + 0.5) / len(loader), which)
            for which, loader in enumerate(loaders)
            for number in range(len(loader))
        ]
        self.order = [which for _, which in sorted(turns)]

    def __len__(self) -> int:
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of `epoch`, in all loaders."""
        for loader in self.loaders:
            set_epoch(loader, epoch)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        batches = [iter(loader) for loader in self.loaders]
        return (next(batches[which]) for which in self.order)


def loaders(catalogue: Catalogue, stage: Stage, workers: int, seed: int) -> Alternate:
    """Training pairs of every size of the stage, made as DATA says, with all augmentations."""
    made = []
    for size, (batch, samples) in stage.parts.items():
        data = DATA | {"plain": stage.plain, "boxes": stage.boxes}
        pairs = CompositeDataset(catalogue, size=size, augment=True, seed=seed + size, **data)
        made.append(make_loader(pairs, batch, samples=samples, workers=workers, seed=seed + size))
    return Alternate(made)


def train(
    catalogue: Catalogue,
    stages: tuple[Stage, ...],
    folder: Path,
    weights: LossWeights,
    workers: int = 0,
    seed: int = 0,
    net: MaskDepthNet | None = None,
) -> MaskDepthNet:
    """Run all stages, each from the last weights of the one before; returns the last one's best.

    The first stage starts from `net`, or from random weights. Every stage has a folder in `folder`
    and resumes after its last epoch.
    """
    for number, stage in enumerate(stages):
        torch.manual_seed(seed)
        net = net.train() if net else MaskDepthNet(ModelConfig())
        if stage.sized and not net.config.sized:
            net = with_sizes(net)
        config = TrainingConfig(epochs=stage.epochs, lr=stage.lr, ema=EMA, seed=seed + number)
        run_stage(catalogue, stage, net, folder / stage.name, config, weights, workers, seed)
        kept = "best" if stage is stages[-1] else "last"
        net = load_weights(folder / stage.name / f"{kept}.safetensors")
    assert net is not None
    return net


def run_stage(
    catalogue: Catalogue,
    stage: Stage,
    net: MaskDepthNet,
    folder: Path,
    config: TrainingConfig,
    weights: LossWeights,
    workers: int,
    seed: int,
) -> None:
    """Train `net` on the stage's pairs, with validation at its largest size."""
    size = max(stage.parts)
    validation = held_out(catalogue, size, 192 if size < 128 else 96, seed=seed)
    batches = loaders(catalogue, stage, workers, seed)
    sizes = ", ".join(map(str, stage.parts))
    say(f"stage {stage.name}: {stage.epochs} epochs of {len(batches)} steps, sizes {sizes} px")
    options = {"z_near": catalogue.z_near, "resume": True, "say": say}
    Trainer(net, batches, validation, folder, config, weights, **options).fit()


def before(folder: Path) -> dict:
    """The card of the weights that `folder` continues from (`--further`); else one of no stages."""
    path = folder / "earlier.json"
    return read_json(path) if path.exists() else {"minutes": 0, "stages": []}


def minutes(folder: Path, stages: tuple[Stage, ...]) -> float:
    """How long all training epochs took, without interruptions and validation.

    Those of the weights that the training continues from are included.
    """
    earlier = before(folder)
    seconds = 0.0
    for stage in stages[len(earlier["stages"]) :]:
        history = (folder / stage.name / "history.jsonl").read_text(encoding="utf-8")
        seconds += sum(json.loads(line)["seconds"] for line in history.splitlines())
    return round(earlier["minutes"] + seconds / 60, 1)
