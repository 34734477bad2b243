"""Interactive tuning of the loss weights: a training to steer, and a network that takes them."""

from eva_helpers.tuning.conditional import (
    SHARES,
    at_weighting,
    nearest,
    preview,
    responses,
    simplex,
    term_losses,
    tradeoff,
)
from eva_helpers.tuning.pictures import chart, mosaic, png, ringed
from eva_helpers.tuning.sliders import Panel, preview_panel, tuner_panel, wanted
from eva_helpers.tuning.tuner import Stopped, Tuner
from eva_helpers.tuning.weights_json import (
    PARAMETERS,
    SLIDERS,
    changed,
    read_weights,
    write_weights,
)

__all__ = [
    "PARAMETERS", "SHARES", "SLIDERS", "Panel", "Stopped", "Tuner", "at_weighting", "changed",
    "chart", "mosaic", "nearest", "png", "preview", "preview_panel", "read_weights", "responses",
    "ringed", "simplex", "term_losses", "tradeoff", "tuner_panel", "wanted", "write_weights",
]  # fmt: skip
