"""Training in stages of growing photos: the recipe of the shipped weights."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import make_loader, set_epoch
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import read_json
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.config import ModelConfig
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.parts import with_refiner, with_sizes
from eva_helpers.training import Trainer, TrainingConfig
from experiments.common import DATA, held_out, say

QUARTERED = 0.5  # share of steps in which the refiner starts from a quarter of the size
EMA = 0.998  # decay of the averaged weights


@dataclass(frozen=True)
class Stage:
    """One training: `parts` maps the side in px to (batch size, samples an epoch).

    `sized` as in ModelConfig, `plain` and `boxes` as in CompositeDataset. `mask_only`: the mask
    decoder alone is trained, so that the depth stays as it is. `blend` is the share of the stage's
    weights in the mean of those before and after it, which keeps more of what was learned before
    (Wortsman et al., 2022). With `refiner` channels, the refiner alone is trained, on masks of the
    network as it was before.
    """

    name: str
    parts: dict[int, tuple[int, int]]
    epochs: int
    lr: float
    sized: bool = False
    plain: float = 0.0
    mask_only: bool = False
    blend: float = 1.0
    boxes: float = 0.0
    refiner: int = 0


FULL = (
    Stage("64px", {64: (16, 16384)}, epochs=8, lr=3e-3),
    Stage("mixed", {64: (16, 3072), 128: (8, 1800), 224: (4, 1400)}, epochs=8, lr=2e-3),
    Stage(
        "sized", {64: (16, 6144), 128: (8, 1800), 224: (4, 1400)}, epochs=15, lr=2e-3, sized=True
    ),
    Stage(
        "plain",
        {64: (16, 4096), 128: (8, 1600), 224: (4, 1200)},
        epochs=5,
        lr=4e-4,
        sized=True,
        plain=0.25,
        mask_only=True,
        blend=0.6,
    ),
    Stage("refiner", {224: (4, 2000)}, epochs=5, lr=3e-3, plain=0.2, boxes=0.3, refiner=24),
)
SMOKE = (
    Stage("64px", {64: (8, 16)}, epochs=1, lr=1e-3),
    Stage("mixed", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3),
    Stage("sized", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3, sized=True),
    Stage("plain", {64: (8, 8)}, epochs=1, lr=1e-3, sized=True, plain=0.5, mask_only=True),
    Stage("refiner", {64: (4, 8)}, epochs=1, lr=1e-3, refiner=8),
)


class MaskTrainer(Trainer):
    """Trains the mask decoder alone: encoder and depth decoder stay to the bit as they are."""

    def __init__(self, net: MaskDepthNet, *arguments: Any, **options: Any) -> None:
        net.requires_grad_(False)
        net.mask_decoder.requires_grad_(True)
        super().__init__(net, *arguments, **options)

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """As Trainer, while the rest keeps the statistics of its normalisations."""
        net = self.accelerator.unwrap_model(self.net)
        net.encoder.eval()
        net.depth_decoder.eval()
        return super().predict(batch)


class FromHalf(MaskDepthNet):
    """Predicts the mask from photos of half or a quarter of their size, and refines it.

    For training the refiner: only it learns. A quarter needs two refinements, the first of which
    gets no gradient. In evaluation mode the photos are halved.
    """

    def __init__(self, config: ModelConfig, start: MaskDepthNet | None = None) -> None:
        super().__init__(config)
        if start is not None:
            self.load_state_dict(start.state_dict())
        self.requires_grad_(False)
        self.refiner.requires_grad_(True)

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        for part in (self.encoder, self.mask_decoder, self.depth_decoder):
            part.eval()
        with torch.no_grad():
            background = self.match(background, image)
            fourth = self.training and bool(torch.rand(()) < QUARTERED)
            sizes = (4, 2) if fourth else (2,)
            mask, depth = self._mask_at(background, image, sizes[0])
            if fourth:
                half = [F.avg_pool2d(photo, 2) for photo in (background, image)]
                mask = self.refiner(*half, enlarged(mask, half[0])).sigmoid()
        return self.refiner(background, image, enlarged(mask, image)), enlarged(depth, image)

    def _mask_at(self, background: Tensor, image: Tensor, parts: int) -> tuple[Tensor, Tensor]:
        """Mask and depth of photos whose sides are divided by `parts`."""
        small = (F.avg_pool2d(photo, parts) for photo in (background, image))
        mask_logits, skips, guides = self._mask(*small)
        mask = mask_logits.sigmoid()
        return mask, self.predict_depth(skips, guides, mask)


def enlarged(maps: Tensor, photo: Tensor) -> Tensor:
    """Maps (B, 1, h, w) at the size of a photo, as `images.resize` enlarges."""
    return F.interpolate(maps, photo.shape[2:], mode="bilinear", align_corners=False)


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
    """Run all stages, each from the last weights of the one before; returns the last one's.

    The first stage starts from `net`, or from random weights. Every stage has a folder in `folder`
    and resumes after its last epoch.
    """
    for number, stage in enumerate(stages):
        torch.manual_seed(seed)
        net = net.train() if net else MaskDepthNet(ModelConfig())
        if stage.sized and not net.config.sized:
            net = with_sizes(net)
        config = TrainingConfig(epochs=stage.epochs, lr=stage.lr, ema=EMA, seed=seed + number)
        start = copy.deepcopy(net)
        net = run_stage(catalogue, stage, net, folder / stage.name, config, weights, workers, seed)
        net = blended(start, net, stage.blend)
    assert net is not None
    return net


def blended(before: MaskDepthNet, after: MaskDepthNet, share: float) -> MaskDepthNet:
    """`after`, with the mean of both networks' weights; `share` is that of `after`."""
    old = before.state_dict()
    for name, value in after.state_dict().items():
        if value.is_floating_point() and share < 1:
            value.lerp_(old[name].to(value), 1 - share)
    return after


def run_stage(
    catalogue: Catalogue,
    stage: Stage,
    net: MaskDepthNet,
    folder: Path,
    config: TrainingConfig,
    weights: LossWeights,
    workers: int,
    seed: int,
) -> MaskDepthNet:
    """Train `net` on the stage's pairs, with validation at its largest size."""
    size = max(stage.parts)
    validation = held_out(catalogue, size, 192 if size < 128 else 96, seed=seed)
    batches = loaders(catalogue, stage, workers, seed)
    sizes = ", ".join(map(str, stage.parts))
    say(f"stage {stage.name}: {stage.epochs} epochs of {len(batches)} steps, sizes {sizes} px")
    options = {"z_near": catalogue.z_near, "resume": True, "say": say}
    kind = MaskTrainer if stage.mask_only else Trainer
    if stage.mask_only or stage.refiner:
        weights = replace(weights, depth=0.0)
    if stage.refiner:
        start = with_refiner(net, stage.refiner)
        net = FromHalf(start.config, start)
    trainer = kind(net, batches, validation, folder, config, weights, **options)
    trainer.fit()
    plain = MaskDepthNet(net.config)
    plain.load_state_dict(trainer.averaged_net.state_dict())
    return plain.eval()


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
