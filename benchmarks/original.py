"""How the original project loads its data and trains its network, for comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms

from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.evaluation.original import original_loss

FILES_SIZE = 220  # px of the original project's files
PER_BACKGROUND = 4000  # composites of one background
GREY = ("mask", "depth")


class OriginalDataset(Dataset):
    """Four JPEG files a sample, opened with PIL, resized and converted by torchvision."""

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self.folder = folder
        self.count = count
        self.transform = transforms.Compose(
            [transforms.Resize((size, size)), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number = index + 1
        names = {
            "background": f"bg/bg_{index // PER_BACKGROUND + 1}.jpg",
            "image": f"fg_bg/fg_bg_{number}.jpg",
            "mask": f"fg_bg_mask/fg_bg_mask_{number}.jpg",
            "depth": f"depthmap/depth_{number}.jpg",
        }
        return {key: self.transform(self.open(name, key)) for key, name in names.items()}

    def open(self, name: str, key: str) -> Image.Image:
        """A file as grey or colour picture."""
        return Image.open(self.folder / name).convert("L" if key in GREY else "RGB")


def write_original_folder(folder: Path, catalogue: Catalogue, count: int) -> None:
    """Write `count` composites of the first background in the original project's layout."""
    composites = CompositeDataset(catalogue, size=FILES_SIZE)
    for name in ("bg", "fg_bg", "fg_bg_mask", "depthmap"):
        (folder / name).mkdir()
    for number in range(1, count + 1):
        sample = composites.composite(number - 1)
        files = {
            "fg_bg/fg_bg": sample["image"],
            "fg_bg_mask/fg_bg_mask": sample["mask"] * 255,
            "depthmap/depth": 255 - sample["depth"] * 255,
        }
        for name, picture in files.items():
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{name}_{number}.jpg")
    Image.fromarray(composites.composite(0)["background"]).save(folder / "bg" / "bg_1.jpg")


def train_step(net: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> float:
    """One optimiser step in float32; returns the loss."""
    mask_logits, depth = net(batch["background"], batch["image"])
    loss = original_loss(mask_logits, depth, batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
