"""A bank of narrow networks, and the panel over it."""

import numpy as np
import pytest
import torch

from eva_helpers import plots, tuning
from eva_helpers.evaluation import iou
from eva_helpers.files import InputError
from eva_helpers.losses import LossWeights
from eva_helpers.model import NarrowNet, parameters
from eva_helpers.paths import BANK
from eva_helpers.tuning.bank_panel import mask_shares

WIDTHS = (8, 8, 8, 8, 8)
LENGTHS = (10, 20)


@pytest.fixture
def bank():
    """Random networks, all of them different."""
    torch.manual_seed(0)
    shape = (len(LENGTHS), len(tuning.trained_weightings()))
    values = {
        name: value.detach() + 0.2 * torch.randn(*shape, *value.shape)
        for name, value in NarrowNet(WIDTHS).named_parameters()
    }
    return tuning.Bank(LENGTHS, WIDTHS, values, {"seed": 0})


def test_a_narrow_network_has_one_decoder_for_maps_of_the_photos_size():
    net = NarrowNet()
    mask_logits, depth = net(*torch.rand(2, 3, 3, 45, 64))
    assert mask_logits.shape == depth.shape == (3, 1, 45, 64)
    assert 0 <= depth.min() and depth.max() <= 1 and mask_logits.min() < 0
    assert 50_000 <= parameters(net) <= 200_000
    mask_logits.sum().backward()
    shared = [name for name, value in net.named_parameters() if value.grad.abs().sum() > 0]
    assert len(shared) == len(list(net.parameters())), "the mask uses every layer"
    with pytest.raises(ValueError, match="sides of 32"):
        net(*torch.rand(2, 1, 3, 16, 16))


@pytest.mark.parametrize("name, weights", tuning.trained_weightings().items())
def test_at_a_trained_weighting_its_network_alone_counts(name, weights):
    counts = tuning.nearby(weights)
    number = list(tuning.trained_weightings()).index(name)
    assert counts[number] == pytest.approx(1, abs=1e-5)
    assert tuning.nearby(LossWeights(2 * weights.mask, 2 * weights.depth, *inner(weights))) == (
        pytest.approx(counts)
    )


def inner(weights):
    return weights.ssim, weights.edge, weights.l1


@pytest.mark.parametrize(
    "weights",
    [
        LossWeights(),
        LossWeights(1, 0),
        LossWeights(0, 1),
        LossWeights(0.2, 1, 0, 0, 1),
        LossWeights(1, 1, 5, 0, 3),
        LossWeights(0, 1, 0, 1, 0),
    ],
)
def test_every_weighting_is_a_mean_of_trained_ones(weights):
    counts = tuning.nearby(weights)
    assert counts.sum() == pytest.approx(1) and (counts >= 0).all()


def test_between_two_weightings_both_count_and_small_changes_change_little():
    counts = tuning.nearby(LossWeights(0.2, 0.8 / 3))
    assert (counts[1:3] > 0.1).all() and counts[1:3].sum() == pytest.approx(1)
    steps = [tuning.nearby(LossWeights(0.3, 0.7, l1=value)) for value in np.linspace(0, 2, 41)]
    assert np.abs(np.diff(steps, axis=0)).max() < 0.1
    with pytest.raises(InputError, match="weight 0"):
        tuning.nearby(LossWeights(0, 1, 0, 0, 0, ssi=1))


def test_answers_are_those_of_the_networks(bank, examples):
    answers = bank.answers(examples)
    for number, weights in ((0, LossWeights(0.02, 0.98)), (4, LossWeights(0.98, 0.02))):
        weights = LossWeights(weights.mask, weights.depth, 1 / 3, 1 / 3, 1 / 3)
        mask, depth = answers.at(weights, 20)
        with torch.no_grad():
            mask_logits, expected = bank.net(20, number)(examples["background"], examples["image"])
        assert torch.allclose(mask, mask_logits.sigmoid(), atol=1e-4)
        assert torch.allclose(depth, expected, atol=1e-4)
        scores = answers.scores(weights, 20)
        assert scores["mask_iou"] == pytest.approx(
            iou(mask, examples["mask"]).mean().item(), abs=1e-3
        )
    assert not torch.equal(answers.at(LossWeights(), 10)[0], answers.at(LossWeights(), 20)[0])


