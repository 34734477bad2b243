"""Reading composites stored as files: the original project's layout, and manifests."""

import csv

import numpy as np
import pytest
from conftest import smooth
from PIL import Image

from eva_helpers.data import MAPS
from eva_helpers.files import InputError
from eva_helpers.storage import cli
from eva_helpers.storage.folders import FolderDataset


@pytest.fixture
def original(tmp_path):
    """Ten composites in the original project's layout, four to a background.

    The depth file of composite n is n / 16 bright everywhere, dark where near.
    """
    rng = np.random.default_rng(0)
    for name in ("bg", "fg_bg", "fg_bg_mask", "depthmap"):
        (tmp_path / name).mkdir()
    for number in range(1, 4):
        Image.fromarray(smooth(rng, 80)).save(tmp_path / f"bg/bg_{number}.jpg")
    for number in range(1, 11):
        Image.fromarray(smooth(rng, 80)).save(tmp_path / f"fg_bg/fg_bg_{number}.jpg")
        mask = Image.fromarray(np.eye(80, dtype=np.uint8) * 255)
        mask.save(tmp_path / f"fg_bg_mask/fg_bg_mask_{number}.jpg")
        depth = Image.fromarray(np.full((80, 80), number * 16, np.uint8))
        depth.save(tmp_path / f"depthmap/depth_{number}.jpg")
    return tmp_path


def test_files_are_matched_by_their_numbers(original):
    composites = FolderDataset(original, size=40, per_background=4)
    assert len(composites) == 10
    backgrounds = [composites.items[index].background.name for index in (3, 4, 9)]
    assert backgrounds == ["bg_1.jpg", "bg_2.jpg", "bg_3.jpg"]
    item = composites.items[9]
    names = [path.name for path in (item.image, item.mask, item.depth)]
    assert names == ["fg_bg_10.jpg", "fg_bg_mask_10.jpg", "depth_10.jpg"]
    by_default = FolderDataset(original, size=40)
    assert {item.background.name for item in by_default.items} == {"bg_1.jpg"}


def test_depth_is_inverted_unless_it_is_bright_where_near(original):
    composites = FolderDataset(original, size=40, per_background=4)
    sample = composites[9]
    assert sample["image"].shape == (3, 40, 40) and sample["mask"].shape == (1, 40, 40)
    assert sample["depth"].mean().item() == pytest.approx(1 - 160 / 255, abs=0.01)
    as_stored = FolderDataset(original, size=40, per_background=4, near_is_dark=False)
    assert as_stored[9]["depth"].mean().item() == pytest.approx(160 / 255, abs=0.01)
    assert "inverted" in composites.polarity and "inverted" not in as_stored.polarity


@pytest.mark.parametrize(
    "name", ["fg_bg_mask/fg_bg_mask_7.jpg", "depthmap/depth_3.jpg", "bg/bg_2.jpg"]
)
def test_a_missing_partner_is_named(original, name):
    (original / name).unlink()
    with pytest.raises(InputError, match=name.split("/")[0] + r".*number \d"):
        FolderDataset(original, per_background=4)


def test_a_missing_or_empty_folder_is_named(original, tmp_path_factory):
    with pytest.raises(InputError, match="fg_bg"):
        FolderDataset(tmp_path_factory.mktemp("empty"))
    for path in (original / "depthmap").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"depthmap .*depth_1\.jpg"):
        FolderDataset(original)


def test_a_damaged_file_is_named_not_returned_grey(original):
    path = original / "fg_bg/fg_bg_2.jpg"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"fg_bg_2\.jpg"):
        FolderDataset(original, per_background=4)[1]


def test_statistics_of_a_folder(original, capsys):
    options = ["--per-background", "4", "--size", "40"]
    assert cli.main(["statistics", str(original), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "near dark" in lines[0] and [line.split()[0] for line in lines[1:]] == list(MAPS)
    depth = float(lines[-1].split("[")[1].split("]")[0])
    expected = np.mean([1 - number * 16 / 255 for number in range(1, 11)])
    assert depth == pytest.approx(expected, abs=0.01)


LINE = ("fg_bg/fg_bg_1.jpg", "fg_bg_mask/fg_bg_mask_1.jpg", "depthmap/depth_1.jpg", "bg/bg_3.jpg")


def write_manifest(folder, *lines):
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "mask", "depth", "background"), *lines])


def test_a_manifest_combines_any_files(original):
    other = original / "bg" / "äußerer Weg, 1.jpg"
    (original / "bg/bg_2.jpg").rename(other)
    write_manifest(original, LINE, (*LINE[:3], f"bg/{other.name}"))
    composites = FolderDataset(original, size=40)
    backgrounds = [item.background.name for item in composites.items]
    assert backgrounds == ["bg_3.jpg", other.name]
    assert composites[1]["background"].shape == (3, 40, 40)


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/hostname", "bg/../../outside.jpg", ""])
def test_a_manifest_cannot_name_files_outside(original, name):
    Image.new("RGB", (80, 80)).save(original.parent / "outside.jpg")
    write_manifest(original, (name, *LINE[1:]))
    with pytest.raises(InputError, match="outside its folder"):
        FolderDataset(original)


def test_a_link_out_of_the_folder_is_refused(original):
    Image.new("RGB", (80, 80)).save(original.parent / "outside.jpg")
    (original / "link.jpg").symlink_to(original.parent / "outside.jpg")
    write_manifest(original, ("link.jpg", *LINE[1:]))
    with pytest.raises(InputError, match="outside its folder"):
        FolderDataset(original)


def test_a_manifest_without_a_column_or_file_is_named(original):
    write_manifest(original, ("gone.jpg", *LINE[1:]))
    with pytest.raises(InputError, match=r"gone\.jpg"):
        FolderDataset(original)
    (original / "manifest.csv").write_text("image,mask,depth\na,b,c\n")
    with pytest.raises(InputError, match="background"):
        FolderDataset(original)
