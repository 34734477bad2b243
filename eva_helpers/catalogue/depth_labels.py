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
from eva_helpers.images import read_rgb, resize, write_png

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
        run = pipeline("depth-estimation", model=str(model), revision=revision)
    except (OSError, ValueError) as error:
        what = f"{model} (revision {revision})" if revision else model
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the depth model {what} could not be loaded ({reason}): connect to the network once."
        ) from None

    def estimate(pictures: list[np.ndarray]) -> Iterator[np.ndarray]:
        answers = run([Image.fromarray(p) for p in pictures], batch_size=len(pictures))
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
    out: str | os.PathLike, estimate: Estimator, batch: int = 8, progress: bool = False
) -> Catalogue:
    """Label the backgrounds of catalogue `out` that have no depth yet, `batch` at a time.

    `estimate` gives inverse depth in [0, 1], near = 1; pixels that are unknown (NaN or infinite)
    are filled from the nearest known one. A map of one value, or less than half of it known, is no
    label: a warning names the backgrounds that go without. Maps are stored as 16-bit inverse
    depth; a second call continues an interrupted one, and one
    with another model labels all again. The model sees backgrounds, not composites:
    `data.placement.place_random` gives an object its depth.
    """
    path = Path(out) / "catalogue.json"
    load_catalogue(path.parent)  # refuses one that is damaged
    data = read_json(path)
    model = getattr(estimate, "name", {"model": "unknown"})
    if data.get("depth_labels", model) != model:
        for entry in data["scenes"]:
            entry["depth"] = None
        write_json(path, data)
        for entry in data["scenes"]:
            (path.parent / "depth" / f"{entry['id']}.png").unlink(missing_ok=True)
    unusable = []
    todo = [entry for entry in data["scenes"] if not entry.get("depth")]
    for start in tqdm(range(0, len(todo), batch), desc="depth", disable=not progress):
        part = todo[start : start + batch]
        maps = estimate([read_rgb(path.parent / entry["image"]) for entry in part])
        for entry, values in zip(part, maps, strict=True):
            depth = filled(np.asarray(values, np.float32))
            if depth is None:
                unusable.append(str(entry["id"]))
                continue
            entry["depth"] = f"depth/{entry['id']}.png"
            target = make_folder(path.parent / "depth") / f"{entry['id']}.png"
            write_png(target, np.rint(depth * 65535).astype(np.uint16))
        data["depth_labels"] = model
        write_json(path, data)
    if unusable:
        warnings.warn(
            f"no depth label for {len(unusable)} of {len(todo)} backgrounds, whose maps are of one "
            f"value or mostly unknown: {', '.join(unusable[:NAMED])}"
            f"{', ...' if len(unusable) > NAMED else ''}.",
            stacklevel=2,
        )
    return load_catalogue(out)


def filled(depth: np.ndarray) -> np.ndarray | None:
    """A map (H, W) without holes, in [0, 1]; None if it is no label."""
    known = np.isfinite(depth)
    if known.mean() < KNOWN or not np.ptp(depth[known]):
        return None
    if not known.all():
        rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
        depth = depth[rows, columns]
    return depth.clip(0, 1)
