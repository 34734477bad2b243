"""Widgets around functions; the only modules that need ipywidgets are this one and its users."""

import os
from collections.abc import Callable
from typing import Any

from eva_helpers.losses import LossWeights
from eva_helpers.tuning.weights_json import SLIDERS


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
        self.picture = self.image()
        self.chart = self.image()
        self.sliders: dict[str, Any] = {}
        self.box = ipywidgets.VBox()

    def image(self) -> Any:
        """A picture, which is hidden until there is one: browsers mark an empty one as broken."""
        image = self.kit.Image(format="png", layout={"display": "none"})
        image.observe(lambda _: setattr(image.layout, "display", None), names="value")
        return image

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
