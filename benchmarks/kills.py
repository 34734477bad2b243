"""Commands that are killed, or find the disk full: `python -m benchmarks.kills`.

Each is killed at random moments and at its file operations (`benchmarks.killing`), or the disk is
full from one of them on. The same command then has to end with the files of one that was never
killed, without leftovers, and with everything else in the folder as it was.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from benchmarks.kill_cases import cases
from benchmarks.killing import FULL, KINDS, MOMENT, OPERATION, Case, Trial, Trials
from benchmarks.timing import cpu_name
from eva_helpers.files import command_line, output_file, write_json

ORDER = (OPERATION, MOMENT, OPERATION, MOMENT, FULL)
COLUMNS = (*KINDS, "resumed right", "lost anything", "seconds twice, most", "seconds")


def measure(every: list[Case], kills: int, seed: int, home: Path) -> tuple[dict, list[str]]:
    """`kills` trials, divided equally: a row for each command, and what went wrong."""
    trials = []
    for number, case in enumerate(every):
        folder = home / str(number)
        folder.mkdir()
        trials.append(Trials(case, folder, seed + number))
    found: list[list[Trial]] = [[] for _ in every]
    for number in range(kills):
        turn, which = divmod(number, len(every))
        found[which].append(trials[which].trial(ORDER[(which + turn) % len(ORDER)]))
        for problem in found[which][-1].problems:
            print(problem, file=sys.stderr, flush=True)
    rows = {each.case.name: row(own, each.seconds) for each, own in zip(trials, found, strict=True)}
    return rows, [problem for own in found for trial in own for problem in trial.problems]


def row(trials: list[Trial], seconds: float) -> dict[str, float]:
    """What the report says of a command's trials."""
    counts = {kind: sum(trial.kind == kind for trial in trials) for kind in KINDS}
    right = {"resumed right": sum(not trial.problems for trial in trials)}
    lost = {"lost anything": sum(bool(trial.lost) for trial in trials)}
    twice = {"seconds twice, most": max((trial.seconds for trial in trials), default=0.0)}
    return {"kills": len(trials)} | counts | right | lost | twice | {"seconds": seconds}


def single_threaded() -> None:
    """One thread, and no GPU: a process that has had more must not fork."""
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "1"}
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    tqdm.monitor_interval = 0
    tqdm.set_lock(
        threading.RLock()
    )  # its own is shared with children, and a kill may leave it held


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Kill, repeat, compare; exit status 1 where one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and operations")
    parser.add_argument("--only", default="", help="commands whose names contain this")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    single_threaded()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name).resolve()
        (home / "inputs").mkdir()
        every = [case for case in cases(home / "inputs") if options.only in case.name]
        rows, problems = measure(every, options.kills, options.seed, home)
    print(f"{'':<44}" + "".join(f"{name:>20}" for name in ("kills", *COLUMNS)))
    for name, found in rows.items():
        cells = (f"{value:>20.3g}" for value in found.values())
        print(f"{name:<44}" + "".join(cells))
    print(f"{options.kills} kills, {len(problems)} problems, {time.perf_counter() - start:.0f} s")
    if options.json:
        report = {"processor": cpu_name(), "seed": options.seed, "commands": rows}
        write_json(options.json, report | {"problems": problems})
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
