"""The share that each of several processes has in every batch, and batches from any step on."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, Sampler

from eva_helpers.data.loaders import Alternate
from eva_helpers.files import InputError

ALIKE = (
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn",
    "multiprocessing_context", "generator", "prefetch_factor", "persistent_workers",
)  # fmt: skip


class BatchShare(Sampler[list[int]]):
    """The share of process `number` (from 0) of `count` in the batches of a batch sampler.

    The samples of a batch are dealt out in turn. The next iteration leaves out `start` batches,
    whose samples are not made. With `everyone`, a batch in which somebody would get nothing is an
    InputError, otherwise it is left out where there is nothing.
    """

    def __init__(self, batch_sampler: Any, number: int, count: int, everyone: bool) -> None:
        self.batch_sampler = batch_sampler
        self.sampler = getattr(batch_sampler, "sampler", None)  # `set_epoch` looks for it
        self.number = number
        self.count = count
        self.everyone = everyone
        self.start = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[int]]:
        batches = _without(iter(self.batch_sampler), self.start)
        self.start = 0
        # At once, wherever it starts: a sampler may draw its order when it is asked for a batch.
        batches = chain(list(islice(batches, 1)), batches)
        return (share for batch in batches if (share := self._share(batch)))

    def _share(self, batch: list[int]) -> list[int]:
        if self.everyone and len(batch) < self.count:
            raise _too_small(len(batch), self.count)
        return batch[self.number :: self.count]


class TensorShare:
    """As `BatchShare`, for batches that are there already or come from another loader."""

    def __init__(self, batches: Any, number: int, count: int) -> None:
        self.batches = batches
        self.number = number
        self.count = count

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            share = {name: values[self.number :: self.count] for name, values in batch.items()}
            if len(next(iter(share.values()))):
                yield share


def divided(loader: Any, number: int = 0, count: int = 1, everyone: bool = True) -> Any:
    """`loader` with the share of process `number` of `count` in each of its batches.

    Together, the processes get the batches of one, and a loader's samples are made only by the
    process that gets them. With `everyone`, each process needs a share of every batch.

    Raises:
        InputError: with `everyone`, the batch size is not a multiple of `count`.
    """
    if isinstance(loader, Alternate):
        return Alternate([divided(each, number, count, everyone) for each in loader.loaders])
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset):
        return loader if count == 1 else TensorShare(loader, number, count)
    if loader.batch_sampler is None:
        return loader if count == 1 else TensorShare(loader, number, count)
    size = getattr(loader.batch_sampler, "batch_size", None) or count
    if everyone and size % count:
        raise InputError(
            f"a batch of {size} samples cannot be divided equally among {count} processes: "
            f"choose a multiple of {count}, or another number of processes."
        )
    share = BatchShare(loader.batch_sampler, number, count, everyone)
    alike = {name: getattr(loader, name) for name in ALIKE}
    return DataLoader(loader.dataset, batch_sampler=share, **alike)


def batches_from(loader: Any, start: int) -> Iterator[Any]:
    """The batches of an epoch of `loader` (see `divided`) from number `start` on.

    Whatever the order of samples is drawn from is drawn in this call.
    """
    if isinstance(loader, Alternate):
        begun = Counter(loader.order[:start])
        parts = [batches_from(each, begun[which]) for which, each in enumerate(loader.loaders)]
        return (next(parts[which]) for which in loader.order[start:])
    share = getattr(loader, "batch_sampler", None)
    if isinstance(share, BatchShare):
        share.start = start
        return iter(loader)
    return _without(iter(loader), start)


def _without(iterator: Iterator[Any], count: int) -> Iterator[Any]:
    """`iterator` after its first `count` items."""
    next(islice(iterator, count, count), None)
    return iterator


def _too_small(samples: int, processes: int) -> InputError:
    return InputError(
        f"a batch of {samples} samples is too small for {processes} processes: "
        "use fewer processes, or a loader that drops an incomplete last batch."
    )
