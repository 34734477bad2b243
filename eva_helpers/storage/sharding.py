"""Composites as WebDataset shards: tar files that are read from front to back."""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eva_helpers.data import CompositeDataset
from eva_helpers.files import InputError, write_whole
from eva_helpers.storage import cards
from eva_helpers.storage.settings import settings_of
from eva_helpers.storage.writing import (
    ORIGIN,
    Progress,
    claim,
    drawn,
    encode,
    in_order,
    origin,
    stored,
)  # fmt: skip

FORMAT = "eva_helpers.shards 1"
SUFFIXES = {"background": ".jpg", "image": ".jpg", "mask": ".png", "depth": ".png"}
BYTES = 256_000_000  # of a shard, about
PER_PIXEL = 3  # bytes of a sample, about, most of them depth


def write_shards(
    composites: CompositeDataset,
    folder: str | os.PathLike,
    count: int | None = None,
    *,
    per_shard: int | None = None,
    shard: tuple[int, int] = (0, 1),
    workers: int = 1,
    progress: Progress = lambda done: None,
) -> list[Path]:
    """Write composites as tar files `SPLIT-000000.tar` ...; returns the paths of those in `shard`.

    They are those of `write_composites`, encoded alike, each with its background. The bytes follow
    from the composites and `per_shard` alone. A tar file is held in memory until it is whole. After
    an interruption, the same call continues; tar files that exist are kept.

    Args:
        composites: of which `count` are drawn from their seed (None: all).
        per_shard: samples in a tar file; None: as many as take about 256 MB.
        shard: (number, parts): every `parts`-th tar file, from `number`, which is from 0; so
            several processes or machines can write one folder.

    Raises:
        InputError: a number is out of range; the folder holds something else, samples with other
            settings, or a tar file that is cut short; the disk is full.
    """
    folder = Path(folder)
    items = drawn(composites, count)
    settings = _settings(composites, items, per_shard)
    number, parts = shard
    if not 0 <= number < parts:
        raise InputError(f"shard is {number + 1}/{parts}: expected 1/N to N/N.")
    mine = dict([*layout(folder, settings).items()][number::parts])
    own = ["settings.json", "README.md", *(path.name for path in mine)]
    claim(folder, "settings.json", settings, own if parts > 1 else ["*"])
    cards.write_card(composites, folder, len(items), cards.SHARDS)
    missing = {path: tasks for path, tasks in mine.items() if not is_whole(path)}
    progress(sum(map(len, mine.values())) - sum(map(len, missing.values())))
    work = partial(_encoded, composites, items, settings)
    samples = in_order(work, [task for tasks in missing.values() for task in tasks], workers)
    for path, tasks in missing.items():
        write_whole(path, _archive(samples, tasks, progress))
    return [*mine]


def _settings(composites: CompositeDataset, items: np.ndarray, per_shard: int | None) -> dict:
    if per_shard is None:
        per_shard = max(1, BYTES // (PER_PIXEL * composites.canvas**2))
    if per_shard < 1:
        raise InputError(f"--per-shard is {per_shard}: expected at least one sample.")
    catalogue = composites.catalogue
    settings = {"format": FORMAT, "split": composites.backgrounds or "all", "per_shard": per_shard}
    settings |= {"z_near": catalogue.z_near if catalogue.metric else None, "depth_white": 65535}
    return settings | settings_of(composites, items)


def layout(folder: Path, settings: Mapping[str, Any]) -> dict[Path, range]:
    """The tar files that a folder with `settings` has when it is finished, and their samples.

    Raises InputError for more than a million.
    """
    count, size = settings["count"], settings["per_shard"]
    if count > size * 10**6:  # names have six digits
        raise InputError(
            f"{folder} has too many shards: expected at most a million; raise per_shard."
        )
    samples = [range(first, min(first + size, count)) for first in range(0, count, size)]
    return {
        folder / f"{settings['split']}-{number:06d}.tar": numbers
        for number, numbers in enumerate(samples)
    }


def is_whole(path: Path) -> bool:
    """Whether there is a tar file `path`. Raises InputError if it lacks the mark of its end."""
    if not path.exists():
        return False
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        end = file.read()
    if not size or size % tarfile.RECORDSIZE or any(end):
        raise InputError(
            f"{path} is cut short: delete it, then repeat the command that wrote it, or copy it."
        )
    return True


def _encoded(
    composites: CompositeDataset, items: np.ndarray, settings: dict, number: int
) -> dict[str, bytes]:
    """The files of sample `number`, by suffix."""
    item = int(items[number])
    maps = stored(composites.composite(item), np.uint16)
    files = {f".{kind}{end}": encode(maps[kind], end) for kind, end in SUFFIXES.items()}
    about = dict(zip(ORIGIN, origin(composites, item), strict=True))
    about |= {name: settings[name] for name in ("depth", "depth_white", "z_near")}
    return files | {".json": json.dumps(about).encode()}


def _archive(samples: Iterator[dict[str, bytes]], numbers: range, progress: Progress) -> bytes:
    """A tar file of the next samples."""
    archive = io.BytesIO()
    with tarfile.TarFile(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in numbers:
            for suffix, data in next(samples).items():
                entry = tarfile.TarInfo(f"{number:09d}{suffix}")  # without time and owner
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
            progress(1)
    return archive.getvalue()
