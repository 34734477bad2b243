"""Reading composites stored as files."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from eva_helpers.data import to_tensors
from eva_helpers.data.dataset import Tensors
from eva_helpers.files import checked_path, is_file
from eva_helpers.images import depth_reader, open_picture, read_mask, resize, to_rgb
from eva_helpers.schemas import Count, Positive, Side, checked, read_as
from eva_helpers.storage.agreement import Agreement
from eva_helpers.storage.manifest import read_manifest
from eva_helpers.storage.numbering import numbered_items
from eva_helpers.storage.settings import WRITTEN, Folders

SAMPLE = 64  # composites whose files show how all are stored


class FolderDataset(Dataset[Tensors]):
    """Composites stored as picture files, resampled to `size` x `size` px.

    In a folder with a `manifest.csv`, its columns `background`, `image`, `mask`, `depth` name the
    files of each sample. Otherwise the original project's layout is expected: `fg_bg/fg_bg_N.jpg`,
    `fg_bg_mask/fg_bg_mask_N.jpg`, `depthmap/depth_N.jpg` and `bg/bg_B.jpg`, numbered from 0 or 1,
    with `per_background` successive composites of each background. Images and backgrounds are
    compared: they must agree outside the masks. `found` says in words how the files were read.

    Args:
        folder: with the files.
        size: px.
        per_background: without a manifest; None: inferred by comparing the photos.
        near_is_dark: depth files are dark where near, as the original project's, and inverted on
            reading; False: they are bright where near.
        depth_white: the value in the depth files that stands for the bright end of the scale; None:
            recognised (see `images.depth_reader`). Values are scaled linearly.

    Raises:
        InputError: a folder or file is missing, the manifest names a file outside the folder,
            photos and masks do not belong together, the files' encoding is not recognised, or a
            `settings.json` is not that of `write_composites`.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        size: int = 64,
        per_background: int | None = None,
        near_is_dark: bool = True,
        depth_white: float | None = None,
    ) -> None:
        per_background = checked(Count | None, per_background, "per_background")
        depth_white = checked(Positive | None, depth_white, "depth_white")
        self.folder = checked_path(folder)
        self.size = checked(Side, size, "size")
        self.near_is_dark = near_is_dark
        agreement = Agreement()
        manifest = self.folder / "manifest.csv"
        if is_file(manifest):
            self.items = read_manifest(manifest)
            self.found = "backgrounds from the manifest"
        else:
            self.items, numbering = numbered_items(self.folder, per_background, agreement)
            self.found = f"{numbering}" + ("" if per_background else ", inferred")
        self._recognise(agreement, depth_white)

    def _recognise(self, agreement: Agreement, depth_white: float | None) -> None:
        """Check a sample of the files, and see how they are stored."""
        places = np.linspace(0, len(self.items) - 1, min(SAMPLE, len(self.items)))
        sample = [self.items[round(place)] for place in places]
        agreement.check(sample, sorted({item.background for item in self.items}))
        self.inverted = agreement.inverted(sample)
        self.white = agreement.white
        settings = self.folder / "settings.json"
        if depth_white is None and is_file(settings):
            read_as(Folders, settings, WRITTEN)
            depth_white = {".jpg": 255, ".png": 65535}.get(sample[0].depth.suffix)
        self.depth = depth_reader([item.depth for item in sample], depth_white)
        way = "near dark (inverted on reading)" if self.near_is_dark else "near bright"
        self.polarity = f"{self.depth}, {way}"
        if self.inverted:
            self.found += "; masks are dark on the object (inverted on reading)"

    @property
    def settings(self) -> dict[str, Any]:
        """What decides how the files are read."""
        ways = {"near_is_dark": self.near_is_dark, "depth": str(self.depth)}
        return ways | {"masks_inverted": self.inverted, "white": self.white}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensors:
        background = self.photo(self.items[index].background)
        return to_tensors(self.arrays(index) | {"background": background})

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """A sample's `image` uint8 (S, S, 3), `mask` and `depth` float32 (S, S) in [0, 1]."""
        item = self.items[index]
        mask = read_mask(item.mask, self.size, self.inverted)
        depth = self.depth(item.depth, self.size)
        depth = 1.0 - depth if self.near_is_dark else depth
        maps = {"mask": resize(mask, (self.size, self.size)), "depth": depth}
        return {"image": self.photo(item.image)} | maps

    def photo(self, path: Path) -> np.ndarray:
        """A photo at the dataset's size, uint8 RGB (S, S, 3)."""
        rgb = to_rgb(open_picture(path, at_least=self.size), self.white)
        return resize(rgb, (self.size, self.size))
