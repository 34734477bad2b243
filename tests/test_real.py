"""Real photographs, where they are: the shipped network against plain subtraction."""

import numpy as np
import pytest

from eva_helpers import predict
from eva_helpers.evaluation.baselines import THRESHOLDS
from eva_helpers.images import read_map

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
