"""Composites of a folder as training data."""

import pytest
import torch
from test_folders import write_original

from eva_helpers.files import InputError
from eva_helpers.storage import AugmentedComposites, FolderDataset, split_composites


@pytest.fixture(scope="module")
def composites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composites") / "mine"
    write_original(folder, per=4, count=12)
    return FolderDataset(folder, size=32)


def backgrounds(composites, numbers):
    return {composites.items[number].background.name for number in numbers}


def test_no_background_is_in_both_parts(composites):
    train, held_out = split_composites(composites, seed=1)
    assert sorted(train + held_out) == list(range(12))
    assert len(held_out) == 4 and len(backgrounds(composites, held_out)) == 1
    assert not backgrounds(composites, train) & backgrounds(composites, held_out)
    assert split_composites(composites, seed=1) == (train, held_out)
    assert len({tuple(split_composites(composites, seed=seed)[1]) for seed in range(8)}) > 1


def test_one_background_cannot_be_split(tmp_path):
    write_original(tmp_path / "mine", per=4, count=4)
    with pytest.raises(InputError, match="at least two"):
        split_composites(FolderDataset(tmp_path / "mine"))


def test_without_augmentation_the_files_are_shown(composites):
    held_out = AugmentedComposites(composites, [3, 5])
    assert len(held_out) == 2
    for name, value in composites[5].items():
        assert torch.equal(held_out[1][name], value)


def test_augmented_variants_differ_and_are_repeatable(composites):
    train = AugmentedComposites(composites, [0, 1], augment=True, strength=1.0, seed=3)
    again = AugmentedComposites(composites, [0, 1], augment=True, strength=1.0, seed=3)
    variants = [train[2 * number]["image"] for number in range(4)]
    assert not any(torch.equal(variants[0], other) for other in variants[1:])
    assert torch.equal(again[4]["image"], variants[2])
    sample = train[1]
    assert sample["background"].shape == (3, 32, 32) and sample["depth"].shape == (1, 32, 32)
