"""True pairs: one camera sees the empty park, and the park with a dog *in* it.

Unlike a composite, the dog here throws its shadow, stands in the grass and may be hidden by trunks and benches; its mask and the depth
are exact. Scenes and dogs are of one split, for testing or for training. Each empty park is a picture of the catalogue: of the views that
composites use, and, with --hideouts, of one more view of each scene, taken from where something stands a few steps away that a dog can be
half behind.
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

SIZES = (
    0.09,
    0.7,
)  # the dog's height over the frame's: small enough to stand behind what stands in a park
HIDDEN = (
    0.08,
    0.55,
)  # how much of the dog's box something nearer may cover, where a hiding place is looked for
TRIES = 1500  # spots that are looked at for each dog
DOG_INDEX = 77  # object index of the dog, unlike any of the scene's


def split_numbers(count: int, split: str) -> list[int]:
    """Of 0 ... count - 1, those of the split."""
    return [number for number in range(count) if common.split_of(number) == split]


def spots(
    ground: np.ndarray, z: np.ndarray, focal: float, height: float, rng: np.random.Generator
) -> np.ndarray:
    """Up to TRIES walkable pixels (row, column) where a dog of `height` metres has a fitting size, equally many per octave of distance."""
    size = height * focal / np.where(np.isfinite(z), z, 1e9) / len(z)
    rows, columns = np.nonzero(ground & (size > SIZES[0]) & (size < SIZES[1]))
    if len(rows) == 0:
        return np.empty((0, 2), int)
    weight = 1.0 / np.histogram(np.log(z[rows, columns]), 12)[0].clip(1)
    bins = np.digitize(
        np.log(z[rows, columns]), np.histogram_bin_edges(np.log(z[rows, columns]), 12)[1:-1]
    )
    chance = weight[bins] / weight[bins].sum()
    chosen = rng.choice(len(rows), min(TRIES, len(rows)), replace=False, p=chance)
    return np.stack([rows[chosen], columns[chosen]], 1)


def hidden(
    row: float, column: float, there: float, z: np.ndarray, focal: float, height: float
) -> float:
    """Share of a dog's box, `height` metres high and as wide, standing on a pixel `there` metres away, that something nearer covers."""
    side = height * focal / there
    box = z[
        max(0, int(row - side)) : max(0, int(row)),
        max(0, int(column - side / 2)) : max(0, int(column + side / 2) + 1),
    ]
    return float((box < there - 0.25).mean()) if box.size else 0.0


def choose(
    candidates: np.ndarray,
    z: np.ndarray,
    focal: float,
    height: float,
    rng: np.random.Generator,
    hide: bool,
) -> np.ndarray:
    """One spot: anywhere, or where part of the dog will be hidden if there is such a place."""
    if hide:
        shares = np.array([hidden(*spot, z[tuple(spot)], z, focal, height) for spot in candidates])
        partly = candidates[(shares > HIDDEN[0]) & (shares < HIDDEN[1])]
        candidates = partly if len(partly) else candidates
    return candidates[rng.integers(len(candidates))]


def world_point(spot: np.ndarray, z: np.ndarray, focal: float) -> np.ndarray:
    """The pixel's point (3,) in the world: `z` is distance along the viewing axis."""
    row, column = spot
    there, half = float(z[row, column]), len(z) / 2
    local = Vector(
        ((column + 0.5 - half) / focal * there, (half - row - 0.5) / focal * there, -there)
    )
    return np.array(bpy.context.scene.camera.matrix_world @ local)


def dog_mask(size: int, samples: int, seed: int) -> np.ndarray:
    """Exact soft coverage (H, W) uint8 of the dog: everything else is cut out of a transparent film, hiding what it hides."""
    others = [
        thing
        for thing in bpy.data.objects
        if thing.pass_index != DOG_INDEX and not thing.is_holdout
    ]
    for thing in others:
        thing.is_holdout = True
    picture = common.render(size, size, samples, transparent=True, seed=seed, exposure=0.0)
    for thing in others:
        thing.is_holdout = False
    return picture["alpha"]


