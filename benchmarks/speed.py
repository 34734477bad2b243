"""Speed of networks, training, loading and inference: `make bench`.

Everything is measured in one run on one machine, beside the original project's way. Absolute rates
depend on the machine and on what else runs; read the ratios.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.data import default_collate

from benchmarks.loading import ORIGINAL, loading_rates, waiting
from benchmarks.steps import optimisations, training_rates
from benchmarks.timing import cpu_name, rate, show
from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import make_loader
from eva_helpers.evaluation.original import OriginalNet
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.model.inference import inference
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.profile import multiply_adds, parameters, receptive_field
from eva_helpers.plots.charts import tuning
from eva_helpers.predict.predictor import Predictor
from eva_helpers.training import Trainer, TrainingConfig
from eva_helpers.tuning.live import DRAWING, tuner_panel
from eva_helpers.tuning.pictures import mosaic
from eva_helpers.tuning.tuner import Tuner

SIZE = 64  # px
BATCH = 64
TUNING_BATCH = 32


def tuning_rates(catalogue: Catalogue, seconds: float) -> dict[str, float]:
    """Samples a second of a whole training in a Tuner's thread, without and with live picture."""
    data = CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0)
    examples = default_collate([data[i * 97] for i in range(4)])
    result: dict[str, list[float]] = {"no picture": [], "live picture": []}
    for name in [*result] * 2:  # in turns, because a machine's speed varies
        with tempfile.TemporaryDirectory() as folder:
            loader = make_loader(data, TUNING_BATCH, samples=TUNING_BATCH * 10_000)
            config = TrainingConfig(epochs=1)
            trainer = Trainer(MaskDepthNet(), loader, [], folder, config, z_near=1.5)
            tuner = Tuner(trainer, examples)
            panel = tuner_panel(tuner, draw, folder)
            poll = panel.poll if name == "live picture" else lambda: None
            result[name].append(tuner_rate(tuner, max(4 * seconds, 3 * DRAWING[0]), poll))
    return {name: float(np.mean(rates)) for name, rates in result.items()}


def draw(tuner: Tuner) -> Figure:
    """The live picture of notebook 06."""
    picture = mosaic(tuner.examples, *tuner.predictions())
    return tuning(tuner.record, tuner.trainer.history, picture)


def tuner_rate(tuner: Tuner, seconds: float, poll: Callable[[], None]) -> float:
    """Samples a second of a tuner that runs for `seconds` after a start of 20 steps.

    `poll` is called once a second, as by the front end.
    """
    tuner.start()
    tuner.wait(20)
    before = len(tuner.record)
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        poll()
        time.sleep(1)
    steps = len(tuner.record) - before
    spent = time.perf_counter() - start
    tuner.stop()
    return TUNING_BATCH * steps / spent


def inference_rates(seconds: float) -> dict[str, float]:
    """Pairs a second: batches at 64 px, and single pairs of 220 px through the Predictor."""
    background, image = torch.rand(2, BATCH, 3, SIZE, SIZE)
    pair = (torch.rand(2, 220, 220, 3) * 255).byte().numpy()
    method = inference(MaskDepthNet())
    predictor = Predictor(MaskDepthNet())
    return {
        "64 px, batches of 64": rate(lambda: len(method(background, image)[0]), seconds),
        "220 px, one pair": rate(lambda: predictor(*pair).mask.shape[0] // 220, seconds),
    }


def costs() -> dict[str, dict[str, int]]:
    """Parameters, multiply-adds at 64 px and receptive field in px of both networks."""
    result = {}
    for name, net, side in (("ours", MaskDepthNet(), 512), ("original", OriginalNet(), 96)):
        result[name] = cost = {
            "parameters": parameters(net),
            "multiply_adds": multiply_adds(net, SIZE),
            "receptive_field": receptive_field(net, side),
        }
        print(
            f"{name:<9}{cost['parameters']:>12,} parameters "
            f"{cost['multiply_adds'] / 1e6:>10,.0f} M multiply-adds at {SIZE} px   "
            f"receptive field {cost['receptive_field']} px",
            flush=True,
        )
    return result


class Section(NamedTuple):
    """One table: its title, its measurement, and the row that others are compared with."""

    title: str
    measure: Callable[[], dict[str, float]]
    reference: str | None = None


def sections(seconds: float) -> list[Section]:
    """All measurements, each figure for `seconds`."""
    catalogue = load_catalogue()
    data = CompositeDataset(catalogue, size=SIZE, augment=True, strength=1.0)
    batch = default_collate([data[i * 97 % len(data)] for i in range(BATCH)])
    at = f"samples/s at {SIZE} px"
    return [
        Section(f"training, {at}", lambda: training_rates(batch, seconds), "original"),
        Section(
            f"loading, samples/s per process at {SIZE} px",
            lambda: loading_rates(catalogue, SIZE, seconds),
            ORIGINAL,
        ),
        Section(
            f"training step, {at}, one optimisation disabled at a time",
            lambda: optimisations(batch, seconds),
            "as it is",
        ),
        Section(f"manual tuning, {at}", lambda: tuning_rates(catalogue, seconds), "no picture"),
        Section(
            f"training with the loader at {SIZE} px",
            lambda: waiting(catalogue, SIZE, BATCH, seconds),
        ),
        Section("inference, pairs/s", lambda: inference_rates(seconds)),
    ]


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="per figure (default: %(default)s)"
    )
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as the Trainer does, whose single steps are measured here
    machine = f"{os.cpu_count()} cores, {cpu_name()}, torch {torch.__version__}"
    report: dict = {"machine": machine, "networks": costs(), "rates": {}}
    for title, measure, reference in sections(options.seconds):
        print(f"\n{title}", flush=True)
        report["rates"][title] = measure()
        show(report["rates"][title], reference)
    if options.json:
        write_json(options.json, report)


if __name__ == "__main__":
    sys.exit(main())
