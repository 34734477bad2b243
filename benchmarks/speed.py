"""Speed beside the source's way, in one run on one machine: `python benchmarks/speed.py` (`make bench`).

Absolute rates depend on the machine and on what else runs; the ratios are what to read.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from kornia.losses import ssim_loss
from PIL import Image
from source import SourceDataset, SourceNet, train_step

from eva_helpers import assets, augment, dataset, folders, hardware, losses, metrics, plots, predict, training, widgets
from eva_helpers.model import MaskDepthNet, multiply_adds, parameters, receptive_field

SIZE, BATCH = 64, 64


def rate(work: Callable[[], int], seconds: float) -> float:
    """Units of work a second: median over repetitions that together last `seconds`, after one warm-up."""
    work()
    rates, end = [], time.perf_counter() + seconds
    while len(rates) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        units = work()
        rates.append(units / (time.perf_counter() - start))
    return float(np.median(rates))


def training_rates(batch: dict, seconds: float) -> dict[str, float]:
    """Samples a second of one optimiser step: ours as the Trainer runs it, the source's as it ran (float32)."""
    torch.manual_seed(0)
    source = SourceNet().train()
    optimizer = torch.optim.Adam(source.parameters(), 1e-3)
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.Trainer(
            MaskDepthNet(), [batch] * 10_000, [], folder, training.TrainingConfig(epochs=1), z_near=1.5, say=lambda line: None
        )
        trainer.net.train()
        ours = rate(lambda: len(trainer.step(batch)) and BATCH, seconds)
    return {"ours": ours, "source": rate(lambda: train_step(source, optimizer, batch) and BATCH, seconds)}


def choices(batch: dict, seconds: float) -> dict[str, float]:
    """Samples a second of our step as the Trainer makes it, and with one choice at a time taken back."""

    def step(bf16: bool = hardware.fast_bf16(), channels_last: bool = True, fused: bool = True, ssim=losses.depth_ssim) -> float:
        torch.manual_seed(0)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        net = MaskDepthNet().train().to(memory_format=layout)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=fused, foreach=False)
        photos = [batch[name].contiguous(memory_format=layout) for name in ("background", "image")]

        def work() -> int:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                mask_logits, depth = net(*photos)
            terms = losses.raw_terms(mask_logits.float(), depth.float(), batch)
            losses.weighted_sum(terms, losses.LossWeights()).backward()
            optimizer.step()
            optimizer.zero_grad()
            return BATCH

        with mock.patch.object(losses, "depth_ssim", ssim):
            return rate(work, seconds)

    return {
        "as it is": step(),
        "float32, not bfloat16": step(bf16=False),
        "channels first": step(channels_last=False),
        "the optimiser not fused": step(fused=False),
        "and Kornia's own SSIM": step(ssim=lambda depth, target: ssim_loss(depth, target, losses.SSIM_WINDOW)),
    }


def tuning_rates(catalogue: assets.Catalogue, seconds: float) -> dict[str, float]:
    """Samples a second of a whole training in a Tuner's thread, with nobody looking and with the live picture of notebook 06."""
    data = dataset.CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0)
    examples = torch.utils.data.default_collate([data[i * 97] for i in range(4)])
    result: dict[str, list[float]] = {"nobody looking": [], "live picture": []}
    for name in [*result] * 2:  # in turns: the machine's moods hit both
        with tempfile.TemporaryDirectory() as folder:
            loader = dataset.loader(data, 32, samples=32 * 10_000)
            config = training.TrainingConfig(epochs=1)
            tuner = widgets.Tuner(training.Trainer(MaskDepthNet(), loader, [], folder, config, z_near=1.5, say=lambda line: None), examples)
            if name == "live picture":
                tuner.on_update = lambda tuner=tuner: widgets.png(
                    plots.tuning(tuner.record, tuner.trainer.history, widgets.mosaic(examples, *tuner.predictions()))
                )
            tuner.start()
            tuner.wait(20)
            before, start = len(tuner.record), time.perf_counter()
            time.sleep(max(4 * seconds, 3 * tuner.every))
            result[name].append(32 * (len(tuner.record) - before) / (time.perf_counter() - start))
            tuner.stop()
    return {name: float(np.mean(rates)) for name, rates in result.items()}


class Augmented(torch.utils.data.Dataset):
    """Another dataset's samples through our augmentation and capture differences: what the same work costs on files."""

    def __init__(self, data) -> None:
        self.data, self.geometry, self.capture = data, augment.geometry(), augment.CaptureDifferences(1.0)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng, tensors = np.random.default_rng(index), self.data[index]
        sample = {name: (tensors[name].permute(1, 2, 0).numpy() * 255).astype(np.uint8) for name in ("background", "image")}
        sample |= {name: tensors[name][0].numpy() for name in ("mask", "depth")}
        sample = augment.crop(augment.seeded(self.geometry, rng)(**sample), SIZE, rng)
        sample["background"], sample["image"] = self.capture(sample["background"], sample["image"], sample["mask"], rng)
        return dataset.to_tensors(sample)