def changed(
    empty: np.ndarray, picture: np.ndarray, mask: np.ndarray, margin: int = 12
) -> tuple[slice, slice]:
    """Rows and columns around the dog and what it does to the picture, its shadow above all; other differences are the renderer's noise."""
    difference = np.abs(cv2.GaussianBlur(empty.astype(np.float32) - picture, (0, 0), 3)).max(
        2
    )  # signed: noise averages out
    _, regions = cv2.connectedComponents(((difference > 8) | (mask > 0)).astype(np.uint8))
    rows, columns = np.nonzero(np.isin(regions, np.unique(regions[mask > 0])) & (regions > 0))
    return tuple(
        slice(max(0, int(places.min()) - margin), int(places.max()) + 1 + margin)
        for places in (rows, columns)
    )


def remove(skin: bpy.types.Object) -> None:
    """Take the dog out of the scene again."""
    for thing in [*skin.children, skin]:
        bpy.data.objects.remove(thing)


def focal_length(shot: scenes.Shot, size: int) -> float:
    """In pixels of a square picture of `size`."""
    return size / 2 / math.tan(math.radians(shot.fov) / 2)


def read_z(path: Path) -> np.ndarray:
    """A stored depth map in metres, inf where there is sky."""
    code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.where(
        code > 0, common.DEPTH_NEAR * np.exp(common.DEPTH_STEP * (code.astype(float) - 1)), np.inf
    )


def any_place(
    park: scenes.Park, entry: dict, who, view: int, out: Path, size: int, rng: np.random.Generator
) -> dict | None:
    """Where on the walkable ground of a view the dog stands: `at` (x, y), `heading` (None: any), `hidden`, `z`; or None."""
    z, focal = read_z(out / entry["depth"]), focal_length(park.shots[view], size)
    ground = cv2.imread(str(out / entry["ground"]), cv2.IMREAD_UNCHANGED) > 127
    candidates = spots(ground, z, focal, who.build.height, rng)
    if len(candidates) == 0:
        return None
    spot = choose(candidates, z, focal, who.build.height, rng, hide=bool(rng.random() < 0.5))
    x, y, _ = world_point(spot, z, focal)
    share = hidden(*spot, z[tuple(spot)], z, focal, who.build.height)
    return {"at": (x, y), "heading": None, "hidden": share, "z": float(z[tuple(spot)])}


def hideout(park: scenes.Park, rng: np.random.Generator) -> tuple[scenes.Shot, np.ndarray] | None:
    """A camera a few steps from something that stands on the ground, and that thing (x, y, radius); None without such a place."""
    things, crowns = np.array(park.obstacles), np.array(park.crowns).reshape(-1, 3)
    for _ in range(3000):
        thing = things[rng.integers(len(things))]
        away, turn = thing[2] + rng.uniform(1.4, 2.8), rng.uniform(0, 2 * np.pi)
        x, y = thing[0] - away * math.sin(turn), thing[1] - away * math.cos(turn)
        here = np.array([x]), np.array([y])
        if (
            thing[2] > 1.0
            or math.hypot(*thing[:2]) > 0.8 * scenes.PARK
            or park.wild(*here)[0] < 1.25
        ):
            continue
        if any(
            (np.hypot(list_[:, 0] - x, list_[:, 1] - y) < list_[:, 2] + 0.4).any()
            for list_ in (things, crowns)
        ):
            continue
        along = (things[:, 0] - x) * math.sin(turn) + (things[:, 1] - y) * math.cos(turn)
        aside = np.abs((things[:, 0] - x) * math.cos(turn) - (things[:, 1] - y) * math.sin(turn))
        if ((along > 0) & (along < away - thing[2] - 0.2) & (aside < things[:, 2] + 1.0)).any():
            continue  # something else stands in between
        behind = (
            thing[0] + (thing[2] + 1) * math.sin(turn),
            thing[1] + (thing[2] + 1) * math.cos(turn),
        )
        if park.wild(np.array([behind[0]]), np.array([behind[1]]))[0] < 1.1:
            continue
        height = rng.uniform(1.0, 1.7)
        pitch = -math.degrees(math.atan2(height - 0.5, away)) * rng.uniform(0.5, 1.0)
        yaw = math.degrees(turn) + rng.uniform(-9, 9)
        return scenes.Shot(x, y, height, yaw % 360, pitch, 0.0, rng.uniform(40, 54)), thing
    return None


