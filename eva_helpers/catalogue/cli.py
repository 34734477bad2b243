"""Build a catalogue from real photographs: the command `eva-helpers photos`."""

import argparse
from pathlib import Path

from eva_helpers.catalogue.build import LICENCES, build_catalogue
from eva_helpers.catalogue.depth_labels import DEPTH_MODEL, depth_estimator, label_depth
from eva_helpers.catalogue.public_data import PUBLIC, public_photos
from eva_helpers.catalogue.sources import photos_of_folder
from eva_helpers.files import InputError, command_line, is_file, writable_folder
from eva_helpers.schemas import Count, Seed, check_options
from eva_helpers.shards import own_shard, said, shard


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Build a catalogue; finished work stays, so an interrupted command can be repeated."""
    parser = argparse.ArgumentParser("eva-helpers photos", description=__doc__)
    add = parser.add_argument
    add("out", type=Path, help="folder of the new catalogue")
    where = parser.add_mutually_exclusive_group(required=True)
    mine = (
        "your photos: backgrounds in bg/, RGBA cut-outs in fg/ (or photos, with masks in fg_mask/)"
    )
    where.add_argument("--folder", type=Path, help=mine)
    public = "folder for the public data sets, Oxford-IIIT Pet and Places365 (about 1.3 GB)"
    where.add_argument("--download", type=Path, metavar="DATA", help=public)
    add("--depth", action="store_true", help="label depth with a pretrained model (99 MB)")
    add("--depth-model", default=DEPTH_MODEL, help="its name or folder (default: %(default)s)")
    add("--revision", help="of the depth model")
    part = "part I/N of the labels, for several machines; the command without it ends the work"
    add("--shard", type=shard, default=own_shard(), help=part)
    add("--limit", type=int, default=500, help="photos of each kind from the public data sets")
    add("--seed", type=int, default=0, help="of the split")
    options = parser.parse_args(arguments)
    check_options(options, seed=Seed, limit=Count)
    if options.shard[1] > 1:
        _check_stored(options)
        _label(options)
        print(said(options.shard))
        return
    name = "folder" if options.folder else PUBLIC
    print(f"licence: {LICENCES[name]}")
    if options.folder:
        photos = photos_of_folder(options.folder)
    else:
        writable_folder(options.out)
        photos = public_photos(options.download, limit=options.limit)
    catalogue = build_catalogue(options.out, photos, name, options.seed, progress=True)
    print(f"{len(catalogue.scenes)} backgrounds, {len(catalogue.cutouts)} cut-outs: {options.out}")
    if (options.out / "unusable.csv").exists():
        print(f"left out: see {options.out / 'unusable.csv'}")
    if options.depth:
        _label(options)


def _check_stored(options: argparse.Namespace) -> None:
    """Raise InputError where there is nothing to share."""
    if not (options.depth and is_file(options.out / "catalogue.json")):
        raise InputError(
            f"--shard divides --depth of a catalogue that is there: first make {options.out} "
            "in one process, without both."
        )


def _label(options: argparse.Namespace) -> None:
    model = depth_estimator(options.depth_model, options.revision)
    label_depth(options.out, model, progress=True, shard=options.shard)
