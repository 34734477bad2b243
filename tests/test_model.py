from dataclasses import replace

import pytest
import torch
from conftest import TINY

from eva_helpers import losses, model
from eva_helpers.model import CONDITIONS, ConditionalNet, FiLM


def sized(net):
    return [layer for layer in net.modules() if isinstance(layer, model.Sized)]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return model.MaskDepthNet().eval()


@pytest.mark.parametrize("height, width", [(32, 32), (33, 47), (64, 64), (65, 129), (100, 224)])
def test_any_size_from_32(net, height, width):
    photo = torch.rand(2, 3, height, width)
    mask_logits, depth = net(photo, photo.flip(0))
    assert mask_logits.shape == depth.shape == (2, 1, height, width)
    assert depth.min() >= 0 and depth.max() <= 1 and mask_logits.dtype == depth.dtype == torch.float32


def test_small_is_small(net):
    assert model.parameters(net) <= 2_000_000
    assert model.multiply_adds(net, 64) <= 1e9
    assert model.receptive_field(net, 256) > 128


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_torchvision_encoders(name):
    net = model.MaskDepthNet(model.ModelConfig(name)).eval()
    photo = torch.rand(1, 3, 65, 70)
    assert net(photo, photo)[0].shape == (1, 1, 65, 70)


def test_multiply_adds_by_hand():
    layer = torch.nn.Conv2d(3, 8, 3, padding=1)

    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, background, image):
            return self.layer(image)

    assert model.multiply_adds(Pair(), 16) == 3 * 3 * 3 * 8 * 16 * 16


def test_both_photos_are_normalised_alike(net):
    photo = torch.rand(1, 3, 64, 64)
    skips, photos = net.features(photo, photo)
    for skip in skips:
        assert skip[:, skip.shape[1] // 2 :].abs().max() < 1e-5, "identical photos have no difference"
    assert photos[:, 3:].abs().max() == 0


def test_a_brighter_scene_reaches_the_decoders(net):
    photo = torch.rand(1, 3, 64, 64) * 0.5
    assert not torch.allclose(net(photo, photo)[0], net(photo, photo + 0.3)[0])


def test_exposure_and_shake_do_not_reach_the_mask():
    """With `matched`, a background of another exposure gives nearly the mask of the pair that fits; without, it does not."""
    torch.manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), 64, mode="bicubic").clamp(0.1, 0.7)
    image = photo.clone()
    image[:, :, 20:40, 20:40] = 0.9
    moved = {}
    for matched in (True, False):
        torch.manual_seed(1)
        net = model.MaskDepthNet(replace(TINY, matched=matched)).eval()
        moved[matched] = (net(0.6 * photo, image)[0] - net(photo, image)[0]).abs().mean().item()
    assert moved[True] < 0.2 * moved[False]


def test_the_object_stands_before_the_scene():
    """A layered depth is nowhere farther than the scene's own, and differs from it only where the mask is."""
    torch.manual_seed(0)
    net = model.MaskDepthNet(TINY).eval()
    background, image = torch.rand(2, 1, 3, 64, 64)
    mask = torch.full((1, 1, 64, 64), -30.0)
    net.mask_decoder.forward = lambda skips, photos: mask
    scene = net(background, image)[1]
    mask[..., 20:40, 20:40] = 30.0
    before = net(background, image)[1] - scene
    assert before.min() >= 0 and before[..., 20:40, 20:40].min() > 0.01
    before[..., 20:40, 20:40] = 0
    assert before.max() < 1e-6


@pytest.mark.parametrize("part, other", [("mask", "depth"), ("depth", "mask")])
def test_a_part_of_weight_zero_trains_no_decoder(part, other):
    torch.manual_seed(0)
    net = model.MaskDepthNet()
    batch = {"mask": torch.rand(2, 1, 32, 32), "depth": torch.rand(2, 1, 32, 32)}
    terms = losses.raw_terms(*net(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)), batch)
    losses.weighted_sum(terms, losses.LossWeights(**{part: 0.0})).backward()
    silent, active = (getattr(net, f"{name}_decoder").parameters() for name in (part, other))
    assert all(p.grad is None for p in silent)
    assert all(p.grad is not None for p in active)


def test_one_batch_can_be_overfitted():
    torch.manual_seed(0)
    net = model.MaskDepthNet()
    background = torch.rand(2, 3, 48, 48)
    image, mask = background.clone(), torch.zeros(2, 1, 48, 48)
    image[:, :, 12:30, 10:32], mask[:, :, 12:30, 10:32] = 0.1, 1.0
    batch = {"mask": mask, "depth": 0.2 + 0.5 * mask}
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    for _ in range(60):
        mask_logits, depth = net(background, image)
        loss = losses.weighted_sum(losses.raw_terms(mask_logits, depth, batch), losses.LossWeights())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((mask_logits > 0) == (mask > 0.5)).float().mean() > 0.99
    assert (depth - batch["depth"]).abs().mean() < 0.05


