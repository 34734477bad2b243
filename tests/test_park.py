"""The embedded park: its amount and size, a split without a leak, plausible geometry."""

import json

import cv2
import numpy as np
import pytest

from eva_helpers.catalogue.catalogue import SPLITS
from eva_helpers.catalogue.reading import read_background, read_cutout, read_pair
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import fixed_sample
from eva_helpers.paths import PARK

PAIRS = 120
BUDGET = 40 * 2**20  # bytes: the whole park, for everybody who clones


def test_there_is_enough_of_it(park):
    assert len(park.scenes) >= 300 and len({scene.scene for scene in park.scenes}) >= 150
    assert len(park.cutouts) >= 120
    assert len({cutout.info["coat"] for cutout in park.cutouts}) >= 12
    assert len({cutout.info["pose"] for cutout in park.cutouts}) >= 8
    for split in SPLITS:
        assert park.backgrounds(split) and park.objects(split)


def test_it_stays_within_its_budget():
    files = [path for path in PARK.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < BUDGET


def test_every_file_is_in_the_catalogue():
    data = json.loads((PARK / "catalogue.json").read_text(encoding="utf-8"))
    named = {
        entry[key]
        for kind in ("scenes", "cutouts", "pairs")
        for entry in data[kind]
        for key in ("image", "mask", "depth", "ground", "relief")
        if key in entry
    }
    there = {
        path.relative_to(PARK).as_posix()
        for folder in ("scenes", "dogs", "pairs")
        for path in (PARK / folder).glob("*")
    }
    assert named == there


def test_no_scene_and_no_dog_is_on_two_sides(park):
    for items, group in ((park.scenes, "scene"), (park.cutouts, "object")):
        side = {}
        for item in items:
            split = (
                "test" if item.split == "pairs" else item.split
            )  # these views are of test scenes
            assert side.setdefault(getattr(item, group), split) == split
        assert len({item.id for item in items}) == len(items)
    assert "pairs" not in {scene.split for scene in park.backgrounds()}, "no composites on those"


def test_pictures_are_pictures(park):
    for scene in park.scenes:
        background, _, ground, _ = read_background(park, scene)
        assert background.shape == (256, 256, 3) and background.std() > 20, f"{scene.id} is flat"
        assert 60 < background.mean() < 200, f"{scene.id} is too dark or too bright"
        fine = cv2.absdiff(background, cv2.GaussianBlur(background, (0, 0), 2)).mean()
        assert fine > 1, f"{scene.id} has no texture"
        assert ground.mean() > 0.03 and 100 < scene.focal < 600


def test_depth_is_that_of_a_park(park):
    """Near below, far above; walkable ground at distances where a dog can be seen."""
    for scene in park.scenes:
        _, depth, ground, _ = read_background(park, scene)
        if not scene.id.endswith("g"):  # there, something to hide behind may reach the upper rim
            assert depth[-32:].mean() > 2 * depth[:32].mean(), scene.id
        z = park.z_near / depth[ground]
        assert z.min() > 1 and z.max() < 60, scene.id


def test_depth_agrees_with_the_camera(park):
    """On open ground, distance follows from camera height and pitch.

    z = h / tan of the angle below the horizon (pinhole).
    """
    errors = []
    for scene in park.scenes:
        _, depth, ground, camera = read_background(park, scene)
        lowest = ground[-1]
        if lowest.mean() > 0.9:
            ray = np.arctan2(127.5, scene.focal)
            below = ray + abs(np.radians(scene.info["pitch"]))
            expected = camera.unit * scene.camera_height / np.sin(below) * np.cos(ray)
            errors.append(np.median(park.z_near / depth[-1][lowest]) / expected - 1)
    assert len(errors) > 10 and abs(np.median(errors)) < 0.15


@pytest.mark.parametrize("number", range(0, 120, 3))
def test_cutouts_are_furry_and_whole(park, number):
    cutout = park.cutouts[number]
    rgba, relief = read_cutout(park, cutout)
    alpha = rgba[..., 3]
    assert alpha[[0, -1]].max() == 0 and alpha[:, [0, -1]].max() == 0, "cut by its own frame"
    soft = ((alpha > 12) & (alpha < 243)).sum() / (alpha >= 243).sum()
    assert soft > 0.01, "the edge is hard"
    rows = np.flatnonzero((alpha > 127).any(1))
    assert 0.08 < (rows[-1] - rows[0]) * cutout.metres_per_pixel < 1.3
    assert np.abs(relief[alpha > 127]).max() < 1.3
    row, column = cutout.contact
    assert 0 <= row <= rgba.shape[0] and 0 <= column <= rgba.shape[1]


def test_composites_of_the_park_hold_the_contract(park):
    composites = CompositeDataset(park, size=64, augment=True, strength=1.0)
    pairs = fixed_sample(composites, 24)
    shares = []
    for number in range(len(pairs)):
        sample = pairs[number]
        assert sample["background"].shape == sample["image"].shape == (3, 64, 64)
        assert sample["mask"].shape == sample["depth"].shape == (1, 64, 64)
        shares.append(float(sample["mask"].mean()))
    assert 0.005 < np.mean(shares) < 0.5


def test_true_pairs_keep_to_one_split_and_are_exact(park):
    """The dog is in the mask, in front of what it covers.

    Outside the mask and its shadow, the depth is that of the empty view.
    """
    scenes = {scene.id: scene for scene in park.scenes}
    split_of = {cutout.object: cutout.split for cutout in park.cutouts}
    for split in ("train", "test"):
        pairs = park.true_pairs(split)
        assert len(pairs) >= PAIRS and len({pair.object for pair in pairs}) >= 6
    ratios = []
    for pair in park.pairs:
        side = scenes[pair.scene].split
        side = "test" if side == "pairs" else side  # views for true pairs are of test scenes
        assert pair.split == split_of[pair.object] == side
        sample = read_pair(park, pair)
        inside = sample["mask"] > 0.9
        outside = sample["mask"] == 0
        assert 0.002 < (sample["mask"] > 0.5).mean() < 0.5, pair.id
        before = read_background(park, scenes[pair.scene])[1]
        assert (sample["depth"][inside] > 0.9 * before[inside]).mean() > 0.95, pair.id
        assert np.abs(sample["depth"] - before)[outside].mean() < 0.03, pair.id
        changed = np.abs(sample["image"].astype(int) - sample["background"]).mean(2)
        ratios.append(changed[inside].mean() / changed[outside].mean())
    assert min(ratios) > 1.2 and np.median(ratios) > 3


def test_many_true_pairs_are_partly_hidden(park):
    assert sum(pair.info["hidden"] > 0.08 for pair in park.true_pairs("test")) >= PAIRS / 3
