"""The table of inputs that cannot be used: templates of a file or call, and what is put into them.

`CASES` maps a name to a function of a `Kit`, which holds good files. Each function puts one bad
value into one good input and hands it to a public entry. `COMMANDS` holds arguments of the command
line. `test_bad_inputs.py` expects a sentence of each.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import parameters
import torch
from conftest import TINY, cutout, picture, write_catalogue
from PIL import Image, TiffImagePlugin
from safetensors.torch import save

from eva_helpers import images
from eva_helpers.catalogue import build_catalogue, label_depth, load_catalogue, photos_of_folder
from eva_helpers.data import CompositeDataset
from eva_helpers.files import InputError, file_inside
from eva_helpers.model import MaskDepthNet, load_weights, save_weights
from eva_helpers.paths import ROOT, new_run, record_metrics
from eva_helpers.predict import Predictor, effects, load_pair, predict_images
from eva_helpers.predict.many import predict_many
from eva_helpers.storage import (
    FolderDataset,
    PackedDataset,
    ShardDataset,
    pack,
    write_composites,
    write_shards,
)
from eva_helpers.training.finetuning import finetune
from eva_helpers.training.folder import RunFolder
from eva_helpers.tuning.bank import Bank
from eva_helpers.tuning.memory import read_tries
from eva_helpers.tuning.weights_json import read_weights
from eva_helpers.worlds import write_worlds

NAN, INF = math.nan, math.inf
MISSING = "(missing)"
LONG = 300 * "n"
HUGE = 10**400
POSITIVE = (0, -1, NAN, INF, "far", [1], True)  # where a number above 0 belongs
COUNTS = (0, -1, 1.5, "x", None, [], True)
SEEDS = (-1, 0.5, "x", None, HUGE)
NAMES = ("", "a/b", "..", "a\0b", LONG, [], {}, None, 1.5, MISSING)
FILES = ("", ".", "..", "/etc/hostname", "../x.png", "a\0.png", LONG, "gone.png", 5, [], True)
SPLIT = ("training", "", 5, None, [], MISSING)
TEXTS = ("", "{", "[1]", "null", "5", '"text"', 10_000 * "[", "\0", b"\xff\xfe\x00", b"\xff")

CATALOGUE: dict[str, tuple] = {
    "": ([], "park", 5, None, {}),
    "name": (5, None, [], MISSING),
    "z_near": (*POSITIVE, 1e9, None, MISSING),
    "depth_encoding": (5, "log", {}, {"kind": "metric"}, {"kind": []}, None, MISSING),
    "depth_encoding.near": (*POSITIVE, None, MISSING),
    "depth_encoding.step": (*POSITIVE, None, MISSING),
    "relief_encoding": (5, "x", [], {"zero": "a"}),
    "relief_encoding.zero": (NAN, "x", None, []),
    "relief_encoding.step": POSITIVE,
    "scenes": (5, {}, "x", None, [5], [None], ["x"], [[]], [{}], MISSING),
    "scenes.0.id": (*NAMES, "s1"),
    "scenes.0.scene": ([], {}, None, 1.5, MISSING),
    "scenes.0.split": SPLIT,
    "scenes.0.image": (*FILES, None, MISSING),
    "scenes.0.depth": (*FILES, MISSING),
    "scenes.0.ground": FILES,
    "scenes.0.focal": POSITIVE,
    "scenes.0.camera_height": POSITIVE,
    "cutouts": (5, {}, None, [5], [{}], MISSING),
    "cutouts.0.id": (*NAMES, "c1"),
    "cutouts.0.object": ([], {}, None, MISSING),
    "cutouts.0.split": SPLIT,
    "cutouts.0.image": (*FILES, None, MISSING),
    "cutouts.0.relief": FILES,
    "cutouts.0.metres_per_pixel": (*POSITIVE, 1e9, 1e-12),
    "cutouts.0.contact": (5, "x", [], [1], [1, 2, 3], ["a", "b"], [NAN, 1], {}),
    "pairs": (5, {}, [5], [{}]),
    "pairs.0.id": (*NAMES, "p1"),
    "pairs.0.split": SPLIT,
    "pairs.0.image": (*FILES, None, MISSING),
    "pairs.0.mask": (*FILES, None, MISSING),
    "pairs.0.depth": (*FILES, None, MISSING),
    "pairs.0.top": (-1, "x", 1.5, [], 1e9),
}
NETWORK: dict[str, tuple] = {
    "": ([], 5, None, "x"),
    "encoder": (5, None, [], "vgg", "timm:", "timm:../x", "timm:hf-hub:owner/name", "timm:a b"),
    "widths": (5, [], [8], [8] * 6, [0] * 5, [-8] * 5, [20_000] * 5, ["8"] * 5, [8.5] * 5, None),
    "blocks": ([10**6] * 5, [0] * 5, [-1] * 5, [1] * 4, "x", None, [HUGE] * 5),
    "decoder": ([20_000] * 4, [8] * 3, [0] * 4, "x", None),
    "detail": (0, -1, 10**6, "4", None, 2.5, True),
    "refiner": (-1, 10**6, "a", None),
    "sized": ("yes", 2, None, []),
    "colour": (1,),
}
TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a weight is NaN": lambda all_: all_["encoder.stem.0.weight"].fill_(NAN),
    "a weight is infinite": lambda all_: all_["encoder.stem.0.weight"].fill_(INF),
    "integers": lambda all_: all_.update({k: v.int() for k, v in all_.items()}),
    "booleans": lambda all_: all_.update({k: v.bool() for k, v in all_.items()}),
    "complex": lambda all_: all_.update({k: v + 0j for k, v in all_.items()}),
    "a variance is negative": lambda all_: all_["encoder.stem.1.running_var"].fill_(-1),
    "a variance is NaN": lambda all_: all_["encoder.stem.1.running_var"].fill_(NAN),
    "a mean is infinite": lambda all_: all_["encoder.stem.1.running_mean"].fill_(INF),
    "the counter is a float": lambda all_: all_.update(
        {k: v.float() for k, v in all_.items() if k.endswith("num_batches_tracked")}
    ),
    "std is 0": lambda all_: all_["std"].zero_(),
    "std is negative": lambda all_: all_["std"].neg_(),
    "mean is NaN": lambda all_: all_["mean"].fill_(NAN),
    "one is missing": lambda all_: all_.pop("std"),
    "one too many": lambda all_: all_.update(more=torch.zeros(1)),
    "another shape": lambda all_: all_.update(std=torch.ones(1, 4, 1, 1)),
    "none": lambda all_: all_.clear(),
}
WEIGHTING: dict[str, tuple] = {
    "": ([], 5, "x", None, {}),
    "MASK_WEIGHT": (-1, NAN, INF, HUGE, "x", "0.3", None, [], {}, True),
    "DICE_WEIGHT": (-1, NAN),
    "OTHER": (1,),
}
BANK: dict[str, tuple] = {
    "": ([], 5, None, "x"),
    "lengths": (5, [], "x", ["a"], [1.5], None, MISSING),
    "widths": ([20_000] * 5, [8] * 4, [0] * 5, "x", None, [6] * 5, MISSING),
    "notes": (5, "x"),
    "weightings": ({}, None, 5, MISSING),
}
WRITTEN: dict[str, tuple] = {
    "": ([], 5, None, "x", {}),
    "depth": ("near bright", 5, None, MISSING),
    "catalogue": (5, None, [], MISSING),
    "items": ("x", 5, None, MISSING),
    "count": (*COUNTS, 10**10, MISSING),
    "size": (0, -1, 31, 100_000, "x", None, 64.5, MISSING),
    "positions": (*COUNTS, 10**7, MISSING),
    "placement": ("floating", 5, None, MISSING),
    "empty": (-1, 2, NAN, "x", None, MISSING),
    "true_pairs": (-1, 2, "x", None),
    "variety": (-1, 2, "x", None),
    "seed": (*SEEDS, MISSING),
}
FOLDERS = WRITTEN | {
    "format": (5, None, "eva_helpers.shards 1", MISSING),
    "jpeg": (1, "yes", None, MISSING),
}
SHARDS = WRITTEN | {
    "format": (5, None, "eva_helpers.folders 2", MISSING),
    "split": ("../x", "a/b", "", 5.5, None, [], MISSING),
    "per_shard": (*COUNTS, MISSING),
    "count": (*COUNTS, 10**9, MISSING),
    "z_near": (*POSITIVE, MISSING),
    "depth_white": (*POSITIVE, None, MISSING),
}
PACK: dict[str, tuple] = {
    "": ([], 5, None, "x", {}),
    "format": (5, None, "eva_helpers.pack 1", MISSING),
    "size": (*COUNTS, 100_000, 48, MISSING),
    "count": (*COUNTS, 10**9, MISSING),
    "read": (5, None, MISSING),
    "files": (5, None, MISSING),
}
ARRAYS: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "text": lambda path: path.write_text("numbers"),
    "floats": lambda path: np.save(path, np.zeros(np.load(path).shape)),
    "another shape": lambda path: np.save(path, np.load(path)[:1]),
    "objects": lambda path: np.save(path, np.array([{}], object)),
    "beyond the last": lambda path: np.save(path, np.full_like(np.load(path), 200)),
}
HEADER = "background,image,mask,depth\n"
ROW = "bg/bg_1.jpg,fg_bg/fg_bg_1.jpg,fg_bg_mask/fg_bg_mask_1.png,depthmap/depth_1.png\n"
MANIFESTS: dict[str, str | bytes] = {
    "nothing": "", "header alone": HEADER, "header and blanks": HEADER + "\n , ,\n",
    "no header": ROW, "few columns": "background,image\na,b\n", "short row": HEADER + "bg/b",
    "one column": "image\n" + ROW, "an empty cell": HEADER + ROW.replace("bg/bg_1.jpg", ""),
    "spaces in a cell": HEADER + ROW.replace("bg/bg_1.jpg", '"  "'),
    "NUL": HEADER + ROW.replace("bg_1", "bg\0", 1), "UTF-8 is damaged": b"background\xff\n",
    "long": HEADER + ROW.replace("bg/bg_1.jpg", LONG), "a cell of 200 kB": HEADER + 200_000 * "x",
    "absolute": HEADER + ROW.replace("bg/bg_1.jpg", "/etc/hostname"), "a picture": b"\x89PNG\r\n",
    "outside": HEADER + ROW.replace("bg/bg_1.jpg", "../x.jpg"), "odd UTF-16": b"\xff\xfea",
    "a folder": HEADER + ROW.replace("bg/bg_1.jpg", "bg"), "an open quote": HEADER + '"' + ROW,
    "gone": HEADER + ROW.replace("bg_1", "bg_99", 1),
}  # fmt: skip
COMPOSITES: dict[str, tuple] = {
    "size": (0, -1, 31, 100_000, "x", None, 1.5),
    "per_background": (0, -1, "x", 1.5, True),
    "depth_white": (0, -1, NAN, INF, "x"),
}
DATASET: dict[str, tuple] = {
    "size": (0, -1, 31, 100_000, "x", None, 64.5),
    "positions": (0, -1, "x", 10**9, None),
    "placement": ("floating", 5, None),
    "strength": (-1, 4, NAN, "x", None),
    "seed": SEEDS,
    "backgrounds": ("training", 5, []),
    "cutouts": ("training", 5, []),
    **dict.fromkeys(("empty", "true_pairs", "variety", "plain", "boxes", "resized"), (-1, 5, NAN)),
}
PARAMETERS: dict[str, tuple] = {
    "SEED": (-1, 2**32, "x", 1.5, None, True, [], "nan", HUGE),
    "SIZE": (0, -1, 31, 100_000, "big", "nan"),
    "EPOCHS": (0, -1, "ten", 1.5, 10**9, "inf"),
    "BATCH_SIZE": (0, 10**9, "x"),
    "LR": (0, "-1e-3", "x", NAN, INF, 100),
    "VARIETY": (5, -1, NAN),
    "STRENGTH": (5, -1, NAN),
    "SAMPLES_PER_EPOCH": (1, 0, -5, 10**15),
    "MINUTES": (-1, NAN, INF),
    "WORKERS": (-2, 1000),
    "MASK_WEIGHT": (-1, NAN, INF, "x"),
    "BALANCE": ("other", 5, None),
    "RESUME": ("maybe", 2, None),
    "CATALOGUE": ("/gone", "a\0b", LONG, [], True),
    "INITIAL_WEIGHTS": ("/gone", "a\0b", LONG),
    "RUN_DIR": ("a\0b", {}),
}
READERS = {
    "photo": images.read_rgb, "cut-out": images.read_rgba, "mask": images.read_mask,
    "map": images.read_map, "depth": lambda path: images.depth_reader([path])(path, 64),
}  # fmt: skip
NOT_PICTURES: dict[str, Any] = {
    "tensor": torch.zeros(3, 64, 64), "list": [[0]], "None": None, "bytes": b"photo", "number": 5,
    "floats": np.zeros((64, 64, 3)), "grey": np.zeros((64, 64), np.uint8), "set": {1},
    "nothing": np.zeros((0, 64, 3), np.uint8), "RGBA": np.zeros((64, 64, 4), np.uint8),
    "objects": np.array([None]), "small": np.zeros((31, 64, 3), np.uint8), "NUL": "a\0.png",
    "long": LONG, "a strip": np.zeros((32, 8_000, 3), np.uint8), "empty name": "",
    "wide": np.zeros((32, 40_000, 3), np.uint8),
}  # fmt: skip
OPTIONS: dict[str, list[tuple]] = {
    "predict --background GOOD --image GOOD2 --out OUT": [
        ("--image", "gone.jpg"), ("--image", "FOLDER"), ("--image", "TEXT"), ("--image", LONG),
        ("--image", "a\0b"), ("--background", "gone.jpg"), ("--background", "TEXT"),
        ("--weights", "gone"), ("--weights", "TEXT"), ("--weights", "FOLDER"), ("--weights", LONG),
        ("--out", "TEXT/sub"), ("--out", LONG), ("--out", "a\0b"), ("--images", "FOLDER"),
        ("--smooth", "0.5"), ("--colour", "red"), ("--out", "/proc/none"),
    ],
    "predict --background GOOD --images PHOTOS --out OUT": [
        ("--smooth", "1"), ("--smooth", "-1"), ("--smooth", "nan"), ("--smooth", "x"),
        ("--shard", "0/4"), ("--shard", "5/4"), ("--shard", "x"), ("--shard", "1/0"),
        ("--outputs", "colour"), ("--outputs", "replaced"), ("--new-background", "GOOD"),
        ("--images", "gone/*.jpg"), ("--images", LONG), ("--images", "a\0b"), ("--images", "VIDEO"),
        ("--background", "TEXT"), ("--out", "TEXT/sub"), ("--weights", "gone"),
    ],
    "dataset write OUT --catalogue CATALOGUE --size 32 --count 1 --workers 1": [
        ("--count", "0"), ("--count", "-1"), ("--count", "999999999"), ("--count", "x"),
        ("--size", "0"), ("--size", "-1"), ("--size", "100000"), ("--size", "x"),
        ("--positions", "0"), ("--positions", "-1"), ("--positions", "1000000000"),
        ("--seed", "-1"), ("--seed", "x"), ("--workers", "-1"), ("--workers", "100000"),
        ("--catalogue", "gone"), ("--catalogue", "TEXT"), ("--catalogue", LONG),
        ("--catalogue", "a\0b"), ("--split", "training"), ("--placement", "floating"),
        ("--shard", "0/2"), ("--shard", "3/2"), ("--shard", "x"),
    ],
    "dataset statistics COMPOSITES --size 32": [
        ("--size", "0"), ("--size", "-1"), ("--size", "100000"), ("--per-background", "0"),
        ("--per-background", "-1"), ("--depth-white", "0"), ("--depth-white", "nan"),
        ("--depth-white", "-5"),
    ],
    "dataset pack COMPOSITES OUT --size 32 --workers 1": [
        ("--size", "0"), ("--size", "100000"), ("--workers", "-1"), ("--depth-white", "nan"),
        ("--per-background", "x"), ("--shard", "0/2"), ("--shard", "3/2"), ("--shard", "x"),
    ],
    "dataset statistics": [("gone",), ("FOLDER",), ("TEXT",), (LONG,), ("a\0b",), ("PHOTOS",)],
    "finetune CATALOGUE --out OUT": [
        ("--minutes", "0"), ("--minutes", "-1"), ("--minutes", "nan"), ("--minutes", "inf"),
        ("--strength", "-1"), ("--strength", "9"), ("--strength", "nan"), ("--seed", "-1"),
        ("--weights", "gone"), ("--weights", "TEXT"), ("--out", "TEXT/sub"), ("--out", "a\0b"),
    ],
    "train --catalogue CATALOGUE --out OUT": [
        ("--seed", "-1"), ("--size", "0"), ("--size", "100000"), ("--epochs", "0"),
        ("--epochs", "ten"), ("--minutes", "-1"), ("--minutes", "nan"), ("--batch-size", "0"),
        ("--samples-per-epoch", "1"), ("--validation-samples", "0"), ("--lr", "0"),
        ("--lr", "nan"), ("--strength", "9"), ("--variety", "5"), ("--workers", "-2"),
        ("--mask-weight", "-1"), ("--depth-weight", "inf"), ("--balance", "even"),
        ("--initial-weights", "gone"), ("--catalogue", "gone"), ("--composites", "gone"),
        ("--depth-white", "-1"), ("--log-with", "paper"), ("--save-minutes", "nan"),
        ("--out", "TEXT/sub"), ("--out", "a\0b"),
    ],
    "finetune --out OUT": [("gone",), ("TEXT",), (LONG,), ("a\0b",)],
    "evaluate --catalogue CATALOGUE --out OUT --samples 1 --sizes 32": [
        ("--sizes", "0"), ("--sizes", "-1"), ("--sizes", "31"), ("--sizes", "100000"),
        ("--sizes", "x"), ("--samples", "0"), ("--samples", "-1"), ("--seed", "-1"),
        ("--weights", "gone"), ("--weights", "TEXT"), ("--catalogue", "gone"),
        ("--catalogue", "TEXT"), ("--out", "TEXT/sub"), ("--out", LONG), ("--out", "a\0b"),
    ],
    "export OUT.onnx --weights WEIGHTS": [
        ("--width", "0"), ("--width", "-1"), ("--width", "100000"), ("--height", "31"),
        ("--height", "x"), ("--weights", "gone"), ("--weights", "TEXT"),
    ],
    "export --weights WEIGHTS": [
        ("OUT.txt",), ("FOLDER",), ("TEXT/x.onnx",), ("a\0.onnx",), (LONG,),
    ],
    "photos OUT --folder PHOTOS": [
        ("--seed", "-1"), ("--limit", "0"), ("--folder", "gone"), ("--folder", LONG),
        ("--folder", "a\0b"), ("--folder", "TEXT"), ("--download", "x"), ("--seed", "x"),
        ("--shard", "3/2"), ("--shard", "1/2"), ("--depth", "--shard", "1/2"),
    ],
    "worlds OUT --count 10 --size 32": [
        ("--count", "0"), ("--count", "9"), ("--count", "-1"), ("--size", "0"), ("--size", "-1"),
        ("--size", "100000"), ("--seed", "-1"),
    ],
}  # fmt: skip


class Kit:
    """Good inputs in a folder; a bad one replaces a file for the time of a case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalogue = write_catalogue(folder / "catalogue")
        for name in ("x.png", "x.jpg"):
            picture(1).save(folder / name)
        self._add_pairs()
        (folder / "text.jpg").write_text("a letter")
        (folder / "text.mp4").write_text("a letter")
        (folder / "empty").mkdir()
        self.photos = folder / "photos"
        for name in ("bg", "fg"):
            (self.photos / name).mkdir(parents=True)
        for number in range(3):
            picture(number).save(self.photos / f"bg/b{number}.jpg")
            cutout(number).save(self.photos / f"fg/f{number}.png")
        self.weights = folder / "tiny.safetensors"
        torch.manual_seed(0)
        self.net = MaskDepthNet(TINY)
        save_weights(self.net, self.weights)
        self.composites = folder / "composites"
        data = CompositeDataset(load_catalogue(self.catalogue), None, None, size=32, positions=1)
        write_composites(data, self.composites, 6)
        self.dataset = data
        self.shards = folder / "shards"
        write_shards(data, self.shards, 6)
        self.pack = folder / "pack"
        pack(FolderDataset(self.composites, size=32), self.pack)

    def _add_pairs(self) -> None:
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(self.catalogue / "mask.png")
        entry = {"scene": "s0", "object": 0, "split": "train", "image": "s0.png"}
        entry |= {"mask": "mask.png", "depth": "s0_depth.png", "top": 0, "left": 0}
        path = self.catalogue / "catalogue.json"
        data = json.loads(path.read_text())
        data["pairs"] = [{"id": name} | entry for name in ("p0", "p1")]
        path.write_text(json.dumps(data))

    @contextlib.contextmanager
    def changed(self, path: Path) -> Iterator[Path]:
        """`path`, which is restored (or removed) afterwards."""
        before = path.read_bytes() if path.exists() else None
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            if before is not None:
                path.write_bytes(before)

    def with_text(self, path: Path, text: str | bytes, read: Callable[[], object]) -> object:
        """The result of `read` while `path` holds `text`."""
        with self.changed(path):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return read()

    def empty(self) -> Path:
        """A new folder."""
        path = self.folder / "new" / str(len(list(self.folder.glob("new/*"))))
        path.mkdir(parents=True)
        return path


