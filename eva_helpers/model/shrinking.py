"""Shrinking photos by area, in a form that other runtimes know."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def shrink(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) at a smaller `size` (height, width): every pixel is the mean of those it covers.

    The same as `F.interpolate(photo, size, mode="area")`, as two matrix products: exported, those
    are small and exact.
    """
    (height, width), device = size, photo.device
    with full_precision(device):
        rows = _shares(photo.shape[2], height, device)
        columns = _shares(photo.shape[3], width, device)
        channels = photo.float().flatten(0, 1)
        rows, columns = (each.expand(channels.shape[0], -1, -1) for each in (rows, columns))
        return (rows.bmm(channels).bmm(columns.mT)).unflatten(0, photo.shape[:2])


def full_precision(device: torch.device) -> AbstractContextManager:
    """Without autocast: bfloat16 keeps three digits, too few for a difference of two photos.

    Nothing at all where autocast is off, so that nothing of it is in an exported graph.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _shares(pixels: int, fewer: int, device: torch.device) -> Tensor:
    """The share of each of `pixels` in each of `fewer`, (fewer, pixels)."""
    number = torch.arange(fewer, device=device)[:, None]
    first = number * pixels // fewer
    last = ((number + 1) * pixels + fewer - 1) // fewer
    pixel = torch.arange(pixels, device=device)
    covered = ((pixel >= first) & (pixel < last)).float()
    return covered / covered.sum(1, keepdim=True)
