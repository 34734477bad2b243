"""Render the park's backgrounds: one parametric park per scene number, seen by several cameras, with depth and walkable ground.

    python tools/render/scenes.py --out DIR [--first I] [--count N] [--views V] [--size 256] [--samples 32]
    python tools/render/scenes.py --out DIR --contact-sheet sheet.png

Runs under Blender's Python module. Lengths are metres, x and y horizontal, z up; a scene depends on its number alone. Another script
may `build` a park, point its `camera`, add objects at `park.ground(x, y)` away from `park.obstacles` and render a matching picture.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import bpy
import common
import cv2
import numpy as np
import plants
import props
from props import BED, FAR, LAWN, PATH, PLANT, THING, WATER, Piece, Shader, mesh, place

REACH = 900.0  # half the side of the ground mesh; hills rise towards it, so its rim never shows
PARK = 60.0  # radius within which things are placed one by one; beyond, only tree belts, houses and hills
NEAR, FAR_LIMIT = (
    1.5,
    30.0,
)  # metres of z where a dog may be put: nearer it overflows the picture, farther it is a few pixels
GRASS_REACH = 32.0  # metres; farther, a blade is under a tenth of a pixel high
TUFTS, PER_TUFT = 28000, 5
SHOTS = 6  # cameras chosen per park; views beyond that are not offered
SEASONS = ("spring", "summer", "autumn", "winter")
LAWNS = {  # fresh and dry grass
    "spring": ((0.095, 0.20, 0.028), (0.20, 0.23, 0.06)),
    "summer": ((0.085, 0.155, 0.03), (0.30, 0.26, 0.11)),
    "autumn": ((0.10, 0.145, 0.035), (0.24, 0.20, 0.08)),
    "winter": ((0.11, 0.14, 0.045), (0.24, 0.215, 0.12)),
}
SOIL = np.array([0.11, 0.075, 0.045])


def smooth(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Smoothstep from 0 at `low` to 1 at `high` (which may be the smaller)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class Waves:
    """Smooth seeded noise on the plane: a sum of sines in all directions, about -1 to 1."""

    def __init__(self, rng: np.random.Generator, length: float, count: int = 16) -> None:
        angle, size = rng.uniform(0, 2 * np.pi, count), length * rng.uniform(0.6, 1.8, count)
        self.k = 2 * np.pi * np.stack([np.cos(angle), np.sin(angle)]) / size
        self.phase, self.gain = rng.uniform(0, 2 * np.pi, count), math.sqrt(1.0 / count)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        value = np.zeros(np.broadcast(x, y).shape)
        for kx, ky, phase in zip(*self.k, self.phase, strict=True):
            value += np.sin(kx * x + ky * y + phase)
        return value * self.gain


class Ellipse(NamedTuple):
    """A wobbly ellipse: a pond or a flower bed."""

    x: float
    y: float
    a: float
    b: float
    angle: float
    wobble: tuple[float, float] = (0.0, 0.0)

    def level(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """0 in the centre, 1 on the rim, growing outwards."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = (
            ((x - self.x) * c + (y - self.y) * s) / self.a,
            ((y - self.y) * c - (x - self.x) * s) / self.b,
        )
        turn = np.arctan2(v, u)
        return np.hypot(u, v) / (
            1 + 0.10 * np.sin(2 * turn + self.wobble[0]) + 0.06 * np.sin(3 * turn + self.wobble[1])
        )

    def rim(self, count: int, size: float = 1.0) -> np.ndarray:
        """`count` points (n, 2) at level `size`."""
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        radius = size * (
            1 + 0.10 * np.sin(2 * turn + self.wobble[0]) + 0.06 * np.sin(3 * turn + self.wobble[1])
        )
        u, v = self.a * radius * np.cos(turn), self.b * radius * np.sin(turn)
        c, s = math.cos(self.angle), math.sin(self.angle)
        return np.stack([self.x + u * c - v * s, self.y + u * s + v * c], 1)


class Trail(NamedTuple):
    """A path: its middle line (n, 2) in steps of 0.4 m, and half its width."""

    line: np.ndarray
    half: float

    def beside(self, step: int, offset: float) -> tuple[np.ndarray, np.ndarray]:
        """The point `offset` left of the line's point number `step`, and the unit vector from there to the line."""
        ahead = self.line[min(step + 1, len(self.line) - 1)] - self.line[max(step - 1, 0)]
        left = np.array([-ahead[1], ahead[0]]) / (np.hypot(*ahead) + 1e-9)
        return self.line[step] + offset * left, -left * np.sign(offset)


class Shot(NamedTuple):
    """A camera: place, height above ground, heading (degrees clockwise from +y), pitch (up is positive), roll, field of view."""

    x: float
    y: float
    height: float
    yaw: float
    pitch: float
    roll: float
    fov: float


