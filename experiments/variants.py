"""Variants of the network, the data, the losses and the training, trained alike: `make variants`.

Every row changes one thing of the base. Scores are of the *validation* split (scenes and dogs that
no training sees; the test split stays untouched) at 64 px, with capture differences at strength 1.
Rows that the results file already holds are not trained again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, replace

import numpy as np
import torch
from torch.utils.data import DataLoader

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import make_loader
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import command_line, output_file
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.config import ModelConfig
from eva_helpers.model.profile import multiply_adds, parameters
from eva_helpers.training import Trainer, TrainingConfig
from experiments.changes import BATCH, VARIANTS, Variant
from experiments.common import DATA, RESULTS, Results, commit, held_out, quiet, say

SIZE = 64  # px
EPOCHS = 4
VALIDATION = 512
COMPOSITES = DATA | {"true_pairs": 0.0}  # the validation pairs are composites too
BASE = ModelConfig()
TRAINING = {"epochs": EPOCHS, "lr": 3e-3, "ema": 0.99}


def settings(samples: int) -> dict:
    """What all rows of a results file have in common; `samples` of the whole training."""
    return {
        "samples": samples,
        "size": SIZE,
        "batch": BATCH,
        "data": COMPOSITES,
        "weights": asdict(LossWeights()),
        "base": BASE.to_dict(),
    }


def make_trainer(
    variant: Variant, loader: DataLoader, validation: list[Batch], z_near: float
) -> Trainer:
    """A trainer for one variant, in a new folder that the caller removes."""
    torch.manual_seed(variant.seed)
    net = variant.network(replace(BASE, **variant.model))
    config = TrainingConfig(**TRAINING | {"seed": variant.seed} | variant.training)
    weights = LossWeights(**variant.weights)
    folder = tempfile.mkdtemp()
    options = {"z_near": z_near, "say": quiet}
    return variant.trainer(net, loader, validation, folder, config, weights, **options)


def train(catalogue: Catalogue, variant: Variant, samples: int) -> dict:
    """Train one variant; its scores, costs, minutes and change."""
    start = time.perf_counter()
    data = COMPOSITES | variant.data
    pairs = CompositeDataset(catalogue, size=SIZE, augment=True, seed=variant.seed, **data)
    validation = list(held_out(catalogue, SIZE, VALIDATION, batch=64))
    loader = make_loader(pairs, variant.batch, samples=samples, seed=variant.seed)
    trainer = make_trainer(variant, loader, validation, catalogue.z_near)
    trainer.fit()
    shutil.rmtree(trainer.folder)
    last = trainer.history[-1]
    scores = {key: value for key, value in last.items() if key.startswith(("mask_", "depth_"))}
    return scores | {
        "parameters": parameters(trainer.net),
        "multiply_adds": multiply_adds(trainer.net, SIZE),
        "minutes": round((time.perf_counter() - start) / 60, 2),
        "change": variant.change(),
    }


def speeds(names: list[str], batch: Batch, rounds: int = 5, steps: int = 6) -> dict[str, float]:
    """Samples a second of every variant's training step.

    The median of some rounds in which the variants take turns, because a machine's speed varies.
    """
    keep_freed_memory()
    trainers = {name: make_trainer(VARIANTS[name], [batch] * 1000, [], 1.0) for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            part = {key: value[: VARIANTS[name].batch] for key, value in batch.items()}
            start = time.perf_counter()
            for _ in range(steps):
                trainer.step(part)
            rates[name].append(steps * len(part["image"]) / (time.perf_counter() - start))
    for trainer in trainers.values():
        shutil.rmtree(trainer.folder)
    return {name: round(float(np.median(found)), 1) for name, found in rates.items()}


def add_speeds(results: Results, catalogue: Catalogue) -> None:
    """Measure the speeds of all rows together, so that they can be compared."""
    say("measuring the speed of training")
    names = list(results.rows)
    pairs = CompositeDataset(catalogue, size=SIZE, augment=True, **COMPOSITES)
    largest = max(VARIANTS[name].batch for name in names)
    batch = next(iter(make_loader(pairs, largest, samples=64)))
    rates = speeds(names, batch)
    results.update(
        {name: row | {"samples_per_second": rates[name]} for name, row in results.rows.items()}
    )


def table(rows: dict[str, dict]) -> str:
    """One line a variant."""
    width = max(map(len, rows))
    heads = "  mask IoU  RMSE/std  delta1  M parameters  M multiply-adds  samples/s"
    lines = [" " * width + heads]
    for name, row in rows.items():
        speed = row.get("samples_per_second", float("nan"))
        lines.append(
            f"{name:<{width}}{row['mask_iou']:>10.4f}{row['depth_rmse_std']:>10.4f}"
            f"{row['depth_delta1']:>8.4f}{row['parameters'] / 1e6:>14.2f}"
            f"{row['multiply_adds'] / 1e6:>17.0f}{speed:>11.0f}"
        )
    commits = sorted({row["commit"] for row in rows.values()})
    return "\n".join([*lines, f"measured at commit {', '.join(commits)}"])


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--samples", type=int, default=1536, help=f"per epoch of {EPOCHS} (default: %(default)s)"
    )
    parser.add_argument("--only", default="", help="variants whose name contains this")
    parser.add_argument(
        "--json", type=output_file, default=RESULTS / "variants.json", help="(default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    results = Results(options.json, settings(EPOCHS * options.samples), "variants")
    catalogue = load_catalogue()
    made_at = commit()
    for name, variant in VARIANTS.items():
        if name not in results.rows and options.only in name:
            row = train(catalogue, variant, options.samples) | {"commit": made_at}
            results.update({name: row})
            say(table({name: row}).splitlines()[1])
    if not all("samples_per_second" in row for row in results.rows.values()):
        add_speeds(results, catalogue)
    print(table(results.rows))


if __name__ == "__main__":
    sys.exit(main())
