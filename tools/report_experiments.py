"""Tables of docs/results.md: comparisons of trainings."""

from __future__ import annotations

import numpy as np
from report_tables import markdown_table


def race(report: dict) -> list[str]:
    """A new network and the original one, trained for the same time each."""
    rows = []
    for check in report["ours"]:
        seconds = check["seconds"]
        near = [
            (other["dice"], other["pooled"])
            for other in report["original"]
            if abs(other["seconds"] - seconds) < 0.1 * seconds
        ]
        original = near[0] if near else ("", "")
        rows.append((f"{seconds:.0f}", check["dice"], check["pooled"], *original))
    simple = report["subtraction"]
    return [
        "Trained from scratch at 64 px with capture differences at strength "
        f"{report['strength']:g}, tested on unseen backgrounds with unseen objects: our network "
        "and the original project's, for the same time each. Dice is the mean over images, pooled "
        "Dice that of all pixels together (subtraction at its best threshold: "
        f"{simple['dice']:.3f}, pooled {simple['pooled']:.3f}):",
        markdown_table(
            ("seconds of training", "Dice, ours", "pooled", "Dice, the original network", "pooled"),
            rows,
        ),
    ]


def ceiling(report: dict) -> list[str]:
    """How good a mask can be."""
    sizes = report["sizes"]
    first = next(iter(sizes.values()))
    samples = ", ".join(
        f"{values['samples']:,} samples at {name}" for name, values in sizes.items()
    )
    rows = [
        (pairs, name, *(values[pairs][name] for values in sizes.values()))
        for pairs, names in first.items()
        if isinstance(names, dict)
        for name in names
    ]
    return [
        "How good can a mask be? Mean mask IoU on validation pairs: the network's masks with the "
        "truth inserted on outlines (partly covered pixels) or everywhere else; the true mask with "
        "a random error in the coverage of outlines (its standard deviation is given); and ideal "
        "pairs, which differ only by the object, for the shipped network and for the same network "
        f"trained further on such pairs alone ({samples}):",
        markdown_table(("pairs", "mask", *sizes), rows),
    ]


def progressive(report: dict) -> list[str]:
    """Small photos first, or one size throughout."""
    first = next(iter(report["plans"].values()))
    sizes = [name for name in first if name != "minutes"]
    keys = {"mask_iou": "mask IoU", "depth_rmse_std": "depth RMSE / std"}
    rows = [
        (
            name,
            f"{plan['minutes']:.1f}",
            *(float(plan[size][key]) for size in sizes for key in keys),
        )
        for name, plan in report["plans"].items()
    ]
    heads = (f"{what}, {size}" for size in sizes for what in keys.values())
    return [
        "Small photos first? The shipped recipe in small, for about the same time each way, and "
        "the shipped training itself after each of its stages (validation split, capture "
        "differences at strength 1). Mixed sizes come last: they improve masks and depth on large "
        "photos but hurt small ones, unless large photos get their own layers (normalisation and "
        "mask decoder):",
        markdown_table(("sizes", "minutes", *heads), rows),
    ]


def bank(report: dict) -> list[str]:
    """The narrow networks of notebook 06: what their loss weights change, and when."""
    lengths = list(report["scores"])
    rows = [
        (name, *(f"{cell['mask_iou']:.3f} / {cell['depth_rmse_std']:.3f}" for cell in cells))
        for name, *cells in by_weighting(report["scores"])
    ]
    heads = [f"{steps} steps" for steps in lengths]
    spreads = [(f"{steps} steps", *each.values()) for steps, each in report["spread"].items()]
    shortest = [
        (f"{lengths[0]} steps, seed {seed}", *each.values())
        for seed, each in enumerate(report["shortest training, seeds"])
    ]
    project = [(name, *row.values()) for name, row in report["project"].items()]
    return [
        f"Narrow networks ({report['parameters']:,} parameters, one decoder for both tasks), each "
        "trained with one weighting; validation pairs, 64 px, mask IoU / depth RMSE over std:",
        markdown_table(("weighting", *heads), rows),
        "From the least to the largest share of the mask: ranges of both scores, and how well "
        "their order follows the weight (rank correlation; for the depth, with its error):",
        markdown_table(("training", *report["spread"][lengths[0]]), spreads + shortest),
        "The project's network, and copies trained further with the same shares:",
        markdown_table(("weighting", "mask IoU", "depth RMSE / std"), project),
    ]


def by_weighting(scores: dict[str, dict[str, dict]]) -> list[tuple]:
    """A row per weighting: its name, then its scores at every length of training."""
    first = next(iter(scores.values()))
    return [(name, *(rows[name] for rows in scores.values())) for name in first]


def balances(report: dict) -> list[str]:
    """Ways to balance mask and depth: scores over seeds, and hypervolumes."""
    rows = [
        (name, *(over_seeds(row[key]) for key in ("mask_iou", "depth_rmse_std")))
        for name, row in report["methods"].items()
    ]
    volumes = report["hypervolume"]
    rows = [(*row, over_seeds(volumes[row[0]])) for row in rows]
    fronts = [name for name in volumes if name not in report["methods"]]
    rows += [(name, "", "", over_seeds(volumes[name])) for name in fronts]
    heads = ("method", "mask IoU", "depth RMSE / std", "hypervolume")
    return [
        f"Ways to balance the two tasks, on the same narrow networks, {report['steps']} steps, "
        f"{report['seeds']} seeds (mean and standard deviation). The hypervolume is the area that "
        "a point, or a front, dominates; it begins at an empty mask and a constant depth:",
        markdown_table(heads, rows),
    ]


def over_seeds(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"
