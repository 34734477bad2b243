"""Composites made on the fly from a catalogue: the virtual dataset, its splits, loaders and statistics."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset

from eva_helpers import compose
from eva_helpers.assets import Camera, Catalogue, Cutout, read_background, read_cutout, read_pair
from eva_helpers.augment import MARGIN, CaptureDifferences, colours, crop, geometry, recolouring, seeded, sway
from eva_helpers.images import InputError

MAPS = ("background", "image", "mask", "depth")
# At full variety: share of objects of no kind, of recoloured ones, of second objects, of backgrounds in the wind.
STRANGERS, RECOLOURED, SECOND, SWAYING = 0.35, 0.5, 0.15, 0.3
STRANGER_HEIGHTS = (0.25, 2.0)  # metres, of objects of no kind that stand on the ground
PLACEMENTS = ("grounded", "random", "mixed")
QUADRANTS = {  # name -> (split of the backgrounds, split of the cut-outs); "unseen" is the test split
    "seen background, seen object": ("train", "train"),
    "seen background, unseen object": ("train", "test"),
    "unseen background, seen object": ("test", "train"),
    "unseen background, unseen object": ("test", "test"),
}


def to_tensors(sample: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The data contract: uint8 RGB (H, W, 3) to float32 (3, H, W) in [0, 1]; mask and depth float32 (H, W) to (1, H, W)."""
    # numpy, not torch: for arrays this small, its calls cost a third
    photos = {name: np.divide(sample[name].transpose(2, 0, 1), np.float32(255), order="C") for name in MAPS[:2]}
    maps = {name: np.clip(sample[name][None], 0, 1, dtype=np.float32) for name in MAPS[2:]}
    return {name: torch.from_numpy(array) for name, array in (photos | maps).items()}


