import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryJaccardIndex
from torchmetrics.regression import PearsonCorrCoef

from eva_helpers import metrics


def boxes(*corners):
    masks = torch.zeros(len(corners), 1, 10, 10)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[:, top:bottom, left:right] = 1
    return masks


def test_iou_and_dice_by_hand():
    a, b = boxes((0, 0, 4, 5)), boxes((0, 0, 4, 10))
    assert metrics.iou(a, b).tolist() == [0.5]
    assert metrics.dice(a, b).tolist() == pytest.approx([2 / 3])


def test_empty_masks_are_decided():
    empty, full = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    for score in (metrics.iou, metrics.dice):
        assert score(empty, empty).tolist() == [1.0]
        assert score(full, empty).tolist() == [0.0] and score(empty, full).tolist() == [0.0]


def test_iou_agrees_with_torchmetrics():
    torch.manual_seed(0)
    prediction, truth = torch.rand(5, 1, 16, 16), (torch.rand(5, 1, 16, 16) > 0.5).float()
    reference = [BinaryJaccardIndex()(p, t.int()).item() for p, t in zip(prediction, truth, strict=True)]
    assert metrics.iou(prediction, truth).tolist() == pytest.approx(reference)


def test_perfect_depth():
    truth = torch.rand(3, 1, 8, 8) * 0.9 + 0.05
    scores = metrics.depth_metrics(truth, truth, z_near=1.5)
    assert scores["abs_rel"].max() < 1e-6 and scores["rmse"].max() == 0 and scores["log10"].max() < 1e-6
    assert scores["delta1"].tolist() == [1, 1, 1]


def test_depth_metrics_by_hand():
    truth = torch.tensor([[[[0.5, 0.25]]]])  # z = 3 m and 6 m
    prediction = torch.tensor([[[[0.5, 0.2]]]])  # z = 3 m and 7.5 m
    scores = metrics.depth_metrics(prediction, truth, z_near=1.5)
    assert scores["abs_rel"].item() == pytest.approx(0.25 / 2)
    assert scores["log10"].item() == pytest.approx(np.log10(1.25) / 2)
    assert scores["rmse"].item() == pytest.approx(np.sqrt(0.05**2 / 2))
    assert scores["rmse_std"].item() == pytest.approx(np.sqrt(0.05**2 / 2) / 0.125)
    worse = metrics.depth_metrics(torch.tensor([[[[0.5, 0.19]]]]), truth, z_near=1.5)
    assert worse["delta1"].item() == 0.5


def test_the_sky_counts_in_rmse_only():
    truth, prediction = torch.tensor([[[[0.5, 0.0]]]]), torch.tensor([[[[0.5, 0.3]]]])
    scores = metrics.depth_metrics(prediction, truth, z_near=1.5)
    assert scores["abs_rel"].item() == 0 and scores["rmse"].item() > 0.2


def test_mean_depth_scores_one():
    torch.manual_seed(0)
    truth = torch.rand(1, 1, 16, 16)
    assert metrics.depth_metrics(truth.mean().expand_as(truth), truth, 1.5)["rmse_std"].item() == pytest.approx(1, rel=1e-5)


def test_zero_depth_stays_finite():
    truth = torch.full((1, 1, 4, 4), 0.5)
    assert all(value.isfinite().all() for value in metrics.depth_metrics(torch.zeros_like(truth), truth, 1.5).values())


def test_correlation_agrees_with_torchmetrics_and_ignores_scale():
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 9, 9), torch.rand(2, 1, 9, 9)
    reference = [PearsonCorrCoef()(x.flatten(), y.flatten()).item() for x, y in zip(a, b, strict=True)]
    assert metrics.correlation(a, b).tolist() == pytest.approx(reference, abs=1e-5)
    assert metrics.correlation(a, 0.2 * a + 0.1).tolist() == pytest.approx([1, 1])
    assert metrics.correlation(torch.ones_like(a), b).tolist() == [0, 0]


def batch():
    background = torch.full((2, 3, 10, 10), 0.5)
    mask = boxes((2, 2, 6, 6), (3, 3, 9, 9))
    return {"background": background, "image": background + 0.2 * mask, "mask": mask, "depth": 0.3 + 0.4 * mask}


def test_subtraction_is_perfect_on_ideal_pairs():
    data = batch()
    threshold = metrics.best_threshold([data])
    rows = metrics.evaluate(metrics.baseline(threshold, metrics.mean_depth([data])), [data, data], z_near=1.5)
    assert rows["mask_iou"].tolist() == [1, 1, 1, 1]
    assert rows["depth_rmse_std"].mean() > 0.5


def test_best_threshold_lies_between_noise_and_object():
    data = batch()
    data["image"] = data["image"] + 0.08 * (1 - data["mask"])
    assert 0.08 < metrics.best_threshold([data]) < 0.2


def test_summary_and_table():
    rows = metrics.evaluate(metrics.baseline(0.1, 0.4), [batch()], 1.5)
    text = metrics.table({"baseline": metrics.summary(rows)})
    assert "baseline" in text and "1.0000" in text
