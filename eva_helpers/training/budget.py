"""How much training fits into a time."""

import time
from collections.abc import Callable, Iterable

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.training.processes import any_of

STEPS = 4  # are measured at least, after as many that are slower


def step_speed(
    batches: Iterable[Batch], step: Callable[[Batch], object], seconds: float
) -> tuple[float, float]:
    """Seconds a step and samples a second, loading included, measured for about `seconds`.

    Of several processes, all measure until one has measured enough; samples are those of one.
    """
    start = time.perf_counter()
    ends = [start]
    counts = []
    for batch in batches:
        step(batch)
        ends.append(time.perf_counter())
        counts.append(len(batch["image"]))
        if any_of(len(counts) >= 2 * STEPS and ends[-1] - start > seconds):
            break
    first = len(counts) // 2  # from here on, caches are filled
    spent = ends[-1] - ends[first]
    return spent / (len(counts) - first), sum(counts[first:]) / spent


def affordable(
    seconds: float, step: float, validation: float, epochs: int, steps: int
) -> tuple[int, int]:
    """How many of `epochs` epochs, and of their `steps`, can be trained and validated in `seconds`.

    `step` and `validation` are the seconds that one of each takes. At least one step of one epoch.
    """
    fitting = int(seconds / (steps * step + validation))
    if fitting >= 1:
        return min(epochs, fitting), steps
    return 1, min(steps, max(1, int((seconds - validation) / step)))
