"""Reading composites stored as files: the original project's layout, and manifests."""

import csv
import shutil

import cv2
import numpy as np
import pytest
from conftest import smooth
from PIL import Image

from eva_helpers.data import MAPS
from eva_helpers.files import InputError
from eva_helpers.storage import cli
from eva_helpers.storage.folders import FolderDataset


def write_original(folder, per=4, count=10, first=1, without=(), end="jpg"):
    """Composites in the original project's layout, numbered from `first`.

    The depth file of composite n is n / 16 bright everywhere, dark where near.
    """
    rng = np.random.default_rng(0)
    for name in ("bg", "fg_bg", "fg_bg_mask", "depthmap"):
        (folder / name).mkdir(parents=True)
    backgrounds = [smooth(rng, 80) for _ in range(-(-count // per))]
    for number, background in enumerate(backgrounds, first):
        Image.fromarray(background).save(folder / f"bg/bg_{number}.{end}")
    for number in sorted({*range(count)} - {*without}):
        mask = np.zeros((80, 80), np.uint8)
        top, left = rng.integers(0, 50, 2)
        mask[top : top + 25, left : left + 25] = 255
        image = np.where(
            mask[..., None] > 0, 255 - backgrounds[number // per], backgrounds[number // per]
        )
        name = number + first
        Image.fromarray(image).save(folder / f"fg_bg/fg_bg_{name}.{end}")
        Image.fromarray(mask).save(folder / f"fg_bg_mask/fg_bg_mask_{name}.jpg")
        depth = Image.fromarray(np.full((80, 80), (number + 1) * 16 % 256, np.uint8))
        depth.save(folder / f"depthmap/depth_{name}.jpg")
    return folder


@pytest.fixture
def original(tmp_path):
    """Ten composites, four to a background."""
    return write_original(tmp_path)


def test_files_are_matched_by_their_numbers(original):
    composites = FolderDataset(original, size=40, per_background=4)
    assert len(composites) == 10
    backgrounds = [composites.items[index].background.name for index in (3, 4, 9)]
    assert backgrounds == ["bg_1.jpg", "bg_2.jpg", "bg_3.jpg"]
    item = composites.items[9]
    names = [path.name for path in (item.image, item.mask, item.depth)]
    assert names == ["fg_bg_10.jpg", "fg_bg_mask_10.jpg", "depth_10.jpg"]
    assert FolderDataset(original, size=40).items == composites.items


def backgrounds_of(composites, first):
    """Number of the background by number of the composite, both from 0."""
    numbers = [
        [int(path.stem.split("_")[-1]) - first for path in item[:2]] for item in composites.items
    ]
    return {image: background for background, image in numbers}


@pytest.mark.parametrize(
    "per, count, first, without",
    [
        (4, 12, 0, ()),
        (4, 9, 0, ()),
        (4, 9, 1, (1, 2, 3, 8)),
        (4, 12, 0, (0, 4)),
        (1, 5, 1, ()),
        (7, 20, 1, range(2, 9)),
        (10, 10, 1, ()),
        (10, 10, 0, (0,)),
        (5, 30, 0, (4, 5, 14, 15, 24, 25)),
    ],
)
def test_the_composites_of_a_background_are_inferred(tmp_path, per, count, first, without):
    folder = write_original(tmp_path / "files", per, count, first, without)
    composites = FolderDataset(folder, size=40)
    expected = {number: number // per for number in {*range(count)} - {*without}}
    assert backgrounds_of(composites, first) == expected
    assert "inferred" in composites.found
    assert FolderDataset(folder, per_background=per).items == composites.items


def test_a_part_of_the_backgrounds_may_be_used(tmp_path):
    folder = write_original(tmp_path / "files", 4, 12, 0)
    for number in (9, 10, 11):
        for path in folder.glob(f"*/*_{number}.jpg"):
            path.unlink()
    assert backgrounds_of(FolderDataset(folder), 0) == {number: number // 4 for number in range(9)}


def test_photos_that_do_not_agree_are_refused(original, tmp_path_factory):
    with pytest.raises(InputError, match=r"fg_bg_6\.jpg does not agree with .*bg_2\.jpg.*bg_1"):
        shutil.copy(original / "fg_bg/fg_bg_1.jpg", original / "fg_bg/fg_bg_6.jpg")
        write_manifest(original, *(line(number, 1 + (number - 1) // 4) for number in range(1, 11)))
        FolderDataset(original)
    (original / "manifest.csv").unlink()
    with pytest.raises(InputError, match="does not agree with"):
        FolderDataset(original, per_background=8)
    other = write_original(tmp_path_factory.mktemp("other") / "files", 5, 5)
    Image.fromarray(smooth(np.random.default_rng(7), 80)).save(other / "bg/bg_1.jpg")
    with pytest.raises(InputError, match=r"bg_1\.jpg outside its mask: expected the background"):
        FolderDataset(other)


@pytest.mark.parametrize("change", ["darker", "noise", "quality"])
def test_exposure_noise_and_jpeg_do_not_matter(original, change):
    rng = np.random.default_rng(1)
    for path in sorted((original / "fg_bg").iterdir()):
        image = np.asarray(Image.open(path)).astype(float)
        image = image * 0.8 if change == "darker" else image
        image = image + rng.normal(0, 20, image.shape) if change == "noise" else image
        changed = Image.fromarray(image.clip(0, 255).astype(np.uint8))
        changed.save(path, quality=25 if change == "quality" else 95)
    composites = FolderDataset(original)
    assert backgrounds_of(composites, 1) == {number: number // 4 for number in range(10)}


def test_inverted_masks_are_recognised_from_the_photos(original):
    for path in (original / "fg_bg_mask").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    composites = FolderDataset(original, size=40)
    assert "inverted" in composites.found
    assert max(float(composites[number]["mask"].mean()) for number in range(10)) < 0.15
    path = original / "fg_bg_mask/fg_bg_mask_3.jpg"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    path = original / "fg_bg_mask/fg_bg_mask_7.jpg"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(InputError, match=r"fg_bg_mask_3\.jpg is bright where"):
        FolderDataset(original)


@pytest.mark.parametrize("end", ["jfif", "JPE", "png", "webp", "bmp", "gif", "tiff", "avif"])
def test_photos_of_any_kind(tmp_path, end, monkeypatch):
    monkeypatch.setitem(Image.EXTENSION, ".JPE", "JPEG")
    composites = FolderDataset(write_original(tmp_path / "files", 2, 4, end=end), size=40)
    assert len(composites) == 4 and composites[3]["image"].shape == (3, 40, 40)


def test_photos_of_12_bits_are_scaled_alike(original):
    for path in [*original.glob("bg/*"), *original.glob("fg_bg/*")]:
        photo = np.asarray(Image.open(path)).astype(np.float32) * (4095 / 255)
        cv2.imwrite(str(path.with_suffix(".png")), photo.astype(np.uint16)[..., ::-1])
        path.unlink()
    composites = FolderDataset(original, size=40)
    sample = composites[1]
    off = (sample["image"] - sample["background"]).abs()[:, sample["mask"][0] < 0.02]
    assert composites.white == 4095 and off.mean() < 0.03 and sample["image"].max() > 0.8


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
    assert "near dark" in lines[0] and "4 composites per background" in lines[1]
    assert [line.split()[0] for line in lines[2:]] == list(MAPS)
    depth = float(lines[-1].split("[")[1].split("]")[0])
    expected = np.mean([1 - number * 16 / 255 for number in range(1, 11)])
    assert depth == pytest.approx(expected, abs=0.01)


def line(number, background):
    maps = (f"fg_bg_mask/fg_bg_mask_{number}.jpg", f"depthmap/depth_{number}.jpg")
    return (f"fg_bg/fg_bg_{number}.jpg", *maps, f"bg/bg_{background}.jpg")


LINE = line(9, 3)


def write_manifest(folder, *lines):
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "mask", "depth", "background"), *lines])


def test_a_manifest_combines_any_files(original):
    other = original / "bg" / "äußerer Weg, 1.jpg"
    (original / "bg/bg_2.jpg").rename(other)
    write_manifest(original, LINE, (*line(5, 2)[:3], f"bg/{other.name}"))
    composites = FolderDataset(original, size=40)
    backgrounds = [item.background.name for item in composites.items]
    assert backgrounds == ["bg_3.jpg", other.name]
    assert composites[1]["background"].shape == (3, 40, 40)


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/hostname", "bg/../../outside.jpg"])
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


def test_an_empty_cell_of_a_manifest_is_named(original):
    write_manifest(original, ("", *LINE[1:]))
    with pytest.raises(InputError, match="line 2: image is '': expected the name of a file"):
        FolderDataset(original)


def test_a_manifest_without_a_column_or_file_is_named(original):
    write_manifest(original, ("gone.jpg", *LINE[1:]))
    with pytest.raises(InputError, match=r"gone\.jpg"):
        FolderDataset(original)
    (original / "manifest.csv").write_text("image,mask,depth\na,b,c\n")
    with pytest.raises(InputError, match="background"):
        FolderDataset(original)
    write_manifest(original)
    with pytest.raises(InputError, match="lists no composites"):
        FolderDataset(original)


TABLE = "image,mask,depth,background\n" + ",".join(LINE) + "\n"
TABLES = {
    "UTF-8 with a mark": TABLE.encode("utf-8-sig"),
    "UTF-16": TABLE.encode("utf-16"),
    "UTF-16, other order": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "semicolons": TABLE.replace(",", ";").encode(),
    "a hint for Excel": ("sep=;\r\n" + TABLE.replace(",", ";")).encode(),
    "tabs": TABLE.replace(",", "\t").encode(),
    "blanks": TABLE.replace(",", " , ").encode(),
    "quotes": ('"' + TABLE.strip().replace(",", '", "').replace("\n", '"\n"') + '"').encode(),
    "backslashes": TABLE.replace("/", "\\").encode(),
    "case of columns": TABLE.replace("image,mask", "Image,MASK").encode(),
    "empty lines": (TABLE.replace("\n", "\r\n\r\n") + ",,,\n").encode(),
    "other columns": ("number," + TABLE.replace("fg_bg/fg_bg_9", "a1,fg_bg/fg_bg_9")).encode(),
}


@pytest.mark.parametrize("name", TABLES)
def test_manifests_of_other_programs(original, name):
    (original / "manifest.csv").write_bytes(TABLES[name])
    items = FolderDataset(original).items
    assert [path.name for path in items[0]] == [
        "bg_3.jpg",
        *(part.split("/")[1] for part in LINE[:3]),
    ]


def test_what_is_no_manifest_is_refused(original):
    for data, reason in (
        (TABLE.replace("bg_3", "bg_ä").encode("cp1252"), "UTF-8"),
        (b"image,mask,depth,background\n\0,\0", "manifest"),
        (TABLE.replace("bg/bg_3.jpg", "").encode(), "background is"),
        (b"", "no column"),
    ):
        (original / "manifest.csv").write_bytes(data)
        with pytest.raises(InputError, match=reason):
            FolderDataset(original)
