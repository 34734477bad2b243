"""The memory of a steered training as figures, and as widgets that choose from it."""

from collections.abc import Sequence
from textwrap import shorten

from matplotlib.figure import Figure

from eva_helpers import plots
from eva_helpers.tuning.memory import Memory, Try
from eva_helpers.tuning.panel import Panel
from eva_helpers.tuning.pictures import png

SHOWN = 8  # the last tries, in a figure of them all
SCORES = {"mask_iou": "mask IoU", "depth_rmse_std": "depth RMSE / std", "cosine": "cosine"}


def overlay(tries: Sequence[Try]) -> Figure:
    """The last SHOWN tries laid over each other."""
    shown = {f"{each.title}, {each.steps} steps": each for each in tries[-SHOWN:]}
    curves = {name: list(each.rows) for name, each in shown.items()}
    return plots.tries(curves, {name: each.scores for name, each in shown.items()})


def side_by_side(first: Try, second: Try) -> Figure:
    """The pictures of two tries, with their scores."""
    figure = Figure(figsize=(10, 5.8), layout="constrained")
    for ax, each in zip(figure.subplots(1, 2), (first, second), strict=True):
        if each.picture is None:
            ax.text(0.5, 0.5, "no picture", ha="center", transform=ax.transAxes)
            ax.set_axis_off()
        else:
            plots.show(ax, each.picture)
        known = [(text, each.scores[key]) for key, text in SCORES.items() if key in each.scores]
        scores = ", ".join(f"{text} {value:.3f}" for text, value in known)
        lines = (f"{each.title}, {each.steps} steps", scores, shorten(each.failed, 70))
        ax.set_title("\n".join(filter(None, lines)), fontsize=9)
    figure.supxlabel("rows: image, mask, depth, depth error", fontsize=8)
    return figure


class TriesView:
    """Widgets of a memory: its tries laid over each other, and two chosen ones side by side."""

    def __init__(self, panel: Panel, memory: Memory) -> None:
        self.memory = memory
        self.overlay = panel.image()
        self.pair = panel.image()
        self.choices = [panel.kit.Dropdown(description=text) for text in ("compare", "with")]
        for choice in self.choices:
            choice.observe(panel.safely(lambda change: self.compare()), names="value")
        self.widgets = [panel.kit.HBox(self.choices), self.pair, self.overlay]
        self._shown: list = []
        self._filling = False

    def refresh(self) -> None:
        """Show what is new in the memory, from two tries on; the newest one is chosen second."""
        tries = self.memory.tries
        new = [(each.title, tuple(each.scores.values())) for each in tries]
        if len(new) < 2 or new == self._shown:
            return
        self._shown = new
        self._fill([(each.title, each.number) for each in tries])
        self.overlay.value = png(overlay(tries))
        self.compare()

    def _fill(self, options: list[tuple[str, int]]) -> None:
        """Offer `options`; the widget itself would choose the first one."""
        first = self.choices[0].value or options[0][1]
        self._filling = True
        for choice, number in zip(self.choices, (first, options[-1][1]), strict=True):
            choice.options = options
            choice.value = number
        self._filling = False

    def compare(self) -> None:
        """Draw the two chosen tries."""
        numbered = {each.number: each for each in self.memory.tries}
        chosen = [numbered[choice.value] for choice in self.choices if choice.value in numbered]
        if len({each.number for each in chosen}) == 2 and not self._filling:
            self.pair.value = png(side_by_side(*chosen))
