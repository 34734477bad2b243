"""Sliders, buttons, presets, a live picture and the memory of a running training."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from eva_helpers.losses import LossWeights
from eva_helpers.tuning.pace import Pace
from eva_helpers.tuning.panel import Panel, listed
from eva_helpers.tuning.pictures import png
from eva_helpers.tuning.tries import TriesView
from eva_helpers.tuning.tuner import ACTIVE, Tuner, stop_others
from eva_helpers.tuning.weights_json import SLIDERS, WEIGHT_PRESETS

DRAWING = (10.0, 0.025)  # the figure is drawn every 10 s, in at most this share of the time
TURN = 1e-4  # s
INTERVAL = 1000  # ms between two looks at the training
MANY = 10**6  # such looks: for eleven days


@contextmanager
def yielding() -> Iterator[None]:
    """Let other threads have their turn sooner: the training asks for it at every operation.

    Between two operations it would wait 5 ms, Python's default, while a figure is drawn.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class TunerPanel(Panel):
    """The panel of a tuner: see `tuner_panel`.

    Widgets are written by callbacks only, in the kernel's main thread and in answer to a message of
    the front end, because Colab shows nothing else: while a training is active, `player` counts up
    there, and each new value makes the kernel `poll` the tuner.
    """

    def __init__(self, tuner: Tuner, draw: Callable[[Tuner], Figure], folder: str | Path) -> None:
        super().__init__()
        self.tuner = tuner
        self.draw = draw
        self.folder = folder
        self.pace = Pace(*DRAWING, meter=time.thread_time)  # the training goes on meanwhile
        self.tries = TriesView(self, tuner.memory)
        self.player = self.kit.Play(max=MANY, interval=INTERVAL, show_repeat=False)
        self.player.observe(self.safely(lambda change: self.poll()), names="value")
        self._drawn: tuple[str, int] = ("ready", 0)  # state and steps
        self.add_sliders(tuner.trainer.weights, self.move)
        for slider in self.sliders.values():
            slider.continuous_update = False  # one change, not a weighting at every pixel
        presets = [
            self.button(name, partial(self.apply, weights), tip=listed(weights))
            for name, weights in WEIGHT_PRESETS.items()
        ]
        bars = [self.kit.HBox(self._buttons()), self.kit.HBox(presets), *self.sliders.values()]
        self.progress = self.kit.HTML("ready")
        self.look = self.button("show now", self.show, tip="without waiting for the next picture")
        live = self.kit.HBox([self.player, self.look, self.progress])
        self.box.children = [*bars, live, self.status, self.picture, *self.tries.widgets]

    def _buttons(self) -> list[Any]:
        tuner = self.tuner
        return [
            self.button("start / resume", self.start),
            self.button("pause", tuner.pause, "pauses after this step"),
            self.button("undo", self.undo, tip="back to the weighting before this one"),
            self.button("reset to best", tuner.reset, "going back to the best checkpoint"),
            self.button("save", self.save),
            self.button("stop", self.stop),
        ]

    def start(self) -> None:
        """Start or resume the training, and polling it; one of an earlier panel is stopped."""
        stopped = stop_others(self.tuner)
        self.tuner.start()
        self.say(
            "; ".join(["running", *(f"the training in {folder} stopped" for folder in stopped)])
        )
        self._play(True)

    def show(self) -> None:
        """Draw at once: for a front end whose player does not count."""
        self._drawn = ("", 0)
        self.poll()

    def stop(self) -> None:
        """Stop the training, and show where it stopped."""
        self.tuner.stop()
        self.say("stopped, checkpoint kept")
        self.poll()

    def save(self) -> None:
        """Save network, weights and memory in `folder`."""
        self.say("saved: " + ", ".join(path.name for path in self.tuner.save(self.folder)))

    def undo(self) -> None:
        """Back to the weighting before."""
        self.tuner.undo()
        self._follow()

    def apply(self, weights: LossWeights) -> None:
        """Set all sliders at once: between two of them, the weights would be others."""
        self.tuner.set_weights(**{name: getattr(weights, name) for name in SLIDERS})
        self._follow()

    def move(self, change: dict) -> None:
        """A slider has moved; one that the tuner refuses moves back."""
        name = change["owner"].description
        if getattr(self.tuner.trainer.weights, name) == change["new"]:
            return
        try:
            self.tuner.set_weights(**{name: change["new"]})
        finally:
            self._follow()

    def _follow(self) -> None:
        """Let the sliders show the tuner's weights."""
        weights = self.tuner.trainer.weights
        for name, slider in self.sliders.items():
            slider.value = getattr(weights, name)
        self.say(f"from the next step on: {listed(weights)}")

    def poll(self) -> None:
        """Draw what is new, at once if the training's state has changed, else at its pace.

        Raises what ended a failed training, for the status line.
        """
        now = self.tuner.state, len(self.tuner.record)
        if now == self._drawn or (now[0] == self._drawn[0] and not self.pace.due()):
            return
        self._drawn = now
        if now[0] not in ACTIVE:
            self._play(False)
        with self.pace.work(), yielding():
            self.picture.value = png(self.draw(self.tuner))
            self.tries.refresh()
        self.progress.value = f"{now[0]}: step {now[1]}, epoch {self.tuner.trainer.epoch}"
        if self.tuner.error:
            raise self.tuner.error

    def _play(self, on: bool) -> None:
        """Start or end the counting in the front end."""
        if self.player.has_trait("playing"):
            self.player.playing = False  # a page that was loaded again counts only after a change
            self.player.playing = on
        elif not on:  # ipywidgets 7, as on Colab: only a person can start it
            self.player._playing = False
        elif not self.player._playing:
            self.say("running; press ▶ to see it")


def tuner_panel(tuner: Tuner, draw: Callable[[Tuner], Figure], folder: str | Path) -> TunerPanel:
    """Sliders, presets, buttons, a live picture by `draw`, and the memory of a tuner.

    `folder` gets what is saved.
    """
    return TunerPanel(tuner, draw, folder)
