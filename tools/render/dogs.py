"""Render dogs as cut-outs: colour with a soft fur edge, and depth relative to the point where they touch the ground.

Run with Blender's Python module (the `render` extra): `python tools/render/dogs.py --out DIR`. Dog number i is one animal (coat,
build, collar), seeded by i; view v of it has a pose, a camera and a light of its own, seeded by (i, v). `add_dog` puts the same
animals into any Blender scene. The dog's mesh, skeleton and skin weights come from dm_control's suite (Copyright The dm_control
Authors, Apache-2.0); fur, coats, builds and poses are this project's. Lengths in metres, angles in degrees.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import bpy
import common
import cv2
import dog_poses
import numpy as np
from dog_poses import Build, Pose, smoothstep
from mathutils import Vector
from scipy.spatial import cKDTree

STRANDS, STRANDS_SHORT = (
    52_000,
    110_000,
)  # enough that no skin shows through at 200 px; short hairs cover less each
SHORT = 0.02  # metres: coats below this get the second number
POINTS = 6  # control points of a hair
MARGIN = 2  # transparent pixels kept around a cut-out
CHECKER = ((96, 128, 92), (112, 120, 108))  # the contact sheet's two greens

BLACK, WHITE, CREAM, GOLD = (
    (0.014, 0.013, 0.013),
    (0.70, 0.67, 0.62),
    (0.62, 0.49, 0.32),
    (0.50, 0.27, 0.10),
)
RED, CHOCOLATE, TAN, FAWN = (
    (0.28, 0.10, 0.035),
    (0.075, 0.034, 0.018),
    (0.36, 0.17, 0.065),
    (0.44, 0.28, 0.14),
)
GREY, SLATE, CHARCOAL, ORANGE = (
    (0.22, 0.21, 0.20),
    (0.20, 0.215, 0.24),
    (0.045, 0.043, 0.042),
    (0.46, 0.20, 0.06),
)
LINING, LIVER = (0.30, 0.07, 0.06), (0.06, 0.025, 0.02)  # mouth; nose of a brown dog
COLLARS = (
    (0.45, 0.02, 0.02),
    (0.02, 0.08, 0.40),
    (0.02, 0.02, 0.02),
    (0.03, 0.25, 0.08),
    (0.55, 0.25, 0.02),
    (0.25, 0.04, 0.30),
)
COLLAR_AT, COLLAR_AXIS, COLLAR_HALF = (
    np.array([0.215, 0.0, 0.575]),
    np.array([0.45, 0.0, 0.893]),
    0.011,
)  # on the neck of the rest mesh


@dataclass(frozen=True)
class Surface:
    """What coats are painted on: N points in the rest pose, with normals, region weights, ear position and smooth noise fields."""

    points: np.ndarray
    normals: np.ndarray
    regions: dict[str, np.ndarray]
    ear: np.ndarray
    seed: int

    def noise(
        self, size: float, layer: int = 0, stretch: tuple[float, float, float] = (1, 1, 1)
    ) -> np.ndarray:
        """A smooth random field (N,), about standard normal, with features of `size` metres: a sum of waves."""
        rng = np.random.default_rng((self.seed, layer, 77))
        waves = rng.normal(size=(40, 3)) / size * np.asarray(stretch)
        return np.cos(self.points @ waves.T + rng.uniform(0, 2 * np.pi, 40)).sum(1) / np.sqrt(20)

    def rough(
        self, low: float, high: float, value: np.ndarray, wobble: float = 0.012, layer: int = 3
    ) -> np.ndarray:
        """smoothstep with a ragged boundary."""
        return smoothstep(value + wobble * self.noise(0.02, layer), low, high)


Painter = Callable[[Surface], np.ndarray]


@dataclass(frozen=True)
class Coat:
    """A coat: its painter, the fur's geometry, and the build it usually comes on."""

    name: str
    paint: Painter
    length: float  # of the trunk's hair
    build: Build
    feather: float = 1.0  # hair on tail, chest, ears and backs of the legs, relative to the trunk's
    short: float = 0.4  # hair on legs and face, relative to the trunk's
    lift: float = 0.35  # 0 lies flat, 1 stands up
    curl: float = 0.0  # radius of the curls
    clump: float = 0.35
    nose: tuple[float, float, float] = BLACK


@dataclass(frozen=True)
class Identity:
    """Dog number `index`: everything that stays the same between its pictures."""

    index: int
    coat: Coat
    build: Build
    tone: tuple[float, float, float]  # multiplies the coat's colours
    collar: tuple[float, float, float] | None


def painted(who: Identity, s: Surface) -> np.ndarray:
    """The coat's colours (N, 3), linear, with the unevenness that all coats have."""
    uneven = (
        0.09 * s.noise(0.06, 20)
        + 0.07 * s.noise(0.015, 21)
        + 0.03 * s.noise(0.005, 22)
        - 0.12 * smoothstep(s.normals[:, 2], 0.2, 1.0)
    )
    return who.coat.paint(s) * who.tone * np.exp(uneven)[:, None]


def _mix(
    base: np.ndarray, colour: tuple[float, float, float] | np.ndarray, amount: np.ndarray
) -> np.ndarray:
    return base + amount[:, None] * (np.asarray(colour) - base)


def _flat(s: Surface, colour: tuple[float, float, float]) -> np.ndarray:
    return np.tile(np.asarray(colour, float), (len(s.points), 1))


def _under(s: Surface) -> np.ndarray:
    """Belly, insides of the legs, throat."""
    return s.rough(0.15, 0.6, -s.normals[:, 2], 0.15) * (
        s.regions["trunk"] + s.regions["neck"] + s.regions["thigh"] + s.regions["tail"]
    ).clip(0, 1)


def _chest(s: Surface) -> np.ndarray:
    return (
        s.rough(0.13, 0.17, s.points[:, 0])
        * s.rough(0.25, 0.55, s.normals[:, 0] - 0.3 * s.normals[:, 2], 0.1)
        * (1 - s.regions["head"])
    )