def put(data: Any, place: str, value: Any) -> Any:
    """`data` with `value` at `place`, such as "scenes.0.id"."""
    if not place:
        return value
    *way, last = (int(key) if key.isdecimal() else key for key in place.split("."))
    target = data
    for key in way:
        target = target[key]
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return data


def in_catalogue(place: str, value: Any, kit: Kit) -> object:
    path = kit.catalogue / "catalogue.json"
    data = put(json.loads(path.read_text()), place, value)
    return kit.with_text(path, json.dumps(data), lambda: load_catalogue(kit.catalogue))


def weights_file(kit: Kit, config: str, tensors: dict[str, torch.Tensor], **about: str) -> bytes:
    known = {"format": "eva_helpers.MaskDepthNet", "version": "0.5.0", "config": config}
    return save(tensors, known | about)


def in_network(place: str, value: Any, kit: Kit) -> object:
    config = json.dumps(put(TINY.to_dict(), place, value))
    data = weights_file(kit, config, kit.net.state_dict())
    return kit.with_text(kit.folder / "w", data, lambda: load_weights(kit.folder / "w"))


def in_tensors(change: Callable, value: Any, kit: Kit) -> object:
    tensors = {name: each.clone() for name, each in kit.net.state_dict().items()}
    change(tensors)
    data = weights_file(kit, json.dumps(TINY.to_dict()), tensors)
    return kit.with_text(kit.folder / "w", data, lambda: load_weights(kit.folder / "w"))


