"""Figures: every function takes arrays (and perhaps axes), and returns axes or a figure."""

from eva_helpers.plots.charts import TERM_COLOURS, curves, histogram, robustness, tradeoff, tuning
from eva_helpers.plots.pictures import cases, panels, samples, save, show, tiles
from eva_helpers.plots.point_cloud import point_cloud

__all__ = [
    "TERM_COLOURS", "cases", "curves", "histogram", "panels", "point_cloud", "robustness",
    "samples", "save", "show", "tiles", "tradeoff", "tuning",
]  # fmt: skip
