"""Parts of a work for several machines or processes."""

import argparse
import os

Shard = tuple[int, int]  # number (from 0), count


def shard(text: str) -> Shard:
    """`type` of an argparse option: "2/4" is (1, 4), the second of four parts.

    Raises:
        argparse.ArgumentTypeError: it is no part.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is no part: expected 1/N to N/N, such as 2/8.")
    return int(number) - 1, int(count)


def own_shard() -> Shard:
    """The part of this process, where Accelerate or torchrun has started several."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
