"""The pair check: what is wrong with two photos, and its correction."""

import cv2
import numpy as np
import pytest

from eva_helpers.predict.pairing import align_background, check_pair


def place(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A textured photo: rectangles of all sizes, with as many corners as a room."""
    rng = np.random.default_rng(seed)
    photo = np.full((height, width, 3), 110, np.uint8)
    for _ in range(160):
        corner = rng.integers(0, (width, height))
        size = rng.integers(6, 60, 2)
        colour = rng.integers(40, 200, 3).tolist()
        cv2.rectangle(photo, corner.tolist(), (corner + size).tolist(), colour, -1)
    return cv2.GaussianBlur(photo, (0, 0), 0.8)


def with_object(photo: np.ndarray) -> np.ndarray:
    image = photo.copy()
    cv2.ellipse(image, (200, 150), (45, 60), 0, 0, 360, (230, 60, 60), -1)
    return image


def moved(
    photo: np.ndarray, x: float = 0, y: float = 0, angle: float = 0, zoom: float = 1
) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    matrix[:, 2] += x, y
    return cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def test_a_good_pair_passes():
    for seed in range(5):
        check = check_pair(place(seed), with_object(place(seed)))
        assert check.problems == []
        assert check.verdict == "The two photos match."
        assert check.shift < 0.002 and check.similarity > 0.9
        assert check.gain == pytest.approx((1, 1, 1), abs=0.02)


@pytest.mark.parametrize("x, y", [(9, 0), (-7, 7), (0, 25)])
def test_a_shift_is_measured_and_named(x, y):
    check = check_pair(moved(place(1), x, y), with_object(place(1)))
    assert check.shift == pytest.approx(np.hypot(x, y) / 320, abs=0.003)
    assert "camera moved" in check.verdict and "align" in check.verdict


def test_a_shift_without_feature_points_is_measured_and_named():
    noise = np.random.default_rng(0).normal(0, 1, (240, 320, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 12)
    photo = (128 + 60 * soft / np.abs(soft).max()).astype(np.uint8)
    check = check_pair(moved(photo, 9, 0), photo)
    assert np.array_equal(check.move[:, :2], np.eye(2)), "by phase correlation: a shift only"
    assert check.shift == pytest.approx(9 / 320, abs=0.006) and "camera moved" in check.verdict


@pytest.mark.parametrize("angle", [3, -3])
def test_a_rotation_is_measured_and_named(angle):
    check = check_pair(moved(place(2), angle=angle), with_object(place(2)))
    assert check.rotation == pytest.approx(-angle, abs=0.4)  # back
    assert "camera moved" in check.verdict


@pytest.mark.parametrize("zoom", [0.88, 0.91, 0.97, 1.03, 1.09, 1.14])
def test_a_zoom_is_measured_named_and_undone(zoom):
    image = with_object(place(2))
    background = moved(place(2), 6, -5, 2, zoom)
    check = check_pair(background, image)
    assert check.zoom == pytest.approx(1 / zoom, abs=0.008)
    assert f"zoom {check.zoom:.2f}" in check.verdict and "align" in check.verdict
    change = np.abs(align_background(background, check, image).astype(int) - image)
    assert change[50:-50, 50:140].mean() < 8


def test_a_zoom_alone_is_a_problem_from_three_per_cent_on():
    image = with_object(place(2))
    assert "zoom" in check_pair(moved(place(2), zoom=1.03), image).verdict
    assert check_pair(moved(place(2), zoom=1.01), image).problems == []


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_is_named(turns):
    photo = place(2, 240, 240)
    check = check_pair(np.rot90(photo, turns).copy(), with_object(photo))
    degrees = "180" if turns == 2 else "90"
    assert f"turned by {degrees} degrees" in check.verdict and "EXIF" in check.verdict


@pytest.mark.parametrize("gain, way", [(0.75, "darker"), (1.25, "brighter")])
def test_another_exposure_is_measured_and_named(gain, way):
    photo = (place(3) * 0.8).astype(np.uint8)
    check = check_pair((photo / gain).clip(0, 255).astype(np.uint8), with_object(photo))
    assert check.gain == pytest.approx((gain, gain, gain), abs=0.04)
    assert way in check.verdict and "exposure" in check.verdict


def test_another_white_balance_is_named_by_its_worst_channel():
    photo = place(3)
    background = (photo * (1 / 0.8, 1, 1)).clip(0, 255).astype(np.uint8)
    check = check_pair(background, photo)
    assert "20% darker" in check.verdict and "white balance" in check.verdict


def test_another_place_is_recognised():
    for seed in range(5):
        check = check_pair(place(seed), with_object(place(seed + 50)))
        assert "another place" in check.verdict and "right background" in check.verdict
        assert len(check.problems) == 1


def wall(colour: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """A plain wall with shading and noise."""
    shading = np.linspace(1.05, 0.92, 240)[:, None, None] * np.linspace(0.97, 1.03, 320)[:, None]
    photo = shading * colour + np.random.default_rng(seed).normal(0, 2, (240, 320, 3))
    return photo.clip(0, 255).astype(np.uint8)


GREY, LIGHT, BLUE = (120, 120, 120), (160, 160, 160), (110, 130, 150)


@pytest.mark.parametrize("colour", [GREY, (40, 160, 60), (235, 235, 235), (20, 20, 20)])
@pytest.mark.parametrize("size", [(45, 60), (110, 100)])
def test_an_object_before_a_plain_wall_is_a_good_pair(colour, size):
    background = wall(colour)
    for shade in (5, 200, 250):
        image = wall(colour, 1)
        cv2.ellipse(image, (160, 130), size, 0, 0, 360, (shade, shade, 90), -1)
        check = check_pair(background, image)
        assert check.problems == [] and check.gain == (1, 1, 1)


@pytest.mark.parametrize("other", [LIGHT, BLUE, (60, 60, 60)])
def test_another_wall_is_another_place(other):
    assert "another place" in check_pair(wall(GREY), with_object(wall(other, 1))).verdict


def test_a_wall_and_a_textured_place_are_different_places():
    for pair in ((wall(GREY), with_object(place(0))), (place(0), with_object(wall(GREY)))):
        assert "another place" in check_pair(*pair).verdict


def test_a_wall_exposed_differently_is_the_same_place():
    check = check_pair(wall(GREY), with_object(wall((98, 98, 98), 1)))
    assert "18% darker" in check.verdict and "another place" not in check.verdict


@pytest.mark.parametrize("edge", [106, 213])  # a third and two thirds of the frame
def test_a_large_object_takes_no_part_in_the_alignment(edge):
    image = place(5)
    image[:, :edge] = 255 - place(60)[:, :edge] // 3
    good = check_pair(place(5), image)
    assert good.problems == [] and good.gain == pytest.approx((1, 1, 1), abs=0.02)
    background = (moved(place(5), 8, 4) * 0.8).astype(np.uint8)
    check = check_pair(background, image)
    assert check.gain == pytest.approx((1.25, 1.25, 1.25), abs=0.05)
    assert check.shift == pytest.approx(np.hypot(8, 4) / 320, abs=0.003)


def test_alignment_leaves_another_place_alone():
    background, image = place(7), with_object(place(57))
    back = align_background(background, check_pair(background, image), image)
    assert np.array_equal(back, background)


def test_alignment_restores_the_background():
    image = with_object(place(4))
    background = (moved(place(4), 8, -6, 1.5) * 0.8).astype(np.uint8)
    back = align_background(background, check_pair(background, image), image)
    inner = (slice(30, -30), slice(30, 140))  # away from the object and the edge
    before, after = (
        np.abs(photo[inner] - image[inner].astype(float)).mean() for photo in (background, back)
    )
    assert after < 0.25 * before
    assert back.dtype == np.uint8 and back.shape == image.shape


def test_what_is_saturated_in_the_background_is_not_taken_for_an_object():
    photo = place(6)
    photo[:60] = 240  # a bright sky, 255 in the brighter shot
    image = with_object(photo)
    background = np.minimum(photo * 1.25, 255).astype(np.uint8)
    back = align_background(background, check_pair(background, image), image)
    change = np.abs(back.astype(int) - image)
    assert background[:30].min() == 255 and change[:30].mean() < 3
    assert change[image != photo].mean() > 20, "the object is still there"


def test_where_the_background_shows_nothing_no_object_is_found():
    image = with_object(place(4))
    background = moved(place(4), 16)  # moved back, it has nothing to show at the right edge
    back = align_background(background, check_pair(background, image), image)
    assert np.array_equal(back[:, -13:], image[:, -13:])
    assert not np.array_equal(back[:, :13], image[:, :13])


@pytest.mark.parametrize("shape", [(32, 32), (33, 200), (700, 500)])
def test_any_size_and_blank_photos(shape):
    blank = np.full((*shape, 3), 128, np.uint8)
    check = check_pair(blank, blank)
    assert check.problems == [] and check.size == shape
    assert np.array_equal(align_background(blank, check, blank), blank)
    dark = check_pair(np.zeros_like(blank), blank)
    assert np.isfinite(dark.move).all() and np.isfinite(dark.gain).all()


def test_the_kinds_of_the_experiment_are_pairs_and_repeat():
    from experiments.pair_kinds import KINDS

    for name in ("wall, large object", "rectangles, zoom", "wrong: another wall"):
        kind, _ = KINDS[name]
        background, image, mask = kind(np.random.default_rng(3))
        assert background.shape == image.shape == (*mask.shape, 3)
        assert background.dtype == image.dtype == np.uint8 and 0.02 < mask.mean() < 0.7
        assert np.array_equal(image, kind(np.random.default_rng(3))[1])
