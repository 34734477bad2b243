"""Plants from numpy: branching trees, conifers, shrubs, hedges, flowers, reeds, grass and fallen leaves.

Every leaf is real geometry (opaque), so depth is right. Lengths are metres, colours linear RGB.
"""

from __future__ import annotations

from typing import NamedTuple

import bpy
import numpy as np
from props import Piece, Shader, box, mesh, tube

GOLDEN = 2.39996  # radians between successive branches, as phyllotaxis has it
Colours = list[tuple[float, float, float]]

FOLIAGE: dict[str, list[Colours]] = {  # per season the palettes a tree may have
    "spring": [
        [(0.15, 0.26, 0.03), (0.19, 0.30, 0.05)],
        [(0.10, 0.20, 0.03), (0.15, 0.25, 0.04)],
        [(0.22, 0.26, 0.06), (0.17, 0.24, 0.05)],
    ],
    "summer": [
        [(0.075, 0.155, 0.03), (0.10, 0.19, 0.035)],
        [(0.11, 0.20, 0.04), (0.14, 0.22, 0.04)],
        [(0.065, 0.13, 0.04), (0.09, 0.16, 0.045)],
    ],
    "autumn": [
        [(0.55, 0.30, 0.03), (0.48, 0.24, 0.02), (0.30, 0.26, 0.03)],
        [(0.45, 0.14, 0.015), (0.50, 0.20, 0.02), (0.35, 0.08, 0.015)],
        [(0.30, 0.035, 0.015), (0.40, 0.07, 0.02), (0.24, 0.03, 0.02)],
        [(0.20, 0.10, 0.03), (0.27, 0.15, 0.04), (0.15, 0.09, 0.03)],
        [(0.11, 0.15, 0.02), (0.20, 0.19, 0.025), (0.30, 0.22, 0.03)],
    ],
    "winter": [[(0.16, 0.09, 0.04), (0.12, 0.07, 0.03)]],
}
BLOSSOM: list[Colours] = [
    [(0.75, 0.72, 0.68), (0.7, 0.6, 0.6), (0.8, 0.78, 0.75)],
    [(0.7, 0.33, 0.42), (0.75, 0.45, 0.5), (0.65, 0.25, 0.35)],
]
EVERGREEN: list[Colours] = [
    [(0.05, 0.10, 0.035), (0.065, 0.13, 0.04)],
    [(0.065, 0.115, 0.075), (0.085, 0.14, 0.09)],
]
FLOWERS: list[Colours] = [
    [(0.7, 0.03, 0.03), (0.6, 0.02, 0.05)], [(0.8, 0.5, 0.02), (0.8, 0.6, 0.05)], [(0.3, 0.05, 0.5), (0.25, 0.1, 0.6)],
    [(0.8, 0.78, 0.75), (0.75, 0.7, 0.7)], [(0.75, 0.15, 0.35), (0.8, 0.3, 0.45)], [(0.8, 0.2, 0.02), (0.75, 0.12, 0.02)],
]  # fmt: skip


class Species(NamedTuple):
    """A broadleaf tree or shrub: `height` in metres; `base` (where the crown begins) and `spread` (half width) as shares of it."""

    height: tuple[float, float]
    base: float
    spread: float
    limbs: int
    angles: tuple[float, float]  # radians between stem and limb, at the crown's base and at its top
    up: float  # how branches turn: above 0 to the sky, below 0 hanging
    leaf: float
    leaves: int  # per twig
    bark: tuple[float, float, float]
    belly: float = (
        1.0  # how much of the crown's width is in its middle: 0 a column, 1 an oval, above 1 a ball
    )
    birch: bool = False


SPECIES = {
    "oak": Species((9, 14), 0.24, 0.42, 14, (1.35, 0.5), 0.10, 0.24, 22, (0.16, 0.12, 0.09), 1.1),
    "lime": Species((10, 16), 0.20, 0.28, 18, (1.1, 0.4), 0.12, 0.23, 22, (0.14, 0.12, 0.10)),
    "maple": Species((7, 11), 0.24, 0.36, 14, (1.15, 0.5), 0.15, 0.22, 22, (0.20, 0.17, 0.14), 1.2),
    "birch": Species(
        (9, 14), 0.22, 0.22, 18, (0.9, 0.4), -0.16, 0.15, 22, (0.62, 0.60, 0.56), 0.9, True
    ),
    "poplar": Species(
        (13, 19), 0.10, 0.10, 26, (0.6, 0.3), 0.25, 0.22, 16, (0.22, 0.20, 0.16), 0.4
    ),
    "willow": Species((7, 10), 0.28, 0.45, 15, (1.2, 0.6), -0.42, 0.2, 26, (0.15, 0.12, 0.08), 1.1),
    "cherry": Species(
        (4.0, 6.0), 0.30, 0.46, 11, (1.1, 0.6), 0.08, 0.13, 24, (0.12, 0.07, 0.05), 1.1
    ),
    "shrub": Species(
        (1.0, 2.2), 0.03, 0.55, 26, (1.35, 0.2), 0.05, 0.085, 12, (0.12, 0.09, 0.06), 1.3
    ),
}