def in_metadata(about: dict[str, str], kit: Kit) -> object:
    about = {"config": json.dumps(TINY.to_dict())} | about
    data = weights_file(kit, tensors=kit.net.state_dict(), **about)
    return kit.with_text(kit.folder / "w", data, lambda: load_weights(kit.folder / "w"))


def as_weights(data: str | bytes, kit: Kit) -> object:
    return kit.with_text(kit.folder / "w", data, lambda: load_weights(kit.folder / "w"))


def in_weighting(place: str, value: Any, kit: Kit) -> object:
    text = json.dumps(put({"DEPTH_WEIGHT": 1}, place, value))
    return kit.with_text(kit.folder / "t", text, lambda: read_weights(kit.folder / "t"))


def bank_file(change: Callable[[dict, dict], Any]) -> bytes:
    bank = Bank.load(ROOT / "eva_helpers/weights/bank.safetensors")
    tensors = {name: value[:1].clone() for name, value in bank.parameters.items()}
    small = Bank(bank.lengths[:1], bank.widths, tensors)
    holder = io.BytesIO()
    weightings = {name: vars(each) for name, each in small.weightings.items()}
    about = {"lengths": small.lengths, "widths": small.widths, "notes": {}}
    about = change(json.loads(json.dumps(about | {"weightings": weightings})), tensors)
    holder.write(save(tensors, {"format": "eva_helpers.Bank", "about": json.dumps(about)}))
    return holder.getvalue()


