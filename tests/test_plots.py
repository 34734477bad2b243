"""The figures: what they draw from which values."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from eva_helpers import plots
from eva_helpers.plots.pictures import as_picture


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def sample(seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    channels = {"background": 3, "image": 3, "mask": 1, "depth": 1}
    return {name: torch.rand(number, 32, 48, generator=draw) for name, number in channels.items()}


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (4, 5), (3, 3, 3)])
def test_tensors_become_what_imshow_takes(shape):
    value = torch.rand(shape)
    picture = as_picture(value)
    assert picture.shape == ((*shape[1:], 3) if shape[0] == 3 and len(shape) == 3 else shape[-2:])
    assert np.array_equal(np.atleast_3d(picture)[..., 0], value.reshape(-1, *shape[-2:])[0])
    assert as_picture(picture) is picture


def test_a_row_per_sample_with_its_title():
    axes = plots.samples([sample(0), sample(1)], ["before"]).axes
    assert [ax.get_title() for ax in axes] == ["background", "image", "mask", "depth"] + [""] * 4
    assert [axes[0].get_ylabel(), axes[4].get_ylabel()] == ["before", ""]
    assert np.array_equal(axes[5].images[0].get_array(), as_picture(sample(1)["image"]))


def test_cases_share_the_depth_scale_and_show_the_signed_error():
    row = sample()
    row |= {"predicted_mask": row["mask"], "predicted_depth": row["depth"] / 2}
    top = row["depth"].max().item()
    depth, predicted, error = (ax.images[0] for ax in plots.cases([row]).axes[3:])
    assert depth.get_clim() == predicted.get_clim() == (0, top)
    assert np.allclose(error.get_array(), -as_picture(row["depth"]) / 2), "too far: negative, red"
    assert error.get_clim() == pytest.approx((-top / 2, top / 2))


def test_cases_without_depth_labels_are_masks():
    row = sample()
    row |= {"predicted_mask": row["mask"], "predicted_depth": row["depth"]}
    row["depth"] = row["depth"] * 0
    titles = [ax.get_title() for ax in plots.cases([row]).axes]
    assert titles == ["image", "mask", "predicted mask"]


def test_large_pictures_are_reduced_before_they_are_drawn():
    photo = np.zeros((600, 1200, 3), np.uint8)
    found = photo[..., 0] == 0
    axes = plots.panels(photo, photo, found, found.astype(np.float64), pyplot=False).axes
    assert {ax.images[0].get_array().shape[:2] for ax in axes} == {(400, 800)}
    assert axes[0].images[0].get_array().dtype == np.uint8
    assert plt.get_fignums() == [], "without pyplot nothing holds the figure"


def test_a_contact_sheet_leaves_the_rest_empty():
    axes = plots.tiles([sample()["image"]] * 5, columns=3, titles=["a", "b"]).axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "", "", "", ""]
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 1, 1, 0] and not axes[5].axison


def test_large_errors_of_the_first_epochs_are_drawn_at_the_edge():
    history = [
        {"epoch": 1, "mask": 0.7, "ssi": 3.0, "mask_iou": 0.1, "depth_rmse_std": 9.0},
        {"epoch": 2, "mask": 0.5, "ssi": 2.0, "mask_iou": 0.6, "depth_rmse_std": 0.8},
    ]
    left, right = plots.curves(history).axes
    assert {line.get_label(): line.get_ydata().tolist() for line in left.lines} == {
        "mask": [0.7, 0.5],
        "ssi": [3.0, 2.0],
    }
    assert [line.get_ydata().tolist() for line in right.lines] == [[0.1, 0.6], [1.3, 0.8]]


def test_a_steered_training_is_drawn_from_its_first_moment_on_and_without_pyplot():
    picture = np.zeros((8, 8, 3))
    lines = [len(ax.lines) for ax in plots.tuning([], [], picture).axes]
    assert lines == [0, 0, 0, 0, 1, 0, 0], "the zero of the cosine alone"
    record = [{"step": n, "mask": 0.5, "weight mask": 0.3, "weight depth": 0.7} for n in range(900)]
    terms, weights, *_ = plots.tuning(record, [], picture).axes
    assert [line.get_label() for line in terms.lines] == ["mask"]
    assert [line.get_label() for line in weights.lines] == ["mask", "depth"]
    assert weights.lines[1].get_ydata()[-1] == pytest.approx(0.7)
    assert plt.get_fignums() == []


def test_the_learning_rate_of_every_step_and_the_gradients_where_measured():
    record = [{"step": n, "mask": 0.5, "lr": n / 100} for n in range(9)]
    for n, cosine in ((0, 0.5), (4, np.nan), (8, -0.5)):
        record[n] |= {"cosine": cosine, "gradient mask": 1.0, "gradient depth": cosine}
    axes = plots.tuning(record, [], np.zeros((8, 8, 3))).axes
    _, _, rate, _, cosine, norms, _ = axes
    assert rate.lines[0].get_ydata().tolist() == [n / 100 for n in range(9)]
    assert cosine.get_ylim() == (-1, 1) and cosine.lines[0].get_xdata().tolist() == [0, 4, 8]
    assert np.array_equal(cosine.lines[0].get_ydata(), [0.5, np.nan, -0.5], equal_nan=True)
    assert [line.get_label() for line in norms.lines] == ["mask", "depth"]


def test_tries_begin_at_the_left_and_keep_their_colours():
    curves = {
        "1: first": [{"step": n, "mask": 0.5, "l1": 0.25} for n in range(100, 120)],
        "2: second": [{"step": n, "mask": 1.0, "l1": 0.5} for n in range(120, 125)],
        "3: failed": [],
    }
    figure = plots.tries(curves, {"2: second": {"mask_iou": 0.8, "depth_rmse_std": 0.3}})
    mask, l1, *_, scores = figure.axes
    assert (mask.get_title(), l1.get_title()) == ("mask", "l1") and len(mask.lines) == 3
    assert mask.lines[1].get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert l1.lines[0].get_ydata() == pytest.approx(np.full(20, 0.25))
    assert [line.get_color() for line in mask.lines] == [line.get_color() for line in scores.lines]
    assert scores.lines[1].get_xydata().tolist() == [[0.8, 0.3]]
    assert [text.get_text() for text in figure.legends[0].texts] == list(curves)


def test_robustness_has_axes_per_condition_and_a_line_per_method():
    card = {
        "level": "stops",
        "levels": [0.0, 1.0],
        "network": [0.9, 0.8],
        "subtraction": [0.9, 0.2],
    }
    axes = plots.robustness({"exposure": card, "noise": card}, "hard").axes
    assert [ax.get_title() for ax in axes] == ["exposure", "noise"]
    assert [line.get_ydata().tolist() for line in axes[1].lines] == [[0.9, 0.8], [0.9, 0.2]]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["0", "1"]


def test_the_point_cloud_is_a_pinhole_cameras():
    depth = np.zeros((4, 6), np.float32)  # infinitely far: not drawn
    depth[1, 4] = 0.5
    figure = plots.point_cloud(np.full((4, 6, 3), 255, np.uint8), depth, focal=6, z_near=1.5)
    ax = figure.axes[0]
    assert ax.xy_dataLim.get_points().tolist() == [[0.5, 3.0]] * 2, "x, distance of the one point"
    assert ax.zz_dataLim.intervalx.tolist() == [0.5, 0.5], "height"


def test_a_figure_is_saved_in_a_new_folder(tmp_path):
    figure, ax = plt.subplots()
    plots.histogram(ax, np.arange(8.0), "title", "label", bins=4)
    assert [bar.get_height() for bar in ax.patches] == [0.25] * 4
    path = plots.save(figure, tmp_path / "figures", "one")
    assert path == tmp_path / "figures" / "one.png" and path.stat().st_size > 1000
