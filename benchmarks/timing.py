"""Measuring and printing rates."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def rate(work: Callable[[], int], seconds: float) -> float:
    """Units of work a second: the median of repetitions that together last `seconds`.

    `work` does some work and returns how many units. A first call warms up.
    """
    work()
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while len(rates) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        units = work()
        rates.append(units / (time.perf_counter() - start))
    return float(np.median(rates))


def show(rates: dict[str, float], reference: str | None = None) -> None:
    """Print rates, and their ratios to the one called `reference`."""
    for name, value in rates.items():
        ratio = f"{value / rates[reference]:>10.1f} x" if reference else ""
        print(f"  {name:<46}{value:>12,.1f}{ratio}", flush=True)


def cpu_name() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
