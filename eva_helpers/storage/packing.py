"""Packing folders of composites into memory-mapped arrays, which are read at memory speed."""

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import BatchSampler, DataLoader, Dataset

from eva_helpers.data import EpochSampler
from eva_helpers.data.dataset import Tensors
from eva_helpers.files import InputError, checked_path, is_file, read_json, write_json
from eva_helpers.schemas import Whole, checked, read_as
from eva_helpers.shards import Shard, part_of
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.pack_files import (
    FORMAT,
    Pack,
    array_of,
    backgrounds_of,
    description,
    open_arrays,
    part_folder,
    parts_in,
    samples_of,
    shapes_of,
)
from eva_helpers.storage.writing import Progress, claim, in_order

RECORD = 100  # samples between two records of progress


class PackedDataset(Dataset[Tensors]):
    """The result of `pack`: `packed[i]` is a sample, `packed[[i, j, ...]]` a batch (far faster).

    Raises:
        InputError: the pack is unfinished, or the files of `composites`, if given, have changed.
    """

    def __init__(self, folder: str | os.PathLike, composites: FolderDataset | None = None) -> None:
        self.folder = checked_path(folder)
        if not is_file(self.folder / "pack.json"):
            raise InputError(f"{folder} holds no finished pack: make or finish it with `pack`.")
        self.state: Pack = read_as(Pack, self.folder / "pack.json", "the description of a pack")
        if composites is not None and description(composites) != self.state:
            raise InputError(
                f"{folder} is stale: the files in {composites.folder} have changed, or are read "
                "with other settings; remove it and pack again."
            )
        count, size = self.state["count"], self.state["size"]
        numbers = array_of(self.folder / "background_of.npy", np.int32, (count,))
        self.background_of = np.array(numbers)
        backgrounds = int(self.background_of.max()) + 1
        self.arrays = {
            name: array_of(self.folder / f"{name}.npy", np.uint8, shape)
            for name, shape in shapes_of(count, backgrounds, size).items()
        }

    def __len__(self) -> int:
        return len(self.background_of)

    def raw(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """uint8 `background`, `image` (B, 3, S, S), `mask` and `depth` (B, 1, S, S) as stored.

        The stored depth is 255 times the square root of inverse depth.
        """
        indices = np.asarray(indices)
        background = self.arrays["backgrounds"][self.background_of[indices]]
        maps = {name: self.arrays[name][indices][:, None] for name in ("mask", "depth")}
        return {"background": background, "image": self.arrays["image"][indices]} | maps

    def __getitem__(self, index: int | Sequence[int] | np.ndarray) -> Tensors:
        raw = self.raw(np.atleast_1d(index))
        tensors = {name: torch.from_numpy(array).float().div_(255) for name, array in raw.items()}
        tensors["depth"].square_()
        return {name: batch[0] if np.ndim(index) == 0 else batch for name, batch in tensors.items()}

    def batches(self, batch_size: int = 64, seed: int = 0) -> DataLoader:
        """A loader that reads whole batches at once, shuffled from `seed` and the epoch."""
        order = EpochSampler(len(self), seed=seed)
        sampler = BatchSampler(order, batch_size, drop_last=len(self) >= batch_size)
        return DataLoader(_Whole(self), batch_sampler=sampler, collate_fn=_same)


class _Whole(Dataset[Tensors]):
    """A pack of which a loader takes whole batches."""

    def __init__(self, packed: PackedDataset) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> Tensors:
        return self.packed[index]

    def __getitems__(self, indices: list[int]) -> Tensors:
        return self.packed[indices]


def _same(batch: Any) -> Any:
    return batch


def pack(
    composites: FolderDataset,
    folder: str | os.PathLike,
    *,
    workers: int = 1,
    shard: Shard = (0, 1),
    progress: Progress = lambda done: None,
) -> PackedDataset | None:
    """Decode all samples once, at the dataset's size, into memory-mapped arrays in `folder`.

    Each background is stored once. Depth is stored as its square root in 8 bits, which keeps
    distant detail. After an interruption, the same call continues.

    With `shard`, (number, count) from (0, count), only this part of the samples is packed, as a
    pack of its own inside `folder`: all shards may do so at the same time, and a call without
    `shard` ends the work. It joins and removes the parts, and packs what they lack. Of a shard,
    None is returned.

    Raises:
        InputError: a file is damaged, or has changed since it was packed (name, size or time);
            the folder holds something else; the disk is too small.
    """
    folder = Path(folder)
    own = samples_of(composites, shard)
    if shard[1] == 1 or is_file(folder / "pack.json"):
        return _packed(composites, folder, workers, progress)
    claim(folder, "progress.json", {"format": FORMAT}, leftovers=[])
    if own.items:
        _packed(own, part_folder(folder, shard), workers, progress)
    return None


def _packed(
    composites: FolderDataset, folder: Path, workers: int, progress: Progress
) -> PackedDataset:
    """The pack in `folder`, finished if it is not."""
    record = folder / "progress.json"
    if is_file(folder / "pack.json"):
        packed = PackedDataset(folder, composites)
        record.unlink(missing_ok=True)  # of a call that was killed at its end
        return packed
    state = description(composites)
    claim(folder, record.name, {"format": FORMAT})
    tasks, mode = _left(record, state, composites)
    arrays = open_arrays(folder, composites, mode)
    if tasks:  # else the parts may have been removed
        joined = _join(folder, composites, arrays, workers)
        tasks = [task for task in tasks if not joined[task]]
    progress(len(composites) - sum(task >= 0 for task in tasks))
    decode = partial(_decode, composites, backgrounds_of(composites))
    for task, entry in zip(tasks, in_order(decode, tasks, workers), strict=True):
        for name, array in entry.items():
            arrays[name][task] = array
        progress(int(task >= 0))
        if task % RECORD == 0:
            write_json(record, state | {"next": task + 1})
    for memory in arrays.values():
        memory.flush()
    write_json(record, state | {"next": len(composites)})
    for path in parts_in(folder):
        shutil.rmtree(path)
    write_json(folder / "pack.json", state)
    record.unlink()
    return PackedDataset(folder, composites)


def _left(
    record: Path, state: Pack, composites: FolderDataset
) -> tuple[Sequence[int], Literal["r+", "w+"]]:
    """The tasks that are left, and how to open the arrays.

    Tasks from 0 are samples; those below are backgrounds, counted from the last one.
    """
    known = read_json(record)
    first = -len(backgrounds_of(composites))
    if not state.items() <= known.items():
        return range(first, len(composites)), "w+"
    done = Annotated[Whole, Field(ge=first, le=len(composites))]
    return range(checked(done, known.get("next", first), f"{record}: next"), len(composites)), "r+"


def _join(
    folder: Path, composites: FolderDataset, arrays: dict[str, np.memmap], workers: int
) -> np.ndarray:
    """Copy what the parts in `folder` hold into `arrays`; returns which tasks that does, bool."""
    backgrounds = backgrounds_of(composites)
    place = {path: number - len(backgrounds) for number, path in enumerate(backgrounds)}
    joined = np.zeros(len(backgrounds) + len(composites), bool)
    for path, shard in parts_in(folder).items():
        part = samples_of(composites, shard)
        packed = _packed(part, path, workers, lambda done: None)
        tasks: dict[str, Any] = dict.fromkeys(arrays, part_of(len(composites), shard))
        tasks |= {"backgrounds": [place[background] for background in backgrounds_of(part)]}
        for name, array in arrays.items():
            array[tasks[name]] = packed.arrays[name]
            joined[tasks[name]] = True
    return joined


def _decode(composites: FolderDataset, backgrounds: list[Path], task: int) -> dict[str, np.ndarray]:
    """What `task` stores in the arrays: uint8 (3, S, S) and (S, S)."""
    if task < 0:
        return {"backgrounds": composites.photo(backgrounds[task]).transpose(2, 0, 1)}
    sample = composites.arrays(task)
    maps = {"mask": sample["mask"], "depth": np.sqrt(sample["depth"].clip(0, 1))}
    stored = {name: np.rint(255 * unit).astype(np.uint8) for name, unit in maps.items()}
    return stored | {"image": sample["image"].transpose(2, 0, 1)}
