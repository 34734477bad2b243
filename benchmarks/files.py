"""Speed of the data on disk and off it: `python -m benchmarks.files` (`make bench`).

Measured in one run on one machine: writing composites, compared with the straightforward way
(PIL); folders beside shards; packing and reading packs; how long a training process takes to its
first batch; and whether cost and memory grow with the length of the dataset. Files go to the
temporary folder: with TMPDIR on a RAM disk the figures are those of the code, otherwise also those
of the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.original import FILES_SIZE as SIZE
from benchmarks.timing import cpu_name, rate, show
from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.paths import ROOT
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.packing import pack
from eva_helpers.storage.sharding import write_shards
from eva_helpers.storage.streaming import ShardDataset
from eva_helpers.storage.writing import write_composites

SHARDS_SIZE = 224  # px
ORIGINAL = "original project (PIL: open, paste, save)"
CORES = os.cpu_count() or 1


def with_pil(catalogue: Catalogue, folder: Path, count: int) -> None:
    """Open background and cut-out, resize, paste, save three JPEG files: the obvious way."""
    rng = np.random.default_rng(0)
    for number in range(count):
        scene = catalogue.scenes[rng.integers(len(catalogue.scenes))]
        cutout = catalogue.cutouts[rng.integers(len(catalogue.cutouts))]
        image = Image.open(scene.image).convert("RGB").resize((SIZE, SIZE))
        dog = Image.open(cutout.image).convert("RGBA")
        dog = dog.resize([max(8, int(side * rng.uniform(0.2, 0.8))) for side in dog.size])
        mask = Image.new("L", image.size)
        corner = tuple(rng.integers(0, SIZE - 40, 2).tolist())
        image.paste(dog, corner, dog)
        mask.paste(dog.getchannel("A"), corner)
        stored = np.asarray(Image.open(scene.depth)) / 4
        depth = Image.fromarray(stored.clip(0, 255).astype(np.uint8)).resize((SIZE, SIZE))
        for name, picture in (("image", image), ("mask", mask), ("depth", depth)):
            picture.save(folder / f"{name}_{number}.jpg")


def writing(catalogue: Catalogue, count: int, rounds: int = 3) -> dict[str, float]:
    """Composites per second at 220 px, three files each.

    The median of several rounds that take turns, as the speed of disks varies.
    """
    composites = CompositeDataset(catalogue, None, None, size=SIZE)
    write = partial(write_composites, composites, count=count)
    ways: dict[str, tuple[int, Callable]] = {
        "ours, all cores": (count, partial(write, workers=CORES)),
        "ours, one process": (count, partial(write, workers=1)),
        "ours, all JPEG, all cores": (count, partial(write, workers=CORES, jpeg=True)),
        ORIGINAL: (count // 8, partial(with_pil, catalogue, count=count // 8)),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_composites(composites, Path(folder) / "warm-up", 2 * len(composites.scenes))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (number, way) in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                way(folder=Path(folder))
                rates[name].append(number / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def reading(catalogue: Catalogue, count: int, seconds: float) -> dict[str, float]:
    """Samples per second at 64 px: packing JPEG files, and reading the pack in batches."""
    composites = CompositeDataset(catalogue, None, None, size=SIZE)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        write_composites(composites, files, count, jpeg=True, workers=CORES)
        stored = FolderDataset(files, size=64)
        start = time.perf_counter()
        packed = pack(stored, Path(folder) / "pack", workers=1)
        rates = {"packing, one process": count / (time.perf_counter() - start)}
        order = np.random.default_rng(0).permutation(count)[: count // 64 * 64].reshape(-1, 64)
        for name, read in (("bytes", packed.raw), ("float tensors", packed.__getitem__)):
            work = partial(read_all, read, order)
            rates[f"pack, batches of {name}"] = rate(work, seconds)
        return rates


def read_all(read: Callable[[np.ndarray], dict], order: np.ndarray) -> int:
    """Read every batch of `order`; returns the number of samples."""
    return sum(len(read(batch)["image"]) for batch in order)


def shards(catalogue: Catalogue, count: int) -> dict[str, float]:
    """Samples per second at 224 px: writing and reading a folder of files, and shards."""
    composites = CompositeDataset(catalogue, None, None, size=SHARDS_SIZE)
    rates = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_composites(composites, folder / "warm-up", 2 * len(composites.scenes))
        for workers, cores in ((1, "one process"), (CORES, "all cores")):
            files, tars = folder / f"files {workers}", folder / f"shards {workers}"
            start = time.perf_counter()
            write_composites(composites, files, count, workers=workers)
            middle = time.perf_counter()
            write_shards(composites, tars, count, per_shard=-(-count // 8), workers=workers)
            rates[f"writing a folder, {cores}"] = count / (middle - start)
            rates[f"writing shards, {cores}"] = count / (time.perf_counter() - middle)
        sources = {"a folder": FolderDataset(files, size=SHARDS_SIZE), "shards": ShardDataset(tars)}
        for workers, cores in ((0, "one process"), (CORES, "all cores")):
            for kind, source in sources.items():
                loader = DataLoader(source, 25, num_workers=workers)
                start = time.perf_counter()
                read = sum(len(batch["image"]) for batch in loader)
                rates[f"reading {kind}, {cores}"] = read / (time.perf_counter() - start)
    return rates


def in_a_process(code: str) -> dict:
    """Run `code`, which prints one line of JSON, in a new interpreter."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


FIRST = """
import json, time
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, make_loader
start = time.perf_counter()
composites = CompositeDataset(load_catalogue(), augment=True, strength=1.0)
next(iter(make_loader(composites, 64, samples=640)))
print(json.dumps({"seconds": time.perf_counter() - start}))
"""
LENGTH = """
import json, resource, time
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset
composites = CompositeDataset(load_catalogue())
for i in range(0, len(composites), len(composites) // 2000): composites[i]
start = time.perf_counter()
for i in range(COUNT): composites[i * 7919 % len(composites)]
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rate": COUNT / seconds, "MB": peak}))
"""


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser("python -m benchmarks.files", description="Speed of files.")
    parser.add_argument("--count", type=int, default=3200, help="composites that are written")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a rate is measured")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    catalogue = load_catalogue()
    rates = {f"writing, composites/s at {SIZE} px": writing(catalogue, options.count)}
    beside = shards(catalogue, max(1, options.count // 6))
    rates[f"files and shards, samples/s at {SHARDS_SIZE} px"] = beside
    rates["packs, samples/s at 64 px"] = reading(catalogue, options.count, options.seconds)
    for title, found in rates.items():
        print(f"\n{title}")
        show(found, ORIGINAL if ORIGINAL in found else None)
    first = in_a_process(FIRST)["seconds"]
    print(f"\nfrom imports to the first batch: {first:.1f} s")
    print("\nlength   samples/s   peak memory")
    length = {}
    for count in (1_000, 10_000, 100_000):
        found = in_a_process(LENGTH.replace("COUNT", str(count)))
        print(f"{count:>7,}{found['rate']:>11,.0f}{found['MB']:>11,.0f} MB", flush=True)
        length[count] = found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"this process: {peak:,.0f} MB")
    if options.json:
        report = {"machine": f"{CORES} cores, {cpu_name()}", "rates": rates}
        write_json(options.json, report | {"seconds to the first batch": first, "length": length})


if __name__ == "__main__":
    sys.exit(main())
