"""Tables of docs/results.md: fine-tuning on photographs."""

from __future__ import annotations

from report_tables import markdown_table

MASK = {"mask_iou": "mask IoU", "mask_pooled_iou": "mask IoU, pooled", "mask_dice": "mask Dice"}
DEPTH = {"depth_rmse_std": "RMSE / std", "depth_delta1": "delta1"}


def course(report: dict) -> list[str]:
    """The course's protocol: the shipped network, fine-tuned, and subtraction."""
    rows = [
        (f"{split}, {size}" if number == 0 else "", name, *(float(values[key]) for key in MASK))
        for split in ("leaky", "leak-free")
        for size, methods in report[split].items()
        for number, (name, values) in enumerate(methods.items())
    ]
    low, high = report["objects"]
    return [
        "Cut-outs of photographs on photographs, everything on everything, without capture "
        f"differences, objects {low:g} to {high:g} of the frame long. *Leaky*: every background "
        "and every object is also in the test composites, as the original course split them; "
        "*leak-free*: photos are split. As shipped, and fine-tuned for "
        f"{report['minutes']:g} minutes on 2 cores; these weights are not shipped. Pooled: over "
        "the pixels of all pictures:",
        markdown_table(("composites", "mask from", *MASK.values()), rows),
        "Best published on such a leaky split, after 12 hours on a GPU: IoU 0.949 at 64 px, 0.967 "
        "at 112 px, on other photographs.",
    ]


def replay(report: dict) -> list[str]:
    """Ways to fine-tune on photos without depth labels: their masks, and the park's depth."""
    rows = [
        (
            name,
            *(float(row["photos"][key]) for key in MASK),
            *(float(row["park"][key]) for key in DEPTH),
        )
        for name, row in report["ways"].items()
    ]
    subtraction = [float(report["subtraction"][key]) for key in MASK]
    rows.append(("subtraction", *subtraction, "", ""))
    depths = (f"depth of the park, {name}" for name in DEPTH.values())
    return [
        "The shipped network learns photographs without depth labels, "
        f"{report['minutes']:g} minutes each way; masks of test photos that were not trained, "
        "with capture differences, and depth on the park's validation split:",
        markdown_table(("fine-tuning", *MASK.values(), *depths), rows),
    ]
