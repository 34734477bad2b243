"""Depth scores: the alignment that is named removes what it says, and nothing else."""

import numpy as np
import pytest

from eva_helpers.evaluation import depth_scores as scores


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    ground = np.linspace(0.02, 0.9, 48)[:, None] * np.ones((48, 64))
    ground[20:40, 20:34] = 0.8  # an object that stands up
    return ground * rng.uniform(0.97, 1.0, ground.shape)


def test_alignments_remove_scale_or_scale_and_shift(truth):
    scaled, moved = 0.4 * truth, 0.4 * truth + 0.2
    for how in scores.ALIGNMENTS:
        assert scores.distance_scores(truth, truth, how)["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert scores.distance_scores(scaled, truth, "metric")["delta1"] < 0.1
    assert scores.distance_scores(scaled, truth, "scale")["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert scores.distance_scores(moved, truth, "scale")["abs_rel"] > 0.1
    good = scores.distance_scores(moved, truth, "affine")
    assert good["abs_rel"] == pytest.approx(0, abs=1e-6) and good["rmse_std"] < 1e-6
    with pytest.raises(ValueError, match="expected one of metric, scale, affine"):
        scores.distance_scores(truth, truth, "median")


def test_distances_are_compared_as_ratios(truth):
    found = scores.distance_scores(truth / 1.3, truth, "metric")
    assert found["abs_rel"] == pytest.approx(0.3) and found["log10"] == pytest.approx(np.log10(1.3))
    assert (found["delta1"], found["delta2"], found["delta3"]) == (0, 1, 1)


def test_the_sky_and_unlabelled_pixels(truth):
    truth[:10] = 0
    wrong = truth.copy()
    wrong[40:] = 0.5
    valid = np.ones(truth.shape, bool)
    valid[40:] = False
    found = scores.distance_scores(wrong, truth, "metric", valid)
    assert found["abs_rel"] == 0 and found["rmse_std"] == 0
    assert scores.correlation(wrong, truth, valid) == pytest.approx(1)
    assert scores.distance_scores(wrong, truth, "metric")["abs_rel"] > 0
    with pytest.raises(ValueError, match="no pixel"):
        scores.distance_scores(wrong, 0 * truth, "metric")


def test_a_constant_is_the_trivial_baseline(truth):
    constant = np.full_like(truth, 0.3)
    assert scores.distance_scores(constant, truth, "affine")["rmse_std"] == pytest.approx(1)
    assert scores.correlation(constant, truth) == pytest.approx(0, abs=1e-9)
    assert scores.ordered_pairs(constant, truth) == 0.5
    assert scores.edge_recall(constant, truth) == 0


def test_pairs_are_ordered_whatever_the_scale(truth):
    assert scores.ordered_pairs(truth**3 + 5, truth) == 1
    assert scores.ordered_pairs(-truth, truth) == 0
    rows = np.linspace(0, 1, 48)[:, None] * np.ones(truth.shape)
    assert 0.6 < scores.ordered_pairs(rows, truth) < 1, "rows order the ground, not the object"
    assert np.isnan(scores.ordered_pairs(truth, np.full_like(truth, 0.4)))


def test_edges_are_recalled_where_they_are_and_in_their_direction(truth):
    assert scores.edge_recall(truth, truth) == 1
    assert scores.edge_recall(3 * truth, truth) == 1
    assert scores.edge_recall(1 / truth, truth) == 0, "the far side is taken for the near one"
    object_only = np.full_like(truth, 0.3)
    object_only[20:40, 20:34] = 0.8
    whole = scores.edge_recall(object_only, truth)
    moved = scores.edge_recall(np.roll(object_only, 3, axis=1), truth)
    assert 0 < moved < whole < 1
    assert np.isnan(scores.edge_recall(truth, np.full_like(truth, 0.4)))