def _legs(s: Surface, top: float) -> np.ndarray:
    """The legs below `top` metres."""
    limb = (s.regions["shank"] + s.regions["paw"] + s.regions["thigh"] + s.regions["arm"]).clip(
        0, 1
    )
    return s.rough(-top - 0.015, -top + 0.015, -s.points[:, 2], 0.02) * limb


def _face(s: Surface, x: float) -> np.ndarray:
    """The head in front of `x`, lower down first (a muzzle and cheeks)."""
    return (
        s.rough(x - 0.008, x + 0.008, s.points[:, 0] + 0.35 * (0.69 - s.points[:, 2]), 0.006)
        * s.regions["head"]
    )


def _blaze(s: Surface, width: float) -> np.ndarray:
    return (
        s.rough(-width, -width + 0.005, -np.abs(s.points[:, 1]), 0.003)
        * smoothstep(s.points[:, 0], 0.31, 0.33)
        * s.regions["head"]
    )


def _brows(s: Surface) -> np.ndarray:
    spot = np.linalg.norm(
        np.abs(s.points) * [0, 1, 0] + s.points * [1, 0, 1] - [0.348, 0.021, 0.728], axis=1
    )
    return smoothstep(-spot, -0.012, -0.007)


def _tail_tip(s: Surface) -> np.ndarray:
    return s.regions["tail"] * s.rough(0.63, 0.66, -s.points[:, 0])


def _saddle(s: Surface, low: float) -> np.ndarray:
    body = (
        s.regions["trunk"]
        + s.regions["tail"]
        + s.regions["thigh"]
        + s.regions["arm"]
        + s.regions["neck"]
    ).clip(0, 1)
    return (
        s.rough(
            low - 0.02,
            low + 0.02,
            s.points[:, 2] - 0.4 * np.maximum(s.points[:, 0] - 0.15, 0),
            0.02,
        )
        * body
    )


def _ears(s: Surface) -> np.ndarray:
    return s.ear


def _solid(colour: tuple[float, float, float], pale: float = 0.3) -> Painter:
    """One colour, paler (towards white) below, on the chest and in the feathers by `pale`."""

    def paint(s: Surface) -> np.ndarray:
        soft = (0.6 * _under(s) + 0.5 * _chest(s) + 0.5 * s.regions["tail"]).clip(0, 1) * pale
        base = _flat(s, colour) * (1 + 0.10 * s.noise(0.12))[:, None].clip(0.6, 1.4)
        return _mix(
            _mix(base, np.asarray(colour) * 1.7 + 0.02 * pale, soft),
            np.asarray(colour) * 0.75,
            0.5 * _ears(s),
        )

    return paint


def _black_tan(s: Surface) -> np.ndarray:
    points = (
        _face(s, 0.385) * (1 - _blaze(s, 0.014))
        + _brows(s)
        + 0.9 * _legs(s, 0.23)
        + 0.8 * _chest(s) * (s.points[:, 2] < 0.46)
    ).clip(0, 1)
    return _mix(_mix(_flat(s, BLACK), TAN, points), TAN, 0.5 * _under(s) * (s.points[:, 0] < -0.2))


def _husky(s: Surface) -> np.ndarray:
    upper = _mix(_flat(s, CHARCOAL), GREY, smoothstep(-s.normals[:, 2], -0.7, 0.3))
    white = (
        _face(s, 0.355)
        + _legs(s, 0.34)
        + _under(s)
        + _chest(s)
        + (1 - _saddle(s, 0.42)) * s.regions["trunk"]
        + 1.2 * _brows(s)
    ).clip(0, 1)
    return _mix(upper, WHITE, white * (1 - _ears(s)))


def _collie(base: tuple[float, float, float]) -> Painter:
    def paint(s: Surface) -> np.ndarray:
        ring = s.regions["neck"] * s.rough(
            -0.045, -0.03, -np.abs((s.points - [0.205, 0, 0.535]) @ [0.35, 0, 0.94]), 0.012
        )
        white = (
            _blaze(s, 0.011)
            + _face(s, 0.405)
            + _chest(s)
            + _legs(s, 0.20)
            + ring
            + _tail_tip(s)
            + _under(s)
        )
        return _mix(_flat(s, base), WHITE, white.clip(0, 1))

    return paint


def _dalmatian(s: Surface) -> np.ndarray:
    rng = np.random.default_rng((s.seed, 5))
    verts = dog_poses.anatomy().vertices
    centres = verts[rng.choice(len(verts), 330, replace=False)]
    near, which = cKDTree(centres).query(s.points)
    radius = rng.uniform(0.004, 0.017, len(centres))[which]
    return _mix(
        _mix(_flat(s, WHITE), BLACK, smoothstep(radius - near, -0.001, 0.002)),
        BLACK,
        0.5 * _ears(s),
    )


def _brindle(s: Surface) -> np.ndarray:
    stripes = np.sin(
        2 * np.pi * (s.points[:, 0] + 0.25 * s.points[:, 2] + 0.016 * s.noise(0.06, 1)) / 0.034
        + 0.9 * s.noise(0.02, 2)
    )
    base = _mix(
        _flat(s, TAN), CHARCOAL, 0.85 * smoothstep(stripes + 0.5 * s.noise(0.05, 4), -0.4, 0.5)
    )
    return _mix(
        _mix(base, CHARCOAL, _face(s, 0.385)), WHITE, (_chest(s) + _legs(s, 0.06)).clip(0, 1)
    )


def _merle(s: Surface) -> np.ndarray:
    base = _mix(
        _flat(s, SLATE), BLACK, smoothstep(s.noise(0.035, 1) + 0.6 * s.noise(0.012, 2), 0.35, 0.6)
    )
    white = (_blaze(s, 0.010) + _face(s, 0.41) + _chest(s) + _legs(s, 0.12) + 0.8 * _under(s)).clip(
        0, 1
    )
    return _mix(
        _mix(base, TAN, (_legs(s, 0.24) + _brows(s) + 0.6 * _face(s, 0.37)).clip(0, 1)),
        WHITE,
        white,
    )


