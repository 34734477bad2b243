"""Widgets: thin callers of `Tuner` and `preview`; the only module that needs ipywidgets."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.losses import LossWeights
from eva_helpers.model import inference
from eva_helpers.tuning.conditional import at_weighting, nearest, preview
from eva_helpers.tuning.pictures import chart, png, ringed
from eva_helpers.tuning.tuner import Tuner
from eva_helpers.tuning.weights_json import DEFAULT, SLIDERS, changed


def wanted(interactive: bool) -> bool:
    """Whether to show widgets: if asked for, unless this is an automatic run (`CI` is set)."""
    return interactive and not os.environ.get("CI")


def listed(weights: LossWeights) -> str:
    """The weights of SLIDERS as text."""
    return ", ".join(f"{name} {getattr(weights, name):g}" for name in SLIDERS)


class Panel:
    """Widgets around functions: `box` is to be displayed, `errors` are those of callbacks."""

    def __init__(self) -> None:
        import ipywidgets

        self.kit = ipywidgets
        self.errors: list[Exception] = []
        self.status = ipywidgets.HTML()
        self.picture = ipywidgets.Image(format="png")
        self.chart = ipywidgets.Image(format="png")
        self.sliders: dict[str, Any] = {}
        self.box = ipywidgets.VBox()

    def say(self, text: str, colour: str = "inherit") -> None:
        """Show `text` in the status line."""
        self.status.value = f"<span style='color: {colour}'>{text}</span>"

    def safely(self, action: Callable) -> Callable:
        """`action` as a callback whose errors are shown and kept: the kernel would hide them."""

        def call(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self.errors.append(error)
                self.say(f"{type(error).__name__}: {error}", "#b00020")

        return call

    def add_sliders(self, weights: LossWeights, on_move: Callable[[dict], None]) -> None:
        """A slider for each of SLIDERS."""
        for name in SLIDERS:
            value = getattr(weights, name)
            slider = self.kit.FloatSlider(value=value, min=0, max=2, step=0.05, description=name)
            slider.observe(self.safely(on_move), names="value")
            self.sliders[name] = slider

    def button(self, text: str, action: Callable[[], Any], done: str = "", tip: str = "") -> Any:
        """A button that calls `action`; then the status is `done`."""

        def press(_: Any) -> None:
            action()
            if done:
                self.say(done)

        button = self.kit.Button(description=text, tooltip=tip)
        button.on_click(self.safely(press))
        return button


def tuner_panel(tuner: Tuner, draw: Callable[[Tuner], Figure], folder: str | Path) -> Panel:
    """Sliders, buttons and a live picture by `draw` for a tuner; `folder` gets what is saved."""
    panel = Panel()

    def show() -> None:
        panel.picture.value = png(draw(tuner))
        panel.say(f"{tuner.state}: step {len(tuner.record)}, epoch {tuner.trainer.epoch}")
        if tuner.error:
            raise tuner.error  # for the status line

    def move(change: dict) -> None:
        weights = tuner.set_weights(**{change["owner"].description: change["new"]})
        panel.say(f"from the next step on: {listed(weights)}")

    def save() -> None:
        panel.say("saved: " + ", ".join(path.name for path in tuner.save(folder)))

    panel.add_sliders(tuner.trainer.weights, move)
    buttons = [
        panel.button("start / resume", tuner.start, "running"),
        panel.button("pause", tuner.pause, "paused after this step"),
        panel.button("reset to best", tuner.reset, "going back to the best checkpoint"),
        panel.button("save", save),
        panel.button("stop", tuner.stop, "stopped, checkpoint kept"),
    ]
    tuner.on_update = panel.safely(show)
    panel.say("ready")
    bar = panel.kit.HBox(buttons)
    panel.box.children = [bar, *panel.sliders.values(), panel.status, panel.picture]
    return panel


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