def in_bank(place: str, value: Any, kit: Kit) -> object:
    data = bank_file(lambda about, tensors: put(about, place, value))
    return kit.with_text(kit.folder / "b", data, lambda: Bank.load(kit.folder / "b"))


def bank_tensor(value: float, kit: Kit) -> object:
    data = bank_file(lambda about, tensors: tensors["last.bias"].fill_(value) is not None and about)
    return kit.with_text(kit.folder / "b", data, lambda: Bank.load(kit.folder / "b"))


def in_pack(place: str, value: Any, kit: Kit) -> object:
    path = kit.pack / "pack.json"
    text = json.dumps(put(json.loads(path.read_text()), place, value))
    return kit.with_text(path, text, lambda: use_pack(kit))


SETTINGS = {"shards": ShardDataset, "composites": partial(FolderDataset, size=32)}


def in_written(name: str, place: str, value: Any, kit: Kit) -> object:
    data = json.loads((getattr(kit, name) / "settings.json").read_text())
    return as_written(name, json.dumps(put(data, place, value)), kit)


def as_written(name: str, text: str | bytes, kit: Kit) -> object:
    folder = getattr(kit, name)
    return kit.with_text(folder / "settings.json", text, lambda: SETTINGS[name](folder))


def use_pack(kit: Kit) -> object:
    packed = PackedDataset(kit.pack)
    return packed[list(range(len(packed)))]


