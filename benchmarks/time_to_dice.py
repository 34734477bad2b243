"""How long until a fresh network is as good as the source's 0.91 Dice? `python benchmarks/time_to_dice.py`.

Our network and the source's train from nothing on the same pairs at 64 px, each for the same time; every few seconds of training (the
clock stops meanwhile) both are scored on unseen backgrounds with unseen objects: mean Dice of the images, and Dice of all their pixels
pooled, which is the usual way to score a batch. `--strength 0` is the source's own setting: ideal pairs.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from source import SourceNet, train_step

from eva_helpers import assets, dataset, metrics, training
from eva_helpers.model import MaskDepthNet

SIZE, GOAL = 64, 0.91


def race(step: Callable[[dict], object], score: Callable[[], dict], batches: Iterable[dict], seconds: float, every: float) -> list[dict]:
    """Train for `seconds`; a list of `seconds`, `samples`, `dice`, `pooled` at every check."""
    spent, samples, checks, record = 0.0, 0, 0, []
    start = time.perf_counter()
    for batch in batches:
        step(batch)
        spent += time.perf_counter() - start
        samples += len(batch["image"])
        if spent >= every * (checks + 1) or spent >= seconds:
            checks = int(spent / every)
            record.append({"seconds": round(spent, 1), "samples": samples} | score())
            print(f"  {spent:>6.0f} s {samples:>8,} samples   Dice {record[-1]['dice']:.4f}, pooled {record[-1]['pooled']:.4f}", flush=True)
        if spent >= seconds:
            break
        start = time.perf_counter()
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--every", type=float, default=20.0)
    parser.add_argument("--strength", type=float, default=1.0, help="of the capture differences, in training and test")
    parser.add_argument("--count", type=int, default=256, help="test composites")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    catalogue = assets.load_catalogue()
    held = dataset.quadrant(catalogue, "unseen background, unseen object", size=SIZE, strength=options.strength, seed=1)
    tests = list(dataset.loader(dataset.fixed_sample(held, options.count), 64))
    data = dataset.CompositeDataset(catalogue, size=SIZE, augment=True, strength=options.strength)

    def score(method: Callable) -> dict:
        means = metrics.summary(metrics.evaluate(method, tests, catalogue.z_near, full=True))
        return {"dice": means["mask_dice"], "pooled": means["mask_pooled_dice"]}

    simple = score(metrics.baseline(metrics.best_threshold(tests), 0.0))
    result = {"strength": options.strength, "goal": GOAL, "subtraction": simple}
    print(f"subtraction at its best threshold: Dice {simple['dice']:.4f}, pooled {simple['pooled']:.4f}\nours")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        config = training.TrainingConfig(epochs=1, lr=3e-3, ema=0.98)
        steps = int(options.seconds * 6)  # about what two cores do in batches of 16: the schedule needs a length
        loader = dataset.loader(data, 16, samples=16 * steps)
        trainer = training.Trainer(MaskDepthNet(), [0] * steps, [], folder, config, z_near=catalogue.z_near, say=lambda line: None)
        trainer.net.train()
        result["ours"] = race(trainer.step, lambda: score(metrics.network(trainer.averaged.module)), loader, options.seconds, options.every)
    print("the source's network")
    torch.manual_seed(0)
    net = SourceNet().train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    loader = dataset.loader(data, 16, samples=16 * 10_000)
    step = functools.partial(train_step, net, optimizer)
    result["source"] = race(step, lambda: score(metrics.network(net)), loader, options.seconds, 3 * options.every)
    for kind, name in (("dice", "mean"), ("pooled", "pooled")):
        reached = next((check["seconds"] for check in result["ours"] if check[kind] >= GOAL), None)
        print(f"{name} Dice {GOAL} after {reached} s" if reached else f"{name} Dice {GOAL} not reached in {options.seconds:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
