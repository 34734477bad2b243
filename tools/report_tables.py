"""Tables of docs/results.md: accuracy of the shipped network, and speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

METRICS = {
    "mask_iou": "mask IoU",
    "mask_dice": "mask Dice",
    "mask_pooled_iou": "mask IoU, pooled",
    "mask_boundary_f": "boundary F",
    "depth_rmse_std": "depth RMSE / std",
    "depth_delta1": "depth delta1",
    "depth_ordered": "object in front",
}


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats get three digits."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([f"{x:.3f}" if isinstance(x, float) else str(x) for x in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def scores(card: dict) -> list[str]:
    """The four quadrants at every size and the true pairs, each beside its baselines."""
    report = card["test_scores"]
    tables = [
        (f"{size}: {name}", methods)
        for size, quadrants in report["quadrants"].items()
        for name, methods in quadrants.items()
    ]
    pairs = f"{report['true pairs']['pairs']} true pairs"
    tables += [
        (f"{size}: {pairs}", methods)
        for size, methods in report["true pairs"].items()
        if size != "pairs"
    ]
    rows = [
        (title if who == "network" else "", who, *(float(values[key]) for key in METRICS))
        for title, methods in tables
        for who, values in methods.items()
    ]
    alarms = []
    for size, shares in report["empty scenes"].items():
        listed = ", ".join(f"{who} {share:.1%}" for who, share in shares.items())
        alarms.append(f"Empty scenes with a false mask, {size}: {listed}.")
    return [
        "The shipped network on rendered pairs with capture differences at strength 1, compared "
        "with subtraction (threshold chosen on training pairs), a constant depth (the mean of "
        "training pairs), and the same network's depth of the background alone:",
        markdown_table(("test pairs", "", *METRICS.values()), rows),
        *alarms,
    ]


def by_size(card: dict) -> list[str]:
    """Mask IoU against the object's size, and how much one pixel matters there."""
    tables = card["test_scores"]["mask IoU by object size"]
    largest = next(reversed(tables.values()))
    columns = [name for name in next(iter(largest.values())) if name != "images"]
    rows = [
        (f"{size}: {bins}", values["images"], *(values.get(name, "") for name in columns))
        for size, table in tables.items()
        for bins, values in table.items()
    ]
    return [
        "Scores are averaged over images, so small objects dominate - and a small object is mostly "
        "outline. Mask IoU of unseen pairs by object size (square root of the object's share of "
        "the frame), and the score of the true mask itself, shifted by one pixel:",
        markdown_table(("size", "images", *columns), rows),
    ]


def real(rows: dict) -> list[str]:
    """Means by group of real photographs."""
    groups = [
        (group, count, values["dice"], values["subtraction"], values["depth_correlation"])
        for group, (count, values) in real_groups(rows).items()
    ]
    return [
        "Real photographs, none of which were used in training (subtraction at the threshold that "
        "is best for each group):",
        markdown_table(
            (
                "photos",
                "pairs",
                "mask Dice",
                "Dice of subtraction",
                "correlation of depth with its label",
            ),
            groups,
        ),
    ]


def real_groups(rows: dict) -> dict[str, tuple[int, dict[str, float]]]:
    """Number of pairs and mean scores by group of photographs (NAME without its number)."""
    groups: dict[str, list[dict]] = {}
    for name, values in rows.items():
        groups.setdefault(name.rpartition("_")[0] or name, []).append(values)
    keys = ("dice", "subtraction", "depth_correlation")
    return {
        group: (
            len(values),
            {key: float(np.mean([row[key] for row in values], axis=0).max()) for key in keys},
        )
        for group, values in groups.items()
    }


def photo_pack(report: dict) -> list[str]:
    """Composites of real photographs, degraded in five ways."""
    keys = ("dice", "worst_tenth", "subtraction")
    rows = [
        (way, *(values[key] for key in keys)) for way, values in report.items() if way != "count"
    ]
    return [
        f"{report['count']} composites of real photographs (people and furniture in rooms, 220 px; "
        "subtraction at the threshold that is best for each row):",
        markdown_table(
            ("capture differences", "mask Dice", "Dice, worst tenth", "Dice of subtraction"), rows
        ),
    ]


