import json
from dataclasses import replace

import pytest
import torch
from conftest import TINY
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import eva_helpers
from eva_helpers import hardware, losses, model
from eva_helpers.files import InputError
from eva_helpers.model import MaskDepthNet
from eva_helpers.model.weights import FORMAT, SWITCHES
from eva_helpers.paths import WEIGHTS


def sized(net):
    return [layer for layer in net.modules() if isinstance(layer, model.Sized)]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return MaskDepthNet().eval()


@pytest.mark.parametrize("height, width", [(32, 32), (33, 47), (64, 64), (65, 129), (100, 224)])
def test_any_size_from_32(net, height, width):
    photo = torch.rand(2, 3, height, width)
    mask_logits, depth = net(photo, photo.flip(0))
    assert mask_logits.shape == depth.shape == (2, 1, height, width)
    assert depth.min() >= 0 and depth.max() <= 1
    assert mask_logits.dtype == depth.dtype == torch.float32


def test_small_is_small(net):
    assert model.parameters(net) <= 2_000_000
    assert model.multiply_adds(net, 64) <= 1e9
    assert model.receptive_field(net, 256) > 128


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_torchvision_encoders(name):
    net = MaskDepthNet(model.ModelConfig(name)).eval()
    photo = torch.rand(1, 3, 65, 70)
    assert net(photo, photo)[0].shape == (1, 1, 65, 70)


class Pair(torch.nn.Module):
    """Two 3x3 convolutions of the image, behind a batched product as that of the matching."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 1, 3, padding=1)
        self.weigh = torch.nn.Linear(16, 16)

    def forward(self, background, image):
        image = self.weigh(image + (background[0] @ background[0].mT)[None])
        maps = self.second(self.first(image))
        return maps, maps


def test_multiply_adds_by_hand():
    convolutions = 3 * 3 * (3 * 8 + 8 * 1) * 16 * 16
    assert model.multiply_adds(Pair(), 16) == convolutions + 3 * 16 * 16 * 16


def test_multiply_adds_count_every_layer_and_not_the_matching(net):
    expected = 0

    def count(layer, _, output):
        nonlocal expected
        expected += output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in net.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    net(*torch.zeros(2, 1, 3, 96, 96))
    for hook in hooks:
        hook.remove()
    assert model.multiply_adds(net, 96) == expected


def test_receptive_field_by_hand():
    assert model.receptive_field(Pair(), 16) == 16, "a linear layer mixes whole rows"
    pair = Pair()
    pair.weigh = torch.nn.Identity()
    pair.forward = lambda background, image: 2 * (pair.second(pair.first(image)),)
    assert model.receptive_field(pair, 16) == 5


def test_measuring_a_network_leaves_it_as_it_is():
    net = MaskDepthNet(TINY).train()
    net.encoder.eval()
    modes = [layer.training for layer in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    model.multiply_adds(net, 64)
    model.receptive_field(net, 64)
    assert [layer.training for layer in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_both_photos_are_normalised_alike(net):
    photo = torch.rand(1, 3, 64, 64)
    skips, guides = net.features(photo, photo)
    for skip in skips:
        difference = skip[:, skip.shape[1] // 2 :]
        assert difference.abs().max() < 1e-5, "identical photos have no difference"
    assert guides[:, 3:].abs().max() == 0


def test_a_brighter_scene_reaches_the_decoders(net):
    photo = torch.rand(1, 3, 64, 64) * 0.5
    assert not torch.allclose(net(photo, photo)[0], net(photo, photo + 0.3)[0])


class Unmatched(MaskDepthNet):
    def match(self, background, image):
        return background


def test_exposure_and_shake_do_not_reach_the_mask():
    """A darker background gives nearly the same mask as the right one; unmatched, it does not."""
    torch.manual_seed(0)
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), 64, mode="bicubic")
    photo = photo.clamp(0.1, 0.7)
    image = photo.clone()
    image[:, :, 20:40, 20:40] = 0.9
    moved = {}
    for kind in (MaskDepthNet, Unmatched):
        torch.manual_seed(1)
        net = kind(TINY).eval()
        moved[kind] = (net(0.6 * photo, image)[0] - net(photo, image)[0]).abs().mean().item()
    assert moved[MaskDepthNet] < 0.2 * moved[Unmatched]


class Varied(MaskDepthNet):
    """Overrides everything that is meant to be overridden, apart from `match`."""

    def build_decoders(self, skips):
        assert skips == (8,) * 5
        depth = model.Decoder(skips, self.config.decoder, 4, layers=2, guides=10)
        return model.Decoder(skips, self.config.decoder, 4), depth

    def fuse(self, image, background):
        return image - background

    def predict_depth(self, skips, guides, mask):
        return super().predict_depth(skips, torch.cat([guides, mask], dim=1), mask)

    def compose_depth(self, depth_maps, mask):
        return depth_maps


def test_a_subclass_varies_the_network():
    net = Varied(TINY).eval()
    mask_logits, depth = net(*torch.rand(2, 1, 3, 64, 80))
    assert mask_logits.shape == depth.shape == (1, 1, 64, 80)


def test_the_object_is_in_front_of_the_scene():
    """The depth is nowhere farther than the scene's, and differs from it only within the mask."""
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).eval()
    background, image = torch.rand(2, 1, 3, 64, 64)
    mask = torch.full((1, 1, 64, 64), -30.0)
    net.mask_decoder.forward = lambda skips, guides: mask
    scene = net(background, image)[1]
    mask[..., 20:40, 20:40] = 30.0
    nearer = net(background, image)[1] - scene
    assert nearer.min() >= 0 and nearer[..., 20:40, 20:40].min() > 0.01
    nearer[..., 20:40, 20:40] = 0
    assert nearer.max() < 1e-6


