"""Two shots that differ as sliders say: the changes, both masks, the picture, the panel."""

from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, smooth

from eva_helpers import paths, plots, tuning
from eva_helpers.evaluation import THRESHOLDS
from eva_helpers.evaluation.matting import mask_iou
from eva_helpers.files import InputError
from eva_helpers.images import read_mask
from eva_helpers.model import MaskDepthNet
from eva_helpers.plots.pictures import NARROWEST, TITLE
from eva_helpers.predict import Predictor
from eva_helpers.tuning import Changes, Comparison, changed_pair

SIDE = 176
UNCHANGED = Changes()
LIMITS = list(tuning.RANGES.items())
ENDS = [(name, value) for name, limits in LIMITS for value in limits[:2]]


@pytest.fixture(scope="module")
def scene():
    """Background, image with a disc that stands out, and the disc's mask."""
    rng = np.random.default_rng(0)
    background = (40 + 0.6 * smooth(rng, SIDE) + rng.normal(0, 3, (SIDE, SIDE, 3))).astype(np.uint8)
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.float32), (90, 120), 30, 1.0, -1)
    image = np.where(mask[..., None] > 0, 255 - background, background).astype(np.uint8)
    return background, image, mask


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return Predictor(MaskDepthNet(TINY))


@pytest.fixture(scope="module")
def shipped():
    return Predictor.load()


def changed(scene, **changes):
    return changed_pair(*scene, Changes(**changes))


def test_the_defaults_change_nothing(scene):
    background, image, mask = (array.copy() for array in scene)
    for before, after in zip(scene, changed_pair(background, image, mask, UNCHANGED), strict=False):
        assert np.array_equal(before, after) and after.dtype == np.uint8


@pytest.mark.parametrize("name, value", ENDS)
def test_the_photos_that_were_given_are_kept(scene, name, value):
    given = [array.copy() for array in scene]
    changed_pair(*given, Changes(**{name: value}))
    assert all(np.array_equal(*each) for each in zip(given, scene, strict=True))


def test_exposure_is_that_of_the_background_in_stops(scene):
    for stops in (-1.0, 0.5):
        background, image = changed(scene, exposure=stops)
        free = background < 255
        ratio = background[free].mean() / scene[0][free].mean()
        assert ratio == pytest.approx(2**stops, rel=0.01)
        assert np.array_equal(image, scene[1])


def test_a_warm_white_balance_is_red(scene):
    for stops in (-0.4, 0.4):
        background, image = changed(scene, white_balance=stops)
        before, after = (photo.reshape(-1, 3).mean(0) for photo in (scene[0], background))
        assert after[1] == before[1], "green stays"
        ratio = (after[0] / after[2]) / (before[0] / before[2])
        assert ratio == pytest.approx(2**stops, rel=0.01)
        assert np.array_equal(image, scene[1])


def test_the_background_is_shifted_by_percents_of_the_frame(scene):
    dot = cv2.circle(np.zeros((SIDE, SIDE, 3), np.uint8), (96, 96), 8, (200, 200, 200), -1)
    for percent in (1.0, 4.0):
        background, image = changed_pair(dot, *scene[1:], Changes(shift=percent))
        centres = [np.argwhere(photo[..., 0] > 100).mean(axis=0) for photo in (dot, background)]
        moved = np.hypot(*np.subtract(*centres))
        assert moved == pytest.approx(percent / 100 * SIDE, abs=0.5)
        assert np.array_equal(image, scene[1])


def test_noise_is_in_both_photos_and_differs(scene):
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for level in (5.0, 20.0):
        background, image = changed_pair(grey, grey, scene[2], Changes(noise=level))
        errors = [photo.astype(float) - 128 for photo in (background, image)]
        assert [error.std() for error in errors] == pytest.approx([level] * 2, rel=0.02)
        assert abs(np.corrcoef(*(error.ravel() for error in errors))[0, 1]) < 0.02


def test_less_jpeg_quality_is_more_error_in_both_photos(scene):
    errors = []
    for quality in (100, 90, 50, 10):
        pairs = zip(changed(scene, jpeg=quality), scene, strict=False)
        errors.append([np.abs(after.astype(float) - before).mean() for after, before in pairs])
    assert errors[0] == [0, 0] and (np.diff(errors, axis=0) > 0).all()


