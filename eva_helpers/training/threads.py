"""How many threads a training on a CPU uses: chosen by the time of its steps.

Threads of OpenMP wait for each other many times in a step. Where another program takes a core, all
of them wait for the one that was interrupted, and fewer threads are faster.
"""

import os
import time
from collections.abc import Callable
from statistics import median

import torch

from eva_helpers.hardware import cores

EVERY = 100  # steps at least, from one comparison to the next
TRIED = 3  # steps with each number of threads
WARM = 10  # steps before the first comparison
COST = 0.02  # share of the time that comparisons may take
CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Threads:
    """Uses one thread or all of `most`, whichever has made the faster steps.

    Call `next_step` before each step. From time to time, three steps are made with each number, in
    turn, and their medians compared: every hundred steps, or less often where the slower number is
    so slow that trying it costs more than COST. `most` 1: nothing is changed.
    """

    def __init__(
        self,
        most: int,
        use: Callable[[int], None] = torch.set_num_threads,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.most = most
        self.used = most
        self._use = use
        self._clock = clock
        self._steps = 0
        self._compare_at = WARM
        self._begun = 0.0
        self._seconds: dict[int, list[float]] = {}

    def next_step(self) -> None:
        """A step begins now, and the one before ends."""
        if self.most == 1:
            return
        now = self._clock()
        trial = self._steps - self._compare_at
        if 0 < trial <= 2 * TRIED:
            self._seconds.setdefault(self.used, []).append(now - self._begun)
        if 0 <= trial < 2 * TRIED:
            self._set(1 if trial % 2 else self.most)
        elif trial == 2 * TRIED:
            self._choose()
        self._steps += 1
        self._begun = now

    def _choose(self) -> None:
        """Use the faster number until the next comparison."""
        medians = {count: median(values) for count, values in self._seconds.items()}
        faster, slower = sorted(medians, key=lambda count: medians[count])
        lost = TRIED * (medians[slower] / medians[faster] - 1)  # in steps of the faster number
        self._compare_at += max(EVERY, round(lost / COST))
        self._seconds.clear()
        self._set(faster)

    def end(self) -> None:
        """Use all of them again."""
        self._set(self.most)

    def _set(self, count: int) -> None:
        if count != self.used:
            self._use(count)
        self.used = count


def threads_of_this_process(device: torch.device, processes: int) -> Threads:
    """What may be chosen here: nothing on a GPU, beside other processes, or against the user.

    A user chooses with OMP_NUM_THREADS or `torch.set_num_threads`, which is noticed where it
    differs from what torch takes itself: all cores, or one thread a core of two.
    """
    now = torch.get_num_threads()
    chosen = any(name in os.environ for name in CHOSEN_BY_USER)
    free = device.type == "cpu" and processes == 1 and not chosen and now in (cores(), cores() // 2)
    return Threads(now if free else 1)
