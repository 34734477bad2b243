"""Packing folders of composites into memory-mapped arrays, which are read at memory speed."""

import hashlib
import io
import math
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import BatchSampler, DataLoader, Dataset

from eva_helpers.data import EpochSampler
from eva_helpers.data.dataset import Tensors
from eva_helpers.files import InputError, checked_path, is_file, read_json, write_json, write_whole
from eva_helpers.schemas import Whole, checked, read_as
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.pack_files import Pack, array_of, shapes_of
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
        if composites is not None and _state(composites) != self.state:
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
    progress: Progress = lambda done: None,
) -> PackedDataset:
    """Decode all samples once, at the dataset's size, into memory-mapped arrays in `folder`.

    Each background is stored once. Depth is stored as its square root in 8 bits, which keeps
    distant detail. After an interruption, the same call continues.

    Raises:
        InputError: a file is damaged, or has changed since it was packed (name, size or time);
            the folder holds something else; the disk is too small.
    """
    folder = Path(folder)
    if (folder / "pack.json").is_file():
        return PackedDataset(folder, composites)
    record = folder / "progress.json"
    state = _state(composites)
    claim(folder, record.name, {"format": state["format"]})
    known = read_json(record)
    resumed = state.items() <= known.items()
    backgrounds = sorted({item.background for item in composites.items})
    # Tasks from 0 are samples; those below are backgrounds, counted from the last one.
    first = known.get("next", -len(backgrounds)) if resumed else -len(backgrounds)
    done = Annotated[Whole, Field(ge=-len(backgrounds), le=len(composites))]
    first = checked(done, first, f"{record}: next")
    arrays = _open_arrays(folder, composites, backgrounds, "r+" if resumed else "w+")
    progress(max(first, 0))
    tasks = range(first, len(composites))
    entries = in_order(partial(_decode, composites, backgrounds), tasks, workers)
    for task, entry in zip(tasks, entries, strict=True):
        for name, array in entry.items():
            arrays[name][task] = array
        progress(int(task >= 0))
        if task % RECORD == 0:
            write_json(record, state | {"next": task + 1})
    write_json(folder / "pack.json", state)
    record.unlink()
    return PackedDataset(folder, composites)


def files_hash(composites: FolderDataset) -> str:
    """A hash of all samples' files by name, size and time: it differs once one has changed."""
    digest = hashlib.sha256()
    stats = {path: path.stat() for path in {path for item in composites.items for path in item}}
    for path in (path for item in composites.items for path in item):
        size_and_time = f"{stats[path].st_size}|{stats[path].st_mtime_ns}"
        digest.update(f"{path.parent.name}/{path.name}|{size_and_time}\n".encode())
    return digest.hexdigest()


def _state(composites: FolderDataset) -> Pack:
    return {
        "format": "eva_helpers.pack 2",
        "size": composites.size,
        "count": len(composites),
        "read": composites.settings,
        "files": files_hash(composites),
    }


def _open_arrays(
    folder: Path, composites: FolderDataset, backgrounds: list[Path], mode: str
) -> dict[str, np.ndarray]:
    """The arrays of a pack; `mode` is "w+" to make them, "r+" to continue."""
    shapes = shapes_of(len(composites), len(backgrounds), composites.size)
    needed = sum(math.prod(shape) for shape in shapes.values())
    if mode == "w+" and shutil.disk_usage(folder).free < needed:
        raise InputError(f"{folder} needs {needed / 1e9:.1f} GB: choose a disk with more space.")
    numbers = {background: number for number, background in enumerate(backgrounds)}
    background_of = [numbers[item.background] for item in composites.items]
    stored = io.BytesIO()
    np.save(stored, np.array(background_of, np.int32))
    write_whole(folder / "background_of.npy", stored.getvalue())
    paths = {name: folder / f"{name}.npy" for name in shapes}
    if mode == "r+":
        return {
            name: array_of(paths[name], np.uint8, shape, "r+") for name, shape in shapes.items()
        }
    for path in paths.values():
        path.unlink(missing_ok=True)  # else a link would be followed
    made = np.lib.format.open_memmap
    return {name: made(paths[name], "w+", np.uint8, shape) for name, shape in shapes.items()}


def _decode(composites: FolderDataset, backgrounds: list[Path], task: int) -> dict[str, np.ndarray]:
    """What `task` stores in the arrays: uint8 (3, S, S) and (S, S)."""
    if task < 0:
        return {"backgrounds": composites.photo(backgrounds[task]).transpose(2, 0, 1)}
    sample = composites.arrays(task)
    maps = {"mask": sample["mask"], "depth": np.sqrt(sample["depth"].clip(0, 1))}
    stored = {name: np.rint(255 * unit).astype(np.uint8) for name, unit in maps.items()}
    return stored | {"image": sample["image"].transpose(2, 0, 1)}
