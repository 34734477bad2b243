"""Batches and statistics of the samples of any dataset."""

import os
from collections.abc import Iterable, Sized
from typing import cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset

from eva_helpers.data.dataset import MAPS, Tensors


def fixed_sample(dataset: Dataset[Tensors], count: int, seed: int = 0) -> Subset[Tensors]:
    """`count` items (or all) drawn without replacement; the same for the same seed."""
    total = len(dataset)  # type: ignore[arg-type]
    order = np.random.default_rng(seed).choice(total, size=min(count, total), replace=False)
    return Subset(dataset, np.sort(order).tolist())


def make_loader(
    dataset: Dataset[Tensors],
    batch_size: int = 64,
    *,
    samples: int | None = None,
    shuffle: bool = False,
    workers: int | None = 0,
    seed: int = 0,
) -> DataLoader[Tensors]:
    """A DataLoader; `samples` random items, drawn from `seed`, make an epoch (None: all items).

    `workers` None starts one process per core where a GPU trains, and none where the training
    itself needs the cores.
    """
    if workers is None:
        workers = (os.cpu_count() or 0) if torch.cuda.is_available() else 0
    generator = torch.Generator().manual_seed(seed)
    sampler = None
    if samples or shuffle:
        sized = cast(Sized, dataset)  # a map-style dataset
        sampler = RandomSampler(sized, num_samples=samples, generator=generator)
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=sampler is not None and len(sampler) >= batch_size,
        persistent_workers=workers > 0,
        generator=generator,
    )


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