def behind_it(
    park: scenes.Park,
    thing: np.ndarray,
    shot: scenes.Shot,
    entry: dict,
    who,
    out: Path,
    size: int,
    rng,
) -> dict | None:
    """Like `any_place`, but half behind `thing`; seen from the side, so that something of the dog shows."""
    z, focal = read_z(out / entry["depth"]), focal_length(shot, size)
    things, world = np.array(park.obstacles), bpy.context.scene.camera.matrix_world.inverted()
    turn = math.atan2(thing[0] - shot.x, thing[1] - shot.y)
    for _ in range(300):
        deep, aside = thing[2] + rng.uniform(0.2, 1.2), rng.uniform(-1, 1) * (thing[2] + 0.6)
        x = thing[0] + deep * math.sin(turn) + aside * math.cos(turn)
        y = thing[1] + deep * math.cos(turn) - aside * math.sin(turn)
        if (
            np.hypot(things[:, 0] - x, things[:, 1] - y) < np.minimum(things[:, 2], 0.8) + 0.25
        ).any():
            continue
        if park.wild(np.array([x]), np.array([y]))[0] < 1.08:
            continue
        local = world @ Vector((x, y, float(park.ground(x, y))))
        there = -local.z
        column, row = size / 2 + focal * local.x / there, size / 2 - focal * local.y / there
        share = hidden(row, column, there, z, focal, who.build.height)
        inside = 0.08 * size < column < 0.92 * size and row < size
        if (
            inside
            and HIDDEN[0] < share < HIDDEN[1]
            and who.build.height * focal / there / size > SIZES[0]
        ):
            heading = (
                rng.choice((0, 180)) - math.degrees(turn) + rng.uniform(-25, 25)
            )  # across the view
            return {"at": (x, y), "heading": heading, "hidden": share, "z": there}
    return None


def draw_pose(rng: np.random.Generator) -> str:
    """A pose's name, likelier ones more often."""
    names = list(POSES)
    odds = np.array([POSES[name].likely for name in names])
    return names[rng.choice(len(names), p=odds / odds.sum())]


