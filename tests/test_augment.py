import subprocess
import sys
import warnings

import numpy as np
import pytest

from eva_helpers.data.augment import colours, crop, geometry, seeded
from eva_helpers.data.capture import CaptureDifferences, cast_shadow
from eva_helpers.data.distractors import random_colours, sway


@pytest.fixture
def maps():
    """All four maps show the same ramp, so that they agree wherever geometry is shared."""
    ramp = np.tile(np.linspace(0, 255, 80), (80, 1))
    ramp = (ramp * 0.5 + ramp.T * 0.5).astype(np.uint8)
    photo = np.repeat(ramp[..., None], 3, 2)
    values = ramp.astype(np.float32) / 255
    return {"background": photo, "image": photo.copy(), "mask": values, "depth": values.copy()}


def test_geometry_is_shared_by_the_four_maps(maps):
    pipeline = geometry()
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(30):
        out = seeded(pipeline, rng)(**maps)
        assert np.array_equal(out["background"], out["image"])
        assert np.array_equal(out["mask"], out["depth"])
        assert np.abs(out["image"][..., 0] / 255 - out["mask"]).max() < 0.03
        seen.add(out["image"].tobytes())
    assert len(seen) > 8, "draws must differ (half of them are neither mirrored nor tilted)"


def test_a_crop_is_the_same_part_of_the_four_maps(maps):
    rng = np.random.default_rng(0)
    zooms = set()
    for _ in range(30):
        out = crop(maps, 64, rng)
        assert all(value.shape[:2] == (64, 64) for value in out.values())
        assert np.array_equal(out["background"], out["image"])
        assert np.abs(out["image"][..., 0] / 255 - out["mask"]).max() < 0.03
        zoom = out["depth"][0, 0] / out["mask"][0, 0]  # the darkest corner is not cut off
        zooms.add(round(float(zoom), 3))
        grown = np.minimum(out["mask"] * zoom, 1)
        assert np.allclose(out["depth"], grown, atol=1e-5), "the inverse depth grows with the zoom"
    assert len(zooms) > 12 and min(zooms) > 0.9 and max(zooms) <= 2.3


def test_colours_change_both_photos_alike(maps):
    rng = np.random.default_rng(0)
    photos = {name: maps[name] for name in ("image", "background")}
    outs = [seeded(colours(), rng)(**photos) for _ in range(20)]
    assert all(np.array_equal(out["image"], out["background"]) for out in outs)
    assert len({out["image"].tobytes() for out in outs}) > 10


def test_random_colours_keep_the_brightness_similar():
    grey = np.full(3, 100.0)
    levels = [(random_colours(np.random.default_rng(seed)) @ grey).mean() for seed in range(200)]
    assert 60 < np.median(levels) < 130


def test_masks_stay_soft(maps):
    maps["mask"] = np.kron(np.eye(2, dtype=np.float32), np.ones((40, 40), np.float32))
    out = seeded(geometry(), np.random.default_rng(1))(**maps)["mask"]
    assert ((out > 0.05) & (out < 0.95)).any()


def test_no_albumentations_argument_is_ignored():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geometry()
        colours()
        for strength in (0.0, 0.1, 1.0, 3.0):
            CaptureDifferences(strength)


def test_strength_zero_changes_nothing(maps):
    shots = (maps["background"], maps["image"])
    out = CaptureDifferences(0)(*shots, maps["mask"], np.random.default_rng(0))
    assert np.array_equal(out[0], maps["background"]) and np.array_equal(out[1], maps["image"])


def test_strength_grows_the_difference(maps):
    def gap(strength):
        capture = CaptureDifferences(strength)
        rng = np.random.default_rng(0)
        pairs = [capture(maps["background"], maps["image"], maps["mask"], rng) for _ in range(60)]
        return np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairs])

    assert gap(0.2) < gap(1.0) < gap(2.0)


def test_the_two_shots_differ_independently(maps):
    capture = CaptureDifferences(1.0)
    rng = np.random.default_rng(0)
    background, image = capture(maps["background"], maps["image"], maps["mask"], rng)
    assert background.shape == image.shape and background.dtype == image.dtype == np.uint8
    assert not np.array_equal(background, image)


def test_same_generator_same_result(maps):
    capture = CaptureDifferences(1.0)
    first = capture(maps["background"], maps["image"], maps["mask"], np.random.default_rng(5))
    capture(maps["background"], maps["image"], maps["mask"], np.random.default_rng(6))
    again = capture(maps["background"], maps["image"], maps["mask"], np.random.default_rng(5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_shadow_darkens_beside_the_object_only():
    image = np.full((64, 64, 3), 120, np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 25:35] = 1
    for seed in range(10):
        shaded = cast_shadow(image, mask, np.random.default_rng(seed), 1.0)
        assert (shaded[mask == 1] == 120).all()
        assert (shaded <= 120).all() and shaded.min() < 115
    assert cast_shadow(image, np.zeros_like(mask), np.random.default_rng(0)) is image


def test_wind_moves_texture_a_little_and_nothing_else():
    photo = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    photo[:, :40] = 77  # the sky: nothing in it can move
    seen = [sway(photo, np.random.default_rng(seed)) for seed in range(6)]
    assert all(swayed.shape == photo.shape and swayed.dtype == np.uint8 for swayed in seen)
    assert all((swayed[:, :36] == 77).all() for swayed in seen)
    changed = [(swayed[:, 45:] != photo[:, 45:]).any(2).mean() for swayed in seen]
    assert max(changed) > 0.2 and min(changed) < 0.95  # in patches, not everywhere
    assert np.array_equal(seen[3], sway(photo, np.random.default_rng(3)))
    edge = np.zeros((100, 100, 3), np.uint8)
    edge[:, 50:] = 255
    swayed = sway(edge, np.random.default_rng(1))
    assert (swayed[:, :47] == 0).all() and (swayed[:, 53:] == 255).all()


def test_absurd_strength_is_refused():
    with pytest.raises(ValueError, match="strength"):
        CaptureDifferences(-1)


def test_importing_the_package_opens_no_connection():
    """Albumentations looks for updates when it is imported."""
    code = (
        "import os, sys, urllib.request as web; os.environ.pop('NO_ALBUMENTATIONS_UPDATE', None); "
        "web.OpenerDirector.open = lambda *a, **k: os._exit(3); import {}"
    )
    for module, status in (("eva_helpers.data.capture", 0), ("albumentations", 3)):
        run = subprocess.run([sys.executable, "-c", code.format(module)], check=False)
        assert run.returncode == status
