"""Whether memory stays flat: `python -m benchmarks.endurance`.

Predictions of pairs of 64 px, one call each, and training samples in batches of 16. Memory is that
of the process, the mean of the second tenth of the time beside that of the last.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from tqdm import trange

from benchmarks.many import Memory
from benchmarks.timing import cpu_name
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, make_loader
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.model import MaskDepthNet
from eva_helpers.predict import Predictor
from eva_helpers.training import Trainer, TrainingConfig

SIZE = 64  # px
BATCH = 16
PAIRS = 64  # different ones


def predicting(count: int) -> None:
    """So many calls."""
    data = CompositeDataset(load_catalogue(), "test", "test", size=SIZE, strength=1.0)
    items = [data[int(i)] for i in np.linspace(0, len(data) - 1, PAIRS)]
    pairs = [[pixels(item[name]) for name in ("background", "image")] for item in items]
    predictor = Predictor.load()
    for number in trange(count, desc="predictions", mininterval=10):
        predictor(*pairs[number % PAIRS])


def pixels(tensor: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of a photo."""
    return np.rint(np.asarray(tensor).transpose(1, 2, 0) * 255).astype(np.uint8)


def training(count: int) -> None:
    """One epoch of so many samples."""
    park = load_catalogue()
    pairs = CompositeDataset(park, size=SIZE, augment=True, strength=1.0, variety=0.5)
    held_out = CompositeDataset(park, "validation", "validation", size=SIZE)
    validation = make_loader(held_out, BATCH, samples=BATCH)
    loader = make_loader(pairs, BATCH, samples=count, workers=0)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(epochs=1)
        Trainer(MaskDepthNet(), loader, validation, folder, config, z_near=park.z_near).fit()


def watched(work: Callable[[int], None], count: int) -> dict[str, float]:
    """Memory and rate."""
    start = time.perf_counter()
    with Memory() as memory:
        work(count)
    rate = count / (time.perf_counter() - start)
    early, late = memory.tenths()
    change = f"{late / early - 1:+.1%}"
    print(f"{work.__name__} {count:,}: {early:,.0f} MB, {late:,.0f} MB ({change})", flush=True)
    return {"count": count, "rate": rate, "memory early, MB": early, "memory at the end, MB": late}


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=int, default=100_000, help="0: none")
    parser.add_argument("--samples", type=int, default=50_000, help="to train on; 0: none")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    result: dict = {"processor": cpu_name()}
    if options.json and options.json.exists():  # what this processor did before and leaves out now
        before = json.loads(options.json.read_text(encoding="utf-8"))
        result = before if before["processor"] == result["processor"] else result
    for work, count in ((training, options.samples), (predicting, options.predictions)):
        if count:
            result[work.__name__] = watched(work, count)
        if options.json:
            write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