def _beagle(s: Surface) -> np.ndarray:
    base = _mix(
        _flat(s, TAN),
        BLACK,
        _saddle(s, 0.47) * (1 - s.regions["head"]) * s.rough(-0.22, -0.16, -s.points[:, 0]),
    )
    white = (
        _blaze(s, 0.009) + _face(s, 0.40) + _chest(s) + _legs(s, 0.30) + _under(s) + _tail_tip(s)
    )
    return _mix(base, WHITE, white.clip(0, 1))


def _masked(colour: tuple[float, float, float]) -> Painter:
    def paint(s: Surface) -> np.ndarray:
        base = _mix(
            _solid(colour, 0.3)(s),
            CHARCOAL,
            0.25 * smoothstep(s.normals[:, 2], 0.5, 1.0) * s.regions["trunk"],
        )
        return _mix(base, BLACK, (_face(s, 0.385) + 0.8 * _ears(s)).clip(0, 1) * 0.95)

    return paint


def _shepherd(s: Surface) -> np.ndarray:
    dark = (
        _saddle(s, 0.44) * (1 - 0.75 * s.regions["neck"]) + _face(s, 0.39) + 0.7 * _ears(s)
    ).clip(0, 1)
    dark *= 1 - 0.8 * _legs(s, 0.34)
    return _mix(_mix(_flat(s, TAN), CREAM, 0.5 * (_under(s) + _chest(s)).clip(0, 1)), BLACK, dark)


def _patched(base: tuple[float, float, float]) -> Painter:
    """White with large patches: head and ears coloured, ticking on the legs."""

    def paint(s: Surface) -> np.ndarray:
        patches = (
            smoothstep(s.noise(0.11, 1) + 0.15 * s.noise(0.02, 2), 0.15, 0.3)
            * (1 - _legs(s, 0.28))
            * (1 - _chest(s))
        )
        ticks = 0.5 * smoothstep(s.noise(0.008, 6), 1.5, 1.8)
        head = s.regions["head"] * (1 - (_blaze(s, 0.010) + _face(s, 0.40)).clip(0, 1))
        return _mix(
            _flat(s, WHITE),
            base,
            np.maximum(np.maximum(patches * (1 - s.regions["head"]), ticks), head),
        )

    return paint


def _corgi(s: Surface) -> np.ndarray:
    white = _blaze(s, 0.008) + _face(s, 0.40) + _chest(s) + _legs(s, 0.22) + _under(s)
    return _mix(
        _mix(
            _flat(s, ORANGE),
            CHARCOAL,
            0.3 * smoothstep(s.normals[:, 2] + 0.3 * s.noise(0.03), 0.5, 1),
        ),
        WHITE,
        white.clip(0, 1),
    )


def _wire(s: Surface) -> np.ndarray:
    base = _mix(_flat(s, (0.12, 0.115, 0.11)), GREY, smoothstep(s.noise(0.01, 1), -0.8, 0.8))
    return _mix(
        base,
        (0.42, 0.40, 0.37),
        (_face(s, 0.39) + 1.5 * _brows(s) + 0.7 * _legs(s, 0.22) + 0.4 * _under(s)).clip(0, 1),
    )


COATS = (
    Coat(
        "black",
        _solid(BLACK, 0.1),
        0.018,
        Build(0.57, girth=1.25, ear_set="hang", ear=1.05),
        feather=1.4,
    ),
    Coat(
        "golden",
        _solid(GOLD, 0.7),
        0.045,
        Build(0.57, girth=1.25, ear_set="hang", ear=1.1),
        feather=1.7,
        short=0.28,
        lift=0.3,
        clump=0.5,
    ),
    Coat(
        "husky", _husky, 0.042, Build(0.56, girth=1.2, ear=0.85, tail=0.9), feather=1.4, lift=0.55
    ),
    Coat(
        "collie",
        _collie(BLACK),
        0.050,
        Build(0.52, girth=1.15, ear_set="half"),
        feather=1.4,
        short=0.22,
        clump=0.5,
    ),
    Coat(
        "black_tan", _black_tan, 0.010, Build(0.63, girth=1.2, ear_set="hang", ear=0.95), lift=0.2
    ),
    Coat("dalmatian", _dalmatian, 0.009, Build(0.57, girth=1.15, ear_set="hang"), lift=0.2),
    Coat(
        "beagle",
        _beagle,
        0.012,
        Build(0.38, leg=0.82, girth=1.3, ear_set="hang", ear=1.25, head=1.3, muzzle=0.85),
        lift=0.25,
    ),
    Coat(
        "doodle",
        _solid(CREAM, 0.3),
        0.045,
        Build(0.50, girth=1.2, ear_set="hang", ear=1.2, muzzle=0.8),
        feather=1.1,
        short=0.8,
        lift=0.8,
        curl=0.007,
        clump=0.8,
    ),
    Coat(
        "chocolate",
        _solid(CHOCOLATE, 0.3),
        0.016,
        Build(0.57, girth=1.28, ear_set="hang"),
        feather=1.3,
        nose=LIVER,
    ),
    Coat(
        "white", _solid(WHITE, 0.0), 0.050, Build(0.55, girth=1.2, ear=0.9), feather=1.4, lift=0.55
    ),
    Coat(
        "brindle",
        _brindle,
        0.009,
        Build(0.52, girth=1.4, bone=1.35, head=1.32, muzzle=0.7, ear_set="half", ear=0.9),
        lift=0.2,
    ),
    Coat(
        "merle",
        _merle,
        0.045,
        Build(0.52, girth=1.2, ear_set="half"),
        feather=1.4,
        short=0.25,
        clump=0.5,
    ),
    Coat(
        "fawn_mask",
        _masked(FAWN),
        0.010,
        Build(0.70, girth=1.3, bone=1.3, ear_set="hang", head=1.28, muzzle=0.75),
        lift=0.2,
    ),
    Coat("shepherd", _shepherd, 0.032, Build(0.62, girth=1.2, ear=1.05), feather=1.4, lift=0.4),
    Coat(
        "setter",
        _solid(RED, 0.4),
        0.040,
        Build(0.62, girth=1.12, ear_set="hang", ear=1.25),
        feather=2.0,
        short=0.25,
        lift=0.2,
        clump=0.6,
        nose=LIVER,
    ),
    Coat(
        "corgi",
        _corgi,
        0.021,
        Build(0.29, leg=0.5, neck=0.68, girth=1.25, bone=1.2, ear=1.1, head=1.35, tail=0.6),
        feather=1.5,
        lift=0.45,
    ),
    Coat(
        "spaniel",
        _patched(LIVER),
        0.032,
        Build(0.42, leg=0.85, girth=1.2, ear_set="hang", ear=1.45, muzzle=0.85),
        feather=1.9,
        short=0.3,
        curl=0.003,
        clump=0.6,
    ),
    Coat(
        "wire",
        _wire,
        0.030,
        Build(0.42, girth=1.2, ear_set="half", muzzle=0.9, muzzle_depth=1.3),
        feather=1.2,
        short=0.9,
        lift=0.75,
        curl=0.002,
        clump=0.6,
    ),
    Coat(
        "terrier",
        _patched(BLACK),
        0.010,
        Build(0.34, leg=0.9, girth=1.15, ear_set="half", head=1.35, muzzle=0.8, tail=0.7),
        lift=0.25,
    ),
    Coat(
        "grey",
        _solid(SLATE, 0.2),
        0.009,
        Build(0.64, girth=1.08, ear_set="hang", ear=1.1),
        lift=0.2,
        nose=LIVER,
    ),
)
COAT_STEP = 7  # coprime to the number of coats and unlike the split's period of ten, so that every split meets every coat
EAR_CHANGE = 0.15  # how often a dog's ears are not its coat's usual ones


