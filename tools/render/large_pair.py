"""One large pair for pictures and notebooks: a test park, empty and with a large test dog, and the dog's exact mask.

python tools/render/large_pair.py --out assets/park --to assets/pair
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import common
import numpy as np
import pairs
import scenes
from dog_poses import POSES, jittered
from dogs import add_dog, identity, quiet
from PIL import Image

HEIGHT = 0.75  # m, of the camera: a person who kneels
PITCH = -6.0  # degrees
FIELD = 46.0  # degrees
QUALITY = 88  # of the JPEG files, as a phone's


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__, samples=10)
    parser.add_argument("--to", type=Path, required=True, help="folder of the three files")
    parser.add_argument("--view", required=True, help="id of a test view")
    parser.add_argument("--dog", type=int, default=9, help="number of a test dog")
    parser.add_argument("--pose", choices=POSES, default="stand")
    parser.add_argument("--distance", type=float, default=1.6, help="m, from the camera")
    parser.add_argument("--seed", type=int, default=0, help="of the place and the posture")
    parser.set_defaults(size=960)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    catalogue = json.loads((options.out / "catalogue.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in catalogue["scenes"] if entry["id"] == options.view)
    assert entry["split"] == "test" == common.split_of(options.dog), "a test view and a test dog"
    start, rng = time.monotonic(), np.random.default_rng(options.seed)
    view = scenes.view_number(options.view)
    with quiet():
        park = scenes.build(entry["scene"])
        shot = park.shots[view]
        park.shots.append(scenes.Shot(shot.x, shot.y, HEIGHT, shot.yaw, PITCH, 0.0, FIELD))
        scenes.camera(park, len(park.shots) - 1)
    who = identity(options.dog)
    turn = math.radians(shot.yaw)
    x, y = shot.x + options.distance * math.sin(turn), shot.y + options.distance * math.cos(turn)
    render = {"samples": options.samples, "exposure": entry["exposure"]}
    options.to.mkdir(parents=True, exist_ok=True)
    at = (x, y, float(park.ground(x, y)))
    shots = {}
    with quiet():
        shots["background"] = common.render(options.size, options.size, seed=1, **render)["rgb"]
        heading = rng.choice((0, 180)) - shot.yaw + rng.uniform(-35, 35)  # across the view
        posed = jittered(POSES[options.pose], rng)
        add_dog(who, posed, at, heading=heading, pass_index=pairs.DOG_INDEX)
        shots["image"] = common.render(options.size, options.size, seed=2, **render)["rgb"]
        mask = pairs.dog_mask(options.size, options.samples // 2, 2)
    for name, shot in shots.items():
        Image.fromarray(shot).save(options.to / f"{name}.jpg", quality=QUALITY)
    Image.fromarray(mask).save(options.to / "mask.png", optimize=True)
    print(f"{options.view}, {who.coat.name}, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
