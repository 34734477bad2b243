"""Speed of loading, alone and within a training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.original import OriginalDataset, write_original_folder
from benchmarks.timing import rate
from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.augment import crop, geometry, seeded
from eva_helpers.data.capture import CaptureDifferences
from eva_helpers.data.dataset import CompositeDataset, to_tensors
from eva_helpers.data.loaders import make_loader
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.training import Trainer, TrainingConfig

ORIGINAL = "original loading (JPEG, PIL, torchvision)"
PROCESSES = (0, 1, 2)  # of the loader
WARM = 8  # steps


class Augmented(Dataset):
    """Another dataset with our augmentation and capture differences, for the same work on files."""

    def __init__(self, data: OriginalDataset, size: int) -> None:
        self.data = data
        self.size = size
        self.geometry = geometry()
        self.capture = CaptureDifferences(1.0)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng(index)
        tensors = self.data[index]
        sample = {
            name: (tensors[name].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            for name in ("background", "image")
        }
        sample |= {name: tensors[name][0].numpy() for name in ("mask", "depth")}
        sample = crop(seeded(self.geometry, rng)(**sample), self.size, rng)
        photos = self.capture(sample["background"], sample["image"], sample["mask"], rng)
        sample["background"], sample["image"] = photos
        return to_tensors(sample)


def loading_rates(
    catalogue: Catalogue, size: int, seconds: float, count: int = 200
) -> dict[str, float]:
    """Samples a second of one process: composites on the fly, and files of 220 px."""
    augmented = {"size": size, "augment": True, "strength": 1.0}
    kinds: dict[str, Dataset] = {
        "on the fly": CompositeDataset(catalogue, size=size),
        "on the fly, augmented, capture differences": CompositeDataset(catalogue, **augmented),
        "the same with full variety": CompositeDataset(catalogue, variety=1.0, **augmented),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_original_folder(Path(folder), catalogue, count)
        files = OriginalDataset(Path(folder), count, size)
        kinds["FolderDataset (same files)"] = FolderDataset(folder, size=size)
        kinds["original loading, augmented like ours"] = Augmented(files, size)
        kinds[ORIGINAL] = files
        return {name: rate(reader(data, count), seconds) for name, data in kinds.items()}


def reader(data: Dataset, count: int) -> Callable[[], int]:
    """Work for `rate`: read `count` random samples."""
    rng = np.random.default_rng(0)
    order = rng.choice(len(data), count, replace=len(data) < count).tolist()

    def read() -> int:
        for index in order:
            data[index]
        return count

    return read


def waiting(
    catalogue: Catalogue, size: int, batch: int, seconds: float,
    processes: Iterable[int] = PROCESSES, warm: int = WARM,
) -> dict[str, float]:  # fmt: skip
    """Samples a second of whole training, and the share of the time that it waits for batches.

    `processes`: numbers of the loader's workers, `warm`: steps that are not counted.
    """
    data = CompositeDataset(catalogue, size=size, augment=True, strength=1.0)
    result = {}
    for workers in processes:
        batches = iter(make_loader(data, batch, samples=batch * 10_000, workers=workers))
        with tempfile.TemporaryDirectory() as folder:
            config = TrainingConfig(epochs=1)
            trainer = Trainer(MaskDepthNet(), [0] * 10_000, [], folder, config, z_near=1.5)
            trainer.net.train()
            for _ in range(warm):  # workers first read the scenes and fill their queues
                trainer.step(next(batches))
            waited = 0.0
            steps = 0
            start = time.perf_counter()
            while time.perf_counter() - start < seconds:
                before = time.perf_counter()
                sample = next(batches)
                waited += time.perf_counter() - before
                trainer.step(sample)
                steps += 1
        spent = time.perf_counter() - start
        result[f"{workers} workers, samples/s"] = steps * batch / spent
        result[f"{workers} workers, % of the time waiting"] = 100 * waited / spent
    return result
