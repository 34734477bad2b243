"""Scores of a mask's outline, against masks whose errors are known."""

import numpy as np
import pytest

from eva_helpers.evaluation.matting import (
    band_error,
    boundary_f,
    gradient_error,
    mask_iou,
    matting_scores,
    sad,
)


def square(start=20, end=60, size=80):
    mask = np.zeros((size, size), np.float32)
    mask[start:end, start:end] = 1
    return mask


def test_a_perfect_mask():
    scores = matting_scores(square(), square())
    best = {"iou": 1, "band_error": 0, "boundary_f": 1, "sad": 0, "mse": 0, "grad": 0}
    assert scores == pytest.approx(best)


def test_scores_without_an_object():
    empty = np.zeros((20, 20), np.float32)
    assert mask_iou(empty, empty) == boundary_f(empty, empty) == 1 and band_error(empty, empty) == 0
    assert mask_iou(square(), 0 * square()) == boundary_f(square(), 0 * square()) == 0


@pytest.mark.parametrize("off, found", [(1, 1), (2, 1), (4, 0)])
def test_an_outline_may_be_off_by_two_pixels(off, found):
    larger = square(20 - off, 60 + off)
    assert boundary_f(larger, square()) == pytest.approx(found, abs=0.03)
    assert mask_iou(larger, square()) == pytest.approx(40**2 / (40 + 2 * off) ** 2)


def test_the_band_is_around_the_outline_alone():
    inside = square()
    inside[35:45, 35:45] = 0  # 10 px from the outline
    assert band_error(inside, square()) == 0 and mask_iou(inside, square()) < 1
    moved = np.roll(square(), 2, axis=1)
    wrong = 2 * 2 * 40  # pixels, all of them in the band of 10 px
    assert band_error(moved, square()) == pytest.approx(wrong / (4 * 40 * 10), rel=0.05)
    assert sad(moved, square()) == pytest.approx(wrong / 1000)


def test_gradients_tell_soft_outlines_from_sharp_ones():
    soft = square()
    soft[:, 19:21] = soft[:, 59:61] = 0.5
    softer = square()
    softer[:, 17:23] = softer[:, 57:63] = 0.5
    assert 0 < gradient_error(soft, square()) < gradient_error(softer, square())