def test_an_encoder_of_timm():
    pytest.importorskip("timm")
    net = MaskDepthNet(model.ModelConfig("timm:mobilenetv3_small_050", decoder=(8, 8, 8, 8))).eval()
    mask_logits, depth = net(*torch.rand(2, 2, 3, 45, 70))
    assert mask_logits.shape == depth.shape == (2, 1, 45, 70)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:convnext_atto", r"features at 1/4.*expected 1/2"),
        ("timm:no_such_net", "no_such_net"),
        ("vgg", "expected .*small"),
    ],
)
def test_unusable_encoders_are_refused_with_the_reason(name, message):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        MaskDepthNet(model.ModelConfig(name))


@pytest.mark.parametrize("part, other", [("mask", "depth"), ("depth", "mask")])
def test_a_part_of_weight_zero_trains_no_decoder(part, other):
    torch.manual_seed(0)
    net = MaskDepthNet()
    batch = {"mask": torch.rand(2, 1, 32, 32), "depth": torch.rand(2, 1, 32, 32)}
    terms = losses.raw_terms(*net(*torch.rand(2, 2, 3, 32, 32)), batch)
    losses.weighted_sum(terms, losses.LossWeights(**{part: 0.0})).backward()
    silent, active = (getattr(net, f"{name}_decoder").parameters() for name in (part, other))
    assert all(p.grad is None for p in silent)
    assert all(p.grad is not None for p in active)


def test_one_batch_can_be_overfitted():
    torch.manual_seed(0)
    net = MaskDepthNet()
    background = torch.rand(2, 3, 48, 48)
    image = background.clone()
    image[:, :, 12:30, 10:32] = 0.1
    mask = torch.zeros(2, 1, 48, 48)
    mask[:, :, 12:30, 10:32] = 1.0
    batch = {"mask": mask, "depth": 0.2 + 0.5 * mask}
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    for _ in range(60):
        mask_logits, depth = net(background, image)
        terms = losses.raw_terms(mask_logits, depth, batch)
        optimizer.zero_grad()
        losses.weighted_sum(terms, losses.LossWeights()).backward()
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
        MaskDepthNet(model.ModelConfig("vgg"))


def test_large_photos_have_their_own_layers():
    """What large photos change leaves small ones, and the depth (always at one width), alone."""
    torch.manual_seed(0)
    ordinary = MaskDepthNet(TINY).eval()
    net = model.with_sizes(ordinary)
    small = torch.rand(2, 1, 3, 64, 64)
    large = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        before_small = net(*small)
        before_large = net(*large)
        assert torch.equal(before_small[0], ordinary(*small)[0])
        assert torch.equal(before_large[0], ordinary(*large)[0])
        for layer in sized(net.encoder):
            layer.large.weight.fill_(0.5)
        after_large = net(*large)
        after_small = net(*small)
        assert torch.equal(before_small[0], after_small[0])
        assert torch.equal(before_small[1], after_small[1])
        assert not torch.allclose(before_large[0], after_large[0])
    norm = net.encoder.stages[-1][-1].second[1]
    net.train()(*small)
    assert (norm.small.num_batches_tracked, norm.large.num_batches_tracked) == (1, 0)
    net(*large)
    counted = (norm.small.num_batches_tracked, norm.large.num_batches_tracked)
    assert counted == (2, 1), "the depth of a large photo is computed as that of a small one"


