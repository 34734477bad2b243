"""Train the narrow networks of notebook 06, whose loss weights matter: `make bank`.

One network with one decoder for both tasks, for each weighting of the bank, all from the same
random weights and on the same samples, stored after several numbers of steps. For more seeds, the
networks for the shares of the mask are trained again, for the shortest time: how far mask and depth
move with their weights, and whether in its direction, is reported for each. Beside them, the
project's network, trained further with the same shares from the shipped weights.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from pathlib import Path

import torch
from scipy.stats import spearmanr

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import make_loader
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.model import NarrowNet, load_weights
from eva_helpers.model.profile import parameters
from eva_helpers.paths import BANK, WEIGHTS
from eva_helpers.training import Trainer, TrainingConfig
from eva_helpers.tuning.bank import MASK_SHARES, Bank, at_share, trained_weightings
from experiments.common import RESULTS, commit, held_out, say
from experiments.narrow_training import (
    BATCH,
    EMPTY,
    LR,
    SCORES,
    SIZE,
    STRENGTH,
    WIDTHS,
    Samples,
    fixed,
    score,
    train,
)

LENGTHS = (300, 900, 2700)  # steps


def train_bank(samples: Samples, lengths: tuple[int, ...], seed: int) -> Bank:
    """A network for every weighting of a bank."""
    found = []
    for name, weights in trained_weightings().items():
        start = time.perf_counter()
        found.append(train(fixed(weights), samples.batches(seed), lengths, seed))
        say(f"{name:<10} {lengths[-1]} steps, {time.perf_counter() - start:.0f} s")
    stacked = {
        name: torch.stack(
            [torch.stack([net[k][name] for net in found]) for k in range(len(lengths))]
        )
        for name in found[0][0]
    }
    notes = {"commit": commit(), "seed": seed, "batch": BATCH, "lr": LR, "size": SIZE}
    return Bank(lengths, WIDTHS, stacked, notes)


def table(bank: Bank, validation: list[Batch], z_near: float) -> dict[str, dict[str, dict]]:
    """SCORES of all networks, by steps and weighting."""
    rows: dict[str, dict[str, dict]] = {}
    for steps in bank.lengths:
        nets = {name: bank.net(steps, number) for number, name in enumerate(bank.weightings)}
        rows[str(steps)] = {name: score(net, validation, z_near) for name, net in nets.items()}
    return rows


def spread(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """How the scores move with the mask's share: ranges, and rank correlations with the weight.

    The correlation of the depth is that of its error with the share of the depth, times -1.
    """
    shares = [f"mask {share:g}" for share in MASK_SHARES]
    iou, error = ([rows[name][key] for name in shares] for key in SCORES)
    return {
        "mask IoU, range": max(iou) - min(iou),
        "depth RMSE / std, range": max(error) - min(error),
        "mask, rank correlation": float(spearmanr(MASK_SHARES, iou).statistic),
        "depth, rank correlation": float(spearmanr(MASK_SHARES, error).statistic),
    }


def other_seed(
    samples: Samples, validation: list[Batch], z_near: float, steps: int, seed: int
) -> dict[str, float]:
    """`spread` of networks that begin with other random weights, after the shortest training."""
    rows = {}
    for share in MASK_SHARES:
        name = f"mask {share:g}"
        weights = trained_weightings()[name]
        net = NarrowNet(WIDTHS)
        net.load_state_dict(train(fixed(weights), samples.batches(seed), (steps,), seed)[0])
        rows[name] = score(net, validation, z_near)
    return spread(rows)


def project(
    catalogue: Catalogue, validation: list[Batch], samples: int
) -> dict[str, dict[str, float]]:
    """SCORES of the shipped network, and of copies that were trained further with MASK_SHARES."""
    shipped = load_weights(WEIGHTS)
    rows = {"shipped": score(shipped, validation, catalogue.z_near)}
    data = CompositeDataset(catalogue, size=SIZE, strength=STRENGTH, augment=True, empty=EMPTY)
    config = TrainingConfig(epochs=1, lr=1e-3)
    for share in MASK_SHARES:
        torch.manual_seed(0)
        loader = make_loader(data, 16, samples=samples, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                copy.deepcopy(shipped), loader, validation, folder, config,
                at_share(share), z_near=catalogue.z_near, say=say,
            )  # fmt: skip
            trainer.fit()
        rows[f"mask {share:g}"] = score(trainer.averaged_net, validation, catalogue.z_near)
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=8192, help="training samples")
    parser.add_argument("--validation", type=int, default=192, help="pairs that are scored")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--further", type=int, default=2048, help="samples for the project's net")
    parser.add_argument("--out", type=Path, default=BANK, help="(default: %(default)s)")
    parser.add_argument("--json", type=output_file, default=RESULTS / "bank.json")
    return parser.parse_args(arguments)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Train, score, write."""
    options = parse(arguments)
    keep_freed_memory()
    catalogue = load_catalogue()
    validation = list(held_out(catalogue, SIZE, options.validation, batch=64))
    samples = Samples(catalogue, options.samples, 0)
    bank = train_bank(samples, tuple(options.lengths), 0)
    bank.save(options.out)
    bank = Bank.load(options.out)
    rows = table(bank, validation, catalogue.z_near)
    seeds = [spread(rows[str(bank.lengths[0])])]
    shortest = bank.lengths[0]
    for seed in range(1, options.seeds):
        seeds.append(other_seed(samples, validation, catalogue.z_near, shortest, seed))
    for number, found in enumerate(seeds):
        say(f"seed {number}, {shortest} steps:", *(f"{k} {v:.3f}" for k, v in found.items()))
    spreads = {steps: spread(each) for steps, each in rows.items()}
    result = {
        "settings": bank.notes | {"samples": options.samples, "validation": options.validation},
        "parameters": parameters(bank.net(shortest, 0)),
        "scores": rows,
        "spread": spreads,
        "shortest training, seeds": seeds,
        "project": project(catalogue, validation, options.further),
    }
    write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
