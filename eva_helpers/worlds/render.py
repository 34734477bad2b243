"""Simple worlds with exact depth, made from a seed: rooms, yards, streets and gardens.

A park teaches that depth is a lawn, a plane that rises to the horizon, with the object on it. These
worlds have walls, hedges, trunks, fences, furniture and steps that stand up from the ground at
every distance, seen by cameras of varied height, pitch and focal length. They are cast ray by ray
(`worlds.rays`), with textures of their own or from photos, light and shadow:

    seed --> plan (`worlds.plans`) --> first hits --> texture x light --> photo
                                               |
                                               +--> depth, walkable ground
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eva_helpers.worlds import textures
from eva_helpers.worlds.plans import KINDS, Plan
from eva_helpers.worlds.rays import Hits, first_hits, floats, in_shadow, normals_at

FOCAL = (0.55, 1.5)  # of the picture's side
HEIGHT = (0.5, 1.9)  # m, of the camera
PITCH = (-0.45, 0.12)  # radians, up is positive
WALKABLE = 30.0  # m: farther ground is not used
HAZE = (60.0, 600.0)  # m, over which outdoor colours fade

PAINTERS = {
    "grain": textures.grain, "bricks": textures.bricks, "boards": textures.bricks,
    "stripes": textures.stripes, "plain": textures.plain,
}  # fmt: skip


class World(NamedTuple):
    """A rendered world: what a catalogue stores of a background."""

    kind: str
    photo: np.ndarray  # uint8 (H, W, 3)
    distance: np.ndarray  # float32 (H, W), metres along the viewing direction; inf: sky
    ground: np.ndarray  # bool (H, W), walkable
    focal: float  # px
    camera_height: float  # m
    pitch: float  # radians


class Rays(NamedTuple):
    """One ray for each pixel; t is the distance along the viewing direction."""

    origin: np.ndarray  # (3,)
    direction: np.ndarray  # (N, 3)


def make_world(
    seed: int, size: int = 288, kind: str | None = None, photos: Sequence[np.ndarray] = ()
) -> World:
    """A world of (size, size) px that depends on the arguments alone.

    `kind` is one of KINDS, a random one by default. Parts of `photos`, uint8 (H, W, 3) of at least
    16 px, serve as textures beside the painted ones. Raises ValueError for an unknown kind.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"kind of world is {kind!r}: expected one of {', '.join(KINDS)}.")
    rng = np.random.default_rng(seed)
    kind = kind or str(rng.choice(list(KINDS)))
    plan = Plan(rng)
    KINDS[kind](plan)
    focal = float(np.exp(rng.uniform(*np.log(FOCAL)))) * size
    height, pitch = float(rng.uniform(*HEIGHT)), float(rng.uniform(*PITCH))
    rays = camera_rays(size, focal, height, pitch)
    hits = first_hits(plan.solids, *rays)
    colours = _shaded(plan, rays, hits, focal, photos)
    ground = (hits.solid == 0) & (hits.t < WALKABLE)
    photo = np.rint(255 * _developed(colours, rng)).astype(np.uint8).reshape(size, size, 3)
    distance, ground = (values.reshape(size, size) for values in (hits.t, ground))
    return World(kind, photo, distance, ground, focal, height, pitch)


def camera_rays(size: int, focal: float, height: float, pitch: float) -> Rays:
    """The rays of a pinhole camera, row by row."""
    across = (np.arange(size) + 0.5 - size / 2) / focal
    x, down = np.meshgrid(across, across)
    cos, sin = np.cos(pitch), np.sin(pitch)
    y, z = cos * -down + sin, cos + sin * down
    direction = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    return Rays(floats([0, height, 0]), direction)


def _shaded(
    plan: Plan, rays: Rays, hits: Hits, focal: float, photos: Sequence[np.ndarray]
) -> np.ndarray:
    """Colours (N, 3): texture x light where something was hit, else sky."""
    rng = plan.rng
    colours = _sky(rays.direction, rng)
    met = hits.solid >= 0
    t = np.where(met, hits.t, 1).astype(np.float32)
    points = rays.origin + t[:, None] * rays.direction
    normals = normals_at(plan.solids, hits, points)
    used = np.array([solid.texture for solid in plan.solids])[hits.solid]
    own = np.zeros_like(points)
    for number, (name, hues) in enumerate(plan.textures):
        texture = _paint(rng, name, hues, photos)
        here = met & (used == number)
        if here.any():
            own[here] = _on_surface(texture, points[here], normals[here], t[here] / focal)
    light = floats(plan.light)
    towards = light - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    direct = (normals * towards).sum(1).clip(0, 1)
    shadow = in_shadow(plan.solids, points + 2e-3 * normals, light)
    strength = rng.uniform(0.1, 1.4)
    ambient = rng.uniform(0.35, 0.8) * (0.8 + 0.2 * normals[:, 1])
    tone = 1 + rng.normal(0, 0.06, 3)
    lit = own * (ambient[:, None] + strength * (direct * ~shadow)[:, None] * tone)
    if not plan.indoors:
        clear = np.exp(-t / np.exp(rng.uniform(*np.log(HAZE))))[:, None]
        lit = lit * clear + colours.mean(0) * (1 - clear)
    return np.where(met[:, None], lit, colours).astype(np.float32)


def _paint(
    rng: np.random.Generator, name: str, hues: tuple[float, float], photos: Sequence[np.ndarray]
) -> textures.Texture:
    metres = float(np.exp(rng.uniform(*np.log([0.4, 3.0]))))
    if name == "photo" and len(photos):
        return textures.layered(textures.photo_part(rng, photos), metres)
    painter = PAINTERS.get(name, textures.grain)
    return textures.layered(painter(rng, hues), metres)


def _on_surface(
    texture: textures.Texture, points: np.ndarray, normals: np.ndarray, footprint: np.ndarray
) -> np.ndarray:
    """The texture on the plane that faces the normal most: floor, side or front."""
    axis = np.abs(normals).argmax(1)
    x, y, z = points.T
    u = np.where(axis == 0, z, x)
    v = np.where(axis == 1, z, -y)
    return textures.sample(texture, u, v, footprint)


def _sky(direction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From a horizon to a zenith colour, with soft clouds."""
    up = (direction[:, 1] / np.linalg.norm(direction, axis=1)).clip(0, 1)[:, None]
    horizon = rng.uniform(0.65, 0.95) + rng.normal(0, 0.03, 3)
    zenith = horizon * rng.uniform([0.3, 0.5, 0.8], [0.9, 0.95, 1.0])
    clouds = textures.layered(textures.grain(rng, (0.5, 0.6)), 2.0)
    u, v = (direction[:, ::2] / (0.25 + up)).T
    cloudy = textures.sample(clouds, u, v, np.full(len(u), 0.05)).mean(1, keepdims=True)
    return horizon + (zenith - horizon) * np.sqrt(up) + rng.uniform(0, 0.4) * (cloudy - 0.5)


def _developed(colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposed so that its median is that of a photo, with a soft shoulder; (N, 3) in [0, 1]."""
    middle = float(np.median(colours)) or 1.0
    exposed = colours.clip(0) * rng.uniform(0.3, 0.55) / middle
    return np.where(exposed < 0.6, exposed, 0.6 + 0.4 * np.tanh((exposed - 0.6) / 0.4)).clip(0, 1)
