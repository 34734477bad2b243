"""Speed of one training step of our network and of the original one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from unittest import mock

import torch
from kornia.losses import ssim_loss
from torch import Tensor

from benchmarks.original import train_step
from benchmarks.timing import rate
from eva_helpers.evaluation.original import OriginalNet
from eva_helpers.hardware import fast_bf16
from eva_helpers.losses.ssim import SSIM_WINDOW, depth_ssim
from eva_helpers.losses.terms import DEPTH_LOSSES, raw_terms
from eva_helpers.losses.total import weighted_sum
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.training import Trainer, TrainingConfig


def training_rates(batch: dict[str, Tensor], seconds: float) -> dict[str, float]:
    """Samples a second of one step: ours as the Trainer runs it, the original in float32."""
    torch.manual_seed(0)
    original = OriginalNet().train()
    optimizer = torch.optim.Adam(original.parameters(), 1e-3)

    def original_step() -> int:
        train_step(original, optimizer, batch)
        return len(batch["image"])

    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(epochs=1)
        trainer = Trainer(MaskDepthNet(), [batch] * 10_000, [], folder, config, z_near=1.5)
        trainer.net.train()

        def step() -> int:
            trainer.step(batch)
            return len(batch["image"])

        return {"ours": rate(step, seconds), "original": rate(original_step, seconds)}


def step_rate(
    batch: dict[str, Tensor],
    seconds: float,
    *,
    bf16: bool | None = None,
    layout: torch.memory_format = torch.channels_last,
    fused: bool = True,
    ssim: Callable[[Tensor, Tensor], Tensor] = depth_ssim,
) -> float:
    """Samples a second of our training step, as the Trainer makes it or with a choice replaced."""
    torch.manual_seed(0)
    net = MaskDepthNet().train().to(memory_format=layout)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, fused=fused, foreach=False)
    photos = [batch[name].contiguous(memory_format=layout) for name in ("background", "image")]
    enabled = fast_bf16() if bf16 is None else bf16

    def work() -> int:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            mask_logits, depth = net(*photos)
        losses = raw_terms(mask_logits.float(), depth.float(), batch)
        weighted_sum(losses, LossWeights()).backward()
        optimizer.step()
        optimizer.zero_grad()
        return len(batch["image"])

    with mock.patch.dict(DEPTH_LOSSES, ssim=ssim):
        return rate(work, seconds)


def optimisations(batch: dict[str, Tensor], seconds: float) -> dict[str, float]:
    """`step_rate` as it is, and with one optimisation disabled at a time."""
    return {
        "as it is": step_rate(batch, seconds),
        "float32, not bfloat16": step_rate(batch, seconds, bf16=False),
        "channels first": step_rate(batch, seconds, layout=torch.contiguous_format),
        "optimiser not fused": step_rate(batch, seconds, fused=False),
        "Kornia's own SSIM": step_rate(
            batch, seconds, ssim=lambda depth, target: ssim_loss(depth, target, SSIM_WINDOW)
        ),
    }
