"""Interactive: a training to steer, a network that takes loss weights, two shots that differ."""

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
from eva_helpers.tuning.gradients import conflict
from eva_helpers.tuning.live import tuner_panel
from eva_helpers.tuning.memory import Memory, Try, read_tries, write_tries
from eva_helpers.tuning.pace import Pace
from eva_helpers.tuning.panel import Panel, wanted
from eva_helpers.tuning.pictures import chart, mosaic, png, ringed
from eva_helpers.tuning.playground import (
    PRESETS,
    RANGES,
    Changes,
    Comparison,
    changed_pair,
    playground_panel,
)
from eva_helpers.tuning.sliders import preview_panel
from eva_helpers.tuning.tries import overlay, side_by_side
from eva_helpers.tuning.tuner import Stopped, Tuner
from eva_helpers.tuning.weights_json import (
    PARAMETERS,
    SLIDERS,
    WEIGHT_PRESETS,
    changed,
    read_weights,
    write_weights,
)

__all__ = [
    "PARAMETERS", "PRESETS", "RANGES", "SHARES", "SLIDERS", "WEIGHT_PRESETS", "Changes",
    "Comparison", "Memory", "Pace", "Panel", "Stopped", "Try", "Tuner", "at_weighting", "changed",
    "changed_pair", "chart", "conflict", "mosaic", "nearest", "overlay", "playground_panel", "png",
    "preview", "preview_panel", "read_tries", "read_weights", "responses", "ringed",
    "side_by_side", "simplex", "term_losses", "tradeoff", "tuner_panel", "wanted", "write_tries",
    "write_weights",
]  # fmt: skip
