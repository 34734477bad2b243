"""What this machine computes fast."""

import ctypes
import os
import sys
from collections.abc import Callable

import torch


def cores() -> int:
    """How many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def gpu() -> torch.device | None:
    """The GPU of this process, its own where torchrun has started several; None without GPUs."""
    if not torch.cuda.is_available():
        return None
    number = os.environ.get("LOCAL_RANK")
    return torch.device(f"cuda:{int(number) % torch.cuda.device_count()}" if number else "cuda")


def fast_bf16(kind: str | None = None) -> bool:
    """Whether bfloat16 is multiplied in hardware; elsewhere autocast only slows things down.

    `kind` is that of a device; None: the GPU if there is one, else the CPU.
    """
    if kind == "cuda" or (kind is None and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # older versions of torch cannot tell
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16", False))


def precision() -> str:
    """The precision to train in.

    "bf16", "fp16" on a GPU without bfloat16 (Colab's T4), or "no" for float32.
    """
    if fast_bf16():
        return "bf16"
    return "fp16" if torch.cuda.is_available() else "no"


def autocast(device: torch.device | str, enabled: bool = True) -> torch.autocast:
    """The context for inference on `device`: bfloat16 where it is fast, else float32."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=enabled and fast_bf16(kind))


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None with another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def return_freed_memory() -> bool:
    """Let glibc return what is free to the system, now; returns whether it could.

    Threads that free blocks of many sizes leave holes, which fill slowly.
    """
    trim = _glibc("malloc_trim")
    return bool(trim and trim(0))


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the rest of this process; returns whether it does.

    Every training step frees and requests the same large blocks. On a CPU, returning the pages to
    the system and fetching them again takes a fifth of a step.
    """
    mallopt = _glibc("mallopt")
    # malloc.h: no block from mmap (-4), nothing returned (-1), the heap grows by 64 MB (-2)
    options = ((-4, 0), (-1, 2**31 - 1), (-2, 2**26))
    return bool(mallopt and all(mallopt(option, value) for option, value in options))
