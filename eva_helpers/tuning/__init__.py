"""Interactive: a training to steer, networks of all weightings, two shots that differ."""

from eva_helpers.tuning.bank import MASK_SHARES, Answers, Bank, at_share, nearby, trained_weightings
from eva_helpers.tuning.bank_panel import BankPanel, front, map_of
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
    "MASK_SHARES", "PARAMETERS", "PRESETS", "RANGES", "SLIDERS", "WEIGHT_PRESETS", "Answers",
    "Bank", "BankPanel", "Changes", "Comparison", "Memory", "Pace", "Panel", "Stopped", "Try",
    "Tuner", "at_share", "changed", "changed_pair", "chart", "conflict",
    "front", "map_of", "mosaic", "nearby",
    "overlay", "playground_panel", "png", "read_tries", "read_weights", "ringed", "side_by_side",
    "trained_weightings", "tuner_panel", "wanted", "write_tries", "write_weights",
]  # fmt: skip
