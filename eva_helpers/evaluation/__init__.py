"""Metrics, baselines and the report of a network on the test split.

The function `robustness` is imported from the module of the same name.
"""

from eva_helpers.evaluation.baselines import (
    THRESHOLDS,
    background_depth,
    best_threshold,
    calibrated_subtraction,
    mean_depth,
    photo_difference,
    subtraction,
)
from eva_helpers.evaluation.metrics import boundary_f, correlation, depth_metrics, dice, iou
from eva_helpers.evaluation.original import OriginalNet, original_loss
from eva_helpers.evaluation.report import (
    MOVED,
    UNSEEN,
    by_size,
    compare,
    evaluation_report,
    false_alarms,
    report_text,
)
from eva_helpers.evaluation.scoring import Method, evaluate, interval, summary

__all__ = [
    "MOVED", "THRESHOLDS", "UNSEEN", "Method", "OriginalNet", "background_depth", "best_threshold",
    "boundary_f", "by_size", "calibrated_subtraction", "compare", "correlation", "depth_metrics",
    "dice", "evaluate", "evaluation_report", "false_alarms", "interval", "iou", "mean_depth",
    "original_loss", "photo_difference", "report_text", "subtraction", "summary",
]  # fmt: skip