def test_a_bank_survives_its_file(bank, tmp_path):
    path = bank.save(tmp_path / "bank.safetensors")
    same = tuning.Bank.load(path)
    assert (same.lengths, same.widths, same.notes) == (bank.lengths, bank.widths, bank.notes)
    for name, value in bank.parameters.items():
        assert torch.allclose(same.parameters[name], value, atol=2e-3)


def test_missing_and_damaged_banks_are_refused(bank, tmp_path, monkeypatch):
    path = tmp_path / "bank.safetensors"
    with pytest.raises(InputError, match=r"is not there: expected a bank.*make bank"):
        tuning.Bank.load(path)
    bank.save(path)
    whole = path.read_bytes()
    for data in (b"", whole[:1000], whole[: len(whole) // 2], b"x" * 500):
        path.write_bytes(data)
        with pytest.raises(InputError, match="is not a bank"):
            tuning.Bank.load(path)
    path.write_bytes(whole)
    monkeypatch.setattr(tuning.bank, "MASK_SHARES", (0.02, 0.2, 0.3, 0.7, 0.98))
    with pytest.raises(InputError, match="other weightings"):
        tuning.Bank.load(path)


def test_the_shipped_bank_trades_masks_for_depth(examples):
    bank = tuning.Bank.load(BANK)
    assert BANK.stat().st_size < 4_000_000
    assert 50_000 <= parameters(bank.net(bank.lengths[0], 0)) <= 200_000
    mask, depth = LossWeights(0.98, 0.02), LossWeights(0.02, 0.98)
    answers = bank.answers(examples)
    steps = bank.lengths[0]
    one, other = (answers.at(weights, steps)[0] for weights in (mask, depth))
    assert (one - other).abs().mean() > 5 / 255, "seen without magnification"


def test_a_map_has_a_front_for_each_length(bank, examples):
    fronts = tuning.map_of(bank.answers(examples))
    assert list(fronts) == list(LENGTHS)
    shares = [row["weights"].mask for row in fronts[10]]
    assert shares == pytest.approx(mask_shares()) and shares == sorted(shares)
    assert set(np.round(tuning.MASK_SHARES, 6)) <= set(np.round(shares, 6))
    figure = plots.fronts(fronts, fronts[20][:2])
    assert len(figure.axes[0].lines) == 3
    picture, place, limits = tuning.chart(figure)
    row = fronts[10][0]
    x, y = place(row["mask_iou"], row["depth_rmse_std"]).astype(int)
    assert picture[y - 2 : y + 3, x - 2 : x + 3].min() < 200, "a dot is drawn there"
    assert limits[0][0] < row["mask_iou"] < limits[0][1]


@pytest.fixture
def panel(bank, examples):
    answers = bank.answers(examples)
    return tuning.BankPanel(answers, answers, tuning.map_of(answers))


def test_picture_and_point_follow_weights_and_length(panel):
    pictures = [panel.picture.value]
    charts = [panel.chart.value]
    for move in (
        lambda: setattr(panel.sliders["mask"], "value", 2.0),
        lambda: setattr(panel.sliders["l1"], "value", 0.0),
        lambda: setattr(panel.steps, "value", 10),
    ):
        move()
        pictures.append(panel.picture.value)
        charts.append(panel.chart.value)
    assert len(set(pictures)) == 4 and len(set(charts)) > 2
    assert not panel.errors and "mask IoU" in panel.status.value
    here = panel.judged.scores(panel.weights(), 10)
    assert panel.across.value == pytest.approx(here["mask_iou"], abs=0.01)


def test_dragging_on_the_map_moves_the_sliders_to_the_nearest_point(panel):
    row = panel.points[3]
    panel.across.value = row["mask_iou"]
    panel.up.value = row["depth_rmse_std"]
    ends = panel.weights(), panel.steps.value
    assert any(
        (each["weights"].mask, each["steps"]) == (ends[0].mask, ends[1]) for each in panel.points
    )
    panel.across.value = panel.across.max + 1
    panel.up.value = panel.up.min - 1
    assert not panel.errors, "outside the map, the nearest point counts"
    assert panel.across.value <= panel.across.max


def test_all_sliders_at_zero_are_an_error_that_is_shown(panel):
    for name in ("mask", "depth"):
        panel.sliders[name].value = 0
    assert panel.errors and "all loss weights are zero" in panel.status.value
    panel.sliders["mask"].value = 0.5
    assert "mask IoU" in panel.status.value
