"""Training data: composites created on the fly, augmentation, capture differences, loaders."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it opens a connection

from eva_helpers.data.capture import CaptureDifferences
from eva_helpers.data.dataset import (
    MAPS,
    PLACEMENTS,
    QUADRANTS,
    CompositeDataset,
    PairDataset,
    quadrant,
    to_tensors,
)
from eva_helpers.data.loaders import channel_statistics, fixed_sample, make_loader
from eva_helpers.data.pasting import paste
from eva_helpers.data.placement import place_grounded

__all__ = [
    "MAPS", "PLACEMENTS", "QUADRANTS", "CaptureDifferences", "CompositeDataset", "PairDataset",
    "channel_statistics", "fixed_sample", "make_loader", "paste", "place_grounded", "quadrant",
    "to_tensors",
]  # fmt: skip
