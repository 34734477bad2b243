"""Catalogues from photographs: folders of a user, fakes in the layout of the public data sets, a tiny depth model. No network."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import cutout, picture
from PIL import Image

from eva_helpers import dataset, photos, predict
from eva_helpers.assets import load_catalogue
from eva_helpers.images import InputError, read_rgb


def reasons(out):
    with (out / "unusable.csv").open(newline="") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def test_a_folder_becomes_a_catalogue_that_the_rest_understands(mine, tmp_path):
    with pytest.warns(UserWarning, match="no depth labels"):
        catalogue = photos.build(tmp_path / "out", photos.of_folder(mine))
        pairs = dataset.CompositeDataset(catalogue, size=48, augment=True, strength=1.0)
    assert len(catalogue.scenes) == len(catalogue.cutouts) == 6
    assert {scene.split for scene in catalogue.scenes} == {cut.split for cut in catalogue.cutouts} == {"train", "validation", "test"}
    sample = pairs[3]
    assert sample["image"].shape == (3, 48, 48) and sample["mask"].max() > 0.5 and sample["depth"].min() >= 0
    assert not (tmp_path / "out/unusable.csv").exists()


def test_what_is_unusable_is_listed_with_its_reason(mine, tmp_path):
    (mine / "bg/broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (mine / "bg/phone.heic").write_bytes(b"ftypheic")
    picture(0).resize((90, 90)).save(mine / "bg/twin.jpg", quality=60)
    Image.new("RGBA", (50, 50)).save(mine / "fg/empty.png")
    picture(60, 60).save(mine / "fg/opaque.jpg")
    picture(61, 60).save(mine / "fg/other_size.jpg")
    Image.new("L", (30, 60), 255).save(mine / "fg_mask/other_size.png")
    catalogue = photos.build(tmp_path / "out", photos.of_folder(mine))
    assert len(catalogue.scenes) == len(catalogue.cutouts) == 6
    found = reasons(tmp_path / "out")
    expected = {
        "broken.jpg": "picture",
        "phone.heic": "JPEG",
        "twin.jpg": "b0.jpg",
        "empty.png": "transparent",
        "opaque.jpg": "transparency",
        "other_size.jpg": "30x60",
    }
    assert found.keys() == expected.keys()
    assert all(word in found[name] for name, word in expected.items()), found


def test_a_photo_with_a_mask_is_a_cutout(mine, tmp_path):
    picture(70, 64).save(mine / "fg/photo.jpg")
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 10:50] = 255
    Image.fromarray(mask).save(mine / "fg_mask/photo.png")
    photos.build(tmp_path / "out", photos.of_folder(mine))
    stored = Image.open(tmp_path / "out/cutouts/photo.png")
    assert stored.mode == "RGBA" and stored.size == (40, 20), "cut to the object"


def test_rotated_and_huge_photos(mine, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(80, 200).crop((0, 0, 200, 100)).save(mine / "bg/turned.jpg", exif=exif)
    picture(81, 64).resize((9000, 900)).save(mine / "bg/panorama.jpg")
    photos.build(tmp_path / "out", photos.of_folder(mine))
    assert Image.open(tmp_path / "out/scenes/turned.png").size == (100, 200)
    assert Image.open(tmp_path / "out/scenes/panorama.png").size == (512, 51)


def test_too_few_and_missing_photos(tmp_path):
    with pytest.raises(InputError, match="bg"):
        photos.of_folder(tmp_path / "nowhere")
    for name in ("bg", "fg"):
        (tmp_path / name).mkdir()
    (tmp_path / "bg/a.jpg").write_bytes(b"nothing")
    cutout(1).save(tmp_path / "fg/a.png")
    with pytest.raises(InputError, match=r"only 0 usable scenes.*a\.jpg"):
        photos.build(tmp_path / "out", photos.of_folder(tmp_path))


def test_an_interrupted_build_goes_on(mine, tmp_path, monkeypatch):
    sources, out = photos.of_folder(mine), tmp_path / "out"
    real, count = photos.write_png, []

    def full(path, array):
        if len(count) == 4:
            raise InputError(f"{path} could not be written (No space left on device)")
        count.append(path)
        real(path, array)

    monkeypatch.setattr(photos, "write_png", full)
    with pytest.raises(InputError, match="No space left"):
        photos.build(out, sources)
    assert not (out / "catalogue.json").exists() and len(list(out.rglob("*.png"))) == 4
    monkeypatch.setattr(photos, "write_png", real)
    stored = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    catalogue = photos.build(out, sources)
    assert len(catalogue.scenes) == 6 and all(path.stat().st_mtime_ns == time for path, time in stored.items()), "nothing is made twice"
    assert not list(out.rglob("*.partial"))


def test_the_split_is_by_photo_and_fixed(mine, tmp_path):
    one, two = (photos.build(tmp_path / name, photos.of_folder(mine), seed=3) for name in ("a", "b"))
    assert [(scene.id, scene.split) for scene in one.scenes] == [(scene.id, scene.split) for scene in two.scenes]


def test_trimap_borders_become_soft_alpha(tmp_path):
    classes = np.full((40, 40), 2, np.uint8)
    classes[8:32, 8:32] = 3
    classes[14:26, 14:26] = 1
    Image.fromarray(classes).save(tmp_path / "t.png")
    picture(1, 40).save(tmp_path / "p.png")
    alpha = photos.from_trimap(tmp_path / "p.png", tmp_path / "t.png")[..., 3]
    assert (alpha[classes == 1] == 255).all() and (alpha[classes == 2] == 0).all()
    row = alpha[20, 7:15].astype(int)
    assert (np.diff(row) > 0).all() and 60 < row[4] < 200


@pytest.fixture
def public(tmp_path, monkeypatch):
    """Both data sets as torchvision finds them after extraction, with a dozen pictures."""
    from torchvision import datasets

    root = tmp_path / "data"
    pet = root / "oxford-iiit-pet"
    for folder in (pet / "images", pet / "annotations/trimaps", root / "places/val_256"):
        folder.mkdir(parents=True)
    lines = []
    for number in range(8):
        name, species = (f"dog_{number}", 2) if number % 4 else (f"Cat_{number}", 1)
        picture(number, 90).save(pet / f"images/{name}.jpg")
        classes = np.full((90, 90), 2, np.uint8)
        classes[20:70, 20:60], classes[25:65, 25:55] = 3, 1
        Image.fromarray(classes).save(pet / f"annotations/trimaps/{name}.png")
        lines.append(f"{name} {number % 2 + 1} {species} 1")
    (pet / "annotations/trainval.txt").write_text("\n".join(lines) + "\n")
    (root / "places/categories_places365.txt").write_text("/a/airfield 0\n/l/lawn 1\n/p/park 2\n")
    (root / "places/places365_val.txt").write_text("".join(f"Places365_val_{n:08d}.jpg {n % 3}\n" for n in range(9)))
    for number in range(9):
        picture(100 + number, 100).save(root / f"places/val_256/Places365_val_{number:08d}.jpg")
    monkeypatch.setattr(datasets.Places365, "_CATEGORIES_META", ("categories_places365.txt", None))
    monkeypatch.setattr(datasets.Places365, "_FILE_LIST_META", {"val": ("places365_val.txt", None)})
    return root


def test_dogs_and_parks_are_taken_and_nothing_else(public, tmp_path):
    sources = photos.of_datasets(public, download=False)
    assert [s.kind for s in sources].count("cutouts") == 6 and all(not s.name.startswith("Cat") for s in sources)
    assert [s.name for s in sources if s.kind == "scenes"] == [f"Places365_val_{n:08d}.jpg" for n in (1, 2, 4, 5, 7, 8)]
    catalogue = photos.build(tmp_path / "out", sources, "pets+places")
    assert "CC BY-SA" in json.loads((tmp_path / "out/catalogue.json").read_text())["licence"] and len(catalogue.cutouts) == 6


def test_a_half_extracted_archive_is_extracted_again(tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half/left.jpg").write_text("x")
    calls = []

    def make(fetch):
        calls.append(fetch)
        (tmp_path / "half").mkdir(exist_ok=True)
        return "set"

    assert photos._whole(tmp_path, ("half",), True, make) == "set" and not (tmp_path / "half/left.jpg").exists()
    photos._whole(tmp_path, ("half",), True, make)
    assert calls == [True, False], "once whole, nothing is fetched again"


def test_without_network_a_sentence_says_what_still_works(tmp_path):
    with pytest.raises(InputError, match=r"not in .*--folder.*embedded park"):
        photos.of_datasets(tmp_path, download=False)


def test_depth_labels_resume_and_stand_behind_objects(mine, tmp_path):
    out = tmp_path / "out"
    photos.build(out, photos.of_folder(mine))
    seen = []

    def floor(pictures):
        for photo in pictures:
            if len(seen) == 3:
                raise InputError("the network went away")
            seen.append(photo)
            yield np.repeat(np.linspace(0, 1, photo.shape[0])[:, None], photo.shape[1], 1)

    with pytest.raises(InputError, match="went away"):
        photos.label_depth(out, floor, batch=2)
    assert sum(scene.depth is not None for scene in load_catalogue(out).scenes) == 2, "whole batches are recorded"
    seen = [None] * 10
    catalogue = photos.label_depth(out, floor, batch=2)
    assert all(scene.depth for scene in catalogue.scenes)
    pairs = dataset.CompositeDataset(catalogue, None, None, size=48)
    for index in (0, 100, 500):
        item = pairs.composite(index)
        inside = item["mask"] > 0.9
        before = pairs.scene(pairs.where(index)[0])[1]
        assert (item["depth"][inside] >= before[inside]).all() and np.array_equal(
            item["depth"][item["mask"] == 0], before[item["mask"] == 0]
        )
    assert all(scene.depth for scene in photos.build(out, photos.of_folder(mine)).scenes), "building again keeps the labels"


def test_a_depth_model_labels_through_the_real_loading_code(tiny_model, mine, tmp_path, capsys):
    out = tmp_path / "out"
    assert photos.main([str(out), "--folder", str(mine), "--depth", "--depth-model", str(tiny_model)]) == 0
    assert "licence: yours" in capsys.readouterr().out
    catalogue = load_catalogue(out)
    data = json.loads((out / "catalogue.json").read_text())
    assert all(scene.depth for scene in catalogue.scenes) and data["depth_labels"]["model"] == str(tiny_model)
    stored = np.asarray(Image.open(catalogue.scenes[0].depth))
    assert stored.shape == (120, 120) and stored.min() == 0 and stored.max() == 65535


def test_a_teacher_labels_composites_one_by_one(tiny_model, tiny):
    layered = dataset.CompositeDataset(tiny, size=56)
    taught = dataset.CompositeDataset(tiny, size=56, teacher_on_composites=photos.estimator(tiny_model))
    one, other = layered.composite(5), taught.composite(5)
    assert np.array_equal(one["image"], other["image"]) and np.array_equal(one["mask"], other["mask"])
    assert other["depth"].shape == (56, 56) and other["depth"].min() == 0 and other["depth"].max() == 1
    assert not np.array_equal(one["depth"], other["depth"])


def test_one_name_opens_every_kind_of_catalogue(tiny, mine, tmp_path, monkeypatch, capsys):
    assert photos.open_catalogue().name == "park" and photos.open_catalogue(tiny.folder).name == "tiny"

    def gone(*_):
        raise InputError("the depth model is gone.")

    monkeypatch.setattr(photos, "estimator", gone)
    assert photos.open_catalogue(mine, tmp_path / "data").folder == tmp_path / "data" / "mine"
    assert "no depth labels: the depth model is gone." in capsys.readouterr().out
    monkeypatch.setattr(photos, "estimator", lambda: lambda pictures: (np.zeros(photo.shape[:2]) for photo in pictures))
    assert all(scene.depth for scene in photos.open_catalogue(mine, tmp_path / "data").scenes)
    with pytest.raises(InputError, match="holds no files"):
        photos.open_catalogue(tmp_path / "nothing")


def test_a_model_that_is_gone_gets_one_sentence(mine, tmp_path, capsys):
    pytest.importorskip("transformers", reason="transformers is not installed (extra `photos`)")
    assert photos.main([str(tmp_path / "out"), "--folder", str(mine), "--depth", "--depth-model", str(tmp_path / "gone")]) == 2
    error = capsys.readouterr().err
    assert "gone" in error and "could not be loaded" in error
    assert (tmp_path / "out/catalogue.json").exists(), "the photos taken in stay"


@pytest.mark.real
def test_a_users_real_folder(real, tmp_path):
    sources = photos.of_folder(real / "photo_pack")
    catalogue = photos.build(tmp_path / "out", sources)
    usable = len(catalogue.scenes) + len(catalogue.cutouts)
    left_out = len(reasons(tmp_path / "out")) if (tmp_path / "out/unusable.csv").exists() else 0
    assert usable + left_out == len(sources) and usable > 0.9 * len(sources)


def test_the_network_sees_the_depth_of_a_real_stereo_pair():
    """Disparity is inverse depth up to a factor: a real motorcycle, measured by two cameras, against the shipped network's opinion."""
    skimage = pytest.importorskip("skimage", reason="scikit-image is not installed")
    folder = Path(skimage.__file__).parent / "data"
    disparity = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    known = np.isfinite(disparity)
    photo = read_rgb(folder / "motorcycle_left.png")
    depth = predict.Predictor.load()(photo, photo).depth
    assert depth.shape == disparity.shape and known.mean() > 0.5
    assert np.corrcoef(depth[known], disparity[known])[0, 1] > 0.3  # near is large in both
    near, far = (disparity > np.percentile(disparity[known], 90)) & known, (disparity < np.percentile(disparity[known], 10)) & known
    assert np.median(depth[near]) > np.median(depth[far])
