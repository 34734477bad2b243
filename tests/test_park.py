"""The embedded park: enough of it, split without a leak, geometry that makes sense, within its budget."""

import json

import cv2
import numpy as np
import pytest

from eva_helpers import assets, dataset

PAIRS = 120
BUDGET = 40 * 2**20  # bytes: the whole park, for everybody who clones


def test_there_is_enough_of_it(park):
    assert len(park.scenes) >= 300 and len({scene.scene for scene in park.scenes}) >= 150 and len(park.cutouts) >= 120
    assert len({cutout.info["coat"] for cutout in park.cutouts}) >= 12
    assert len({cutout.info["pose"] for cutout in park.cutouts}) >= 8
    for split in assets.SPLITS:
        assert park.backgrounds(split) and park.objects(split)


def test_it_stays_within_its_budget():
    files = [path for path in assets.PARK.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < BUDGET


def test_every_file_is_in_the_catalogue():
    data = json.loads((assets.PARK / "catalogue.json").read_text())
    named = {
        entry[key]
        for kind in ("scenes", "cutouts", "pairs")
        for entry in data.get(kind, ())
        for key in ("image", "mask", "depth", "ground", "relief")
        if key in entry
    }
    there = {
        path.relative_to(assets.PARK).as_posix() for folder in ("scenes", "dogs", "pairs") for path in (assets.PARK / folder).glob("*")
    }
    assert named == there


def test_no_scene_and_no_dog_is_on_two_sides(park):
    for items, group in ((park.scenes, "scene"), (park.cutouts, "object")):
        side = {}
        for item in items:
            split = "test" if item.split == "pairs" else item.split  # views for true pairs are of test scenes
            assert side.setdefault(getattr(item, group), split) == split
        assert len({item.id for item in items}) == len(items)
    assert not [scene for scene in park.backgrounds() if scene.split == "pairs"], "no composites are made on those"


def test_pictures_are_pictures(park):
    for scene in park.scenes:
        background, _, ground, _ = assets.read_background(park, scene)
        assert background.shape == (256, 256, 3) and background.std() > 20, f"{scene.id} is flat"
        assert 60 < background.mean() < 200, f"{scene.id} is too dark or too bright"
        fine = cv2.absdiff(background, cv2.GaussianBlur(background, (0, 0), 2)).mean()
        assert fine > 1, f"{scene.id} has no texture"
        assert ground.mean() > 0.03 and 100 < scene.focal < 600


def test_depth_is_that_of_a_park(park):
    """Near below, far above; nothing nearer than a step; walkable ground at distances where a dog can be seen."""
    for scene in park.scenes:
        _, depth, ground, _ = assets.read_background(park, scene)
        covered = scene.id.endswith("g")  # there, something to hide behind may fill the picture up to its upper rim
        assert (covered or depth[-32:].mean() > 2 * depth[:32].mean()) and 0 <= depth.min() and depth.max() <= 1, scene.id
        z = park.z_near / depth[ground]
        assert z.min() > 1 and z.max() < 60, scene.id


def test_depth_agrees_with_the_camera(park):
    """On open ground, distance follows from camera height and pitch: z = h / tan of the angle below the horizon (pinhole)."""
    errors = []
    for scene in park.scenes:
        _, depth, ground, camera = assets.read_background(park, scene)
        focal = scene.focal
        pitch, rows = np.radians(scene.info["pitch"]), np.arange(256) + 0.5 - 128
        lowest = ground[-1]
        if lowest.mean() > 0.9:
            below = np.arctan2(rows[-1], focal) + abs(pitch)
            expected = camera.unit * scene.camera_height / np.sin(below) * np.cos(np.arctan2(rows[-1], focal))
            errors.append(np.median(park.z_near / depth[-1][lowest]) / expected - 1)
    assert len(errors) > 10 and abs(np.median(errors)) < 0.15


@pytest.mark.parametrize("number", range(0, 120, 3))
def test_cutouts_are_furry_and_whole(park, number):
    if number >= len(park.cutouts):
        pytest.skip(f"the park has {len(park.cutouts)} cut-outs")
    cutout = park.cutouts[number]
    rgba, relief = assets.read_cutout(park, cutout)
    alpha = rgba[..., 3]
    assert alpha[[0, -1]].max() == 0 and alpha[:, [0, -1]].max() == 0, "cut by its own frame"
    soft = ((alpha > 12) & (alpha < 243)).sum() / (alpha >= 243).sum()
    assert soft > 0.01, "the edge is hard"
    height = (np.flatnonzero((alpha > 127).any(1))[-1] - np.flatnonzero((alpha > 127).any(1))[0]) * cutout.metres_per_pixel
    assert 0.08 < height < 1.3 and np.abs(relief[alpha > 127]).max() < 1.3
    assert 0 <= cutout.contact[0] <= rgba.shape[0] and 0 <= cutout.contact[1] <= rgba.shape[1]


def test_composites_of_the_park_hold_the_contract(park):
    pairs = dataset.fixed_sample(dataset.CompositeDataset(park, size=64, augment=True, strength=1.0), 24)
    shares = []
    for number in range(len(pairs)):
        sample = pairs[number]
        assert sample["background"].shape == sample["image"].shape == (3, 64, 64)
        assert sample["mask"].shape == sample["depth"].shape == (1, 64, 64)
        assert all(0 <= value.min() and value.max() <= 1 for value in sample.values())
        shares.append(float(sample["mask"].mean()))
    assert 0.005 < np.mean(shares) < 0.5


def test_true_pairs_keep_to_one_split_and_are_exact(park):
    """The dog is in the mask, in front of what it covers; outside the mask and its shadow, the depth is that of the empty view."""
    scenes, split_of = {scene.id: scene for scene in park.scenes}, {cutout.object: cutout.split for cutout in park.cutouts}
    for split in ("train", "test"):
        pairs = park.true_pairs(split)
        assert len(pairs) >= PAIRS and len({pair.object for pair in pairs}) >= 6
    ratios = []
    for pair in park.pairs:
        side = scenes[pair.scene].split
        assert pair.split == split_of[pair.object] == ("test" if side == "pairs" else side)  # views for true pairs are of test scenes
        sample = assets.read_pair(park, pair)
        inside, outside = sample["mask"] > 0.9, sample["mask"] == 0
        assert 0.002 < (sample["mask"] > 0.5).mean() < 0.5, pair.id
        before = assets.read_background(park, scenes[pair.scene])[1]
        assert (sample["depth"][inside] > 0.9 * before[inside]).mean() > 0.95, pair.id
        assert np.abs(sample["depth"] - before)[outside].mean() < 0.03, pair.id
        changed = np.abs(sample["image"].astype(int) - sample["background"]).mean(2)
        ratios.append(changed[inside].mean() / changed[outside].mean())
    assert min(ratios) > 1.2 and np.median(ratios) > 3


def test_many_true_pairs_are_partly_hidden(park):
    assert sum(pair.info["hidden"] > 0.08 for pair in park.true_pairs("test")) >= PAIRS / 3
