"""What a GPU makes of the project: `python -m benchmarks.gpu`; refused where there is none.

A training step beside the original project's network, in three precisions and several batches;
the same step fed by the real loader; inference and scores beside the CPU of the same machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.utils.data import default_collate

from benchmarks.loading import waiting
from benchmarks.many import write_images
from benchmarks.original import train_step
from benchmarks.timing import cpu_name, rate
from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.evaluation import evaluate, summary
from eva_helpers.evaluation.original import OriginalNet
from eva_helpers.files import InputError, command_line, output_file, write_json
from eva_helpers.model import MaskDepthNet, inference, load_weights
from eva_helpers.paths import WEIGHTS
from eva_helpers.predict import Predictor, load_pair
from eva_helpers.predict.many import predict_many
from eva_helpers.training import Trainer, TrainingConfig
from experiments.common import held_out

BATCHES = {64: (16, 64, 256), 224: (4, 16, 64)}  # size in px -> samples a batch
FED = {64: 64, 224: 16}  # the same, of the training with its loader
WARM = 150  # steps after which the loader's workers have read most scenes
PRECISIONS = ("bf16", "TF32", "float32")
SMALL = (168, 224)  # a photo of 640 x 480 as the first pass sees it
SCORES = ("mask_iou", "depth_rmse_std")
IMAGES = 100  # of predict_many
Row = dict[str, float | None]


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Let trainers compute in one of PRECISIONS; TF32 is torch's default for convolutions."""
    AcceleratorState._reset_state()  # it refuses a second precision in one process
    torch.backends.cudnn.allow_tf32 = name != "float32"
    kind = "bf16" if name == "bf16" else "no"
    with mock.patch("eva_helpers.training.steps.precision", lambda: kind):
        yield
    AcceleratorState._reset_state()
    torch.backends.cudnn.allow_tf32 = True


def our_step(batch: dict[str, Tensor], folder: str) -> Callable[[], int]:
    """A training step of the Trainer, from the CPU's memory on."""
    config = TrainingConfig(epochs=1)
    trainer = Trainer(MaskDepthNet(), [batch] * 100_000, [], folder, config, z_near=1.5)
    trainer.net.train()

    def step() -> int:
        trainer.step(batch)
        return len(batch["image"])

    return step


def original_step(batch: dict[str, Tensor], bf16: bool) -> Callable[[], int]:
    """A step of the original project's network, likewise."""
    net = OriginalNet().train().cuda()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step() -> int:
        on_gpu = {name: value.cuda() for name, value in batch.items()}
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            train_step(net, optimizer, on_gpu)
        return len(batch["image"])

    return step


def measured(make: Callable[[], Callable[[], int]], seconds: float) -> Row:
    """Samples a second and peak GPU memory in MB of the work that `make` prepares.

    None where the memory of the GPU does not suffice.
    """
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        work = make()
        for _ in range(5):  # cuDNN chooses its algorithms, Adam makes its state
            work()
        speed = rate(work, seconds)
    except torch.cuda.OutOfMemoryError:
        return {"samples/s": None, "peak MB": None}
    return {"samples/s": speed, "peak MB": torch.cuda.max_memory_allocated() / 1e6}


def steps(catalogue: Catalogue, seconds: float) -> dict[str, Row]:
    """Training steps of both networks at every size, batch and precision."""
    result: dict[str, Row] = {}
    for size, counts in BATCHES.items():
        data = CompositeDataset(catalogue, size=size, augment=True, strength=1.0)
        samples = [data[i * 97 % len(data)] for i in range(max(counts))]
        for count in counts:
            batch = default_collate(samples[:count])
            for name in PRECISIONS:
                with precision(name), tempfile.TemporaryDirectory() as folder:
                    ours = measured(partial(our_step, batch, folder), seconds)
                    theirs = measured(partial(original_step, batch, name == "bf16"), seconds)
                for who, row in (("ours", ours), ("original", theirs)):
                    result[f"{size} px, {count} a batch, {name}: {who}"] = row
                    show(f"{size} px, {count} a batch, {name}: {who}", row)
    return result


