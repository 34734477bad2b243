import math

import pytest
import torch
from kornia.losses import SSIMLoss
from kornia.metrics import ssim

from eva_helpers import losses
from eva_helpers.losses.terms import DEPTH_LOSSES


@pytest.fixture
def truth():
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(3, 1, 6, 6), 40, mode="bicubic").clamp(0, 1)


TERMS = dict(zip(losses.TERMS, torch.tensor([1.0, 5.0, 2.0, 3.0, 4.0, 6.0]), strict=True))
DEPTH_TERMS = [losses.depth_ssim, losses.depth_edge, losses.depth_l1]


@pytest.mark.parametrize("term", DEPTH_TERMS)
def test_identical_maps_cost_nothing(term, truth):
    assert term(truth, truth).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("term", DEPTH_TERMS)
def test_worse_costs_more(term, truth):
    torch.manual_seed(1)
    noise = torch.randn_like(truth)
    little, much = ((truth + size * noise).clamp(0, 1) for size in (0.01, 0.1))
    assert term(little, truth) < term(much, truth)


def test_terms_by_hand():
    depth = torch.zeros(1, 1, 2, 3)
    target = torch.tensor([[[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]])
    assert losses.depth_l1(depth, target).item() == pytest.approx(1 / 6)
    # along rows one difference of 3, along columns two of 4
    assert losses.depth_edge(depth, target).item() == pytest.approx(1 / 3 + 2 / 4)
    logits = torch.tensor([[[[0.0, 2.0]]]])
    mask = torch.tensor([[[[1.0, 0.0]]]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert losses.mask_bce(logits, mask).item() == pytest.approx(expected)


@pytest.mark.parametrize("height, width", [(40, 40), (64, 64), (33, 50), (6, 224)])
def test_ssim_is_kornias(height, width):
    torch.manual_seed(0)
    a = torch.rand(2, 1, height, width, dtype=torch.float64, requires_grad=True)
    b = torch.rand(2, 1, height, width, dtype=torch.float64)
    ours = losses.depth_ssim(a, b)
    theirs = SSIMLoss(losses.SSIM_WINDOW, max_val=1.0)(a, b)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-9)
    gradient, expected = (torch.autograd.grad(loss, a)[0] for loss in (ours, theirs))
    assert torch.allclose(gradient, expected, atol=1e-9)
    assert torch.allclose(losses.ssim_map(a, b), ssim(a, b, losses.SSIM_WINDOW), atol=1e-9)


def test_ssim_refuses_maps_smaller_than_its_window():
    with pytest.raises(ValueError, match="5 px"):
        losses.depth_ssim(torch.zeros(1, 1, 5, 40), torch.zeros(1, 1, 5, 40))


def test_dice_by_hand():
    logits = torch.tensor([[[[100.0, 100.0, -100.0, -100.0]]]])
    # half right: p = (1, 1, 0, 0), m = (1, 0, 1, 0): 1 - (2 * 1 + 1) / (2 + 2 + 1)
    half = losses.mask_dice(logits, torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]]]))
    right = losses.mask_dice(logits, torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]]))
    empty = losses.mask_dice(torch.full((1, 1, 4, 4), -100.0), torch.zeros(1, 1, 4, 4))
    assert half.item() == pytest.approx(1 - 3 / 5)
    assert right.item() == pytest.approx(0) and empty.item() == pytest.approx(0)


def test_dice_counts_small_objects_as_much_as_large_ones():
    small, large = torch.zeros(2, 1, 1, 32, 32)
    small[..., :4, :4] = 1
    large[..., :24, :24] = 1
    nothing = torch.full((1, 1, 32, 32), -10.0)
    assert losses.mask_dice(nothing, small) > 0.9 * losses.mask_dice(nothing, large)
    assert losses.mask_bce(nothing, small) < 0.1 * losses.mask_bce(nothing, large)


def test_the_scale_free_term_sees_shape_and_not_scale(truth):
    assert losses.depth_ssi(0.3 * truth + 0.2, truth).item() == pytest.approx(0, abs=1e-5)
    assert losses.depth_ssi(truth.flip(3), truth).item() > 0.05
    constant = losses.align_scale_shift(torch.full_like(truth, 0.4), truth)
    assert constant.std(dim=(1, 2, 3)).max() < 1e-5


def test_edges_ignore_an_offset_and_l1_does_not(truth):
    truth = 0.2 + 0.5 * truth
    shifted = truth + 0.1
    assert losses.depth_edge(shifted, truth).item() == pytest.approx(0, abs=1e-6)
    assert losses.depth_l1(shifted, truth).item() == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("term", [losses.mask_bce, losses.mask_dice, *DEPTH_LOSSES.values()])
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
    weights = losses.LossWeights(0.3, 0.7, ssim=1.0, edge=0.5, l1=0.1, dice=2.0, ssi=0.2)
    expected = 0.3 * (1 + 2 * 5) + 0.7 * (2 + 1.5 + 0.4 + 1.2)
    assert losses.weighted_sum(TERMS, weights).item() == pytest.approx(expected)


