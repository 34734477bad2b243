"""Sliders over a loss-conditional network: the picture follows them."""

import time
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex
from torch import nn

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.losses import LossWeights
from eva_helpers.model import inference
from eva_helpers.tuning.conditional import at_weighting, nearest, preview
from eva_helpers.tuning.panel import Panel, listed
from eva_helpers.tuning.pictures import chart, png, ringed
from eva_helpers.tuning.weights_json import DEFAULT, changed


def preview_panel(
    net: nn.Module, examples: Batch, rows: list[dict], weights: LossWeights = DEFAULT
) -> Panel:
    """Sliders over a conditional network: the picture is its `preview` at their weighting.

    `rows` (see `tradeoff`) become a chart, in which the weighting nearest to the sliders is
    ringed, and a map of buttons, blue by mask IoU, which set the sliders to their weighting.
    """
    panel = Panel()
    drawn, places = chart(rows)
    predict = inference(net, "cpu", exact=True)  # copied once, not at every move
    _, before = at_weighting(predict, weights)(examples["background"], examples["image"])

    def show(_: dict | None = None) -> None:
        start = time.perf_counter()
        values = {name: slider.value for name, slider in panel.sliders.items()}
        current = changed(weights, **values)
        panel.picture.value = png(preview(predict, examples, current, before))
        panel.say(f"{1000 * (time.perf_counter() - start):.0f} ms")
        move_ring(nearest(rows, current))

    def move_ring(here: int) -> None:
        if grid.children[here].layout.border:
            return
        panel.chart.value = png(ringed(drawn, places[here]))
        for number, point in enumerate(grid.children):  # an icon would push the figures out
            point.layout.border = "2px solid #d55e00" if number == here else ""

    panel.add_sliders(weights, show)
    columns = len({row["weights"].mask for row in rows})
    layout = {"grid_template_columns": f"repeat({columns}, 1fr)", "max_width": "860px"}
    grid = panel.kit.GridBox([_point(panel, row, rows) for row in rows], layout=layout)
    flow = {"flex_flow": "row wrap", "align_items": "flex-start"}
    pictures = panel.kit.HBox([panel.picture, panel.chart], layout=flow)
    panel.box.children = [*panel.sliders.values(), panel.status, pictures, grid]
    panel.safely(show)()
    return panel


def _point(panel: Panel, row: dict, rows: list[dict]) -> Any:
    """The button of one row of the map."""

    def jump() -> None:
        for name, slider in panel.sliders.items():
            slider.value = getattr(row["weights"], name)

    text = f"{row['mask_iou']:.3f} | {row['depth_rmse_std']:.3f}"
    button = panel.button(text, jump, tip=listed(row["weights"]))
    scores = sorted(each["mask_iou"] for each in rows)
    level = (row["mask_iou"] - scores[0]) / max(scores[-1] - scores[0], 1e-9)
    button.style.button_color = to_hex(colormaps["Blues"](0.15 + 0.5 * level))
    button.layout.width = "auto"
    return button