def bark(colour: tuple[float, float, float], birch: bool = False) -> bpy.types.Material:
    """Furrows along the stem; a birch's bark has dark dashes across instead."""
    shader = Shader("bark")
    lines = shader.noise(
        3.0 if birch else 5.0, 9.0, shader.where((1.0, 1.0, 7.0) if birch else (3.0, 3.0, 0.5))
    )
    dark = (0.03, 0.027, 0.025) if birch else tuple(0.3 * c for c in colour)
    shade = shader.ramp(lines, 0.32 if birch else 0.3, 0.42 if birch else 0.7, dark, colour)
    moss = shader.mix(
        shader.grey(shader.noise(1.2, 4.0), 0.5, 0.75, 0.0, 0.35), shade, (0.09, 0.11, 0.03)
    )
    return shader.done(
        shader.principled(shader.varied(moss, 0.01, 0.25), 0.9, shader.bump(lines, 0.8, 0.03))
    )


def foliage(
    name: str = "leaves",
    glow: float = 0.42,
    hue: float = 0.012,
    rough: float = 0.5,
    through: tuple = (1.25, 1.2, 0.6),
) -> bpy.types.Material:
    """Leaves coloured by the mesh's `tint`, lit through from behind by the share `glow`, whose colour is multiplied by `through`."""
    shader = Shader(name)
    colour = shader.varied(shader.tint(), hue, 0.15)
    front = shader.principled(colour, rough)
    back = shader.add(
        "BsdfTranslucent", {"Color": shader.mix(1.0, colour, through, "MULTIPLY")}
    ).outputs[0]
    return shader.done(shader.add("MixShader", {0: glow, 1: front, 2: back}).outputs[0])


# --- growing -------------------------------------------------------------------------------------------------------------------------


def _unit(v: np.ndarray) -> np.ndarray:
    return v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)