def highres(report: dict) -> list[str]:
    """Masks of large photographs beside the first pass alone and subtraction."""
    keys = {
        "iou": "mask IoU",
        "worst_tenth_iou": "IoU, worst tenth",
        "band_error": "error of alpha",
    }
    keys |= {"boundary_f": "boundary F", "sad": "SAD", "mse": "MSE", "grad": "Grad", "seconds": "s"}
    rows = [
        (width if number == 0 else "", name, *(float(values[key]) for key in keys))
        for width, methods in report.items()
        for number, (name, values) in enumerate(
            (name, values) for name, values in methods.items() if name != "count"
        )
    ]
    counts = ", ".join(f"{methods['count']} of {width}" for width, methods in report.items())
    return [
        f"Composites of large photographs with cut-outs of fine structure ({counts}), with noise, "
        "JPEG and another exposure. The error of alpha is its mean in a band of 10 px along the "
        "true outline; the boundary F allows 2 px; SAD and Grad are in thousands; seconds are a "
        "pair's on two cores. Subtraction has the threshold that is best for each width:",
        markdown_table(("width", "", *keys.values()), rows),
    ]


def depth(report: dict) -> list[str]:
    """The shipped network's depth and simple estimates of it, on every kind of picture."""
    keys = ("correlation", "ordered pairs", "edge recall", "metric delta1", "affine delta1")
    rows = []
    for name, part in report["sets"].items():
        for method in part:
            if method != "images":
                title = f"{name}, {part['images']}" if method == "network" else ""
                rows.append((title, method, *(part[method][key] for key in keys)))
    return [
        "Depth of composites of unseen parks, of rendered worlds by kind, of photographs with "
        "labels of a pretrained network, and of a measured stereo pair. Correlation, ordered pairs "
        "and edge recall (Depth Pro's) need no alignment; delta1 is that of distances as they are "
        "(metric), and after a fit of scale and shift (affine). *rows* is the mean depth of each "
        "image row in the park:",
        markdown_table(("set, images", "depth from", *keys), rows),
    ]


def photos(report: dict) -> list[str]:
    """Time and memory of one pair of photos, by size."""
    keys = [key for key in next(iter(report["sizes"].values())) if key != "mask found"]
    rows = [
        (name, *(f"{values[key]:,.0f}" for key in keys)) for name, values in report["sizes"].items()
    ]
    return [
        f"One pair in a started process on 2 cores, {report['processor']}; each size in its own "
        "process:",
        markdown_table(("photos", *keys), rows),
    ]


def pair_check(report: dict) -> list[str]:
    """What the pair check finds, what `align` corrects, and the masks beside subtraction."""
    heads = {"flagged": "flagged", "another place": "called another place"}
    heads |= {"worse aligned": "alignment costs over 0.02 IoU", "iou": "mask IoU"}
    heads |= {"subtraction": "IoU of subtraction", "dice": "mask Dice", "aligned": "Dice, aligned"}
    rows = [
        (name, *(f"{values[key]:.3f}" if key in values else "" for key in heads))
        for name, values in report.items()
        if isinstance(values, dict)
    ]
    return [
        f"{report['count']} pairs of each kind ({report['ms for 640 x 480']:.0f} ms a check of "
        "640 x 480 px); subtraction has the threshold that is best for each kind:",
        markdown_table(("pair", *heads.values()), rows),
    ]


def speed(report: dict) -> list[str]:
    """Rates of one run, and their ratios to the original project's way."""
    rows = []
    for title, rates in report["rates"].items():
        original = [value for name, value in rates.items() if name.startswith("original")][-1:]
        for name, value in rates.items():
            ratio = f"{value / original[0]:.1f} x" if original else ""
            rows.append((f"{title}: {name}", f"{value:,.1f}", ratio))
    return [
        f"Speed on {report['machine']}, ratios within one run:",
        markdown_table(("measurement", "rate", "ratio to the original project"), rows),
    ]


def files(report: dict) -> list[str]:
    """Rates of writing and reading files."""
    disk = "Files were on a RAM disk (`TMPDIR=/dev/shm make bench`); a slow disk adds its own time."
    return [*speed(report), disk]
