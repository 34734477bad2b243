"""Size and cost of a network."""

from copy import deepcopy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eva_helpers.model.inference import inference


def parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def multiply_adds(net: nn.Module, size: int = 64) -> int:
    """Multiply-adds of the convolutions and linear layers for one pair of photos of `size` px.

    The batched matrix products are left out: they match and shrink the photos, and are no layers.
    """
    photo = torch.zeros(1, 3, size, size)
    predict = inference(net, "cpu", exact=True)
    with FlopCounterMode(display=False) as counter:
        predict(photo, photo)
    flops = counter.get_flop_counts()["Global"]
    return sum(count for kind, count in flops.items() if kind != torch.ops.aten.bmm) // 2


def receptive_field(net: nn.Module, size: int = 256) -> int:
    """Side in px of the square that affects the central pixel, by gradient on random photos."""
    net = deepcopy(net).cpu().eval()
    photos = torch.rand(2, 1, 3, size, size, generator=torch.Generator().manual_seed(0))
    photos.requires_grad_()
    mask_logits, depth = net(photos[0], photos[1])
    centre = (mask_logits + depth)[..., size // 2, size // 2].sum()
    (gradient,) = torch.autograd.grad(centre, photos)
    rows = gradient.abs().sum((0, 1, 2)).amax(1).nonzero().flatten()
    return int(rows[-1] - rows[0] + 1)