def test_all_norms_of_the_encoder_and_the_mask_decoder_are_sized():
    net = MaskDepthNet(replace(TINY, sized=True))
    assert len(sized(net)) == len(model.norms(net.encoder)) // 2 + 1
    assert isinstance(net.mask_decoder, model.Sized)
    assert not sized(MaskDepthNet(TINY))
    assert model.parameters(MaskDepthNet(model.ModelConfig(sized=True))) <= 2_000_000


def test_the_passes_are_the_forward_pass_in_parts():
    """The depth maps composed with another mask are the depth with its edges there."""
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).eval()
    background, image = torch.rand(2, 1, 3, 80, 96)
    with torch.no_grad():
        mask_logits, depth = net(background, image)
        aligned = net.match(background, image)
        logits, maps = net.predict_layers(aligned, image)
        assert torch.equal(logits, mask_logits)
        assert torch.equal(net.predict_mask(aligned, image), mask_logits)
        assert torch.equal(net.compose_depth(maps, mask_logits.sigmoid()), depth)
        scene = net.compose_depth(maps, torch.zeros_like(depth))
        front = net.compose_depth(maps, torch.ones_like(depth))
    assert torch.equal(scene, maps[:, :1]) and (front >= scene).all()


def test_a_refiner_is_added_without_changing_the_rest():
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).eval()
    twin = model.with_refiner(net, 8)
    photos = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(net(*photos), twin(*photos), strict=True))
    assert net.refiner is None and twin.config == replace(TINY, refiner=8) and not twin.training
    assert model.parameters(MaskDepthNet(model.ModelConfig(refiner=24))) <= 2_000_000


def test_config_survives_json():
    config = model.ModelConfig(widths=(8, 8, 8, 8, 8), sized=True, refiner=8)
    assert model.ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_inference_leaves_the_network_alone_and_keeps_its_own_copy():
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).train()
    net.encoder.eval()
    modes = [layer.training for layer in net.modules()]
    photos = torch.rand(2, 2, 3, 48, 40)
    predict = model.inference(net, "cpu", exact=True)
    mask, depth = predict(*photos)
    assert [layer.training for layer in net.modules()] == modes
    assert net.encoder.stem[0].weight.is_contiguous(), "not moved to channels_last"
    assert net.encoder.stem[1].num_batches_tracked == 0
    with torch.no_grad():
        mask_logits, expected = model.inference(net, "cpu", exact=True)(*photos)
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(predict(*photos)[0], mask) and torch.equal(predict(*photos)[1], depth)
    assert torch.equal(mask_logits, mask) and torch.equal(expected, depth)


def test_inference_returns_probabilities_and_depth_that_can_be_trained_on():
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).eval()
    photos = torch.rand(2, 2, 3, 48, 40)
    results = model.inference(net, "cpu", exact=True)(*photos)
    with torch.no_grad():
        mask_logits, depth = net(*photos)
    assert torch.allclose(results[0], mask_logits.sigmoid(), atol=1e-5)
    assert torch.allclose(results[1], depth, atol=1e-5)
    for result in results:
        assert result.dtype == torch.float32 and result.device.type == "cpu"
        assert not result.requires_grad and not result.is_inference()
        (torch.ones_like(result).requires_grad_() * result).sum().backward()


