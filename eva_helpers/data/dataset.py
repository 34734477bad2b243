"""Composites created on the fly from a catalogue, and its true pairs, as tensors."""

import functools
import math
import warnings
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import Dataset

from eva_helpers.catalogue import Catalogue, read_pair
from eva_helpers.data.augment import MARGIN, around_object, colours, crop, geometry, seeded, unsharp
from eva_helpers.data.capture import Capture, CaptureDifferences
from eva_helpers.data.composer import Arrays, Composer, happens
from eva_helpers.data.distractors import sway
from eva_helpers.data.placement import View
from eva_helpers.files import InputError
from eva_helpers.schemas import Count, Flag, Seed, Share, Side, Strength, check_fields

Placing = Literal["grounded", "random", "mixed"]  # where objects are placed
MAPS = ("background", "image", "mask", "depth")
PLACEMENTS = get_args(Placing)
QUADRANTS = {  # name -> (split of the backgrounds, split of the cut-outs)
    "seen background, seen object": ("train", "train"),
    "seen background, unseen object": ("train", "test"),
    "unseen background, seen object": ("test", "train"),
    "unseen background, unseen object": ("test", "test"),
}
# at variety 1, the share of samples with
SECOND = 0.15  # a second object
COLOURED = 0.8  # other colours
SWAYING = 0.3  # a background in the wind
UNSHARP = 0.35  # photos that show no detail of their pixels' size, as most large ones

Tensors = dict[str, torch.Tensor]  # float32 in [0, 1]: photos (3, H, W), mask and depth (1, H, W)


def to_tensors(sample: Arrays) -> Tensors:
    """A sample as networks and losses expect it."""
    # not with torch, which takes three times as long for arrays this small
    arrays = {name: np.clip(sample[name][None], 0, 1, dtype=np.float32) for name in MAPS[2:]}
    for name in MAPS[:2]:
        arrays[name] = np.divide(sample[name].transpose(2, 0, 1), np.float32(255), order="C")
    return {name: torch.from_numpy(arrays[name]) for name in MAPS}


def shoot(sample: Arrays, capture: Capture, rng: np.random.Generator) -> Tensors:
    """The sample with capture differences."""
    background, image = capture(sample["background"], sample["image"], sample["mask"], rng)
    return to_tensors(sample | {"background": background, "image": image})