@dataclass
class Park:
    """Everything a camera or a later guest of the scene needs to know about a built park."""

    number: int
    season: str
    light: str
    elevation: float  # degrees, of the sun
    azimuth: float
    overcast: float
    key: float  # brightness the picture is exposed to
    grass: float  # height of the grass
    relief: float
    snow: float  # share of the lawn under snow
    stripes: tuple[float, float, float]  # mowing: heading, width, contrast
    waves: dict[str, Waves]
    kinds: list[str] = field(default_factory=list)
    obstacles: list[tuple[float, float, float]] = field(
        default_factory=list
    )  # x, y, radius of what stands on the ground
    crowns: list[tuple[float, float, float]] = field(
        default_factory=list
    )  # the same for branches over a camera's head
    sights: list[tuple[float, float, float]] = field(
        default_factory=list
    )  # x, y and how much it is worth in a picture
    glades: list[tuple[float, float, float]] = field(default_factory=list)  # open places
    trails: list[Trail] = field(default_factory=list)
    beds: list[Ellipse] = field(default_factory=list)
    pond: Ellipse | None = None
    pond_level: float = 0.0
    litter: plants.Colours = field(default_factory=list)
    shots: list[Shot] = field(default_factory=list)
    carpet: list[bpy.types.Object] = field(default_factory=list)  # the grass of the current camera

    def ground(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Height of the ground at (x, y), metres."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        far = np.hypot(x, y)
        z = self.relief * self.waves["relief"](x, y) * smooth(500, 60, far)
        z = z + smooth(180, 800, far) * 28 * (1.1 + self.waves["hills"](x, y))
        if self.pond is not None:
            level = self.pond.level(x, y)
            z = z + (self.pond_level - z) * smooth(2.2, 1.3, level) - 0.9 * smooth(1.1, 0.7, level)
        return z

    def off_path(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance to the nearest path's edge, negative on it; 99 without paths."""
        best = np.full(np.shape(x), 99.0)
        for trail in self.trails:
            for part in np.array_split(trail.line, max(1, len(trail.line) // 40)):
                near = (np.abs(x - part[:, 0].mean()) < 25) & (
                    np.abs(y - part[:, 1].mean()) < 25
                )  # a part is 16 m long
                gap = np.hypot(x[near][:, None] - part[:, 0], y[near][:, None] - part[:, 1]).min(
                    1, initial=99.0
                )
                best[near] = np.minimum(best[near], gap - trail.half)
        return best

    def wild(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How far from being pond or bed: 1 on a rim, less inside."""
        levels = [e.level(x, y) for e in (*self.beds, *([self.pond] if self.pond else []))]
        return np.min([np.full(np.shape(x), 9.0), *levels], axis=0)

    def snowy(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Snow cover 0 to 1."""
        if not self.snow:
            return np.zeros(np.shape(x))
        edge = 1.2 - 2.4 * self.snow
        return smooth(
            edge, edge + 0.35, self.waves["patch"](x, y) + 0.45 * self.waves["fine"](x, y)
        )

    def lawn_colour(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Linear RGB (..., 3) of the grass at (x, y)."""
        fresh, dry = (np.array(c) for c in LAWNS[self.season])
        patch, fine = self.waves["patch"](x, y), self.waves["fine"](x, y)
        arid = np.clip(0.22 + self.waves["arid"] + 0.3 * patch + 0.22 * fine, 0, 1)[..., None]
        colour = fresh + (dry - fresh) * arid * 0.75
        heading, width, contrast = self.stripes
        run = (x * math.cos(heading) + y * math.sin(heading)) / width
        colour = (
            colour
            * (1 + contrast * np.clip(3 * np.sin(np.pi * run), -1, 1) + 0.10 * fine)[..., None]
        )
        near = np.hypot(x, y) < 90
        worn = np.zeros(np.shape(x))
        worn[near] = 0.55 * smooth(0.7, 0.0, self.off_path(x[near], y[near]) - 0.15 * fine[near])
        if self.pond is not None:
            worn = np.maximum(worn, 0.9 * smooth(1.12, 1.0, self.pond.level(x, y)))
        worn = np.maximum(worn, 0.5 * smooth(0.9, 1.5, fine))
        colour = colour + (SOIL * 1.2 - colour) * worn[..., None]
        woods = (
            smooth(230, 420, np.hypot(x, y))[..., None]
            * smooth(-0.6, 0.2, self.waves["hills"](3 * x, 3 * y))[..., None]
        )
        colour = colour + (np.array([0.035, 0.055, 0.025]) - colour) * 0.9 * woods
        return colour + (np.array([0.75, 0.77, 0.8]) - colour) * self.snowy(x, y)[..., None]

    def free(self, x: float, y: float, radius: float, glades: bool = True) -> bool:
        """Whether a thing of that radius fits there without standing on a path, in water, in a bed, on another thing or in a glade."""
        at = np.array([x]), np.array([y])
        if self.off_path(*at)[0] < radius + 0.3 or self.wild(*at)[0] < 1.12 + 0.15 * radius:
            return False
        if glades and any(math.hypot(x - gx, y - gy) < gr + radius for gx, gy, gr in self.glades):
            return False
        return all(math.hypot(x - ox, y - oy) > r + radius for ox, oy, r in self.obstacles)

    def put(
        self,
        data: bpy.types.Mesh,
        x: float,
        y: float,
        yaw: float = 0.0,
        scale: float = 1.0,
        index: int = THING,
        radius: float = 0.5,
        worth: float = 1.0,
    ) -> None:
        """Stand an object on the ground and remember its footprint."""
        place(data, index, (x, y, float(self.ground(x, y))), yaw, scale)
        self.obstacles.append((x, y, radius))
        self.sights.append((x, y, worth))


# --- laying out ----------------------------------------------------------------------------------------------------------------------


def build(number: int, rng: np.random.Generator | None = None) -> Park:
    """Build park `number` into an emptied Blender file, without a camera; see `camera`."""
    rng = np.random.default_rng(number) if rng is None else rng
    scene = common.clear()
    park = _climate(number, rng)
    scene.view_settings.look = "AgX - Medium High Contrast"  # what a camera's own processing does; AgX alone is made for grading
    _lay_ground(park, rng)
    grove = _grow_variants(park, rng)
    _plant(park, rng, grove)
    _furnish(park, rng)
    _surround(park, rng, grove)
    _surfaces(park, rng)
    park.shots = _choose_shots(park, rng)
    return park


def _climate(number: int, rng: np.random.Generator) -> Park:
    season = str(rng.choice(SEASONS, p=[0.27, 0.33, 0.25, 0.15]))
    light = str(
        rng.choice(["clear", "fair", "golden", "hazy", "overcast"], p=[0.3, 0.22, 0.16, 0.14, 0.18])
    )
    low, high = {"golden": (8, 16), "overcast": (25, 55)}.get(light, (20, 60))
    elevation = rng.uniform(low, min(high, 28) if season == "winter" else high)
    overcast = {
        "clear": 0.0,
        "fair": 0.05,
        "golden": 0.05,
        "hazy": rng.uniform(0.3, 0.5),
        "overcast": rng.uniform(0.75, 1.0),
    }[light]
    clouds = {"clear": rng.uniform(0, 0.3), "fair": rng.uniform(0.4, 0.75)}.get(
        light, rng.uniform(0.1, 0.6)
    )
    azimuth = rng.uniform(0, 360)
    common.add_sky(rng, elevation, azimuth, overcast, clouds)
    bright = float(np.interp(elevation, [5, 30, 60], [1.6, 4.5, 6.0])) * (1 + 0.5 * overcast)
    Shader.haze_length = {"hazy": 700.0, "overcast": 1300.0}.get(light, 2200.0)
    warm = float(np.interp(elevation, [8, 22], [1.25, 1.0]))
    Shader.haze_colour = tuple(bright * c for c in np.interp(overcast, [0, 1], [0, 1]) * np.array([0.9, 0.92, 0.95])
                               + (1 - overcast) * np.array([0.62 * warm, 0.75, 1.0 / warm]))  # fmt: skip
    snow = rng.uniform(0.25, 0.8) if season == "winter" and rng.random() < 0.45 else 0.0
    mown = rng.random() < 0.7
    stripes = (
        rng.uniform(0, np.pi),
        rng.uniform(0.9, 1.8),
        rng.uniform(0.05, 0.12) if mown and rng.random() < 0.45 else 0.0,
    )
    lengths = {"relief": 38.0, "hills": 420.0, "patch": 9.0, "fine": 1.6}
    waves = {name: Waves(rng, length) for name, length in lengths.items()}
    waves["arid"] = rng.normal(0.0, 0.16)
    grass = rng.uniform(0.035, 0.06) if mown else rng.uniform(0.07, 0.14)
    # A meter that averages the logarithm takes a white sky for a bright scene and darkens the ground; photographers open up for that.
    key = (0.17 + 0.16 * snow) * (1 + 0.6 * overcast) * rng.uniform(0.9, 1.25)
    return Park(
        number,
        season,
        light,
        elevation,
        azimuth,
        overcast,
        key,
        grass,
        rng.uniform(0.1, 0.55),
        snow,
        stripes,
        waves,
    )


def _curve(points: np.ndarray) -> np.ndarray:
    """A smooth line through the neighbourhood of points (n, 2), resampled to 0.4 m."""
    for _ in range(5):  # Chaikin's corner cutting
        cut = np.stack(
            [0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1
        ).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    run = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    steps = np.arange(0, run[-1], 0.4)
    return np.stack([np.interp(steps, run, points[:, k]) for k in (0, 1)], 1)


def _lay_ground(park: Park, rng: np.random.Generator) -> None:
    """Glades, paths, pond and beds; only the plan, no meshes."""
    turn = rng.uniform(0, 2 * np.pi)
    for k in range(3):
        far, size = rng.uniform(10, 22), rng.uniform(6, 10)
        park.glades.append((far * math.cos(turn + 2.1 * k), far * math.sin(turn + 2.1 * k), size))
    for _ in range(rng.choice([0, 1, 2], p=[0.18, 0.42, 0.4])):
        a = rng.uniform(0, 2 * np.pi)
        b = a + np.pi + rng.uniform(-1, 1)
        ends = [(75 * math.cos(t), 75 * math.sin(t)) for t in (a, b)]
        middle = [
            np.array(ends[0]) + (np.array(ends[1]) - ends[0]) * t + rng.normal(0, 9, 2)
            for t in (0.2, 0.35, 0.5, 0.65, 0.8)
        ]
        if (
            rng.random() < 0.75
        ):  # past the middle of an open place, so that some camera stands before it
            gx, gy, size = park.glades[rng.integers(3)]
            middle[2] = np.array([gx, gy]) + rng.normal(0, 0.35 * size, 2)
        park.trails.append(
            Trail(_curve(np.array([ends[0], *middle, ends[1]])), rng.uniform(0.6, 1.5))
        )
        park.kinds.append("path")
    if rng.random() < 0.3:
        gx, gy, size = park.glades[0]
        away = rng.uniform(0, 2 * np.pi)
        a = rng.uniform(5, 10)
        far = 0.75 * size + a
        pond = Ellipse(
            gx + far * math.cos(away),
            gy + far * math.sin(away),
            a,
            a * rng.uniform(0.6, 0.95),
            away + np.pi / 2,
            tuple(rng.uniform(0, 6, 2)),
        )
        if (
            park.off_path(*pond.rim(60, 1.15).T).min() > 0
            and park.off_path(np.array([pond.x]), np.array([pond.y]))[0] > 0
        ):
            park.pond_level = float(park.ground(pond.x, pond.y))
            park.pond = pond
            park.kinds.append("pond")
            park.sights.append((pond.x, pond.y, 6.0))
    if rng.random() < 0.35:
        for _ in range(rng.integers(1, 4)):
            _plan_bed(park, rng)


def _plan_bed(park: Park, rng: np.random.Generator) -> None:
    gx, gy, size = park.glades[rng.integers(len(park.glades))]
    for _ in range(20):
        away, far = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.7, 1.0)
        bed = Ellipse(
            gx + far * math.cos(away),
            gy + far * math.sin(away),
            rng.uniform(1.2, 3.0),
            rng.uniform(0.8, 1.4),
            rng.uniform(0, 3.1),
        )
        rim = bed.rim(40, 1.1).T
        if park.off_path(*rim).min() > 0.3 and park.wild(*rim).min() > 1.3:
            park.beds.append(bed)
            park.sights.append((bed.x, bed.y, 3.0))
            park.kinds.append("flowers")
            return


# --- planting ------------------------------------------------------------------------------------------------------------------------


class Variant(NamedTuple):
    """A tree mesh with its crown's radius and that of its foot, at scale 1."""

    data: bpy.types.Mesh
    crown: float
    foot: float


def _size_of(data: bpy.types.Mesh) -> float:
    spots = np.empty(3 * len(data.vertices), np.float32)
    data.vertices.foreach_get("co", spots)
    return float(np.percentile(np.hypot(*spots.reshape(-1, 3)[:, :2].T), 95))


def _palette(park: Park, rng: np.random.Generator) -> plants.Colours:
    choice = plants.FOLIAGE[park.season]
    return choice[rng.integers(len(choice))]


def _grow_variants(park: Park, rng: np.random.Generator) -> dict[str, list[Variant]]:
    """The few plants of this park, which its trees are copies of."""
    kinds = list(
        rng.permutation(["oak", "lime", "maple", "birch", "poplar", "willow", "oak", "lime"])[:3]
    )
    if (park.season == "spring" and rng.random() < 0.6) or rng.random() < 0.15:
        kinds[0] = "cherry"
    grove: dict[str, list[Variant]] = {"trees": [], "conifers": [], "shrubs": []}
    for kind in [*kinds, kinds[1], "shrub", "shrub"]:
        bare = park.season == "winter" and rng.random() < 0.9
        palette, petals = None if bare else _palette(park, rng), False
        if (kind == "cherry" and park.season == "spring") or (
            kind == "shrub" and park.season in ("spring", "summer") and rng.random() < 0.3
        ):
            palette = [*plants.BLOSSOM[rng.integers(2)], *(palette or [])[:1]]
            petals = True
            park.kinds.append("blossom")
        elif kind == "shrub" and rng.random() < 0.3:
            palette = plants.EVERGREEN[0]
        thin = (
            rng.uniform(0.12, 0.35)
            if park.season == "winter"
            else rng.uniform(0.35, 1.0)
            if park.season == "autumn"
            else rng.uniform(0.85, 1.15)
        )
        density = 1.0 if kind == "shrub" and palette else thin
        data = plants.tree_mesh(rng, kind, palette, density, petals)
        crown = _size_of(data)
        park.litter += palette or []
        grove["shrubs" if kind == "shrub" else "trees"].append(
            Variant(data, crown, 0.8 * crown if kind == "shrub" else 0.45)
        )
    if rng.random() < 0.6:
        for _ in range(2):
            data = plants.conifer_mesh(rng)
            grove["conifers"].append(Variant(data, _size_of(data), _size_of(data)))
        park.kinds.append("conifers")
    park.kinds += kinds
    return grove


def _stand(
    park: Park,
    rng: np.random.Generator,
    choice: list[Variant],
    x: float,
    y: float,
    glades: bool = True,
    room: float = 0.6,
) -> bool:
    """Plant one of `choice` at (x, y) if it fits; `room` is the share of its crown kept from other crowns."""
    variant, scale = choice[rng.integers(len(choice))], rng.uniform(0.75, 1.25)
    crown, foot = variant.crown * scale, variant.foot * scale
    if not park.free(x, y, max(foot, 0.4), glades):
        return False
    if any(math.hypot(x - cx, y - cy) < room * (crown + r) for cx, cy, r in park.crowns):
        return False
    park.put(variant.data, x, y, rng.uniform(0, 6.28), scale, PLANT, foot, 1.0)
    park.crowns.append((x, y, crown))
    return True


def _plant(park: Park, rng: np.random.Generator, grove: dict[str, list[Variant]]) -> None:
    """Trees and shrubs in one of four habits: scattered, an avenue, a woodland's edge, groves."""
    habits = ["scattered", "woodland", "groves"] + (["avenue"] * 2 if park.trails else [])
    habit = habits[rng.integers(len(habits))]
    park.kinds.append(habit)
    mixed = grove["trees"] + grove["conifers"][:1]
    if habit == "avenue":
        trail, gap, offset = park.trails[0], int(rng.uniform(6.5, 9) / 0.4), rng.uniform(1.6, 3.0)
        for step in range(0, len(trail.line), gap):
            for side in (-1, 1):
                (x, y), _ = trail.beside(step, side * (trail.half + offset))
                _stand(park, rng, grove["trees"][:1], x, y, False, 0.3)
    elif habit == "woodland":
        way, edge = rng.uniform(0, 2 * np.pi), rng.uniform(10, 18)
        for _ in range(260):
            along, deep = rng.uniform(-55, 55), edge + rng.uniform(0, 30)
            x, y = (
                deep * math.cos(way) - along * math.sin(way),
                deep * math.sin(way) + along * math.cos(way),
            )
            under = rng.random() < 0.3
            _stand(
                park,
                rng,
                grove["shrubs"] if under else mixed,
                x,
                y,
                not under or rng.random() < 0.5,
                0.35,
            )
    elif habit == "groves":
        for _ in range(rng.integers(4, 8)):
            cx, cy = rng.uniform(-45, 45, 2)
            choice = [grove["trees"], grove["conifers"] or grove["trees"], mixed][rng.integers(3)]
            for _ in range(rng.integers(4, 9)):
                _stand(park, rng, choice, *(rng.normal((cx, cy), 6.0)), room=0.4)
    for _ in range(rng.integers(30, 90)):
        _stand(park, rng, mixed, *rng.uniform(-PARK, PARK, 2))
    for (
        gx,
        gy,
        size,
    ) in park.glades:  # trees that frame the open places, and shrubs singly or massed
        for _ in range(rng.integers(4, 16)):
            away, far = rng.uniform(0, 2 * np.pi), size * rng.uniform(1.0, 1.9)
            _stand(
                park,
                rng,
                mixed if rng.random() < 0.7 else grove["trees"][:1],
                gx + far * math.cos(away),
                gy + far * math.sin(away),
                room=0.45,
            )
        for _ in range(rng.integers(0, 9)):
            away, far = rng.uniform(0, 2 * np.pi), size * rng.uniform(1.0, 1.6)
            for _ in range(rng.integers(1, 4)):
                x, y = (
                    gx + far * math.cos(away) + rng.normal(0, 1.2),
                    gy + far * math.sin(away) + rng.normal(0, 1.2),
                )
                _stand(park, rng, grove["shrubs"], x, y, True, 0.25)


def _surround(park: Park, rng: np.random.Generator, grove: dict[str, list[Variant]]) -> None:
    """Belts of trees and shrubs and a few houses behind the park, so that the horizon is never a bare line."""
    gaps, houses = Waves(rng, 40.0), []
    if rng.random() < 0.55:
        houses = [props.house_mesh(rng) for _ in range(2)]
        park.kinds.append("houses")
    mixed = grove["trees"] + grove["conifers"]
    for radius, step, sparse in (
        (68, 5.0, 0.35),
        (90, 6.0, 0.2),
        (125, 7.0, 0.1),
        (185, 8.0, 0.0),
        (270, 9.0, 0.0),
    ):
        for k in range(int(2 * np.pi * radius / step)):
            angle, far = k * step / radius + rng.normal(0, 0.01), radius * rng.uniform(0.92, 1.1)
            x, y = far * math.sin(angle), far * math.cos(angle)
            if (
                gaps(np.array(x), np.array(y)) < -2.2 + 6.0 * sparse
                or park.off_path(np.array([x]), np.array([y]))[0] < 1.5
            ):
                continue
            low = rng.random() < (0.3 if radius < 130 else 0.0)
            variant = grove["shrubs"][rng.integers(2)] if low else mixed[rng.integers(len(mixed))]
            scale = rng.uniform(0.7, 1.3) * (1.7 if low else 1.0 if radius < 180 else 1.4)
            place(
                variant.data,
                FAR,
                (x, y, float(park.ground(x, y)) - 0.3),
                rng.uniform(0, 6.28),
                scale,
            )
    for k in range(len(houses) * rng.integers(2, 6)):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(60, 84)
        x, y = far * math.sin(angle), far * math.cos(angle)
        if park.free(x, y, 7.0):
            park.put(
                houses[k % 2], x, y, math.atan2(-x, y) + rng.normal(0, 0.3), 1.0, FAR, 11.0, 5.0
            )


# --- furniture -----------------------------------------------------------------------------------------------------------------------


def _furnish(park: Park, rng: np.random.Generator) -> None:
    """Benches, lamps, hedges, fences, a playground and picnic tables, each by chance."""
    for chance, name, make in (
        (0.6, "benches", _benches), (0.4 if park.trails else 0.1, "lamps", _lamps), (0.35, "hedge", _hedge), (0.35, "fence", _fence),
        (0.22, "playground", _playground), (0.2, "tables", _tables),
    ):  # fmt: skip
        if rng.random() < chance:
            make(park, rng)
            park.kinds.append(name)


def _facing(way: np.ndarray) -> float:
    """The yaw that turns a thing looking to -y towards `way`."""
    return math.atan2(way[0], -way[1])


def _rim_spot(
    park: Park, rng: np.random.Generator, radius: float
) -> tuple[float, float, np.ndarray] | None:
    """A free place on the rim of a glade and the unit vector to the glade's middle."""
    for _ in range(30):
        gx, gy, size = park.glades[rng.integers(len(park.glades))]
        angle, far = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.85, 1.15)
        x, y = gx + far * math.cos(angle), gy + far * math.sin(angle)
        if park.free(x, y, radius, False):
            return x, y, np.array([-math.cos(angle), -math.sin(angle)])
    return None


def _benches(park: Park, rng: np.random.Generator) -> None:
    bench, waste = props.bench_mesh(rng), props.bin_mesh(rng)
    for trail in park.trails:
        for step in range(int(rng.integers(10, 40)), len(trail.line), int(rng.integers(30, 60))):
            (x, y), way = trail.beside(step, rng.choice([-1, 1]) * (trail.half + 0.75))
            if math.hypot(x, y) < PARK and park.free(x, y, 0.4, False):
                park.put(bench, x, y, _facing(way), radius=1.0, worth=4.0)
                side = np.array([x, y]) + 1.6 * np.array([-way[1], way[0]])
                if rng.random() < 0.4 and park.free(*side, 0.3, False):
                    park.put(waste, *side, radius=0.4)
    for _ in range(rng.integers(1, 4)):
        if spot := _rim_spot(park, rng, 1.0):
            park.put(bench, *spot[:2], _facing(spot[2]) + rng.normal(0, 0.3), radius=1.0, worth=4.0)


def _lamps(park: Park, rng: np.random.Generator) -> None:
    lamp, gap = props.lamp_mesh(rng), int(rng.uniform(12, 18) / 0.4)
    for trail in park.trails[:1]:
        for step in range(int(rng.integers(gap)), len(trail.line), gap):
            (x, y), way = trail.beside(step, trail.half + 0.5)
            if park.free(x, y, 0.15, False):
                park.put(lamp, x, y, _facing(way), radius=0.25, worth=2.0)
    for _ in range(0 if park.trails else 3):
        if spot := _rim_spot(park, rng, 0.3):
            park.put(lamp, *spot[:2], radius=0.25, worth=2.0)


def _row(
    park: Park, rng: np.random.Generator, bays: int, length: float, half: float
) -> list[tuple[float, float, float]]:
    """Places and yaws of `bays` in a straight line past a glade; bays that do not fit are left out as gaps."""
    gx, gy, size = park.glades[rng.integers(len(park.glades))]
    angle, far = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.95, 1.4)
    out, along = (
        np.array([math.cos(angle), math.sin(angle)]),
        np.array([-math.sin(angle), math.cos(angle)]),
    )
    middles = [
        np.array([gx, gy]) + far * out + along * length * (k - bays / 2 + 0.5) for k in range(bays)
    ]
    return [(*m, angle + np.pi / 2) for m in middles if park.free(*m, half, False)]


def _hedge(park: Park, rng: np.random.Generator) -> None:
    palette = (
        [(0.05, 0.10, 0.025), (0.07, 0.13, 0.03)]
        if park.season != "autumn" or rng.random() < 0.6
        else plants.FOLIAGE["autumn"][3]
    )
    height = rng.uniform(0.7, 1.9)
    hedge = plants.hedge_mesh(rng, palette, 2.0, height, rng.uniform(0.55, 0.9))
    for _ in range(rng.integers(1, 4)):
        for x, y, yaw in _row(park, rng, int(rng.integers(5, 14)), 1.95, 0.6):
            park.put(hedge, x, y, yaw + np.pi * rng.integers(2), index=PLANT, radius=1.0, worth=0.7)


def _fence(park: Park, rng: np.random.Generator) -> None:
    fence = props.fence_mesh(rng, bool(rng.random() < 0.5))
    for _ in range(rng.integers(1, 3)):
        for x, y, yaw in _row(park, rng, int(rng.integers(6, 16)), 2.5, 0.3):
            park.put(
                fence,
                x - 1.25 * math.cos(yaw),
                y - 1.25 * math.sin(yaw),
                yaw,
                radius=0.3,
                worth=0.7,
            )
            park.obstacles += [(x, y, 0.5), (x + 0.9 * math.cos(yaw), y + 0.9 * math.sin(yaw), 0.5)]


def _playground(park: Park, rng: np.random.Generator) -> None:
    for make, radius in ((props.slide_mesh, 2.4), (props.swing_mesh, 2.0)):
        if spot := _rim_spot(park, rng, radius):
            park.put(make(rng), *spot[:2], rng.uniform(0, 6.28), radius=radius, worth=5.0)


def _tables(park: Park, rng: np.random.Generator) -> None:
    table = props.table_mesh(rng)
    for _ in range(rng.integers(1, 4)):
        if spot := _rim_spot(park, rng, 1.4):
            park.put(table, *spot[:2], rng.uniform(0, 6.28), radius=1.2, worth=3.0)


# --- surfaces ------------------------------------------------------------------------------------------------------------------------


def _surfaces(park: Park, rng: np.random.Generator) -> None:
    """Meshes of lawn, paths, water, shore and flower beds."""
    place(_lawn_mesh(park), LAWN)
    for trail in park.trails:
        place(_trail_mesh(park, rng, trail), PATH)
    if park.pond is not None:
        _fill_pond(park, rng, park.pond)
    for bed in park.beds:
        place(_bed_mesh(park, rng, bed), BED)


def _grid(rows: int, columns: int) -> np.ndarray:
    at = np.arange(rows * columns).reshape(rows, columns)
    return np.stack([at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]], -1).reshape(-1, 4)


def _lawn_mesh(park: Park) -> bpy.types.Mesh:
    """The ground to the horizon: a grid of 0.15 m cells in the middle that widen outwards."""
    side = REACH * np.sinh(6 * np.linspace(-1, 1, 400)) / math.sinh(6)
    x, y = (v.ravel() for v in np.meshgrid(side, side))
    vertices = np.stack([x, y, park.ground(x, y)], 1)
    shader = Shader("lawn")
    fine, coarse = shader.noise(45.0, 6.0), shader.noise(2.5, 8.0)
    grain = shader.mix(
        1.0,
        shader.grey(fine, 0.3, 0.7, 0.35, 1.15),
        shader.grey(coarse, 0.3, 0.7, 0.7, 1.2),
        "MULTIPLY",
    )
    colour = shader.mix(1.0, shader.tint(), grain, "MULTIPLY")
    material = shader.done(shader.principled(colour, 0.95, shader.bump(fine, 0.9, 0.05)))
    return mesh(
        "lawn", [Piece(vertices, _grid(400, 400), 0, park.lawn_colour(x, y))], [material], True
    )


def _trail_material(rng: np.random.Generator) -> bpy.types.Material:
    kind = rng.choice(["gravel", "asphalt", "dirt", "paving"])
    shader = Shader(str(kind))
    broad = shader.grey(shader.noise(0.6, 8.0), 0.3, 0.7, 0.75, 1.15)
    if kind == "paving":
        base = np.array([(0.32, 0.3, 0.27), (0.3, 0.16, 0.11), (0.2, 0.2, 0.2)][rng.integers(3)])
        inputs = {
            "Vector": shader.where(),
            "Color1": tuple(base),
            "Color2": tuple(0.7 * base),
            "Mortar": tuple(0.35 * base),
            "Scale": 1.0,
        }
        colour = shader.add(
            "TexBrick", inputs | {"Mortar Size": 0.008, "Brick Width": 0.3, "Row Height": 0.15}
        ).outputs[0]
        return shader.done(shader.principled(shader.mix(1.0, colour, broad, "MULTIPLY"), 0.8))
    base = {
        "gravel": (0.42, 0.36, 0.27),
        "asphalt": (0.09, 0.09, 0.095),
        "dirt": (0.26, 0.185, 0.115),
    }[str(kind)]
    base = np.array(base) * rng.uniform(0.75, 1.2)
    stones = shader.add(
        "TexVoronoi", {"Vector": shader.where(), "Scale": 28.0 if kind != "asphalt" else 70.0}
    ).outputs
    speck = shader.mix(
        0.35, shader.add("RGBToBW", {0: stones[1]}).outputs[0], shader.noise(9.0, 8.0), "MIX"
    )
    colour = shader.mix(
        1.0,
        shader.ramp(speck, 0.15, 0.8, tuple(0.55 * base), tuple(1.35 * base)),
        broad,
        "MULTIPLY",
    )
    return shader.done(shader.principled(colour, 0.9, shader.bump(stones[0], 0.5, 0.02)))


def _trail_mesh(park: Park, rng: np.random.Generator, trail: Trail) -> bpy.types.Mesh:
    """A ribbon over the ground, slightly arched, whose frayed edges dip into the lawn."""
    across = np.array([-1.06, -0.9, -0.5, 0.0, 0.5, 0.9, 1.06])
    lift = np.array([-0.04, 0.018, 0.03, 0.035, 0.03, 0.018, -0.04])
    ahead = np.gradient(trail.line, axis=0)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], 1) / (
        np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    )
    wobble = park.waves["fine"](*(1.3 * trail.line.T))[:, None] * (
        np.sign(across) + 1.5
    ) + 0.3 * rng.normal(size=(len(trail.line), 1))
    fray = 1 + 0.025 * wobble * (np.abs(across) > 0.8)
    spots = trail.line[:, None] + left[:, None] * (across * trail.half * fray)[..., None]
    x, y = spots.reshape(-1, 2).T
    vertices = np.stack([x, y, park.ground(x, y) + np.tile(lift, len(trail.line))], 1)
    return mesh("path", [Piece(vertices, _grid(len(trail.line), 7))], [_trail_material(rng)], True)


def _fill_pond(park: Park, rng: np.random.Generator, pond: Ellipse) -> None:
    shader = Shader("water")
    ripples = shader.noise(
        rng.uniform(1.5, 3.0), 4.0, shader.where((1.0, rng.uniform(1.5, 3.0), 1.0))
    )
    murk = tuple(np.array([0.018, 0.024, 0.012]) * rng.uniform(0.6, 1.8))
    water = shader.principled(
        murk,
        0.03,
        shader.bump(ripples, rng.uniform(0.05, 0.3), 0.05),
        IOR=1.33,
        Specular_IOR_Level=0.5,
    )
    rim = pond.rim(64, 1.1)
    level = park.pond_level - 0.16
    vertices = np.concatenate([np.c_[rim, np.full(64, level)], [[pond.x, pond.y, level]]])
    fan = np.stack([np.arange(64), (np.arange(64) + 1) % 64, np.full(64, 64)], 1)
    place(mesh("pond", [Piece(vertices, fan)], [shader.done(water)]), WATER)
    clumps = pond.rim(400, 1.0)[rng.permutation(400)[: rng.integers(0, 40)]]
    spots = np.repeat(clumps, 60, 0)
    spots = spots + rng.normal(0, 0.22, spots.shape)
    if len(spots):
        root = np.c_[spots, park.ground(*spots.T)]
        straw = park.season in ("autumn", "winter")
        colour = plants.shades(
            rng,
            [(0.3, 0.23, 0.11), (0.2, 0.17, 0.07)]
            if straw
            else [(0.07, 0.14, 0.03), (0.12, 0.18, 0.05)],
            len(root),
        )
        size = np.repeat(rng.uniform(0.4, 1.2, len(clumps)), 60) * rng.uniform(0.6, 1.2, len(root))
        place(
            mesh(
                "reeds",
                plants.blades(rng, root, size, np.full(len(root), 0.02), colour, 0.3),
                [plants.foliage()],
            ),
            PLANT,
        )


def _bed_mesh(park: Park, rng: np.random.Generator, bed: Ellipse) -> bpy.types.Mesh:
    """Soil, an edging of stones in some, and flowers in rings or mixed."""
    rings = np.stack([bed.rim(48, s) for s in (1.06, 1.0, 0.7, 0.35, 0.02)])
    x, y = rings.reshape(-1, 2).T
    soil = np.stack([x, y, park.ground(x, y) + np.repeat([-0.05, 0.05, 0.09, 0.12, 0.13], 48)], 1)
    at = np.arange(240).reshape(5, 48)
    faces = np.stack(
        [at[:-1], np.roll(at, -1, 1)[:-1], np.roll(at, -1, 1)[1:], at[1:]], -1
    ).reshape(-1, 4)
    pieces = [Piece(soil, faces, 0, np.full((240, 3), SOIL * 0.6))]
    if rng.random() < 0.5:
        pieces += [
            props.box(
                (*p, float(park.ground(*p)) + 0.06), (0.16, 0.13, 0.16), 2, rng.normal(0, 0.1), 0.8
            )
            for p in bed.rim(70, 1.03)
        ]
    colours = [plants.FLOWERS[k] for k in rng.permutation(len(plants.FLOWERS))[:2]]
    spots = rng.uniform(-1.1, 1.1, (int(230 * bed.a * bed.b), 2)) * max(bed.a, bed.b) + [
        bed.x,
        bed.y,
    ]
    level = bed.level(*spots.T)
    spots = spots[level < 0.95]
    level = level[level < 0.95]
    inner = level < 0.55 if rng.random() < 0.5 else rng.random(len(level)) < 0.5
    bare = 0.25 if park.season == "winter" else 1.0
    for group, palette in ((inner, colours[0]), (~inner, colours[1])):
        some = spots[group & (rng.random(len(level)) < bare)]
        pieces += plants.flower_bed(
            rng, np.c_[some, park.ground(*some.T) + 0.06], palette, rng.uniform(0.18, 0.5)
        )
    shader = Shader("soil")
    crumbs = shader.noise(30.0, 6.0)
    soil_paint = shader.mix(1.0, shader.tint(), shader.grey(crumbs, 0.3, 0.7, 0.4, 1.4), "MULTIPLY")
    material = shader.done(shader.principled(soil_paint, 0.95, shader.bump(crumbs, 1.0, 0.05)))
    return mesh(
        "bed", pieces, [material, plants.foliage(), props.painted("stone", (0.3, 0.28, 0.25), 0.9)]
    )


# --- looking -------------------------------------------------------------------------------------------------------------------------


def _propose(park: Park, rng: np.random.Generator) -> Shot:
    gx, gy, size = park.glades[rng.integers(len(park.glades))]
    yaw, back = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.3, 0.95)
    x, y = gx - back * math.sin(yaw), gy - back * math.cos(yaw)
    yaw = math.degrees(yaw) + rng.normal(0, 12)
    pitch = float(np.clip(rng.normal(-6.5, 3.0), -14, 2))
    roll = rng.uniform(-2, 2) if rng.random() < 0.35 else 0.0
    return Shot(x, y, rng.uniform(0.9, 1.8), yaw % 360, pitch, roll, rng.uniform(45, 72))