@pytest.mark.parametrize("rank, expected", [(None, "cuda"), ("1", "cuda:1"), ("5", "cuda:1")])
def test_every_process_has_a_gpu_of_its_own(monkeypatch, rank, expected):
    """More processes than GPUs share them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert str(hardware.gpu()) == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.gpu() is None


def test_exact_inference_is_float32_where_bfloat16_is_fast(monkeypatch):
    monkeypatch.setattr("eva_helpers.hardware.fast_bf16", lambda kind: True)
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).eval()
    seen = []
    net.encoder.stem[0].register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    photos = torch.rand(2, 1, 3, 32, 32)
    model.inference(net, "cpu")(*photos)
    model.inference(net, "cpu", exact=True)(*photos)
    with torch.autocast("cpu", torch.bfloat16):
        model.inference(net, "cpu", exact=True)(*photos)
    assert seen == [torch.bfloat16, torch.float32, torch.float32]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_inference_uses_the_gpu_and_leaves_the_network_on_the_cpu():
    net = MaskDepthNet(TINY)
    photos = torch.rand(2, 1, 3, 32, 32)
    mask, depth = model.inference(net, exact=True)(*photos)
    assert mask.device.type == depth.device.type == net.mean.device.type == "cpu"
    assert torch.allclose(mask, model.inference(net, "cpu", exact=True)(*photos)[0], atol=1e-2)


def test_weights_survive_the_file(tmp_path):
    torch.manual_seed(0)
    net = MaskDepthNet(TINY).eval()
    photo = torch.rand(1, 3, 32, 32)
    whole = tmp_path / "a.safetensors"
    half = tmp_path / "half.safetensors"
    model.save_weights(net, whole)
    model.save_weights(net, half, half=True)
    loaded = model.load_weights(whole)
    assert torch.equal(loaded(photo, photo)[1], net(photo, photo)[1]) and not loaded.training
    loaded = model.load_weights(half)
    assert torch.allclose(loaded(photo, photo)[1], net(photo, photo)[1], atol=1e-2)
    assert loaded.mean.dtype == torch.float32
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [whole.name, half.name]
    model.save_weights(net.to(memory_format=torch.channels_last), half)
    assert half.read_bytes()[-1000:] == whole.read_bytes()[-1000:], "whatever the memory format"


def test_weights_say_which_version_made_them(weights):
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == FORMAT and metadata["version"] == eva_helpers.__version__
    assert json.loads(metadata["config"]) == TINY.to_dict()


def test_the_shipped_weights_can_be_read():
    with safe_open(WEIGHTS, framework="pt") as file:
        names = set(file.keys())
    assert set(model.load_weights(WEIGHTS).state_dict()) == names


def test_foreign_and_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="not there"):
        model.load_weights(path)
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match="safetensors"):
        model.load_weights(path)
    layer = {"layer": torch.zeros(2)}
    save_file(layer, path)
    with pytest.raises(InputError, match="another network"):
        model.load_weights(path)
    config = json.dumps(TINY.to_dict() | SWITCHES)
    save_file(layer, path, {"format": FORMAT, "config": config})
    with pytest.raises(InputError, match="does not fit"):
        model.load_weights(path)
    for metadata in ({}, {"config": "{"}, {"config": "null"}):
        save_file(layer, path, {"format": FORMAT} | metadata)
        with pytest.raises(InputError, match="no readable configuration"):
            model.load_weights(path)


def rewritten(source, path, config, **metadata):
    """The weights file `source` with another configuration and version."""
    metadata = {"format": FORMAT, "config": json.dumps(config)} | metadata
    save_file(load_file(source), path, metadata)
    return path


OFF = [("matched", False), ("layered", False), ("coordinates", False), ("cross_talk", True)]


@pytest.mark.parametrize("switch, value", [*OFF, ("fusion", "both"), ("detail_layers", 1)])
def test_removed_switches_are_accepted_as_shipped_and_else_refused(
    weights, tmp_path, switch, value
):
    config = TINY.to_dict() | SWITCHES
    path = tmp_path / "old.safetensors"
    assert model.load_weights(rewritten(weights, path, config)).config == TINY
    rewritten(weights, path, config | {switch: value})
    with pytest.raises(InputError, match=rf"old.*made by eva_helpers 0\.1 with {switch} {value}, "):
        model.load_weights(path)


@pytest.mark.parametrize("missing", ["matched", "coordinates", "layered"])
def test_files_older_than_a_switch_are_refused(weights, tmp_path, missing):
    config = {key: value for key, value in (TINY.to_dict() | SWITCHES).items() if key != missing}
    path = rewritten(weights, tmp_path / "older.safetensors", config)
    with pytest.raises(InputError, match=f"with {missing} False, which only that version"):
        model.load_weights(path)


def test_a_newer_configuration_is_refused_by_its_version(weights, tmp_path):
    config = TINY.to_dict() | {"attention": True}
    path = rewritten(weights, tmp_path / "newer.safetensors", config, version="7.1")
    with pytest.raises(InputError, match=r"made by eva_helpers 7\.1 with attention.*update"):
        model.load_weights(path)


def test_weights_of_a_subclass_are_not_taken_for_the_networks(tmp_path):
    path = tmp_path / "a.safetensors"
    model.save_weights(Unmatched(TINY), path)
    with pytest.raises(InputError, match="of class Unmatched, not MaskDepthNet"):
        model.load_weights(path)
