import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryF1Score, BinaryJaccardIndex
from torchmetrics.functional.classification import binary_stat_scores
from torchmetrics.regression import PearsonCorrCoef

from eva_helpers.evaluation import baselines, metrics
from eva_helpers.evaluation.scoring import evaluate, interval, summary
from eva_helpers.files import InputError


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


def test_iou_and_dice_agree_with_torchmetrics():
    torch.manual_seed(0)
    prediction = torch.rand(5, 1, 16, 16)
    truth = (torch.rand(5, 1, 16, 16) > 0.5).float()
    pairs = list(zip(prediction, truth.int(), strict=True))
    for ours, theirs in ((metrics.iou, BinaryJaccardIndex()), (metrics.dice, BinaryF1Score())):
        reference = [theirs(p, t).item() for p, t in pairs]
        assert ours(prediction, truth).tolist() == pytest.approx(reference)


def test_perfect_depth():
    truth = torch.rand(3, 1, 8, 8) * 0.9 + 0.05
    scores = metrics.depth_metrics(truth, truth, z_near=1.5)
    assert (
        scores["abs_rel"].max() < 1e-6
        and scores["rmse"].max() == 0
        and scores["log10"].max() < 1e-6
    )
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
    assert metrics.depth_metrics(truth.mean().expand_as(truth), truth, 1.5)[
        "rmse_std"
    ].item() == pytest.approx(1, rel=1e-5)


def test_zero_depth_stays_finite():
    truth = torch.full((1, 1, 4, 4), 0.5)
    assert all(
        value.isfinite().all()
        for value in metrics.depth_metrics(torch.zeros_like(truth), truth, 1.5).values()
    )


def test_correlation_agrees_with_torchmetrics_and_ignores_scale():
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 9, 9), torch.rand(2, 1, 9, 9)
    reference = [
        PearsonCorrCoef()(x.flatten(), y.flatten()).item() for x, y in zip(a, b, strict=True)
    ]
    assert metrics.correlation(a, b).tolist() == pytest.approx(reference, abs=1e-5)
    assert metrics.correlation(a, 0.2 * a + 0.1).tolist() == pytest.approx([1, 1])
    assert metrics.correlation(torch.ones_like(a), b).tolist() == [0, 0]


def batch():
    background = torch.full((2, 3, 10, 10), 0.5)
    mask = boxes((2, 2, 6, 6), (3, 3, 9, 9))
    return {
        "background": background,
        "image": background + 0.2 * mask,
        "mask": mask,
        "depth": 0.3 + 0.4 * mask,
    }


def test_subtraction_is_perfect_on_ideal_pairs():
    data = batch()
    threshold = baselines.best_threshold([data])
    rows = evaluate(
        baselines.subtraction(threshold, baselines.mean_depth([data])), [data, data], z_near=1.5
    )
    assert rows["mask_iou"].tolist() == [1, 1, 1, 1]
    assert rows["depth_rmse_std"].mean() > 0.5


def test_best_threshold_lies_between_noise_and_object():
    data = batch()
    data["image"] = data["image"] + 0.08 * (1 - data["mask"])
    assert 0.08 < baselines.best_threshold([data]) < 0.2


def test_summary_is_the_mean_of_what_has_a_value():
    rows = {"a": np.array([1.0, np.nan, 0.25]), "b": np.array([np.nan] * 3)}
    result = summary(rows | {"size": np.array([0.1, 0.2, 0.3], np.float32)})
    assert result["a"] == 0.625 and "b" not in result and result["size"] == 0.2
    assert summary(evaluate(baselines.subtraction(0.1, 0.4), [batch()], 1.5))["mask_iou"] == 1


def disc(size: int = 64, radius: float = 12, x: float = 32) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((rows - 32.0) ** 2 + (columns - x) ** 2 < radius**2).float()[None, None]


def test_overlap_counts_pixels_as_torchmetrics_does():
    torch.manual_seed(0)
    prediction = torch.rand(5, 1, 16, 16)
    truth = (torch.rand(5, 1, 16, 16) > 0.5).float()
    both, either = metrics.overlap(prediction, truth)
    stats = binary_stat_scores(prediction, truth.int(), multidim_average="samplewise")
    hits, false, _, missed, _ = stats.T
    assert both.tolist() == hits.tolist() and either.tolist() == (hits + false + missed).tolist()


def test_boundary_f_forgives_a_pixel_and_no_more():
    truth = disc()
    assert metrics.boundary_f(truth, truth).item() == pytest.approx(1)
    assert metrics.boundary_f(disc(x=33), truth).item() > 0.95
    assert metrics.boundary_f(disc(x=38), truth).item() < 0.5
    empty = torch.zeros_like(truth)
    assert (
        metrics.boundary_f(empty, empty).item() == 1
        and metrics.boundary_f(empty, truth).item() == 0
    )


def test_boundary_f_sees_what_iou_hides():
    big = torch.zeros(1, 1, 64, 64)
    big[..., 4:60, 4:60] = 1
    holed = big.clone()
    holed[..., 20:24, 20:24] = 0
    assert metrics.iou(holed, big).item() > 0.99 and metrics.boundary_f(holed, big).item() < 0.98


