"""The pair check: what is wrong with two photos, and putting it right."""

import cv2
import numpy as np
import pytest

from eva_helpers import pairing


def place(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A textured photo: blobs of all sizes, as many corners as a room has."""
    rng = np.random.default_rng(seed)
    photo = np.full((height, width, 3), 110, np.uint8)
    for _ in range(160):
        corner, size = rng.integers(0, (width, height)), rng.integers(6, 60, 2)
        cv2.rectangle(photo, corner.tolist(), (corner + size).tolist(), rng.integers(40, 200, 3).tolist(), -1)
    return cv2.GaussianBlur(photo, (0, 0), 0.8)


def with_object(photo: np.ndarray) -> np.ndarray:
    image = photo.copy()
    cv2.ellipse(image, (200, 150), (45, 60), 0, 0, 360, (230, 60, 60), -1)
    return image


def moved(photo: np.ndarray, x: float = 0, y: float = 0, angle: float = 0) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    matrix[:, 2] += x, y
    return cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def test_a_good_pair_is_left_in_peace():
    for seed in range(5):
        check = pairing.check_pair(place(seed), with_object(place(seed)))
        assert check.problems == [] and "match" in check.verdict
        assert check.shift < 0.002 and check.similarity > 0.9 and check.exposure == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("x, y", [(9, 0), (-7, 7), (0, 25)])
def test_a_shift_is_measured_and_named(x, y):
    check = pairing.check_pair(moved(place(1), x, y), with_object(place(1)))
    assert check.shift == pytest.approx(np.hypot(x, y) / 320, abs=0.003)
    assert "camera moved" in check.verdict and "align" in check.verdict


def test_a_rotation_is_measured_and_named():
    check = pairing.check_pair(moved(place(2), angle=3), with_object(place(2)))
    assert abs(check.rotation) == pytest.approx(3, abs=0.4) and "camera moved" in check.verdict


@pytest.mark.parametrize("gain", [0.75, 1.25])
def test_another_exposure_is_measured_and_named(gain):
    photo = (place(3) * 0.8).astype(np.uint8)
    check = pairing.check_pair((photo / gain).clip(0, 255).astype(np.uint8), with_object(photo))
    assert check.exposure == pytest.approx(gain, abs=0.04) and ("brighter" if gain > 1 else "darker") in check.verdict


def test_another_place_is_recognised():
    for seed in range(5):
        check = pairing.check_pair(place(seed), with_object(place(seed + 50)))
        assert "another place" in check.verdict and "right background" in check.verdict and len(check.problems) == 1


def test_aligning_brings_the_background_back():
    image = with_object(place(4))
    background = (moved(place(4), 8, -6, 1.5) * 0.8).astype(np.uint8)
    back = pairing.align(background, pairing.check_pair(background, image), image)
    inner = (slice(30, -30), slice(30, 140))  # away from object and rim
    gap = [np.abs(photo[inner].astype(float) - image[inner]).mean() for photo in (background, back)]
    assert gap[1] < 0.25 * gap[0] and back.dtype == np.uint8 and back.shape == image.shape


def test_what_saturated_in_the_background_is_not_taken_for_an_object():
    photo = place(6)
    photo[:60] = 240  # a bright sky, 255 in the brighter shot
    image = with_object(photo)
    background = np.minimum(photo * 1.25, 255).astype(np.uint8)
    back = pairing.align(background, pairing.check_pair(background, image), image)
    assert background[:30].min() == 255 and np.abs(back[:30].astype(int) - image[:30]).mean() < 3
    assert np.abs(back.astype(int) - image)[with_object(photo) != photo].mean() > 20  # the object is still there


def test_where_the_background_shows_nothing_no_object_is_found():
    image = with_object(place(4))
    background = moved(place(4), 16, 0, 0.0)  # moved back, its right rim shows nothing
    back = pairing.align(background, pairing.check_pair(background, image), image)
    rims = [np.array_equal(back[:, rim], image[:, rim]) for rim in (slice(0, 13), slice(-13, None))]
    assert rims == [False, True]


@pytest.mark.parametrize("shape", [(32, 32), (33, 200), (700, 500)])
def test_any_size_and_blank_photos(shape):
    blank = np.full((*shape, 3), 128, np.uint8)
    check = pairing.check_pair(blank, blank)
    assert check.problems == [] and check.size == shape
    assert np.array_equal(pairing.align(blank, check, blank), blank)
    dark = pairing.check_pair(np.zeros((*shape, 3), np.uint8), blank)
    assert np.isfinite(dark.move).all() and np.isfinite(dark.gain).all()
