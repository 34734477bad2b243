"""Figures: every function takes arrays (and perhaps axes), and returns axes or a figure.

Only `strip` returns pixels: it is drawn without matplotlib.
"""

from eva_helpers.plots.charts import (
    TERM_COLOURS,
    curves,
    fronts,
    histogram,
    robustness,
    tries,
    tuning,
)
from eva_helpers.plots.pictures import cases, panels, samples, save, show, strip, tiles
from eva_helpers.plots.point_cloud import point_cloud

__all__ = [
    "TERM_COLOURS", "cases", "curves", "fronts", "histogram", "panels", "point_cloud", "robustness",
    "samples", "save", "show", "strip", "tiles", "tries", "tuning",
]  # fmt: skip
