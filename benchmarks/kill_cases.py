"""The commands that `benchmarks.kills` kills, and small inputs for them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.datasets import OxfordIIITPet, Places365

from benchmarks.killing import Case
from eva_helpers import __main__ as command
from eva_helpers.catalogue import cli as photos_cli
from eva_helpers.catalogue import open_catalogue, opening
from eva_helpers.files import command_line
from eva_helpers.model import MaskDepthNet, ModelConfig, save_weights
from eva_helpers.predict import many  # noqa: F401 - imported before the processes fork
from eva_helpers.storage import cli as storage_cli  # noqa: F401
from eva_helpers.training import command as training_command  # noqa: F401

SIDE = 48  # px of the photos
BACKGROUNDS = 10  # more than a batch of the depth model
CUTOUTS = 6
TINY = ModelConfig(widths=(8, 8, 8, 8, 8), blocks=(1, 1, 1, 1, 1), decoder=(8, 8, 8, 8), detail=4)
CLOCK = {"seconds": 0, "samples_per_second": 0}


def run(*arguments: object) -> int:
    """`eva-helpers ARGUMENTS`."""
    return command.main([str(argument) for argument in arguments])


def soft(seed: int, side: int = SIDE) -> np.ndarray:
    """A soft random picture, uint8 (side, side, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def save(picture: np.ndarray, path: Path) -> Path:
    """Save it, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def disc(side: int = SIDE) -> np.ndarray:
    """A mask, uint8 (side, side)."""
    y, x = np.mgrid[:side, :side] - side / 2
    return (255 * (np.hypot(y, x) < 0.4 * side)).astype(np.uint8)


def write_photos(folder: Path) -> Path:
    """Backgrounds in bg, cut-outs in fg."""
    for number in range(BACKGROUNDS):
        save(soft(number), folder / f"bg/b{number}.png")
    for number in range(CUTOUTS):
        save(np.dstack([soft(100 + number), disc()]), folder / f"fg/f{number}.png")
    return folder


def change(photos: Path) -> None:
    """One photo is another, one is new, one is gone, one cannot be read."""
    save(soft(50), photos / "bg/b1.png")
    save(soft(51), photos / "bg/new.png")
    (photos / "bg/b2.png").unlink()
    (photos / "bg/broken.png").write_bytes(b"no picture")


def depth_model(axis: int) -> Callable:
    """Stands for a pretrained one: depth grows along an axis."""

    def estimate(pictures: list[np.ndarray]) -> list[np.ndarray]:
        return [np.indices(picture.shape[:2])[axis] / SIDE for picture in pictures]

    estimate.name = {"model": f"axis {axis}", "revision": None}  # type: ignore[attr-defined]
    return estimate


def photos(photos_folder: Path, axis: int | None, folder: Path) -> int:
    """`eva-helpers photos`, with --depth where `axis` names a model."""
    photos_cli.depth_estimator = lambda *names: depth_model(axis or 0)
    depth = [] if axis is None else ["--depth"]
    return run("photos", folder / "out", "--folder", photos_folder, *depth)


@command_line
def opened(arguments: list[str] | None) -> None:
    """Open a folder of photos as a training does; arguments: photos, folder for catalogues."""
    assert arguments
    opening.depth_estimator = lambda: depth_model(0)
    open_catalogue(arguments[0], arguments[1])


def write_archives(folder: Path) -> dict[str, str]:
    """Both public data sets as they are downloaded, of a few pictures: MD5 sums by file name."""
    pets, places = folder / "oxford-iiit-pet", folder / "places"
    source = folder.with_name("archived")
    trimap = np.where(disc() > 0, 1, 2).astype(np.uint8)
    for number in range(4):
        save(soft(200 + number), source / f"images/dog_{number}.jpg")
        save(trimap, source / f"annotations/trimaps/dog_{number}.png")
        save(soft(300 + number), source / f"val_256/park_{number}.jpg")
    lists = {
        "annotations/trainval.txt": "".join(f"dog_{number} 1 2 1\n" for number in range(4)),
        "categories_places365.txt": "/p/park 0\n",
        "places365_val.txt": "".join(f"park_{number}.jpg 0\n" for number in range(4)),
    }
    for name, text in lists.items():
        (source / name).write_text(text, encoding="utf-8")
    archives = {
        pets / "images.tar.gz": ["images"], pets / "annotations.tar.gz": ["annotations"],
        places / "val_256.tar": ["val_256"],
        places / "filelist_places365-standard.tar": [*lists][1:],
    }  # fmt: skip
    for path, names in archives.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.TarFile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            for name in names:
                archive.add(source / name, name)
    files = [*archives, *(source / name for name in [*lists][1:])]
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def downloaded(sums: dict[str, str], folder: Path) -> int:
    """`eva-helpers photos --download`, where the archives of `write_archives` have arrived."""
    pets = [(name, sums[name]) for name in ("images.tar.gz", "annotations.tar.gz")]
    OxfordIIITPet._RESOURCES = tuple(pets)
    categories, files, devkit, pictures = (
        (name, sums[name])
        for name in (
            "categories_places365.txt", "places365_val.txt", "filelist_places365-standard.tar",
            "val_256.tar",
        )
    )  # fmt: skip
    Places365._CATEGORIES_META = categories
    Places365._FILE_LIST_META = {"val": files}
    Places365._DEVKIT_META = {"standard": devkit}
    Places365._IMAGES_META = {("val", True): pictures}
    return run("photos", folder / "out", "--download", folder / "data")


def write_frames(folder: Path) -> None:
    """background.png, frames with a dark square that moves; also with a bad file; as a video."""
    save(soft(7, 64)[:48], folder / "background.png")
    save(soft(8, 64)[:48], folder / "new.png")
    video = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(5):
        frame = soft(7, 64)[:48]
        frame[15:35, 5 + 8 * number : 20 + 8 * number] = 10
        save(frame, folder / f"frames/é{number}.png")
        video.write(np.ascontiguousarray(frame[..., ::-1]))
    video.release()
    shutil.copytree(folder / "frames", folder / "more")
    (folder / "more/é2a.png").write_bytes(b"no picture")  # so the command ends with status 2


def in_turn(*calls: Callable[[], int]) -> int:
    """Call one after another until one fails."""
    return next((status for status in (call() for call in calls) if status), 0)


def trained(name: str, data: bytes) -> object:
    """Of a training: history without clock, weights; of the state the names."""
    if name.startswith("out/state"):
        return "there"
    if name == "out/history.jsonl":
        return [json.loads(line) | CLOCK for line in data.splitlines()]
    return data


def with_notes(folder: Path, built: Path | None = None) -> None:
    """The user has notes in the folder, and perhaps an earlier catalogue."""
    if built:
        shutil.copytree(built, folder / "out")
    (folder / "out").mkdir(exist_ok=True)
    for name in ("notes.txt", "mine.partial", "mine.tar.gz.partial"):
        (folder / "out" / name).write_text("mine", encoding="utf-8")


def cases(inputs: Path) -> list[Case]:
    """All commands, with inputs that are made in the folder `inputs`."""
    shots = write_photos(inputs / "photos")
    photos(shots, 0, inputs)
    catalogue = (inputs / "out").rename(inputs / "catalogue")
    change(shots)
    weights = inputs / "tiny.safetensors"
    torch.manual_seed(0)
    save_weights(MaskDepthNet(TINY), weights)
    write = ("--catalogue", catalogue, "--size", 32, "--positions", 1, "--workers", 1)
    run("dataset", "write", inputs / "composites", *write, "--count", 12)
    write_frames(inputs)
    sums = write_archives(inputs / "archives")
    return [
        *_datasets(inputs, write),
        *_catalogues(inputs, shots, catalogue, sums),
        *_predictions(inputs, weights),
        _training(catalogue, weights),
    ]


def _datasets(inputs: Path, write: tuple) -> list[Case]:
    shards = ("--format", "webdataset", "--per-shard", 4)
    halves = (("--shard", "1/2"), ("--shard", "2/2"))

    def written(*options: object) -> Callable[[Path], int]:
        return lambda folder: run("dataset", "write", folder / "out", *write, *options)

    def in_parts(*parts: tuple) -> Callable[[Path], int]:
        calls = [written(*part, "--count", 12) for part in parts]
        return lambda folder: in_turn(*(partial(call, folder) for call in calls))

    def packed(folder: Path) -> int:
        arguments = (inputs / "composites", folder / "out", "--size", 32, "--workers", 1)
        return run("dataset", "pack", *arguments)

    return [
        Case("dataset write", written("--count", 12)),
        Case("dataset write, two processes", written("--count", 60, "--workers", 2)),
        Case("dataset write --shard", in_parts(*halves, ())),
        Case("dataset write, shards", written(*shards, "--count", 12)),
        Case("dataset write --shard, shards", in_parts(*((*shards, *half) for half in halves))),
        Case("dataset pack", packed),
    ]


def _catalogues(inputs: Path, shots: Path, built: Path, sums: dict[str, str]) -> list[Case]:
    def archives(folder: Path) -> None:
        shutil.copytree(inputs / "archives", folder / "data")
        with_notes(folder)

    earlier = partial(with_notes, built=built)
    return [
        Case("photos", partial(photos, shots, None), with_notes),
        Case("photos, changed since", partial(photos, shots, None), earlier),
        Case("photos --depth", partial(photos, shots, 0), with_notes),
        Case("photos --depth, another model", partial(photos, shots, 1), earlier),
        Case("photos --download", partial(downloaded, sums), archives),
        Case("opening photos to train", lambda folder: opened([str(shots), str(folder / "out")])),
    ]


def _predictions(inputs: Path, weights: Path) -> list[Case]:
    def predict(images: str, *options: object) -> Callable[[Path], int]:
        where = ("--background", inputs / "background.png", "--images", inputs / images)
        common = (*where, "--weights", weights, "--out")
        return lambda folder: run("predict", *common, folder / "out", *options)

    def in_parts(folder: Path) -> int:
        parts = [predict("frames", "--shard", part) for part in ("1/2", "2/2")]
        return in_turn(*(partial(part, folder) for part in parts))

    three = ("--outputs", "mask", "depth", "cutout")
    replaced = ("--outputs", "mask", "replaced", "--new-background", inputs / "new.png")
    return [
        Case("predict --images", predict("more", *three), with_notes, status=2),
        Case("predict --images, a video", predict("clip.avi", *replaced), with_notes),
        Case("predict --images --shard", in_parts, with_notes),
    ]


def _training(catalogue: Path, weights: Path) -> Case:
    options = {
        "catalogue": catalogue, "initial-weights": weights, "size": 32, "epochs": 2,
        "samples-per-epoch": 16, "batch-size": 8, "validation-samples": 8, "workers": 0,
        "save-minutes": 1e-9,
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name}", value)]

    def train(folder: Path) -> int:
        return run("train", "--out", folder / "out", *given)

    return Case("train", train, with_notes, trained)
