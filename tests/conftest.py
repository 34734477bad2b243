"""Shared fixtures: a tiny catalogue made here, the park, the real photographs where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

os.environ.setdefault("MPLBACKEND", "agg")
os.environ["CI"] = "true"  # no widgets in tests
# a fixed number of threads: trainings are compared to the bit
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

from eva_helpers.catalogue import Catalogue, load_catalogue
from eva_helpers.model import MaskDepthNet, ModelConfig, save_weights

TINY = ModelConfig(widths=(8, 8, 8, 8, 8), blocks=(1, 1, 1, 1, 1), decoder=(8, 8, 8, 8), detail=4)
REAL = Path(__file__).resolve().parents[2] / "shared" / "real"
# Files of tests that train, start processes, or predict photos at their own size.
SLOW = [
    "bank", "benchmarks", "book", "demo", "evaluation", "experiments", "export", "finetuning",
    "hub", "kills", "live", "many", "matting", "own_photos", "package", "park", "playground",
    "real",
    "refinement", "resume", "training", "training_data", "tuning", "worlds", "writing",
]  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW or item.get_closest_marker("notebook"):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("real") and not REAL.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real photographs at {REAL}"))


@pytest.fixture(scope="session")
def real() -> Path:
    return REAL


@pytest.fixture(scope="session")
def park() -> Catalogue:
    return load_catalogue()


def smooth(rng: np.random.Generator, size: int) -> np.ndarray:
    """A soft random colour picture: textured, but not noise."""
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def write_catalogue(folder: Path, scenes: int = 6, cutouts: int = 6, size: int = 96) -> Path:
    """A catalogue with a floor from the middle down (1.5 to 30 m) and round objects 0.5 m wide."""
    rng = np.random.default_rng(1)
    rows = np.arange(size, dtype=np.float64)
    z = np.where(rows > size / 2, 1.5 * (size / 2) / np.maximum(rows - size / 2 + 1, 1), np.inf)
    code = np.where(
        np.isfinite(z), np.rint(np.log(np.maximum(z, 0.5) / 0.5) / 0.008) + 1, 0
    ).astype(np.uint16)
    splits = ["train", "validation", "test", "train", "train", "test"]
    data = {
        "name": "tiny",
        "z_near": 1.5,
        "depth_encoding": {"kind": "log", "near": 0.5, "step": 0.008},
        "relief_encoding": {"zero": 128, "step": 0.01},
        "scenes": [],
        "cutouts": [],
    }
    walkable = ((rows > size * 0.6) * 255).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(scenes):
        Image.fromarray(smooth(rng, size)).save(folder / f"s{number}.png")
        Image.fromarray(np.repeat(code[:, None], size, 1)).save(folder / f"s{number}_depth.png")
        Image.fromarray(np.repeat(walkable[:, None], size, 1)).save(
            folder / f"s{number}_ground.png"
        )
        files = {
            "image": f"s{number}.png",
            "depth": f"s{number}_depth.png",
            "ground": f"s{number}_ground.png",
        }
        entry = {"id": f"s{number}", "scene": number, "split": splits[number % 6]}
        data["scenes"].append(entry | {"focal": float(size)} | files)
    y, x = np.mgrid[:40, :40] - 19.5
    alpha = np.clip(20 - np.hypot(y, x), 0, 1) * 255
    for number in range(cutouts):
        rgba = np.dstack([smooth(rng, 40), alpha]).astype(np.uint8)
        Image.fromarray(rgba).save(folder / f"c{number}.png")
        data["cutouts"].append(
            {
                "id": f"c{number}",
                "object": number,
                "split": splits[number % 6],
                "image": f"c{number}.png",
                "metres_per_pixel": 0.0125,
                "contact": [38.0, 20.0],
            }
        )
    (folder / "catalogue.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Catalogue:
    return load_catalogue(write_catalogue(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A weights file of a tiny untrained network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(MaskDepthNet(TINY), path)
    return path


def picture(seed: int, size: int = 120) -> Image.Image:
    return Image.fromarray(smooth(np.random.default_rng(seed), size))


def cutout(seed: int) -> Image.Image:
    made = picture(seed, 80)
    alpha = np.zeros((80, 80), np.uint8)
    alpha[10:70, 20:60] = 255
    made.putalpha(Image.fromarray(alpha))
    return made


@pytest.fixture
def mine(tmp_path):
    for name in ("bg", "fg", "fg_mask"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    for number in range(6):
        picture(number).save(tmp_path / f"mine/bg/b{number}.jpg")
        cutout(number + 20).save(tmp_path / f"mine/fg/f{number}.png")
    return tmp_path / "mine"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Depth-Anything of toy size, saved as a user's copy of the real one would be."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `photos`")
    backbone = transformers.Dinov2Config(
        image_size=56,
        patch_size=14,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        out_indices=[1, 2],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    folder = tmp_path_factory.mktemp("depth-anything")
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config)
    # The head ends in a ReLU: without a bias, a random network may well predict 0 everywhere.
    torch.nn.init.constant_(model.head.conv3.bias, 1.0)
    model.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    processor = transformers.DPTImageProcessor(
        size=size, do_resize=True, keep_aspect_ratio=False, ensure_multiple_of=14
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def examples(tiny):
    """A batch of four validation samples."""
    from eva_helpers.data import CompositeDataset, fixed_sample, make_loader

    held_out = CompositeDataset(tiny, "validation", "validation", size=32)
    return next(iter(make_loader(fixed_sample(held_out, 4), 4)))


@pytest.fixture
def make_trainer(tiny, tmp_path, examples):
    """`make_trainer(name, **settings)`: a tiny training of epochs of six steps, always the same."""
    from eva_helpers.data import CompositeDataset, make_loader
    from eva_helpers.training import Trainer, TrainingConfig

    def make(name: str = "run", **settings) -> Trainer:
        pairs = CompositeDataset(tiny, size=32, augment=True)
        train = make_loader(pairs, 4, samples=4 * 6, seed=0)
        torch.manual_seed(0)
        config = TrainingConfig(**{"epochs": 40} | settings)
        quiet = {"z_near": tiny.z_near, "say": lambda line: None}
        return Trainer(MaskDepthNet(TINY), train, [examples], tmp_path / name, config, **quiet)

    return make


@pytest.fixture
def tuner(make_trainer, examples):
    from eva_helpers import tuning

    made = tuning.Tuner(make_trainer(), examples)
    yield made
    made.stop()
