"""Variants of the network, the data, the losses and the training, each trained alike: `make variants`.

Every row changes one thing of the base. Scores are of the *validation* split (scenes and dogs that no training sees; the test split
stays untouched) at 64 px with capture differences at strength 1. Rows that are in the results file already are not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from train_shipped import DATA, commit, held_out

from eva_helpers import assets, dataset, training
from eva_helpers.folders import put
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, ModelConfig, multiply_adds, parameters

RESULTS = Path(__file__).parent / "results" / "variants.json"
SIZE, BATCH, EPOCHS, VALIDATION = 64, 16, 4, 512
COMPOSITES = DATA | {"true_pairs": 0.0}  # what all are scored on is composites
BASE = ModelConfig()


class Supervised(MaskDepthNet):
    """Deep supervision: both decoders also answer at 1/4, and those answers are kept for the loss."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.heads = nn.ModuleList(nn.Conv2d(config.decoder[1], 1, 1) for _ in range(2))
        for which, decoder in enumerate((self.mask_decoder, self.depth_decoder)):
            decoder.ups[1].register_forward_hook(lambda module, inputs, output, which=which: self.coarse.__setitem__(which, output))
        self.coarse: dict[int, torch.Tensor] = {}

    def auxiliary(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss of the answers at 1/4."""
        maps = [head(self.coarse[which].float()) for which, head in enumerate(self.heads)]
        mask, depth = (F.adaptive_avg_pool2d(batch[name], maps[0].shape[2:]) for name in ("mask", "depth"))
        return 0.3 * F.binary_cross_entropy_with_logits(maps[0], mask) + 0.7 * F.l1_loss(maps[1].sigmoid(), depth)


class SupervisedTrainer(training.Trainer):
    """Adds the auxiliary loss."""

    def losses(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, terms = super().losses(batch)
        return loss + 0.4 * self.net.auxiliary(batch), terms


class ConstantTrainer(training.Trainer):
    """Every step at about the mean rate of the one-cycle schedule."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr / 2
        self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)


TRAINERS = {"plain": training.Trainer, "supervised": SupervisedTrainer, "constant": ConstantTrainer}


def variants() -> dict[str, dict]:
    """Name -> what differs from the base: `model`, `data`, `weights`, `training` or `trainer`."""
    return {
        "base": {},
        "base, another seed": {"seed": 1},
        "network: background not matched": {"model": {"matched": False}},
        "network: depth not layered": {"model": {"layered": False}},
        "network: fusion both": {"model": {"fusion": "both"}},
        "network: fusion difference alone": {"model": {"fusion": "difference"}},
        "network: one layer of detail": {"model": {"detail_layers": 1}},
        "network: narrower": {"model": {"widths": (16, 32, 56, 88, 112), "decoder": (24, 32, 48, 64)}},
        "network: wider decoders": {"model": {"decoder": (48, 64, 96, 128), "detail": 32}},
        "network: mask seen by the depth": {"model": {"cross_talk": True}},
        "network: no coordinates": {"model": {"coordinates": False}},
        "network: deep supervision": {"trainer": "supervised"},
        "network: resnet18": {"model": {"encoder": "resnet18"}},
        "network: resnet34": {"model": {"encoder": "resnet34"}},
        "data: with true pairs": {"data": {"true_pairs": DATA["true_pairs"]}},
        "data: no variety": {"data": {"variety": 0.0}},
        "data: no capture differences": {"data": {"strength": 0.0}},
        "losses: no Dice (as the source)": {"weights": {"dice": 0.0}},
        "losses: L1 0.1 (as the source)": {"weights": {"l1": 0.1}},
        "losses: scale-and-shift-invariant, L1 0.5": {"weights": {"ssi": 1.0, "l1": 0.5, "ssim": 0.0, "edge": 0.0}},
        "losses: mask alone": {"weights": {"mask": 1.0, "depth": 0.0}},
        "losses: depth alone": {"weights": {"mask": 0.0, "depth": 1.0}},
        "losses: uncertainty": {"training": {"balance": "uncertainty"}},
        "losses: geometric": {"training": {"balance": "geometric"}},
        "training: batches of 32": {"batch": 32},
        "training: constant learning rate": {"trainer": "constant"},
        "training: no averaged weights": {"training": {"ema": 0.0}},
        "training: no averaged weights, another seed": {"training": {"ema": 0.0}, "seed": 1},
        "training: weights averaged over 30 steps": {"training": {"ema": 1 - 1 / 30}},
        "training: weights averaged over 30 steps, another seed": {"training": {"ema": 1 - 1 / 30}, "seed": 1},
    }


