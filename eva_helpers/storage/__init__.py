"""Composites as files: reading folders, writing them, and packing them for fast training."""

from eva_helpers.storage.folders import FOLDERS, FolderDataset, Item
from eva_helpers.storage.packing import PackedDataset, pack
from eva_helpers.storage.writing import write_composites

__all__ = ["FOLDERS", "FolderDataset", "Item", "PackedDataset", "pack", "write_composites"]