@dataclass(eq=False, repr=False)
class CompositeDataset(Dataset[Tensors]):
    """Every background with every cut-out, at `positions` places, plain and flipped.

    Item i is created on demand and depends on the options, `seed` and i only, not on workers, order
    or epoch. Items are ordered by background, cut-out, position, flip. A depth of 0 everywhere
    stands for a sample without depth label: losses and metrics of depth leave it out.

    Args:
        backgrounds, cutouts: splits of `catalogue` ("train", "validation", "test"; None for all).
        size: side of the samples in pixels.
        placement: "grounded" (on walkable ground, size from the distance there), "random"
            (anywhere) or "mixed" (half and half).
        augment: crop, mirror and rotate the four maps together.
        strength: of the capture differences between the two shots; 0 gives ideal pairs.
        empty: share of composites without any object.
        true_pairs: share of true pairs of these backgrounds and objects, if there are any; they
            have cast shadows, contact with the ground and grass that hides the paws.
        variety: 0 to 1, how much is added that the catalogue lacks: other colours, distractor
            objects, a second object, leaves and grass that move.
        plain: share of smooth objects of one colour, most of them before a plain wall; a wall has
            no depth label.
        resized: share of cut-outs whose real height is drawn instead of known, so that an object's
            distance follows from where it stands, not from what it is.
        boxes: share of samples that show an object and its surroundings enlarged, as the second
            pass of `predict.Predictor` sees them; they have no depth label.

    Raises:
        InputError: an option is out of range, or a split unknown or empty.
    """

    catalogue: Catalogue
    backgrounds: str | None = "train"
    cutouts: str | None = "train"
    _: KW_ONLY
    size: Side = 64
    positions: Annotated[Count, Field(le=10**6)] = 20
    placement: Placing = "mixed"
    augment: Flag = False
    strength: Strength = 0.0
    empty: Share = 0.0
    true_pairs: Share = 0.0
    variety: Share = 0.0
    plain: Share = 0.0
    boxes: Share = 0.0
    resized: Share = 0.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        self.canvas = math.ceil(self.size * MARGIN) if self.augment else self.size
        options = (self.backgrounds, self.cutouts, self.canvas, self.placement, self.variety)
        self._composer = Composer(self.catalogue, *options, self.resized)
        self.scenes = self._composer.scenes
        self.objects = self._composer.objects
        self.pairs = self._composer.pairs
        self.geometry = geometry()
        self.colours = colours()
        self.capture: Capture = CaptureDifferences(self.strength)
        if any(scene.depth is None for scene in self.scenes):
            unlabelled = sum(scene.depth is None for scene in self.catalogue.backgrounds())
            _warn_unlabelled(self.catalogue.folder, unlabelled)

    def __len__(self) -> int:
        return len(self.scenes) * len(self.objects) * self.positions * 2

    def where(self, index: int) -> tuple[int, int, int, bool]:
        """Background number, cut-out number, position and flip of item `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        rest, flip = divmod(index, 2)
        rest, position = divmod(rest, self.positions)
        scene, cutout = divmod(rest, len(self.objects))
        return scene, cutout, position, bool(flip)

    def scene(self, number: int) -> View:
        """Background `number` at (canvas, canvas)."""
        return self._composer.view(number)

    def composite(self, index: int) -> Arrays:
        """Item `index` at (canvas, canvas), before augmentation and capture differences."""
        return self._compose(index, np.random.default_rng((self.seed, index)))

    def _compose(self, index: int, rng: np.random.Generator) -> Arrays:
        scene, cutout, _, flip = self.where(index)
        if happens(rng, self.plain):
            composite = self._composer.plain(scene, rng)
            if not happens(rng, self.empty):
                composite.add_smooth_object()
            return composite.maps
        if self.pairs and happens(rng, self.true_pairs):
            composite = self._composer.true_pair(rng)
        else:
            composite = self._composer.empty(scene, rng)
            if not happens(rng, self.empty):
                composite.add_object(cutout, flip)
        if self.variety and composite.maps["mask"].any() and happens(rng, SECOND * self.variety):
            composite.add_object(int(rng.integers(len(self.objects))), bool(rng.integers(2)))
        return composite.maps

    def __getitem__(self, index: int) -> Tensors:
        rng = np.random.default_rng((self.seed, index))
        sample = self._compose(index, rng)
        if self.augment:
            sample = crop(seeded(self.geometry, rng)(**sample), self.size, rng)
        if happens(rng, COLOURED * self.variety):
            photos = {name: sample[name] for name in MAPS[:2]}
            sample |= seeded(self.colours, rng)(**photos)
        if happens(rng, SWAYING * self.variety):
            sample["background"] = sway(sample["background"], rng)
        if happens(rng, UNSHARP * self.variety):
            sample = unsharp(sample, rng)
        if not happens(rng, self.boxes):
            return shoot(sample, self.capture, rng)
        background, image = self.capture(sample["background"], sample["image"], sample["mask"], rng)
        shot = sample | {"background": background, "image": image}
        return to_tensors(around_object(shot, rng))


@dataclass(eq=False, repr=False)
class PairDataset(Dataset[Tensors]):
    """The true pairs of one split at (size, size); options as those of `CompositeDataset`.

    Raises InputError if the catalogue has none in this split.
    """

    catalogue: Catalogue
    split: str = "test"
    _: KW_ONLY
    size: int = 224
    strength: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.capture: Capture = CaptureDifferences(self.strength)
        self.pairs = self.catalogue.true_pairs(self.split)
        if not self.pairs:
            raise InputError(
                f"{self.catalogue.folder} has no true pairs of split {self.split!r}: "
                "use the embedded park, or render some."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Tensors:
        sample = read_pair(self.catalogue, self.pairs[index], self.size)
        return shoot(sample, self.capture, np.random.default_rng((self.seed, index)))


@functools.cache  # told once, not for each split of a catalogue
def _warn_unlabelled(folder: Path, count: int) -> None:
    warnings.warn(
        f"{folder}: {count} of its backgrounds have no depth labels and train the mask alone; "
        "label them with `eva-helpers photos ... --depth`.",
        stacklevel=4,
    )


def quadrant(catalogue: Catalogue, name: str, **options: Any) -> CompositeDataset:
    """The composites of one of the four QUADRANTS; "seen" means in the training split."""
    return CompositeDataset(catalogue, *QUADRANTS[name], **options)