def make(change: dict, loader, validation: list, z_near: float) -> training.Trainer:
    """A trainer for one variant, in a folder that its caller removes."""
    kind, seed = change.get("trainer", "plain"), change.get("seed", 0)
    torch.manual_seed(seed)
    net = (Supervised if kind == "supervised" else MaskDepthNet)(replace(BASE, **change.get("model", {})))
    settings = training.TrainingConfig(**({"epochs": EPOCHS, "lr": 3e-3, "ema": 0.99, "seed": seed} | change.get("training", {})))
    weights, quiet = LossWeights(**change.get("weights", {})), {"z_near": z_near, "say": lambda line: None}
    return TRAINERS[kind](net, loader, validation, Path(tempfile.mkdtemp()), settings, weights, **quiet)


def train(catalogue: assets.Catalogue, change: dict, samples: int) -> dict:
    """Train one variant and score it."""
    seed, start = change.get("seed", 0), time.perf_counter()
    pairs = dataset.CompositeDataset(catalogue, size=SIZE, augment=True, seed=seed, **(COMPOSITES | change.get("data", {})))
    validation = list(held_out(catalogue, SIZE, VALIDATION, batch=64))
    loader = dataset.loader(pairs, change.get("batch", BATCH), samples=samples, seed=seed)
    trainer = make(change, loader, validation, catalogue.z_near)
    trainer.fit()
    shutil.rmtree(trainer.folder)
    costs = {"parameters": parameters(trainer.net), "multiply_adds": multiply_adds(trainer.net, SIZE)}
    scores = {key: value for key, value in trainer.history[-1].items() if key.startswith(("mask_", "depth_"))}
    return scores | costs | {"minutes": round((time.perf_counter() - start) / 60, 2), "change": change}


def speeds(changes: dict[str, dict], batch: dict, rounds: int = 5, steps: int = 6) -> dict[str, float]:
    """Samples a second of every variant's training step: the median of some rounds in which they take turns; machines have moods."""
    trainers = {name: make(change, [batch] * 1000, [], 1.0) for name, change in changes.items()}
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            part = {key: value[: changes[name].get("batch", BATCH)] for key, value in batch.items()}
            start = time.perf_counter()
            for _ in range(steps):
                trainer.step(part)
            rates[name].append(steps * len(part["image"]) / (time.perf_counter() - start))
    for trainer in trainers.values():
        shutil.rmtree(trainer.folder)
    return {name: round(float(np.median(found)), 1) for name, found in rates.items()}


def table(results: dict[str, dict]) -> str:
    """One line a variant."""
    width = max(map(len, results))
    lines = [f"{'':<{width}}  mask IoU  RMSE/std  delta1  M parameters  M multiply-adds  samples/s"]
    for name, row in results.items():
        lines.append(
            f"{name:<{width}}{row['mask_iou']:>10.4f}{row['depth_rmse_std']:>10.4f}{row['depth_delta1']:>8.4f}"
            f"{row['parameters'] / 1e6:>14.2f}{row['multiply_adds'] / 1e6:>17.0f}{row.get('samples_per_second', float('nan')):>11.0f}"
        )
    commits = sorted({row["commit"] for row in results.values()})
    return "\n".join([*lines, f"measured at commit {', '.join(commits)}"])


def write(path: Path, settings: dict, results: dict[str, dict]) -> None:
    """Store the rows; a run that is stopped meanwhile loses none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, (json.dumps({"settings": settings, "variants": results}, indent=1) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1536, help=f"per epoch; there are {EPOCHS} (default: %(default)s)")
    parser.add_argument("--only", help="variants whose name contains this")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    catalogue, made_at = assets.load_catalogue(), commit()
    stored = json.loads(options.json.read_text()) if options.json.exists() else {}
    settings = {
        "samples": EPOCHS * options.samples,
        "size": SIZE,
        "batch": BATCH,
        "data": COMPOSITES,
        "weights": asdict(LossWeights()),
        "base": BASE.to_dict(),
    }
    if stored:  # files that lack a switch are older than it
        stored["settings"]["base"] = ModelConfig.from_dict(stored["settings"]["base"]).to_dict()
    if stored and stored["settings"] != json.loads(json.dumps(settings)):
        print(f"error: {options.json} was made with other settings: remove it, or give another --json.", file=sys.stderr)
        return 2
    results = stored.get("variants", {})
    for name, change in variants().items():
        if name in results or (options.only and options.only not in name):
            continue
        results[name] = train(catalogue, change, options.samples) | {"commit": made_at}
        print(table({name: results[name]}).splitlines()[1], flush=True)
        write(options.json, settings, results)
    if not all("samples_per_second" in row for row in results.values()):
        changes = {name: variants()[name] for name in results}
        pairs = dataset.CompositeDataset(catalogue, size=SIZE, augment=True, **COMPOSITES)
        batch = next(iter(dataset.loader(pairs, max(change.get("batch", BATCH) for change in changes.values()), samples=64)))
        for name, rate in speeds(changes, batch).items():
            results[name]["samples_per_second"] = rate
        write(options.json, settings, results)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
