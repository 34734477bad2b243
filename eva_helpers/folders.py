"""Composites as files: reading the source's folders (or any, through a manifest), and writing them.

Nothing here is needed to train on a catalogue (`dataset.CompositeDataset` makes composites on the fly); it is for those who want files,
or who have them.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

from eva_helpers.assets import PARK, SPLITS, load_catalogue, resize
from eva_helpers.dataset import PLACEMENTS, CompositeDataset, statistics, to_tensors
from eva_helpers.images import InputError, command_line, open_image, read_map

SOURCE_PER_BACKGROUND = 4000  # the source: 100 cut-outs x 20 positions x {plain, flipped} for each background
FOLDERS = ("bg", "fg_bg", "fg_bg_mask", "depthmap")
COLUMNS = ("number", "image", "mask", "depth", "background", "scene", "cutout", "position", "flip", "item", "seed")
# Row filters cost more than they save here; OpenCV before 4.12 cannot leave them out, and is slower.
_PLAIN = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE] if hasattr(cv2, "IMWRITE_PNG_FILTER") else []
FAST_PNG = {  # by dtype: masks are runs; a depth map's low bytes are noise: packing saves a third and takes ten times as long
    "uint8": [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, *_PLAIN],
    "uint16": [cv2.IMWRITE_PNG_COMPRESSION, 0, *_PLAIN],
}
CHUNK = 200  # composites that are written, or packed, between two records of progress


# --- reading --------------------------------------------------------------------------------------------------------------------------


class FolderDataset(Dataset):
    """Composites stored as files.

    With a `manifest.csv` in the folder, its columns `image`, `mask`, `depth`, `background` name the files of each sample. Without one,
    the source's folders and names: `fg_bg/fg_bg_N.jpg`, `fg_bg_mask/fg_bg_mask_N.jpg`, `depthmap/depth_N.jpg` and `bg/bg_B.jpg`, where
    composite N (from 1) belongs to background B = ceil(N / per_background). JPEG or PNG. Depth maps are read with the source's
    polarity, near dark and far bright, and inverted to the contract's near = 1; `near_is_dark=False` is for files that are the other
    way round.

    Raises:
        InputError: a folder or a sample's partner is missing, or the manifest names a file outside the folder.
    """

    def __init__(
        self, folder: str | os.PathLike, *, size: int = 64, per_background: int = SOURCE_PER_BACKGROUND, near_is_dark: bool = True
    ) -> None:
        self.folder, self.size, self.near_is_dark = Path(folder), size, near_is_dark
        self.polarity = "near dark, far bright (inverted on reading)" if near_is_dark else "near bright, far dark"
        manifest = self.folder / "manifest.csv"
        self.items = list(_from_manifest(manifest) if manifest.is_file() else _from_names(self.folder, per_background))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return to_tensors(self.arrays(index))

    def arrays(self, index: int, background: bool = True) -> dict[str, np.ndarray]:
        """Sample `index` at the dataset's size: `background`, `image` uint8 (S, S, 3), `mask`, `depth` float32 (S, S), near = 1."""
        item = self.items[index]
        depth = self._map(item.depth)
        sample = {"image": self.photo(item.image), "mask": self._map(item.mask), "depth": 1.0 - depth if self.near_is_dark else depth}
        return sample | ({"background": self.photo(item.background)} if background else {})

    def split(self, validation: float = 0.2, seed: int = 0) -> tuple[Subset, Subset]:
        """Training and validation subsets that share no background: composites of one background never part."""
        backgrounds = sorted({item.background for item in self.items})
        if len(backgrounds) < 2:
            raise InputError(f"{self.folder} has one background only: a split that does not leak needs at least two.")
        order = np.random.default_rng(seed).permutation(len(backgrounds))
        held = {backgrounds[i] for i in order[: max(1, round(validation * len(backgrounds)))]}
        inside = [index for index, item in enumerate(self.items) if item.background in held]
        outside = [index for index, item in enumerate(self.items) if item.background not in held]
        return Subset(self, outside), Subset(self, inside)

    def photo(self, path: Path) -> np.ndarray:
        """A photo file at the dataset's size, uint8 (S, S, 3)."""
        return resize(np.asarray(open_image(path, at_least=self.size).convert("RGB")), (self.size, self.size))

    def _map(self, path: Path) -> np.ndarray:
        stored = read_map(path, at_least=self.size)
        return resize(stored.astype(np.float32) / np.iinfo(stored.dtype).max, (self.size, self.size))


