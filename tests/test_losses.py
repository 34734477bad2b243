import math

import pytest
import torch
from kornia.losses import SSIMLoss

from eva_helpers import losses


@pytest.fixture
def truth():
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(3, 1, 6, 6), 40, mode="bicubic").clamp(0, 1)


DEPTH_TERMS = [losses.depth_ssim, losses.depth_edge, losses.depth_l1]


@pytest.mark.parametrize("term", DEPTH_TERMS)
def test_identical_maps_cost_nothing(term, truth):
    assert term(truth, truth).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("term", DEPTH_TERMS)
def test_worse_costs_more(term, truth):
    torch.manual_seed(1)
    noise = torch.randn_like(truth)
    assert term(truth + 0.01 * noise, truth) < term(truth + 0.1 * noise, truth)


def test_terms_by_hand():
    depth, target = torch.zeros(1, 1, 2, 3), torch.tensor([[[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]])
    assert losses.depth_l1(depth, target).item() == pytest.approx(1 / 6)
    assert losses.depth_edge(depth, target).item() == pytest.approx(1 / 3 + 2 / 4)  # rows: one of 3; columns: two of 4
    logits, mask = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[1.0, 0.0]]]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert losses.mask_bce(logits, mask).item() == pytest.approx(expected)


def test_ssim_is_kornias(truth):
    other = (truth + 0.1 * torch.rand_like(truth)).clamp(0, 1)
    assert losses.depth_ssim(other, truth).item() == pytest.approx(SSIMLoss(losses.SSIM_WINDOW, max_val=1.0)(other, truth).item())


def test_only_l1_holds_the_level(truth):
    truth = 0.2 + 0.5 * truth
    shifted = truth + 0.1
    assert losses.depth_edge(shifted, truth).item() == pytest.approx(0, abs=1e-6)
    assert losses.depth_l1(shifted, truth).item() == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("term", [losses.mask_bce, *DEPTH_TERMS])
def test_gradients_are_right(term):
    torch.manual_seed(0)
    values = torch.rand(1, 1, 12, 12, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    assert torch.autograd.gradcheck(term, (values, target))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[[-200.0, 200.0]]]], requires_grad=True)
    loss = losses.mask_bce(logits, torch.tensor([[[[1.0, 0.0]]]]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_the_weighted_sum_by_hand():
    terms = {name: torch.tensor(value) for name, value in {"mask": 1.0, "ssim": 2.0, "edge": 3.0, "l1": 4.0}.items()}
    weights = losses.LossWeights(mask=0.3, depth=0.7, ssim=1.0, edge=0.5, l1=0.1)
    assert losses.weighted_sum(terms, weights).item() == pytest.approx(0.3 + 0.7 * (2 + 1.5 + 0.4))


def test_the_default_balance_is_the_sources():
    assert (losses.LossWeights().mask, losses.LossWeights().depth) == (0.3, 0.7)


@pytest.mark.parametrize("change", [{"mask": -0.1}, {"l1": math.nan}, {"ssim": math.inf}, {"depth": "much"}, {"mask": 0, "depth": 0}])
def test_bad_weights_are_refused(change):
    with pytest.raises(ValueError, match="weight"):
        losses.LossWeights(**change)


def test_unknown_names_are_refused(truth):
    with pytest.raises(TypeError):
        losses.LossWeights(shape=1.0)
    with pytest.raises(ValueError, match="l1"):
        losses.weighted_sum({"mask": truth.mean(), "ssim": truth.mean(), "edge": truth.mean()}, losses.LossWeights())
