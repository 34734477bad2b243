"""Predicting images in threads, one for each core."""

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from eva_helpers.files import InputError
from eva_helpers.hardware import cores, return_freed_memory
from eva_helpers.predict.frames import Source
from eva_helpers.predict.outputs import Maps
from eva_helpers.predict.pairing import align_background, check_pair
from eva_helpers.predict.predictor import Photo, Predictor, load_pair

AHEAD = 2  # images under way for each thread
STEP = 64  # px: few sizes of boxes, and memory
TRIM = 30  # images: is returned so often, so that it stays flat


class Workers:
    """Predicts one image; each thread with its own copy of the network, whose layers have modes."""

    def __init__(
        self, background: Photo, weights: str | os.PathLike | None, resize: bool, align: bool
    ) -> None:
        self.background = background
        self.resize = resize
        self.align = align
        self.passes = Predictor.load(weights).passes
        self._own = threading.local()

    def __call__(self, source: Source) -> Maps | str:
        """Maps of an image; a sentence where it is refused."""
        if not hasattr(self._own, "passes"):
            torch.set_num_threads(1)
            self._own.passes = type(self.passes)(self.passes.net, self.passes.size, STEP)
        try:
            scene, photo = load_pair(self.background, source, self.resize)
        except InputError as error:
            return str(error)
        problem = ""
        if self.align:
            check = check_pair(scene, photo)
            problem = "" if check.same_place else check.verdict
            scene = align_background(scene, check, photo) if check.problems else scene
        mask, depth = self._own.passes.maps(scene, photo)
        return Maps(scene, photo, mask, depth, problem)


def in_order(
    work: Workers, sources: Iterable[tuple[str, Source]]
) -> Iterator[tuple[str, Maps | str]]:
    """Names and results, in order; never more than a few images are in memory."""
    with _threads() as pool:
        pending: deque[tuple[str, Future]] = deque()
        for number, (name, source) in enumerate(sources, 1):
            pending.append((name, pool.submit(work, source)))
            if len(pending) >= AHEAD * cores():
                first, future = pending.popleft()
                yield first, future.result()
            if number % TRIM == 0:
                return_freed_memory()
        for name, future in pending:
            yield name, future.result()


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """A thread for each core, in which torch computes with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(cores())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