def test_bad_photos_are_refused(net):
    photo = torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match="64"):
        net(photo, torch.rand(1, 3, 64, 65))
    with pytest.raises(ValueError, match="32"):
        net(photo[..., :16, :16], photo[..., :16, :16])
    with pytest.raises(ValueError, match="vgg"):
        model.MaskDepthNet(model.ModelConfig("vgg"))


def test_large_photos_have_layers_of_their_own():
    """What is learnt and counted on large photos leaves small ones as they were, and the depth, thought about at one width, as well."""
    torch.manual_seed(0)
    ordinary = model.MaskDepthNet(TINY).eval()
    net = model.with_sizes(ordinary)
    small, large = torch.rand(2, 1, 3, 64, 64), torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        before = net(*small), net(*large)
        assert torch.equal(before[0][0], ordinary(*small)[0]) and torch.equal(before[1][0], ordinary(*large)[0])
        for layer in sized(net.encoder):
            layer.large.weight.fill_(0.5)
        after = net(*small), net(*large)
        back = model.without_sizes(net)
    for answers in (after[0], back(*small)):
        assert torch.equal(before[0][0], answers[0]) and torch.equal(before[0][1], answers[1])
    assert not torch.allclose(before[1][0], after[1][0]) and torch.equal(before[1][0], back(*large)[0]) and not back.config.sized
    net.train()(*small)
    counted = [net.encoder.stages[-1][-1].second[1].get_submodule(size).num_batches_tracked for size in ("small", "large")]
    assert torch.stack(counted).tolist() == [1, 0]
    net(*large)
    assert torch.stack(counted).tolist() == [2, 1], "the depth of a large photo is that of a small one"


def test_every_normalisation_of_the_encoder_and_the_mask_decoder_are_sized():
    net = model.MaskDepthNet(replace(TINY, sized=True))
    assert len(sized(net)) == len(model.norms(net.encoder)) // 2 + 1 and isinstance(net.mask_decoder, model.Sized)
    assert not sized(model.MaskDepthNet(TINY)) and model.parameters(model.MaskDepthNet(model.ModelConfig(sized=True))) <= 2_000_000


def test_config_survives_json():
    config = model.ModelConfig(widths=(8, 8, 8, 8, 8))
    assert model.ModelConfig.from_dict(config.to_dict()) == config
    older = {key: value for key, value in config.to_dict().items() if key not in ("matched", "layered")}
    assert not model.ModelConfig.from_dict(older).matched and not model.ModelConfig.from_dict(older).layered


@pytest.mark.parametrize("config", [TINY, replace(TINY, sized=True)], ids=["ordinary", "sized"])
def test_a_conditional_network_starts_as_an_ordinary_one_and_then_listens(config):
    torch.manual_seed(0)
    ordinary = model.MaskDepthNet(config).eval()
    net = ConditionalNet(replace(config, conditional=True), ordinary)
    net.usual.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    photos, corners = torch.rand(2, 2, 3, 32, 40), torch.eye(CONDITIONS)
    assert len(losses.CONDITIONED) == CONDITIONS
    with torch.no_grad():
        plain = ordinary(*photos)
        for corner in corners:
            assert all(torch.equal(a, b) for a, b in zip(net(*photos, corner), plain, strict=True)), "no modulation yet"
        for layer in net.modules():
            if isinstance(layer, FiLM):
                layer.to_film.weight.normal_(0, 0.3)
        first, second = net(*photos, corners[0]), net(*photos, corners[3])
        assert not torch.allclose(first[0], second[0]) and not torch.allclose(first[1], second[1])
        coarse = [net(*photos, corner) and net.encoder(photos[0])[-1] for corner in (corners[0], corners[3])]
        assert not torch.allclose(*coarse), "the encoder listens too"
        mixed = net(*photos, torch.stack([corners[0], corners[3]]))
        assert torch.allclose(mixed[1][0], first[1][0], atol=1e-5) and torch.allclose(mixed[1][1], second[1][1], atol=1e-5)
        for usual in (net(*photos), net(*photos, net.usual)):
            assert all(torch.equal(a, b) for a, b in zip(usual, plain, strict=True)), "at the usual weights it is the ordinary network"


def test_only_the_modulation_of_a_conditional_network_is_trained():
    torch.manual_seed(0)
    ordinary = model.MaskDepthNet(TINY)
    net = ConditionalNet(replace(TINY, conditional=True), ordinary).train()
    optimizer = torch.optim.AdamW(net.parameters(), 0.1)
    for _ in range(2):  # with the first step's weights the code gets a gradient too
        mask_logits, depth = net(*torch.rand(2, 2, 3, 32, 32), torch.tensor([0.7, 0.1, 0.1, 0.1]))
        (mask_logits.mean() + depth.mean()).backward()
        optimizer.step()
    kept = {name.replace("layer.", ""): value for name, value in net.state_dict().items()}
    assert all(torch.equal(value, kept[name]) for name, value in ordinary.state_dict().items()), "weights and statistics"
    assert all(layer.to_film.weight.abs().sum() > 0 for layer in net.modules() if isinstance(layer, FiLM))
    assert all(part.weight.grad is not None for part in (net.embed[0], net.embed[2]))
