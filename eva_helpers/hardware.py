"""What this machine does fast."""

from __future__ import annotations

import ctypes
import sys

import torch


def fast_bf16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware; elsewhere autocast would only slow things down."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def precision() -> str:
    """What to compute in here: "bf16" or, on a GPU without it (Colab's T4), "fp16"; "no" means float32."""
    return "bf16" if fast_bf16() else "fp16" if torch.cuda.is_available() else "no"


def autocast(device: torch.device | str) -> torch.autocast:
    """The context to predict in on `device`: bfloat16 where it is fast, else float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=fast_bf16())


def keep_memory() -> bool:
    """Let glibc keep the memory that is freed, for the rest of this process; whether it could be told so.

    Every step frees and wants the same large blocks; handing the pages back and fetching them again is a fifth of a step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt if sys.platform == "linux" else None
    except AttributeError:  # another C library
        return False
    # malloc.h: no block from mmap (-4), nothing handed back (-1), the heap grows by 64 MB (-2)
    return bool(mallopt and all(mallopt(option, value) for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**26))))
