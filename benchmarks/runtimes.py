"""One pass of the network in several runtimes: `python -m benchmarks.runtimes`.

Pairs a second of 220 px, one at a time, on all cores: PyTorch as it is, as `predict` uses it
(bfloat16 where it is fast), compiled, and exported to onnxruntime; and the largest differences of
masks and depths from PyTorch's over test pairs of several sizes, with the mask IoU of each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from benchmarks.timing import cpu_name, rate, show
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, fixed_sample
from eva_helpers.export import MasksAndDepths, export_onnx
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.hardware import autocast
from eva_helpers.model import load_weights
from eva_helpers.paths import WEIGHTS

SIZE = 220  # px of the rates
SIZES = (64, 128, 220)  # px of the comparison
PAIRS = 50
Runtime = Callable[[Tensor, Tensor], tuple[np.ndarray, np.ndarray]]


def in_torch(net: torch.nn.Module, bfloat16: bool = False) -> Runtime:
    """Masks and depths by PyTorch."""

    def run(background: Tensor, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode(), autocast("cpu", bfloat16):
            mask, depth = net(background, image)
        return mask.float().numpy(), depth.float().numpy()

    return run


def in_onnxruntime(path: Path) -> Runtime:
    """Masks and depths by onnxruntime, with as many threads as PyTorch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(background: Tensor, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
        inputs = {"background": background.numpy(), "image": image.numpy()}
        mask, depth = session.run(["mask", "depth"], inputs)
        return mask, depth

    return run


def test_pairs(size: int, count: int) -> list[dict[str, Tensor]]:
    """Composites of unseen parks and dogs, with capture differences, a batch of one each."""
    data = CompositeDataset(load_catalogue(), "test", "test", size=size, strength=1.0)
    return [{k: v[None] for k, v in each.items()} for each in fixed_sample(data, count, 0)]


def compared(runtimes: dict[str, Runtime], pairs: list[dict[str, Tensor]]) -> dict[str, dict]:
    """Largest differences from the first runtime, and the mask IoU."""
    reference = next(iter(runtimes.values()))
    truths = [pair["mask"].numpy() > 0.5 for pair in pairs]
    expected = [reference(pair["background"], pair["image"]) for pair in pairs]
    result = {}
    for name, runtime in runtimes.items():
        found = [runtime(pair["background"], pair["image"]) for pair in pairs]
        differences = [
            max(
                float(np.abs(one[k] - other[k]).max())
                for one, other in zip(found, expected, strict=True)
            )
            for k in range(2)
        ]
        ious = [iou(mask > 0.5, truth) for (mask, _), truth in zip(found, truths, strict=True)]
        result[name] = {"mask": differences[0], "depth": differences[1], "mask IoU": np.mean(ious)}
    return result


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union; 1 for two empty masks."""
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else 1.0


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    net = load_weights(WEIGHTS)
    eager = MasksAndDepths(net).to(memory_format=torch.channels_last)
    result: dict = {"processor": cpu_name(), "differences": {}}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            runtimes = {"PyTorch": in_torch(eager), "PyTorch, bfloat16": in_torch(eager, True)}
            for name, half in (("onnxruntime", False), ("onnxruntime, half weights", True)):
                path = export_onnx(net, Path(folder) / f"{size}{half}.onnx", (size, size), half)
                runtimes[name] = in_onnxruntime(path)
                result.setdefault("MB", {})[name] = path.stat().st_size / 1e6
            result["differences"][f"{size} px"] = compared(runtimes, test_pairs(size, PAIRS))
            print(f"{size} px:", result["differences"][f"{size} px"], flush=True)
    pair = test_pairs(SIZE, 1)[0]
    start = time.perf_counter()
    compiled = in_torch(torch.compile(eager), True)
    compiled(pair["background"], pair["image"])
    result["seconds to compile"] = time.perf_counter() - start
    runtimes["PyTorch, bfloat16, compiled"] = compiled
    result["pairs a second"] = rates = {
        name: rate(
            lambda run=runtime: len(run(pair["background"], pair["image"])[0]), options.seconds
        )
        for name, runtime in runtimes.items()
    }
    show(rates, "PyTorch, bfloat16")
    print(f"compiling takes {result['seconds to compile']:.0f} s")
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
