"""Fine-tuning: a trained network goes on learning from one's own photos, in minutes.

    your backgrounds and cut-outs --+
                                    +--> batches in turn --> all weights learn --> better on yours:
    the park, with depth labels ----+                          kept, otherwise the start is kept

Replaying the park keeps the depth where the photos have no depth labels. Labels of a pretrained
model (`eva-helpers photos --depth`) have no scale: from them the network learns by the scale-and-
shift-invariant loss with gradient matching (Ranftl et al., 2020), while the park keeps the scale.
"""

import copy
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from eva_helpers.catalogue import Catalogue
from eva_helpers.data import Alternate, CompositeDataset, fixed_sample, make_loader
from eva_helpers.data.dataset import Tensors
from eva_helpers.evaluation import correlation, evaluate, summary
from eva_helpers.evaluation.baselines import calibrated_subtraction
from eva_helpers.evaluation.scoring import Batch, Method
from eva_helpers.files import InputError, write_json
from eva_helpers.model import (
    MaskDepthNet,
    inference,
    initial_net,
    load_weights,
    save_weights,
    weights_file,
)
from eva_helpers.training.config import TrainingConfig
from eva_helpers.training.folder import claim
from eva_helpers.training.processes import is_main, on_main
from eva_helpers.training.tracking import check_tracker
from eva_helpers.training.trainer import Trainer

BATCHES = {64: 16, 128: 8}  # size in px -> samples a batch
STEPS = 150  # of an epoch, for each size
EPOCHS = 40  # unless the time is over before
REPLAY = 0.25  # batches of the park for each of the photos
VARIED = {"augment": True, "variety": 0.3, "empty": 0.05}  # options of the training's samples
LR = 1e-3
COUNT = 256  # pairs that are scored
INVERTED = -0.3  # correlation of the network's depth with labels that are likely distances
MARK = "scale_free"  # key of batches whose depth labels have no scale
REPORTED = (
    "mask_iou", "mask_pooled_iou", "mask_dice",
    "depth_rmse_std", "depth_delta1", "depth_aligned_rmse_std",
)  # fmt: skip


@dataclass
class ScaleFree(Dataset[Tensors]):
    """The samples of a dataset, marked as having depth labels without a scale."""

    dataset: CompositeDataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Tensors:
        return self.dataset[index] | {MARK: torch.ones(())}


class FinetuningTrainer(Trainer):
    """Trains with `ssi` in place of the other terms of depth where labels have no scale."""

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        terms = self.terms(batch)
        weights = self.weights
        if MARK in batch:
            weights = replace(weights, ssim=0.0, edge=0.0, l1=0.0, ssi=1.0)
        return self.balance(terms, weights), terms


def training_batches(
    catalogue: Catalogue, park: Catalogue, strength: float, seed: int, replay: float = REPLAY,
    sizes: dict[int, int] | None = None, varied: dict[str, Any] | None = None,
) -> Alternate:  # fmt: skip
    """Batches of both catalogues' training splits at every size of `sizes`.

    `sizes` are as BATCHES, `varied` as VARIED, both the default.
    """
    loaders = []
    options = VARIED if varied is None else varied
    for size, batch in (sizes or BATCHES).items():
        for number, (source, share) in enumerate(((catalogue, 1.0), (park, replay))):
            own = seed + size + 1000 * number
            data = CompositeDataset(source, size=size, strength=strength, seed=own, **options)
            samples = round(share * STEPS) * batch
            if samples:
                marked = data if source.metric else ScaleFree(data)
                loaders.append(make_loader(marked, batch, samples=samples, seed=own))
    return Alternate(loaders)


def held_out(
    catalogue: Catalogue, split: str, size: int, strength: float, seed: int
) -> list[Batch]:
    """COUNT fixed composites of a split."""
    data = CompositeDataset(catalogue, split, split, size=size, strength=strength, seed=seed)
    return list(make_loader(fixed_sample(data, COUNT, seed), 32))


