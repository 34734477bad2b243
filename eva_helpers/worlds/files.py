"""Worlds as a catalogue, so that composites are made of them as of any other backgrounds.

The command `eva-helpers worlds OUT`. Its catalogue has no cut-outs: `with_objects` adds those of
another one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eva_helpers.catalogue import Catalogue, load_catalogue
from eva_helpers.files import (
    InputError,
    command_line,
    make_folder,
    same_settings,
    writable_folder,
    write_json,
)
from eva_helpers.images import read_rgb, write_png
from eva_helpers.schemas import Seed, Side, checked, read_as
from eva_helpers.worlds.render import World, make_world

SIZE = 256  # px
NEAR, STEP = 0.2, 0.004  # m, and relative step of the stored distances
Z_NEAR = 1.5  # m: the park's, at which inverse depth is 1
SPLIT = {7: "validation", 8: "test", 9: "test"}  # last digit of a world's number -> its split
PARTS = {"image": "", "depth": "_depth", "ground": "_ground"}  # file name's end
LEAST_GROUND = 0.02  # of the frame
PHOTOS = 40  # backgrounds that textures come from


def write_worlds(
    out: Path, count: int, seed: int = 0, size: int = SIZE, park: Catalogue | None = None
) -> Catalogue:
    """Render `count` worlds of (size, size) px into the catalogue `out`.

    Textures also come from training backgrounds of `park`. Seven of ten worlds are for training,
    one for validation, two for testing. Finished worlds stay, so a second call continues.

    Raises:
        InputError: `out` was made with other settings, or cannot be written.
    """
    if count < 10:
        raise InputError(f"{count} worlds: expected 10 at least, so that every split has some.")
    checked(Side, size, "size")
    checked(Seed, seed, "seed")
    writable_folder(out)
    settings = {"seed": seed, "size": size, "park": park.name if park else ""}
    same_settings(out / "worlds.json", settings, "choose another folder, or remove it")
    write_json(out / "worlds.json", settings)
    photos = [read_rgb(scene.image) for scene in park.backgrounds("train")[:PHOTOS]] if park else []
    entries = [_write_world(out, number, settings, photos) for number in tqdm(range(count))]
    head = {"name": "worlds", "licence": "made by this program", "z_near": Z_NEAR}
    head["depth_encoding"] = {"kind": "log", "near": NEAR, "step": STEP}
    write_json(out / "catalogue.json", head | {"scenes": entries, "cutouts": []})
    return load_catalogue(out)


def with_objects(worlds: Catalogue, other: Catalogue) -> Catalogue:
    """The backgrounds of `worlds` with the cut-outs of `other`.

    Raises:
        InputError: the two measure depth from another nearest distance.
    """
    if worlds.z_near != other.z_near:
        raise InputError(
            f"{worlds.folder} has z_near {worlds.z_near}, {other.folder} {other.z_near}: "
            "expected the same."
        )
    return replace(worlds, cutouts=other.cutouts, relief_encoding=other.relief_encoding)


def _write_world(out: Path, number: int, settings: dict, photos: Sequence[np.ndarray]) -> dict:
    """Render world `number`, unless its files are there; its entry of the catalogue."""
    name = f"{number:05d}"
    path = out / "worlds" / f"{name}.json"
    entry = {"id": name, "scene": name, "split": SPLIT.get(number % 10, "train")}
    files = {part: f"worlds/{name}{end}.png" for part, end in PARTS.items()}
    if not path.exists():
        world = make_world(settings["seed"] * 10**6 + number, settings["size"], photos=photos)
        make_folder(path.parent)
        for part, picture in zip(files, _pictures(world), strict=True):
            write_png(out / files[part], picture)
        known = {"kind": world.kind, "focal": world.focal}
        known |= {"camera_height": world.camera_height, "pitch": world.pitch}
        if world.ground.mean() < LEAST_GROUND:
            known["ground"] = None  # objects go anywhere
        write_json(path, known)  # last: the world is whole
    return entry | files | read_as(dict[str, Any], path, "the description of a world")


def _pictures(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photo, encoded distance and ground, in the order of PARTS."""
    steps = np.log(np.maximum(world.distance, NEAR) / NEAR) / STEP
    code = np.where(np.isfinite(steps), np.minimum(1 + np.rint(steps), 65535), 0)
    return world.photo, code.astype(np.uint16), np.uint8(255) * world.ground


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Render worlds; finished ones stay, so an interrupted command can be repeated."""
    parser = argparse.ArgumentParser("eva-helpers worlds", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the new catalogue")
    parser.add_argument("--count", type=int, default=400, help="worlds (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    catalogue = write_worlds(
        options.out, options.count, options.seed, options.size, load_catalogue()
    )
    print(f"{len(catalogue.scenes)} worlds: {options.out}")