def loading_rates(catalogue: assets.Catalogue, seconds: float, count: int = 200) -> dict[str, float]:
    """Samples a second of one process: composites made on the fly against four JPEG files a sample at 220 px."""
    kinds = {
        "on the fly": dataset.CompositeDataset(catalogue, size=SIZE),
        "on the fly, augmented, capture differences": dataset.CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0),
        "the same with full variety": dataset.CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0, variety=1.0),
    }
    with tempfile.TemporaryDirectory() as folder:
        _write_source_folder(Path(folder), catalogue, count)
        kinds["FolderDataset (same files)"] = folders.FolderDataset(folder, size=SIZE)
        kinds["the source's way, augmented like ours"] = Augmented(SourceDataset(Path(folder), count, SIZE))
        kinds["the source's way (JPEG, PIL, torchvision)"] = SourceDataset(Path(folder), count, SIZE)
        return {name: rate(_reader(data, count), seconds) for name, data in kinds.items()}


def _reader(data, count: int) -> Callable[[], int]:
    order = np.random.default_rng(0).choice(len(data), count, replace=len(data) < count).tolist()

    def read() -> int:
        for index in order:
            data[index]
        return count

    return read


def _write_source_folder(folder: Path, catalogue: assets.Catalogue, count: int) -> None:
    composites = dataset.CompositeDataset(catalogue, size=220)
    for name in ("bg", "fg_bg", "fg_bg_mask", "depthmap"):
        (folder / name).mkdir()
    for number in range(1, count + 1):
        sample = composites.composite(number - 1)
        files = {
            "fg_bg/fg_bg": sample["image"],
            "fg_bg_mask/fg_bg_mask": sample["mask"] * 255,
            "depthmap/depth": 255 - sample["depth"] * 255,
        }
        for name, picture in files.items():
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{name}_{number}.jpg")
    Image.fromarray(composites.composite(0)["background"]).save(folder / "bg" / "bg_1.jpg")


def waiting(catalogue: assets.Catalogue, seconds: float) -> dict[str, float]:
    """Samples a second of whole training, and how much of that time a step waits for its batch: in process and with workers."""
    data = dataset.CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0)
    result = {}
    for workers in (0, 1, 2):
        batches = iter(dataset.loader(data, BATCH, samples=BATCH * 10_000, workers=workers))
        with tempfile.TemporaryDirectory() as folder:
            config = training.TrainingConfig(epochs=1)
            trainer = training.Trainer(MaskDepthNet(), [0] * 10_000, [], folder, config, z_near=1.5, say=lambda line: None)
            trainer.net.train()
            for _ in range(8):  # workers have to read the scenes first, and to fill their queues
                trainer.step(next(batches))
            waited, steps, start = 0.0, 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                before = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - before
                trainer.step(batch)
                steps += 1
        spent = time.perf_counter() - start
        result[f"{workers} workers, samples/s"] = steps * BATCH / spent
        result[f"{workers} workers, % of the time waiting"] = 100 * waited / spent
    return result


def inference_rates(seconds: float) -> dict[str, float]:
    """Pairs a second: batches of 64 at 64 px, and single pairs of 220 px through the Predictor."""
    net = MaskDepthNet().eval()
    photos = torch.rand(2, BATCH, 3, SIZE, SIZE)
    run = metrics.network(net.to(memory_format=torch.channels_last))
    pair = (torch.rand(2, 220, 220, 3) * 255).byte().numpy()
    predictor = predict.Predictor(MaskDepthNet())

    def batched() -> int:
        with torch.no_grad():
            run(photos[0], photos[1])
        return BATCH

    return {
        "64 px, batches of 64": rate(batched, seconds),
        "220 px, one pair": rate(lambda: predictor(*pair).mask.shape[0] // 220, seconds),
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each figure is measured")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    catalogue = assets.load_catalogue()
    data = dataset.CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0)
    batch = torch.utils.data.default_collate([data[i * 97 % len(data)] for i in range(BATCH)])
    report: dict = {"machine": f"{os.cpu_count()} cores, {cpu_name()}, torch {torch.__version__}", "networks": {}, "rates": {}}
    for name, net in (("ours", MaskDepthNet()), ("source", SourceNet())):
        cost = {
            "parameters": parameters(net),
            "multiply_adds": multiply_adds(net, SIZE),
            "receptive_field": receptive_field(net, 512 if name == "ours" else 96),
        }
        report["networks"][name] = cost
        print(
            f"{name:<8}{cost['parameters']:>12,} parameters {cost['multiply_adds'] / 1e6:>10,.0f} M multiply-adds at 64 px   "
            f"receptive field {cost['receptive_field']} px"
        )
    sections = (
        ("training, samples/s at 64 px", lambda: training_rates(batch, options.seconds), "source"),
        (
            "loading, samples/s a process at 64 px",
            lambda: loading_rates(catalogue, options.seconds),
            "the source's way (JPEG, PIL, torchvision)",
        ),
        ("one step of training, samples/s at 64 px, a choice at a time taken back", lambda: choices(batch, options.seconds), "as it is"),
        ("tuning by hand, samples/s at 64 px", lambda: tuning_rates(catalogue, options.seconds), "nobody looking"),
        ("training with the loader at 64 px", lambda: waiting(catalogue, options.seconds), None),
        ("inference, pairs/s", lambda: inference_rates(options.seconds), None),
    )
    for title, measure, reference in sections:
        print(f"\n{title}", flush=True)
        report["rates"][title] = rates = measure()
        for name, value in rates.items():
            ratio = f"{value / rates[reference]:>10.1f} x" if reference else ""
            print(f"  {name:<46}{value:>12,.1f}{ratio}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
