"""The stage that trains the fine decoder: boxes around objects, as a second pass sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eva_helpers.data.dataset import MAPS
from eva_helpers.evaluation.scoring import Batch, evaluate, summary
from eva_helpers.losses.terms import raw_terms
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.refinement.boxes import FOUND, LEAST
from eva_helpers.refinement.passes import INPUT_SIZE, CoarseToFine
from eva_helpers.training import Trainer

SIDES = (192, 224, 256, 320)  # px of the boxes, one of them for a batch
MARGIN = (0.1, 0.4)  # on every side of an object, as a share of its longer side
MARGIN_PIXELS = 3  # of the coarse mask, in addition
OFF = 0.03  # standard deviation of a box's error, as a share of its side
SMALLEST = 0.25  # box, as a share of the frame's side
ONE_OBJECT = 0.3  # share of samples in which a box is around one of the objects alone
WRONG = {"unknown": 0.1, "patches": 0.2, "moved": 0.2, "unsure": 0.1}  # share of coarse masks
Cut = tuple[int, int, int]  # left, top, side


class FineTrainer(Trainer):
    """Trains the fine decoder alone, on the network's own coarse masks, some of them spoilt.

    The whole frames are seen at INPUT_SIZE, then boxes of them, which is all that counts. The
    validation masks are those of two passes.
    """

    def __init__(self, net: MaskDepthNet, *arguments: Any, **options: Any) -> None:
        net.requires_grad_(False)
        net.fine_decoder.requires_grad_(True)
        super().__init__(net, *arguments, **options)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        net = self.accelerator.unwrap_model(self.net).eval()
        with torch.no_grad(), self.accelerator.autocast():
            batch = batch | {"background": net.match(batch["background"], batch["image"])}
            small = (reduced(batch[name], INPUT_SIZE) for name in MAPS[:2])
            coarse = net.predict_mask(*small).sigmoid()
            boxes = in_boxes(batch, coarse, numbers())
        with self.accelerator.autocast():
            mask_logits = net.predict_mask(boxes["background"], boxes["image"], boxes["coarse"])
        terms = raw_terms(mask_logits, boxes["depth"], boxes)
        return self.balance(terms, self.weights), terms

    def _validate(self) -> dict[str, float]:
        size = max(next(iter(self.validation))["image"].shape[2:])
        method = CoarseToFine(self.averaged_net, size // 2)
        return summary(evaluate(method, self.validation, self.z_near))


def numbers() -> np.random.Generator:
    """A generator that follows PyTorch's, whose state a training resumes."""
    return np.random.default_rng(int(torch.randint(2**31, ())))


def reduced(photos: Tensor, side: int) -> Tensor:
    """Photos (B, C, H, W) at (side, side)."""
    return F.interpolate(photos, (side, side), mode="bilinear", antialias=True)


def in_boxes(batch: Batch, coarse: Tensor, rng: np.random.Generator) -> Batch:
    """A box of every sample, all of one size: the photos, `mask`, `coarse`; no depth label.

    `coarse` (B, 1, h, w) is the mask of the whole frames.
    """
    side = int(rng.choice(SIDES))
    frame = batch["image"].shape[-1]
    cuts = [random_cut(each[0].numpy(), frame, rng) for each in coarse]
    parts = {name: cropped(batch[name], cuts, side) for name in MAPS[:3]}
    parts["coarse"] = spoilt(placed(coarse, cuts, frame, side), rng)
    return parts | {"depth": torch.zeros_like(parts["mask"])}


def random_cut(coarse: np.ndarray, frame: int, rng: np.random.Generator) -> Cut:
    """A square around the objects of a coarse mask, or around one of them, in a frame's pixels.

    Without an object it is anywhere.
    """
    found = cv2.dilate((coarse > FOUND).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, _, statistics, _ = cv2.connectedComponentsWithStats(found)
    parts = [part[:4] for part in statistics[1:] if part[4] >= 2 * LEAST]
    if not parts:
        x, y = rng.integers(0, len(coarse), 2)
        w = h = 1
        side = rng.uniform(0.3, 0.8) * len(coarse)
    else:
        alone = rng.random() < ONE_OBJECT
        x, y, w, h = parts[rng.integers(len(parts))] if alone else cv2.boundingRect(found)
        side = max(w, h) * (1 + 2 * rng.uniform(*MARGIN)) + 2 * MARGIN_PIXELS
    scale = frame / len(coarse)
    side = float(np.clip(side * scale, SMALLEST * frame, frame))
    centre = np.array([x + w / 2, y + h / 2]) * scale + rng.normal(0, OFF * side, 2)
    left, top = np.rint((centre - side / 2).clip(0, frame - side)).astype(int)
    return int(left), int(top), int(side)


def cropped(maps: Tensor, cuts: list[Cut], side: int) -> Tensor:
    """A cut of each of the maps (B, C, H, W), at (side, side)."""
    pairs = zip(maps, cuts, strict=True)
    parts = [each[None, :, top : top + cut, left : left + cut] for each, (left, top, cut) in pairs]
    made = torch.cat([reduced(part, side) for part in parts]).clamp(0, 1)
    return made.contiguous(memory_format=torch.channels_last)


def placed(coarse: Tensor, cuts: list[Cut], frame: int, side: int) -> Tensor:
    """What the cuts of a frame hold of coarse masks (B, 1, h, w), at (side, side)."""
    grids = []
    for left, top, cut in cuts:
        share = cut / frame
        x, y = ((2 * start + cut) / frame - 1 for start in (left, top))
        grids.append([[share, 0.0, x], [0.0, share, y]])
    grid = F.affine_grid(torch.tensor(grids), (len(cuts), 1, side, side), align_corners=False)
    return F.grid_sample(coarse, grid, padding_mode="border", align_corners=False)


def spoilt(coarse: Tensor, rng: np.random.Generator) -> Tensor:
    """Coarse masks (B, 1, H, W), the shares WRONG of which are worse than the network's own.

    On photos that it was trained on, its masks are better than on others.
    """
    kinds = [*WRONG, ""]
    chances = [*WRONG.values(), 1 - sum(WRONG.values())]
    masks = [each[0].numpy().copy() for each in coarse]
    masks = [worse(mask, str(rng.choice(kinds, p=chances)), rng) for mask in masks]
    return torch.from_numpy(np.stack(masks))[:, None]


def worse(mask: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """A mask (H, W) with an error of a kind of WRONG."""
    if kind == "unknown":
        mask[:] = 0.5
    elif kind == "patches":
        for rows, columns in patches(mask.shape, rng):
            mask[rows, columns] = 0.5 + rng.choice([0, 0, -0.5, 0.5]) * rng.uniform(0.3, 1)
    elif kind == "moved":
        size = int(rng.integers(3, 10))
        change = cv2.erode if rng.random() < 0.5 else cv2.dilate
        mask = change(mask, np.ones((size, size), np.uint8))
    elif kind == "unsure":
        mask = 0.5 + (mask - 0.5) * np.float32(rng.uniform(0.2, 0.8))
    return mask


def patches(
    shape: tuple[int, ...], rng: np.random.Generator
) -> Iterator[tuple[slice, slice]]:  # fmt: skip
    """One to three random rectangles."""
    for _ in range(rng.integers(1, 4)):
        places = []
        for length in shape:
            extent = int(rng.uniform(0.1, 0.4) * length)
            start = int(rng.integers(length - extent))
            places.append(slice(start, start + extent))
        yield places[0], places[1]
