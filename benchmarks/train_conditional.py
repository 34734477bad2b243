"""Train the loss-conditional network that notebook 06 plays with, and check that it is honest: `python benchmarks/train_conditional.py`.

One network is trained with loss weights drawn at random; then, for comparison, dedicated networks at a few fixed weightings. All start from
the shipped weights and have the same budget. Everything is scored on the validation split at 64 px; how every term's loss answers to
its own weight is measured on training pairs too, of which theory speaks, and for several conditional networks that differ by their
seed alone: what changes sign between them is noise. Resumes after the last finished epoch; `--ship` writes the first seed's network
as `assets/weights/conditional.safetensors`, and the comparison goes to `benchmarks/results/conditional.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from train_shipped import DATA, commit, held_out, say

from eva_helpers import assets, dataset, losses, metrics, training, widgets
from eva_helpers.losses import LossWeights
from eva_helpers.model import ConditionalNet, MaskDepthNet, without_sizes

SIZE, BATCH, EMA, VALIDATION = 64, 16, 0.99, 512
LR, CONDITIONAL_LR = 2e-3, 5e-3  # the latter trains the modulation alone, which begins with nothing
ANSWERING = 4  # times as many training pairs as validation pairs, for the answers to a weight
SCORES = ("mask_iou", "depth_rmse_std")
TARGET = assets.WEIGHTS.parent / "conditional.safetensors"
RESULTS = Path(__file__).parent / "results" / "conditional.json"
DEDICATED = {  # name -> weighting; Dice counts as much as BCE everywhere
    "mask above all": LossWeights(0.9, 0.1),
    "the usual": LossWeights(),
    "depth above all": LossWeights(0.1, 0.9),
}


def training_pairs(catalogue: assets.Catalogue) -> dataset.CompositeDataset:
    """What all of these networks are trained on."""
    return dataset.CompositeDataset(catalogue, size=SIZE, augment=True, **DATA)


def train(
    catalogue, net, kind, folder: Path, weights: LossWeights, epochs: int, samples: int, validation: list, seed: int = 0
) -> training.Trainer:
    """One training with its own folder; resumes. `seed` decides the order of the pairs and the weightings that are drawn."""
    # It shows every pair twice: half as many pairs are the same budget.
    shown, lr = (2, CONDITIONAL_LR) if kind is training.ConditionalTrainer else (1, LR)
    loader = dataset.loader(training_pairs(catalogue), BATCH // shown, samples=samples // shown, seed=seed)
    config = training.TrainingConfig(epochs=epochs, lr=lr, ema=EMA, seed=seed)
    trainer = kind(net, loader, validation, folder, config, weights, z_near=catalogue.z_near, resume=True, say=say)
    trainer.fit()
    return trainer


def by_term(networks: list[dict[str, list[float]]]) -> dict[str, list[list[float]]]:
    """From one dict of lists a network to one dict of a list a network."""
    return {name: [values[name] for values in networks] for name in networks[0]}


def scores_along(weightings: list[LossWeights], net: ConditionalNet, batches: list[dict], z_near: float) -> dict[str, list[float]]:
    """Mask IoU and depth error of a conditional network at each of the weightings."""
    rows = widgets.tradeoff(net, batches, z_near, weightings)
    return {score: [row[score] for row in rows] for score in SCORES}


def train_conditional(catalogue: assets.Catalogue, shipped: MaskDepthNet, folder: Path, seed: int, *budget) -> ConditionalNet:
    """A conditional network, as it is shipped: in half precision, from its file."""
    torch.manual_seed(seed)
    start = without_sizes(shipped)  # trained at one size, so without layers for another
    net = ConditionalNet(replace(start.config, conditional=True), start)
    net.usual.copy_(losses.condition(LossWeights()))
    trainer = train(catalogue, net, training.ConditionalTrainer, folder, LossWeights(), *budget, seed=seed)
    training.save_weights(trainer.averaged.module, folder / TARGET.name, half=True)
    return training.load_weights(folder / TARGET.name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=6144, help="an epoch")
    parser.add_argument("--validation", type=int, default=VALIDATION)
    parser.add_argument("--seeds", type=int, default=3, help="conditional networks, the first of which is the shipped one")
    parser.add_argument("--out", type=Path, default=assets.ROOT / "runs" / "conditional")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--ship", action="store_true", help="also write assets/weights/conditional.safetensors")
    options = parser.parse_args(arguments)
    catalogue, made_at = assets.load_catalogue(), commit()
    validation = list(held_out(catalogue, SIZE, options.validation, batch=64))
    budget = (options.epochs, options.samples, validation)
    shipped = training.load_weights(assets.WEIGHTS)
    folders = [options.out / f"conditional-{seed}" for seed in range(options.seeds)]
    networks = [train_conditional(catalogue, shipped, folder, seed, *budget) for seed, folder in enumerate(folders)]
    if options.ship:
        shutil.copy(folders[0] / TARGET.name, TARGET)
    seen = dataset.fixed_sample(training_pairs(catalogue), ANSWERING * options.validation, 0)
    pairs = {"training pairs": list(dataset.loader(seen, 64)), "validation pairs": validation}
    answers = {name: by_term([widgets.responses(net, batches) for net in networks]) for name, batches in pairs.items()}
    for name, terms in answers.items():
        changes = {term: ", ".join(f"{values[-1] / values[0] - 1:+.2%}" for values in seeds) for term, seeds in terms.items()}
        say(f"{name}, change of a term's loss with its weight: " + "; ".join(f"{term} {change}" for term, change in changes.items()))
    scales = [losses.emphasised(LossWeights(), "mask", share) for share in widgets.SHARES]
    tradeoff = by_term([scores_along(scales, net, validation, catalogue.z_near) for net in networks])
    conditional = networks[0]
    rows = []
    for name, weights in DEDICATED.items():
        torch.manual_seed(0)
        folder = options.out / name.replace(" ", "-")
        alone = train(catalogue, training.load_weights(assets.WEIGHTS), training.Trainer, folder, losses.normalised(weights), *budget)
        dedicated = metrics.summary(
            metrics.evaluate(metrics.network(alone.averaged.module, "cpu", exact=True), validation, catalogue.z_near)
        )
        answer = widgets.tradeoff(conditional, validation, catalogue.z_near, [weights])[0]
        answer.pop("weights")
        learnt = {
            "conditional": widgets.term_losses(conditional, pairs["training pairs"], losses.condition(weights)),
            "dedicated": widgets.term_losses(alone.averaged.module, pairs["training pairs"]),
        }
        rows.append({"name": name, "weights": asdict(weights), "conditional": answer, "dedicated": dedicated, "training pairs": learnt})
        for key in SCORES:
            change = answer[key] / max(dedicated[key], 1e-9) - 1
            say(f"{name:<18}{key:<16} conditional {answer[key]:.4f}   dedicated {dedicated[key]:.4f}   {change:+.1%}")
    settings = {"epochs": options.epochs, "samples": options.samples, "size": SIZE, "data": DATA, "commit": made_at, "ema": EMA}
    settings |= {"lr": {"conditional": CONDITIONAL_LR, "dedicated": LR}}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    results = {"settings": settings, "rows": rows, "shares": widgets.SHARES, "answers": answers, "tradeoff": tradeoff}
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
