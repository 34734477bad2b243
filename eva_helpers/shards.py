"""Parts of a work for several machines or processes."""

import argparse
import os

from eva_helpers.files import InputError

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


def part_of(total: int, shard: Shard) -> slice:
    """Which of `total` tasks in a row belong to a part: neighbours, as many as of the others +- 1.

    Raises:
        InputError: it is no part.
    """
    number, parts = shard
    if not 0 <= number < parts:
        raise InputError(f"shard is {number + 1}/{parts}: expected 1/N to N/N.")
    return slice(number * total // parts, (number + 1) * total // parts)


def said(shard: Shard) -> str:
    """What a command says when its part is done."""
    return f"part {shard[0] + 1} of {shard[1]} is written: at the end, repeat without --shard"