def test_the_automatic_balances_by_hand():
    weights = losses.LossWeights(dice=1.0, ssim=1.0, edge=0.0, l1=0.0)  # mask 1 + 5, depth 2
    fixed, geometric = (losses.Balance(kind)(TERMS, weights) for kind in ("fixed", "geometric"))
    assert fixed.item() == pytest.approx(0.3 * 6 + 0.7 * 2)
    assert geometric.item() == pytest.approx(math.sqrt(6 * 2))
    learned = losses.Balance("uncertainty")
    with torch.no_grad():
        learned.log_variances.copy_(torch.tensor([0.5, 9.0]))  # the second is cut off at 4
    expected = 6 * math.exp(-0.5) + 0.5 + 2 * math.exp(-4) + 4
    assert learned(TERMS, weights).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="geometric"):
        losses.Balance("magic")


def test_only_uncertainty_learns_something():
    for kind in losses.BALANCES:
        learned = [p for p in losses.Balance(kind).parameters() if p.requires_grad]
        assert bool(learned) == (kind == "uncertainty")


BAD = [{"mask": -0.1}, {"l1": math.nan}, {"ssim": math.inf}, {"depth": "much"}]


@pytest.mark.parametrize("change", [*BAD, {"mask": 0, "depth": 0}])
def test_bad_weights_are_refused(change):
    with pytest.raises(ValueError, match="weight"):
        losses.LossWeights(**change)


def test_unknown_names_are_refused(truth):
    with pytest.raises(TypeError):
        losses.LossWeights(shape=1.0)
    terms = dict.fromkeys(("mask", "ssim", "edge"), truth.mean())
    with pytest.raises(ValueError, match="l1"):
        losses.weighted_sum(terms, losses.LossWeights())


def test_shares_add_up_and_only_ratios_count():
    weights = losses.LossWeights(0.3, 0.7, 1.0, 2.0, 0.5)
    shares = losses.weight_vector(weights)
    assert shares.sum().item() == pytest.approx(1)
    assert (shares[2] / shares[0]).item() == pytest.approx(0.7 * 2.0 / 0.3)
    doubled = losses.LossWeights(0.6, 1.4, 1.0, 2.0, 0.5)
    assert torch.allclose(losses.weight_vector(doubled), shares)
    with pytest.raises(ValueError, match="expected one to be positive"):
        losses.weight_vector(losses.LossWeights(0.0, 1.0, 0.0, 0.0, 0.0, ssi=1.0))


def test_ssim_first_used_in_inference_can_be_trained_with():
    maps = torch.rand(2, 1, 1, 37, 41)  # sizes that no other test uses: their blur is cached
    with torch.inference_mode():
        losses.ssim_map(*maps)
    depth = maps[0].requires_grad_()
    losses.depth_ssim(depth, maps[1].detach()).backward()
    assert depth.grad.isfinite().all()


def test_depth_terms_are_means_over_the_labelled_samples(truth):
    torch.manual_seed(2)
    depth = torch.rand_like(truth).requires_grad_()
    mask = torch.zeros_like(truth)
    unlabelled = truth.clone()
    unlabelled[1] = 0
    mixed = losses.raw_terms(mask, depth, {"mask": mask, "depth": unlabelled})
    kept = losses.raw_terms(mask, depth[::2], {"mask": mask, "depth": truth[::2]})
    assert all(torch.equal(mixed[name], kept[name]) for name in ("ssim", "edge", "l1", "ssi"))
    (gradient,) = torch.autograd.grad(mixed["l1"], depth)
    assert gradient[0].any() and not gradient[1].any()


@pytest.mark.parametrize("balance", losses.BALANCES)
def test_without_labels_the_loss_is_that_of_the_mask(truth, balance):
    mask_logits = torch.randn_like(truth).requires_grad_()
    depth = torch.rand_like(truth).requires_grad_()
    batch = {"mask": (truth > 0.5).float(), "depth": torch.zeros_like(truth)}
    terms = losses.raw_terms(mask_logits, depth, batch)
    loss = losses.Balance(balance)(terms, losses.LossWeights(mask=1.0, depth=1.0))
    assert loss.item() == pytest.approx((terms["mask"] + terms["dice"]).item())
    loss.backward()
    assert mask_logits.grad.any() and depth.grad is None


def test_what_a_weighting_trains():
    fixed = losses.Balance()
    assert fixed.tasks(losses.LossWeights()) == {"mask", "depth"}
    assert fixed.tasks(losses.LossWeights(depth=0.0)) == {"mask"}
    assert fixed.tasks(losses.LossWeights(ssim=0, edge=0, l1=0)) == {"mask"}
    assert fixed.tasks(losses.LossWeights(mask=0.0)) == {"depth"}
    assert losses.Balance("geometric").tasks(losses.LossWeights(depth=0.0)) == {"mask", "depth"}
