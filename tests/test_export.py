"""The exported network gives the same maps as PyTorch's."""

import sys

import numpy as np
import pytest
import torch
from conftest import smooth

from eva_helpers.export import MasksAndDepths, export_onnx, export_program, halve, main
from eva_helpers.files import InputError
from eva_helpers.model import load_weights
from eva_helpers.model.shrinking import shrink


def pairs(count, size, seed=0):
    """Backgrounds and images (count, 3, H, W) with a dark square, the image a little brighter."""
    rng = np.random.default_rng(seed)
    scenes = [smooth(rng, max(size))[: size[0], : size[1]] for _ in range(count)]
    background = torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2).float() / 255
    image = (background * 1.1).clamp(0, 1)
    image[:, :, size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 0.05
    return background.contiguous(), image


def close(found, net, photos):
    with torch.inference_mode():
        expected = MasksAndDepths(net)(*photos)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other.numpy(), atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory, weights):
    """A network of 96 x 64 px; exporting takes a while, so it is done once."""
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    return export_onnx(load_weights(weights), path, (64, 96))


def session_maps(path, photos):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = dict(zip(("background", "image"), (each.numpy() for each in photos), strict=True))
    return session.run(["mask", "depth"], inputs)


def test_onnx_gives_the_same_maps_for_any_number_of_pairs(onnx_file, weights):
    net = load_weights(weights)
    for count in (1, 5):
        photos = pairs(count, (64, 96), seed=count)
        close(session_maps(onnx_file, photos), net, photos)


def test_torchs_own_format_gives_the_same_maps(tmp_path, weights):
    net = load_weights(weights)
    path = export_program(net, tmp_path / "net.pt2", (48, 64))
    loaded = torch.export.load(path).module()
    for count in (1, 3):
        photos = pairs(count, (48, 64))
        with torch.inference_mode():
            close(loaded(*photos), net, photos)


def test_half_precision_halves_the_weights_and_keeps_the_maps(onnx_file, weights, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    halve(model)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "half.onnx")
    net = load_weights(weights)
    large = sum(value.numel() for value in net.parameters() if value.numel() >= 64)
    saved = onnx_file.stat().st_size - (tmp_path / "half.onnx").stat().st_size
    assert saved > 1.2 * large, "two bytes less for each, but for the names of the casts"
    photos = pairs(2, (64, 96))
    with torch.inference_mode():
        expected = MasksAndDepths(net)(*photos)
    found = session_maps(tmp_path / "half.onnx", photos)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=0.01, rtol=0)


def test_the_command_line(tmp_path, weights, capsys):
    made = tmp_path / "net.pt2"
    size = ["--width", "64", "--height", "48"]
    assert main([str(made), "--weights", str(weights), *size]) == 0
    assert made.is_file() and "64x48 px" in capsys.readouterr().out
    for wrong, message in (
        (["net.tflite"], "expected .onnx or .pt2"),
        (["net.pt2", "--half"], "--half is for ONNX"),
        (["net.pt2", "--width", "16"], "at least 32"),
        (["net.pt2", "--weights", "missing"], "missing"),
    ):
        assert main([str(tmp_path / wrong[0]), *wrong[1:]]) == 2
        assert message in capsys.readouterr().err


def test_without_its_packages_onnx_is_refused(tmp_path, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install"):
        export_onnx(load_weights(weights), tmp_path / "net.onnx")


@pytest.mark.parametrize("size", [(32, 32), (43, 64), (97, 50), (97, 101)])
def test_shrinking_is_the_mean_of_what_a_pixel_covers(size):
    photo = torch.rand(2, 3, 97, 101)
    expected = torch.nn.functional.interpolate(photo, size, mode="area")
    torch.testing.assert_close(shrink(photo, size), expected)


def test_the_network_can_be_compiled(weights):
    """Capturing the graph is what failed; making machine code of it would take minutes."""
    net = load_weights(weights)
    compiled = torch.compile(MasksAndDepths(net), backend="aot_eager", fullgraph=True)
    photos = pairs(2, (48, 64))
    with torch.no_grad():
        close(compiled(*photos), net, photos)