def _at(lines: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and directions on polylines (n, k, 3) at t (n, m) in [0, 1], and the segment weights' index (n, m)."""
    steps = lines.shape[1] - 1
    cell = np.minimum((t * steps).astype(int), steps - 1)
    rows = np.arange(len(lines))[:, None]
    a, b = lines[rows, cell], lines[rows, cell + 1]
    return a + (b - a) * (t * steps - cell)[..., None], _unit(b - a), cell


def sprout(
    rng: np.random.Generator,
    parents: tuple[np.ndarray, np.ndarray],
    t: np.ndarray,
    length: np.ndarray,
    angle: np.ndarray,
    up: float,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Branches off `parents` (lines (n, k, 3), radii (n, k)) at t (n, m), of given length and angle; returns their lines and radii."""
    lines, radii = parents
    start, along, cell = _at(lines, t)
    thick = radii[np.arange(len(lines))[:, None], cell].reshape(-1)
    start, along = start.reshape(-1, 3), along.reshape(-1, 3)
    turn = (np.arange(t.size).reshape(t.shape) * GOLDEN + rng.normal(0, 0.5, t.shape)).reshape(-1)[
        :, None
    ]
    first = _unit(np.cross(along, np.where(np.abs(along[:, 2:]) > 0.9, [1.0, 0, 0], [0, 0, 1.0])))
    across = first * np.cos(turn) + np.cross(along, first) * np.sin(turn)
    tilt = angle.reshape(-1)[:, None]
    heading = along * np.cos(tilt) + across * np.sin(tilt)
    points = [start]
    for _ in range(steps - 1):
        points.append(points[-1] + heading * (length.reshape(-1)[:, None] / (steps - 1)))
        heading = _unit(heading + [0, 0, up] + rng.normal(0, 0.16, heading.shape))
    own = np.minimum(0.55 * thick, 0.008 + 0.022 * length.reshape(-1))
    return np.stack(points, 1), own[:, None] * np.linspace(1, 0.3, steps)


def _spread_t(
    rng: np.random.Generator, rows: int, count: int, low: float, high: float
) -> np.ndarray:
    return low + (high - low) * (np.arange(count) + rng.random((rows, count))) / count


def shades(
    rng: np.random.Generator, palette: Colours, count: int, spread: float = 0.25
) -> np.ndarray:
    """Random colours of a palette with brightness varied by `spread`."""
    chosen = np.array(palette)[rng.integers(len(palette), size=count)]
    return (
        chosen
        * rng.uniform(1 - spread, 1 + spread, (count, 1))
        * rng.uniform(0.93, 1.07, (count, 3))
    )


def diamonds(
    start: np.ndarray,
    along: np.ndarray,
    size: np.ndarray,
    aspect: float,
    rng: np.random.Generator,
    tint: np.ndarray,
    slot: int = 1,
) -> Piece:
    """One folded four-cornered leaf at each start, `size` long towards `along`, `aspect` times as wide, turned at random."""
    along = _unit(along)
    side = _unit(np.cross(along, rng.normal(size=along.shape))) * (0.5 * aspect * size[:, None])
    fold = np.cross(along, side) * rng.uniform(-0.2, 0.5, (len(start), 1))
    tip = start + along * size[:, None]
    middle = start + along * (0.45 * size[:, None]) + fold
    vertices = np.stack([start, middle + side, tip, middle - side], 1).reshape(-1, 3)
    return Piece(vertices, np.arange(len(vertices)).reshape(-1, 4), slot, np.repeat(tint, 4, 0))


def twig_leaves(
    rng: np.random.Generator,
    twigs: np.ndarray,
    each: int,
    size: float,
    palette: Colours,
    aspect: float = 0.6,
) -> Piece:
    """Leaves along twigs (n, k, 3), standing off in all directions and drooping a little."""
    start, along, _ = _at(twigs, rng.uniform(0.05, 1.0, (len(twigs), each)))
    start, along = start.reshape(-1, 3), along.reshape(-1, 3)
    start = start + rng.normal(0, 0.35 * size, start.shape)
    out = 0.5 * along + rng.normal(0, 0.8, along.shape) + [0, 0, -0.2]
    # A branch's leaves share their age and light: shades go by branch first, then by leaf.
    tint = np.repeat(rng.uniform(0.82, 1.18, (len(twigs), 1)), each, 0) * shades(
        rng, palette, len(start)
    )
    return diamonds(start, out, size * rng.uniform(0.6, 1.25, len(start)), aspect, rng, tint)


def tree_mesh(
    rng: np.random.Generator,
    kind: str,
    palette: Colours | None,
    density: float = 1.0,
    petals: bool = False,
) -> bpy.types.Mesh:
    """A broadleaf tree or shrub; without a palette it is bare and has finer twigs instead.

    `density` thins the leaves; `petals` are not greened by light shining through.
    """
    s = SPECIES[kind]
    height = rng.uniform(*s.height)
    sway = (
        np.cumsum(rng.normal(0, 0.013 * height, (9, 3)) * [1, 1, 0], 0)
        * np.linspace(0, 1, 9)[:, None]
    )
    trunk = sway + np.linspace([0, 0, -0.3], [0, 0, 0.97 * height], 9)
    girth = 0.012 * height + 0.05 if kind != "shrub" else 0.05
    radii = girth * np.linspace(1.0, 0.15, 9) * (1 + 0.7 * (np.arange(9) == 0))
    stem = (trunk[None], radii[None])
    t = _spread_t(rng, 1, s.limbs, s.base, 0.97 if kind != "shrub" else 0.35)
    place = (t - s.base) / (t.max() - s.base)
    belly = (
        s.belly * np.sin(np.pi * np.clip(0.18 + 0.72 * place, 0, 1)) + (1 - min(s.belly, 1.0)) * 0.7
    )
    angle = s.angles[0] + (s.angles[1] - s.angles[0]) * place + rng.normal(0, 0.12, t.shape)
    length = (
        s.spread
        * height
        * np.maximum(belly, 0.35)
        * rng.uniform(0.8, 1.15, t.shape)
        / np.maximum(np.sin(angle), 0.6)
    )
    limbs = sprout(rng, stem, t, length, angle, s.up, 7)
    t = _spread_t(rng, s.limbs, 7, 0.25, 1.0)
    boughs = sprout(
        rng,
        limbs,
        t,
        length.reshape(-1, 1) * (0.62 - 0.32 * t),
        rng.uniform(0.5, 1.1, t.shape),
        s.up,
        5,
    )
    reach = np.linalg.norm(np.diff(boughs[0], axis=1), axis=2).sum(1)[:, None]
    t = _spread_t(rng, len(reach), 5, 0.2, 1.0)
    twigs = sprout(
        rng, boughs, t, reach * (0.75 - 0.3 * t), rng.uniform(0.4, 1.1, t.shape), 1.5 * s.up, 4
    )
    pieces = [tube(*stem, 10), tube(*limbs, 7), tube(*boughs, 5), tube(*twigs, 3)]
    if palette is None or density < 0.5:
        t = _spread_t(rng, len(twigs[0]), 4, 0.2, 1.0)
        reach = np.linalg.norm(np.diff(twigs[0], axis=1), axis=2).sum(1)[:, None]
        pieces.append(
            tube(
                *sprout(
                    rng,
                    twigs,
                    t,
                    reach * rng.uniform(0.4, 0.8, t.shape),
                    rng.uniform(0.4, 0.9, t.shape),
                    2 * s.up,
                    3,
                ),
                3,
            )
        )
    if palette is not None:
        every = np.concatenate([twigs[0], boughs[0][:, 1:]])
        pieces.append(twig_leaves(rng, every, max(1, round(s.leaves * density)), s.leaf, palette))
    return mesh(
        kind,
        pieces,
        [bark(s.bark, s.birch), foliage(through=(1.0, 1.0, 1.0)) if petals else foliage()],
    )


def conifer_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A spruce: whorls of drooping branches whose side twigs carry needle sprays down to the ground."""
    height = rng.uniform(7, 14)
    trunk = np.linspace([0, 0, -0.3], [0, 0, height], 6)[None]
    stem = (trunk, 0.017 * height * np.linspace(1, 0.05, 6)[None])
    t = np.sort(_spread_t(rng, 1, int(13 * height), rng.uniform(0.03, 0.12), 0.985))
    length = rng.uniform(0.2, 0.27) * height * (1.02 - t) ** 0.85 * rng.uniform(0.75, 1.15, t.shape)
    limbs = sprout(rng, stem, t, length, 1.75 - 0.9 * t, 0.06, 5)
    inner = _spread_t(rng, len(limbs[0]), 9, 0.15, 1.0)
    twigs = sprout(
        rng,
        limbs,
        inner,
        length.reshape(-1, 1) * (0.5 - 0.3 * inner) + 0.12,
        rng.uniform(0.7, 1.0, inner.shape),
        -0.2,
        3,
    )
    palette = EVERGREEN[rng.integers(len(EVERGREEN))]
    start, along, _ = _at(twigs[0], rng.uniform(0, 1, (len(twigs[0]), 13)))
    start, along = start.reshape(-1, 3), along.reshape(-1, 3)
    out = along + rng.normal(0, 0.45, along.shape) + [0, 0, -0.15]
    needles = diamonds(
        start,
        out,
        rng.uniform(0.18, 0.36, len(start)),
        0.32,
        rng,
        shades(rng, palette, len(start), 0.35),
    )
    return mesh(
        "conifer",
        [tube(*stem, 9), tube(*limbs, 4), needles],
        [bark((0.13, 0.09, 0.07)), foliage("needles", 0.3)],
    )


def hedge_mesh(
    rng: np.random.Generator, palette: Colours, length: float, height: float, width: float
) -> bpy.types.Mesh:
    """One bay of a clipped hedge along x, centred: leaves near the faces of a box, over a dark core."""
    area = 2 * length * height + length * width + 2 * width * height
    count = int(1100 * area)
    face = rng.choice(
        5, count, p=np.array([length * height] * 2 + [length * width] + [width * height] * 2) / area
    )
    at = rng.uniform(-0.5, 0.5, (count, 3)) * [length, width, height]
    lumps = 0.04 * np.sin(at[:, 0] * 5 + rng.uniform(0, 9)) + 0.03 * np.sin(
        at[:, 2] * 7 + at[:, 0] * 3 + rng.uniform(0, 9)
    )
    depth = rng.exponential(0.05, count) - 0.03 - lumps
    normal = np.array([(0, 1, 0), (0, -1, 0), (0, 0, 1), (1, 0, 0), (-1, 0, 0)], float)[face]
    half = np.abs(normal @ np.diag([length, width, height])).sum(1) / 2
    at = at * (normal == 0) + normal * (half - depth)[:, None] + [0, 0, height / 2]
    leaves = diamonds(
        at,
        0.7 * normal + rng.normal(0, 0.8, at.shape),
        rng.uniform(0.04, 0.085, count),
        0.6,
        rng,
        shades(rng, palette, count, 0.35),
    )
    core = box((0, 0, height / 2 - 0.05), (length, width - 0.26, height - 0.16))
    return mesh("hedge", [core, leaves], [bark((0.03, 0.035, 0.02)), foliage()])


# --- low plants ----------------------------------------------------------------------------------------------------------------------


def blades(
    rng: np.random.Generator,
    root: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    colour: np.ndarray,
    lean: float = 0.55,
    slot: int = 0,
) -> list[Piece]:
    """Grass blades: bent strips on `root` (n, 3), darker at the root and paler at the tip."""
    count = len(root)
    facing, bend = rng.uniform(0, 2 * np.pi, count), np.abs(rng.normal(0, lean, count))
    side = np.stack([np.cos(facing), np.sin(facing), np.zeros(count)], 1) * (0.5 * width[:, None])
    turn = facing + np.pi / 2 + rng.normal(0, 0.6, count)
    over = (
        np.stack([np.cos(turn), np.sin(turn), np.zeros(count)], 1)
        * (height * np.sin(bend))[:, None]
    )
    rise = np.array([0, 0, 1.0]) * (height * np.cos(bend))[:, None]
    middle, tip = root + 0.35 * over + 0.6 * rise, root + over + rise
    vertices = np.stack(
        [root - side, root + side, middle + 0.8 * side, middle - 0.8 * side, tip], 1
    ).reshape(-1, 3)
    shade = np.array([0.5, 0.5, 1.0, 1.0, 1.25])[None, :, None]
    tint = (colour[:, None] * shade).reshape(-1, 3)
    base = np.arange(count)[:, None] * 5
    none = Piece(
        np.zeros((0, 3)), base + np.array([3, 2, 4]) - 5 * count, slot
    )  # triangles share the vertices just written
    return [Piece(vertices, base + np.array([0, 1, 2, 3]), slot, tint), none]


def flower_bed(
    rng: np.random.Generator, roots: np.ndarray, palette: Colours, height: float
) -> list[Piece]:
    """Plants with narrow leaves and a head of six petals, on `roots` (n, 3)."""
    count = len(roots)
    green = shades(rng, [(0.06, 0.13, 0.03), (0.09, 0.16, 0.04)], 9 * count)
    tall = height * rng.uniform(0.6, 1.15, count)
    near = np.repeat(roots, 9, 0) + rng.normal(0, 0.05, (9 * count, 3)) * [1, 1, 0]
    parts = blades(
        rng,
        near,
        np.repeat(tall, 9) * rng.uniform(0.5, 1.0, 9 * count),
        rng.uniform(0.012, 0.03, 9 * count),
        green,
        0.45,
        1,
    )
    head = roots + np.stack([*rng.normal(0, 0.05, (2, count)), tall], 1)
    angle = np.tile(np.arange(6) * np.pi / 3, count) + np.repeat(rng.uniform(0, 1, count), 6)
    out = np.stack([np.cos(angle), np.sin(angle), rng.uniform(0.0, 0.9, 6 * count)], 1)
    tint = np.repeat(shades(rng, palette, count, 0.2), 6, 0)
    return [
        *parts,
        diamonds(
            np.repeat(head, 6, 0), out, rng.uniform(0.04, 0.075, 6 * count), 0.8, rng, tint, 1
        ),
    ]


def litter(rng: np.random.Generator, at: np.ndarray, palette: Colours, size: float = 0.08) -> Piece:
    """Fallen leaves lying on points (n, 3)."""
    angle = rng.uniform(0, 2 * np.pi, len(at))
    flat = np.stack([np.cos(angle), np.sin(angle), rng.normal(0, 0.18, len(at))], 1)
    length = size * rng.uniform(0.5, 1.3, (len(at), 1))
    side = np.stack([-flat[:, 1], flat[:, 0], rng.normal(0, 0.3, len(at))], 1) * length * 0.35
    start = at + [0, 0, 0.03]
    middle = (
        start
        + 0.45 * length * flat
        + np.stack([np.zeros(len(at))] * 2 + [rng.uniform(0, 0.02, len(at))], 1)
    )
    vertices = np.stack([start, middle + side, start + length * flat, middle - side], 1).reshape(
        -1, 3
    )
    return Piece(
        vertices,
        np.arange(len(vertices)).reshape(-1, 4),
        0,
        np.repeat(shades(rng, palette, len(at), 0.35), 4, 0),
    )
