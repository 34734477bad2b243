"""Training in stages of growing photos: the recipe of the shipped weights."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import Alternate, make_loader
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import read_json
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.config import ModelConfig
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.parts import with_refiner, with_sizes
from eva_helpers.training import Trainer, TrainingConfig
from eva_helpers.training.finetuning import FinetuningTrainer, ScaleFree
from eva_helpers.worlds import with_objects, write_worlds
from experiments.common import DATA, held_out, say

QUARTERED = 0.5  # share of steps in which the refiner starts from a quarter of the size
PARTS = ("encoder", "mask_decoder", "depth_decoder")
EMA = 0.998  # decay of the averaged weights


@dataclass(frozen=True)
class Stage:
    """One training: `parts` maps the side in px to (batch size, samples an epoch).

    `sized` as in ModelConfig; `plain`, `boxes`, `resized` as in CompositeDataset. `only` "mask" or
    "depth": its decoder alone is trained, so that the other task stays as it is. `worlds`: as many
    samples from `rendered` worlds for each of the park, from which depth is learned without its
    scale. `blend` is the share of the stage's weights
    in the mean of those before and after it, which keeps more of what was learned before (Wortsman
    et al., 2022). With `refiner` channels, the refiner alone is trained, on masks of the network as
    it was before.
    """

    name: str
    parts: dict[int, tuple[int, int]]
    epochs: int
    lr: float
    sized: bool = False
    plain: float = 0.0
    only: str = ""
    blend: float = 1.0
    boxes: float = 0.0
    refiner: int = 0
    worlds: float = 0.0
    rendered: int = 1600
    resized: float = 0.0


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
        only="mask",
        blend=0.6,
    ),
    Stage("refiner", {224: (4, 2000)}, epochs=5, lr=3e-3, plain=0.2, boxes=0.3, refiner=24),
    Stage(
        "worlds",
        {64: (16, 4096), 128: (8, 800), 224: (4, 600)},
        epochs=12,
        lr=1e-3,
        sized=True,
        plain=0.1,
        worlds=0.5,
        resized=0.3,
    ),
)
SMOKE = (
    Stage("64px", {64: (8, 16)}, epochs=1, lr=1e-3),
    Stage("mixed", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3),
    Stage("sized", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3, sized=True),
    Stage("plain", {64: (8, 8)}, epochs=1, lr=1e-3, sized=True, plain=0.5, only="mask"),
    Stage("refiner", {64: (4, 8)}, epochs=1, lr=1e-3, refiner=8),
    Stage(
        "worlds", {64: (8, 8), 96: (4, 8)}, epochs=1, lr=1e-3, sized=True, worlds=1.0, rendered=10
    ),
)


class DecoderTrainer(FinetuningTrainer):
    """Trains the decoder of one task alone: all else stays to the bit as it is."""

    def __init__(self, net: MaskDepthNet, *arguments: Any, task: str, **options: Any) -> None:
        self.frozen = [name for name in PARTS if name != f"{task}_decoder"]
        for name in self.frozen:
            getattr(net, name).requires_grad_(False)
        if net.refiner is not None:
            net.refiner.requires_grad_(False)
        super().__init__(net, *arguments, **options)

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """As Trainer, while the rest keeps the statistics of its normalisations."""
        net = self.accelerator.unwrap_model(self.net)
        for name in self.frozen:
            getattr(net, name).eval()
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


def loaders(
    catalogue: Catalogue, stage: Stage, workers: int, seed: int, worlds: Catalogue | None = None
) -> Alternate:
    """Training pairs of every size of the stage, made as DATA says, with all augmentations."""
    made = []
    sources = [(catalogue, 1.0)] + ([(worlds, stage.worlds)] if worlds else [])
    for size, (batch, samples) in stage.parts.items():
        for number, (source, share) in enumerate(sources):
            resized = 1.0 if number else stage.resized  # no height is known in a world
            data = DATA | {"plain": stage.plain, "boxes": stage.boxes, "resized": resized}
            own = seed + size + 1000 * number
            pairs = CompositeDataset(source, size=size, augment=True, seed=own, **data)
            # the cameras of the worlds differ, which no photo tells: their depth has no scale
            marked = ScaleFree(pairs) if number else pairs
            count = round(share * samples)
            made.append(make_loader(marked, batch, samples=count, workers=workers, seed=own))
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
    worlds = None
    if stage.worlds:
        rendered = write_worlds(folder.parent / "rendered", stage.rendered, seed, park=catalogue)
        worlds = with_objects(rendered, catalogue)
    batches = loaders(catalogue, stage, workers, seed, worlds)
    sizes = ", ".join(map(str, stage.parts))
    say(f"stage {stage.name}: {stage.epochs} epochs of {len(batches)} steps, sizes {sizes} px")
    options: dict[str, Any] = {"z_near": catalogue.z_near, "resume": True, "say": say}
    kind: type[Trainer] = FinetuningTrainer if worlds else Trainer
    if stage.only:
        kind = DecoderTrainer
        options["task"] = stage.only
    if stage.only == "mask" or stage.refiner:
        weights = replace(weights, depth=0.0)
    if stage.only == "depth":
        weights = replace(weights, mask=0.0)
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