def in_array(name: str, change: str, kit: Kit) -> object:
    with kit.changed(kit.pack / f"{name}.npy") as path:
        ARRAYS[change](path)
        return use_pack(kit)


def in_manifest(text: str | bytes, kit: Kit) -> object:
    read = partial(FolderDataset, kit.composites, size=32)
    return kit.with_text(kit.composites / "manifest.csv", text, read)


def in_depth(values: np.ndarray, kit: Kit) -> object:
    """The depth files of a written data set replaced by a float TIFF."""
    folder = kit.empty() / "copy"
    shutil.copytree(kit.composites, folder)
    Image.fromarray(values.astype(np.float32)).save(folder / "depth.tif")
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(re.sub(r"depthmap/\w+\.png", "depth.tif", text))
    return FolderDataset(folder, size=32)[0]


def in_settings(name: str, text: str | bytes, kit: Kit) -> object:
    """A file of a folder that a command would go on in."""
    path = kit.empty() / name.split()[-1]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return GOES_ON[name](path.parent, kit)


def _photos(folder: Path, kit: Kit) -> object:
    return build_catalogue(folder, photos_of_folder(kit.photos))


def _label(folder: Path, kit: Kit) -> object:
    return label_depth(folder, lambda pictures: [np.ones(p.shape[:2]) for p in pictures])


