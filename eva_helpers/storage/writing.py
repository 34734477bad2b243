"""Writing composites as files, in several processes and so that a killed call can be repeated."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info

from eva_helpers.data import CompositeDataset, watched_processes
from eva_helpers.data.composer import Arrays
from eva_helpers.files import InputError, make_folder, same_settings, write_json, write_whole
from eva_helpers.partials import remove_partials
from eva_helpers.shards import Shard
from eva_helpers.storage import cards
from eva_helpers.storage.numbering import FOLDERS, STEMS
from eva_helpers.storage.settings import settings_of

BATCH = 25  # tasks that a process does at a time
FILES = ("number", "image", "mask", "depth", "background")  # with ORIGIN: the manifest's columns
HUGGING_FACE = ("number", "file_name", "mask_file_name", "depth_file_name", "background_file_name")
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
    JPEG, as the original project's. `metadata.csv` and `README.md` let Hugging Face's `datasets`
    load the folder. After an interruption, the same call continues: files get their names only when
    they are whole, and those that exist are kept.

    With `shard`, (number, count) from (0, count), only this part of the files is written, and no
    manifest: all shards may write into one folder at the same time, and a call without `shard`
    ends the work. Of a shard, None is returned.

    Raises:
        InputError: `count` is out of range; the folder holds something else, or composites with
            other settings; the disk is full.
    """
    folder = Path(folder)
    items = drawn(composites, count)
    settings = {"format": "eva_helpers.folders 2", "jpeg": jpeg} | settings_of(composites, items)
    number, parts = shard
    claim(folder, "settings.json", settings, ["**/*"] if parts == 1 else [])
    for name in FOLDERS:
        make_folder(folder / name)
    for scene in range(number, len(composites.scenes), parts):
        path = folder / f"{STEMS['background']}_{scene + 1}.jpg"
        if not path.exists():
            write_whole(path, encode(composites.scene(scene).background, ".jpg"))
    write = partial(_write, composites, folder, items, ".jpg" if jpeg else ".png")
    rows = []
    for row in in_order(write, range(number, len(items), parts), workers):
        rows.append(row)
        progress(1)
    if parts > 1:
        return None
    cards.write_card(composites, folder, len(items), cards.FOLDERS, 8 if jpeg else 16)
    if not (folder / "metadata.csv").exists():
        write_whole(folder / "metadata.csv", _table(HUGGING_FACE + ORIGIN, rows))
    return write_whole(folder / "manifest.csv", _table(FILES + ORIGIN, rows))


def _table(header: Sequence[str], rows: Iterable[Sequence]) -> bytes:
    """As CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def drawn(composites: CompositeDataset, count: int | None) -> np.ndarray:
    """`count` items drawn from the dataset's seed (None: all), ascending.

    Raises:
        InputError: `count` is out of range.
    """
    total = len(composites)
    count = total if count is None else count
    if not 1 <= count <= total:
        raise InputError(
            f"--count is {count:,}: this catalogue gives 1 to {total:,} composites; "
            "raise `positions` for more."
        )
    rng = np.random.default_rng(composites.seed)
    return np.sort(rng.choice(total, count, replace=False, shuffle=False))


def _write(
    composites: CompositeDataset, folder: Path, items: np.ndarray, suffix: str, index: int
) -> tuple:
    """Write composite `index` (from 0) unless it is there; returns its row of the manifest."""
    item = int(items[index])
    suffixes = {"image": ".jpg", "mask": suffix, "depth": suffix}
    names = {kind: f"{STEMS[kind]}_{index + 1}{end}" for kind, end in suffixes.items()}
    if not all((folder / name).exists() for name in names.values()):
        maps = stored(composites.composite(item), np.uint8 if suffix == ".jpg" else np.uint16)
        for kind, name in names.items():
            write_whole(folder / name, encode(maps[kind], suffixes[kind]))
    background = f"{STEMS['background']}_{composites.where(item)[0] + 1}.jpg"
    return (index + 1, *names.values(), background, *origin(composites, item))


def origin(composites: CompositeDataset, item: int) -> tuple:
    """What `item` is made of: the values of ORIGIN."""
    scene, cutout, position, flip = composites.where(item)
    ids = (composites.scenes[scene].id, composites.objects[cutout].id)
    return (*ids, position, int(flip), item, composites.seed)


def stored(sample: Arrays, dtype: type) -> Arrays:
    """A sample with mask uint8 and depth of `dtype`, dark where near, over the whole range."""
    far = (1.0 - sample["depth"]) * np.iinfo(dtype).max
    mask = np.rint(sample["mask"] * 255).astype(np.uint8)
    return sample | {"mask": mask, "depth": np.rint(far).astype(dtype)}


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """uint8 RGB or grey, or uint16 grey (H, W[, 3]), as JPEG (quality 95) or fast PNG."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 95]
    options = jpeg if suffix == ".jpg" else FAST_PNG[picture.dtype.name]
    return cv2.imencode(suffix, picture, options)[1].tobytes()


def claim(folder: Path, record: str, settings: dict, leftovers: Sequence[str] = ("**/*",)) -> None:
    """Make `folder` with `settings` in its file `record`; or tidy up after a killed call.

    `leftovers` are patterns of the files that a killed call may have left unfinished.

    Raises:
        InputError: the folder holds something else, or `record` has other settings.
    """
    # seen before the record, which another process may write
    there = [p for p in make_folder(folder).iterdir() if not p.match(f"{record}.*.partial")]
    remedy = "choose another folder, or the same settings"
    if not same_settings(folder / record, settings, remedy):
        if there:
            raise InputError(
                f"{folder} is not empty and was not begun by this command: "
                "choose another folder; nothing is overwritten."
            )
        write_json(folder / record, settings)
    remove_partials(folder, *leftovers)


def in_order(work: Callable[[int], Any], tasks: Sequence[int], workers: int) -> Iterator[Any]:
    """The results `work(task)` in order, computed in `workers` processes.

    Raises InputError as `work`, or where one of the processes was killed.
    """
    loader: DataLoader = DataLoader(
        tasks,  # type: ignore[arg-type]  # any sequence is a dataset
        BATCH,
        num_workers=workers if workers > 1 and len(tasks) > BATCH else 0,
        collate_fn=partial(_run, work),  # each process receives it once
        generator=torch.Generator(),  # otherwise it draws from torch's global one
    )
    with watched_processes(f"repeat with fewer --workers than {workers}"):
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
