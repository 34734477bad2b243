"""Figures of the model card and the data card, from the weights' own card and stored results."""

from __future__ import annotations

from pathlib import Path

from report_tables import markdown_table, real_groups

from eva_helpers.evaluation.baselines import NETWORK
from eva_helpers.evaluation.robustness import UNSEEN
from eva_helpers.files import read_json

INTERVALS = {
    "mask_iou": "mask IoU",
    "mask_dice": "mask Dice",
    "depth_rmse_std": "depth RMSE / std",
    "depth_delta1": "depth delta1",
    "depth_ordered": "object in front",
}


def model(weights: Path) -> list[str]:
    """Facts, recipe and scores with intervals of the network in `weights`, whose card is beside."""
    card = read_json(weights.with_suffix(".json"))
    return [
        markdown_table(("", ""), facts(card, weights).items()),
        "The recipe, in order:",
        recipe(card["stages"]),
        f"Means over {card['test_scores']['samples']} pairs of unseen scenes and dogs, with their "
        "95 % bootstrap intervals:",
        intervals(card["test_scores"]["quadrants"]),
    ]


def facts(card: dict, weights: Path) -> dict[str, object]:
    """What the network is and how its weights were made."""
    losses = ", ".join(f"{name} {value:g}" for name, value in card["loss_weights"].items() if value)
    return {
        "file": f"`{weights.name}`, {weights.stat().st_size / 1e6:.1f} MB",
        "encoder": f"`{card['network']['encoder']}`, trained from random weights",
        "parameters": f"{card['network']['parameters']:,}",
        "trained by": f"`{card['command']}`, seed {card['seed']}, {card['minutes']:.0f} minutes on "
        f"{card['machine']}, torch {card['torch']}",
        "loss weights": losses,
        "commit of the training": card["commit"],
        "commit of the evaluation": card["evaluated_at"],
    }


def recipe(stages: list[dict]) -> str:
    """A row for each stage of the training."""
    rows = []
    for stage in stages:
        parts = {f"{side} px": samples for side, (_, samples) in stage["parts"].items()}
        pairs = ", ".join(f"{count:,} of {side}" for side, count in parts.items())
        rows.append((stage["name"], stage["epochs"], pairs, f"{stage['lr']:g}", trained(stage)))
    heads = ("stage", "epochs", "pairs an epoch", "learning rate, peak", "trained")
    return markdown_table(heads, rows)


def trained(stage: dict) -> str:
    """The part of the network that a stage trains."""
    if stage["refiner"]:
        return "refiner"
    part = f"{stage['only']} decoder" if stage["only"] else "all"
    return f"{part}, on worlds too" if stage["worlds"] else part


def intervals(quadrants: dict) -> str:
    """Scores of the network on unseen pairs at every size, with their intervals."""
    rows = []
    for size, quadrant in quadrants.items():
        scores = quadrant[UNSEEN][NETWORK]
        bounds = scores["interval"]
        cells = (
            f"{scores[key]:.3f} ({bounds[key][0]:.3f} to {bounds[key][1]:.3f})" for key in INTERVALS
        )
        rows.append((size, *cells))
    return markdown_table(("size", *INTERVALS.values()), rows)


def used(card: dict, photographs: dict, pack: dict) -> list[str]:
    """What the shipped network was trained and judged on."""
    source = card["trained_on"]
    pairs = source["true_pairs"]
    worlds = max(stage["rendered"] for stage in card["stages"] if stage["worlds"])
    training = {
        "views and cut-outs of the training split": f"{source['views']} and {source['cutouts']}",
        "capture differences, strength": f"{source['capture_strength']:g}",
        "pairs without an object": f"{source['empty']:.0%}",
        "true pairs": f"{pairs['share']:.0%} of the samples, from {pairs['rendered']}",
        "rendered worlds (last stage)": f"{worlds:,}",
    }
    scores = card["test_scores"]
    judged = {
        "composites of each quadrant and size": scores["samples"],
        "true pairs of the test split": scores["true pairs"]["pairs"],
        "composites of real photographs": pack["count"],
    } | {f"real {group}s": count for group, (count, _) in real_groups(photographs).items()}
    return [
        "Used for training the shipped network:",
        markdown_table(("", ""), training.items()),
        "Used for its scores:",
        markdown_table(("", "number"), judged.items()),
    ]
