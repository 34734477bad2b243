"""The project that this one re-makes, rebuilt from its description as a yardstick: its network and its way of loading.

Network: a 3x3 layer per photo (32 channels), residual blocks on the image (64, 128), plain blocks on the background (64, 128),
concatenation (256), two heads of three 3x3 convolutions; nothing is strided, so every layer runs at full resolution. This rebuild
has the published receptive field (21 px) and 97 % of the published 3,199,552 parameters.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down, self.inner = layer(inputs, outputs), nn.Sequential(layer(outputs, outputs), layer(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return x + self.inner(x)


class SourceNet(nn.Module):
    """Background and image (B, 3, H, W) -> mask logits and depth (B, 1, H, W), as MaskDepthNet."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(layer(3, 32), Residual(32, 64), Residual(64, 128))
        self.background = nn.Sequential(layer(3, 32), layer(32, 64), layer(64, 64), layer(64, 128), layer(128, 128))
        self.heads = nn.ModuleList(nn.Sequential(layer(256, 256), layer(256, 256), nn.Conv2d(256, 1, 3, padding=1)) for _ in range(2))

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.background(background), self.image(image)], dim=1)
        mask_logits, depth_logits = (head(x) for head in self.heads)
        return mask_logits, torch.sigmoid(depth_logits)


class SourceDataset(Dataset):
    """Four JPEG files a sample, opened with PIL, resized and converted by torchvision transforms."""

    def __init__(self, folder: Path, count: int, size: int = 64, per_background: int = 4000) -> None:
        self.folder, self.count, self.per_background = folder, count, per_background
        self.transform = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor()])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number = index + 1
        names = {
            "background": f"bg/bg_{-(-number // self.per_background)}.jpg",
            "image": f"fg_bg/fg_bg_{number}.jpg",
            "mask": f"fg_bg_mask/fg_bg_mask_{number}.jpg",
            "depth": f"depthmap/depth_{number}.jpg",
        }
        grey = ("mask", "depth")
        return {key: self.transform(Image.open(self.folder / name).convert("L" if key in grey else "RGB")) for key, name in names.items()}


def source_loss(mask_logits: Tensor, depth: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """0.3 BCE + 0.7 (SSIM + edge + 0.1 L1), from the same functions as ours, so that only the networks differ."""
    from eva_helpers.losses import LossWeights, raw_terms, weighted_sum

    return weighted_sum(raw_terms(mask_logits, depth, batch), LossWeights(l1=0.1, dice=0.0))


def train_step(net: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> float:
    mask_logits, depth = net(batch["background"], batch["image"])
    loss = source_loss(mask_logits, depth, batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
