"""Shared fixtures: a tiny catalogue made here, the park, the real photographs where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("MPLBACKEND", "agg")
os.environ["CI"] = "true"  # no widgets in tests

from eva_helpers import assets

REAL = Path(__file__).resolve().parents[2] / "shared" / "real"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("real") and not REAL.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no real photographs at {REAL}"))


@pytest.fixture(scope="session")
def real() -> Path:
    return REAL


@pytest.fixture(scope="session")
def park() -> assets.Catalogue:
    return assets.load_catalogue()


def smooth(rng: np.random.Generator, size: int) -> np.ndarray:
    """A soft random colour picture: textured, but not noise."""
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def write_catalogue(folder: Path, scenes: int = 6, cutouts: int = 6, size: int = 96) -> Path:
    """A catalogue with a floor from the middle down (1.5 m to 30 m away) and round objects 0.5 m wide."""
    rng = np.random.default_rng(1)
    rows = np.arange(size, dtype=np.float64)
    z = np.where(rows > size / 2, 1.5 * (size / 2) / np.maximum(rows - size / 2 + 1, 1), np.inf)
    code = np.where(np.isfinite(z), np.rint(np.log(np.maximum(z, 0.5) / 0.5) / 0.008) + 1, 0).astype(np.uint16)
    splits = ["train", "validation", "test", "train", "train", "test"]
    data = {
        "name": "tiny",
        "z_near": 1.5,
        "depth_encoding": {"kind": "log", "near": 0.5, "step": 0.008},
        "relief_encoding": {"zero": 128, "step": 0.01},
        "scenes": [],
        "cutouts": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(scenes):
        Image.fromarray(smooth(rng, size)).save(folder / f"s{number}.png")
        Image.fromarray(np.repeat(code[:, None], size, 1)).save(folder / f"s{number}_depth.png")
        Image.fromarray(np.repeat(((rows > size * 0.6) * 255).astype(np.uint8)[:, None], size, 1)).save(folder / f"s{number}_ground.png")
        files = {"image": f"s{number}.png", "depth": f"s{number}_depth.png", "ground": f"s{number}_ground.png"}
        data["scenes"].append({"id": f"s{number}", "scene": number, "split": splits[number % 6], "focal": float(size), **files})
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
def tiny(tmp_path_factory) -> assets.Catalogue:
    return assets.load_catalogue(write_catalogue(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A weights file of a tiny untrained network."""
    import torch

    from eva_helpers import training
    from eva_helpers.model import MaskDepthNet, ModelConfig

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    net = MaskDepthNet(ModelConfig(widths=(8, 8, 8, 8, 8), blocks=(1, 1, 1, 1, 1), decoder=(8, 8, 8, 8), detail=4))
    training.save_weights(net, path)
    return path
