"""Writing composites as files, in several processes and so that a killed call can be repeated."""

import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from eva_helpers.data import CompositeDataset
from eva_helpers.files import InputError, make_folder, same_settings, write_json, write_whole
from eva_helpers.shards import Shard
from eva_helpers.storage.numbering import FOLDERS, STEMS

BATCH = 25  # tasks that a process does at a time
FILES = ("number", "image", "mask", "depth", "background")  # with ORIGIN: the manifest's columns
ORIGIN = ("scene", "cutout", "position", "flip", "item", "seed")
_FILTER = ("IMWRITE_PNG_FILTER", "IMWRITE_PNG_FILTER_NONE")  # OpenCV 4.12; filters do not pay
_UNFILTERED = [getattr(cv2, name) for name in _FILTER if hasattr(cv2, name)]
_RUNS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
FAST_PNG = {  # masks have long runs; compressing the noisy low bytes of depth is not worth the time
    "uint8": [cv2.IMWRITE_PNG_COMPRESSION, 1, *_RUNS, *_UNFILTERED],
    "uint16": [cv2.IMWRITE_PNG_COMPRESSION, 0, *_UNFILTERED],
}
Progress = Callable[[int], object]  # called with the number of composites done since its last call


def write_composites(
    composites: CompositeDataset,
    folder: str | os.PathLike,
    count: int | None = None,
    *,
    jpeg: bool = False,
    workers: int = 1,
    shard: Shard = (0, 1),
    progress: Progress = lambda done: None,
) -> Path | None:
    """Write composites as files that `FolderDataset` reads; returns the manifest's path.

    All of them, or `count` drawn from the dataset's seed; in the dataset's order. Photos are JPEG
    (quality 95); masks (8 bit) and depths (16 bit, dark where near) are PNG, or with `jpeg` 8-bit
    JPEG, as the original project's. After an interruption, the same call continues: files get their
    names only when they are whole, and those that exist are kept.

    With `shard`, (number, count) from (0, count), only this part of the files is written, and no
    manifest: all shards may write into one folder at the same time, and a call without `shard`
    ends the work. Of a shard, None is returned.

    Raises:
        InputError: `count` is out of range; the folder holds something else, or composites with
            other settings; the disk is full.
    """
    folder = Path(folder)
    total = len(composites)
    count = total if count is None else count
    if not 1 <= count <= total:
        raise InputError(
            f"--count is {count:,}: this catalogue gives 1 to {total:,} composites; "
            "raise `positions` for more."
        )
    number, parts = shard
    claim(folder, "settings.json", _settings(composites, count, jpeg), tidy=parts == 1)
    for name in FOLDERS:
        make_folder(folder / name)
    for scene in range(number, len(composites.scenes), parts):
        path = folder / f"{STEMS['background']}_{scene + 1}.jpg"
        if not path.exists():
            write_whole(path, encode(composites.scene(scene).background, ".jpg"))
    rng = np.random.default_rng(composites.seed)
    items = np.sort(rng.choice(total, count, replace=False, shuffle=False))
    write = partial(_write, composites, folder, items, ".jpg" if jpeg else ".png")
    manifest = io.StringIO()
    table = csv.writer(manifest, lineterminator="\n")
    table.writerow(FILES + ORIGIN)
    for row in in_order(write, range(number, count, parts), workers):
        table.writerow(row)
        progress(1)
    if parts > 1:
        return None
    return write_whole(folder / "manifest.csv", manifest.getvalue().encode())


def _settings(composites: CompositeDataset, count: int, jpeg: bool) -> dict:
    ids = [scene.id for scene in composites.scenes] + [item.id for item in composites.objects]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    settings = {"format": "eva_helpers.folders 2", "depth": "near dark, far bright", "jpeg": jpeg}
    settings |= {"catalogue": composites.catalogue.name, "items": digest, "count": count}
    settings |= {"size": composites.canvas, "positions": composites.positions}
    options = ("placement", "empty", "true_pairs", "variety", "seed")
    return settings | {name: getattr(composites, name) for name in options}


def _write(
    composites: CompositeDataset, folder: Path, items: np.ndarray, suffix: str, index: int
) -> tuple:
    """Write composite `index` (from 0) unless it is there; returns its row of the manifest."""
    item = int(items[index])
    suffixes = {"image": ".jpg", "mask": suffix, "depth": suffix}
    names = {kind: f"{STEMS[kind]}_{index + 1}{end}" for kind, end in suffixes.items()}
    if not all((folder / name).exists() for name in names.values()):
        sample = composites.composite(item)
        dtype = np.uint8 if suffix == ".jpg" else np.uint16
        far = (1.0 - sample["depth"]) * np.iinfo(dtype).max
        maps = {"mask": np.rint(sample["mask"] * 255).astype(np.uint8)}
        maps |= {"image": sample["image"], "depth": np.rint(far).astype(dtype)}
        for kind, name in names.items():
            write_whole(folder / name, encode(maps[kind], suffixes[kind]))
    scene, cutout, position, flip = composites.where(item)
    files = (*names.values(), f"{STEMS['background']}_{scene + 1}.jpg")
    ids = (composites.scenes[scene].id, composites.objects[cutout].id)
    return (index + 1, *files, *ids, position, int(flip), item, composites.seed)


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """uint8 RGB or grey, or uint16 grey (H, W[, 3]), as JPEG (quality 95) or fast PNG."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 95]
    options = jpeg if suffix == ".jpg" else FAST_PNG[picture.dtype.name]
    return cv2.imencode(suffix, picture, options)[1].tobytes()


def claim(folder: Path, record: str, settings: dict, tidy: bool = True) -> None:
    """Make `folder` with `settings` in its file `record`; or `tidy` up after a killed call.

    Without `tidy`, another call may be writing into the folder.

    Raises:
        InputError: the folder holds something else, or `record` has other settings.
    """
    remedy = "choose another folder, or the same settings"
    # listed before the settings are read: another shard writes them first
    there = {*make_folder(folder).iterdir()}
    if not same_settings(folder / record, settings, remedy):
        if there - {*folder.glob(f"{record}.*.partial")}:
            raise InputError(
                f"{folder} is not empty and was not begun by this command: "
                "choose another folder; nothing is overwritten."
            )
        write_json(folder / record, settings)
    for leftover in folder.rglob("*.*.partial") if tidy else ():
        leftover.unlink()


def in_order(work: Callable[[int], Any], tasks: range, workers: int) -> Iterator[Any]:
    """The results `work(task)` in order, computed in `workers` processes."""
    loader: DataLoader = DataLoader(
        tasks,  # type: ignore[arg-type]  # any sequence is a dataset
        BATCH,
        num_workers=workers if workers > 1 and len(tasks) > BATCH else 0,
        collate_fn=partial(_run, work),  # each process receives it once
        generator=torch.Generator(),  # otherwise it draws from torch's global one
    )
    for results in loader:
        if isinstance(results, InputError):
            raise results
        yield from results


def _run(work: Callable[[int], Any], tasks: list[int]) -> list | InputError:
    if get_worker_info():
        cv2.setNumThreads(0)  # the other processes keep the cores busy
    try:
        return [work(task) for task in tasks]
    except InputError as error:
        return error  # raised here, its sentence would be buried in a traceback
