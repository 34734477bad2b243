"""Time and memory of one pair of photos: `python -m benchmarks.photos` (`make bench`).

Every size has a process of its own, so that its peak memory is its own. The photos are JPEG files:
a test view of the park, enlarged, and the same with a dog that covers a third of its height. What
is measured after a first pair: reading and checking, the maps, and the first pass alone beside
them; then writing PNG files and the panel.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import cpu_name
from eva_helpers.catalogue import load_catalogue, read_background, read_cutout
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.images import resize
from eva_helpers.predict import Predictor, load_pair
from eva_helpers.predict.pairing import check_pair

SIZES = {"220 px": (220, 220), "1280 px": (853, 1280), "12 megapixels": (3024, 4032)}
DOG = 0.35  # of the frame's height
ROUNDS = 3


def write_pair(folder: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """Background and image of `size` (height, width) as JPEG files."""
    catalogue = load_catalogue()
    scene, *_ = read_background(catalogue, catalogue.backgrounds("test")[0], 256)
    rgba, _ = read_cutout(catalogue, catalogue.objects("test")[0])
    background = resize(scene, size)
    height = round(DOG * size[0])
    dog = Image.fromarray(rgba).resize((round(height * rgba.shape[1] / rgba.shape[0]), height))
    image = Image.fromarray(background)
    image.paste(dog, (size[1] // 3, size[0] // 2), dog)
    paths = folder / "background.jpg", folder / "image.jpg"
    Image.fromarray(background).save(paths[0], quality=92)
    image.save(paths[1], quality=92)
    return paths


def milliseconds(work: Callable[[], object]) -> float:
    """The median of ROUNDS calls."""
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return 1000 * statistics.median(spent)


def measure(size: tuple[int, int], weights: Path | None = None) -> dict[str, float]:
    """Milliseconds of the parts, and peak memory in MB, of this process."""
    predictor = Predictor.load(weights)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pair(Path(folder), size)
        photos = load_pair(*paths)
        prediction = predictor(*photos)
        start = time.perf_counter()
        prediction.save(Path(folder) / "out")
        saving = 1000 * (time.perf_counter() - start)
        return {
            "reading, ms": milliseconds(lambda: load_pair(*paths)),
            "check, ms": milliseconds(lambda: check_pair(*photos)),
            "maps, ms": milliseconds(lambda: predictor.passes.maps(*photos)),
            "first pass alone, ms": milliseconds(lambda: predictor.passes.first_pass(*photos)),
            "arrays to prediction, ms": milliseconds(lambda: predictor(*photos)),
            "saving, ms": saving,
            "mask found": float(np.mean(prediction.mask > 0.5)),
            "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, help="measure one size in this process")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if options.size:
        print(json.dumps(measure(SIZES[options.size])))
        return
    result = {}
    for name in SIZES:
        command = [sys.executable, "-m", "benchmarks.photos", "--size", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result[name] = json.loads(done.stdout)
        print(f"{name}:", *(f"{key} {value:,.4g}" for key, value in result[name].items()))
    if options.json:
        write_json(options.json, {"processor": cpu_name(), "sizes": result})


if __name__ == "__main__":
    sys.exit(main())
