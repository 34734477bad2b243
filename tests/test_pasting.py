from pathlib import Path

import numpy as np
import pytest

from eva_helpers.catalogue import Camera, Cutout
from eva_helpers.data.distractors import random_object
from eva_helpers.data.pasting import Placement, paste, pyramid, pyramid_level, scale_cutout
from eva_helpers.data.placement import View, place_grounded, place_random


@pytest.fixture
def scene():
    background = np.full((60, 80, 3), 100, np.uint8)
    depth = np.tile(np.linspace(0.0, 0.6, 60, dtype=np.float32)[:, None], (1, 80))
    return background, depth


def square(side: int = 20, colour: int = 200) -> np.ndarray:
    rgba = np.full((side, side, 4), colour, np.uint8)
    rgba[..., 3] = 255
    return rgba


FLAT = np.zeros((20, 20), np.float32)  # the relief of a square


def place(**changes) -> Placement:
    usual = {"scale": 1.0, "top": 10, "left": 30, "flip": False, "z": 1.5, "grounded": False}
    return Placement(**(usual | changes))


def view(depth: np.ndarray, ground=(), focal: float | None = None) -> View:
    camera = Camera(focal) if focal else None
    return View(np.zeros((*depth.shape, 3), np.uint8), depth, np.array(ground, int), camera, 1.5)


def item(metres: float | None, contact: tuple[float, float] | None = None) -> Cutout:
    return Cutout("c", "c", "train", Path("c.png"), metres_per_pixel=metres, contact=contact)


def test_image_mask_and_depth_agree(scene):
    image, mask, depth = paste(*scene, square(), FLAT, place(), z_near=1.5)
    inside = np.zeros((60, 80), bool)
    inside[10:30, 30:50] = True
    assert (image[inside] == 200).all() and (image[~inside] == 100).all()
    assert np.array_equal(mask > 0.5, inside)
    assert (depth[inside] == 1).all() and np.array_equal(depth[~inside], scene[1][~inside])


def test_soft_alpha_mixes_by_hand(scene):
    cutout = square()
    cutout[..., 3] = 51  # one fifth
    image, mask, depth = paste(*scene, cutout, FLAT, place(), z_near=1.5)
    assert image[15, 35, 0] == 120  # 0.8 * 100 + 0.2 * 200
    assert mask[15, 35] == pytest.approx(0.2) and depth[15, 35] == scene[1][15, 35]


@pytest.mark.parametrize(
    "top, left", [(-10, 30), (50, 30), (10, -15), (10, 70), (-100, 0), (0, 200)]
)
def test_parts_outside_the_frame_are_cut_off(scene, top, left):
    _, mask, _ = paste(*scene, square(), FLAT, place(top=top, left=left), z_near=1.5)
    expected = np.zeros((60, 80), bool)
    expected[max(0, top) : max(0, top + 20), max(0, left) : max(0, left + 20)] = True
    assert np.array_equal(mask > 0.5, expected)


def test_flip_mirrors_colour_and_relief():
    relief = np.tile(np.arange(20, dtype=np.float32), (20, 1))
    cutout = square()
    cutout[:, :10, 0] = 0
    rgb, _, turned = scale_cutout(cutout, relief, 1.0, flip=True)
    assert rgb[0, 0, 0] == 200 and rgb[0, -1, 0] == 0
    assert turned[0, 0] == 19


def test_no_dark_fringe_from_transparent_pixels():
    cutout = square(40)
    cutout[:, 20:] = 0  # black and fully transparent
    rgb, alpha, _ = scale_cutout(cutout, np.zeros((40, 40), np.float32), 0.33, flip=False)
    edge = (alpha > 0.1) & (alpha < 0.9)
    assert edge.any()
    assert np.allclose((rgb[..., 0] / np.maximum(alpha, 1e-6))[edge], 200, atol=2)


def test_anything_closer_occludes_a_grounded_object(scene):
    background, depth = scene
    depth = depth.copy()
    depth[:, 40:] = 0.9  # a trunk at 1.67 m; the object stands at 5 m
    spot = place(z=5.0, grounded=True)
    _, mask, new_depth = paste(background, depth, square(), FLAT, spot, z_near=1.5)
    assert (mask[10:30, 40:50] == 0).all() and (mask[10:18, 30:40] == 1).all()
    assert (new_depth[:, 40:] == np.float32(0.9)).all()


def test_grounded_size_follows_the_pinhole():
    rng = np.random.default_rng(0)
    depth = np.full((60, 80), 0.3, np.float32)  # 5 m
    ground = view(depth, [50 * 80 + 40], focal=100.0)
    for flip, column in ((False, 30), (True, 70)):
        spot = place_grounded(rng, ground, item(0.01, (195, 30)), (200, 100), flip)
        assert spot.scale == pytest.approx(0.01 * 100 / 5) and spot.z == pytest.approx(5)
        assert spot.top + 195 * spot.scale == pytest.approx(50, abs=1)
        assert spot.left + column * spot.scale == pytest.approx(40, abs=1)