@dataclass(frozen=True)
class Item:
    """The files of one sample; `number` is the composite's."""

    number: int
    background: Path
    image: Path
    mask: Path
    depth: Path


def _from_names(folder: Path, per_background: int) -> Iterator[Item]:
    images, masks = _numbered(folder / "fg_bg", "fg_bg"), _numbered(folder / "fg_bg_mask", "fg_bg_mask")
    depths, backgrounds = _numbered(folder / "depthmap", "depth"), _numbered(folder / "bg", "bg")
    for number, image in sorted(images.items()):
        background = math.ceil(number / per_background)
        for name, have, key in (("fg_bg_mask", masks, number), ("depthmap", depths, number), ("bg", backgrounds, background)):
            if key not in have:
                raise InputError(f"{folder / name} has no file number {key}, which {image} needs: add it or remove the composite.")
        yield Item(number, backgrounds[background], image, masks[number], depths[number])


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not there: expected the source's folders {', '.join(FOLDERS)}, or a manifest.csv.")
    pattern = re.compile(rf"{re.escape(stem)}_(\d+)\.(jpe?g|png)", re.IGNORECASE)
    found = ((pattern.fullmatch(path.name), path) for path in folder.iterdir())
    numbered = {int(match[1]): path for match, path in found if match}
    if not numbered:
        raise InputError(f"{folder} holds no file called {stem}_1.jpg, {stem}_2.jpg ...: check that this is the right folder.")
    return numbered


def _from_manifest(path: Path) -> Iterator[Item]:
    folder = path.parent.resolve()
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        missing = {"image", "mask", "depth", "background"} - set(reader.fieldnames or ())
        if missing:
            raise InputError(f"{path} has no column {', '.join(sorted(missing))}: expected at least image, mask, depth, background.")
        known: dict[str, Path] = {}
        for line, row in enumerate(reader, 1):
            files = {name: _inside(folder, row[name], path, known) for name in ("background", "image", "mask", "depth")}
            yield Item(int(row.get("number") or line), **files)


def _inside(folder: Path, name: str, manifest: Path, known: dict[str, Path]) -> Path:
    """The file `name` of a manifest, checked once for each name."""
    if name not in known:
        path = folder / (name or "")
        if not name or not Path(os.path.normpath(path)).is_relative_to(folder) or not path.resolve().is_relative_to(folder):
            raise InputError(f"{manifest} names {name!r}, which is outside its folder: only files inside are read.")
        if not path.is_file():
            raise InputError(f"{path} is not there, but {manifest.name} names it: restore it or remove the line.")
        known[name] = path
    return known[name]


# --- writing --------------------------------------------------------------------------------------------------------------------------