def _bearings(shot: Shot, spots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances and bearings (degrees right of the view) of spots (n, >= 2)."""
    dx, dy = spots[:, 0] - shot.x, spots[:, 1] - shot.y
    turn = np.degrees(np.arctan2(dx, dy)) - shot.yaw
    return np.hypot(dx, dy), (turn + 180) % 360 - 180


def _worth(park: Park, shot: Shot) -> float:
    """How good a picture a shot would give; minus infinity where one cannot stand."""
    here = np.array([shot.x]), np.array([shot.y])
    if park.wild(*here)[0] < 1.25:
        return -math.inf
    for list_, margin in ((park.obstacles, 2.2), (park.crowns, 0.8)):
        if list_ and (_bearings(shot, np.array(list_))[0] < np.array(list_)[:, 2] + margin).any():
            return -math.inf
    far, turn = _bearings(shot, np.array(park.obstacles))
    blocked = (
        (far - np.array(park.obstacles)[:, 2] < 5.5) & (np.abs(turn) < shot.fov / 2 + 3)
    ).sum()
    ahead = np.radians(shot.yaw + np.repeat([-15, 0, 15], 4))
    reach = np.tile([2.5, 4, 6, 8], 3)
    x, y = shot.x + reach * np.sin(ahead), shot.y + reach * np.cos(ahead)
    open_ground = (park.wild(x, y) > 1.1).mean()
    if open_ground < 0.6:
        return -math.inf
    sights = np.array(park.sights)
    far, turn = _bearings(shot, sights)
    seen = np.abs(turn) < shot.fov / 2 - 2
    interest = np.sqrt((sights[:, 2] * seen * smooth(3, 6, far) * smooth(45, 9, far)).sum())
    x, y = (
        shot.x + 7 * np.sin(np.radians(shot.yaw + np.arange(-24, 25, 6))),
        shot.y + 7 * np.cos(np.radians(shot.yaw + np.arange(-24, 25, 6))),
    )
    interest += 1.2 * (0 < (park.off_path(x, y) < 0).sum() < 9)
    glare = (
        abs((shot.yaw - park.azimuth + 180) % 360 - 180) < 60
        and park.elevation < 40
        and park.overcast < 0.5
    )
    return float(interest - 1.5 * blocked - 2.0 * glare - 4 * (1 - open_ground))


def _choose_shots(park: Park, rng: np.random.Generator) -> list[Shot]:
    """Good views that differ: each next one looks elsewhere or from elsewhere."""
    proposals = [_propose(park, rng) for _ in range(500)]
    worths = np.array([_worth(park, shot) for shot in proposals]) + rng.normal(
        0, 0.8, len(proposals)
    )
    chosen: list[Shot] = []
    for _ in range(SHOTS):
        best = int(
            np.argmax(
                [w - _likeness(shot, chosen) for w, shot in zip(worths, proposals, strict=True)]
            )
        )
        chosen.append(proposals[best])
        worths[best] = -math.inf
    return chosen


def _likeness(shot: Shot, chosen: list[Shot]) -> float:
    turn = [abs((shot.yaw - c.yaw + 180) % 360 - 180) / 70 for c in chosen]
    move = [math.hypot(shot.x - c.x, shot.y - c.y) / 15 for c in chosen]
    return sum(
        6 * max(0.0, 1 - 0.5 * (min(t, 2) + min(m, 2))) + 6 * max(0.0, 0.6 - t)
        for t, m in zip(turn, move, strict=True)
    )


def camera(park: Park, view: int) -> Shot:
    """Point the scene's camera as view number `view` and grow the grass in front of it (the last view's goes)."""
    shot = park.shots[view]
    data = bpy.data.cameras.new("camera")
    data.sensor_width, data.lens_unit, data.clip_start, data.clip_end = 36.0, "FOV", 0.05, 5000.0
    data.angle = math.radians(shot.fov)
    made = bpy.data.objects.new("camera", data)
    made.location = (shot.x, shot.y, float(park.ground(shot.x, shot.y)) + shot.height)
    made.rotation_mode = "YXZ"
    made.rotation_euler = (math.radians(90 + shot.pitch), 0.0, -math.radians(shot.yaw))
    made.rotation_mode = "XYZ"
    made.delta_rotation_euler = (0.0, 0.0, 0.0)
    bpy.context.collection.objects.link(made)
    bpy.context.view_layer.update()
    made.matrix_world = made.matrix_world @ _roll(shot.roll)
    bpy.context.scene.camera = made
    for old in park.carpet:
        bpy.data.meshes.remove(old.data)
    park.carpet = _carpet(park, shot, np.random.default_rng([park.number, 100 + view]))
    return shot


def _roll(degrees: float):  # mathutils ships no types
    from mathutils import Matrix

    return Matrix.Rotation(math.radians(degrees), 4, "Z")


def _fan(
    park: Park, shot: Shot, rng: np.random.Generator, count: int, reach: float, even: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """`count` spots (n, 2) on the ground in view and their distances: equally many per octave of distance, the share `even` per area."""
    far = np.exp(rng.uniform(math.log(0.8), math.log(reach), count))
    far = np.where(rng.random(count) < even, reach * np.sqrt(rng.random(count)), far)
    turn = np.radians(shot.yaw + rng.uniform(-1, 1, count) * (shot.fov / 2 + 8))
    return np.stack([shot.x + far * np.sin(turn), shot.y + far * np.cos(turn)], 1), far


def _carpet(park: Park, shot: Shot, rng: np.random.Generator) -> list[bpy.types.Object]:
    """Grass, small flowers and fallen leaves in view of a shot; all of it is ground a dog can stand on."""
    tufts, far = _fan(park, shot, rng, TUFTS, GRASS_REACH)
    spots = (
        np.repeat(tufts, PER_TUFT, 0)
        + rng.normal(0, 0.022, (TUFTS * PER_TUFT, 2)) * np.repeat(np.sqrt(far), PER_TUFT)[:, None]
    )
    far = np.repeat(far, PER_TUFT)
    x, y = spots.T
    edge = park.off_path(x, y) + 0.03
    keep = (
        (edge + rng.exponential(0.05, len(x)) > 0.0)
        & (park.wild(x, y) > 1.04)
        & (rng.random(len(x)) > 0.93 * park.snowy(x, y))
    )
    spots, far, edge, (x, y) = spots[keep], far[keep], edge[keep], spots[keep].T
    size = np.repeat(rng.uniform(0.6, 1.35, TUFTS), PER_TUFT)[keep]  # a tuft's blades are alike
    height = (
        park.grass
        * size
        * rng.uniform(0.6, 1.3, len(x))
        * (1 + 0.3 * park.waves["patch"](x, y)).clip(0.5)
        * (0.6 + 0.4 * smooth(0, 0.5, edge))
    )
    height *= 1 - 0.5 * park.snowy(x, y)
    width = rng.uniform(0.003, 0.006, len(x)) * np.maximum(1.0, far / 3.5)
    colour = (
        park.lawn_colour(x, y)
        * rng.uniform(0.75, 1.4, (len(x), 1))
        * rng.uniform(0.9, 1.12, (len(x), 3))
    )
    colour = colour * np.repeat(rng.uniform(0.85, 1.15, TUFTS), PER_TUFT)[keep][:, None]
    straw = (
        rng.random(len(x))
        < {"spring": 0.04, "summer": 0.08, "autumn": 0.12, "winter": 0.2}[park.season]
    )
    colour[straw] = np.array([0.32, 0.26, 0.12]) * rng.uniform(0.7, 1.2, (int(straw.sum()), 1))
    root = np.c_[spots, park.ground(x, y) - 0.01]
    made = [
        place(
            mesh(
                "grass",
                plants.blades(rng, root, height, width, colour),
                [plants.foliage("grass", 0.3, 0.0, 0.6)],
            ),
            LAWN,
        )
    ]
    for palette, count, lift, side in _strewn(park, rng):
        spots, _ = _fan(park, shot, rng, count, 28.0, 0.85)
        x, y = spots.T
        drift = park.waves["patch"](2 * x + 40, 2 * y) + 0.5 * park.waves["fine"](x, y)
        spots = spots[
            (drift + rng.normal(0, 0.5, count) > 0)
            & (park.wild(x, y) > 1.05)
            & ((park.off_path(x, y) > 0) | (rng.random(count) < 0.25))
        ]
        at = np.c_[spots, park.ground(*spots.T) + lift]
        made.append(
            place(
                mesh(
                    "litter",
                    [plants.litter(rng, at, palette, side)],
                    [plants.foliage("litter", 0.2)],
                ),
                LAWN,
            )
        )
    return made


def _strewn(park: Park, rng: np.random.Generator) -> list[tuple[plants.Colours, int, float, float]]:
    """What lies or blooms on the lawn: palette, how many, height above ground, size."""
    plan = np.random.default_rng([park.number, 99])  # the same for all views
    made: list[tuple[plants.Colours, int, float, float]] = []
    if park.season in ("spring", "summer") and plan.random() < 0.5:
        colour = [(0.8, 0.8, 0.75), (0.8, 0.55, 0.02)][plan.integers(2)]
        made.append(([colour], int(plan.integers(300, 2500)), park.grass * 0.9, 0.026))
    if park.season == "autumn" and park.litter:
        made.append((park.litter, int(plan.integers(3000, 22000)), 0.3 * park.grass, 0.07))
    elif plan.random() < 0.6:
        made.append(
            (
                [(0.2, 0.13, 0.06), (0.12, 0.09, 0.04)],
                int(plan.integers(200, 1200)),
                0.4 * park.grass,
                0.05,
            )
        )
    return made


# --- rendering -----------------------------------------------------------------------------------------------------------------------


def walkable(index: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where a dog may stand: 255 on lawn and path at a fitting distance, else 0."""
    return (np.isin(index, (LAWN, PATH)) & (z > NEAR) & (z < FAR_LIMIT)).astype(np.uint8) * 255


