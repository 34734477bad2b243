"""Datasets: composites made on the fly from a catalogue, and folders of files as the source wrote them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset

from eva_helpers import compose
from eva_helpers.assets import Catalogue, read_background, read_cutout, resize
from eva_helpers.augment import MARGIN, CaptureDifferences, geometry, seeded
from eva_helpers.images import InputError, open_image, read_map

MAPS = ("background", "image", "mask", "depth")
PLACEMENTS = ("grounded", "random", "mixed")
SOURCE_PER_BACKGROUND = 4000  # the source: 100 cut-outs x 20 positions x {plain, flipped} for each background
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
        strength: of the capture differences between the two shots; 0 gives ideal pairs.
        empty: share of samples without any object.

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
        seed: int = 0,
    ) -> None:
        if placement not in PLACEMENTS:
            raise ValueError(f"placement is {placement!r}: expected one of {', '.join(PLACEMENTS)}.")
        if size < 32 or positions < 1:
            raise ValueError(f"size is {size} and positions {positions}: expected at least 32 pixels and one position.")
        self.catalogue, self.seed, self.positions, self.placement, self.empty = catalogue, seed, positions, placement, empty
        self.scenes, self.objects = catalogue.backgrounds(backgrounds), catalogue.objects(cutouts)
        self.canvas = math.ceil(size * MARGIN) if augment else size
        self.geometry = geometry(size) if augment else None
        self.capture = CaptureDifferences(strength)
        self._scenes, self._cutouts = {}, {}

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
            sample = seeded(self.geometry, rng)(**sample)
        sample["background"], sample["image"] = self.capture(sample["background"], sample["image"], sample["mask"], rng)
        return to_tensors(sample)

    def _make(self, index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        scene, cutout, _, flip = self.where(index)
        background, depth, ground, focal = self._scene(scene)
        if self.empty and rng.random() < self.empty:
            return {"background": background, "image": background.copy(), "mask": np.zeros_like(depth), "depth": depth.copy()}
        levels = self._cutout(cutout)
        place = self._place(rng, self.objects[cutout], levels[0][0].shape[:2], depth, ground, focal, flip)
        image, mask, new_depth = compose.paste(background, depth, *compose.level(levels, place), self.catalogue.z_near)
        return {"background": background, "image": image, "mask": mask, "depth": new_depth}

    def _place(self, rng, item, size, depth, ground, focal, flip) -> compose.Placement:
        grounded = self.placement == "grounded" or (self.placement == "mixed" and rng.random() < 0.5)
        metric = item.metres_per_pixel and item.contact and focal
        if grounded and metric:
            place = compose.place_grounded(
                rng, ground, depth, size, item.contact, item.metres_per_pixel, focal, self.catalogue.z_near, flip
            )
            if place:
                return place
        return compose.place_random(rng, depth, size, item.metres_per_pixel, focal, self.catalogue.z_near, flip)

    def _scene(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float | None]:
        if number not in self._scenes:
            scene = self.scenes[number]
            background, depth, ground, focal = read_background(self.catalogue, scene, self.canvas)
            self._scenes[number] = background, depth, np.flatnonzero(ground), focal
        return self._scenes[number]

    def _cutout(self, number: int) -> list[tuple[np.ndarray, np.ndarray]]:
        if number not in self._cutouts:
            self._cutouts[number] = compose.pyramid(*read_cutout(self.catalogue, self.objects[number]))
        return self._cutouts[number]


class FolderDataset(Dataset):
    """Composites stored as files, in the source's folders and names.

    `fg_bg/fg_bg_N.jpg`, `fg_bg_mask/fg_bg_mask_N.jpg`, `depthmap/depth_N.jpg` and `bg/bg_B.jpg`, where composite N (from 1) belongs
    to background B = ceil(N / per_background). JPEG or PNG. Depth maps are read with the source's polarity, near dark and far
    bright, and inverted to the contract's near = 1; pass `near_is_dark=False` for files that are the other way round.

    Raises:
        InputError: a folder or a composite's partner is missing; the file is named.
    """

    def __init__(
        self, folder: str | os.PathLike, *, size: int = 64, per_background: int = SOURCE_PER_BACKGROUND, near_is_dark: bool = True
    ) -> None:
        self.folder, self.size, self.near_is_dark = Path(folder), size, near_is_dark
        self.polarity = "near dark, far bright (inverted on reading)" if near_is_dark else "near bright, far dark"
        images, masks = _numbered(self.folder / "fg_bg", "fg_bg"), _numbered(self.folder / "fg_bg_mask", "fg_bg_mask")
        depths, backgrounds = _numbered(self.folder / "depthmap", "depth"), _numbered(self.folder / "bg", "bg")
        self.background_of = {number: math.ceil(number / per_background) for number in images}
        self.items = []
        for number, image in sorted(images.items()):
            background = self.background_of[number]
            for name, have, key in (("fg_bg_mask", masks, number), ("depthmap", depths, number), ("bg", backgrounds, background)):
                if key not in have:
                    raise InputError(f"{self.folder / name} has no file number {key}, which {image} needs: add it or remove the composite.")
            self.items.append((number, (backgrounds[background], image, masks[number], depths[number])))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        _, paths = self.items[index]
        background, image = (self._photo(path) for path in paths[:2])
        mask, depth = (self._map(path) for path in paths[2:])
        return to_tensors({"background": background, "image": image, "mask": mask, "depth": 1.0 - depth if self.near_is_dark else depth})

    def split(self, validation: float = 0.2, seed: int = 0) -> tuple[Subset, Subset]:
        """Training and validation subsets that share no background: composites of one background never part."""
        backgrounds = sorted(set(self.background_of.values()))
        held = set(np.random.default_rng(seed).permutation(backgrounds)[: max(1, round(validation * len(backgrounds)))].tolist())
        if len(backgrounds) < 2:
            raise InputError(f"{self.folder} has one background only: a split that does not leak needs at least two.")
        inside = [index for index, (number, _) in enumerate(self.items) if self.background_of[number] in held]
        outside = [index for index, (number, _) in enumerate(self.items) if self.background_of[number] not in held]
        return Subset(self, outside), Subset(self, inside)

    def _photo(self, path: Path) -> np.ndarray:
        picture = open_image(path).convert("RGB")
        return resize(np.asarray(picture), (self.size, self.size))

    def _map(self, path: Path) -> np.ndarray:
        stored = read_map(path)
        return resize(stored.astype(np.float32) / np.iinfo(stored.dtype).max, (self.size, self.size))


def _numbered(folder: Path, stem: str) -> dict[int, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not there: expected the source's folders bg, fg_bg, fg_bg_mask and depthmap.")
    pattern = re.compile(rf"{re.escape(stem)}_(\d+)\.(jpe?g|png)", re.IGNORECASE)
    found = ((pattern.fullmatch(path.name), path) for path in folder.iterdir())
    numbered = {int(match[1]): path for match, path in found if match}
    if not numbered:
        raise InputError(f"{folder} holds no file called {stem}_1.jpg, {stem}_2.jpg ...: check that this is the right folder.")
    return numbered


def fixed_sample(dataset: Dataset, count: int, seed: int = 0) -> Subset:
    """`count` items drawn once without replacement, the same for the same seed: what evaluation and validation use."""
    order = np.random.default_rng(seed).choice(len(dataset), size=min(count, len(dataset)), replace=False)
    return Subset(dataset, np.sort(order).tolist())


def loader(
    dataset: Dataset, batch_size: int = 64, *, samples: int | None = None, shuffle: bool = False, workers: int = 0, seed: int = 0
) -> DataLoader:
    """A DataLoader; `samples` random items make an epoch (the virtual dataset is far larger than one needs), drawn from `seed`."""
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
