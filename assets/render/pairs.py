"""True pairs, for testing only: one camera sees the empty park, and the park with a dog *in* it.

Unlike a composite, the dog here throws its shadow, stands in the grass and may be hidden by trunks and benches; its mask and the depth
are exact. Only scenes and dogs of the test split. Each empty park is the picture that is in the catalogue already.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import bpy
import common
import cv2
import numpy as np
import scenes
from dog_poses import POSES, jittered
from dogs import add_dog, identity, quiet
from mathutils import Vector

SIZES = (0.09, 0.7)  # the dog's height over the frame's: small enough to stand behind what stands in a park
HIDDEN = (0.08, 0.55)  # how much of the dog's box something nearer may cover, where a hiding place is looked for
TRIES = 1500  # spots that are looked at for each dog
DOG_INDEX = 77  # object index of the dog, unlike any of the scene's


def split_numbers(count: int, split: str = "test") -> list[int]:
    """Of 0 ... count - 1, those of the split."""
    return [number for number in range(count) if common.split_of(number) == split]


def spots(ground: np.ndarray, z: np.ndarray, focal: float, height: float, rng: np.random.Generator) -> np.ndarray:
    """Up to TRIES walkable pixels (row, column) where a dog of `height` metres has a fitting size, equally many per octave of distance."""
    size = height * focal / np.where(np.isfinite(z), z, 1e9) / len(z)
    rows, columns = np.nonzero(ground & (size > SIZES[0]) & (size < SIZES[1]))
    if len(rows) == 0:
        return np.empty((0, 2), int)
    weight = 1.0 / np.histogram(np.log(z[rows, columns]), 12)[0].clip(1)
    bins = np.digitize(np.log(z[rows, columns]), np.histogram_bin_edges(np.log(z[rows, columns]), 12)[1:-1])
    chance = weight[bins] / weight[bins].sum()
    chosen = rng.choice(len(rows), min(TRIES, len(rows)), replace=False, p=chance)
    return np.stack([rows[chosen], columns[chosen]], 1)


def hidden(spot: np.ndarray, z: np.ndarray, focal: float, height: float) -> float:
    """Share of the box over a spot that something nearer covers."""
    row, column = spot
    there = z[row, column]
    side = height * focal / there
    box = z[max(0, int(row - side)) : row, max(0, int(column - side / 2)) : int(column + side / 2) + 1]
    return float((box < there - 0.25).mean()) if box.size else 0.0


def choose(candidates: np.ndarray, z: np.ndarray, focal: float, height: float, rng: np.random.Generator, hide: bool) -> np.ndarray:
    """One spot: anywhere, or where part of the dog will be hidden if there is such a place."""
    if hide:
        shares = np.array([hidden(spot, z, focal, height) for spot in candidates])
        partly = candidates[(shares > HIDDEN[0]) & (shares < HIDDEN[1])]
        candidates = partly if len(partly) else candidates
    return candidates[rng.integers(len(candidates))]


def world_point(spot: np.ndarray, z: np.ndarray, focal: float) -> np.ndarray:
    """The pixel's point (3,) in the world: `z` is distance along the viewing axis."""
    row, column = spot
    there, half = float(z[row, column]), len(z) / 2
    local = Vector(((column + 0.5 - half) / focal * there, (half - row - 0.5) / focal * there, -there))
    return np.array(bpy.context.scene.camera.matrix_world @ local)


def dog_mask(size: int, samples: int, seed: int) -> np.ndarray:
    """Exact soft coverage (H, W) uint8 of the dog: everything else is cut out of a transparent film, hiding what it hides."""
    others = [thing for thing in bpy.data.objects if thing.pass_index != DOG_INDEX and not thing.is_holdout]
    for thing in others:
        thing.is_holdout = True
    picture = common.render(size, size, samples, transparent=True, seed=seed, exposure=0.0)
    for thing in others:
        thing.is_holdout = False
    return picture["alpha"]


def remove(skin: bpy.types.Object) -> None:
    """Take the dog out of the scene again."""
    for thing in [*skin.children, skin]:
        bpy.data.objects.remove(thing)