def test_the_shadow_darkens_the_image_beside_the_object(scene):
    darkness = []
    for strength in (0.3, 0.8):
        background, image = changed(scene, shadow=strength)
        loss = scene[1].astype(int) - image
        assert np.array_equal(background, scene[0])
        assert not loss[scene[2] > 0].any() and loss.min() >= 0
        darkness.append((loss / scene[1]).max())
    assert darkness == pytest.approx([0.3, 0.8], abs=0.05)


def test_the_same_changes_give_the_same_photos(scene):
    for changes in tuning.PRESETS.values():
        first, second = (changed_pair(*scene, changes) for _ in range(2))
        assert all(np.array_equal(*each) for each in zip(first, second, strict=True))
        assert not np.array_equal(first[0], scene[0]), "every preset changes something"


def test_a_slider_leaves_the_noise_of_the_others(scene):
    images = [changed(scene, noise=10, exposure=stops)[1] for stops in (0, 0.5)]
    assert np.array_equal(*images)


@pytest.mark.parametrize(
    "name, value",
    [(name, end) for name, (least, most, *_) in LIMITS for end in (least - 1, most + 1)]
    + [(name, value) for name, _ in LIMITS for value in (np.nan, np.inf, -np.inf)],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*: expected a number from .* to .*\\.$"):
        Changes(**{name: value})


def test_every_change_has_a_range_and_its_ends_are_allowed():
    assert list(tuning.RANGES) == list(asdict(UNCHANGED))
    for name, value in ENDS:
        assert getattr(Changes(**{name: value}), name) == value


def test_the_threshold_is_the_best_for_the_unchanged_pair_and_stays(predictor, scene):
    compare = Comparison(predictor, *scene)
    change = np.abs(scene[0].astype(np.float32) - scene[1]).max(2) / 255
    best = max(mask_iou(change > threshold, scene[2]) for threshold in THRESHOLDS)
    _, scores = compare(UNCHANGED)
    assert scores["subtraction"] == pytest.approx(best) and best > 0.9
    before = compare.threshold
    shown, scores = compare(Changes(exposure=0.8))
    pair = (shown[name].astype(np.float32) for name in ("background", "image"))
    expected = np.abs(np.subtract(*pair)).max(2) / 255 > before
    assert compare.threshold == before and np.array_equal(shown["subtraction"], expected)
    assert scores["subtraction"] == pytest.approx(mask_iou(expected, scene[2]))


def test_the_network_sees_the_changed_pair_once(predictor, scene):
    shown, scores = Comparison(predictor, *scene)(Changes(exposure=0.5, noise=10))
    _, mask, _ = predictor.passes.first_pass(shown["background"], shown["image"])
    assert np.array_equal(shown["network"], mask)
    assert scores["network"] == pytest.approx(mask_iou(mask, scene[2]))
    expected = changed(scene, exposure=0.5, noise=10)
    assert all(map(np.array_equal, expected, (shown["background"], shown["image"])))


@pytest.mark.parametrize(
    "shape, size", [((300, 700), (75, 176)), ((700, 300), (176, 75)), ((64, 50), (64, 50))]
)
def test_photos_are_at_most_176_px(predictor, shape, size):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    compare = Comparison(predictor, photo, photo, np.ones(shape, bool))
    shown, _ = compare(UNCHANGED)
    assert {array.shape[:2] for array in shown.values()} == {size}
    assert compare.reference.shape == size and compare.reference.min() == pytest.approx(1)


def test_without_a_true_mask_the_first_mask_of_the_network_counts(shipped, scene):
    compare = Comparison(shipped, *scene[:2])
    shown, scores = compare(UNCHANGED)
    assert scores["network"] == 1 and np.array_equal(compare.reference, shown["network"])
    assert "network" in compare.goal and mask_iou(shown["network"], scene[2]) > 0.5
    assert Comparison(shipped, *scene).goal == "true mask"


@pytest.mark.parametrize("spoil", [lambda mask: mask[1:], lambda m: m * 255, lambda m: m * np.nan])
def test_a_true_mask_that_does_not_fit_is_refused(predictor, scene, spoil):
    with pytest.raises(ValueError, match="the true mask is float32"):
        Comparison(predictor, *scene[:2], spoil(scene[2]))


def test_photos_that_are_none_are_refused(predictor, scene):
    with pytest.raises(InputError, match="the background is float64"):
        Comparison(predictor, scene[0] / 255, scene[1])


def test_subtraction_breaks_and_the_network_does_not(shipped):
    folder = paths.ROOT / "assets" / "pair"
    pair = (folder / "background.jpg", folder / "image.jpg", read_mask(folder / "mask.png"))
    compare = Comparison(shipped, *pair)
    _, before = compare(UNCHANGED)
    for name in ("cloud", "hand-held", "night JPEG"):
        _, scores = compare(tuning.PRESETS[name])
        assert scores["network"] > 0.85, name
        assert scores["subtraction"] < before["subtraction"] / 2, name


def test_the_picture_shows_photos_masks_and_scores(predictor, scene):
    compare = Comparison(predictor, *scene)
    changes = Changes(exposure=0.5, noise=5)
    drawn = compare.picture(changes)
    shown, _ = compare(changes)
    assert drawn.dtype == np.uint8 and drawn.shape == (TITLE + SIDE, 5 * SIDE + 4 * 6, 3)
    parts = [drawn[:, left : left + SIDE] for left in range(0, 5 * (SIDE + 6), SIDE + 6)]
    for part, wanted in zip(parts, [*shown.values(), scene[2]], strict=True):
        pixels = wanted if wanted.ndim == 3 else np.rint(wanted * 255)[..., None]
        assert (part[TITLE:] == pixels).all()
        assert part[:TITLE].min() < 100, "a title"
    unchanged = compare.picture(UNCHANGED)
    assert not np.array_equal(unchanged[:TITLE], drawn[:TITLE]), "another IoU is written"
    assert np.array_equal(unchanged[:, -SIDE:], drawn[:, -SIDE:]), "the true mask stays"


def test_narrow_pictures_of_a_strip_are_enlarged():
    grey = np.full((40, 60), 0.5)
    drawn = plots.strip([grey, grey], ["one", "two"])
    width = 60 * 3
    assert width - 60 < NARROWEST <= width
    assert drawn.shape == (TITLE + 3 * 40, 2 * width + 6, 3)
    assert (drawn[TITLE:, :width] == 128).all() and (drawn[TITLE:, width : width + 6] == 255).all()


@pytest.fixture
def panel(predictor, scene):
    return tuning.playground_panel(predictor, *scene)


def test_the_picture_follows_every_slider(panel):
    first = panel.picture.value
    assert bytes(first[:2]) == b"\xff\xd8" and list(panel.sliders) == list(tuning.RANGES)
    for name, slider in panel.sliders.items():
        usual = slider.value
        slider.value = slider.min if usual == slider.max else slider.max
        assert panel.picture.value != first, name
        slider.value = usual
        assert panel.picture.value == first, name
    assert not panel.errors
    assert "best for the unchanged pair" in panel.status.value and "ms" in panel.status.value


def test_buttons_set_the_sliders_and_draw_once(panel, predictor, monkeypatch):
    first = panel.picture.value
    calls = []
    real = predictor.passes.coarse_mask
    monkeypatch.setattr(
        predictor.passes, "coarse_mask", lambda *pair: calls.append(1) or real(*pair)
    )
    reset, *presets = panel.box.children[0].children
    assert [button.description for button in presets] == list(tuning.PRESETS)
    seen = {first}
    for number, (button, changes) in enumerate(zip(presets, tuning.PRESETS.values(), strict=True)):
        button.click()
        assert {name: slider.value for name, slider in panel.sliders.items()} == asdict(changes)
        seen.add(panel.picture.value)
        assert len(seen) == number + 2 == len(calls) + 1
    panel.sliders["noise"].value = 3
    assert len(calls) == len(presets) + 1, "sliders are followed again"
    reset.click()
    assert panel.picture.value == first and not panel.errors
    assert all(panel.sliders[name].value == value for name, value in asdict(UNCHANGED).items())


def test_an_error_is_shown_and_the_next_move_goes_on(panel, predictor, monkeypatch):
    first = panel.picture.value

    def fail(*pair):
        raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(predictor.passes, "coarse_mask", fail)
        panel.sliders["exposure"].value = 0.5
        assert "RuntimeError: broken on purpose" in panel.status.value and len(panel.errors) == 1
        assert panel.picture.value == first
    panel.sliders["exposure"].value = 0.6
    assert "broken" not in panel.status.value and panel.picture.value != first


def test_the_panel_refuses_what_the_comparison_refuses(predictor, scene):
    with pytest.raises(ValueError, match="true mask"):
        tuning.playground_panel(predictor, *scene[:2], scene[2][1:])


def test_changes_are_frozen():
    with pytest.raises(AttributeError):
        UNCHANGED.noise = 3
