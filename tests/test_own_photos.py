"""A user's own photos: names of masks and files, the second build, and duplicates."""

import csv
import io
import json
import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import cutout, picture
from PIL import Image

from eva_helpers.catalogue import build, depth_labels, opening, public_data
from eva_helpers.catalogue.build import build_catalogue
from eva_helpers.catalogue.catalogue import load_catalogue
from eva_helpers.catalogue.cli import main
from eva_helpers.catalogue.depth_labels import label_depth
from eva_helpers.catalogue.duplicates import cells_of, nearly_same
from eva_helpers.catalogue.opening import open_catalogue
from eva_helpers.catalogue.sources import photos_of_folder
from eva_helpers.files import InputError
from eva_helpers.images import read_rgb, read_rgba, write_png

OBJECT = np.zeros((64, 64), np.uint8)
OBJECT[20:40, 10:50] = 255


def built(mine, out):
    return build_catalogue(out, photos_of_folder(mine))


def reasons(out):
    table = out / "unusable.csv"
    rows = csv.DictReader(io.StringIO(table.read_text("utf-8"))) if table.exists() else []
    return {row["file"]: row["reason"] for row in rows}


def save(array, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("dog[1].jpg", "fg_mask/dog[1].png"),
        ("fg_9.jpg", "mask/fg_9.jpg"),
        ("fg_9.jpg", "masks/fg_mask_9.png"),
        ("fg_9.jpg", "fg_masks/fg_9_mask.png"),
        ("fg_9.jpg", "fg_mask/mask_0009.bmp"),
        ("fg_9.jpg", "fg/fg_9_mask.png"),
        ("Dog.JPEG", "Mask/dog.jpeg.PNG"),
        ("Hündin 犬.jpg", "fg_mask/Hündin 犬-mask.tif"),
    ],
)
def test_a_mask_is_found_by_its_name(mine, tmp_path, photo, mask):
    picture(70, 64).save(mine / "fg" / photo)
    save(OBJECT, mine / mask)
    catalogue = built(mine, tmp_path / "out")
    stored = {item.id: item.image for item in catalogue.cutouts}
    assert len(stored) == 7 and not reasons(tmp_path / "out")
    alpha = read_rgba(stored[Path(photo).stem])[..., 3]
    assert (alpha > 127).sum() == pytest.approx(800, rel=0.02) and alpha.size < 1200, "cropped"


def test_only_pictures_are_masks_and_photos(mine, tmp_path):
    picture(70, 64).save(mine / "fg/dog.jpg")
    save(OBJECT, mine / "fg_mask/dog.png")
    (mine / "fg_mask/dog.json").write_text("{}")  # as LabelMe leaves it
    for name in ("Thumbs.db", ".DS_Store", "._b0.jpg", "desktop.ini"):
        (mine / "bg" / name).write_bytes(b"x")
    (mine / "bg/notes.txt").write_text("x")
    (mine / "bg/more").mkdir()
    catalogue = built(mine, tmp_path / "out")
    assert len(catalogue.cutouts) == 7
    found = reasons(tmp_path / "out")
    assert found.keys() == {"notes.txt", "more"}
    assert "convert it" in found["notes.txt"] and "directory" in found["more"]


def test_alpha_that_hides_nothing_is_no_cutout(mine, tmp_path):
    opaque = picture(70, 64).convert("RGBA")
    opaque.save(mine / "fg/with_mask_file.png")
    opaque.save(mine / "fg/alone.png")
    soft = cv2.GaussianBlur(OBJECT / 255, (0, 0), 2) * 65535
    save(np.rint(soft).astype(np.uint16), mine / "fg_mask/with_mask_file.png")
    built(mine, tmp_path / "out")
    alpha = read_rgba(tmp_path / "out/cutouts/with_mask_file.png")[..., 3]
    assert (alpha > 127).sum() == pytest.approx(800, rel=0.03) and len(np.unique(alpha)) > 20
    assert "alone.png in the folder fg_mask" in reasons(tmp_path / "out")["alone.png"]


def test_ambiguous_masks_are_refused(mine, tmp_path):
    for number, name in enumerate(("dog.jpg", "cat_1.jpg", "fg_cat_1.jpg")):
        picture(70 + number, 64).save(mine / "fg" / name)
    for name in ("dog.png", "dog_mask.png", "mask_cat_1.png"):
        save(OBJECT, mine / "fg_mask" / name)
    save(OBJECT, mine / "bg/b0_mask.png")
    catalogue = built(mine, tmp_path / "out")
    assert len(catalogue.scenes) == len(catalogue.cutouts) == 6
    found = reasons(tmp_path / "out")
    assert "fg_mask/dog.png and fg_mask/dog_mask.png" in found["dog.jpg"]
    assert "no mask" in found["cat_1.jpg"] and "no mask" in found["fg_cat_1.jpg"]
    assert "mask of a background" in found["b0_mask.png"]


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".avif", ".mpo", ".gif", ".webp", ".BMP"])
def test_every_kind_of_picture_is_taken(mine, tmp_path, suffix):
    kinds = {".jfif": "JPEG", ".jpe": "JPEG", ".mpo": "MPO"}
    picture(9).save(mine / f"bg/new{suffix}", kinds.get(suffix))
    assert len(built(mine, tmp_path / "out").scenes) == 7 and not reasons(tmp_path / "out")


