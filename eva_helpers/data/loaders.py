"""Batches and statistics of the samples of any dataset."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, Subset

from eva_helpers.data.dataset import MAPS, Tensors
from eva_helpers.files import InputError


def fixed_sample(dataset: Dataset[Tensors], count: int, seed: int = 0) -> Subset[Tensors]:
    """`count` items (or all) drawn without replacement; the same for the same seed."""
    total = len(dataset)  # type: ignore[arg-type]
    order = np.random.default_rng(seed).choice(total, size=min(count, total), replace=False)
    return Subset(dataset, np.sort(order).tolist())


class EpochSampler(Sampler[int]):
    """Random items of 0 to `total` - 1, drawn from `seed` and the epoch alone.

    `samples` of them make an epoch (None: all); none is drawn twice before all were drawn. Each
    iteration is the next epoch, from 0 or from that of `set_epoch`.
    """

    def __init__(self, total: int, samples: int | None = None, seed: int = 0) -> None:
        self.total = total
        self.samples = samples or total
        self.seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of `epoch`, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        drawn = np.random.default_rng((self.seed, self._epoch)).integers(2**63)
        self._epoch += 1
        generator = torch.Generator().manual_seed(int(drawn))
        everything = range(self.total)
        return iter(RandomSampler(everything, num_samples=self.samples, generator=generator))


def set_epoch(loader: Any, epoch: int) -> None:
    """Let the next iteration of a loader be that of `epoch`, if its sampler or data know epochs."""
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(epoch)
        return
    for name in ("batch_sampler", "sampler", "dataset"):
        if getattr(loader, name, None) is not None:
            set_epoch(getattr(loader, name), epoch)


def data_settings(data: Any) -> dict[str, Any]:
    """What decides the samples of a loader or dataset: its plain values, by attribute.

    Lists (of scenes, files) become a checksum of ids and file names, so a moved folder is the same.
    """
    values = dict(vars(data)) if hasattr(data, "__dict__") else {"items": data}
    if isinstance(data, DataLoader):
        values = {name: values[name] for name in ("dataset", "batch_size", "drop_last")}
        values["sampler"] = data.sampler if data.batch_size else data.batch_sampler or data.sampler
    values.pop("data_source", None)  # a sampler's, the dataset again
    plain = {name: _plain(value) for name, value in values.items() if not name.startswith("_")}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """A JSON value that stands for `value`, or None."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Dataset | DataLoader | Sampler):
        return {"kind": type(value).__name__} | data_settings(value)
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        text = json.dumps([_plain(each) for each in value])
        return f"{len(value)} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"
    return getattr(value, "id", None)  # of scenes, cut-outs and pairs


def make_loader(
    dataset: Dataset[Tensors],
    batch_size: int = 64,
    *,
    samples: int | None = None,
    shuffle: bool = False,
    workers: int | None = 0,
    seed: int = 0,
) -> DataLoader[Tensors]:
    """A DataLoader; `samples` random items make an epoch (None: all), as in `EpochSampler`.

    `workers` None starts one process per core where a GPU trains, and none where the training
    itself needs the cores. Several training processes of one machine share its cores.
    """
    if workers is None:
        cores = (os.cpu_count() or 0) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = cores if torch.cuda.is_available() else 0
    sampler = None
    if samples or shuffle:
        sampler = EpochSampler(len(cast(Sized, dataset)), samples, seed)
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=sampler is not None and len(sampler) >= batch_size,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),  # leaves the global one alone
    )


@contextmanager
def watched_processes(remedy: str) -> Iterator[None]:
    """Raises InputError with `remedy` where a loader's process was killed within."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        cause = "a process that loads samples was killed, perhaps for lack of memory"
        raise InputError(f"{cause}: {remedy}.") from None


class Alternate:
    """Several loaders as one: the batches of all of them, evenly interleaved."""

    def __init__(self, loaders: Sequence[Any]) -> None:
        self.loaders = loaders
        turns = [
            ((number + 0.5) / len(loader), which)
            for which, loader in enumerate(loaders)
            for number in range(len(loader))
        ]
        self.order = [which for _, which in sorted(turns)]

    def __len__(self) -> int:
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be that of `epoch`, in all loaders."""
        for loader in self.loaders:
            set_epoch(loader, epoch)

    def __iter__(self) -> Iterator[Tensors]:
        batches = [iter(loader) for loader in self.loaders]
        return (next(batches[which]) for which in self.order)


def channel_statistics(samples: Iterable[Tensors]) -> dict[str, tuple[list[float], list[float]]]:
    """Mean and standard deviation of each channel of each of the MAPS, in one pass."""
    totals: dict[str, torch.Tensor] = {}  # (3, channels): pixels, sums, sums of squares
    for sample in samples:
        for name in MAPS:
            values = sample[name].double().flatten(1)
            count = values.new_full(values.shape[:1], values.shape[1])
            sums = torch.stack([count, values.sum(1), values.square().sum(1)])
            totals[name] = totals[name] + sums if name in totals else sums
    result = {}
    for name, (count, total, squares) in totals.items():
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        result[name] = (mean.tolist(), deviation.tolist())
    return result
