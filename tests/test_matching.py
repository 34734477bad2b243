"""Two photos of one scene, changed in known ways: the fit must undo the change."""

import cv2
import numpy as np
import pytest
import torch

from eva_helpers.model import match

SIZES = [(64, 64), (96, 160), (160, 96), (224, 224)]
POSES = [(1.5, 0, 0), (0, 0.02, 0), (0, 0, -0.02), (-1, 0.01, 0.01)]  # degrees, right, down


def scene(height: int, width: int) -> np.ndarray:
    """Smooth coloured structure, float32 (H, W, 3) in [0.1, 0.8]."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width, 3), np.float32)
    for side in (3, 6, 12):
        coarse = rng.random((side, side, 3), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (0.1 + 0.7 * total / 3).clip(0.1, 0.8).astype(np.float32)


def tensor(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None]


def error(background: torch.Tensor, image: torch.Tensor, inside: slice = slice(None)) -> float:
    """Mean difference, a margin of the frame left out."""
    margin = image.shape[2] // 10
    difference = (background - image)[..., margin:-margin, margin:-margin]
    return difference[..., inside].abs().mean().item()


def turned(photo: np.ndarray, degrees: float, right: float, down: float) -> np.ndarray:
    height, width = photo.shape[:2]
    move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    move[:, 2] += (right * width, down * height)
    return cv2.warpAffine(photo, move, (width, height), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("size", SIZES)
def test_a_perfect_pair_stays_as_it_is(size):
    photo = tensor(scene(*size))
    assert torch.equal(match(photo, photo), photo)


@pytest.mark.parametrize("size", SIZES)
def test_exposure_and_white_balance_are_undone(size):
    photo = scene(*size)
    mixing = np.array([[0.9, 0.05, 0.0], [0.05, 0.7, 0.05], [0.0, 0.1, 0.6]], np.float32)
    background = tensor((0.9 * photo**1.2) @ mixing)
    image = tensor(photo)
    assert error(match(background, image), image) < 0.1 * error(background, image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("degrees, right, down", POSES)
def test_camera_shake_is_undone(size, degrees, right, down):
    photo = scene(*size)
    background = tensor(turned(photo, degrees, right, down))
    image = tensor(photo)
    assert error(match(background, image), image) < 0.4 * error(background, image)


def test_a_large_object_does_not_mislead_the_fit():
    photo = scene(96, 96)
    image = photo.copy()
    image[10:86, 34:] = np.random.default_rng(1).random((76, 62, 3))  # half of the frame
    background = tensor(turned(0.7 * photo, 1.0, 0.01, 0.0))
    matched = match(background, tensor(image))
    left = slice(0, 20)
    assert error(matched, tensor(photo), left) < 0.3 * error(background, tensor(photo), left)


def test_saturated_pixels_are_not_taken_for_a_change():
    photo = scene(96, 96)
    photo[:40] = (
        0.75 + 0.2 * photo[:40]
    )  # a bright sky: white in a background of twice the exposure
    background = tensor((1.5 * photo).clip(0, 1))
    image = tensor(photo)
    assert (background[..., :40, :] == 1).float().mean() > 0.99
    assert error(match(background, image), image) < 0.1 * error(background, image)
    darker = photo.copy()
    darker[10:30, 30:60] = 0.3  # an object in front of the sky
    matched = match(background, tensor(darker))
    assert (matched - tensor(darker))[..., 12:28, 32:58].mean() > 0.2, "the object is still visible"


def test_pairs_of_a_batch_are_matched_independently():
    photo = scene(64, 64)
    backgrounds = torch.cat([tensor(photo), tensor(0.6 * photo)])
    images = torch.cat([tensor(photo)] * 2)
    together = match(backgrounds, images)
    assert torch.equal(together[0], backgrounds[0])
    assert torch.allclose(together[1:], match(backgrounds[1:], images[1:]), atol=1e-4)


def test_photos_without_structure():
    """One colour, black, white, noise: no error, and finite values in [0, 1]."""
    plain = [torch.full((1, 3, 64, 64), value) for value in (0.0, 0.5, 1.0)]
    plain.append(torch.rand(1, 3, 64, 64))
    for background in plain:
        for image in plain:
            matched = match(background, image)
            assert torch.isfinite(matched).all() and matched.min() >= 0 and matched.max() <= 1


def test_autocast_around_it_changes_nothing():
    background = tensor(0.6 * scene(64, 64))
    image = tensor(scene(64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        inside = match(background, image)
    assert torch.equal(inside, match(background, image))
