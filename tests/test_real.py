"""Real photographs, where they are: the shipped network against plain subtraction."""

import numpy as np
import pytest

from eva_helpers import predict
from eva_helpers.evaluation.baselines import THRESHOLDS
from eva_helpers.images import read_map
from experiments import highres

pytestmark = pytest.mark.real


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_on_real_parks_it_beats_subtraction_at_its_best_threshold(real):
    predictor = predict.Predictor.load()
    names = sorted(
        path.name.removesuffix("_bg.jpg") for path in (real / "quads").glob("park_*_bg.jpg")
    )
    assert names
    ours = []
    simple = []
    for name in names:
        result = predictor(real / "quads" / f"{name}_bg.jpg", real / "quads" / f"{name}_image.jpg")
        truth = read_map(real / "quads" / f"{name}_mask.jpg") > 127
        assert result.mask.shape == result.depth.shape == truth.shape
        ours.append(dice(result.mask > 0.5, truth))
        change = np.abs(result.image.astype(float) - result.background).max(2) / 255
        simple.append([dice(change > threshold, truth) for threshold in THRESHOLDS])
    assert np.mean(ours) > np.mean(simple, axis=0).max()


def test_masks_of_large_photographs_are_sharper_than_subtractions(real):
    """On their outlines too, and than the first pass alone."""
    triples = highres.composites(real / "highres", 640, 8, seed=1)
    methods = highres.maskers(predict.Predictor.load(), triples)
    scores = {name: highres.score(method, triples, name) for name, method in methods.items()}
    ours = scores.pop("predictor")
    for other in scores.values():
        assert ours["iou"] > other["iou"] and ours["boundary_f"] > other["boundary_f"]
        assert ours["band_error"] < other["band_error"]


def test_two_shots_of_a_photograph_have_no_mask(real):
    predictor = predict.Predictor.load()
    share = highres.false_masks(lambda *s: predictor(*s).mask, real / "highres", 640, seed=1)
    assert share == 0
