"""Depth labels of backgrounds by a pretrained depth model."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt
from tqdm import tqdm

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.files import InputError, make_folder, read_json, write_json
from eva_helpers.hardware import gpu
from eva_helpers.images import read_rgb, resize, write_png
from eva_helpers.partials import remove_partials
from eva_helpers.shards import Shard

DEPTH_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"  # Apache-2.0; larger: non-commercial
KNOWN = 0.5  # share of a map that has to be known
NAMED = 5  # backgrounds that a warning names
Estimator = Callable[[list[np.ndarray]], Iterable[np.ndarray]]


def depth_estimator(
    model: str | os.PathLike = DEPTH_MODEL, revision: str | None = None
) -> Estimator:
    """A pretrained depth model, by name or folder, as a function with a `name` for the record.

    It maps uint8 RGB pictures (H, W, 3) to inverse depth, float32 (H, W), scaled to [0, 1] per
    picture, near = 1. Raises InputError if transformers or the model is not available.
    """
    try:
        from huggingface_hub import try_to_load_from_cache
        from transformers import pipeline
    except ImportError:
        raise InputError("depth labels need transformers: pip install transformers.") from None
    try:
        run = pipeline("depth-estimation", model=str(model), revision=revision, device=gpu())
    except (OSError, ValueError) as error:
        what = f"{model} (revision {revision})" if revision else model
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the depth model {what} could not be loaded ({reason}): connect to the network once."
        ) from None

    def estimate(pictures: list[np.ndarray]) -> Iterator[np.ndarray]:
        # one by one: pictures of different shapes do not make a batch
        answers = run([Image.fromarray(p) for p in pictures])
        for picture, answer in zip(pictures, answers, strict=True):
            height, width = picture.shape[:2]
            depth = resize(answer["predicted_depth"].squeeze().float().numpy(), (height, width))
            yield (depth - depth.min()) / (np.ptp(depth) or 1.0)

    if revision is None and not Path(model).exists():
        config = try_to_load_from_cache(str(model), "config.json")
        revision = Path(config).parent.name if isinstance(config, str) else None  # the commit
    named: Any = estimate
    named.name = {"model": str(model), "revision": revision}
    return named


def label_depth(
    out: str | os.PathLike,
    estimate: Estimator,
    batch: int = 8,
    progress: bool = False,
    shard: Shard = (0, 1),
) -> Catalogue:
    """Label the backgrounds of catalogue `out` that have no depth yet, `batch` at a time.

    `estimate` gives inverse depth in [0, 1], near = 1; pixels that are unknown (NaN or infinite)
    are filled from the nearest known one. A map of one value, or less than half of it known, is no
    label: a warning names the backgrounds that go without. Maps are stored as 16-bit inverse depth;
    a second call continues an interrupted one, and one with another model labels all again. The
    model sees backgrounds, not composites: `data.placement.place_random` gives an object its depth.

    With `shard`, (number, count) from (0, count), only this part of the maps is stored, and not
    entered in the catalogue: all shards may do so at the same time, and a call without `shard` ends
    the work.
    """
    path = Path(out) / "catalogue.json"
    load_catalogue(path.parent)  # refuses one that is damaged
    number, parts = shard
    if parts == 1:
        remove_partials(path.parent, path.name, "depth/*.png")
    data = read_json(path)
    todo = _unlabelled(path, data, getattr(estimate, "name", {"model": "unknown"}))
    own = [todo[start : start + batch] for start in range(0, len(todo), batch)][number::parts]
    unusable = []
    for entries in tqdm(own, desc="depth", disable=not progress):
        new = [entry for entry in entries if not _label(path, entry).exists()]
        maps = estimate([read_rgb(path.parent / entry["image"]) for entry in new]) if new else []
        for entry, values in zip(new, maps, strict=True):
            depth = filled(np.asarray(values, np.float32))
            if depth is None:
                unusable.append(str(entry["id"]))
            else:
                make_folder(path.parent / "depth")
                write_png(_label(path, entry), np.rint(depth * 65535).astype(np.uint16))
        if parts == 1:
            _enter(path, data, entries)
    if unusable:
        warnings.warn(
            f"no depth label for {len(unusable)} of {sum(map(len, own))} backgrounds, whose maps "
            f"are of one value or mostly unknown: {', '.join(unusable[:NAMED])}"
            f"{', ...' if len(unusable) > NAMED else ''}.",
            stacklevel=2,
        )
    return load_catalogue(out)


def _label(path: Path, entry: dict) -> Path:
    """The label of a background of the catalogue `path`."""
    return path.parent / "depth" / f"{entry['id']}.png"


def _unlabelled(path: Path, data: dict, model: dict) -> list[dict]:
    """The entries without depth, of which the catalogue then says that `model` labels them.

    The labels of another one are removed before `model` is named, so that a call that is killed in
    between leaves none that seem to be of `model`.
    """
    if data.get("depth_labels", model) != model:
        for entry in data["scenes"]:
            entry["depth"] = None
        write_json(path, data)
    todo = [entry for entry in data["scenes"] if not entry.get("depth")]
    if todo and data.get("depth_labels") != model:
        for entry in todo:
            _label(path, entry).unlink(missing_ok=True)
        data |= {"depth_labels": model}
        write_json(path, data)
    return todo


def _enter(path: Path, data: dict, entries: list[dict]) -> None:
    """Enter the labels that there are in the catalogue."""
    for entry in entries:
        known = _label(path, entry).exists()
        entry["depth"] = f"depth/{entry['id']}.png" if known else None
    write_json(path, data)


def filled(depth: np.ndarray) -> np.ndarray | None:
    """A map (H, W) without holes, in [0, 1]; None if it is no label."""
    known = np.isfinite(depth)
    if known.mean() < KNOWN or not np.ptp(depth[known]):
        return None
    if not known.all():
        rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
        depth = depth[rows, columns]
    return depth.clip(0, 1)
