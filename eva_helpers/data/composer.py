"""Composites as arrays: a background or a true pair, and the objects pasted onto it."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from eva_helpers.catalogue import Catalogue, Cutout, read_background, read_cutout, read_pair
from eva_helpers.data.distractors import random_colours, random_object
from eva_helpers.data.pasting import Layers, Placement, paste, pyramid, pyramid_level
from eva_helpers.data.placement import View, place_grounded, place_random
from eva_helpers.data.plain import place_anywhere, plain_background, smooth_object

DISTRACTORS = 0.35  # share of objects at variety 1, as RECOLOURED
RECOLOURED = 0.5
WALLS = 0.6  # share of plain composites with a wall for a background
DISTRACTOR_SIDE = 96  # px at least, of the square that they are drawn in
DISTRACTOR_HEIGHTS = (0.25, 2.0)  # m, of distractor objects on the ground
HEIGHTS = (0.2, 2.5)  # m, of cut-outs whose real size is drawn

Arrays = dict[str, np.ndarray]  # background, image: uint8 (H, W, 3); mask, depth: float32 (H, W)


def happens(rng: np.random.Generator, chance: float) -> bool:
    """Whether an event of probability `chance` occurs; for chance 0, nothing is drawn."""
    return chance > 0 and rng.random() < chance


@dataclass(eq=False, repr=False)
class Composer:
    """Starts composites at (size, size); what it reads for them is kept in memory."""

    catalogue: Catalogue
    backgrounds: str | None
    cutouts: str | None
    size: int
    placement: str
    variety: float
    resized: float = 0.0

    def __post_init__(self) -> None:
        self.scenes = self.catalogue.backgrounds(self.backgrounds)
        self.objects = self.catalogue.objects(self.cutouts)
        numbers = {scene.id: number for number, scene in enumerate(self.scenes)}
        known = {item.object for item in self.objects}
        pairs = [pair for pair in self.catalogue.pairs if pair.object in known]
        self.pairs = [(numbers[pair.scene], pair) for pair in pairs if pair.scene in numbers]
        self._views: dict[int, View] = {}
        self._layers: dict[int, list[Layers]] = {}
        self._pairs: dict[int, Arrays] = {}

    def view(self, number: int) -> View:
        """Background `number`; warns if none of its ground is walkable."""
        if number not in self._views:
            scene = self.scenes[number]
            background, depth, ground, camera = read_background(self.catalogue, scene, self.size)
            if self.placement != "random" and scene.ground and not ground.any():
                message = f"{scene.id} has no walkable ground: objects are placed anywhere in it."
                warnings.warn(message, stacklevel=2)
            z_near = self.catalogue.z_near
            self._views[number] = View(background, depth, np.flatnonzero(ground), camera, z_near)
        return self._views[number]

    def layers(self, number: int) -> list[Layers]:
        """The pyramid of cut-out `number`."""
        if number not in self._layers:
            self._layers[number] = pyramid(*read_cutout(self.catalogue, self.objects[number]))
        return self._layers[number]

    def empty(self, number: int, rng: np.random.Generator) -> "Composite":
        """Background `number` without any object."""
        return Composite(self, rng, self.view(number))

    def plain(self, number: int, rng: np.random.Generator) -> "Composite":
        """A plain wall, which has no depth label, or background `number`; without any object."""
        if not happens(rng, WALLS):
            return self.empty(number, rng)
        wall = plain_background(rng, self.size)
        depth = np.zeros(wall.shape[:2], np.float32)
        view = View(wall, depth, np.array([], int), None, self.catalogue.z_near)
        return Composite(self, rng, view)

    def true_pair(self, rng: np.random.Generator) -> "Composite":
        """A random true pair, its object recoloured as often as those of composites."""
        number = int(rng.integers(len(self.pairs)))
        scene, pair = self.pairs[number]
        if number not in self._pairs:
            self._pairs[number] = read_pair(self.catalogue, pair, self.size)
        maps = dict(self._pairs[number])
        if happens(rng, RECOLOURED * self.variety):
            mask = maps["mask"][..., None]
            recoloured = (maps["image"] @ random_colours(rng).T).clip(0, 255)
            mixed = maps["image"] * (1 - mask) + recoloured * mask
            maps["image"] = np.rint(mixed).astype(np.uint8)
        return Composite(self, rng, self.view(scene), maps)


@dataclass
class Composite:
    """A composite in the making: its view, and its maps with the objects added so far.

    Without a depth label of the view, depth stays 0 everywhere.
    """

    composer: Composer
    rng: np.random.Generator
    view: View
    maps: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.maps:
            self.maps |= {"background": self.view.background, "image": self.view.background}
            self.maps |= {"mask": np.zeros_like(self.view.depth), "depth": self.view.depth}

    def add_object(self, number: int, flip: bool) -> None:
        """Paste cut-out `number`, or a distractor object instead."""
        variety = self.composer.variety
        resized = happens(self.rng, self.composer.resized)
        recolour = random_colours(self.rng) if happens(self.rng, RECOLOURED * variety) else None
        item = self.composer.objects[number]
        if happens(self.rng, DISTRACTORS * variety):
            item, levels = self._distractor(item)
        else:
            levels = self.composer.layers(number)
            if resized:
                metres = float(np.exp(self.rng.uniform(*np.log(HEIGHTS))))
                item = replace(item, metres_per_pixel=metres / levels[0][0].shape[0])
        place = self._place(item, levels[0][0].shape[:2], flip, resized)
        self._paste(*pyramid_level(levels, place), recolour)

    def add_smooth_object(self) -> None:
        """Paste an object of one softly shaded colour, of any size, anywhere."""
        rgba = smooth_object(self.rng, self.view.background)
        relief = np.zeros(rgba.shape[:2], np.float32)
        self._paste(rgba, relief, place_anywhere(self.rng, rgba.shape[:2], self.composer.size))

    def _paste(
        self,
        rgba: np.ndarray,
        relief: np.ndarray,
        place: Placement,
        recolour: np.ndarray | None = None,
    ) -> None:
        under = (self.maps["image"], self.maps["depth"])
        image, mask, depth = paste(*under, rgba, relief, place, self.view.z_near, recolour)
        self.maps |= {"image": image, "mask": np.maximum(self.maps["mask"], mask)}
        if self.view.depth.any():
            self.maps["depth"] = depth

    def _distractor(self, item: Cutout) -> tuple[Cutout, list[Layers]]:
        """A synthetic object, filled with a part of a random background, in place of `item`."""
        scene = int(self.rng.integers(len(self.composer.scenes)))
        side = max(DISTRACTOR_SIDE, self.composer.size)
        rgba = random_object(self.rng, self.composer.view(scene).background, side)
        height, width = rgba.shape[:2]
        metres = float(np.exp(self.rng.uniform(*np.log(DISTRACTOR_HEIGHTS))))
        contact = (height - 1.0, width / 2)
        item = replace(item, metres_per_pixel=metres / height, contact=contact)
        return item, [(rgba, np.zeros((height, width), np.float32))]

    def _place(self, item: Cutout, shape: tuple[int, int], flip: bool, resized: bool) -> Placement:
        """A drawn height says nothing of an object in the air: only what it covers does."""
        placement = self.composer.placement
        view = self.view._replace(depth=self.maps["depth"])
        if placement == "grounded" or (placement == "mixed" and self.rng.random() < 0.5):
            place = place_grounded(self.rng, view, item, shape, flip)
            if place:
                return place
        if resized:
            item = replace(item, metres_per_pixel=None)
        return place_random(self.rng, view, item, shape, flip)
