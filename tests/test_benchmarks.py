"""What benchmarks/ compares is what it says; the figures themselves are not tested."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import endurance, files, loading, photos, scale, steps, timing
from benchmarks.original import OriginalDataset, train_step, write_original_folder
from eva_helpers.data import CompositeDataset
from eva_helpers.evaluation import OriginalNet
from eva_helpers.losses import depth_ssim
from eva_helpers.losses.terms import DEPTH_LOSSES
from eva_helpers.paths import ROOT
from eva_helpers.storage import FolderDataset


@pytest.mark.parametrize(
    "script",
    ["speed", "files", "many", "photos", "runtimes", "gpu", "processes", "endurance", "kills"],
)
def test_every_script_has_help(script, capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{script}").main(["--help"])
    assert end.value.code == 0 and "--json" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(tmp_path, capsys):
    target = tmp_path / "gpu.json"
    assert importlib.import_module("benchmarks.gpu").main(["--json", str(target)]) == 2
    assert "not measured" in capsys.readouterr().err and not target.exists()


def test_memory_is_watched(monkeypatch):
    monkeypatch.setattr(endurance, "PAIRS", 2)
    watched = endurance.watched(endurance.predicting, 30)
    assert watched["count"] == 30 and all(value > 0 for value in watched.values())


def test_the_pair_of_photos_is_measured_in_parts(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(photos, "ROUNDS", 1)
    background, image = (np.asarray(Image.open(p)) for p in photos.write_pair(tmp_path, (90, 120)))
    changed = np.abs(background.astype(int) - image).max(2) > 30
    assert background.shape == (90, 120, 3) and 0.01 < changed.mean() < 0.3
    measured = photos.measure((90, 120), weights)
    assert all(value > 0 for name, value in measured.items() if name != "mask found")


def test_shards_are_measured_beside_files(tiny, monkeypatch):
    monkeypatch.setattr(files, "SHARDS_SIZE", 48)
    measured = files.shards(tiny, 30)
    assert len(measured) == 8 and all(value > 0 for value in measured.values())


@pytest.fixture
def original(tiny, tmp_path):
    write_original_folder(tmp_path, tiny, 3)
    return tmp_path


def test_original_files_hold_the_same_samples(tiny, original):
    """Both loaders read them, up to JPEG and resampling; near is bright in the depth we read."""
    old = OriginalDataset(original, 3, 64)
    new = FolderDataset(original, size=64)
    truth = CompositeDataset(tiny, size=220)
    for number in range(3):
        sample = old[number]
        assert sample["image"].shape == (3, 64, 64) and sample["depth"].shape == (1, 64, 64)
        for name in ("background", "image", "mask"):
            assert (sample[name] - new[number][name]).abs().mean() < 0.02, name
        assert (1 - sample["depth"] - new[number]["depth"]).abs().mean() < 0.02
        expected = torch.from_numpy(truth.composite(number)["mask"]).mean()
        assert sample["mask"].mean() == pytest.approx(expected.item(), abs=0.01)


def test_the_original_way_gets_the_same_augmentation(original):
    augmented = loading.Augmented(OriginalDataset(original, 3, 64), 48)
    sample = augmented[0]
    assert {name: tuple(value.shape[1:]) for name, value in sample.items()} == dict.fromkeys(
        ("background", "image", "mask", "depth"), (48, 48)
    )
    assert torch.equal(sample["image"], augmented[0]["image"])
    assert loading.reader(augmented, 5)() == 5


@pytest.fixture
def batch():
    torch.manual_seed(0)
    photos = {name: torch.rand(2, 3, 32, 32) for name in ("background", "image")}
    return photos | {"mask": torch.zeros(2, 1, 32, 32), "depth": torch.full((2, 1, 32, 32), 0.5)}


def test_the_original_network_learns(batch):
    net = OriginalNet()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    losses = [train_step(net, optimizer, batch) for _ in range(3)]
    assert losses[-1] < losses[0]


def test_rates_are_units_per_second(capsys):
    calls = []

    def work():
        calls.append(None)
        return 10

    assert timing.rate(work, 0.0) > 0 and len(calls) == 4, "a warm-up and three repetitions"
    timing.show({"slow": 5.0, "fast": 20.0}, "slow")
    assert "4.0 x" in capsys.readouterr().out and timing.cpu_name()


def test_an_optimisation_is_replaced_and_put_back(batch):
    calls = []

    def other(depth, target):
        calls.append(depth.shape)
        return depth_ssim(depth, target)

    assert steps.step_rate(batch, 0.0, ssim=other) > 0
    assert len(calls) == 4 and DEPTH_LOSSES["ssim"] is depth_ssim


def test_the_page_has_the_table_that_is_printed():
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    assert f"<!-- scale -->\n{scale.table()}\n<!-- /scale -->" in page
    assert scale.hours(400, 10) == "40 s" and scale.hours(36_000, 1) == "10 h"
