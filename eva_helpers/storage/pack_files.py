"""The files of a pack: its description, and arrays that are mapped into memory."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from eva_helpers.files import InputError
from eva_helpers.schemas import MAX_SIDE, Count, Whole

ARRAYS = {"image": (3,), "mask": (), "depth": (), "backgrounds": (3,)}  # uint8, then (S, S)


class Pack(TypedDict):
    """What `pack.json` says of a finished pack."""

    format: Literal["eva_helpers.pack 2"]
    size: Annotated[Whole, Field(ge=1, le=MAX_SIDE)]
    count: Count
    read: dict[str, Any]  # how the files were read
    files: str  # their hash


def shapes_of(count: int, backgrounds: int, size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of a pack."""
    counts = dict.fromkeys(ARRAYS, count) | {"backgrounds": backgrounds}
    return {name: (counts[name], *ARRAYS[name], size, size) for name in ARRAYS}


def array_of(
    path: Path, dtype: type, shape: tuple[int, ...], mode: Literal["r", "r+"] = "r"
) -> np.ndarray:
    """A memory-mapped array. Raises InputError where it is damaged, another one or a link."""
    try:
        array = np.load(path, mmap_mode=mode)
        fits = array.dtype == dtype and array.shape == shape and not path.is_symlink()
    except (OSError, ValueError, EOFError):
        fits = False
    if not fits or array.size == 0 or (dtype is np.int32 and array.min() < 0):
        kind = f"{dtype.__name__} {shape}"
        raise InputError(f"{path} is no array {kind} of this pack: remove the folder, pack again.")
    return array
