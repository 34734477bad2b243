"""What stands in simple worlds: furniture, trees, bushes, walls, fences and steps.

The camera stands at x = z = 0 and looks along z; lengths in metres.
"""

from dataclasses import dataclass, field

import numpy as np

from eva_helpers.worlds.rays import Box, Ellipsoid, Post, Solid
from eva_helpers.worlds.textures import EARTHS, GREENS

KEPT_FREE = 0.7  # m around the camera


@dataclass
class Plan:
    """A world: its solids, for each texture number a kind and its hues, and where the light is.

    Solid 0 is the ground. `indoors`: there is no sky, and the light is near.
    """

    rng: np.random.Generator
    solids: list[Solid] = field(default_factory=list)
    textures: list[tuple[str, tuple[float, float]]] = field(default_factory=list)
    light: tuple[float, float, float] = (0.0, 1e3, 0.0)
    indoors: bool = False

    def texture(self, *kinds: str, hues: tuple[float, float] = (0.0, 1.0)) -> int:
        """A new texture of one of `kinds`, sometimes a part of a photo; its number."""
        kind = "photo" if self.rng.random() < 0.25 else str(self.rng.choice(kinds))
        self.textures.append((kind, hues))
        return len(self.textures) - 1

    def between(self, least: float, most: float) -> float:
        return float(self.rng.uniform(least, most))

    def place(self, width: float, nearest: float, farthest: float) -> tuple[float, float]:
        """x and z of something `width` wide, in sight; near places are as likely as far ones."""
        z = float(np.exp(self.between(*np.log([nearest, farthest]))))
        reach = 0.75 * z + width / 2
        return self.between(-reach, reach), z + width / 2

    def box(
        self, x: float, z: float, size: tuple[float, float, float], texture: int,
        yaw: float = 0.0, bottom: float = 0.0,
    ) -> None:  # fmt: skip
        """A box that stands at `bottom`, unless the camera would be in it."""
        if np.hypot(x, z) - np.hypot(size[0], size[2]) / 2 > KEPT_FREE:
            self.solids.append(Box((x, bottom + size[1] / 2, z), size, texture, yaw))


def add_furniture(plan: Plan, count: int, farthest: float) -> None:
    """Cupboards, chests and tables with legs, at any distance."""
    for _ in range(count):
        width, depth = plan.between(0.4, 1.8), plan.between(0.35, 0.9)
        height = plan.between(0.4, 2.1)
        x, z = plan.place(width, 1.2, farthest)
        yaw = plan.between(-0.5, 0.5) + np.pi / 2 * int(plan.rng.integers(2))
        texture = plan.texture("grain", "plain", "boards", hues=EARTHS)
        if height > 1.0 or plan.rng.random() < 0.5:
            plan.box(x, z, (width, height, depth), texture, yaw)
            continue
        plan.box(x, z, (width, 0.06, depth), texture, yaw, bottom=height)
        cos, sin = np.cos(yaw), np.sin(yaw)
        for side, front in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            right, ahead = side * (width / 2 - 0.06), front * (depth / 2 - 0.06)
            foot = (x + cos * right + sin * ahead, z - sin * right + cos * ahead)
            plan.solids.append(Post(foot, 0.03, (0.0, height), texture))


def add_trees(plan: Plan, count: int, nearest: float, farthest: float) -> None:
    """Trunks with crowns of a few ellipsoids."""
    bark = plan.texture("grain", hues=EARTHS)
    leaves = plan.texture("grain", hues=GREENS)
    for _ in range(count):
        x, z = plan.place(0.3, nearest, farthest)
        radius, height = plan.between(0.06, 0.35), plan.between(1.2, 4.5)
        plan.solids.append(Post((x, z), radius, (0.0, height + 1), bark))
        for _ in range(int(plan.rng.integers(1, 4))):
            wide = plan.between(0.6, 2.0)
            offset = plan.rng.normal(0, 0.6, 3)
            centre = (x + offset[0], height + wide / 2 + abs(offset[1]), z + offset[2])
            plan.solids.append(Ellipsoid(centre, (wide, wide * 0.8, wide), leaves))


def add_bushes(plan: Plan, count: int, nearest: float, farthest: float) -> None:
    """Bushes, stones and flower pots: ellipsoids on the ground."""
    for _ in range(count):
        wide = plan.between(0.2, 1.3)
        x, z = plan.place(2 * wide, nearest, farthest)
        hues = GREENS if plan.rng.random() < 0.7 else EARTHS
        radii = (wide, wide * plan.between(0.5, 1.2), wide)
        texture = plan.texture("grain", hues=hues)
        plan.solids.append(Ellipsoid((x, radii[1] * 0.7, z), radii, texture))


def add_walls(plan: Plan, count: int, nearest: float, farthest: float) -> None:
    """Walls and hedges, across the view or along it."""
    for _ in range(count):
        length, height = plan.between(1.5, 9), plan.between(0.5, 2.6)
        x, z = plan.place(length, nearest, farthest)
        yaw = plan.between(-0.4, 0.4) + np.pi / 2 * (plan.rng.random() < 0.35)
        if plan.rng.random() < 0.5:
            texture = plan.texture("grain", hues=GREENS)
        else:
            texture = plan.texture("bricks", "plain", "boards", hues=EARTHS)
        plan.box(x, z, (length, height, plan.between(0.1, 0.9)), texture, yaw)


def add_fence(plan: Plan, nearest: float, farthest: float) -> None:
    """A row of posts with two rails."""
    z = plan.between(nearest, farthest)
    step, height = plan.between(0.15, 1.2), plan.between(0.6, 1.6)
    texture = plan.texture("boards", "plain", hues=EARTHS)
    start = plan.between(-8, 0)
    count = min(24, int(10 / step))
    width = plan.between(0.03, 0.1)
    for number in range(count):
        plan.box(start + number * step, z, (width, height, 0.05), texture)
    middle = start + (count - 1) * step / 2
    for share in (0.35, 0.85):
        plan.box(middle, z, (count * step, 0.07, 0.04), texture, bottom=share * height)


def add_steps(plan: Plan, nearest: float, farthest: float) -> None:
    """A few steps that lead up."""
    x, z = plan.place(2.0, nearest, farthest)
    width, rise, tread = plan.between(1, 5), plan.between(0.12, 0.22), plan.between(0.25, 0.6)
    texture = plan.texture("plain", "grain", "bricks", hues=EARTHS)
    count = int(plan.rng.integers(2, 6))
    for number in range(count):
        deep = (count - number) * tread
        plan.box(x, z + number * tread + deep / 2, (width, rise, deep), texture,
                 bottom=number * rise)  # fmt: skip