def test_no_ground_no_grounded_placement():
    depth = np.full((60, 80), 0.3, np.float32)
    ground = view(depth, [4040], focal=300.0)
    dog = item(0.01, (39, 9))

    def spot(ground, dog):
        return place_grounded(np.random.default_rng(0), ground, dog, (40, 20), False)

    assert spot(ground, dog)
    assert spot(view(depth, [], focal=300.0), dog) is None
    assert spot(view(depth, [4040]), dog) is None, "unknown focal length"
    assert spot(ground, item(None, (39, 9))) is None
    assert spot(ground, item(0.01)) is None
    assert spot(ground, item(10.0, (39, 9))) is None, "too large"


def test_random_objects_are_in_front_and_in_view(scene):
    background, depth = scene
    rng = np.random.default_rng(3)
    cutout = np.full((40, 30, 4), 255, np.uint8)
    relief = np.full((40, 30), 0.4, np.float32)
    for _ in range(200):
        spot = place_random(rng, view(depth, focal=60.0), item(0.01), (40, 30), False)
        _, mask, new_depth = paste(background, depth, cutout, relief, spot, 1.5)
        assert mask.max() > 0.5
        assert (new_depth[mask > 0.5] >= depth[mask > 0.5]).all()


def test_sizes_are_uniform_from_a_speck_to_nearly_the_frame():
    rng = np.random.default_rng(0)
    depth = np.full((200, 300), 0.1, np.float32)
    spots = [place_random(rng, view(depth), item(None), (60, 100), False) for _ in range(600)]
    longer = np.array([spot.scale * 100 / 200 for spot in spots])
    assert longer.min() >= 0.05 and longer.max() <= 0.8
    assert np.allclose(np.percentile(longer, (25, 50, 75)), (0.24, 0.425, 0.61), atol=0.04)


def test_grounded_sizes_are_uniform_although_most_of_the_ground_is_near():
    rng = np.random.default_rng(0)
    rows = np.linspace(0.05, 0.9, 200, dtype=np.float32)[:, None]
    depth = np.repeat(rows**0.3, 200, axis=1)  # 0.41 to 0.97: mostly near
    size = depth[:, 0] * (0.01 * 200 * 60) / (1.5 * 200)
    ground = view(depth, np.arange(200 * 200), focal=200.0)
    dog = item(0.01, (58, 20))
    spots = [place_grounded(rng, ground, dog, (60, 40), False) for _ in range(400)]
    drawn = np.array([spot.scale * 60 / 200 for spot in spots])
    assert drawn.min() >= size.min() - 1e-6 and drawn.max() <= size.max() + 1e-6
    assert np.median(size) > size.min() + 0.6 * np.ptp(size)
    middle = size.min() + 0.5 * np.ptp(size)
    assert np.median(drawn) == pytest.approx(middle, abs=0.1 * float(np.ptp(size)))


@pytest.mark.parametrize("scale", [0.9, 0.5, 0.3, 0.11])
def test_a_pyramid_level_gives_the_same_picture(scene, scale):
    y, x = np.mgrid[:120, :100] / 100
    alpha = 255 * (np.hypot(y - 0.6, x - 0.5) < 0.4)
    cutout = np.dstack([120 + 80 * np.sin(3 * x), 255 * x, 120 * y, alpha]).astype(np.uint8)
    relief = (0.2 * x - 0.1).astype(np.float32)
    spot = place(scale=scale, top=5, left=5)
    direct = paste(*scene, cutout, relief, spot, 1.5)
    level = paste(*scene, *pyramid_level(pyramid(cutout, relief), spot), 1.5)
    assert np.abs(direct[0].astype(int) - level[0]).mean() < 1.5
    assert np.abs(direct[1] - level[1]).mean() < 0.01
    assert np.abs(direct[2] - level[2]).mean() < 0.01


def test_recolouring_stays_inside_the_coverage(scene):
    cutout = square(colour=100)
    cutout[..., 3] = 51
    image, mask, _ = paste(*scene, cutout, FLAT, place(), 1.5, recolour=np.eye(3) * 100)
    assert mask[15, 35] == pytest.approx(0.2)
    assert image[15, 35, 0] == 131  # 0.8 * 100 + 0.2 * 255: white, and no more
    swapped = np.float32([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    red = square(colour=0)
    red[..., 0] = 200
    image, _, _ = paste(*scene, red, FLAT, place(), 1.5, swapped)
    assert (image[15, 35] == (0, 0, 200)).all()


def test_distractors_are_solid_and_all_different():
    texture = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    made = [random_object(np.random.default_rng(seed), texture) for seed in range(40)]
    assert len({rgba.tobytes() for rgba in made}) == 40
    for rgba in made:
        assert rgba.dtype == np.uint8 and rgba.shape[2] == 4 and rgba[..., 3].max() == 255
        assert rgba[[0, -1], :, 3].any(1).all(), "cropped to the object"
        assert rgba[:, [0, -1], 3].any(0).all(), "cropped to the object"
