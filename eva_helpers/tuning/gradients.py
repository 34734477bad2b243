"""How mask and depth agree in the shared encoder: the cosine of their gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from eva_helpers.losses import TERMS
from eva_helpers.training.steps import Steps


def task_gradient(
    task: str, loss: Tensor, terms: dict[str, Tensor], parameters: Sequence[Tensor]
) -> Tensor:
    """What the terms of `task` contribute to the gradient of `loss` in `parameters`, as a vector.

    The tasks "mask" and "depth" add up to the whole gradient, with any weights and any balance.
    A single NaN: the task is switched off, or no sample of the batch has a label for it. The graph
    is kept, and `.grad`, buffers and random states stay as they are.
    """
    own = [term for name, term in terms.items() if TERMS[name] == task and term.requires_grad]
    factors: tuple[Tensor, ...] = ()
    if own and loss.requires_grad:
        factors = torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)
    used = [pair for pair in zip(own, factors, strict=False) if pair[1] is not None]
    if not used:
        return torch.full((1,), torch.nan, device=loss.device)
    ends, weights = zip(*used, strict=True)
    parts = torch.autograd.grad(
        ends, parameters, weights, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([part.flatten() for part in parts]).float()


def conflict(
    loss: Tensor, terms: dict[str, Tensor], parameters: Sequence[Tensor], scale: float = 1.0
) -> dict[str, float]:
    """How the gradients of mask and depth in `parameters` agree: NaN where one has no gradient.

    Returns their `cosine` in [-1, 1], below 0 where a step for one task is one against the other,
    and their norms, `gradient mask` and `gradient depth`, weighted as in `loss`. `scale` multiplies
    the loss meanwhile, so that small gradients do not vanish in float16.
    """
    tasks = (task_gradient(task, loss * scale, terms, parameters) for task in ("mask", "depth"))
    mask, depth = (gradient / scale for gradient in tasks)
    norms = mask.norm(), depth.norm()
    cosine = (mask * depth).sum() / (norms[0] * norms[1])
    values = torch.stack([cosine, *norms]).tolist()
    return dict(zip(("cosine", "gradient mask", "gradient depth"), values, strict=True))


def encoder_conflict(trainer: Steps, loss: Tensor, terms: dict[str, Tensor]) -> dict[str, float]:
    """`conflict` in the shared encoder of a training's network, between loss and update."""
    encoder = trainer.accelerator.unwrap_model(trainer.net).encoder
    scaler = trainer.accelerator.scaler
    scale = scaler.get_scale() if scaler else 1.0
    return conflict(loss, terms, list(encoder.parameters()), scale)
