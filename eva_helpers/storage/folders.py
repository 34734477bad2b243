"""Reading composites stored as files."""

import csv
import functools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from eva_helpers.data import MAPS, to_tensors
from eva_helpers.data.dataset import Tensors
from eva_helpers.files import InputError, file_inside
from eva_helpers.images import open_image, read_map, resize

# The original project's folders, file names before the number, and composites of a background:
STEMS = {"background": "bg/bg", "image": "fg_bg/fg_bg"}
STEMS |= {"mask": "fg_bg_mask/fg_bg_mask", "depth": "depthmap/depth"}
FOLDERS = tuple(stem.split("/")[0] for stem in STEMS.values())
PER_BACKGROUND = 4000  # 100 cut-outs x 20 positions x {plain, flipped}


class Item(NamedTuple):
    """The files of one sample."""

    background: Path
    image: Path
    mask: Path
    depth: Path


class FolderDataset(Dataset[Tensors]):
    """Composites stored as JPEG or PNG files, resampled to `size` x `size` px.

    In a folder with a `manifest.csv`, its columns `background`, `image`, `mask`, `depth` name the
    files of each sample. Otherwise the original project's layout is expected: `fg_bg/fg_bg_N.jpg`,
    `fg_bg_mask/fg_bg_mask_N.jpg`, `depthmap/depth_N.jpg` and `bg/bg_B.jpg`, where composite N
    (from 1) has background B = ceil(N / per_background). Depth files are dark where near, as the
    original project's, and inverted on reading; `near_is_dark=False`: they are bright where near.

    Raises:
        InputError: a folder or file is missing, or the manifest names a file outside the folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        size: int = 64,
        per_background: int = PER_BACKGROUND,
        near_is_dark: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.size = size
        self.near_is_dark = near_is_dark
        self.polarity = "near dark (inverted on reading)" if near_is_dark else "near bright"
        manifest = self.folder / "manifest.csv"
        by_name = _from_names(self.folder, per_background)
        self.items = list(_from_manifest(manifest) if manifest.is_file() else by_name)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Tensors:
        background = self.photo(self.items[index].background)
        return to_tensors(self.arrays(index) | {"background": background})

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """A sample's `image` uint8 (S, S, 3), `mask` and `depth` float32 (S, S) in [0, 1]."""
        item = self.items[index]
        mask, depth = (self._map(path) for path in (item.mask, item.depth))
        depth = 1.0 - depth if self.near_is_dark else depth
        return {"image": self.photo(item.image), "mask": mask, "depth": depth}

    def photo(self, path: Path) -> np.ndarray:
        """A photo at the dataset's size, uint8 RGB (S, S, 3)."""
        rgb = np.asarray(open_image(path, at_least=self.size).convert("RGB"))
        return resize(rgb, (self.size, self.size))

    def _map(self, path: Path) -> np.ndarray:
        stored = read_map(path, at_least=self.size)
        unit = stored.astype(np.float32) / np.iinfo(stored.dtype).max
        return resize(unit, (self.size, self.size))


def _from_names(folder: Path, per_background: int) -> Iterator[Item]:
    files = {name: _numbered(folder / stem) for name, stem in STEMS.items()}
    for number, image in sorted(files["image"].items()):
        wanted = dict.fromkeys(MAPS, number) | {"background": math.ceil(number / per_background)}
        for name in MAPS:
            if wanted[name] not in files[name]:
                raise InputError(
                    f"{(folder / STEMS[name]).parent} has no file number {wanted[name]}, "
                    f"which {image} needs: add it or remove the composite."
                )
        yield Item(**{name: files[name][wanted[name]] for name in MAPS})


def _numbered(stem: Path) -> dict[int, Path]:
    """The files STEM_N.jpg (or .jpeg, .png) by their number N."""
    pattern = re.compile(rf"{re.escape(stem.name)}_(\d+)\.(jpe?g|png)", re.IGNORECASE)
    matches = ((pattern.fullmatch(path.name), path) for path in stem.parent.glob("*"))
    numbered = {int(match[1]): path for match, path in matches if match}
    if not numbered:
        raise InputError(
            f"{stem.parent} is missing, or holds no {stem.name}_1.jpg, {stem.name}_2.jpg ...: "
            f"expected the original project's folders {', '.join(FOLDERS)}, or a manifest.csv."
        )
    return numbered


def _from_manifest(path: Path) -> Iterator[Item]:
    inside = functools.cache(lambda name: file_inside(path.parent, name, path))
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = ", ".join(sorted(set(MAPS) - set(rows.fieldnames or ())))
        if missing:
            raise InputError(f"{path} has no column {missing}: expected {', '.join(MAPS)}.")
        yield from (Item(**{name: inside(row[name]) for name in MAPS}) for row in rows)