def test_two_files_of_one_stem_are_two_photos(mine, tmp_path):
    picture(9).save(mine / "bg/b0.png")
    scenes = {scene.id: scene for scene in built(mine, tmp_path / "out").scenes}
    assert len(scenes) == 7 and {"b0.jpg", "b0.png"} <= scenes.keys()
    assert np.array_equal(read_rgb(scenes["b0.png"].image), np.asarray(picture(9)))


def flat(pictures):
    """A floor: nearer from row to row."""
    return [np.linspace(0, 1, photo[..., 0].size).reshape(photo.shape[:2]) for photo in pictures]


def test_a_second_build_follows_the_source(mine, tmp_path):
    """Same name, size and time, but other contents; a corrected mask; a photo that is gone."""
    out = tmp_path / "out"
    picture(0).save(mine / "bg/b0.bmp")
    (mine / "bg/b0.jpg").unlink()
    picture(70, 64).save(mine / "fg/dog.jpg")
    save(OBJECT, mine / "fg_mask/dog.png")
    (mine / "bg/broken.jpg").write_bytes(b"x")
    built(mine, out)
    label_depth(out, flat)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    stat = (mine / "bg/b0.bmp").stat()
    picture(50).save(mine / "bg/b0.bmp")
    os.utime(mine / "bg/b0.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    save(np.roll(OBJECT, 5, 0) | OBJECT, mine / "fg_mask/dog.png")
    for name in ("bg/b5.jpg", "fg/f5.png", "bg/broken.jpg"):
        (mine / name).unlink()
    catalogue = built(mine, out)
    assert np.array_equal(read_rgb(out / "scenes/b0.png"), np.asarray(picture(50)))
    assert read_rgba(out / "cutouts/dog.png").shape == (25, 40, 4)
    assert [scene.id for scene in catalogue.scenes if not scene.depth] == ["b0"]
    assert not list(out.rglob("?5.png")) and not (out / "unusable.csv").exists()
    again = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert {path.name for path in again if again[path] != before[path]} == {"b0.png", "dog.png"}
    data = json.loads((out / "catalogue.json").read_text())
    assert data["depth_labels"] == {"model": "unknown"}, "five labels are left"


def test_another_depth_model_labels_all_again(mine, tmp_path):
    out = tmp_path / "out"
    built(mine, out)
    label_depth(out, flat)

    def near(pictures):
        return [1 - floor / 2 for floor in flat(pictures)]

    def gone(pictures):
        raise InputError("the network went away")

    near.name = gone.name = {"model": "near"}
    with pytest.raises(InputError, match="went away"):
        label_depth(out, gone)
    assert not any(scene.depth for scene in built(mine, out).scenes), "the old ones are gone"
    catalogue = label_depth(out, near)
    assert all(np.asarray(Image.open(scene.depth)).min() == 32768 for scene in catalogue.scenes)


def test_the_depth_model_is_known_before_its_labels(mine, tmp_path, monkeypatch):
    """A build takes up the labels that a killed call had not recorded: they are of that model."""
    out = tmp_path / "out"
    built(mine, out)
    written = []

    def killed(path, depth):
        written.append(write_png(path, depth))
        if len(written) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(depth_labels, "write_png", killed)
    with pytest.raises(KeyboardInterrupt):
        label_depth(out, flat)
    (out / "depth/b0.png.12.partial").write_bytes(b"half")
    (out / "scenes/b0.png.12.partial").write_bytes(b"half")
    assert all(scene.depth for scene in built(mine, out).scenes)
    assert json.loads((out / "catalogue.json").read_text())["depth_labels"] == {"model": "unknown"}
    assert not list(out.rglob("*.partial"))


def test_holes_of_a_depth_label_are_filled_and_useless_maps_are_no_labels(mine, tmp_path):
    out = tmp_path / "out"
    first, second, third, *_ = (scene.id for scene in built(mine, out).scenes)

    def estimate(pictures):
        maps = flat(pictures)
        maps[0][2:5, 3:6] = np.nan
        maps[1][:] = 0.4
        maps[2][: int(0.6 * len(maps[2]))] = np.inf
        return maps

    with pytest.warns(UserWarning, match=f"no depth label for 2 of .*: {second}, {third}"):
        catalogue = label_depth(out, estimate)
    labels = {scene.id: scene.depth for scene in catalogue.scenes}
    assert labels[second] is None and labels[third] is None
    stored = np.asarray(Image.open(labels[first])) / 65535
    whole = flat([stored[..., None]])[0]
    assert np.allclose(stored[8:], whole[8:], atol=1e-4), "what is known stays"
    assert np.abs(stored - whole).max() < 0.03, "a hole gets the depth of its border"


def test_folders_of_one_name_stay_apart(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "depth_estimator", lambda: flat)
    other = tmp_path / "elsewhere/mine"
    for name in ("bg", "fg"):
        (other / name).mkdir(parents=True)
    for number in range(4):
        picture(number + 40).save(other / f"bg/b{number}.jpg")
        cutout(number + 60).save(other / f"fg/f{number}.png")
    one, two = (open_catalogue(folder, tmp_path / "data") for folder in (mine, other))
    assert one.folder != two.folder and (len(one.scenes), len(two.scenes)) == (6, 4)
    monkeypatch.chdir(tmp_path)
    assert open_catalogue("mine", tmp_path / "data").folder == one.folder
    with pytest.raises(InputError, match=r"holds the catalogue of .*, not of .*another folder"):
        built(other, one.folder)
    assert len(load_catalogue(one.folder).scenes) == 6


def test_a_catalogue_that_was_not_made_of_photos_is_not_overwritten(mine, tiny):
    before = (tiny.folder / "catalogue.json").read_bytes()
    with pytest.raises(InputError, match="the catalogue of tiny"):
        built(mine, tiny.folder)
    assert (tiny.folder / "catalogue.json").read_bytes() == before


def test_the_output_is_tried_first(mine, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(build, "_store", lambda *_: pytest.fail("work was done"))
    assert main([str(tmp_path / "file/out"), "--folder", str(mine)]) == 2
    assert "cannot be made" in capsys.readouterr().err
    assert main([str(tmp_path / "file/out"), "--download", str(tmp_path / "data")]) == 2
    assert main([str(tmp_path / "out"), "--folder", str(mine), "--seed", "-1"]) == 2
    assert "--seed is -1" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_names_in_any_script_are_listed(mine, tmp_path):
    names = ["公园.jpg", "парк.jpg", os.fsdecode(b"caf\xe9.jpg")]
    for name in names:
        (mine / "bg" / name).write_bytes(b"x")
    built(mine, tmp_path / "out")
    assert reasons(tmp_path / "out").keys() == {*names[:2], "caf\\udce9.jpg"}


def wall(seed):
    """A plain wall with uneven light and noise."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0.8, 1.1, 60)[:, None, None] * np.linspace(0.9, 1, 80)[:, None]
    noise = rng.normal(0, 2, (60, 80, 3))
    return np.clip(rng.integers(60, 220, 3) * light + noise, 0, 255).astype(np.uint8)


def ball(seed):
    rgba = np.zeros((60, 60, 4), np.uint8)
    colour = np.random.default_rng(seed).integers(30, 220, 3).tolist()
    cv2.circle(rgba, (30, 30), 29, (*colour, 255), -1, cv2.LINE_AA)
    return rgba


def silhouette(seed):
    """Shapes of one colour."""
    rng = np.random.default_rng(seed)
    rgba = np.zeros((80, 80, 4), np.uint8)
    turns = np.linspace(0, 2 * np.pi, rng.integers(3, 9), endpoint=False) + rng.uniform(0, 6)
    reach = rng.uniform(15, 38, len(turns))
    points = 40 + np.stack([reach * np.cos(turns), reach * np.sin(turns)], 1)
    cv2.fillPoly(rgba, [points.astype(np.int32)], (180, 60, 50, 255), cv2.LINE_AA)
    return rgba


def textured(seed):
    return np.asarray(picture(seed))


def cut_out(seed):
    return np.asarray(cutout(seed))


KINDS = (wall, ball, silhouette, textured, cut_out)


@pytest.mark.parametrize("make", KINDS)
def test_different_pictures_are_no_duplicates(make):
    cells = np.stack([cells_of(make(seed)) for seed in range(100)])
    pairs = sum(nearly_same(one, cells[:place]).sum() for place, one in enumerate(cells))
    assert pairs <= 5, "of 4950: some colours drawn at random are the same"


def resized(rgb):
    return cv2.resize(rgb, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def compressed(rgb):
    file = io.BytesIO()
    kind = "WEBP" if rgb.shape[2] == 4 else "JPEG"
    Image.fromarray(rgb).save(file, kind, quality=60)
    return np.asarray(Image.open(file).convert("RGBA" if kind == "WEBP" else "RGB"))


def brightened(rgb):
    return np.dstack([np.clip(rgb[..., :3] * 1.05, 0, 255).astype(np.uint8), rgb[..., 3:]])


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("edit", [resized, compressed, brightened])
def test_copies_are_duplicates(make, edit):
    pictures = [make(seed) for seed in range(100)]
    found = [nearly_same(cells_of(edit(one)), cells_of(one)[None])[0] for one in pictures]
    assert sum(found) >= 97


def test_folders_of_a_user_are_never_removed(tmp_path):
    """A download that fails removes what it made; what a user unpacked stays."""
    (tmp_path / "images").mkdir()

    def fail(download):
        assert tarfile.TarFile.extraction_filter is tarfile.data_filter
        (tmp_path / "annotations").mkdir()
        raise OSError("the network went away")

    before = getattr(tarfile.TarFile, "extraction_filter", None)
    for _ in range(2):
        with pytest.raises(OSError, match="went away"), public_data._safe_extraction():
            public_data._complete(fail, tmp_path, ("images", "annotations"), True)
        assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert tarfile.TarFile.extraction_filter is before
