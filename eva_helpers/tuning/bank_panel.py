"""Sliders over a bank of networks: the picture, the map and the current point follow them."""

import time
from typing import Any

import numpy as np

from eva_helpers.losses import LossWeights
from eva_helpers.plots import fronts
from eva_helpers.tuning.bank import MASK_SHARES, Answers, at_share
from eva_helpers.tuning.panel import Panel
from eva_helpers.tuning.pictures import as_jpeg, chart, mosaic, png, ringed
from eva_helpers.tuning.weights_json import DEFAULT, SLIDERS, changed

SCORES = ("mask_iou", "depth_rmse_std")
BETWEEN = 3  # points of a front from one trained share of the mask to the next
Front = list[dict[str, Any]]


def mask_shares() -> list[float]:
    """The trained shares of the mask, and some between them."""
    count = BETWEEN * (len(MASK_SHARES) - 1) + 1
    logits = np.log(np.divide(MASK_SHARES, np.subtract(1, MASK_SHARES)))
    steps = np.interp(np.linspace(0, len(logits) - 1, count), range(len(logits)), logits)
    return (1 / (1 + np.exp(-steps))).tolist()


def front(answers: Answers, steps: int) -> Front:
    """Scores along the mask's share, with `weights` and `steps` in every row."""
    weightings = [at_share(share) for share in mask_shares()]
    return [
        answers.scores(weights, steps) | {"weights": weights, "steps": steps}
        for weights in weightings
    ]


def map_of(answers: Answers) -> dict[int, Front]:
    """A `front` for every length of training."""
    return {steps: front(answers, steps) for steps in answers.lengths}


class BankPanel(Panel):
    """Sliders of the weights and of the length of training over the answers of a bank.

    `examples` are looked at and `judged` are scored. The two sliders along the map's axes drag the
    current point: it goes to the nearest one of `fronts_by_steps`, and the other sliders follow.
    """

    def __init__(
        self, examples: Answers, judged: Answers, fronts_by_steps: dict[int, Front]
    ) -> None:
        super().__init__()
        self.examples = examples
        self.judged = judged
        self.points = [row for rows in fronts_by_steps.values() for row in rows]
        self.map, self.place, limits = chart(fronts(fronts_by_steps))
        self.add_sliders(DEFAULT, self.show)
        self.steps = self.kit.SelectionSlider(
            options=[(f"{steps} steps", steps) for steps in examples.lengths],
            value=examples.lengths[-1],
            description="training",
        )
        self.steps.observe(self.safely(self.show), names="value")
        self.across = self._axis("mask IoU", limits[0], "horizontal")
        self.up = self._axis("RMSE / std", limits[1], "vertical")
        self._following = False
        self.picture.format = "jpeg"
        self.picture.layout.width = "44%"
        self.chart.layout.width = "100%"
        pictures = self.kit.HBox([self.picture, self.up, self._map_column()])
        self.box.children = [*self.sliders.values(), self.steps, self.status, pictures]
        self.safely(self.show)()

    def _axis(self, name: str, limits: tuple[float, float], orientation: str) -> Any:
        least, most = limits
        slider = self.kit.FloatSlider(
            min=least, max=most, step=(most - least) / 200, description=name,
            orientation=orientation, readout_format=".3f",
        )  # fmt: skip
        slider.observe(self.safely(self.drag), names="value")
        return slider

    def _map_column(self) -> Any:
        return self.kit.VBox([self.chart, self.across], layout={"width": "46%"})

    def weights(self) -> LossWeights:
        """Those of the sliders."""
        return changed(DEFAULT, **{name: each.value for name, each in self.sliders.items()})

    def show(self, _: dict | None = None) -> None:
        """Let picture, map and the axes' sliders follow the other sliders."""
        if self._following:
            return
        start = time.perf_counter()
        current = self.weights(), self.steps.value
        mask, depth = self.examples.at(*current)
        self.picture.value = as_jpeg(mosaic(self.examples.batch, mask, depth))
        scores = self.judged.scores(*current)
        here = scores[SCORES[0]], scores[SCORES[1]]
        self.chart.value = png(ringed(self.map, self.place(*here)))
        self._following = True
        for axis, value in zip((self.across, self.up), here, strict=True):
            axis.value = min(max(value, axis.min), axis.max)
        self._following = False
        text = f"mask IoU {here[0]:.3f}, depth RMSE / std {here[1]:.3f}"
        self.say(f"{text}; {1000 * (time.perf_counter() - start):.0f} ms")

    def drag(self, _: dict | None = None) -> None:
        """Go to the point of the map that is nearest to the axes' sliders."""
        if self._following:
            return
        axes = (self.across, self.up)
        distances = [
            sum(
                ((row[key] - axis.value) / (axis.max - axis.min)) ** 2
                for key, axis in zip(SCORES, axes, strict=True)
            )
            for row in self.points
        ]
        self.go_to(self.points[int(np.argmin(distances))])

    def go_to(self, row: dict[str, Any]) -> None:
        """Set the sliders to a row of a front."""
        self._following = True
        for name in SLIDERS:
            self.sliders[name].value = getattr(row["weights"], name)
        self.steps.value = row["steps"]
        self._following = False
        self.show()
