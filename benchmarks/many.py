"""Many images with one background, beside one call a pair: `python -m benchmarks.many`.

A test view of the park at 640 x 480, and JPEG files of it with a dog that wanders. Both ways read
the files and write masks and depth maps; one call a pair (`predict.Predictor`) uses all cores for
each pair. Memory is that of the process, after a tenth of the images and at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.photos import write_pair
from benchmarks.timing import cpu_name
from eva_helpers.catalogue import load_catalogue, read_cutout
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.images import write_png
from eva_helpers.predict import Predictor
from eva_helpers.predict.many import predict_many
from eva_helpers.predict.predictor import quantised

SIZE = (480, 640)
SINGLE = 60  # pairs of the first way


def write_images(folder: Path, count: int) -> tuple[Path, Path]:
    """The background's file, and a folder of `count` images."""
    background, _ = write_pair(folder, SIZE)
    images = folder / "images"
    images.mkdir()
    catalogue = load_catalogue()
    rgba, _ = read_cutout(catalogue, catalogue.objects("test")[0])
    rng = np.random.default_rng(0)
    for number in range(count):
        height = int(rng.integers(100, 250))
        dog = Image.fromarray(rgba).resize((round(height * rgba.shape[1] / rgba.shape[0]), height))
        image = Image.open(background)
        image.paste(dog, (int(rng.integers(0, 500)), int(rng.integers(150, 300))), dog)
        image.save(images / f"{number:05d}.jpg", quality=92)
    return background, images


def one_by_one(background: Path, images: Path, out: Path) -> float:
    """Pairs a second, one call a pair."""
    predictor = Predictor.load()
    out.mkdir()
    files = sorted(images.iterdir())[:SINGLE]
    predictor(background, files[0])
    start = time.perf_counter()
    for file in files:
        prediction = predictor(background, file)
        write_png(out / f"{file.stem}_mask.png", quantised(prediction.mask, np.uint8))
        write_png(out / f"{file.stem}_depth.png", quantised(prediction.depth, np.uint16))
    return len(files) / (time.perf_counter() - start)


class Memory:
    """The process's memory in MB, sampled in a thread."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            self.samples.append(psutil.Process().memory_info().rss / 1e6)

    def tenths(self) -> tuple[float, float]:
        """The mean of the second tenth of the time, and of the last."""
        tenth = max(1, len(self.samples) // 10)
        second, last = self.samples[tenth : 2 * tenth], self.samples[-tenth:]
        return float(np.mean(second)), float(np.mean(last))


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="images of the second way")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        background, images = write_images(folder, options.count)
        single = one_by_one(background, images, folder / "single")
        start = time.perf_counter()
        with Memory() as memory:
            predict_many(background, images, folder / "out")
        together = options.count / (time.perf_counter() - start)
    early, late = memory.tenths()
    result = {
        "processor": cpu_name(), "images": options.count,
        "one call a pair, images/s": single, "a folder, images/s": together,
        "memory early, MB": early, "memory at the end, MB": late,
    }  # fmt: skip
    for key, value in result.items():
        print(f"{key}: {value:,.1f}" if isinstance(value, float) else f"{key}: {value}")
    print(f"ratio: {together / single:.2f}, memory {late / early - 1:+.1%}")
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