def render_pair(park: scenes.Park, entry: dict, dog: int, view: int, out: Path, size: int, samples: int) -> dict | None:
    """Put dog `dog` into the view of `entry`, write image, mask and depth, return the catalogue entry; None without a place for it."""
    rng = np.random.default_rng((park.number, view, dog, 11))
    focal = size / 2 / math.tan(math.radians(park.shots[view].fov) / 2)
    code = cv2.imread(str(out / entry["depth"]), cv2.IMREAD_UNCHANGED)
    z = np.where(code > 0, common.DEPTH_NEAR * np.exp(common.DEPTH_STEP * (code.astype(float) - 1)), np.inf)
    ground = cv2.imread(str(out / entry["ground"]), cv2.IMREAD_UNCHANGED) > 127
    who, names = identity(dog), list(POSES)
    odds = np.array([POSES[name].likely for name in names])
    pose_name = names[rng.choice(len(names), p=odds / odds.sum())]
    candidates = spots(ground, z, focal, who.build.height, rng)
    if len(candidates) == 0:
        return None
    spot = choose(candidates, z, focal, who.build.height, rng, hide=bool(rng.random() < 0.5))
    x, y, _ = world_point(spot, z, focal)
    skin = add_dog(
        who, jittered(POSES[pose_name], rng), (x, y, float(park.ground(x, y))), heading=float(rng.uniform(0, 360)), pass_index=DOG_INDEX
    )
    seed = int(rng.integers(1 << 30))
    picture = common.render(size, size, samples, seed=seed, exposure=entry["exposure"])
    mask = dog_mask(size, max(16, samples // 2), seed)
    remove(skin)
    if (mask > 127).mean() < 0.002:
        return None  # wholly hidden
    name = f"{entry['id']}_{dog:03d}"
    files = {"image": f"pairs/{name}.webp", "mask": f"pairs/{name}_mask.png", "depth": f"pairs/{name}_depth.png"}
    common.save(out / files["image"], picture["rgb"])
    common.save(out / files["mask"], mask)
    common.save(out / files["depth"], common.encode_depth(picture["z"]))
    return {
        "id": name, "scene": entry["id"], "object": dog, "split": "test", **files, "pose": pose_name, "coat": who.coat.name,
        "hidden": round(hidden(spot, z, focal, who.build.height), 3), "z": round(float(z[tuple(spot)]), 2),
    }  # fmt: skip


def contact_sheet(out: Path, target: Path, columns: int = 20, tile: int = 96) -> None:
    """Each pair: empty, with the dog, mask, depth."""
    catalogue = json.loads((out / "catalogue.json").read_text())
    empty = {entry["id"]: entry["image"] for entry in catalogue["scenes"]}
    tiles = []
    for pair in catalogue["pairs"]:
        pictures = [common.read_tile(out / name) for name in (empty[pair["scene"]], pair["image"], pair["mask"])]
        column = np.concatenate([*pictures, common.depth_tile(out / pair["depth"])])
        tiles.append(cv2.resize(column, (tile, 4 * tile), interpolation=cv2.INTER_AREA))
    common.write_sheet(tiles, columns, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dogs", type=int, default=40, help="how many dogs there are; those of the test split are used")
    parser.add_argument("--each", type=int, default=3, help="pairs for each view of a test scene")
    parser.add_argument("--limit", type=int, default=1 << 30, help="stop after so many views")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--contact-sheet", type=Path)
    options = parser.parse_args()
    if options.contact_sheet:
        contact_sheet(options.out, options.contact_sheet)
        return
    catalogue = json.loads((options.out / "catalogue.json").read_text())
    views = [entry for entry in catalogue["scenes"] if entry["split"] == "test"][: options.limit]
    done = {pair["id"] for pair in catalogue.get("pairs", [])}
    dogs, park = split_numbers(options.dogs), None
    for count, entry in enumerate(views):
        chosen = [dogs[(count * options.each + k) % len(dogs)] for k in range(options.each)]
        todo = [dog for dog in chosen if f"{entry['id']}_{dog:03d}" not in done]
        if not todo:
            continue
        if park is None or park.number != entry["scene"]:
            park = scenes.build(entry["scene"])
        view = ord(entry["id"][-1]) - ord("a")
        scenes.camera(park, view)
        for dog in todo:
            start = time.monotonic()
            with quiet():
                made = render_pair(park, entry, dog, view, options.out, options.size, options.samples)
            if made:
                common.record(options.out, "pairs", made)
            print(
                f"{entry['id']} dog {dog} {'no place for it' if made is None else made['pose']} {time.monotonic() - start:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
