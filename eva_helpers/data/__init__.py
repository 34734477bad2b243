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
from eva_helpers.data.loaders import (
    Alternate,
    EpochSampler,
    channel_statistics,
    data_settings,
    fixed_sample,
    make_loader,
    set_epoch,
    watched_processes,
)
from eva_helpers.data.pasting import paste
from eva_helpers.data.placement import place_grounded
from eva_helpers.data.sharing import batches_from, divided

__all__ = [
    "MAPS", "PLACEMENTS", "QUADRANTS", "Alternate", "CaptureDifferences", "CompositeDataset",
    "EpochSampler", "PairDataset", "batches_from", "channel_statistics", "data_settings",
    "divided", "fixed_sample", "make_loader", "paste", "place_grounded", "quadrant", "set_epoch",
    "to_tensors", "watched_processes",
]  # fmt: skip
