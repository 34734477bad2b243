"""Uses of mask and depth: what each does to the pixels it should and should not touch."""

import cv2
import numpy as np
import pytest

from eva_helpers.files import InputError
from eva_helpers.predict import effects


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (80, 100, 3), dtype=np.uint8)
    mask = np.zeros((80, 100), np.float32)
    mask[40:70, 30:60] = 1
    depth = np.tile(np.linspace(0, 0.6, 80, dtype=np.float32)[:, None], (1, 100))
    depth[mask > 0] = 0.5
    return image, mask, depth


def sharpness(photo: np.ndarray) -> float:
    return float(np.abs(np.diff(photo.astype(float), axis=1)).mean())


def test_a_cut_out_is_the_image_with_the_mask_as_alpha(scene):
    image, mask, _ = scene
    made = effects.cut_out(image, mask)
    assert made.shape == (80, 100, 4) and made.dtype == np.uint8
    assert np.array_equal(made[..., :3], image) and np.array_equal(made[..., 3], mask * 255)


def test_another_background(scene):
    image, mask, _ = scene
    made = effects.replace_background(image, mask, np.full((40, 50, 3), 7, np.uint8))
    assert np.array_equal(made[mask == 1], image[mask == 1]) and (made[mask == 0] == 7).all()
    halves = (
        np.full_like(array, value) for array, value in ((image, 100), (mask, 0.5), (image, 200))
    )
    half = effects.replace_background(*halves)
    assert (half == 150).all()


def test_blur_grows_with_the_distance_from_the_object(scene):
    image, mask, depth = scene
    made = effects.portrait(image, mask, depth)
    assert np.array_equal(made[mask == 1], image[mask == 1]), "the object stays sharp"
    far = sharpness(made[:10])  # depth 0
    level = sharpness(made[64:69, 65:])  # as far away as the object
    assert far < 0.5 * sharpness(image) and level > 2 * far


def test_the_object_does_not_bleed(scene):
    image, mask, depth = scene
    image[:] = 60
    image[mask == 1] = 250
    assert effects.portrait(image, mask, depth)[mask == 0].max() < 90


def test_large_photos_are_blurred_as_small_ones_are(scene, monkeypatch):
    """Filling and blurring 12 megapixels took a minute."""
    image, mask, depth = (cv2.GaussianBlur(array, (0, 0), 2) for array in scene)
    large = [cv2.resize(array, (200, 160)) for array in (image, mask, depth)]
    exact = effects.portrait(*large)
    monkeypatch.setattr(effects, "BLURRED", 100)
    made = effects.portrait(*large)
    assert np.array_equal(made[large[1] == 1], large[0][large[1] == 1])
    assert np.abs(made.astype(int) - exact).mean() < 2


def test_without_an_object_the_nearest_is_sharp(scene):
    image, mask, _ = scene
    depth = np.tile(np.linspace(0, 1, 80, dtype=np.float32)[:, None], (1, 100))
    made = effects.portrait(image, np.zeros_like(mask), depth)
    assert sharpness(made[-4:]) > 2 * sharpness(made[:10])


def test_maps_of_another_size_are_refused(scene):
    image, mask, depth = scene
    with pytest.raises(InputError, match=r"map is 100x79 and the image 100x80.* same size"):
        effects.cut_out(image, mask[1:])
    with pytest.raises(InputError, match=r"map is 99x80 and the image 100x80.* same size"):
        effects.portrait(image, mask, depth[:, 1:])
    with pytest.raises(InputError, match="same size"):
        effects.replace_background(image, mask[1:], image)


def test_metres_of_another_camera():
    depth = np.array([[1.0, 0.5, 0.0]], np.float32)
    assert effects.metres(depth).tolist() == [[1.5, 3.0, np.inf]]
    twice = effects.metres(depth, focal=1.6, height=0.7)  # twice the focal length, half the height
    assert twice[0, 1] == pytest.approx(3.0)
    with pytest.raises(InputError, match="height is 0: expected above 0"):
        effects.metres(depth, height=0)


@pytest.fixture
def soft():
    """A red object with a wide soft edge before a green scene: colours, mask, mixed, scene."""
    rng = np.random.default_rng(1)
    rows, columns = np.indices((120, 160))
    mask = np.clip((40 - np.hypot(rows - 60, columns - 80)) / 12, 0, 1).astype(np.float32)
    colours = np.float32([200, 40, 30]) + rng.normal(0, 2, (120, 160, 3)).astype(np.float32)
    empty = np.float32([50, 150, 60]) + 40 * np.sin(columns / 5)[..., None].astype(np.float32)
    image = colours * mask[..., None] + empty * (1 - mask[..., None])
    return colours, mask, np.rint(image).astype(np.uint8), np.rint(empty).astype(np.uint8)


@pytest.mark.parametrize("exposure", [1.0, 0.8, None])
def test_colours_at_a_soft_edge_are_the_objects_own(soft, exposure):
    """With the empty photo, even exposed differently, and less exactly without it."""
    colours, mask, image, empty = soft
    known = None if exposure is None else np.rint(empty * exposure).astype(np.uint8)
    made = effects.foreground(image, mask, known)
    edge = (mask > 0.15) & (mask < 0.9)
    error = np.abs(made.astype(float) - colours)[edge].mean()
    mixed = np.abs(image.astype(float) - colours)[edge].mean()
    assert error < (0.5 if exposure is None else 0.1) * mixed
    assert np.array_equal(made[mask == 1], image[mask == 1])


def test_no_rim_of_the_old_background_shows(soft):
    _, mask, image, empty = soft
    white = np.full_like(image, 255)
    made = effects.replace_background(image, mask, white, empty)
    edge = (mask > 0.3) & (mask < 0.7)
    plain = image * mask[..., None] + white * (1 - mask[..., None])
    excess = (made[edge] - plain[edge]).mean(0)
    assert excess[0] > 10 and excess[1] < -5, "more red, less green"
    assert np.array_equal(effects.cut_out(image, mask, empty)[..., 3], np.rint(mask * 255))


def test_colours_without_an_object_or_of_another_size(scene):
    image, mask, _ = scene
    assert np.array_equal(effects.foreground(image, 0 * mask), image)
    with pytest.raises(InputError, match="same size"):
        effects.foreground(image, mask, image[:50])
