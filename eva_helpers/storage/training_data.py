"""Composites of a folder as training data: a split without leak, augmentation."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from torch.utils.data import Dataset

from eva_helpers.data import CaptureDifferences
from eva_helpers.data.augment import geometry, seeded
from eva_helpers.data.dataset import Tensors, shoot
from eva_helpers.files import InputError
from eva_helpers.storage.folders import FolderDataset

VARIANTS = 1000  # augmented samples of each composite


@dataclass(eq=False, repr=False)
class AugmentedComposites(Dataset[Tensors]):
    """The composites `numbers` of a folder, with capture differences of `strength`.

    With `augment` there are VARIANTS of each, mirrored and rotated at random. Item i shows
    composite `numbers[i % len(numbers)]`, and depends on the options and i only.

    Raises:
        ValueError: `strength` is out of range.
    """

    composites: FolderDataset
    numbers: Sequence[int]
    _: KW_ONLY
    augment: bool = False
    strength: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.geometry = geometry()
        self.capture = CaptureDifferences(self.strength)

    def __len__(self) -> int:
        return len(self.numbers) * (VARIANTS if self.augment else 1)

    def __getitem__(self, index: int) -> Tensors:
        rng = np.random.default_rng((self.seed, index))
        number = self.numbers[index % len(self.numbers)]
        background = self.composites.photo(self.composites.items[number].background)
        sample = self.composites.arrays(number) | {"background": background}
        if self.augment:
            sample = seeded(self.geometry, rng)(**sample)
        return shoot(sample, self.capture, rng)


def split_composites(
    composites: FolderDataset, share: float = 0.2, seed: int = 0
) -> tuple[list[int], list[int]]:
    """The numbers of the composites to train on, and of those to validate with.

    About `share` of the backgrounds are held out with all their composites: neighbours of one
    background differ so little that a random split would test what was trained on.

    Raises:
        InputError: all composites have the same background.
    """
    backgrounds = sorted({item.background for item in composites.items})
    if len(backgrounds) < 2:
        raise InputError(
            f"{composites.folder} has composites of one background only: expected at least two, "
            "so that a network is validated on one that it has not seen; add more backgrounds."
        )
    count = min(len(backgrounds) - 1, max(1, round(share * len(backgrounds))))
    chosen = np.random.default_rng(seed).choice(len(backgrounds), count, replace=False)
    held_out = {backgrounds[number] for number in chosen}
    parts: tuple[list[int], list[int]] = ([], [])
    for number, item in enumerate(composites.items):
        parts[item.background in held_out].append(number)
    return parts