def finetune(
    catalogue: Catalogue, weights: str | os.PathLike, out: Path, *, park: Catalogue,
    minutes: float = 15.0, strength: float = 1.0, replay: float = REPLAY, seed: int = 0,
    sizes: dict[int, int] | None = None, varied: dict[str, Any] | None = None, lr: float = LR,
    resume: bool = True, say: Callable[[str], None] = print, log_with: str = "",
) -> dict:  # fmt: skip
    """Train `model.initial_net(weights)` further on `catalogue`; returns scores before and after.

    Writes `finetuned.safetensors` and `finetuned.json` in `out`, which also holds the training. The
    epoch is chosen on the validation split; if its mask IoU there is no better than the start's,
    the start is written. The test split chooses nothing. `strength` is that of the capture
    differences, `minutes` limits the training itself, `sizes` are as BATCHES and `varied` as
    VARIED, `log_with` names a tracker as in `Trainer`.

    Raises:
        InputError: weights, catalogue or tracker are unusable, or `out` holds another training.
    """
    check_tracker(log_with)
    if catalogue.metric and catalogue.z_near != park.z_near:
        raise InputError(
            f"{catalogue.folder} has depth 1 at {catalogue.z_near:g} m, the network at "
            f"{park.z_near:g} m: convert the labels, or leave them out."
        )
    start = initial_net(weights).eval()
    checksum = hashlib.sha256(weights_file(start)).hexdigest()[:12]
    begun = {"weights": checksum, "replay": replay}
    on_main(lambda: claim(out / "start.json", begun))
    size = max(sizes or BATCHES)
    validation = held_out(catalogue, "validation", size, strength, seed)
    if is_main() and fall_when_near(start, validation):
        say(
            f"the depth labels of {catalogue.folder} fall where the network sees things come "
            "nearer: if they are distances, store their inverse (near = 1)."
        )
    chosen_by = validation if catalogue.metric else [without_depth(batch) for batch in validation]
    batches = training_batches(catalogue, park, strength, seed, replay, sizes, varied)
    config = TrainingConfig(epochs=EPOCHS, lr=lr, ema=0.995, seed=seed, minutes=minutes)
    trainer = FinetuningTrainer(
        copy.deepcopy(start).train(), batches, chosen_by, out, config,
        z_near=catalogue.z_near, resume=resume, say=say, log_with=log_with,
    )  # fmt: skip
    trainer.fit()

    def judged() -> dict:
        trained = load_weights(trainer.folder / "best.safetensors")
        sets = {
            "your validation split": validation,
            "your test split": held_out(catalogue, "test", size, strength, seed),
            "the park's validation split": held_out(park, "validation", 64, 1.0, seed),
        }
        methods = {
            "before": inference(start),
            "after": inference(trained),
            "subtraction": calibrated_subtraction(catalogue, size, seed, strength),
        }
        scores = compared(methods, sets, park.z_near)
        if not catalogue.metric:
            for name in ("your validation split", "your test split"):
                scores[name] = {who: scale_free(row) for who, row in scores[name].items()}
        yours = scores["your validation split"]
        better = yours["after"]["mask_iou"] > yours["before"]["mask_iou"]
        return write(start if not better else trained, out, {"better": better, "scores": scores})

    return on_main(judged)


def compared(
    methods: dict[str, Method], sets: dict[str, list[Batch]], z_near: float
) -> dict[str, dict]:
    """Mean scores: set -> method -> score."""
    return {
        name: {who: shown(method, batches, z_near) for who, method in methods.items()}
        for name, batches in sets.items()
    }


def shown(method: Method, batches: list[Batch], z_near: float) -> dict[str, float]:
    """The scores of REPORTED that there are."""
    scores = summary(evaluate(method, batches, z_near, full=True))
    return {name: scores[name] for name in REPORTED if name in scores}


def scale_free(scores: dict[str, float]) -> dict[str, float]:
    """Without the scores that compare a scale."""
    return {k: v for k, v in scores.items() if "depth" not in k or "aligned" in k}


def fall_when_near(net: MaskDepthNet, batches: list[Batch]) -> bool:
    """Whether labels seem to have the other polarity, for most images."""
    method = inference(net)
    found = []
    for batch in batches:
        depth = method(batch["background"], batch["image"])[1]
        found.append(correlation(depth, batch["depth"])[batch["depth"].flatten(1).any(1)])
    values = torch.cat(found)
    return len(values) > 0 and values.median().item() < INVERTED


def without_depth(batch: Batch) -> Batch:
    """The batch without depth labels."""
    return batch | {"depth": torch.zeros_like(batch["depth"])}


def write(net: MaskDepthNet, out: Path, report: dict) -> dict:
    """Store network and report."""
    save_weights(net, out / "finetuned.safetensors")
    write_json(out / "finetuned.json", report)
    return report