def test_the_order_in_depth():
    mask = disc()
    behind = torch.full_like(mask, 0.2)
    truth = torch.where(mask > 0, torch.tensor(0.6), behind)
    assert metrics.ordered(truth, truth, mask).item() == 1
    assert metrics.ordered(behind + 0.1 * (1 - mask), truth, mask).item() == 0
    half = torch.where(
        torch.arange(64) < 32, truth, behind
    )  # the right half of the object is missing
    assert 0.3 < metrics.ordered(half, truth, mask).item() < 0.7
    assert metrics.ordered(truth, truth, torch.zeros_like(mask)).isnan().all(), "nothing to ask"
    assert metrics.ordered(behind, behind, mask).isnan().all(), "level points have no order"


def test_alignment_takes_scale_and_shift_away():
    torch.manual_seed(0)
    truth = 0.2 + 0.6 * torch.nn.functional.interpolate(torch.rand(2, 1, 5, 5), 40, mode="bilinear")
    rows = metrics.more_depth_metrics(0.4 * truth + 0.1, truth, 1.5)
    assert rows["aligned_rmse_std"].max() < 1e-3 and rows["aligned_delta1"].min() > 0.999
    assert metrics.depth_metrics(0.4 * truth + 0.1, truth, 1.5)["rmse_std"].min() > 0.3
    assert rows["gradient"].min() > 0 and (rows["ssim"] < 1).all()
    same = metrics.more_depth_metrics(truth, truth, 1.5)
    assert same["gradient"].max() == 0 and same["ssim"].min() == pytest.approx(1)


def test_pooled_scores_weigh_pixels_and_means_weigh_images():
    rows = {"mask_iou": np.array([1.0, 0.0]), "mask_intersection": np.array([90.0, 0.0])}
    rows["mask_union"] = np.array([90.0, 10.0])
    result = summary(rows)
    assert result["mask_iou"] == 0.5 and result["mask_pooled_iou"] == 0.9
    assert result["mask_pooled_dice"] == pytest.approx(2 * 90 / 190, abs=1e-4)


def test_the_bootstrap_interval_covers_and_narrows():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(60):
        low, high = interval(rng.normal(5, 1, 80), seed)
        hits += low < 5 < high
    assert 50 <= hits <= 60
    few, many = (np.diff(interval(rng.normal(5, 1, n)))[0] for n in (20, 2000))
    assert many < 0.3 * few
    values = rng.normal(5, 1, 20)
    assert interval(values, 1) == interval(values, 1), "the same seed"
    assert interval(np.append(values, np.nan), 1) == interval(values, 1), (
        "finite values alone count"
    )


@pytest.mark.filterwarnings("error")
def test_intervals_of_few_or_constant_values():
    assert np.isnan(interval(np.array([]))).all() and np.isnan(interval(np.array([np.nan]))).all()
    assert interval(np.array([0.25, np.nan])) == (0.25, 0.25)
    assert interval(np.full(9, 0.5)) == (0.5, 0.5)
    assert interval(np.array([0.0, 1.0])) == (0.0, 1.0)


def test_an_image_without_depth_label_has_no_depth_scores():
    torch.manual_seed(0)
    mask, truth, prediction = torch.rand(3, 4, 1, 32, 32)
    truth[2:] = 0
    batch = {"background": torch.rand(4, 3, 32, 32), "image": torch.rand(4, 3, 32, 32)}
    batch |= {"mask": mask, "depth": truth}

    def means(part):
        method = lambda background, image: (mask[part], prediction[part])  # noqa: E731
        batches = [{name: value[part] for name, value in batch.items()}]
        return summary(evaluate(method, batches, 1.5, full=True))

    everything, labelled, none = (means(part) for part in (slice(4), slice(2), slice(2, 4)))
    for name in labelled:
        if name.startswith("depth"):
            assert everything[name] == labelled[name] and name not in none
    assert none["mask_iou"] == 1 and "depth_rmse_std" in labelled
    batches = [{"depth": truth[:1]}, {"depth": truth[1:]}]
    assert baselines.mean_depth(batches) == pytest.approx(truth[:2].mean().item())
    assert baselines.mean_depth([{"depth": truth[2:]}]) == 0


@pytest.mark.parametrize("name", ["image", "depth"])
def test_values_that_are_not_finite_are_named(name):
    batch = {key: torch.rand(3, 3, 32, 32) for key in ("background", "image")}
    batch |= {key: torch.rand(3, 1, 32, 32) for key in ("mask", "depth")}
    good = {key: value.clone() for key, value in batch.items()}
    batch[name][1, 0, 2, 2] = torch.inf
    with pytest.raises(InputError, match=f"{name} of sample 1"):
        evaluate(lambda background, image: (good["mask"], good["depth"]), [good, batch], 1.5)
    with pytest.raises(InputError, match="predictions"):
        evaluate(lambda background, image: (good["mask"], good["depth"] / 0), [good], 1.5)
