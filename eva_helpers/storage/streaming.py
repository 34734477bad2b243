"""Reading shards as a stream: one shard after the other, from front to back."""

import importlib.util
import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from torch.utils.data import IterableDataset
from typing_extensions import TypedDict

from eva_helpers.data.dataset import Tensors, to_tensors
from eva_helpers.files import InputError
from eva_helpers.schemas import Positive, Side, checked, read_as
from eva_helpers.storage.settings import WRITTEN, Shards
from eva_helpers.storage.sharding import SUFFIXES, is_whole, layout

Sample = dict[str, Any]  # names of files, without the key -> bytes


class About(TypedDict):
    """What the JSON of a sample says, as far as reading it needs it."""

    depth_white: Positive


class ShardDataset(IterableDataset[Tensors]):
    """The samples that `write_shards` has written, as those of a `CompositeDataset`.

    The processes of a DataLoader each read tar files of their own: there should be as many, or a
    multiple; with `ranks`, so do those that torchrun starts. A `Trainer` needs it without `ranks`:
    it divides the batches itself. With `shuffle`, the tar files are in another order in every epoch
    (see `data.set_epoch`), and samples are drawn from a buffer of `shuffle`; 0: all in order. Not
    with `persistent_workers`, whose processes do not learn of the epoch.

    Raises:
        InputError: the folder holds no such files, one is missing or cut short, or the package
            webdataset is missing; on reading: one is damaged.
    """

    def __init__(
        self, folder: str | os.PathLike, shuffle: int = 0, seed: int = 0, ranks: bool = False
    ) -> None:
        if importlib.util.find_spec("webdataset") is None:
            raise InputError("shards are read with webdataset: `pip install webdataset`.")
        self.folder = Path(folder)
        self.shuffle = shuffle
        self.seed = seed
        self.ranks = ranks
        self.settings: Shards = read_as(Shards, self.folder / "settings.json", WRITTEN)
        files = layout(self.folder, self.settings)
        for path in files:
            if not is_whole(path):
                raise InputError(f"{path} is missing: repeat the command that writes the shards.")
        self._counts = {f"file://{path}": len(numbers) for path, numbers in files.items()}
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be in the order of `epoch`, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.settings["count"]

    def __iter__(self) -> Iterator[Tensors]:
        import webdataset as wds

        urls = [*self._counts]
        splits = [wds.split_by_node] if self.ranks else []
        stages = [*splits, wds.split_by_worker, wds.tarfile_to_samples(), self._all]
        if self.shuffle:
            random.Random(f"{self.seed} {self._epoch}").shuffle(urls)
            mixed = {"initial": self.shuffle, "seed": self.seed, "epoch": self._epoch - 1}
            stages.append(wds.detshuffle(self.shuffle, **mixed))
        return map(decode, wds.DataPipeline(wds.SimpleShardList(urls), *stages))

    def _all(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The samples, if every tar file gives all of its own; tarfile stops at a broken header."""
        try:
            for url, group in groupby(samples, lambda sample: sample["__url__"]):
                count = 0
                for sample in group:
                    yield sample
                    count += 1
                if count < self._counts[url]:
                    raise tarfile.ReadError("it ends early", url)
        except tarfile.TarError as error:  # whose last argument is the address, by webdataset
            raise _damaged(error.args[-1]) from None


def decode(sample: Sample) -> Tensors:
    """A sample as `webdataset` gives it, `{"image.jpg": bytes, ...}`, as tensors.

    Raises:
        InputError: a file of it is missing or damaged.
    """
    try:
        about = checked(About, json.loads(sample["json"]), "json")
        maps = {kind: _picture(sample[f"{kind}{end}"]) for kind, end in SUFFIXES.items()}
    except (KeyError, ValueError, OSError, Image.DecompressionBombError, cv2.error):
        raise _damaged(sample["__url__"], f", sample {sample['__key__']}") from None
    units = {"mask": maps["mask"] / np.float32(255)}
    units |= {"depth": 1 - maps["depth"] / np.float32(about["depth_white"])}
    return to_tensors(maps | units)


def _picture(data: bytes) -> np.ndarray:
    """RGB, or grey as stored; of a size that can be decoded safely."""
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as header:
        checked(Side, max(header.size), "side")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if picture.ndim == 3 else picture


def _damaged(url: str, where: str = "") -> InputError:
    path = url.removeprefix("file://")
    return InputError(f"{path} is damaged{where}: delete it and write it, or copy it, again.")
