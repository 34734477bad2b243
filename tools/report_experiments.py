"""Tables of docs/results.md: comparisons of trainings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from report_tables import METRICS, markdown_table

CONTENDERS = ("conditional", "dedicated")


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


def conditional(report: dict) -> list[str]:
    """The loss-conditional network compared with dedicated ones."""
    settings = report["settings"]
    keys = ("mask_iou", "depth_rmse_std")
    rows = [
        (entry["name"], *(entry[who][key] for key in keys for who in CONTENDERS))
        for entry in report["rows"]
    ]
    terms = list(report["answers"]["training pairs"])
    losses = []
    for entry in report["rows"]:
        ours, other = (entry["training pairs"][who] for who in CONTENDERS)
        losses.append((entry["name"], *(f"{ours[x]:.4f} / {other[x]:.4f}" for x in terms)))
    heads = [f"{what}, {who}" for what in ("mask IoU", "depth RMSE / std") for who in CONTENDERS]
    return [
        "One loss-conditional network compared with dedicated ones, all started from the shipped "
        f"weights with the same budget ({settings['epochs'] * settings['samples']:,} samples; the "
        "conditional one, of which only the modulation is trained, sees half as many, twice each; "
        "validation split, 64 px):",
        markdown_table(("weighting", *heads), rows),
        "Losses on training pairs, conditional / dedicated:",
        markdown_table(("weighting", *terms), losses),
        *responses(report),
        *tradeoff(report),
    ]


def responses(report: dict) -> list[str]:
    """How the loss of each term responds to its own weight."""
    answers = report["answers"]
    first, last, steps = ends(report)
    rows = [
        (term, *(cell for terms in answers.values() for cell in response(terms[term])))
        for term in next(iter(answers.values()))
    ]
    heads = (head for name in answers for head in (name, "steps", "each seed"))
    return [
        f"Change of each term's loss when its own weight grows from {first} to {last} of all "
        f"weights (mean of all networks), how many of the {steps} steps in between lower the mean, "
        "and the change for each network; the networks differ only by their seed:",
        markdown_table(("term", *heads), rows),
    ]


def response(seeds: list[list[float]]) -> tuple[str, int, str]:
    """Relative change of the networks' mean loss, its downward steps, every network's change."""
    mean = np.mean(seeds, axis=0)
    changes = [f"{values[-1] / values[0] - 1:+.1%}" for values in (mean, *seeds)]
    return (
        changes[0],
        sum(after <= before for before, after in pairwise(mean)),
        ", ".join(changes[1:]),
    )


def tradeoff(report: dict) -> list[str]:
    """Validation scores against the mask's share of the weights."""
    first, last, _ = ends(report)
    rows = []
    for score, seeds in report["tradeoff"].items():
        mean = np.mean(seeds, axis=0)
        steps = sum(before <= after for before, after in pairwise(mean))
        pairs = ", ".join(f"{values[0]:.3f} -> {values[-1]:.3f}" for values in seeds)
        rows.append((METRICS[score], f"{mean[0]:.4f}", f"{mean[-1]:.4f}", steps, pairs))
    return [
        f"Validation scores with {first} and with {last} of all weights on the mask, in the mean "
        "and for each seed, and how many steps of the mean follow the weight (the mask no worse, "
        "the depth no better):",
        markdown_table(("score", first, last, "steps", "each seed"), rows),
    ]


def ends(report: dict) -> tuple[str, str, int]:
    """The first and the last share of a weight, and the number of steps between them."""
    shares = report["shares"]
    return f"{shares[0]:.0%}", f"{shares[-1]:.0%}", len(shares) - 1
