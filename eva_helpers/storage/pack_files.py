"""The files of a pack: its description, and arrays that are mapped into memory."""

import copy
import hashlib
import io
import math
import os
import re
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from eva_helpers.files import InputError, paths_in, write_whole
from eva_helpers.schemas import MAX_SIDE, Count, Whole
from eva_helpers.shards import Shard, part_of
from eva_helpers.storage.folders import FolderDataset

ARRAYS = {"image": (3,), "mask": (), "depth": (), "backgrounds": (3,)}  # uint8, then (S, S)
FORMAT: Literal["eva_helpers.pack 2"] = "eva_helpers.pack 2"


class Pack(TypedDict):
    """What `pack.json` says of a finished pack."""

    format: Literal["eva_helpers.pack 2"]
    size: Annotated[Whole, Field(ge=1, le=MAX_SIDE)]
    count: Count
    read: dict[str, Any]  # how the files were read
    files: str  # their hash


def description(composites: FolderDataset) -> Pack:
    """What `pack.json` says of a pack of `composites`."""
    return {
        "format": FORMAT,
        "size": composites.size,
        "count": len(composites),
        "read": composites.settings,
        "files": files_hash(composites),
    }


def files_hash(composites: FolderDataset) -> str:
    """A hash of all samples' files by name, size and time: it differs once one has changed."""
    digest = hashlib.sha256()
    stats = {path: path.stat() for path in {path for item in composites.items for path in item}}
    for path in (path for item in composites.items for path in item):
        size_and_time = f"{stats[path].st_size}|{stats[path].st_mtime_ns}"
        digest.update(f"{path.parent.name}/{path.name}|{size_and_time}\n".encode())
    return digest.hexdigest()


def backgrounds_of(composites: FolderDataset) -> list[Path]:
    """The backgrounds in the order in which a pack stores them."""
    return sorted({item.background for item in composites.items})


def samples_of(composites: FolderDataset, shard: Shard) -> FolderDataset:
    """The samples of a part. Raises InputError: it is no part."""
    part = copy.copy(composites)
    part.items = composites.items[part_of(len(composites), shard)]
    return part


def part_folder(folder: Path, shard: Shard) -> Path:
    """Where a part is packed until all are joined."""
    return folder / f"part-{shard[0] + 1}-of-{shard[1]}"


def parts_in(folder: Path) -> dict[Path, Shard]:
    """The parts that a folder holds."""
    found = ((path, re.fullmatch(r"part-(\d+)-of-(\d+)", path.name)) for path in paths_in(folder))
    return {path: (int(match[1]) - 1, int(match[2])) for path, match in found if match}


def shapes_of(count: int, backgrounds: int, size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of a pack."""
    counts = dict.fromkeys(ARRAYS, count) | {"backgrounds": backgrounds}
    return {name: (counts[name], *ARRAYS[name], size, size) for name in ARRAYS}


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array of uint8 whose space is reserved: on a full disk a store into it would
    end the process. Raises InputError where it cannot be made."""
    try:
        path.unlink(missing_ok=True)  # else a link would be followed
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path} could not be made ({error.strerror}): check the free space, then repeat."
        ) from None
    return array


def array_of(
    path: Path, dtype: type, shape: tuple[int, ...], mode: Literal["r", "r+"] = "r"
) -> np.memmap:
    """A memory-mapped array. Raises InputError where it is damaged, another one or a link."""
    try:
        array: np.memmap = np.load(path, mmap_mode=mode)
        fits = array.dtype == dtype and array.shape == shape and not path.is_symlink()
    except (OSError, ValueError, EOFError):
        fits = False
    if not fits or array.size == 0 or (dtype is np.int32 and array.min() < 0):
        kind = f"{dtype.__name__} {shape}"
        raise InputError(f"{path} is no array {kind} of this pack: remove the folder, pack again.")
    return array


def open_arrays(
    folder: Path, composites: FolderDataset, mode: Literal["w+", "r+"]
) -> dict[str, np.memmap]:
    """The arrays of a pack; `mode` is "w+" to make them, "r+" to continue.

    Raises:
        InputError: the disk is too small, or one of them is damaged.
    """
    backgrounds = backgrounds_of(composites)
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
    return {name: new_array(paths[name], shape) for name, shape in shapes.items()}