def write(
    pairs: CompositeDataset,
    folder: str | os.PathLike,
    count: int | None = None,
    *,
    jpeg: bool = False,
    workers: int = 1,
    progress: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write composites of `pairs` in the source's folders and names, with a `manifest.csv`; returns its path.

    All of them, or `count` drawn from the dataset's seed, in the source's order. Photos are JPEG (quality 95); masks (8 bit) and depths
    (16 bit, near dark as the source's) are PNG, or JPEG like everything else with `jpeg`. Can be killed at any time: files get their
    final names only when they are whole, and calling it again continues where it was.

    Raises:
        InputError: the folder holds something else, or a write with other settings; the disk is full.
    """
    folder, total = Path(folder), len(pairs)
    count = total if count is None else count
    if not 1 <= count <= total:
        raise InputError(f"--count is {count:,}: this catalogue gives 1 to {total:,} composites; raise `positions` for more.")
    settings = _settings(pairs, count, jpeg)
    parts = _claim(folder, settings)
    for leftover in (path for name in (*FOLDERS, ".parts") for path in (folder / name).glob("*.partial")):
        leftover.unlink()  # of a call that was killed
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    todo = [(number, chunk) for number, chunk in enumerate(chunks) if not (parts / f"{number:06d}.csv").exists()]
    progress(count - sum(len(chunk) for _, chunk in todo))
    _write_backgrounds(pairs, folder)
    drawn = np.arange(total) if count == total else np.random.default_rng(pairs.seed).choice(total, count, replace=False, shuffle=False)
    for written in each(_Job(pairs, folder, np.sort(drawn), jpeg), todo, workers):
        progress(written)
    return _merge(folder, parts, len(chunks))


def each(job: Callable, tasks: list, workers: int) -> Iterator:
    """`job(task)` for every task, in order; in `workers` processes, to which the job goes once and not with every task."""
    if workers <= 1 or len(tasks) <= 1:
        yield from map(job, tasks)
        return
    with ProcessPoolExecutor(min(workers, len(tasks)), initializer=_start, initargs=(job,)) as pool:
        yield from pool.map(_work, tasks)


_job: Callable | None = None  # a worker process's own


def _start(job: Callable) -> None:
    global _job
    _job = job
    cv2.setNumThreads(0)  # the cores are busy with the other processes


def _work(task: object) -> object:
    return _job(task)


def _settings(pairs: CompositeDataset, count: int, jpeg: bool) -> dict:
    catalogue = pairs.catalogue
    ids = [scene.id for scene in pairs.scenes] + [cutout.id for cutout in pairs.objects]
    return {
        "format": "eva_helpers.folders 2", "catalogue": catalogue.name, "items": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16],
        "count": count, "size": pairs.canvas, "positions": pairs.positions, "placement": pairs.placement, "seed": pairs.seed,
        "empty": pairs.empty, "jpeg": jpeg, "depth": "near dark, far bright",
    }  # fmt: skip


def _claim(folder: Path, settings: dict) -> Path:
    """Make the folders, or recognise those of an earlier call with the same settings; returns where the manifest's parts are."""
    path = folder / "settings.json"
    if path.is_file():
        known = json.loads(path.read_text())
        differs = [key for key in settings if known.get(key) != settings[key]]
        if differs:
            raise InputError(f"{folder} holds composites with another {', '.join(differs)}: choose another folder or the same settings.")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty and was not written by this command: choose another folder; nothing is overwritten.")
    parts = folder / ".parts"
    try:
        for name in (*FOLDERS, ".parts"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}): choose another folder.") from None
    if not path.is_file():
        put(path, json.dumps(settings, indent=1).encode())
    return parts


def put(path: Path, data: bytes) -> None:
    """Write a file under its final name only when it is whole."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(
            f"{path} could not be written ({error.strerror or error}): free some space and run the same command again."
        ) from None


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """uint8 (H, W[, 3]) RGB or uint16 (H, W) as JPEG (quality 95) or fast PNG."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else FAST_PNG[picture.dtype.name]
    return cv2.imencode(suffix, picture, options)[1].tobytes()


def _write_backgrounds(pairs: CompositeDataset, folder: Path) -> None:
    for number in range(len(pairs.scenes)):
        path = folder / "bg" / f"bg_{number + 1}.jpg"
        if not path.exists():
            put(path, encode(pairs.scene(number)[0], ".jpg"))


@dataclass
class _Job:
    """Writes one chunk; sent to every worker process."""

    pairs: CompositeDataset
    folder: Path
    items: np.ndarray
    jpeg: bool

    def __call__(self, task: tuple[int, range]) -> int:
        number, chunk = task
        lines = [self.one(composite) for composite in chunk]
        text = "".join(",".join(map(str, line)) + "\n" for line in lines)
        put(self.folder / ".parts" / f"{number:06d}.csv", text.encode())
        return len(chunk)

    def one(self, composite: int) -> tuple:
        """Write composite number `composite` (from 0); returns its line of the manifest."""
        item, name, ending = int(self.items[composite]), composite + 1, "jpg" if self.jpeg else "png"
        sample = self.pairs.composite(item)
        scene, cutout, position, flip = self.pairs.where(item)
        far = (1.0 - sample["depth"]) * (255 if self.jpeg else 65535)
        files = {
            f"fg_bg/fg_bg_{name}.jpg": sample["image"],
            f"fg_bg_mask/fg_bg_mask_{name}.{ending}": np.rint(sample["mask"] * 255).astype(np.uint8),
            f"depthmap/depth_{name}.{ending}": np.rint(far).astype(np.uint8 if self.jpeg else np.uint16),
        }
        for path, picture in files.items():
            put(self.folder / path, encode(picture, Path(path).suffix))
        source = self.pairs.scenes[scene].id, self.pairs.objects[cutout].id
        return (name, *files, f"bg/bg_{scene + 1}.jpg", *source, position, int(flip), item, self.pairs.seed)


def _merge(folder: Path, parts: Path, count: int) -> Path:
    """All parts as one manifest; they stay, so that another call sees that everything is there."""
    text = b"".join((parts / f"{number:06d}.csv").read_bytes() for number in range(count))
    put(folder / "manifest.csv", (",".join(COLUMNS) + "\n").encode() + text)
    return folder / "manifest.csv"


# --- the command line -----------------------------------------------------------------------------------------------------------------


@command_line
def main(arguments: list[str] | None = None) -> int:
    """`python -m eva_helpers.dataset write | pack | statistics`; exit status 2 with one sentence for what cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m eva_helpers.dataset", description="Write composites as files, or pack such files.")
    commands = parser.add_subparsers(dest="command", required=True)
    write_ = commands.add_parser("write", help="write composites in the source's folders and names, with a manifest; resumes")
    write_.add_argument("folder", type=Path)
    write_.add_argument("--count", type=int, help="composites, drawn at random (default: all there are)")
    write_.add_argument("--catalogue", type=Path, default=PARK, help="folder with a catalogue.json (default: the embedded park)")
    write_.add_argument("--split", choices=SPLITS, help="backgrounds and cut-outs of one split only")
    write_.add_argument("--size", type=int, default=224, help="pixels (default: %(default)s)")
    write_.add_argument("--positions", type=int, default=20, help="places of each cut-out on each background (default: %(default)s)")
    write_.add_argument("--placement", choices=PLACEMENTS, default="mixed")
    write_.add_argument("--seed", type=int, default=0)
    write_.add_argument("--jpeg", action="store_true", help="masks and depth as JPEG too, as the source did")
    pack_ = commands.add_parser("pack", help="decode a folder of composites once into memory-mapped arrays; resumes")
    pack_.add_argument("source", type=Path)
    pack_.add_argument("folder", type=Path)
    statistics_ = commands.add_parser(
        "statistics", help="mean and standard deviation of each set of a folder, as the source publishes them"
    )
    statistics_.add_argument("source", type=Path)
    for command in (pack_, statistics_):
        command.add_argument("--size", type=int, default=64, help="pixels (default: %(default)s)")
        command.add_argument("--per-background", type=int, default=SOURCE_PER_BACKGROUND, help="composites of a background (%(default)s)")
        command.add_argument("--near-is-bright", action="store_true", help="depth files with near bright (the source's have near dark)")
    for command in (write_, pack_):
        command.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        return {"write": _write_command, "pack": _pack_command, "statistics": _statistics_command}[options.command](options)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130


def _write_command(options: argparse.Namespace) -> int:
    try:
        pairs = CompositeDataset(
            load_catalogue(options.catalogue), options.split, options.split, size=options.size, positions=options.positions,
            placement=options.placement, seed=options.seed,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(str(error)) from None
    with tqdm(total=options.count or len(pairs), unit="composite") as bar:
        manifest = write(pairs, options.folder, options.count, jpeg=options.jpeg, workers=options.workers, progress=bar.update)
    print(manifest)
    return 0


def _source(options: argparse.Namespace) -> FolderDataset:
    near_is_dark = not options.near_is_bright
    source = FolderDataset(options.source, size=options.size, per_background=options.per_background, near_is_dark=near_is_dark)
    print(f"{len(source):,} composites; depth files read as {source.polarity}")
    return source


def _pack_command(options: argparse.Namespace) -> int:
    from eva_helpers.packing import pack

    source = _source(options)
    with tqdm(total=len(source), unit="composite") as bar:
        packed = pack(source, options.folder, workers=options.workers, progress=bar.update)
    print(f"{options.folder}: {len(packed):,} composites at {options.size} px")
    return 0


def _statistics_command(options: argparse.Namespace) -> int:
    source = _source(options)
    for name, (mean, std) in statistics(source[i] for i in tqdm(range(len(source)), unit="composite")).items():
        print(f"{name:<11} mean {np.round(mean, 4).tolist()!s:<28} std {np.round(std, 4).tolist()}")
    return 0
