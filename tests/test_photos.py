"""Building catalogues from photos: a user's folder, fake public data sets, a tiny depth model.

Nothing here needs the network.
"""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import cutout, picture
from PIL import Image
from test_processes import LAUNCH
from test_writing import contents

from eva_helpers.catalogue import build, opening, public_data
from eva_helpers.catalogue.build import build_catalogue
from eva_helpers.catalogue.catalogue import SPLITS, load_catalogue
from eva_helpers.catalogue.cli import main
from eva_helpers.catalogue.depth_labels import depth_estimator, label_depth
from eva_helpers.catalogue.opening import open_catalogue
from eva_helpers.catalogue.public_data import PUBLIC, public_photos
from eva_helpers.catalogue.reading import read_background
from eva_helpers.catalogue.sources import from_trimap, photos_of_folder
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.files import InputError
from eva_helpers.images import read_rgb
from eva_helpers.paths import ROOT
from eva_helpers.predict import Predictor


def reasons(out):
    with (out / "unusable.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def test_a_folder_becomes_a_catalogue_that_the_rest_understands(mine, tmp_path):
    with pytest.warns(UserWarning, match="no depth labels"):
        catalogue = build_catalogue(tmp_path / "out", photos_of_folder(mine))
        pairs = CompositeDataset(catalogue, size=48, augment=True, strength=1.0)
    assert len(catalogue.scenes) == len(catalogue.cutouts) == 6
    for items in (catalogue.scenes, catalogue.cutouts):
        assert {item.split for item in items} == set(SPLITS)
    sample = pairs[3]
    assert sample["image"].shape == (3, 48, 48) and sample["mask"].max() > 0.5
    assert not (tmp_path / "out/unusable.csv").exists()


def test_what_is_unusable_is_listed_with_its_reason(mine, tmp_path):
    (mine / "bg/broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (mine / "bg/phone.heic").write_bytes(b"ftypheic")
    picture(0).resize((90, 90)).save(mine / "bg/twin.jpg", quality=60)
    picture(9).resize((900, 20)).save(mine / "bg/narrow.jpg")
    Image.new("RGBA", (50, 50)).save(mine / "fg/empty.png")
    picture(60, 60).save(mine / "fg/opaque.jpg")
    picture(61, 60).save(mine / "fg/other_size.jpg")
    Image.fromarray(np.eye(60, 30, dtype=np.uint8) * 255).save(mine / "fg_mask/other_size.png")
    picture(62, 60).save(mine / "fg/no_object.jpg")
    Image.new("L", (60, 60)).save(mine / "fg_mask/no_object.png")
    catalogue = build_catalogue(tmp_path / "out", photos_of_folder(mine))
    assert len(catalogue.scenes) == len(catalogue.cutouts) == 6
    found = reasons(tmp_path / "out")
    expected = {
        "broken.jpg": "picture",
        "phone.heic": "JPEG",
        "twin.jpg": "b0.jpg",
        "narrow.jpg": "512x11",
        "empty.png": "transparent",
        "opaque.jpg": "transparency",
        "other_size.jpg": "30x60",
        "no_object.jpg": "no_object.png is empty",
    }
    assert found.keys() == expected.keys()
    assert all(word in found[name] for name, word in expected.items()), found


def test_a_photo_with_a_mask_is_a_cutout(mine, tmp_path):
    picture(70, 64).save(mine / "fg/photo.jpg")
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 10:50] = 255
    Image.fromarray(mask).save(mine / "fg_mask/photo.png")
    build_catalogue(tmp_path / "out", photos_of_folder(mine))
    stored = Image.open(tmp_path / "out/cutouts/photo.png")
    assert stored.mode == "RGBA" and stored.size == (40, 20), "cropped to the object"


def test_transparency_goes_before_a_mask(mine, tmp_path):
    cutout(71).save(mine / "fg/both.png")
    Image.new("L", (80, 80), 255).save(mine / "fg_mask/both.png")
    build_catalogue(tmp_path / "out", photos_of_folder(mine))
    assert Image.open(tmp_path / "out/cutouts/both.png").size == (40, 60)


def test_rotated_and_huge_photos(mine, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(80, 200).crop((0, 0, 200, 100)).save(mine / "bg/turned.jpg", exif=exif)
    picture(81, 64).resize((9000, 900)).save(mine / "bg/panorama.jpg")
    build_catalogue(tmp_path / "out", photos_of_folder(mine))
    assert Image.open(tmp_path / "out/scenes/turned.png").size == (100, 200)
    assert Image.open(tmp_path / "out/scenes/panorama.png").size == (512, 51)


def test_too_few_and_missing_photos(tmp_path):
    with pytest.raises(InputError, match="bg"):
        photos_of_folder(tmp_path / "nowhere")
    for name in ("bg", "fg"):
        (tmp_path / name).mkdir()
    (tmp_path / "bg/a.jpg").write_bytes(b"nothing")
    cutout(1).save(tmp_path / "fg/a.png")
    with pytest.raises(InputError, match=r"usable backgrounds: 0; expected at least 3.*a\.jpg"):
        build_catalogue(tmp_path / "out", photos_of_folder(tmp_path))


def test_an_interrupted_build_goes_on(mine, tmp_path, monkeypatch):
    photos = photos_of_folder(mine)
    out = tmp_path / "out"
    real = build.write_whole
    written = []

    def full(path, data):
        if len(written) == 4:
            raise InputError(f"{path} could not be written (No space left on device)")
        written.append(path)
        real(path, data)

    monkeypatch.setattr(build, "write_whole", full)
    with pytest.raises(InputError, match="No space left"):
        build_catalogue(out, photos)
    assert not (out / "catalogue.json").exists() and len(list(out.rglob("*.png"))) == 4
    monkeypatch.setattr(build, "write_whole", real)
    stored = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    catalogue = build_catalogue(out, photos)
    assert len(catalogue.scenes) == 6
    unchanged = [path.stat().st_mtime_ns == time for path, time in stored.items()]
    assert len(unchanged) == 4 and all(unchanged), "nothing is made twice"
    assert not list(out.rglob("*.partial"))


def test_the_split_is_by_photo_and_fixed(mine, tmp_path):
    one, two, other = (
        build_catalogue(tmp_path / name, photos_of_folder(mine), seed=seed)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    splits = [[(scene.id, scene.split) for scene in made.scenes] for made in (one, two, other)]
    assert splits[0] == splits[1] != splits[2]


def test_a_catalogue_of_an_earlier_version_is_read(tmp_path):
    """As earlier versions wrote it, with and without depth labels."""
    picture(1, 40).save(tmp_path / "s.png")
    cutout(2).save(tmp_path / "c.png")
    Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(tmp_path / "d.png")
    scene = {"id": "s", "scene": "s", "image": "s.png", "split": "train"}
    data = {
        "name": "folder",
        "licence": "yours",
        "z_near": 1.0,
        "depth_encoding": {"kind": "inverse"},
        "scenes": [scene | {"depth": None}, scene | {"id": "t", "depth": "d.png"}],
        "cutouts": [{"id": "c", "object": "c", "image": "c.png", "split": "test"}],
        "depth_labels": {"model": "m", "revision": None},
    }
    (tmp_path / "catalogue.json").write_text(json.dumps(data, indent=1))
    catalogue = load_catalogue(tmp_path)
    means = [read_background(catalogue, scene)[1].mean() for scene in catalogue.scenes]
    assert means == pytest.approx([0, 1]) and catalogue.cutouts[0].split == "test"


def test_trimap_borders_become_soft_alpha(tmp_path):
    classes = np.full((40, 40), 2, np.uint8)
    classes[8:32, 8:32] = 3
    classes[14:26, 14:26] = 1
    Image.fromarray(classes).save(tmp_path / "t.png")
    picture(1, 40).save(tmp_path / "p.png")
    alpha = from_trimap(tmp_path / "p.png", tmp_path / "t.png")[..., 3]
    assert (alpha[classes == 1] == 255).all() and (alpha[classes == 2] == 0).all()
    row = alpha[20, 7:15].astype(int)
    assert (np.diff(row) > 0).all() and 60 < row[4] < 200
    Image.fromarray(np.full((40, 40), 2, np.uint8)).save(tmp_path / "t.png")
    with pytest.raises(InputError, match="marks no object"):
        from_trimap(tmp_path / "p.png", tmp_path / "t.png")


@pytest.fixture
def public(tmp_path, monkeypatch):
    """Both data sets as torchvision finds them after extraction, with a dozen pictures."""
    root = tmp_path / "data"
    pet = root / "oxford-iiit-pet"
    for folder in (pet / "images", pet / "annotations/trimaps", root / "places/val_256"):
        folder.mkdir(parents=True)
    lines = []
    for number in range(8):
        name, species = (f"dog_{number}", 2) if number % 4 else (f"Cat_{number}", 1)
        picture(number, 90).save(pet / f"images/{name}.jpg")
        classes = np.full((90, 90), 2, np.uint8)
        classes[20:70, 20:60] = 3
        classes[25:65, 25:55] = 1
        Image.fromarray(classes).save(pet / f"annotations/trimaps/{name}.png")
        lines.append(f"{name} {number % 2 + 1} {species} 1\n")
    (pet / "annotations/trainval.txt").write_text("".join(lines))
    places = root / "places"
    categories = "/a/airfield 0\n/l/lawn 1\n/p/park 2\n/p/parking_lot 3\n"
    (places / "categories_places365.txt").write_text(categories)
    names = [f"Places365_val_{number:08d}.jpg" for number in range(12)]
    rows = [f"{name} {number % 4}\n" for number, name in enumerate(names)]
    (places / "places365_val.txt").write_text("".join(rows))
    for number, name in enumerate(names):
        picture(100 + number, 100).save(places / "val_256" / name)
    intact = "torchvision.datasets.places365.check_integrity"  # the lists here are shorter
    monkeypatch.setattr(intact, lambda file, md5: Path(file).is_file())
    return root


def test_dogs_and_parks_are_taken_and_nothing_else(public, tmp_path):
    photos = public_photos(public, download=False)
    dogs = [photo.name for photo in photos if photo.kind == "cutouts"]
    assert dogs == [f"dog_{n}" for n in (1, 2, 3, 5, 6, 7)]
    parks = [photo.name for photo in photos if photo.kind == "scenes"]
    assert parks == [f"Places365_val_{n:08d}.jpg" for n in (1, 2, 5, 6, 9, 10)]
    assert photos[0].read().shape == (100, 100, 3)
    alpha = photos[-1].read()[..., 3]
    assert alpha[45, 40] == 255 and alpha[5, 5] == 0 and 0 < alpha[22, 40] < 255
    catalogue = build_catalogue(tmp_path / "out", photos, PUBLIC)
    licence = json.loads((tmp_path / "out/catalogue.json").read_text())["licence"]
    assert "CC BY-SA" in licence and len(catalogue.cutouts) == 6


def test_the_public_photos_can_be_limited(public):
    kinds = [photo.kind for photo in public_photos(public, download=False, limit=2)]
    assert kinds == ["scenes", "scenes", "cutouts", "cutouts"]


def test_a_half_extracted_archive_is_extracted_again(public, monkeypatch):
    """Pets: half extracted, so it is fetched again; Places365: complete, so it is not."""
    import torchvision

    (public / "oxford-iiit-pet/.extracting").write_text("images annotations")
    left = public / "oxford-iiit-pet/images/dog_1.jpg"
    annotations = public / "oxford-iiit-pet/annotations"
    calls = []

    def pets(root, download):
        calls.append((download, left.exists()))
        annotations.mkdir(exist_ok=True, parents=True)
        (annotations / "trainval.txt").write_text("dog_1 1 2 1\n")

    monkeypatch.setattr(torchvision.datasets, "OxfordIIITPet", pets)
    for _ in range(2):
        assert [photo.kind for photo in public_photos(public)].count("cutouts") == 1
    assert calls == [(True, False), (True, False)]
    assert (public / "places/val_256").is_dir()


def test_without_network_a_sentence_says_what_still_works(tmp_path):
    with pytest.raises(InputError, match=r"not in .*--folder.*embedded park"):
        public_photos(tmp_path, download=False)


def test_depth_labels_resume_and_stand_behind_objects(mine, tmp_path):
    out = tmp_path / "out"
    build_catalogue(out, photos_of_folder(mine))
    seen = []

    def floor(pictures):
        for photo in pictures:
            if len(seen) == 3:
                raise InputError("the network went away")
            seen.append(photo)
            yield np.repeat(np.linspace(0, 1, photo.shape[0])[:, None], photo.shape[1], 1)

    with pytest.raises(InputError, match="went away"):
        label_depth(out, floor, batch=2)
    labelled = [scene for scene in load_catalogue(out).scenes if scene.depth]
    assert len(labelled) == 2, "whole batches are recorded"
    seen = [None] * 10
    catalogue = label_depth(out, floor, batch=2)
    assert all(scene.depth for scene in catalogue.scenes)
    pairs = CompositeDataset(catalogue, None, None, size=48)
    for index in (0, 100, 500):
        item = pairs.composite(index)
        before = pairs.scene(pairs.where(index)[0])[1]
        inside = item["mask"] > 0.9
        outside = item["mask"] == 0
        assert (item["depth"][inside] >= before[inside]).all()
        assert np.array_equal(item["depth"][outside], before[outside])
    again = build_catalogue(out, photos_of_folder(mine))
    assert all(scene.depth for scene in again.scenes), "building again keeps the labels"


def test_parts_label_what_one_call_labels(mine, tmp_path):
    """In any order, whichever is missing; nothing is entered before the last call."""
    seen = []

    def floor(pictures):
        seen.extend(pictures)
        return [np.linspace(0, 1, p[..., 0].size).reshape(p.shape[:2]) for p in pictures]

    for name in ("whole", "parts"):
        build_catalogue(tmp_path / name, photos_of_folder(mine))
    label_depth(tmp_path / "whole", floor, batch=2)
    seen.clear()
    for number in (2, 0, 2):
        catalogue = label_depth(tmp_path / "parts", floor, batch=2, shard=(number, 3))
        assert not any(scene.depth for scene in catalogue.scenes)
    assert len(seen) == 4, "a repeated call labels nothing again"
    label_depth(tmp_path / "parts", floor, batch=2)
    assert len(seen) == 6
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_parts_of_another_depth_model_label_all_again(mine, tmp_path):
    def far(pictures):
        return [1 - np.linspace(0, 1, p[..., 0].size).reshape(p.shape[:2]) for p in pictures]

    def near(pictures):
        return [1 - depth / 2 for depth in far(pictures)]

    near.name = {"model": "near"}
    for name, first in (("whole", []), ("parts", [(0, 1), (0, 2)])):
        build_catalogue(tmp_path / name, photos_of_folder(mine))
        for shard in first:
            label_depth(tmp_path / name, far, shard=shard)
    for shard in ((1, 2), (0, 2), (0, 1)):
        label_depth(tmp_path / "parts", near, batch=2, shard=shard)
    label_depth(tmp_path / "whole", near, batch=2)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_label_through_the_command(tiny_model, mine, tmp_path, capsys):
    """Photos are stored by one process; both label; the last call enters the labels."""
    options = ["--folder", str(mine), "--depth", "--depth-model", str(tiny_model)]
    whole, parts = (str(tmp_path / name) for name in ("whole", "parts"))
    assert main([whole, *options]) == 0
    assert main([parts, *options, "--shard", "1/2"]) == 2
    assert "first make" in capsys.readouterr().err
    assert main([parts, *options[:2]]) == 0
    launch = [*LAUNCH, "2", "--master-port", "29518", "-m", "eva_helpers", "photos", parts]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, *options], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "part 2 of 2 is written: at the end, repeat without --shard" in done.stdout
    assert len(list((tmp_path / "parts/depth").iterdir())) == 6
    assert main([parts, *options]) == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_depth_model_labels_photos_of_different_shapes(tiny_model, tmp_path):
    """As the real one does, which keeps their proportions."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    processor |= {"keep_aspect_ratio": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    pictures = [
        np.asarray(picture(number, 112))[:height] for number, height in enumerate((112, 56))
    ]
    maps = list(depth_estimator(folder)(pictures))
    assert [depth.shape for depth in maps] == [(112, 112), (56, 112)]


def test_a_depth_model_labels_through_the_real_loading_code(tiny_model, mine, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--folder", str(mine), "--depth", "--depth-model", str(tiny_model)]
    assert main([str(out), *arguments]) == 0
    assert "licence: yours" in capsys.readouterr().out
    catalogue = load_catalogue(out)
    labels = json.loads((out / "catalogue.json").read_text())["depth_labels"]
    assert labels == {"model": str(tiny_model), "revision": None}
    assert all(scene.depth for scene in catalogue.scenes)
    stored = np.asarray(Image.open(catalogue.scenes[0].depth))
    assert stored.shape == (120, 120) and stored.min() == 0 and stored.max() == 65535


def test_an_estimator_scales_the_depth_of_each_picture(tiny_model):
    pictures = [np.asarray(picture(1, 56)), np.asarray(picture(2, 70))]
    maps = list(depth_estimator(tiny_model)(pictures))
    assert [depth.shape for depth in maps] == [(56, 56), (70, 70)]
    for depth in maps:
        assert depth.dtype == np.float32 and depth.min() == 0 and depth.max() == 1


def test_the_commit_of_a_cached_model_is_recorded(tiny_model, monkeypatch, tmp_path):
    """A model from the hub has no revision of its own in the call: the cache knows it."""
    import huggingface_hub
    import transformers

    config = tmp_path / "snapshots/abc123/config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(config))
    monkeypatch.setattr(transformers, "pipeline", lambda *_, **options: options["model"])
    assert depth_estimator("someone/model").name == {"model": "someone/model", "revision": "abc123"}
    assert depth_estimator("someone/model", "v2").name["revision"] == "v2"


def test_one_name_opens_every_kind_of_catalogue(tiny, mine, tmp_path, monkeypatch, capsys):
    assert open_catalogue().name == "park" and open_catalogue(tiny.folder).name == "tiny"

    def gone():
        raise InputError("the depth model is gone.")

    def flat():
        return lambda pictures: (photo[..., 0] / 255 for photo in pictures)

    monkeypatch.setattr(opening, "depth_estimator", gone)
    assert open_catalogue(mine, tmp_path / "data").folder.parent == tmp_path / "data"
    assert "no depth labels: the depth model is gone." in capsys.readouterr().out
    monkeypatch.setattr(opening, "depth_estimator", flat)
    assert all(scene.depth for scene in open_catalogue(mine, tmp_path / "data").scenes)
    with pytest.raises(InputError, match="holds no files"):
        open_catalogue(tmp_path / "nothing")


def test_an_unfinished_catalogue_is_named_as_such(mine, tmp_path):
    for photo in sorted((mine / "fg").iterdir())[2:]:
        photo.unlink()
    with pytest.raises(InputError, match="usable cut-outs: 2; expected at least 3"):
        build_catalogue(tmp_path / "out", photos_of_folder(mine))
    with pytest.raises(InputError, match="out is an unfinished catalogue: repeat the `eva-help"):
        open_catalogue(tmp_path / "out")
    (tmp_path / "out/fg").mkdir()  # photos under another name than bg
    with pytest.raises(InputError, match="bg holds no files"):
        open_catalogue(tmp_path / "out")


def test_missing_depth_labels_are_told_once(mine, tmp_path):
    catalogue = build_catalogue(tmp_path / "out", photos_of_folder(mine))
    with pytest.warns(UserWarning, match="6 of its backgrounds have no depth labels") as told:
        for split in (*SPLITS, None):
            CompositeDataset(catalogue, split, split, size=48)
    assert len(told) == 1 and told[0].filename == __file__


def test_the_public_catalogue_is_opened_by_its_name(public, tmp_path, monkeypatch, capsys):
    def local(root):
        assert root == tmp_path / "home" / "downloads"
        return public_data.public_photos(public, download=False)

    monkeypatch.setattr(opening, "public_photos", local)
    monkeypatch.setattr(
        opening, "depth_estimator", lambda: lambda ps: [p[..., 0] / 255 for p in ps]
    )
    catalogue = open_catalogue(PUBLIC, tmp_path / "home")
    assert catalogue.name == PUBLIC and catalogue.folder == tmp_path / "home" / PUBLIC
    assert "do not redistribute" in capsys.readouterr().out


def test_a_model_that_is_gone_gets_one_sentence(mine, tmp_path, capsys):
    pytest.importorskip("transformers", reason="needs the extra `photos`")
    arguments = ["--folder", str(mine), "--depth", "--depth-model", str(tmp_path / "gone")]
    assert main([str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert "gone" in error and "could not be loaded" in error
    assert (tmp_path / "out/catalogue.json").exists(), "the stored photos stay"


@pytest.mark.real
def test_a_users_real_folder(real, tmp_path):
    photos = photos_of_folder(real / "photo_pack")
    catalogue = build_catalogue(tmp_path / "out", photos)
    usable = len(catalogue.scenes) + len(catalogue.cutouts)
    listed = (tmp_path / "out/unusable.csv").exists()
    left_out = len(reasons(tmp_path / "out")) if listed else 0
    assert usable + left_out == len(photos) and usable > 0.9 * len(photos)


def test_the_network_sees_the_depth_of_a_real_stereo_pair():
    """Disparity is inverse depth up to a factor: a real motorcycle, measured by two cameras."""
    skimage = pytest.importorskip("skimage", reason="scikit-image is not installed")
    folder = Path(skimage.__file__).parent / "data"
    disparity = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    known = np.isfinite(disparity)
    photo = read_rgb(folder / "motorcycle_left.png")
    depth = Predictor.load()(photo, photo).depth
    assert depth.shape == disparity.shape and known.mean() > 0.5
    assert np.corrcoef(depth[known], disparity[known])[0, 1] > 0.3  # near is large in both
    tenth, ninetieth = np.percentile(disparity[known], [10, 90])
    near = known & (disparity > ninetieth)
    far = known & (disparity < tenth)
    assert np.median(depth[near]) > np.median(depth[far])