def _many(folder: Path, kit: Kit) -> object:
    return predict_many(
        kit.photos / "bg/b0.jpg", kit.photos / "bg", folder, weights=kit.weights, progress=False
    )


def _finetune(folder: Path, kit: Kit) -> object:
    catalogue = load_catalogue(kit.catalogue)
    return finetune(catalogue, kit.weights, folder, park=catalogue, say=str)


GOES_ON: dict[str, Callable[[Path, Kit], object]] = {
    "writing's settings.json": lambda folder, kit: write_composites(kit.dataset, folder, 1),
    "predictions' settings.json": _many,
    "config.json": lambda folder, kit: RunFolder(folder, {"a": 1}, True, print),
    "worlds.json": lambda folder, kit: write_worlds(folder, 10, size=32),
    "progress.json": lambda folder, kit: pack(FolderDataset(kit.composites, size=32), folder),
    "metrics.json": lambda folder, kit: record_metrics(folder, "01", {"a": 1}),
    "photos' catalogue.json": _photos,
    "labelled catalogue.json": _label,
    "fine-tuning's start.json": _finetune,
    "tries.json": lambda folder, kit: read_tries(folder / "tries.json"),
}


def at_parameter(name: str, value: Any, kit: Kit) -> object:
    return parameters.converted(declared()[name], value)


def declared() -> dict[str, dict[str, str]]:
    """What notebooks 04 and 05 declare."""
    if not _DECLARED:
        for path in sorted((ROOT / "notebooks").glob("0[45]_*.ipynb")):
            _DECLARED.update(parameters.declared(path))
    return _DECLARED


_DECLARED: dict[str, dict[str, str]] = {}


def encoded(kind: str, array: np.ndarray | None = None, **options: Any) -> bytes:
    """A small picture in a format of Pillow's."""
    made = picture(3, 64) if array is None else Image.fromarray(array)
    holder = io.BytesIO()
    made.save(holder, kind, **options)
    return holder.getvalue()