def render_view(park: Park, view: int, out: Path, size: int, samples: int) -> dict:
    """Render one view, write its three pictures and return its catalogue entry."""
    shot = camera(park, view)
    picture = common.render(size, size, samples, seed=park.number * SHOTS + view, key=park.key)
    name = view_name(park.number, view)
    files = {
        "image": f"scenes/{name}.webp",
        "depth": f"scenes/{name}_depth.png",
        "ground": f"scenes/{name}_ground.png",
    }
    common.save(out / files["image"], picture["rgb"])
    common.save(out / files["depth"], common.encode_depth(picture["z"]))
    common.save(out / files["ground"], walkable(picture["index"], picture["z"]))
    return {
        "id": name, "scene": park.number, "split": common.split_of(park.number), **files,
        "focal": round(size / 2 / math.tan(math.radians(shot.fov) / 2), 2),
        "camera_height": round(shot.height, 3), "pitch": round(shot.pitch, 2),
        "season": park.season, "light": park.light, "kind": sorted(set(park.kinds)), "exposure": round(picture["exposure"], 4),
    }  # fmt: skip


def view_name(number: int, view: int) -> str:
    """Id of a view: 0012_a is the first of scene 12."""
    return f"{number:04d}_{chr(ord('a') + view)}"


def view_number(name: str) -> int:
    """The inverse of `view_name`: 0 for 0012_a."""
    return ord(name[-1]) - ord("a")


