"""A limit on the cost of what is repeated beside a training."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pace:
    """When work may be repeated: after `every` seconds, but in at most `share` of the time, (0, 1].

    `clock` gives the time in seconds; `meter` what the work costs, if not the time it takes.
    """

    def __init__(
        self, every: float, share: float,
        clock: Callable[[], float] = time.monotonic, meter: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self.every = every
        self.share = share
        self.clock = clock
        self.meter = meter or clock
        self._next = -math.inf

    def due(self) -> bool:
        """Whether the work may be done now."""
        return self.clock() >= self._next

    @contextmanager
    def work(self) -> Iterator[None]:
        """Do the work in this context, which measures what it costs."""
        start = self.clock()
        before = self.meter()
        try:
            yield
        finally:
            self._next = start + max(self.every, (self.meter() - before) / self.share)