class CompositeDataset(Dataset):
    """Every background with every cut-out, at `positions` places, plain and flipped: a virtual dataset of any length.

    Item i depends on (catalogue, seed, i) only: not on workers, order, epoch or process. Items are ordered as the source's:
    all composites of the first background, then those of the second; within it by cut-out, position, flip.

    Args:
        backgrounds, cutouts: split names ("train", "validation", "test"; None for all).
        size: side of the samples in pixels.
        placement: "grounded" (feet on walkable ground, size from the distance there), "random" (anywhere) or "mixed" (half and half).
        augment: crop, mirror and tilt the four maps together.
        variety: 0 to 1, how much of everything that the catalogue lacks is made up: other colours of the whole scene and of the
            objects, objects of no kind (`compose.stranger`), two objects at once, leaves and grass that moved (`augment.sway`).
        teacher_on_composites: a depth model (`photos.estimator`) that labels every composite by itself, as the source did. Without it
            labels are layered: the background's own depth, and the object at its level in front of it.
        strength: of the capture differences between the two shots; 0 gives ideal pairs.
        empty: share of composites without any object.
        true_pairs: share of samples that are one of the catalogue's true pairs on these backgrounds, which have what composites lack:
            shadows, contact with the ground, grass before paws. In a catalogue without any, all samples are composites.
        contact_shadow: darkness of a soft shadow under the feet of grounded objects, 0 (none) to 1.

    Each item is a dict of float32 tensors: `background`, `image` (3, size, size), `mask`, `depth` (1, size, size), all in [0, 1].
    """

    def __init__(
        self,
        catalogue: Catalogue,
        backgrounds: str | None = "train",
        cutouts: str | None = "train",
        *,
        size: int = 64,
        positions: int = 20,
        placement: str = "mixed",
        augment: bool = False,
        strength: float = 0.0,
        empty: float = 0.0,
        true_pairs: float = 0.0,
        contact_shadow: float = 0.0,
        variety: float = 0.0,
        teacher_on_composites: Callable | None = None,
        seed: int = 0,
    ) -> None:
        if placement not in PLACEMENTS:
            raise ValueError(f"placement is {placement!r}: expected one of {', '.join(PLACEMENTS)}.")
        if size < 32 or positions < 1:
            raise ValueError(f"size is {size} and positions {positions}: expected at least 32 pixels and one position.")
        self.catalogue, self.seed, self.positions, self.placement, self.empty = catalogue, seed, positions, placement, empty
        self.scenes, self.objects = catalogue.backgrounds(backgrounds), catalogue.objects(cutouts)
        numbers, known = {scene.id: number for number, scene in enumerate(self.scenes)}, {item.object for item in self.objects}
        self.pairs = [(numbers[pair.scene], pair) for pair in catalogue.pairs if pair.scene in numbers and pair.object in known]
        self.true_pairs = true_pairs if self.pairs else 0.0
        blind = sum(scene.depth is None for scene in self.scenes)
        if blind:
            warnings.warn(
                f"{blind} of {len(self.scenes)} backgrounds have no depth labels: train the mask alone (DEPTH_WEIGHT 0), or label "
                "them with `python -m eva_helpers.photos ... --depth`.",
                stacklevel=2,
            )
        self.canvas = math.ceil(size * MARGIN) if augment else size
        self.size, self.geometry = size, geometry() if augment else None
        self.capture, self.contact_shadow = CaptureDifferences(strength), contact_shadow
        self.teacher, self.variety, self.colours = teacher_on_composites, variety, colours() if variety else None
        self._scenes, self._cutouts, self._pairs = {}, {}, {}

    def __len__(self) -> int:
        return len(self.scenes) * len(self.objects) * self.positions * 2

    def where(self, index: int) -> tuple[int, int, int, bool]:
        """Background number, cut-out number, position and flip of item `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        scene, rest = divmod(index, len(self.objects) * self.positions * 2)
        cutout, rest = divmod(rest, self.positions * 2)
        position, flip = divmod(rest, 2)
        return scene, cutout, position, bool(flip)

    def composite(self, index: int) -> dict[str, np.ndarray]:
        """Item `index` as numpy arrays: `background`, `image` uint8 (H, W, 3), `mask`, `depth` float32 (H, W)."""
        return self._make(index, np.random.default_rng((self.seed, index)))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng((self.seed, index))
        sample = self._make(index, rng)
        if self.geometry:
            sample = crop(seeded(self.geometry, rng)(**sample), self.size, rng)
        if self.variety and rng.random() < 0.8 * self.variety:
            sample |= seeded(self.colours, rng)(image=sample["image"], background=sample["background"])
        if self.variety and rng.random() < SWAYING * self.variety:
            sample["background"] = sway(sample["background"], rng)
        sample["background"], sample["image"] = self.capture(sample["background"], sample["image"], sample["mask"], rng)
        return to_tensors(sample)

    def _make(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        scene, cutout, _, flip = self.where(index)
        if self.true_pairs and rng.random() < self.true_pairs:
            sample, ground, camera = self._true_pair(rng)
        else:
            background, depth, ground, camera = self.scene(scene)
            sample = {"background": background, "image": background, "mask": np.zeros_like(depth), "depth": depth}
            if self.empty and rng.random() < self.empty:
                sample |= {"image": background.copy(), "depth": depth.copy()}
            else:
                sample = self._add(sample, self.objects[cutout], self._cutout(cutout), ground, camera, flip, rng)
        if self.variety and sample["mask"].any() and rng.random() < SECOND * self.variety:
            other = int(rng.integers(len(self.objects)))
            sample = self._add(sample, self.objects[other], self._cutout(other), ground, camera, bool(rng.integers(2)), rng)
        if self.teacher:
            sample["depth"] = next(iter(self.teacher([sample["image"]]))).astype(np.float32)
        return sample

    def _true_pair(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray, Camera | None]:
        """A true pair at the dataset's size, recoloured as often as composites are; walkable pixels and camera of its view."""
        number = int(rng.integers(len(self.pairs)))
        scene, pair = self.pairs[number]
        if number not in self._pairs:
            self._pairs[number] = read_pair(self.catalogue, pair, self.canvas)
        sample = dict(self._pairs[number])  # a copy: what is made of it must not come back with the next item
        if self.variety and rng.random() < RECOLOURED * self.variety:
            mask, other = sample["mask"][..., None], sample["image"] @ recolouring(rng).T
            sample["image"] = np.rint(sample["image"] * (1 - mask) + other.clip(0, 255) * mask).astype(np.uint8)
        return sample, *self.scene(scene)[2:]

    def _add(self, sample: dict, item: Cutout, levels: list, ground: np.ndarray, camera: Camera | None, flip: bool, rng) -> dict:
        """The sample with one more object in it: `item`, or a stranger in its place."""
        recolour = recolouring(rng) if self.variety and rng.random() < RECOLOURED * self.variety else None
        if self.variety and rng.random() < STRANGERS * self.variety:
            rgba = compose.stranger(rng, self.scene(int(rng.integers(len(self.scenes))))[0])
            height, width = rgba.shape[:2]
            metres = float(np.exp(rng.uniform(*np.log(STRANGER_HEIGHTS)))) / height
            item = replace(item, metres_per_pixel=metres, contact=(height - 1.0, width / 2))
            levels = [(rgba, np.zeros((height, width), np.float32))]
        place = self._place(rng, item, levels[0][0].shape[:2], sample["depth"], ground, camera, flip)
        layers = compose.level(levels, place)
        image, mask, depth = compose.paste(sample["image"], sample["depth"], *layers, self.catalogue.z_near, recolour)
        if place.grounded and self.contact_shadow:
            image = compose.contact_shadow(image, mask, place.foot, self.contact_shadow)
        return sample | {"image": image, "mask": np.maximum(sample["mask"], mask), "depth": depth}

    def _place(self, rng, item, size, depth, ground, camera, flip) -> compose.Placement:
        grounded = self.placement == "grounded" or (self.placement == "mixed" and rng.random() < 0.5)
        metric = item.metres_per_pixel and item.contact and camera
        if grounded and metric:
            place = compose.place_grounded(
                rng, ground, depth, size, item.contact, item.metres_per_pixel, camera, self.catalogue.z_near, flip
            )
            if place:
                return place
        return compose.place_random(rng, depth, size, item.metres_per_pixel, camera, self.catalogue.z_near, flip)

    def scene(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Camera | None]:
        """Background `number` at the dataset's size: RGB, inverse depth, flat indices of its walkable pixels, camera."""
        if number not in self._scenes:
            scene = self.scenes[number]
            background, depth, ground, camera = read_background(self.catalogue, scene, self.canvas)
            if self.placement != "random" and scene.ground and not ground.any():
                warnings.warn(f"{scene.id} has no walkable ground: objects are placed anywhere in it.", stacklevel=2)
            self._scenes[number] = background, depth, np.flatnonzero(ground), camera
        return self._scenes[number]

    def _cutout(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        if number not in self._cutouts:
            self._cutouts[number] = compose.pyramid(*read_cutout(self.catalogue, self.objects[number]))
        return self._cutouts[number]


class PairDataset(Dataset):
    """The catalogue's true pairs of one split at (size, size): what composites are not - shadows, contact, grass before paws.

    Each item follows the data contract. `strength` adds capture differences; its random numbers come from (seed, i) only.
    """

    def __init__(self, catalogue: Catalogue, split: str = "test", *, size: int = 224, strength: float = 0.0, seed: int = 0) -> None:
        self.pairs = catalogue.true_pairs(split)
        if not self.pairs:
            raise InputError(f"{catalogue.folder} has no true pairs of split {split!r}: use the embedded park, or render some.")
        self.catalogue, self.size, self.seed, self.capture = catalogue, size, seed, CaptureDifferences(strength)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = read_pair(self.catalogue, self.pairs[index], self.size)
        rng = np.random.default_rng((self.seed, index))
        sample["background"], sample["image"] = self.capture(sample["background"], sample["image"], sample["mask"], rng)
        return to_tensors(sample)


def fixed_sample(dataset: Dataset, count: int, seed: int = 0) -> Subset:
    """`count` items drawn once without replacement, the same for the same seed: what evaluation and validation use."""
    order = np.random.default_rng(seed).choice(len(dataset), size=min(count, len(dataset)), replace=False)
    return Subset(dataset, np.sort(order).tolist())


def loader(
    dataset: Dataset, batch_size: int = 64, *, samples: int | None = None, shuffle: bool = False, workers: int | None = 0, seed: int = 0
) -> DataLoader:
    """A DataLoader; `samples` random items make an epoch (the virtual dataset is far larger than one needs), drawn from `seed`.

    `workers` None chooses: a process for each core where a GPU trains, none where the CPU needs its cores for the training itself.
    """
    workers = (os.cpu_count() if torch.cuda.is_available() else 0) if workers is None else workers
    generator = torch.Generator().manual_seed(seed)
    sampler = RandomSampler(dataset, num_samples=samples, generator=generator) if samples or shuffle else None
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=sampler is not None and (samples or len(dataset)) >= batch_size,
        persistent_workers=workers > 0,
        generator=generator,
    )


def quadrant(catalogue: Catalogue, name: str, **options) -> CompositeDataset:
    """The composites of one of the four QUADRANTS (seen / unseen background x object)."""
    backgrounds, cutouts = QUADRANTS[name]
    return CompositeDataset(catalogue, backgrounds, cutouts, **options)


def statistics(samples: Sequence[dict[str, torch.Tensor]]) -> dict[str, tuple[list[float], list[float]]]:
    """Per-channel mean and standard deviation of each of the four sets, in one streaming pass."""
    totals: dict[str, list] = {}
    for sample in samples:
        for name in MAPS:
            values = sample[name].double().flatten(1)
            row = totals.setdefault(name, [0, torch.zeros(len(values)).double(), torch.zeros(len(values)).double()])
            row[0] += values.shape[1]
            row[1] += values.sum(1)
            row[2] += values.square().sum(1)
    means = {name: total / count for name, (count, total, _) in totals.items()}
    return {
        name: (means[name].tolist(), (squares / count - means[name] ** 2).clamp_min(0).sqrt().tolist())
        for name, (count, _, squares) in totals.items()
    }


if __name__ == "__main__":
    import sys

    from eva_helpers.folders import main

    sys.exit(main())
