"""Composites as files: folders, shards, and packs them for fast training."""

from eva_helpers.storage.agreement import Item
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.numbering import FOLDERS
from eva_helpers.storage.packing import PackedDataset, pack
from eva_helpers.storage.sharding import write_shards
from eva_helpers.storage.streaming import ShardDataset
from eva_helpers.storage.training_data import AugmentedComposites, split_composites
from eva_helpers.storage.writing import write_composites

__all__ = [
    "FOLDERS", "AugmentedComposites", "FolderDataset", "Item", "PackedDataset",
    "ShardDataset", "pack", "split_composites", "write_composites", "write_shards",
]  # fmt: skip
