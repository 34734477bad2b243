"""Tables of docs/results.md: a GPU, many images of a scene, other runtimes, kills."""

from __future__ import annotations

from report_tables import markdown_table


def gpu(report: dict) -> list[str]:
    """Training steps and the loader on a GPU, and scores beside the CPU's."""
    rows: dict[str, dict[str, dict]] = {}
    for name, row in report["training step"].items():
        what, who = name.split(": ")
        rows.setdefault(what, {})[who] = row
    steps = [
        (what, *(f"{each[who]['samples/s']:,.0f}" for who in ("ours", "original")),
         *(f"{each[who]['peak MB']:,.0f}" for who in ("ours", "original")))
        for what, each in rows.items()
    ]  # fmt: skip
    fed = [
        (what, f"{row['samples/s']:,.0f}", f"{row['% of the time waiting']:.1f} %")
        for what, row in report["training with the loader"].items()
    ]
    scores = [
        (what, *(f"{row[name]:.4f}" for name in ("mask_iou", "depth_rmse_std")))
        for what, row in report["metrics of the shipped weights"].items()
    ]
    return [
        f"Training steps on {report['machine']}, beside the original project's network. In small "
        "batches the GPU waits for the launch of many small kernels:",
        markdown_table(("step", "samples/s", "original", "peak memory, MB", "original"), steps),
        "The training fed by its loader:",
        markdown_table(("training", "samples/s", "waits for samples"), fed),
        "Scores of the shipped network on validation pairs:",
        markdown_table(("run", "mask IoU", "depth RMSE / std"), scores),
    ]


def many(report: dict) -> list[str]:
    """A folder of images against single calls."""
    single, together = report["one call a pair, images/s"], report["a folder, images/s"]
    early, late = report["memory early, MB"], report["memory at the end, MB"]
    return [
        f"{report['images']:,} images of 640 x 480 with one background on {report['processor']}: "
        f"{together:.1f} images/s as a folder, {single:.1f} with one call a pair "
        f"({together / single:.2f} times). Memory of the process: {early:,.0f} MB in the second "
        f"tenth of the time, {late:,.0f} MB in the last ({late / early - 1:+.1%})."
    ]


def runtimes(report: dict) -> list[str]:
    """Differences of exported networks from PyTorch's, and rates."""
    found = [
        (size, name, f"{row['mask']:.1e}", f"{row['depth']:.1e}", row["mask IoU"])
        for size, rows in report["differences"].items()
        for name, row in rows.items()
    ]
    eager = report["pairs a second"]["PyTorch, bfloat16"]
    rates = [
        (name, f"{value:.1f}", f"{value / eager:.2f} x")
        for name, value in report["pairs a second"].items()
    ]
    return [
        f"One pass of the network on {report['processor']}; largest differences from PyTorch's "
        "float32, over 50 test pairs of each size:",
        markdown_table(("size", "runtime", "mask", "depth", "mask IoU"), found),
        f"Pairs of 220 px, one at a time (compiling takes {report['seconds to compile']:.0f} s):",
        markdown_table(("runtime", "pairs/s", "to PyTorch with bfloat16"), rates),
    ]


def processes(report: dict) -> list[str]:
    """Two processes against one, and saving."""
    one, two = (report["samples/s"][name] for name in ("one process", "two processes"))
    return [
        f"Training at 64 px in batches of {report['batch']} on two cores ({report['processor']}): "
        f"{one:.1f} samples/s with one process of two threads, {two:.1f} with two of one thread "
        f"({two / one:.2f} times). Saving the state takes {report['seconds to save']:.2f} s, once "
        "an epoch and at most once in five minutes within one."
    ]


def endurance(report: dict) -> list[str]:
    """Memory of long work."""
    rows = []
    for name in ("predicting", "training"):
        row = report.get(name)
        if not row:
            continue
        early, late = row["memory early, MB"], row["memory at the end, MB"]
        change = f"{late / early - 1:+.1%}"
        rows.append((name, f"{row['count']:,}", f"{early:,.0f}", f"{late:,.0f}", change))
    heads = ("work", "pairs of 64 px", "MB, second tenth", "MB, last tenth", "change")
    return ["Memory of one process over time:", markdown_table(heads, rows)]


def kills(report: dict) -> list[str]:
    """Commands that were killed, and how they went on."""
    names = (
        "kills", "moments", "file operations", "full disk", "resumed right", "lost anything",
        "seconds twice, most", "seconds",
    )  # fmt: skip
    rows = [
        (command, *(f"{row[name]:.3g}" for name in names))
        for command, row in report["commands"].items()
    ]
    total = sum(row["kills"] for row in report["commands"].values())
    return [
        f"{total} trials with small inputs on {report['processor']}: a command is killed at a "
        "random moment or at a file operation, or finds the disk full from one on, and is called "
        "again. "
        "It is right if it ends with the files of a command that was left alone and with nothing "
        "else; seconds are without Python's start and imports:",
        markdown_table(("command", *names), rows),
    ]
