"""Speed of the data on disk and off it, in one run on one machine: `python benchmarks/files.py` (`make bench`).

Writing composites beside the straightforward way with PIL; packing and reading packs; how long a training process takes to its first
batch; and whether cost and memory grow with the length of the dataset. Files go to the temporary folder: with TMPDIR on a RAM disk the
figures are those of the code, else also those of the disk.
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
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from speed import cpu_name, rate

from eva_helpers import assets, dataset, folders, packing

SIZE = 220  # pixels of the source's files


def pil_way(catalogue: assets.Catalogue, folder: Path, count: int) -> None:
    """Open background and cut-out, resize, paste, save three JPEG files: what one writes first."""
    rng = np.random.default_rng(0)
    for number in range(count):
        scene, cutout = (items[rng.integers(len(items))] for items in (catalogue.scenes, catalogue.cutouts))
        image, dog = Image.open(scene.image).convert("RGB").resize((SIZE, SIZE)), Image.open(cutout.image).convert("RGBA")
        dog = dog.resize([max(8, int(side * rng.uniform(0.2, 0.8))) for side in dog.size])
        mask, at = Image.new("L", image.size), tuple(rng.integers(0, SIZE - 40, 2).tolist())
        image.paste(dog, at, dog)
        mask.paste(dog.getchannel("A"), at)
        depth = Image.fromarray((np.asarray(Image.open(scene.depth)) / 4).clip(0, 255).astype(np.uint8)).resize((SIZE, SIZE))
        for name, picture in (("image", image), ("mask", mask), ("depth", depth)):
            picture.save(folder / f"{name}_{number}.jpg")


def writing(catalogue: assets.Catalogue, count: int, rounds: int = 3) -> dict[str, float]:
    """Composites a second at 220 px, three files each; the median of some rounds that take turns: discs have moods."""
    pairs = dataset.CompositeDataset(catalogue, None, None, size=SIZE)
    ours = {
        "ours, all cores": (os.cpu_count(), False),
        "ours, one process": (1, False),
        "ours, all JPEG, all cores": (os.cpu_count(), True),
    }
    ways = {name: (count, partial(folders.write, pairs, count=count, jpeg=jpeg, workers=workers)) for name, (workers, jpeg) in ours.items()}
    ways["the source's way (PIL: open, paste, save)"] = count // 8, partial(pil_way, catalogue, count=count // 8)
    with tempfile.TemporaryDirectory() as folder:
        folders.write(pairs, Path(folder) / "warm", 2 * len(pairs.scenes), workers=1)
    rates = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (number, way) in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                way(folder=Path(folder))
                rates[name].append(number / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def reading(catalogue: assets.Catalogue, count: int, seconds: float) -> dict[str, float]:
    """Samples a second at 64 px: packing from JPEG folders, and reading the pack in batches."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        folders.write(dataset.CompositeDataset(catalogue, None, None, size=SIZE), files, count, jpeg=True, workers=os.cpu_count())
        source = folders.FolderDataset(files, size=64)
        start = time.perf_counter()
        packed = packing.pack(source, Path(folder) / "pack", workers=1)
        rates = {"packing, one process": count / (time.perf_counter() - start)}
        order = np.random.default_rng(0).permutation(count)[: count // 64 * 64].reshape(-1, 64)
        rates["pack, batches of bytes"] = rate(lambda: sum(len(packed.raw(batch)["image"]) for batch in order), seconds)
        rates["pack, batches of float tensors"] = rate(lambda: sum(len(packed[batch]["image"]) for batch in order), seconds)
        return rates


def in_a_process(code: str) -> dict:
    """Run `code` in a fresh interpreter; it prints one JSON line."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=assets.ROOT)
    return json.loads(done.stdout.splitlines()[-1])


FIRST = """
import json, time
from eva_helpers import assets, dataset
start = time.perf_counter()
next(iter(dataset.loader(dataset.CompositeDataset(assets.load_catalogue(), augment=True, strength=1.0), 64, samples=640)))
print(json.dumps({"seconds": time.perf_counter() - start}))
"""
LENGTH = """
import json, resource, time
from eva_helpers import assets, dataset
pairs = dataset.CompositeDataset(assets.load_catalogue())
for i in range(0, len(pairs), len(pairs) // 2000): pairs[i]
start = time.perf_counter()
for i in range(COUNT): pairs[i * 7919 % len(pairs)]
print(json.dumps({"rate": COUNT / (time.perf_counter() - start), "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3200, help="composites that are written")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    catalogue = assets.load_catalogue()
    report: dict = {"machine": f"{os.cpu_count()} cores, {cpu_name()}", "rates": {}}
    for title, rates in (
        (f"writing, composites/s at {SIZE} px", writing(catalogue, options.count)),
        ("packs, samples/s at 64 px", reading(catalogue, options.count, options.seconds)),
    ):
        report["rates"][title] = rates
        slowest = next((value for name, value in rates.items() if name.startswith("the source's")), None)
        print(f"\n{title}")
        for name, value in rates.items():
            print(f"  {name:<46}{value:>12,.0f}{f'{value / slowest:>10.1f} x' if slowest else ''}", flush=True)
    report["seconds to the first batch"] = in_a_process(FIRST)["seconds"]
    print(f"\nfrom imports to the first batch: {report['seconds to the first batch']:.1f} s\n\nlength   samples/s   peak memory")
    report["length"] = {}
    for count in (1_000, 10_000, 100_000):
        report["length"][count] = found = in_a_process(LENGTH.replace("COUNT", str(count)))
        print(f"{count:>7,}{found['rate']:>11,.0f}{found['MB']:>11,.0f} MB", flush=True)
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
