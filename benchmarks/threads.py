"""What choosing the number of threads gains: `python -m benchmarks.threads`, OMP_NUM_THREADS unset.

Training steps with all threads, with one, and with the Trainer's choice, alone and beside a program
that keeps one core busy; in turn, because other work on the machine changes all of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import cpu_name
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, make_loader
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.training import Trainer, TrainingConfig
from eva_helpers.training.threads import EVERY, WARM, Threads

BATCH = 16
WAYS = ("all threads", "one thread", "chosen")


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Beside a process that computes all the time, if `wanted`."""
    command = [sys.executable, "-c", "while True: pass"]
    process = subprocess.Popen(command) if wanted else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def step_rate(trainer: Trainer, batch: dict[str, Tensor], way: str, most: int) -> float:
    """Samples a second of as many steps as there are from one comparison to the next."""
    torch.set_num_threads(1 if way == "one thread" else most)
    chooser = Threads(most if way == "chosen" else 1)
    chooser._compare_at = 0
    start = time.perf_counter()
    for _ in range(EVERY):
        chooser.next_step()
        trainer.step(batch)
    return BATCH * EVERY / (time.perf_counter() - start)


def main() -> None:
    """Print rates, and the median of each beside that of all threads in the same round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="not beside a busy process")
    options = parser.parse_args()
    keep_freed_memory()
    park = load_catalogue()
    pairs = CompositeDataset(park, size=64, augment=True, strength=1.0, variety=0.5)
    batch = next(iter(make_loader(pairs, BATCH, samples=BATCH)))
    most = torch.get_num_threads()
    print(f"{cpu_name()}, {most} threads, steps of {BATCH} samples of 64 px", flush=True)
    rates: dict[tuple[bool, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(epochs=1)
        trainer = Trainer(MaskDepthNet(), [batch] * 100_000, [], folder, config, z_near=1.5)
        trainer.net.train()
        for _ in range(WARM):
            trainer.step(batch)
        for _ in range(options.rounds):
            for wanted in (False,) if options.alone else (False, True):
                with busy(wanted):
                    for way in WAYS:
                        found = step_rate(trainer, batch, way, most)
                        rates.setdefault((wanted, way), []).append(found)
                        where = "beside a busy process" if wanted else "alone"
                        print(f"  {way:<12}{where:<24}{found:>8.1f} samples/s", flush=True)
    alone = np.array(rates[False, "all threads"])
    for (wanted, way), values in rates.items():
        share = np.median(np.array(values) / alone)
        print(f"{way:<12}{'beside' if wanted else 'alone':<8}{share:>6.0%} of all threads alone")


if __name__ == "__main__":
    main()
