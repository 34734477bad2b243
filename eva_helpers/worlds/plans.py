"""Plans of simple worlds: a room, a yard, a street, a garden."""

from collections.abc import Callable

import numpy as np

from eva_helpers.worlds.parts import (
    Plan,
    add_bushes,
    add_fence,
    add_furniture,
    add_steps,
    add_trees,
    add_walls,
)
from eva_helpers.worlds.rays import Box, Ground, Post
from eva_helpers.worlds.textures import EARTHS, GREENS


def room(plan: Plan) -> None:
    """A room with furniture; a lamp below the ceiling."""
    plan.indoors = True
    plan.solids.append(Ground(plan.texture("boards", "bricks", "plain", "stripes")))
    width, height, length = plan.between(2.4, 8), plan.between(2.2, 3.4), plan.between(3, 11)
    x = plan.between(-0.3, 0.3) * width
    behind = plan.between(0.8, 2)
    wall = plan.texture("plain", "plain", "grain", "stripes")
    middle = (x, height / 2 - 0.01, length / 2 - behind)
    plan.solids.append(Box(middle, (width, height, length), wall, plan.between(-0.3, 0.3), True))
    farthest = max(1.6, length - behind - 1.0)
    add_furniture(plan, int(plan.rng.integers(2, 8)), farthest)
    plan.light = (x + plan.between(-1, 1), height - 0.2, plan.between(0, farthest))


def yard(plan: Plan) -> None:
    """A paved yard between walls, with pots, furniture and a tree."""
    plan.solids.append(Ground(plan.texture("bricks", "grain", "plain", hues=EARTHS)))
    width, far = plan.between(4, 14), plan.between(4, 16)
    wall = plan.texture("bricks", "plain", "boards", hues=EARTHS)
    height = plan.between(1.6, 9)
    plan.box(0, far, (2 * width, height, 0.5), wall, plan.between(-0.2, 0.2))
    for side in (-1, 1):
        if plan.rng.random() < 0.8:
            plan.box(side * width / 2, far / 2, (0.4, plan.between(1.5, 7), far), wall)
    add_furniture(plan, int(plan.rng.integers(0, 4)), far)
    add_bushes(plan, int(plan.rng.integers(1, 6)), 1.2, far)
    add_trees(plan, int(plan.rng.integers(0, 3)), 2, far)
    if plan.rng.random() < 0.4:
        add_steps(plan, 2, far)
    outdoors(plan)


def street(plan: Plan) -> None:
    """Houses along both sides, posts, trunks, boxes the size of cars, low kerbs."""
    plan.solids.append(Ground(plan.texture("grain", "plain", "bricks", hues=EARTHS)))
    half = plan.between(2.5, 8)
    for side in (-1, 1):
        kerb = plan.texture("plain", "bricks", hues=EARTHS)
        plan.box(side * (half - 0.6), 20, (1.2, 0.14, 38), kerb)
        z = plan.between(-6, 2)
        while z < 40:
            length, deep = plan.between(4, 14), plan.between(4, 8)
            wall = plan.texture("bricks", "plain", "grain", "stripes")
            size = (deep, plan.between(2.5, 12), length)
            plan.box(side * (half + deep / 2), z + length / 2, size, wall)
            z += length + plan.between(0, 6)
    for _ in range(int(plan.rng.integers(0, 5))):
        _, z = plan.place(2, 2.5, 25)
        x = int(plan.rng.choice([-1, 1])) * (half - plan.between(1.2, 2.4))
        paint = plan.texture("plain")
        plan.box(x, z, (1.7, 0.8, 4.0), paint, bottom=0.2)
        plan.box(x, z, (1.5, 0.6, 2.2), paint, bottom=1.0)
    post = plan.texture("plain", hues=EARTHS)
    for _ in range(int(plan.rng.integers(1, 7))):
        foot = (
            int(plan.rng.choice([-1, 1])) * (half - plan.between(0.2, 1)),
            plan.between(1.5, 25),
        )
        plan.solids.append(Post(foot, plan.between(0.03, 0.2), (0, plan.between(0.8, 6)), post))
    if plan.rng.random() < 0.4:
        add_trees(plan, int(plan.rng.integers(1, 4)), 2, 20)
    outdoors(plan)


def garden(plan: Plan) -> None:
    """Lawn, hedges, walls, trunks, bushes and fences at every distance, also near."""
    plan.solids.append(Ground(plan.texture("grain", hues=GREENS)))
    add_walls(plan, int(plan.rng.integers(1, 6)), 1.3, 18)
    add_trees(plan, int(plan.rng.integers(1, 7)), 1.3, 25)
    add_bushes(plan, int(plan.rng.integers(0, 7)), 1.2, 15)
    if plan.rng.random() < 0.4:
        add_fence(plan, 1.5, 9)
    if plan.rng.random() < 0.25:
        add_steps(plan, 2, 8)
    if plan.rng.random() < 0.6:
        far = plan.between(10, 40)
        front = plan.texture("bricks", "plain", "grain")
        plan.box(plan.between(-8, 8), far, (plan.between(5, 14), plan.between(3, 9), 5), front)
    outdoors(plan)


def outdoors(plan: Plan) -> None:
    """The sun, somewhere above."""
    height, around = plan.between(0.35, 1.3), plan.between(-np.pi, np.pi)
    flat = 1e3 * np.cos(height)
    plan.light = (flat * np.sin(around), 1e3 * np.sin(height), flat * np.cos(around))


KINDS: dict[str, Callable[[Plan], None]] = {
    "room": room, "yard": yard, "street": street, "garden": garden,
}  # fmt: skip
