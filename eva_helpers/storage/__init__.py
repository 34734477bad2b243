"""Composites as files: reading folders, writing them, and packing them for fast training."""

from eva_helpers.storage.agreement import Item
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.numbering import FOLDERS
from eva_helpers.storage.packing import PackedDataset, pack
from eva_helpers.storage.training_data import AugmentedComposites, split_composites
from eva_helpers.storage.writing import write_composites

__all__ = [
    "FOLDERS", "AugmentedComposites", "FolderDataset", "Item", "PackedDataset", "pack",
    "split_composites", "write_composites",
]  # fmt: skip