def identity(index: int) -> Identity:
    """Dog number `index`."""
    rng = np.random.default_rng((index, 2024))
    coat = COATS[(index * COAT_STEP + index // len(COATS)) % len(COATS)]
    varied = {
        f.name: getattr(coat.build, f.name) * float(np.exp(rng.normal(0, 0.05)))
        for f in fields(Build)
        if f.name != "ear_set"
    }
    varied["height"] = float(np.clip(varied["height"] * np.exp(rng.normal(0, 0.06)), 0.28, 0.75))
    ears = (
        str(rng.choice(list(dog_poses.EAR_SETS)))
        if rng.random() < EAR_CHANGE
        else coat.build.ear_set
    )
    build = Build(**varied, ear_set=ears)
    coat = replace(coat, length=coat.length * float(np.exp(rng.normal(0, 0.12))))
    tone = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.03, 3))
    collar = COLLARS[int(rng.integers(len(COLLARS)))] if rng.random() < 0.35 else None
    return Identity(index, coat, build, tuple(map(float, tone)), collar)


def _features(who: Identity) -> tuple[np.ndarray, list[str]]:
    """Per-vertex quantities (V, K) that hairs interpolate, and the regions' names. Columns: point, normal, ear, bare, regions."""
    dog = dog_poses.anatomy()
    _, ear = dog_poses.ear_place(dog.vertices)
    bare = np.maximum(dog.inside, _nose(dog.vertices))
    if who.collar:
        bare = np.maximum(bare, _collar_band(dog.vertices, dog.regions["neck"], COLLAR_HALF))
    return np.column_stack([dog.vertices, dog.normals, ear, bare, *dog.regions.values()]), list(
        dog.regions
    )


def _nose(points: np.ndarray) -> np.ndarray:
    return smoothstep(points[:, 0] + 0.4 * (points[:, 2] - 0.67), 0.4515, 0.4545) * (
        points[:, 2] > 0.653
    )


def _collar_band(points: np.ndarray, neck: np.ndarray, half: float) -> np.ndarray:
    return (np.abs((points - COLLAR_AT) @ COLLAR_AXIS) < half) * (neck > 0.2).astype(float)


def _surface(features: np.ndarray, names: list[str], seed: int) -> Surface:
    return Surface(
        features[:, :3],
        features[:, 3:6],
        dict(zip(names, features[:, 8:].T, strict=True)),
        features[:, 6],
        seed,
    )


def _lengths(s: Surface, coat: Coat) -> np.ndarray:
    """Length of the hair at each point."""
    x, z, r = s.points[:, 0], s.points[:, 2], s.regions
    factor = np.ones(len(x)) + 0.15 * s.noise(0.04, 8)
    feather = (
        r["tail"] + 0.8 * _chest(s) + 0.6 * r["neck"] * smoothstep(-s.normals[:, 2], -0.3, 0.5)
    ).clip(0, 1)
    back = (
        smoothstep(-s.normals[:, 0], 0.3, 0.9)
        * (r["thigh"] + 0.8 * r["arm"] + 0.5 * r["shank"]).clip(0, 1)
        * smoothstep(z, 0.12, 0.25)
    )
    factor *= 1 + (coat.feather - 1) * np.maximum(feather, np.maximum(back, 0.5 * _under(s)))
    factor *= 1 + (coat.short - 1) * (r["shank"] * (1 - back) + r["paw"]).clip(0, 1)
    head = r["head"] * (1 - s.ear)
    factor *= 1 + (coat.short - 1) * head * (0.5 + 0.5 * smoothstep(x, 0.26, 0.33))
    factor *= 1 - 0.55 * smoothstep(x, 0.36, 0.40) * r["head"] * (1 - 0.6 * (coat.short > 0.6))
    factor *= 1 - 0.4 * r["paw"] * smoothstep(-z, -0.07, -0.03)
    ear = coat.short if coat.build.ear_set != "hang" else max(coat.short, 0.5 * coat.feather)
    eyes = np.linalg.norm(
        np.abs(s.points) * [0, 1, 0] + s.points * [1, 0, 1] - dog_poses.EYE, axis=1
    )
    return np.maximum(coat.length * factor * (1 + (ear - 1) * s.ear), 0.006) * (
        0.1 + 0.9 * smoothstep(eyes, 0.015, 0.042)
    )