def render_pair(
    park: scenes.Park,
    entry: dict,
    dog: int,
    pose: str,
    place: dict,
    rng: np.random.Generator,
    options: argparse.Namespace,
) -> dict | None:
    """Put dog `dog` at `place`, write image, mask and depth, return the catalogue entry; None where it is wholly hidden."""
    who, at, out = identity(dog), (*place["at"], float(park.ground(*place["at"]))), options.out
    posed = jittered(POSES[pose], rng)
    heading = float(rng.uniform(0, 360)) if place["heading"] is None else place["heading"]
    skin = add_dog(who, posed, at, heading=heading, pass_index=DOG_INDEX)
    seed = int(rng.integers(1 << 30))
    picture = common.render(
        options.size, options.size, options.samples, seed=seed, exposure=entry["exposure"]
    )
    mask = dog_mask(options.size, max(16, options.samples // 2), seed)
    remove(skin)
    if (mask > 127).mean() < 0.002:
        return None
    name = f"{entry['id']}_{dog:03d}"
    files = {
        "image": f"pairs/{name}.webp",
        "mask": f"pairs/{name}_mask.png",
        "depth": f"pairs/{name}_depth.png",
    }
    box, corner = (slice(None), slice(None)), {}
    if (
        options.split == "train"
    ):  # a test shows the whole picture; for training the changed part will do, at a fifth of the bytes
        box = changed(common.read_tile(out / entry["image"]), picture["rgb"], mask)
        corner = {"top": box[0].start, "left": box[1].start}
    common.save(out / files["image"], picture["rgb"][box])
    common.save(out / files["mask"], mask[box])
    common.save(out / files["depth"], common.encode_depth(picture["z"])[box])
    return {
        "id": name, "scene": entry["id"], "object": dog, "split": options.split, **files, **corner, "pose": pose, "coat": who.coat.name,
        "hidden": round(place["hidden"], 3), "z": round(place["z"], 2),
    }  # fmt: skip


def whole(part: np.ndarray, pair: dict, around: np.ndarray) -> np.ndarray:
    """`part` at its place in the view; pairs for training are stored as a part of it."""
    top, left, around = pair.get("top", 0), pair.get("left", 0), around.copy()
    around[top : top + len(part), left : left + part.shape[1]] = part
    return around


def contact_sheet(out: Path, target: Path, columns: int = 24, tile: int = 72) -> None:
    """Each pair: empty, with the dog, mask, depth."""
    catalogue = json.loads((out / "catalogue.json").read_text(encoding="utf-8"))
    views = {entry["id"]: entry for entry in catalogue["scenes"]}
    tiles = []
    for pair in catalogue["pairs"]:
        view = views[pair["scene"]]
        empty, before = (
            common.read_tile(out / view["image"]),
            common.depth_tile(out / view["depth"]),
        )
        image, mask = (
            whole(common.read_tile(out / pair[name]), pair, around)
            for name, around in (("image", empty), ("mask", 0 * empty))
        )
        column = np.concatenate(
            [empty, image, mask, whole(common.depth_tile(out / pair["depth"]), pair, before)]
        )
        tiles.append(cv2.resize(column, (tile, 4 * tile), interpolation=cv2.INTER_AREA))
    common.write_sheet(tiles, columns, target)


def hideout_view(park: scenes.Park, options: argparse.Namespace) -> tuple[dict, np.ndarray] | None:
    """The catalogue entry of the scene's view at a hideout (rendered unless it is there), and the thing to hide behind."""
    found = hideout(park, np.random.default_rng((park.number, 13)))
    if found is None:
        return None
    shot, thing = found
    park.shots.append(shot)
    view = len(park.shots) - 1
    name = scenes.view_name(park.number, view)
    if name in scenes.done_views(options.out):
        scenes.camera(park, view)
        entries = json.loads((options.out / "catalogue.json").read_text(encoding="utf-8"))["scenes"]
        return next(entry for entry in entries if entry["id"] == name), thing
    with quiet():
        entry = scenes.render_view(park, view, options.out, options.size, options.samples)
    entry["split"] = "pairs"  # composites are not made on it: its like is in no training scene
    common.record(options.out, "scenes", entry)
    return entry, thing


def main() -> None:
    parser = common.parser(__doc__, samples=16)
    parser.add_argument(
        "--split", choices=("train", "test"), default="test", help="whose scenes and dogs"
    )
    parser.add_argument(
        "--dogs", type=int, default=40, help="how many dogs there are; those of the split are used"
    )
    parser.add_argument("--each", type=int, default=2, help="pairs for each view")
    parser.add_argument("--limit", type=int, default=1 << 30, help="stop after so many views")
    parser.add_argument(
        "--hideouts",
        action="store_true",
        help="one more view of each test scene, with dogs half behind something",
    )
    options = parser.parse_args()
    if options.hideouts and options.split != "test":
        parser.error(
            "--hideouts adds views to the catalogue that are for testing only: leave out --split"
        )
    if options.contact_sheet:
        contact_sheet(options.out, options.contact_sheet)
        return
    catalogue = json.loads((options.out / "catalogue.json").read_text(encoding="utf-8"))
    done = {pair["id"] for pair in catalogue.get("pairs", [])}
    seen = [
        entry
        for entry in catalogue["scenes"]
        if entry["split"] == options.split and scenes.view_number(entry["id"]) < scenes.SHOTS
    ]
    views = [(number, scenes.SHOTS) for number in sorted({entry["scene"] for entry in seen})] if options.hideouts else [
        (entry["scene"], scenes.view_number(entry["id"])) for entry in seen
    ]  # fmt: skip
    dogs, park = split_numbers(options.dogs, options.split), None
    by_id = {entry["id"]: entry for entry in seen}
    for count, (number, view) in enumerate(views[: options.limit]):
        chosen = [dogs[(count * options.each + k) % len(dogs)] for k in range(options.each)]
        name = scenes.view_name(number, view)
        todo = [dog for dog in chosen if f"{name}_{dog:03d}" not in done]
        if not todo:
            continue
        if park is None or park.number != number:
            park = scenes.build(number)
        if options.hideouts:
            found = hideout_view(park, options)
            if found is None:
                print(f"{name} has nothing to hide behind", flush=True)
                continue
            entry, thing = found
        else:
            entry, thing = by_id[name], None
            scenes.camera(park, view)
        for dog in todo:
            start, rng, who = (
                time.monotonic(),
                np.random.default_rng((number, view, dog, 11)),
                identity(dog),
            )
            pose = draw_pose(rng)
            if thing is None:
                place = any_place(park, entry, who, view, options.out, options.size, rng)
            else:
                place = behind_it(
                    park, thing, park.shots[view], entry, who, options.out, options.size, rng
                )
            with quiet():
                made = render_pair(park, entry, dog, pose, place, rng, options) if place else None
            if made:
                common.record(options.out, "pairs", made)
            print(
                f"{name} dog {dog} {'no place for it' if made is None else pose} {time.monotonic() - start:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
