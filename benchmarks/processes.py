"""Two processes beside one, and what saving costs: `python -m benchmarks.processes`.

Trainings by `eva-helpers train` of the same samples in batches of the same size: one process with
all threads, and two with one thread each, in turn. The rate is that of the last epoch's steps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import cpu_name
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.training.command import make_trainer, parse

PROCESSES = 2
LAUNCH = ("-m", "torch.distributed.run", "--nproc-per-node", str(PROCESSES))
SAVES = 10


def training(folder: Path, options: argparse.Namespace) -> list[str]:
    """The command's module and arguments."""
    sizes = {"samples-per-epoch": options.samples, "batch-size": options.batch_size}
    given = {"out": folder, "epochs": 2, "validation-samples": 64, "workers": 0} | sizes
    pairs = [(f"--{name}", str(value)) for name, value in given.items()]
    return ["-m", "eva_helpers.training", *(part for pair in pairs for part in pair)]


def rate_of(command: list[str], folder: Path, threads: dict[str, str]) -> float:
    """Samples a second of the last epoch."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | threads
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    last = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return json.loads(last)["samples_per_second"]


def seconds_to_save(folder: Path, options: argparse.Namespace) -> float:
    """The median time of saving the state of a training."""
    trainer = make_trainer(parse([*training(folder, options)[2:], "--save-minutes", "1e-6"]))
    trainer.step(next(iter(trainer.train_loader)))  # from here on the optimiser has a state
    times = []
    for _ in range(SAVES):
        time.sleep(0.01)  # more than the time after which it saves again
        start = time.perf_counter()
        trainer.save_in_time()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=2048, help="of each epoch")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    rates: dict[str, list[float]] = {"one process": [], "two processes": []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds):
            one, two = (Path(name) / f"{kind}{number}" for kind in ("one", "two"))
            rates["one process"].append(rate_of(training(one, options), one, {}))
            command = [*LAUNCH, *training(two, options)]
            single = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
            rates["two processes"].append(rate_of(command, two, single))
            print({kind: round(values[-1], 1) for kind, values in rates.items()}, flush=True)
        saving = seconds_to_save(Path(name) / "saves", options)
    ratio = float(np.median(np.divide(rates["two processes"], rates["one process"])))
    print(f"two processes: {ratio:.2f} times the rate of one; a save takes {saving:.2f} s")
    if options.json:
        samples = {kind: float(np.median(values)) for kind, values in rates.items()}
        report = {"processor": cpu_name(), "batch": options.batch_size, "samples/s": samples}
        write_json(options.json, report | {"ratio": ratio, "seconds to save": saving})


if __name__ == "__main__":
    sys.exit(main())