def done_views(out: Path) -> set[str]:
    """Ids in the catalogue whose files are all there."""
    path = out / "catalogue.json"
    entries = (
        json.loads(path.read_text(encoding="utf-8")).get("scenes", []) if path.exists() else []
    )
    return {
        e["id"]
        for e in entries
        if all((out / e[key]).exists() for key in ("image", "depth", "ground"))
    }


def contact_sheet(out: Path, target: Path, columns: int = 20, tile: int = 96) -> None:
    """Every view over its depth (near is bright), the walkable ground in green."""
    tiles = []
    for entry in json.loads((out / "catalogue.json").read_text(encoding="utf-8"))["scenes"]:
        shown = common.depth_tile(out / entry["depth"])
        shown[cv2.imread(str(out / entry["ground"]), 0) > 0, ::2] //= 2
        view = np.concatenate([common.read_tile(out / entry["image"]), shown])
        tiles.append(cv2.resize(view, (tile, 2 * tile), interpolation=cv2.INTER_AREA))
    common.write_sheet(tiles, columns, target)


def main() -> None:
    parser = common.parser(__doc__, samples=32)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--views", type=int, default=2, choices=range(1, SHOTS + 1))
    options = parser.parse_args()
    if options.contact_sheet:
        contact_sheet(options.out, options.contact_sheet)
        return
    for number in range(options.first, options.first + options.count):
        done = done_views(options.out)
        todo = [v for v in range(options.views) if view_name(number, v) not in done]
        if not todo:
            continue
        start = time.perf_counter()
        park = build(number)
        print(
            f"{number:04d} built in {time.perf_counter() - start:.1f} s: {park.season}, {park.light}, {', '.join(sorted(set(park.kinds)))}",
            flush=True,
        )
        for view in todo:
            start = time.perf_counter()
            entry = render_view(park, view, options.out, options.size, options.samples)
            common.record(options.out, "scenes", entry)
            print(f"{entry['id']} {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
