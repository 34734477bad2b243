"""Coarse to fine: maps at a photo's own size from a network that sees at most a few hundred px."""

from eva_helpers.refinement.aligned import AlignedPair
from eva_helpers.refinement.boxes import object_boxes
from eva_helpers.refinement.passes import CoarseToFine

__all__ = ["AlignedPair", "CoarseToFine", "object_boxes"]
