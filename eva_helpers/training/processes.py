"""Several processes that train one network together, on Accelerate.

    batch --+-- share of process 0 --> terms, gradients --+
            +-- share of process 1 --> terms, gradients --+--> means over the batch --> same step

A batch is divided, so that any number of processes computes what one computes. The main process
alone writes and speaks.
"""

import os
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import (
    broadcast,
    broadcast_object_list,
    gather_object,
    parse_flag_from_env,
    reduce,
)
from torch import Tensor, nn

from eva_helpers.evaluation.scoring import Batch, Rows
from eva_helpers.files import InputError
from eva_helpers.losses import TERMS
from eva_helpers.model import MaskDepthNet

T = TypeVar("T")


def state() -> PartialState:
    """Number, count and device of the processes; the first call connects them.

    Without a GPU, Accelerate has to be told that several processes train on CPUs.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    unaccelerated = several and not torch.cuda.is_available()
    return PartialState(cpu=unaccelerated or parse_flag_from_env("ACCELERATE_USE_CPU"))


def count() -> int:
    """How many processes train."""
    return state().num_processes


def alone() -> bool:
    """Whether this is the only process."""
    return count() == 1


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return state().is_main_process


def on_main(work: Callable[[], T]) -> T:
    """What `work()` returns in the main process, for all; the others wait.

    Raises:
        InputError: in all processes, as `work` did.
    """
    if alone():
        return work()
    outcome: list = [None]
    if is_main():
        try:
            outcome = [work()]
        except InputError as error:
            outcome = [error]
    result = broadcast_object_list(outcome)[0]
    if isinstance(result, InputError):
        raise result
    return result


def any_of(flag: bool) -> bool:
    """Whether `flag` is true in one of the processes."""
    if alone():
        return flag
    return bool(reduce(torch.tensor(float(flag), device=state().device), "sum") > 0)


def first_of(text: str) -> str:
    """The text of the first process that has one."""
    if not any_of(bool(text)):
        return ""
    return text if alone() else next(filter(None, gather_object([text])))


def together(net: MaskDepthNet) -> MaskDepthNet:
    """`net` with the main process's weights, and with common batch statistics where torch can.

    Several GPUs normalise by the statistics of the whole batch. On CPUs, for which torch has no
    such layer, every process normalises its own share.
    """
    if alone():
        return net
    net.load_state_dict(on_main(net.state_dict))
    if state().device.type == "cuda":
        return cast(MaskDepthNet, nn.SyncBatchNorm.convert_sync_batchnorm(net))
    return net


def over_batch(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Loss terms of the whole batch from those of this process's share, `batch`.

    The values are means over the samples of all processes (those with a depth label, for terms of
    depth). The gradients are those of the share, such that their mean over the processes is the
    gradient of the value, also where shares or their numbers of labels differ.
    """
    if alone():
        return terms
    labelled = batch["depth"].flatten(1).any(1).sum()
    samples = {"mask": labelled.new_tensor(len(batch["depth"])), "depth": labelled}
    counts = torch.stack([samples[TERMS[name]] for name in terms]).float()
    own = torch.stack(list(terms.values())) * counts
    sums, totals = reduce(torch.stack([own.detach(), counts]), "sum")
    shares = own * count() / totals.clamp_min(1)
    whole = shares + (sums / totals.clamp_min(1) - shares).detach()
    known = zip(terms, whole.unbind(), totals.tolist(), strict=True)
    return {name: value if total else value.detach() for name, value, total in known}


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the mean of all processes' gradients; None where nobody has one.

    DistributedDataParallel refuses outputs that the loss does not use, as those of a task without
    weight or labels.
    """
    if alone():
        return
    learned = [each for each in parameters if each.requires_grad]
    has = torch.tensor([float(each.grad is not None) for each in learned], device=learned[0].device)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
    means = reduce(torch.cat([*(each.flatten() for each in gradients), has]), "mean")
    sizes = [each.numel() for each in learned]
    *parts, used = means.split([*sizes, len(sizes)])
    for parameter, mean, known in zip(learned, parts, used.tolist(), strict=True):
        whole = torch.empty_like(parameter).copy_(mean.view_as(parameter)) if known else None
        parameter.grad = whole


def same_buffers(net: nn.Module) -> None:
    """Give all processes the main one's statistics of normalisation layers."""
    if not alone():
        broadcast(list(net.buffers()))


def same_random_numbers() -> None:
    """Let torch draw the same in all processes: the order of a loader may come from it."""
    if not alone():
        torch.set_rng_state(on_main(torch.get_rng_state))


def joined(rows: Rows) -> Rows:
    """The rows of all processes."""
    if alone():
        return rows
    parts = [part for part in gather_object([rows]) if part]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
