"""What many samples cost, from the rates that `make bench` measured: `python -m benchmarks.scale`.

    training: samples / (processes * samples a second of each)     (at most what the cores make)
    writing:  composites / (cores * composites a second of each)

It prints the table of docs/scale.md.
"""

from __future__ import annotations

from pathlib import Path

from eva_helpers.files import read_json

RESULTS = Path(__file__).parent / "results"
COUNTS = (400_000, 100_000_000)
CORES = (2, 16, 128)  # a small computer; a server; four machines of 32
TRAINING = ("training with the loader at 64 px", "0 workers, samples/s")  # on MEASURED cores
MAKING = ("loading, samples/s per process at 64 px", "the same with full variety")
WRITING = ("writing, composites/s at 220 px", "ours, one process")
MEASURED = 2


def hours(count: int, rate: float) -> str:
    """The time for `count` samples at so many a second."""
    minutes = count / rate / 60
    if minutes < 2:
        return f"{60 * minutes:.0f} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 72 * 60 else f"{minutes / 1440:.0f} days"


def table() -> str:
    """Rates of a core, and the time that COUNTS take on CORES of them."""
    speed, files = (read_json(RESULTS / f"{name}.json")["rates"] for name in ("speed", "files"))
    rates = {
        "one pass of training on CPUs, 64 px": speed[TRAINING[0]][TRAINING[1]] / MEASURED,
        "making the samples for GPUs, 64 px": speed[MAKING[0]][MAKING[1]],
        "writing composites, 220 px": files[WRITING[0]][WRITING[1]],
    }
    heads = [f"{count:,}: {cores} cores" for count in COUNTS for cores in CORES]
    lines = [["work", "samples/s a core", *heads], ["---"] * (2 + len(heads))]
    for name, rate in rates.items():
        times = [hours(count, rate * cores) for count in COUNTS for cores in CORES]
        lines.append([name, f"{rate:.0f}", *times])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table())
