"""Ray casting of a few simple solids: where rays meet them first, and with which normal.

Coordinates are metres: x to the right, y up, z ahead. Rays start at `origin`, (3,) or (N, 3), and
have `direction` (N, 3); a point on a ray is origin + t * direction. All arrays are float32.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

NEAREST = 1e-3  # of t: nearer than this, a ray has only just left a surface


class Solid(Protocol):
    """What rays can meet; `texture` is a number that the caller gives a meaning."""

    texture: int

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The smallest t > NEAREST of every ray, (N,); infinity for a miss."""
        ...

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals, (N, 3), at `points` of the surface."""
        ...


class Hits(NamedTuple):
    """What rays meet first: t (infinity: nothing), and the number of the solid (-1: none)."""

    t: np.ndarray
    solid: np.ndarray


def floats(values: ArrayLike) -> np.ndarray:
    """As a float32 array."""
    return np.asarray(values, np.float32)


@dataclass
class Ground:
    """The plane y = 0."""

    texture: int

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        down = np.where(np.abs(direction[:, 1]) > 1e-6, direction[:, 1], np.nan)
        return _ahead(-np.broadcast_to(origin, direction.shape)[:, 1] / down)

    def normals(self, points: np.ndarray) -> np.ndarray:
        return np.broadcast_to(floats([0, 1, 0]), points.shape)


@dataclass
class Box:
    """A cuboid, turned by `yaw` radians about the vertical; `inside` is seen from within."""

    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    texture: int
    yaw: float = 0.0
    inside: bool = False

    def _local(self, vectors: np.ndarray) -> np.ndarray:
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        return np.stack([cos * x - sin * z, y, sin * x + cos * z], -1).astype(np.float32)

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        start = self._local(origin - floats(self.centre))
        along = self._local(direction)
        along = np.where(np.abs(along) > 1e-7, along, 1e-7)
        half = floats(self.size) / 2
        planes = np.stack([(-half - start) / along, (half - start) / along])
        enter, leave = planes.min(0).max(1), planes.max(0).min(1)
        if self.inside:
            return _ahead(leave)
        return np.where(enter < leave, _ahead(enter), np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        local = self._local(points - floats(self.centre)) / (floats(self.size) / 2)
        axis = np.abs(local).argmax(1)
        rows = np.arange(len(local))
        normals = np.zeros_like(local)
        normals[rows, axis] = np.sign(local[rows, axis]) * (-1 if self.inside else 1)
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        x, y, z = normals.T
        return np.stack([cos * x + sin * z, y, -sin * x + cos * z], -1).astype(np.float32)


@dataclass
class Ellipsoid:
    """An ellipsoid with horizontal and vertical axes; very high, it is a trunk or a post."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    texture: int

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        start = (origin - floats(self.centre)) / floats(self.radii)
        along = direction / floats(self.radii)
        a = (along * along).sum(-1)
        b = (start * along).sum(-1)
        root = b * b - a * ((start * start).sum(-1) - 1)
        return _ahead((-b - np.sqrt(np.where(root > 0, root, np.nan))) / a)

    def normals(self, points: np.ndarray) -> np.ndarray:
        return _unit((points - floats(self.centre)) / np.square(floats(self.radii)))


@dataclass
class Post:
    """An upright cylinder between two heights, without its ends."""

    foot: tuple[float, float]
    radius: float
    heights: tuple[float, float]
    texture: int

    def meet(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        start = np.broadcast_to(origin, direction.shape)
        flat = start[:, ::2] - floats(self.foot)
        along = direction[:, ::2]
        a = (along * along).sum(1).clip(1e-9)
        b = (flat * along).sum(1)
        root = b * b - a * ((flat * flat).sum(1) - self.radius**2)
        t = _ahead((-b - np.sqrt(np.where(root > 0, root, np.nan))) / a)
        height = start[:, 1] + np.where(np.isfinite(t), t, 0) * direction[:, 1]
        low, high = self.heights
        return np.where((height > low) & (height < high), t, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        flat = points - floats([self.foot[0], 0, self.foot[1]])
        return _unit(flat * floats([1, 0, 1]))


def _ahead(t: np.ndarray) -> np.ndarray:
    return np.where(t > NEAREST, t, np.inf)  # a NaN is no hit either


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)


def first_hits(solids: list[Solid], origin: np.ndarray, direction: np.ndarray) -> Hits:
    """What every ray meets first."""
    t = np.full(len(direction), np.inf, np.float32)
    number = np.full(len(direction), -1, np.int16)
    for index, solid in enumerate(solids):
        found = solid.meet(origin, direction)
        nearer = found < t
        t[nearer] = found[nearer]
        number[nearer] = index
    return Hits(t, number)


def normals_at(solids: list[Solid], hits: Hits, points: np.ndarray) -> np.ndarray:
    """Normals (N, 3) where `hits` are; 0 where nothing was met."""
    normals = np.zeros_like(points)
    for index, solid in enumerate(solids):
        here = hits.solid == index
        if here.any():
            normals[here] = solid.normals(points[here])
    return normals


def in_shadow(solids: list[Solid], points: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Whether something is between `points` (N, 3) and the light at `light` (3,)."""
    towards = light - points
    distance = np.linalg.norm(towards, axis=1)
    towards /= distance[:, None]
    dark = np.zeros(len(points), bool)
    for solid in solids:
        dark |= solid.meet(points, towards) < distance
    return dark
