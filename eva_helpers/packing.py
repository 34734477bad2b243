"""Packing folders of composites into memory-mapped arrays, from which training reads at memory speed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from eva_helpers.folders import CHUNK, FolderDataset, each, put
from eva_helpers.images import InputError

ARRAYS = {"image": (3,), "mask": (), "depth": (), "backgrounds": (3,)}  # uint8, each with (S, S) behind


def pack(
    source: FolderDataset, folder: str | os.PathLike, *, workers: int = 1, progress: Callable[[int], None] = lambda count: None
) -> PackedDataset:
    """Decode all samples of `source` once, at its size, into memory-mapped arrays in `folder`; returns them as a dataset.

    Each background is stored once, and depth as the square root of inverse depth in 8 bits, so that the far end keeps its detail. Can be
    killed and called again: it continues. A pack whose source files have changed since (name, size or time) is refused, not used.

    Raises:
        InputError: a file cannot be read; `folder` holds something else or a stale pack; the disk is full.
    """
    folder, state = Path(folder), _pack_state(source)
    if (folder / "pack.json").is_file():
        return PackedDataset(folder, source)
    done = _open_arrays(folder, source, state)
    chunks = [("backgrounds", chunk) for chunk in _chunks(len(_backgrounds(source)))] + [("samples", c) for c in _chunks(len(source))]
    todo = [(kind, chunk) for kind, chunk in chunks if [kind, chunk.start] not in done]
    progress(sum(len(chunk) for kind, chunk in chunks if kind == "samples" and [kind, chunk.start] in done))
    for (kind, chunk), _ in zip(todo, each(_Packer(source, folder), todo, workers), strict=True):
        done.append([kind, chunk.start])
        put(folder / "progress.json", json.dumps(state | {"done": done}).encode())
        progress(len(chunk) if kind == "samples" else 0)
    put(folder / "pack.json", json.dumps(state).encode())
    (folder / "progress.json").unlink()
    return PackedDataset(folder, source)


class PackedDataset(Dataset):
    """What `pack` made. `packed[i]` is a sample; `packed[[i, j, ...]]` a whole batch, which is far faster: use `batches`.

    With `source`, the pack is checked against its files.

    Raises:
        InputError: the pack is unfinished or missing, or a source file has changed since.
    """

    def __init__(self, folder: str | os.PathLike, source: FolderDataset | None = None) -> None:
        self.folder, path = Path(folder), Path(folder) / "pack.json"
        if not path.is_file():
            raise InputError(f"{folder} holds no finished pack: make or finish it with packing.pack.")
        self.state = json.loads(path.read_text())
        if source is not None and _pack_state(source) != self.state:
            raise InputError(f"{folder} is stale: its source {source.folder} has changed, or is read otherwise; remove it and pack again.")
        self.arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self.background_of = np.load(self.folder / "background_of.npy")

    def __len__(self) -> int:
        return len(self.background_of)

    def raw(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """The stored bytes: uint8 `background`, `image` (B, 3, S, S), `mask`, `depth` (B, 1, S, S); depth is the square root."""
        indices = np.asarray(indices)
        out = {"background": self.arrays["backgrounds"][self.background_of[indices]], "image": self.arrays["image"][indices]}
        return out | {name: self.arrays[name][indices][:, None] for name in ("mask", "depth")}

    def __getitem__(self, index: int | Sequence[int]) -> dict[str, torch.Tensor]:
        single = isinstance(index, (int, np.integer))
        tensors = {name: torch.from_numpy(a).float().div_(255) for name, a in self.raw([index] if single else index).items()}
        tensors["depth"].square_()
        return {name: value[0] for name, value in tensors.items()} if single else tensors

    def batches(self, batch_size: int = 64, seed: int = 0) -> DataLoader:
        """A shuffling loader that reads whole batches at once."""
        order = RandomSampler(self, generator=torch.Generator().manual_seed(seed))
        return DataLoader(self, sampler=BatchSampler(order, batch_size, drop_last=len(self) >= batch_size), batch_size=None)


def fingerprint(source: FolderDataset) -> str:
    """A hash of every file's name, size and time: changes when a source file does."""
    digest = hashlib.sha256()
    for path in sorted({path for item in source.items for path in (item.background, item.image, item.mask, item.depth)}):
        stat = path.stat()
        digest.update(f"{path.parent.name}/{path.name}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _pack_state(source: FolderDataset) -> dict:
    return {
        "format": "eva_helpers.pack 1", "size": source.size, "count": len(source), "near_is_dark": source.near_is_dark,
        "files": fingerprint(source),
    }  # fmt: skip


def _backgrounds(source: FolderDataset) -> list[Path]:
    return sorted({item.background for item in source.items})


def _chunks(count: int) -> list[range]:
    return [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _open_arrays(folder: Path, source: FolderDataset, state: dict) -> list[list]:
    """Make the arrays, or recognise those of a call that was killed; returns the chunks that are done."""
    path, ours = folder / "progress.json", {f"{name}.npy" for name in ARRAYS} | {"background_of.npy", "progress.json"}
    if path.is_file():
        known = json.loads(path.read_text())
        if {key: known.get(key) for key in state} == state:
            return known["done"]
    if folder.exists() and {p.name for p in folder.iterdir() if p.suffix != ".partial"} - ours:
        raise InputError(f"{folder} is not empty and is no pack: choose another folder; nothing is overwritten.")
    backgrounds = _backgrounds(source)
    number_of = {background: number for number, background in enumerate(backgrounds)}
    needed = (5 * len(source) + 3 * len(backgrounds)) * source.size**2
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < needed:
            raise InputError(f"{folder} needs {needed / 1e9:.1f} GB, which its disk does not have: choose another disk.")
        for name, channels in ARRAYS.items():
            count = len(backgrounds) if name == "backgrounds" else len(source)
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (count, *channels, source.size, source.size))
        np.save(folder / "background_of.npy", np.array([number_of[item.background] for item in source.items], np.int32))
    except OSError as error:
        raise InputError(f"{folder} cannot hold the pack ({error.strerror}): choose another folder.") from None
    put(path, json.dumps(state | {"done": []}).encode())
    return []


@dataclass
class _Packer:
    """Fills one chunk of the arrays; sent to every worker process."""

    source: FolderDataset
    folder: Path

    def __call__(self, task: tuple[str, range]) -> None:
        kind, chunk = task
        if kind == "backgrounds":
            stored, paths = self._array("backgrounds"), _backgrounds(self.source)
            for number in chunk:
                stored[number] = self.source.photo(paths[number]).transpose(2, 0, 1)
            stored.flush()
            return
        image, mask, depth = (self._array(name) for name in ("image", "mask", "depth"))
        for number in chunk:
            sample = self.source.arrays(number, background=False)
            image[number] = sample["image"].transpose(2, 0, 1)
            mask[number] = np.rint(255 * sample["mask"])
            depth[number] = np.rint(255 * np.sqrt(sample["depth"].clip(0, 1)))

    def _array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r+")
