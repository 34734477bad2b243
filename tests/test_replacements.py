"""The plan of docs/albumentations.md: what torchvision has for the transforms that are used."""

import re

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from eva_helpers.data.augment import seeded
from eva_helpers.images import read_rgb
from eva_helpers.paths import ROOT

PLAN = (ROOT / "docs/albumentations.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1:4] for line in PLAN.splitlines() if re.match(r"\| `[A-Z]", line)]
NAMES = re.compile(r"`(\w+)`")
BILINEAR = v2.InterpolationMode.BILINEAR
CLOSE = 4  # grey levels
TURN = {"border_mode": cv2.BORDER_REFLECT_101, "p": 1}
KEEP = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "p": 1}
SAME = {
    "HorizontalFlip": (A.HorizontalFlip(p=1), F.horizontal_flip),
    "ColorJitter": (
        A.ColorJitter(**KEEP | {"brightness": (1.2, 1.2)}),
        lambda photo: F.adjust_brightness(photo, 1.2),
    ),
    "ColorJitter, hue": (
        A.ColorJitter(**KEEP | {"hue": (0.04, 0.04)}),
        lambda photo: F.adjust_hue(photo, 0.04),
    ),
    "RandomGamma": (A.RandomGamma((130, 130), p=1), lambda photo: F.adjust_gamma(photo, 1.3)),
    "ToGray": (A.ToGray(p=1), lambda photo: F.rgb_to_grayscale(photo, 3)),
    "GaussianBlur": (
        A.GaussianBlur(sigma_limit=(0.8, 0.8), blur_limit=0, p=1),
        lambda photo: F.gaussian_blur(photo, [7, 7], [0.8, 0.8]),
    ),
    "Rotate after padding": (
        A.Rotate((4, 4), **TURN),
        lambda photo: F.center_crop(
            F.rotate(F.pad(photo, [20, 20], padding_mode="reflect"), 4, BILINEAR), [168, 224]
        ),
    ),
    "HueSaturationValue, hue": (
        A.HueSaturationValue((12, 12), (0, 0), (0, 0), p=1),
        lambda photo: F.adjust_hue(photo, 12 / 180),
    ),
}
OTHER = {
    "Rotate": (A.Rotate((4, 4), **TURN), lambda photo: F.rotate(photo, 4, BILINEAR)),
    "HueSaturationValue": (
        A.HueSaturationValue((0, 0), (60, 60), (0, 0), p=1),
        lambda photo: F.adjust_saturation(photo, 1 + 60 / 255),
    ),
    "RandomBrightnessContrast": (
        A.RandomBrightnessContrast((0.25, 0.25), (0, 0), p=1),
        lambda photo: F.adjust_brightness(photo, 1.25),
    ),
}


@pytest.fixture(scope="module")
def photo():
    return cv2.resize(read_rgb(ROOT / "assets/pair/image.jpg"), (224, 168))


def largest_difference(photo, transform, replacement):
    ours = seeded(A.Compose([transform]), np.random.default_rng(0))(image=photo)["image"]
    theirs = replacement(torch.from_numpy(photo).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    return np.abs(ours.astype(int) - theirs).max()


@pytest.mark.parametrize("name", SAME)
def test_these_do_the_same(name, photo):
    assert largest_difference(photo, *SAME[name]) <= CLOSE


@pytest.mark.parametrize("name", OTHER)
def test_these_do_something_else(name, photo):
    assert largest_difference(photo, *OTHER[name]) > 5 * CLOSE


def test_the_plan_names_every_transform_in_use_and_functions_that_exist():
    code = (ROOT / "eva_helpers/data/augment.py", ROOT / "eva_helpers/data/capture.py")
    used = {name for path in code for name in re.findall(r"A\.(\w+)\(", path.read_text())}
    assert {name for row in ROWS for name in NAMES.findall(row[0])} == used - {"Compose"}
    for _, functions, result in ROWS:
        assert all(hasattr(F, name) for name in NAMES.findall(functions))
        assert result.strip() in ("same", "other")
    same = {name for row in ROWS if row[2].strip() == "same" for name in NAMES.findall(row[0])}
    assert same <= SAME.keys() and not same & OTHER.keys()


def test_the_classes_draw_from_the_global_generator(photo):
    before = torch.get_rng_state()
    v2.ColorJitter(0.1)(torch.from_numpy(photo).permute(2, 0, 1))
    assert not torch.equal(before, torch.get_rng_state())
