"""Time that a new network takes to reach 0.91 Dice, the score of the original project.

Our network and the original one train from scratch on the same pairs at 64 px, each for the same
time. Every few seconds of training (the clock stops meanwhile) both are scored on unseen
backgrounds with unseen objects: mean Dice of the images, and Dice of all their pixels pooled, which
is the usual way to score a batch. `--strength 0` is the original setting: ideal pairs.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

import torch

from benchmarks.original import train_step
from eva_helpers.catalogue.catalogue import load_catalogue
from eva_helpers.data.dataset import CompositeDataset, quadrant
from eva_helpers.data.loaders import fixed_sample, make_loader
from eva_helpers.evaluation.baselines import best_threshold, subtraction
from eva_helpers.evaluation.original import OriginalNet
from eva_helpers.evaluation.report import UNSEEN
from eva_helpers.evaluation.scoring import Batch, Method, evaluate, summary
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.model.inference import inference
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.training import Trainer, TrainingConfig
from experiments.common import quiet, say

SIZE = 64  # px
BATCH = 16
GOAL = 0.91
STEPS_PER_SECOND = 6  # about what two cores do: the schedule needs a length
Score = Callable[[], dict[str, float]]


def race(
    step: Callable[[Batch], object],
    score: Score,
    batches: Iterable[Batch],
    seconds: float,
    every: float,
) -> list[dict]:
    """Train for `seconds`; `seconds`, `samples`, `dice` and `pooled` at every check."""
    spent = 0.0
    samples = 0
    checks = 0
    record: list[dict] = []
    start = time.perf_counter()
    for batch in batches:
        step(batch)
        spent += time.perf_counter() - start
        samples += len(batch["image"])
        if spent >= every * (checks + 1) or spent >= seconds:
            checks = int(spent / every)
            row = {"seconds": round(spent, 1), "samples": samples} | score()
            record.append(row)
            scores = f"Dice {row['dice']:.4f}, pooled {row['pooled']:.4f}"
            say(f"  {spent:>6.0f} s {samples:>8,} samples   {scores}")
        if spent >= seconds:
            break
        start = time.perf_counter()
    return record


def ours(
    data: CompositeDataset, score: Callable[[Method], dict], seconds: float, every: float
) -> list[dict]:
    """The race of our network, as the Trainer trains it."""
    keep_freed_memory()
    torch.manual_seed(0)
    steps = int(seconds * STEPS_PER_SECOND)
    config = TrainingConfig(epochs=1, lr=3e-3, ema=0.98)
    z_near = data.catalogue.z_near
    with tempfile.TemporaryDirectory() as folder:
        net = MaskDepthNet()
        trainer = Trainer(net, [0] * steps, [], folder, config, z_near=z_near, say=quiet)
        trainer.net.train()
        batches = make_loader(data, BATCH, samples=BATCH * steps)
        averaged = trainer.averaged_net
        return race(trainer.step, lambda: score(inference(averaged)), batches, seconds, every)


def original(
    data: CompositeDataset, score: Callable[[Method], dict], seconds: float, every: float
) -> list[dict]:
    """The race of the original network, as it was trained."""
    torch.manual_seed(0)
    net = OriginalNet().train()
    step = functools.partial(train_step, net, torch.optim.Adam(net.parameters(), 1e-3))
    batches = make_loader(data, BATCH, samples=BATCH * 10_000)
    return race(step, lambda: score(inference(net)), batches, seconds, 3 * every)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180.0, help="of training, per network")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between checks")
    parser.add_argument(
        "--strength", type=float, default=1.0, help="of the capture differences everywhere"
    )
    parser.add_argument("--count", type=int, default=256, help="test composites")
    parser.add_argument("--json", type=output_file, help="also write the record to this file")
    return parser.parse_args(arguments)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Run the race and say when the goal was reached."""
    options = parse(arguments)
    catalogue = load_catalogue()
    held = quadrant(catalogue, UNSEEN, size=SIZE, strength=options.strength, seed=1)
    tests = list(make_loader(fixed_sample(held, options.count), 64))
    data = CompositeDataset(catalogue, size=SIZE, augment=True, strength=options.strength)

    def score(method: Method) -> dict[str, float]:
        means = summary(evaluate(method, tests, catalogue.z_near, full=True))
        return {"dice": means["mask_dice"], "pooled": means["mask_pooled_dice"]}

    simple = score(subtraction(best_threshold(tests), 0.0))
    result: dict = {"strength": options.strength, "goal": GOAL, "subtraction": simple}
    scores = f"Dice {simple['dice']:.4f}, pooled {simple['pooled']:.4f}"
    say(f"subtraction at its best threshold: {scores}\nour network")
    result["ours"] = ours(data, score, options.seconds, options.every)
    say("the original network")
    result["original"] = original(data, score, options.seconds, options.every)
    for kind, name in (("dice", "mean"), ("pooled", "pooled")):
        reached = [check["seconds"] for check in result["ours"] if check[kind] >= GOAL]
        outcome = f"after {reached[0]} s" if reached else f"not reached in {options.seconds:.0f} s"
        say(f"{name} Dice {GOAL} {outcome}")
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
