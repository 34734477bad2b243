"""Running a trained network on photos."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from eva_helpers.hardware import autocast, gpu


def inference(
    net: nn.Module, device: torch.device | str | None = None, exact: bool = False
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`predict(background, image) -> (mask probability, inverse depth)` of a network as it is now.

    The photos are (B, 3, H, W) in [0, 1]; the results (B, 1, H, W), float32, on the CPU. `predict`
    owns a copy of the network in evaluation mode: `net` itself stays where and as it is, and what
    it learns later does not count.

    Args:
        net: a MaskDepthNet or another network with its inputs and outputs.
        device: to compute on; None takes `hardware.gpu`, or the CPU.
        exact: compute in float32 even where bfloat16 is fast.
    """
    device = torch.device(device or gpu() or "cpu")
    private = deepcopy(net).eval().to(device).to(memory_format=torch.channels_last)

    def predict(background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(), autocast(device, enabled=not exact):
            mask_logits, depth = private(background.to(device), image.to(device))
        # outside: results are ordinary tensors, which may be changed or used as training targets
        return mask_logits.float().sigmoid().cpu(), depth.to("cpu", torch.float32, copy=True)

    return predict