def fed(catalogue: Catalogue, seconds: float, workers: int) -> dict[str, Row]:
    """The whole training with its loader, in as many processes, by size."""
    result: dict[str, Row] = {}
    for size, batch in FED.items():
        speed, share = waiting(catalogue, size, batch, seconds, (workers,), WARM).values()
        name = f"{size} px, {batch} a batch, {workers} workers"
        result[name] = {"samples/s": speed, "% of the time waiting": share}
        show(name, result[name])
    return result


def passes(seconds: float) -> dict[str, Row]:
    """Pairs a second of the network alone, on both devices."""
    net = load_weights(WEIGHTS)
    result: dict[str, Row] = {}
    for count in (1, 32):
        photos = torch.rand(2, count, 3, *SMALL)
        name = f"{SMALL[1]} x {SMALL[0]} px, {count} a batch"
        result[name] = {}
        for device in ("cuda", "cpu"):
            method = inference(net, device)
            work = partial(lambda run, given: len(run(*given)[0]), method, photos)
            result[name][device] = rate(work, seconds)
        show(name, result[name])
    return result


def photos(seconds: float) -> Row:
    """Photos of 640 x 480 px a second as users have them; the Predictor computes on the CPU."""
    with tempfile.TemporaryDirectory() as name:
        background, images = write_images(Path(name), IMAGES)
        predictor = Predictor.load()
        pair = load_pair(background, next(images.iterdir()))
        single = rate(lambda: len([predictor(*pair)]), seconds)

        def many() -> int:
            with tempfile.TemporaryDirectory() as out:
                return predict_many(background, images, out, progress=False).predicted

        row: Row = {"Predictor, one pair": single, "predict_many": rate(many, 0)}
    show("640 x 480 px", row)
    return row


def agreement(catalogue: Catalogue, count: int = 192) -> dict[str, Row]:
    """Scores of the shipped weights on validation pairs by device and precision."""
    net = load_weights(WEIGHTS)
    result: dict[str, Row] = {}
    for size in (64, 224):
        pairs = list(held_out(catalogue, size, count))
        for device in ("cpu", "cuda"):
            for exact in (True, False):
                rows = evaluate(inference(net, device, exact), pairs, catalogue.z_near)
                name = f"{size} px, {device}, {'float32' if exact else 'bf16'}"
                found = summary(rows)
                result[name] = {key: found[key] for key in SCORES}
                show(name, result[name])
    return result


def show(name: str, row: Row) -> None:
    """Print a row."""
    cells = (f"{key} {'-' if value is None else f'{value:,.4g}'}" for key, value in row.items())
    print(f"  {name:<44}", "   ".join(cells), flush=True)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="per figure")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the loader")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise InputError("not measured: torch finds no GPU here; run this on a machine with one.")
    catalogue = load_catalogue()
    cores = f"{os.cpu_count()} cores, torch threads: {torch.get_num_threads()}"
    parts = (torch.cuda.get_device_name(), cores, cpu_name(), f"torch {torch.__version__}")
    report: dict = {"machine": ", ".join(parts)}
    print(report["machine"])
    sections: dict[str, Callable[[], dict]] = {
        "metrics of the shipped weights": lambda: agreement(catalogue),
        "training step": lambda: steps(catalogue, options.seconds),
        "training with the loader": lambda: fed(catalogue, 5 * options.seconds, options.workers),
        "network alone, pairs/s": lambda: passes(options.seconds),
        "photos/s": lambda: photos(options.seconds),
    }
    for title, measure in sections.items():
        print(f"\n{title}", flush=True)
        report[title] = measure()
        if options.json:
            write_json(options.json, report)


if __name__ == "__main__":
    sys.exit(main())
