"""Masks in the encodings that programs write are read as the same coverage, or refused."""

import cv2
import numpy as np
import pytest
from conftest import smooth
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.images import read_mask

SOFT = cv2.GaussianBlur(
    cv2.ellipse(np.zeros((90, 120)), (70, 50), (30, 25), 0, 0, 360, 1, -1), (0, 0), 2
)
HARD = SOFT > 0.5
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0, 0, 0] * 251 + [224, 224, 192]


def palette(index, colours):
    picture = Image.fromarray(index.astype(np.uint8)).convert("L")
    picture.putpalette(colours)
    return picture


def labels(dtype=np.uint8, void=255):
    """0, 1 and 2 (the right half), and a border of `void`."""
    classes = HARD.astype(dtype)
    classes[:, 70:] *= 2
    classes[cv2.morphologyEx(HARD.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0] = void
    return classes


def colour(name, soft=HARD):
    return (soft[..., None] * np.array(name)).astype(np.uint8)


def with_alpha(alpha, mode="RGBA"):
    picture = Image.fromarray(smooth(np.random.default_rng(0), 120)[:90]).convert(mode)
    picture.putalpha(Image.fromarray(alpha))
    return picture


STRAIGHT = (255 * HARD).astype(np.uint8)
ENCODINGS = {
    "0 and 255": STRAIGHT,
    "0 and 1": HARD.astype(np.uint8),
    "0 and 1 in 16 bits": HARD.astype(np.uint16),
    "0 and 65535": 65535 * HARD.astype(np.uint16),
    "0 and 255 in 16 bits": 255 * HARD.astype(np.uint16),
    "soft": np.rint(255 * SOFT).astype(np.uint8),
    "soft in 16 bits": np.rint(65535 * SOFT).astype(np.uint16),
    "soft in 12 of 16 bits": np.rint(4095 * SOFT).astype(np.uint16),
    "soft as floats": SOFT.astype(np.float32),
    "floats to 255": (255 * SOFT).astype(np.float32),
    "1 bit": Image.fromarray(HARD),
    "three channels": np.dstack([STRAIGHT] * 3),
    "0 and 1 in three channels": np.dstack([HARD.astype(np.uint8)] * 3),
    "labels and void": labels(),
    "labels and void in 16 bits": labels(np.uint16, 65535),
    "labels far apart": HARD * np.where(np.arange(120) < 70, 18, 62).astype(np.uint8),
    "palette of PASCAL VOC": palette(labels(), VOC),
    "palette without colours": palette(HARD, [0] * 768),
    "palette white first": palette(~HARD, [255] * 3 + [0] * 765),
    "palette on blue": palette(HARD, [31, 119, 180, 255, 127, 14] + [0] * 762),
    "alpha": with_alpha(STRAIGHT),
    "grey and alpha": with_alpha(STRAIGHT, "L"),
    "white and opaque": Image.fromarray(STRAIGHT).convert("RGBA"),
    "half transparent": with_alpha(STRAIGHT // 2),
    "red": colour((255, 0, 0)),
    "dark blue": colour((0, 0, 128)),
    "soft green": colour((40, 220, 40), SOFT),
    "one red": colour((1, 0, 0)),
    "two colours": np.where(np.arange(120)[:, None] < 70, colour((64, 0, 0)), colour((0, 192, 0))),
    "green on white": np.where(HARD[..., None], colour((0, 160, 0)), np.uint8(255)),
    "inverted": 255 - STRAIGHT,
    "inverted 0 and 1": (~HARD).astype(np.uint8),
    "inverted soft in 16 bits": np.rint(65535 * (1 - SOFT)).astype(np.uint16),
    "inverted alpha": with_alpha(255 - STRAIGHT),
}


def save(folder, data):
    picture = data if isinstance(data, Image.Image) else Image.fromarray(data)
    path = folder / ("mask.tif" if picture.mode == "F" else "mask.png")
    picture.save(path)
    return path


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_read_as_coverage(tmp_path, name):
    mask = read_mask(save(tmp_path, ENCODINGS[name]))
    assert mask.dtype == np.float32 and 0 <= mask.min() < mask.max() <= 1
    void = (
        cv2.dilate(HARD.astype(np.uint8), np.ones((3, 3))) > 0
        if "void" in name or "VOC" in name
        else HARD
    )
    assert ((mask > 0.5) & ~void).sum() == 0 and ((mask > 0.5) & HARD).sum() > 0.85 * HARD.sum()
    if void is HARD:
        assert np.array_equal(mask > 0.5, HARD) or np.abs(mask - SOFT).max() < 0.02
    if "soft" in name:
        assert np.abs(mask - SOFT).max() < 0.02


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("name", ["0 and 255", "three channels", "red", "inverted", "soft green"])
def test_jpeg_masks_are_soft(tmp_path, name, quality):
    Image.fromarray(ENCODINGS[name]).save(tmp_path / "mask.jpg", quality=quality, subsampling=0)
    mask = read_mask(tmp_path / "mask.jpg")
    assert ((mask > 0.5) != HARD).mean() < 0.01


def test_gif_masks(tmp_path):
    for soft in (HARD, SOFT):
        Image.fromarray(np.rint(255 * soft).astype(np.uint8)).save(tmp_path / "mask.gif")
        assert np.abs(read_mask(tmp_path / "mask.gif") - soft).max() < 0.02


def test_an_empty_mask_is_empty(tmp_path):
    for dtype in (np.uint8, np.uint16):
        assert not read_mask(save(tmp_path, np.zeros((90, 120), dtype))).any()


REFUSED = {
    "everywhere": np.full((90, 120), 255, np.uint8),
    "no 0": np.where(HARD, 1, labels(np.uint8, 2) + 2).astype(np.uint8),
    "many colours": smooth(np.random.default_rng(0), 120),
    "nowhere brighter": np.rint(100 * SOFT).astype(np.uint8),
    "mostly dark": np.pad(np.zeros((80, 110), np.uint8), 5, constant_values=255),
    "not numbers": np.where(HARD, np.nan, 0).astype(np.float32),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_recognised_is_refused_with_the_reason(tmp_path, reason):
    path = save(tmp_path, REFUSED[reason])
    with pytest.raises(InputError, match=rf"mask\.(png|tif) .*{reason}.*: (expected a mask|fill)"):
        read_mask(path)


def test_a_known_polarity_is_not_guessed(tmp_path):
    path = save(tmp_path, ENCODINGS["inverted"])
    assert np.array_equal(read_mask(path, inverted=False) > 0.5, ~HARD)
    assert np.array_equal(read_mask(path, inverted=True) > 0.5, HARD)
    path = save(tmp_path, np.full((90, 120), 255, np.uint8))
    assert not read_mask(path, inverted=True).any() and read_mask(path, inverted=False).all()
