"""The command `eva-helpers dataset write | pack | statistics`."""

import argparse
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eva_helpers.catalogue import SPLITS, load_catalogue
from eva_helpers.data import PLACEMENTS, CompositeDataset, channel_statistics
from eva_helpers.files import InputError, command_line, writable_folder
from eva_helpers.paths import PARK
from eva_helpers.schemas import Count, Positive, Processes, Seed, Side, check_options
from eva_helpers.shards import own_shard, said, shard
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.packing import pack
from eva_helpers.storage.sharding import write_shards
from eva_helpers.storage.writing import write_composites

KINDS: dict[str, Any] = {
    "count": Count | None, "positions": Count, "seed": Seed, "per_shard": Count | None,
    "per_background": Count | None, "depth_white": Positive | None, "size": Side,
    "workers": Processes,
}  # fmt: skip
FORMATS = {"folders": ("jpeg",), "webdataset": ("per_shard",)}  # with options of their own


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Run one of the three commands; returns 130 when interrupted."""
    given = _parser().parse_args(arguments)
    check_options(given, **{name: KINDS[name] for name in vars(given).keys() & KINDS.keys()})
    try:
        given.run(given)
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("eva-helpers dataset", description="Composites as files.")
    commands = parser.add_subparsers(required=True)
    write = commands.add_parser("write", help="write composites with a manifest; resumes")
    write.set_defaults(run=_write)
    write.add_argument("folder", type=Path, help="to write to")
    write.add_argument("--count", type=int, help="composites, drawn at random (default: all)")
    write.add_argument("--catalogue", type=Path, default=PARK, help="folder (default: the park)")
    write.add_argument("--split", choices=SPLITS, help="of the photos (default: all)")
    positions = "of each cut-out on each background (default: %(default)s)"
    write.add_argument("--positions", type=int, default=20, help=positions)
    write.add_argument("--placement", choices=PLACEMENTS, default="mixed")
    write.add_argument("--seed", type=int, default=0)
    write.add_argument(
        "--jpeg", action="store_true", default=None, help="masks and depths as JPEG too"
    )
    layouts = "a file for each map (default), or tar files"
    write.add_argument("--format", choices=FORMATS, default="folders", help=layouts)
    per_shard = "samples in a tar file of --format webdataset (default: 256 MB)"
    write.add_argument("--per-shard", type=int, help=per_shard)
    packing = commands.add_parser("pack", help="decode such files into arrays; resumes")
    packing.set_defaults(run=_pack)
    summary = commands.add_parser("statistics", help="mean and standard deviation of such files")
    summary.set_defaults(run=_statistics)
    number = "composites of each background, without a manifest (default: found from the photos)"
    polarity = "depth files are bright where near (the original project's are dark there)"
    white = "value in the depth files that is the bright end of their scale (default: recognised)"
    for reading in (packing, summary):
        reading.add_argument("composites", type=Path, help="folder with the files")
        reading.add_argument("--per-background", type=int, help=number)
        reading.add_argument("--depth-white", type=float, help=white)
        reading.add_argument("--near-is-bright", action="store_true", help=polarity)
    packing.add_argument("folder", type=Path, help="of the pack")
    for command in (write, packing, summary):
        size = 224 if command is write else 64
        command.add_argument("--size", type=int, default=size, help="px (default: %(default)s)")
    processes = "processes (default: %(default)s)"
    part = "part I/N of the files, for several machines; the command without it ends the work"
    for command in (write, packing):
        command.add_argument("--shard", type=shard, default=own_shard(), help=part)
        command.add_argument("--workers", type=int, default=os.cpu_count() or 1, help=processes)
    return parser


def _write(given: Namespace) -> None:
    ways = _ways(given)
    writable_folder(given.folder)
    catalogue = load_catalogue(given.catalogue)
    options = {name: getattr(given, name) for name in ("size", "positions", "placement", "seed")}
    composites = CompositeDataset(catalogue, given.split, given.split, **options)
    write = write_shards if given.format == "webdataset" else write_composites
    with _bar(given, given.count or len(composites)) as bar:
        ways |= {"workers": given.workers, "shard": given.shard, "progress": bar.update}
        written = write(composites, given.folder, given.count, **ways)
    if written is None:
        print(said(given.shard))
        return
    print(*written if isinstance(written, list) else [written], sep="\n")


def _bar(given: Namespace, total: int) -> tqdm:
    """A progress bar; of a part, without the number of all."""
    return tqdm(total=None if given.shard[1] > 1 else total, unit="composite")


def _ways(given: Namespace) -> dict[str, Any]:
    """The options of the format that were given. Raises InputError: one of another format was."""
    names = {name for names in FORMATS.values() for name in names}
    ways = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    for name in ways.keys() - {*FORMATS[given.format]}:
        option = f"--{name.replace('_', '-')}"
        raise InputError(f"{option} is not for --format {given.format}: leave it out.")
    return ways


def _read(given: Namespace) -> FolderDataset:
    options = {"per_background": given.per_background, "depth_white": given.depth_white}
    options |= {"size": given.size, "near_is_dark": not given.near_is_bright}
    composites = FolderDataset(given.composites, **options)
    print(f"{len(composites):,} composites; depth files read as {composites.polarity}")
    print(f"{composites.found}")
    return composites


def _pack(given: Namespace) -> None:
    writable_folder(given.folder)
    composites = _read(given)
    with _bar(given, len(composites)) as bar:
        ways = {"workers": given.workers, "shard": given.shard, "progress": bar.update}
        packed = pack(composites, given.folder, **ways)
    if packed is None:
        print(said(given.shard))
        return
    print(f"{given.folder}: {len(composites):,} composites at {given.size} px")


def _statistics(given: Namespace) -> None:
    composites = _read(given)
    samples = (composites[index] for index in tqdm(range(len(composites)), unit="composite"))
    for name, (mean, std) in channel_statistics(samples).items():
        means = str(np.round(mean, 4).tolist())
        print(f"{name:<11} mean {means:<28} std {np.round(std, 4).tolist()}")