def _flow(s: Surface) -> np.ndarray:
    """The way the hair lies in the rest pose: from the nose backwards, down the legs, along the tail and the ears."""
    r, down = s.regions, np.array([-0.2, 0, -1.0])
    limb = (r["thigh"] + r["arm"] + r["shank"] + r["paw"]).clip(0, 1)[:, None]
    flow = limb * down + (1 - limb) * np.array([-1.0, 0, -0.45])
    tip = (dog_poses.EAR_TIP - dog_poses.EAR_BASE) / np.linalg.norm(
        dog_poses.EAR_TIP - dog_poses.EAR_BASE
    )
    ear = np.where(s.points[:, 1:2] < 0, tip * [1, -1, 1], tip)
    return flow + s.ear[:, None] * (ear - flow)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def _fur(
    who: Identity, rest: np.ndarray, posed: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hairs: points (N, POINTS, 3), radii and colours at them."""
    coat, rng = who.coat, np.random.default_rng((who.index, 11))
    features, names = _features(who)
    corners = posed[faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    weight = area * (
        1 + 1.5 * features[:, 8 + names.index("head")][faces].mean(1)
    )  # the face's hair is short: it needs more
    count = STRANDS_SHORT if coat.length < SHORT else STRANDS
    chosen = rng.choice(len(faces), count, p=weight / weight.sum())
    u = np.sort(rng.random((count, 2)), axis=1)
    bary = np.stack([u[:, 0], u[:, 1] - u[:, 0], 1 - u[:, 1]], 1)
    at = np.einsum("nk,nkf->nf", bary, features[faces[chosen]])
    keep = at[:, 7] < 0.5
    chosen, bary, at = chosen[keep], bary[keep], at[keep]
    s = _surface(at, names, who.index)
    normals = _unit(
        np.einsum("nk,nkf->nf", bary, dog_poses.vertex_normals(posed, faces)[faces[chosen]])
    )
    roots = np.einsum("nk,nkf->nf", bary, corners[chosen])
    flow = _carried(_flow(s), rest[faces[chosen]], corners[chosen])
    lengths = _lengths(s, coat) * np.exp(rng.normal(0, 0.18, len(roots)))
    points = _strands(coat, rng, roots, normals, flow, lengths)
    colours = painted(who, s) * np.exp(rng.normal(0, 0.14, len(roots)))[:, None]
    along = np.linspace(0, 1, POINTS)
    shades = colours[:, None, :] * (0.7 + 0.4 * along)[None, :, None]
    thick = (
        0.0010 * who.build.height / 0.55
        if coat.length < SHORT
        else np.clip(0.0005 + 0.006 * lengths, 0.0005, 0.0008)[:, None]
    )
    radii = np.broadcast_to(thick * (1 - 0.8 * along**2), points.shape[:2])
    return points, radii, np.clip(shades, 0.004, 0.85)


def _carried(directions: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Tangent directions (N, 3) carried along by triangles (N, 3, 3) that move from `before` to `after`."""
    edges, moved = before[:, 1:] - before[:, :1], after[:, 1:] - after[:, :1]
    gram = np.einsum("nij,nkj->nik", edges, edges) + 1e-12 * np.eye(2)
    weights = np.linalg.solve(gram, np.einsum("nij,nj->ni", edges, directions)[..., None])[..., 0]
    return _unit(np.einsum("ni,nij->nj", weights, moved))


def _strands(
    coat: Coat,
    rng: np.random.Generator,
    roots: np.ndarray,
    normals: np.ndarray,
    flow: np.ndarray,
    lengths: np.ndarray,
) -> np.ndarray:
    """Hairs that leave the skin, lie down along the flow, hang by their weight, curl and clump; (N, POINTS, 3)."""
    count = len(roots)
    centres = rng.choice(count, max(count // 14, 1), replace=False)
    owner = centres[cKDTree(roots[centres]).query(roots)[1]]
    locks = float(
        np.clip((coat.length - 0.006) / 0.024, 0.1, 1.0)
    )  # short hair does not form locks
    stray = (
        rng.normal(0, 0.09, (count, 3))
        + locks * rng.normal(0, 0.10 + 0.12 * coat.lift, (count, 3))[owner]
    )
    heavy = (
        np.array([0, 0, -1.0]) - np.minimum(-normals[:, 2:3], 0) * normals
    )  # gravity, without what would press it into the skin
    hang = np.clip(lengths / 0.05, 0, 1.3)[:, None]
    points, position = [roots], roots
    for step in range(1, POINTS):
        t = step / (POINTS - 1)
        lift = coat.lift * (1.6 - t)
        position = position + _unit(
            lift * normals + (1 - 0.5 * coat.lift) * flow + 0.8 * t * hang * heavy + stray
        ) * lengths[:, None] / (POINTS - 1)
        points.append(position)
    strands = np.stack(points, 1)
    along = np.linspace(0, 1, POINTS)
    if coat.curl:
        phase = (
            rng.uniform(0, 2 * np.pi, count)[owner][:, None]
            + 2 * np.pi * along * np.clip(lengths / 0.02, 0.5, 1.6)[:, None]
        )
        side, up = _unit(np.cross(flow, normals)), normals
        ring = np.cos(phase)[..., None] * side[:, None] + np.sin(phase)[..., None] * up[:, None]
        strands = (
            strands
            + coat.curl
            * np.sqrt(along)[None, :, None]
            * ring
            * np.clip(lengths / 0.03, 0, 1)[:, None, None]
        )
    pull = coat.clump * locks * (along**1.5)[None, :, None]
    strands = strands + pull * (strands[owner] - strands)
    strands[..., 2] = np.maximum(strands[..., 2], 0.001)  # the ground
    return strands


def _material(
    name: str,
    hair: bool = False,
    colour: tuple[float, float, float] | None = None,
    roughness: float = 0.8,
) -> bpy.types.Material:
    """Principled material; without `colour` it reads the attributes `coat` and (on skin) `gloss`."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    if hair:
        nodes.remove(shader)
        shader = nodes.new("ShaderNodeBsdfHairPrincipled")
        shader.parametrization = "COLOR"
        (
            shader.inputs["Roughness"].default_value,
            shader.inputs["Radial Roughness"].default_value,
        ) = 0.42, 0.6
        shader.inputs[
            "IOR"
        ].default_value = 1.4  # of keratin: 1.55; less keeps black coats black under a bright sky
        links.new(shader.outputs[0], nodes["Material Output"].inputs["Surface"])
    else:
        shader.inputs["Roughness"].default_value = roughness
        shader.inputs["Specular IOR Level"].default_value = 0.25
    target = shader.inputs["Color" if hair else "Base Color"]
    if colour:
        target.default_value = (*colour, 1.0)
        return material
    coat = nodes.new("ShaderNodeAttribute")
    coat.attribute_name = "coat"
    links.new(coat.outputs["Color"], target)
    if not hair:
        bump, noise = (
            nodes.new("ShaderNodeBump"),
            nodes.new("ShaderNodeTexNoise"),
        )  # short fur is not smooth
        (
            noise.inputs["Scale"].default_value,
            bump.inputs["Strength"].default_value,
            bump.inputs["Distance"].default_value,
        ) = (420.0, 0.3, 0.002)
        coords = nodes.new("ShaderNodeTexCoord")
        links.new(coords.outputs["Object"], noise.inputs["Vector"])
        links.new(noise.outputs["Fac"], bump.inputs["Height"])
        links.new(bump.outputs["Normal"], shader.inputs["Normal"])
        gloss, invert = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeMath")
        gloss.attribute_name, invert.operation = "gloss", "SUBTRACT"
        invert.inputs[0].default_value = 1.0
        links.new(gloss.outputs["Fac"], invert.inputs[1])
        links.new(invert.outputs[0], shader.inputs["Roughness"])
    return material


def _mesh_object(
    name: str, vertices: np.ndarray, faces: np.ndarray, material: bpy.types.Material
) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    mesh.materials.append(material)
    mesh.update()
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _attribute(data: bpy.types.ID, name: str, kind: str, values: np.ndarray) -> None:
    attribute = data.attributes.get(name) or data.attributes.new(name, kind, "POINT")
    attribute.data.foreach_set(
        "color" if kind == "FLOAT_COLOR" else "value",
        np.ascontiguousarray(values, np.float32).ravel(),
    )


def _rgba(colours: np.ndarray) -> np.ndarray:
    return np.concatenate([colours, np.ones((*colours.shape[:-1], 1))], -1)


def _skin(who: Identity, posed: np.ndarray, faces: np.ndarray) -> bpy.types.Object:
    dog = dog_poses.anatomy()
    features, names = _features(who)
    nose = _nose(dog.vertices)
    colours = painted(who, _surface(features, names, who.index)) * (
        0.7 if who.coat.length > SHORT else 0.9
    )  # skin under fur is in its shade
    eyes = np.linalg.norm(
        np.abs(dog.vertices) * [0, 1, 0] + dog.vertices * [1, 0, 1] - dog_poses.EYE, axis=1
    )
    colours = _mix(colours, (0.02, 0.015, 0.012), smoothstep(-eyes, -0.019, -0.014))  # eyelids
    colours = _mix(_mix(colours, LINING, dog.inside.astype(float)), who.coat.nose, nose)
    skin = _mesh_object("dog", posed, faces, _material("skin"))
    _attribute(skin.data, "coat", "FLOAT_COLOR", _rgba(np.clip(colours, 0.004, 0.8)))
    _attribute(skin.data, "gloss", "FLOAT", 0.15 + 0.55 * np.maximum(nose, 0.6 * dog.inside))
    return skin


def _hair_object(points: np.ndarray, radii: np.ndarray, colours: np.ndarray) -> bpy.types.Object:
    curves = bpy.data.hair_curves.new("fur")
    curves.add_curves([POINTS] * len(points))
    curves.points.foreach_set("position", np.ascontiguousarray(points, np.float32).ravel())
    _attribute(curves, "radius", "FLOAT", radii)
    _attribute(curves, "coat", "FLOAT_COLOR", _rgba(colours))
    curves.materials.append(_material("fur", hair=True))
    fur = bpy.data.objects.new("fur", curves)
    bpy.context.scene.collection.objects.link(fur)
    return fur


def _ring(posed: np.ndarray, faces: np.ndarray, count: int = 48) -> np.ndarray:
    """Where a plane across the neck cuts the rest mesh: `count` of these points, in the pose."""
    rest = dog_poses.anatomy().vertices
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1),
        axis=0,
    )
    height = (rest - COLLAR_AT) @ COLLAR_AXIS
    near = np.linalg.norm(rest - COLLAR_AT, axis=1) < 0.12
    a, b = edges[near[edges].all(1) & (height[edges[:, 0]] * height[edges[:, 1]] < 0)].T
    share = (height[a] / (height[a] - height[b]))[:, None]
    flat = rest[a] + share * (rest[b] - rest[a]) - COLLAR_AT
    angle = np.arctan2(flat[:, 1], flat @ np.cross(COLLAR_AXIS, [0, 1, 0]))
    points, order = posed[a] + share * (posed[b] - posed[a]), np.argsort(angle)
    at = np.linspace(-np.pi, np.pi, count, endpoint=False)
    return np.stack(
        [np.interp(at, angle[order], points[order, i], period=2 * np.pi) for i in range(3)], 1
    )


def _collar(who: Identity, posed: np.ndarray, faces: np.ndarray) -> bpy.types.Object:
    ring = _ring(posed, faces)
    ring += (0.003 + 0.15 * who.coat.length) * _unit(ring - ring.mean(0))
    axis = np.linalg.svd(ring - ring.mean(0))[2][2]
    half = COLLAR_HALF * who.build.height / 0.55
    rings = [ring - half * axis, ring, ring + half * axis]
    count = len(rings[0])
    here, after = np.arange(count), (np.arange(count) + 1) % count
    quads = [
        np.stack(
            [k * count + here, k * count + after, (k + 1) * count + after, (k + 1) * count + here],
            1,
        )
        for k in range(len(rings) - 1)
    ]
    return _mesh_object(
        "collar",
        np.concatenate(rings),
        np.concatenate(quads),
        _material("collar", colour=who.collar, roughness=0.5),
    )


def _eyes(places: np.ndarray) -> list[bpy.types.Object]:
    things = []
    for x, y, z, radius in places:
        bpy.ops.mesh.primitive_uv_sphere_add(
            segments=16, ring_count=10, radius=radius, location=(x, y, z)
        )
        eye = bpy.context.object
        eye.data.materials.append(_material("eye", colour=(0.012, 0.007, 0.004), roughness=0.1))
        things.append(eye)
    return things


def add_dog(
    who: Identity,
    pose: Pose,
    location: tuple[float, float, float] = (0, 0, 0),
    heading: float = 0.0,
    pass_index: int = 1,
) -> bpy.types.Object:
    """Put a furry dog into the active scene, its ground contact plane at `location`'s height; returns the skin, parent of the rest.

    `heading` is the direction it looks to, in degrees from +X anticlockwise. All parts get `pass_index` (for the object-index pass).
    The skin has the properties `albedo` (geometric-mean luminance of the coat) and, in its own frame, its fur in the child named fur.
    """
    rest = dog_poses.anatomy().vertices
    posed, faces, eyes = dog_poses.posed_mesh(pose, who.build)
    skin = _skin(who, posed, faces)
    points, radii, colours = _fur(who, rest, posed, faces)
    parts = [_hair_object(points, radii, colours), *_eyes(eyes)] + (
        [_collar(who, posed, faces)] if who.collar else []
    )
    for part in parts:
        part.parent = skin
    for part in (skin, *parts):
        part.pass_index = pass_index
    skin.location, skin.rotation_euler = location, (0, 0, np.radians(heading))
    skin["albedo"] = float(np.exp(np.log(colours[:, -1] @ [0.2126, 0.7152, 0.0722]).mean()))
    bpy.context.scene.cycles_curves.shape = "RIBBONS"
    return skin


def pose_of(index: int, view: int) -> tuple[str, Pose]:
    """The pose of view `view` of dog `index`: a dog's views all differ (until the poses run out), likelier poses come earlier."""
    names = list(dog_poses.POSES)
    odds = np.array([dog_poses.POSES[n].likely for n in names])
    order = np.random.default_rng((index, 5)).choice(
        len(names), len(names), replace=False, p=odds / odds.sum()
    )
    name = names[order[view % len(names)]]
    return name, dog_poses.jittered(dog_poses.POSES[name], np.random.default_rng((index, view, 6)))


def _outline(skin: bpy.types.Object) -> np.ndarray:
    """World points of skin and fur (every fourth hair's tip)."""
    bpy.context.view_layer.update()
    local = [np.array([v.co for v in skin.data.vertices])]
    fur = next(c for c in skin.children if c.name.startswith("fur"))
    hairs = np.empty(len(fur.data.points) * 3, np.float32)
    fur.data.points.foreach_get("position", hairs)
    local.append(hairs.reshape(-1, POINTS, 3)[:, -1])
    world = np.array(skin.matrix_world)
    return np.concatenate(local) @ world[:3, :3].T + world[:3, 3]


def _contact(skin: bpy.types.Object) -> np.ndarray:
    """The middle (3,) of what touches the ground, at ground height: cells of 2 cm, so that a paw's many vertices count once."""
    world = np.array(skin.matrix_world)
    points = (
        np.array([v.co for v in skin.data.vertices])[dog_poses.anatomy().regions["tail"] < 0.5]
        @ world[:3, :3].T
        + world[:3, 3]
    )
    low = points[points[:, 2] < points[:, 2].min() + 0.02]
    cells = np.unique(np.rint(low[:, :2] / 0.02), axis=0) * 0.02
    return np.array([*(cells.min(0) + cells.max(0)) / 2, 0.0])


def _aim(
    points: np.ndarray, eye: np.ndarray, size: int
) -> tuple[bpy.types.Object, int, int, float]:
    """A camera at `eye` whose picture the points just fill, `size` pixels on the longer side: camera, width, height, focal length in px."""
    target = (points.min(0) + points.max(0)) / 2
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.location = eye
    for _ in range(
        3
    ):  # look at the middle of what is seen, which is not quite the middle of the box
        quaternion = (Vector(target) - Vector(eye)).to_track_quat("-Z", "Y")
        axes = np.array(quaternion.to_matrix())  # columns: right, up, backwards
        seen = (points - eye) @ axes
        plane = seen[:, :2] / -seen[:, 2:]
        low, high = plane.min(0), plane.max(0)
        target = eye + axes @ np.array([*(low + high) / 2, -1.0])
    camera.rotation_euler = quaternion.to_euler()
    focal = size / (high - low).max()
    width, height = (int(np.ceil(focal * e)) + 16 for e in high - low)
    lens = camera.data
    lens.sensor_fit, lens.sensor_width, lens.lens, lens.clip_end = (
        "HORIZONTAL",
        36.0,
        36.0 * focal / width,
        100.0,
    )
    bpy.context.view_layer.update()
    return camera, width, height, focal


def _project(
    point: np.ndarray, camera: bpy.types.Object, width: int, height: int, focal: float
) -> tuple[float, float, float]:
    """Row, column (pixel centres at integers) and depth of a world point."""
    x, y, z = camera.matrix_world.inverted() @ Vector(point)
    return height / 2 - focal * y / -z - 0.5, width / 2 + focal * x / -z - 0.5, -z


def _ground(rng: np.random.Generator) -> None:
    """A lawn or path that lights the dog from below but is not in the picture."""
    bpy.ops.mesh.primitive_plane_add(size=40)
    ground = bpy.context.object
    colours = ((0.06, 0.10, 0.025), (0.10, 0.12, 0.04), (0.16, 0.12, 0.07), (0.25, 0.22, 0.17))
    ground.data.materials.append(_material("ground", colour=colours[int(rng.integers(4))]))
    ground.visible_camera = False


def _nearest(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`values` with unknown pixels replaced by the nearest known one's."""
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((labels.max() + 1, *values.shape[2:]), values.dtype)
    table[labels[known]] = values[known]
    return table[labels]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Blender reports each saved file on the process's standard output, past Python."""
    sys.stdout.flush()
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


def view(index: int, number: int, height: int, samples: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Render one cut-out: RGBA, relief code and catalogue entry."""
    rng = np.random.default_rng((index, number, 9))
    who, (pose_name, pose) = identity(index), pose_of(index, number)
    common.clear()
    light = {
        "elevation": float(rng.uniform(15, 60)),
        "azimuth": float(rng.uniform(0, 360)),
        "overcast": float(rng.beta(0.8, 0.8)),
    }
    common.add_sky(rng, light["elevation"], light["azimuth"], light["overcast"])
    _ground(rng)
    azimuth = float(rng.uniform(-180, 180))
    skin = add_dog(who, pose, heading=azimuth - 90)
    distance, eye_height = (
        float(np.exp(rng.uniform(np.log(2.5), np.log(8)))),
        float(rng.uniform(0.9, 1.7)),
    )
    outline = _outline(skin)
    camera, width, rows, focal = _aim(outline, np.array([0, -distance, eye_height]), height)
    row, column, contact = _project(_contact(skin), camera, width, rows, focal)
    key = float(np.clip(0.75 * skin["albedo"], 0.03, 0.5))
    picture = common.render(
        width, rows, samples, transparent=True, seed=int(rng.integers(1 << 30)), key=key
    )
    rgba, z, (top, left) = _crop(picture)
    relief = common.encode_relief(z, contact, rgba[..., 3])
    entry = {
        "object": index,
        "split": common.split_of(index),
        "metres_per_pixel": round(contact / focal, 6),
        "contact": [round(row - top, 1), round(column - left, 1)],
        "pose": pose_name,
        "coat": who.coat.name,
        "azimuth": round(azimuth, 1),
        "elevation": round(
            float(np.degrees(np.arctan2(eye_height - outline[:, 2].max() / 2, distance))), 1
        ),
        "light": {k: round(v, 2) for k, v in light.items()},
    }
    return rgba, relief, entry


def _crop(picture: dict) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """RGBA with colours spread under the transparent pixels (WebP is lossy: black would creep in), depth, and the crop's corner."""
    alpha, solid = picture["alpha"], picture["alpha"] > 96
    if not solid.any() or alpha[[0, -1]].any() or alpha[:, [0, -1]].any():
        raise RuntimeError("the dog is not entirely in the picture")
    rgba = np.dstack(
        [np.where((alpha > 24)[..., None], picture["rgb"], _nearest(picture["rgb"], solid)), alpha]
    )
    z = _nearest(picture["z"], np.isfinite(picture["z"]) & solid) * 1.0
    seen = np.isfinite(picture["z"])
    z[seen] = picture["z"][seen]
    ys, xs = np.nonzero(alpha > 3)
    top, left = ys.min() - MARGIN, xs.min() - MARGIN
    window = slice(max(top, 0), ys.max() + MARGIN + 1), slice(max(left, 0), xs.max() + MARGIN + 1)
    return rgba[window], z[window], (max(top, 0), max(left, 0))


def _done(folder: Path) -> set[str]:
    path = folder / "catalogue.json"
    entries = (
        json.loads(path.read_text(encoding="utf-8")).get("cutouts", []) if path.exists() else []
    )
    return {
        e["id"]
        for e in entries
        if (folder / e["image"]).exists() and (folder / e["relief"]).exists()
    }


def make(folder: Path, first: int, count: int, views: int, height: int, samples: int) -> None:
    """Render what `folder` does not have yet."""
    done = _done(folder)
    for index in range(first, first + count):
        for number in range(views):
            name = f"{index:03d}_{chr(ord('a') + number)}"
            if name in done:
                continue
            start = time.monotonic()
            with quiet():
                rgba, relief, entry = view(index, number, height, samples)
            paths = {"image": f"dogs/{name}.webp", "relief": f"dogs/{name}_relief.png"}
            common.save(folder / paths["image"], rgba)
            common.save(folder / paths["relief"], relief)
            common.record(folder, "cutouts", {"id": name} | paths | entry)
            print(
                f"{name} {entry['coat']} {entry['pose']} {rgba.shape[1]}x{rgba.shape[0]} {time.monotonic() - start:.1f} s",
                flush=True,
            )


def contact_sheet(folder: Path, target: Path, tile: int = 128, columns: int = 15) -> None:
    """All cut-outs of a folder over a checker, labelled."""
    rows, across = np.indices((tile, tile)) // 16
    checker = np.where(((rows + across) % 2 == 0)[..., None], CHECKER[0], CHECKER[1]).astype(
        np.float32
    )
    tiles = []
    for entry in json.loads((folder / "catalogue.json").read_text(encoding="utf-8"))["cutouts"]:
        picture = cv2.cvtColor(
            cv2.imread(str(folder / entry["image"]), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA
        ).astype(np.float32)
        scale = min(1.0, tile / max(picture.shape[:2]))
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        spot, alpha = checker.copy(), picture[..., 3:] / 255
        place = spot[tile - len(picture) :, : picture.shape[1]]
        place[:] = alpha * picture[..., :3] + (1 - alpha) * place
        cv2.putText(
            spot,
            f"{entry['id']} {entry['pose']}",
            (3, 10),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.33,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        tiles.append(spot.astype(np.uint8))
    common.write_sheet(tiles, columns, target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Render dog cut-outs, or tile those there are.")
    parser.add_argument(
        "--out", type=Path, required=True, help="the park's folder: gets dogs/ and catalogue.json"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first dog")
    parser.add_argument("--count", type=int, default=20, help="dogs")
    parser.add_argument("--views", type=int, default=3, help="pictures of each dog")
    parser.add_argument("--height", type=int, default=200, help="pixels on a cut-out's longer side")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="PNG",
        help="write an overview of DIR instead of rendering",
    )
    options = parser.parse_args()
    if options.contact_sheet:
        contact_sheet(options.out, options.contact_sheet)
    else:
        make(
            options.out,
            options.first,
            options.count,
            options.views,
            options.height,
            options.samples,
        )


if __name__ == "__main__":
    main()