def bomb(kind: str, width: int, height: int) -> bytes:
    """A picture whose header promises a size that its file has not."""
    if kind == "PNG":
        data = bytearray(encoded("PNG"))
        data[16:24] = struct.pack(">II", width, height)
        return bytes(data[:29]) + struct.pack(">I", zlib.crc32(data[12:29])) + bytes(data[33:])
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    values = {256: width, 257: height, 258: (32, 32, 32), 259: 1, 262: 2, 277: 3, 339: (3, 3, 3)}
    for tag, value in (values | {273: 8, 278: height, 279: 100}).items():
        tags[tag] = value
    holder = io.BytesIO()
    holder.write(b"II*\0" + struct.pack("<I", 8))
    tags.save(holder)
    return holder.getvalue() + bytes(200)


def float_tiff(value: float) -> bytes:
    array = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    array[:20] = value
    return encoded("TIFF", array)


def colour_float_tiff(value: float) -> bytes:
    array = np.zeros((64, 64, 3), np.float32)
    array[:20] = value
    return cv2.imencode(".tif", array)[1].tobytes()


def bad_pictures() -> dict[str, bytes]:
    """Contents of files that are called pictures."""
    whole = {kind: encoded(kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM")}
    cut = {f"{kind} cut short": data[: len(data) // 2] for kind, data in whole.items()}
    others = {kind: encoded(kind) for kind in ("EPS", "PDF", "ICNS", "SGI", "DDS", "IM", "PCX")}
    text = {
        "nothing": b"",
        "text": b"a letter",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    floats = {"NaN": float_tiff(NAN), "-infinite": float_tiff(-INF)}
    floats["colours NaN"] = colour_float_tiff(NAN)
    bombs = {"PNG bomb": bomb("PNG", 60_000, 60_000), "TIFF bomb": bomb("TIFF", 200_000, 200_000)}
    wide = np.zeros((8, 40_000), np.uint8)
    sides = {"wide": encoded("PNG", wide), "high": encoded("PNG", wide.T.copy())}
    return cut | others | text | floats | bombs | sides


def read_picture(reader: str, data: bytes, kit: Kit) -> object:
    path = kit.folder / "p.png"
    return kit.with_text(path, data, lambda: READERS[reader](path))


def unread(kit: Kit) -> Image.Image:
    """A truncated picture that Pillow has opened and not read."""
    return Image.open(io.BytesIO(encoded("JPEG", np.asarray(picture(3, 200)))[:1500]))


def as_pair(value: Any, which: int, kit: Kit) -> object:
    good = np.asarray(picture(1, 64))
    made = value(kit) if callable(value) else value
    return load_pair(*((made, good) if which == 0 else (good, made)))


def _table(what: str, table: dict[str, tuple], use: Callable) -> dict[str, Callable[[Kit], object]]:
    return {
        f"{what}: {place or 'all of it'} is {_short(value)}": partial(use, place, value)
        for place, values in table.items()
        for value in values
    }


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 2**63 else "10**400"
    return text if len(text) < 40 else f"{text[:30]}... ({len(text)})"


def _files() -> dict[str, Callable[[Kit], object]]:
    """Files that are missing, locked or called in an impossible way, at every reader."""
    names = {"gone": "gone.png", "NUL": "a\0.png", "long": LONG, "a folder": "empty", "empty": ""}
    names["in a file"] = "text.jpg/x.png"
    entries = READERS | {
        "weights": load_weights, "bank": Bank.load, "weighting": read_weights, "tries": read_tries,
        "catalogue": load_catalogue, "composites": FolderDataset, "pack": PackedDataset,
        "own photos": photos_of_folder, "predictor": Predictor.load, "listed": _listed,
    }  # fmt: skip
    return {
        f"file for {entry}: {what}": lambda kit, read=read, name=name: read(kit.folder / name)
        for entry, read in entries.items()
        for what, name in names.items()
        if (entry, what) != ("listed", "")
    }


def _listed(path: Path) -> object:
    return file_inside(path.parent, path.name, "a list")


CASES: dict[str, Callable[[Kit], object]] = {
    **_table("catalogue", CATALOGUE, in_catalogue),
    **_table("network", NETWORK, in_network),
    **{f"weights: {what}": partial(in_tensors, change, None) for what, change in TENSORS.items()},
    **{f"weights: configuration {_short(text)}": partial(in_metadata, {"config": text})
       for text in TEXTS if isinstance(text, str) and "\0" not in text},
    "weights: another format": partial(in_metadata, {"format": "other"}),
    "weights: another network": partial(in_metadata, {"network": "NarrowNet"}),
    "weights: header of 2**60 bytes": partial(as_weights, struct.pack("<Q", 2**60) + b"{}"),
    **{f"weights: {_short(text)}": partial(as_weights, text) for text in TEXTS},
    **_table("weighting", WEIGHTING, in_weighting),
    **_table("bank", BANK, in_bank),
    **{f"bank: a weight is {value}": partial(bank_tensor, value) for value in (NAN, INF)},
    **_table("shards", SHARDS, partial(in_written, "shards")),
    **_table("folders", FOLDERS, partial(in_written, "composites")),
    **{f"settings.json of {name}: {_short(text)}": partial(as_written, name, text)
       for name in SETTINGS for text in TEXTS},
    **_table("pack", PACK, in_pack),
    **{f"pack: {name} {change}": partial(in_array, name, change)
       for name in ("image", "depth", "background_of") for change in ARRAYS
       if name == "background_of" or change != "beyond the last"},
    **{f"manifest: {what}": partial(in_manifest, text) for what, text in MANIFESTS.items()},
    **_table("composites", COMPOSITES, lambda name, value, kit: FolderDataset(
        kit.composites, **{"size": 32} | {name: value})[0]),
    "depth: NaN": partial(in_depth, np.full((32, 32), NAN)),
    "depth: partly NaN": partial(in_depth, np.where(np.eye(32), NAN, 0.5)),
    "depth: metres": partial(in_depth, np.linspace(1, 30, 1024).reshape(32, 32)),
    "depth: below 0": partial(in_depth, np.linspace(-1, 1, 1024).reshape(32, 32)),
    **_table("dataset", DATASET, lambda name, value, kit: CompositeDataset(
        load_catalogue(kit.catalogue), **{"size": 32} | {name: value})[0]),
    **{f"{name}: {_short(text)}": partial(in_settings, name, text)
       for name in GOES_ON for text in TEXTS},
    **_table("parameter", PARAMETERS, at_parameter),
    **{f"{reader}: {what}": partial(read_picture, reader, data)
       for what, data in bad_pictures().items() for reader in ("photo", "mask", "map", "depth")},
    **{f"pair: {which} is {what}": partial(as_pair, value, place)
       for place, which in enumerate(("background", "image"))
       for what, value in (NOT_PICTURES | {"unread": unread}).items()},
    **{f"predict_images: {_short(value)}": lambda kit, value=value: predict_images(
        kit.weights, kit.photos, value, "bg/b0.jpg")
       for value in ("gone", "a\0b", LONG, None, 5, b"x", [])},
    **{f"Predictor.load: {_short(value)}": lambda kit, value=value: Predictor.load(value)
       for value in ("gone", "a\0b", LONG, 5, b"x", [1])},
    **{f"metres: {name} {value}": lambda kit, name=name, value=value: effects.metres(
        np.ones((4, 4), np.float32), **{name: value})
       for name in ("focal", "height", "z_near") for value in (0, -1, NAN, INF)},
    **{f"run name: {_short(name)}": lambda kit, name=name: new_run(name, kit.folder / "runs")
       for name in ("../x", "/x", "a/b", "..", ".", "", "a\0b", LONG)},
    **_files(),
}  # fmt: skip


COMMANDS = [[*command.split(), *options] for command, many in OPTIONS.items() for options in many]


def filled(words: list[str], kit: Kit) -> list[str]:
    """Arguments of the command line with the paths that capital words stand for."""
    names = {
        "CATALOGUE": kit.catalogue, "COMPOSITES": kit.composites, "PHOTOS": kit.photos,
        "FOLDER": kit.folder / "empty", "TEXT": kit.folder / "text.jpg", "WEIGHTS": kit.weights,
        "VIDEO": kit.folder / "text.mp4", "OUT": kit.folder / "out", "GOOD": kit.folder / "x.png",
        "GOOD2": kit.folder / "x.jpg",
    }  # fmt: skip
    return [re.sub(r"^[A-Z]+2?(?=[./]|$)", lambda m: str(names[m[0]]), word) for word in words]


GREEDY: dict[str, Callable[[Kit], object]] = {
    "wide network": partial(in_network, "widths", [1024] * 5),
    "deep network": partial(in_network, "blocks", [64] * 5),
    "wider than allowed": partial(in_network, "widths", [20_000] * 5),
    "a million blocks": partial(in_network, "blocks", [10**6] * 5),
    "wide bank": partial(in_bank, "widths", [1024] * 5),
    "pack of 10**9 samples": partial(in_pack, "count", 10**9),
    "picture of 60,000 px": partial(read_picture, "photo", bomb("PNG", 60_000, 60_000)),
    "float picture of 200,000 px": partial(read_picture, "photo", bomb("TIFF", 200_000, 200_000)),
    "float picture of 30,000 px": partial(read_picture, "photo", bomb("TIFF", 30_000, 30_000)),
    "header of 2**60 bytes": partial(as_weights, struct.pack("<Q", 2**60) + b"{}"),
    "header of 2**40 bytes": partial(as_weights, struct.pack("<Q", 2**40) + b"{}"),
    "size of 100,000 px": lambda kit: CompositeDataset(load_catalogue(kit.catalogue), size=10**5),
}


def in_little_memory(folder: Path) -> None:
    """Try GREEDY with a gigabyte to spare."""
    import resource

    folder.mkdir()
    kit = Kit(folder)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 10**9
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, use in GREEDY.items():
        try:
            use(kit)
            print(name, "was taken")
        except InputError:
            print(name, "was refused")
