"""Folders of composites as Hugging Face's `datasets` loads them."""

import csv

import datasets
import numpy as np
import pytest
import yaml

from eva_helpers.data import CompositeDataset
from eva_helpers.storage import FolderDataset, cli, write_composites


@pytest.fixture
def composites(tiny):
    return CompositeDataset(tiny, None, None, size=48, positions=2, seed=3)


def load(folder, cache):
    return datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(cache))


def test_the_columns_are_the_maps(composites, tmp_path):
    manifest = write_composites(composites, tmp_path / "out", 40)
    loaded = load(tmp_path / "out", tmp_path / "cache")
    assert [*loaded] == ["train"]
    rows = loaded["train"]
    ours = FolderDataset(tmp_path / "out", size=48)
    assert len(rows) == len(ours) == 40
    with open(manifest, newline="", encoding="utf-8") as file:
        origins = list(csv.DictReader(file))
    for number in (0, 17, 39):
        row, read = rows[number], ours[number]
        for photo in ("image", "background"):
            pixels = np.asarray(row[photo]).transpose(2, 0, 1)
            assert np.array_equal(pixels, (read[photo] * 255).round().byte().numpy())
        assert np.array_equal(np.asarray(row["mask"]), (read["mask"][0] * 255).round().byte())
        depth = 1 - np.asarray(row["depth"], np.float32) / 65535
        assert np.asarray(row["depth"]).dtype == np.uint16
        assert np.abs(depth - read["depth"][0].numpy()).max() < 1e-6
        for name in ("scene", "cutout", "position", "flip", "item", "seed"):
            assert str(row[name]) == origins[number][name]


def test_a_folder_alone_is_recognised(composites, tmp_path):
    """Without the name of a builder, as on the hub."""
    write_composites(composites, tmp_path / "out", 5)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {"image", "background", "mask", "depth", "scene"} <= {*loaded["train"].column_names}
    assert len(loaded["train"]) == 5


def test_folders_side_by_side_are_splits(tiny, tmp_path):
    for split in ("train", "validation", "test"):
        options = ["--catalogue", str(tiny.folder), "--split", split, "--size", "48"]
        folder = str(tmp_path / "all" / split)
        assert cli.main(["write", folder, *options, "--count", "6", "--workers", "1"]) == 0
    loaded = load(tmp_path / "all", tmp_path / "cache")
    assert {name: len(rows) for name, rows in loaded.items()} == {
        "train": 6,
        "validation": 6,
        "test": 6,
    }
    assert {row["scene"] for row in loaded["validation"]} == {"s1"}


@pytest.mark.parametrize("jpeg", [False, True])
def test_the_card_tells_units(composites, tmp_path, jpeg):
    write_composites(composites, tmp_path, 5, jpeg=jpeg)
    _, head, text = (tmp_path / "README.md").read_text(encoding="utf-8").split("---\n")
    assert yaml.safe_load(head) == {
        "pretty_name": "tiny (all)",
        "task_categories": ["image-segmentation", "depth-estimation"],
        "size_categories": ["n<1K"],
    }
    assert "5 composites of 48 x 48 px" in text and "z_near = 1.5 m" in text
    assert ("value / 255" if jpeg else "value / 65535") in text


def test_labels_without_a_scale_have_no_unit(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(type(tiny), "metric", False)
    composites = CompositeDataset(tiny, None, None, size=48)
    write_composites(composites, tmp_path, 2)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "without a unit" in text and "z_near" not in text


def test_what_the_user_edits_stays(composites, tmp_path):
    write_composites(composites, tmp_path, 5)
    for name in ("README.md", "metadata.csv"):
        (tmp_path / name).write_text("mine")
    write_composites(composites, tmp_path, 5)
    assert {(tmp_path / name).read_text() for name in ("README.md", "metadata.csv")} == {"mine"}
