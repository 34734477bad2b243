"""Masks at the photo's own size: composites of large photographs, scored along the outline.

`python -m experiments.highres FOLDER`: FOLDER holds `bg/`, large photographs, and `fg/`, RGBA
cut-outs. Both shots of every composite get noise and JPEG compression, the background another
exposure. The predictor as users have it is scored beside its first pass alone, and beside
subtraction at the threshold that is best for each width, an advantage that no user could give it.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from eva_helpers.evaluation.baselines import THRESHOLDS
from eva_helpers.evaluation.matting import mask_iou, matting_scores
from eva_helpers.files import InputError, command_line, output_file, write_json
from eva_helpers.images import picture_files, resize
from eva_helpers.predict import Predictor
from experiments.common import say

WIDTHS = {640: 24, 1280: 24, 3200: 10}  # px: number of composites
HEIGHTS = (0.25, 0.6)  # of the object, as a share of the frame's
WIDEST = 0.8  # object, likewise
LEAST_SIDE = 200  # px, of a cut-out
EXPOSURE = 0.1  # log ratio of the background's exposure, at most
NOISE = 2.0  # of 255, standard deviation
EMPTY_LIMIT = 0.001  # share of the frame; smaller masks in an empty scene are no false alarms
QUALITY = 92  # of the JPEG files
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]
Masker = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sources(folder: Path) -> tuple[list[Image.Image], list[Image.Image]]:
    """The photographs in `bg/`, and the cut-outs in `fg/` that are large enough, cropped.

    Raises:
        InputError: one of them is missing or empty.
    """
    photos, cutouts = (picture_files(folder / name) for name in ("bg", "fg"))
    backgrounds = [Image.open(path).convert("RGB") for path in photos]
    objects = [Image.open(path).convert("RGBA") for path in cutouts]
    objects = [each.crop(each.getchannel("A").getbbox()) for each in objects]
    objects = [each for each in objects if min(each.size) >= LEAST_SIDE]
    if not (backgrounds and objects):
        raise InputError(f"{folder} holds no usable bg/ and fg/: give large photographs there.")
    return backgrounds, objects


def composites(folder: Path, width: int, count: int, seed: int) -> list[Triple]:
    """Background and image, uint8 RGB (H, width, 3), and mask, float32 (H, width)."""
    rng = np.random.default_rng(seed)
    backgrounds, objects = sources(folder)
    return [composite(backgrounds, objects, width, rng) for _ in range(count)]


def false_masks(masker: Masker, folder: Path, width: int, seed: int) -> float:
    """Share of the photographs whose two shots, without an object, have a false mask."""
    rng = np.random.default_rng(seed)
    found = []
    for photo in sources(folder)[0]:
        background = scaled(photo, width)
        shots = (shot(each, rng) for each in (exposed(background, rng), background))
        found.append((masker(*shots) > 0.5).mean() > EMPTY_LIMIT)
    return float(np.mean(found))


def composite(
    backgrounds: list[Image.Image], objects: list[Image.Image], width: int,
    rng: np.random.Generator,
) -> Triple:  # fmt: skip
    """A random cut-out at a random size and place of a random photograph."""
    background = scaled(backgrounds[rng.integers(len(backgrounds))], width)
    height = len(background)
    cutout = objects[rng.integers(len(objects))]
    high = int(height * rng.uniform(*HEIGHTS))
    wide = int(np.clip(cutout.width * high / cutout.height, 8, width * WIDEST))
    cutout = cutout.resize((wide, high), Image.Resampling.LANCZOS)
    at = (int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1)))
    image = Image.fromarray(background)
    image.paste(cutout, at, cutout)
    mask = Image.new("L", image.size)
    mask.paste(cutout.getchannel("A"), at)
    shots = [shot(photo, rng) for photo in (exposed(background, rng), np.asarray(image))]
    return *shots, np.asarray(mask, np.float32) / 255


def scaled(photo: Image.Image, width: int) -> np.ndarray:
    """A photograph as uint8 (H, width, 3)."""
    size = (width, round(photo.height * width / photo.width))
    return np.asarray(photo.resize(size, Image.Resampling.LANCZOS))


def exposed(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photo with another exposure, float."""
    return photo * np.float32(np.exp(rng.uniform(-EXPOSURE, EXPOSURE)))


def shot(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photo (H, W, 3) in [0, 255] with noise, after JPEG compression, uint8."""
    noisy = np.rint(photo + rng.normal(0, NOISE, photo.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file).convert("RGB"))


def subtraction(triples: list[Triple]) -> Masker:
    """Subtraction at the threshold that is best for these very composites, by IoU."""

    def difference(background: np.ndarray, image: np.ndarray) -> np.ndarray:
        return np.abs(background.astype(np.int16) - image).max(2)

    changes = [difference(background, image) for background, image, _ in triples]
    truths = [truth for _, _, truth in triples]
    ious = []
    for threshold in THRESHOLDS:
        found = (change > 255 * threshold for change in changes)
        ious.append(np.mean([mask_iou(*each) for each in zip(found, truths, strict=True)]))
    best = 255 * THRESHOLDS[int(np.argmax(ious))]
    return lambda *photos: (difference(*photos) > best).astype(np.float32)


def maskers(predictor: Predictor, triples: list[Triple]) -> dict[str, Masker]:
    """What is compared."""

    def one_pass(background: np.ndarray, image: np.ndarray) -> np.ndarray:
        _, mask, _ = predictor.passes.first_pass(background, image)
        return resize(mask, image.shape[:2])

    return {
        "predictor": lambda *photos: predictor(*photos).mask,
        "first pass alone": one_pass,
        "subtraction": subtraction(triples),
    }


def score(masker: Masker, triples: list[Triple], name: str) -> dict[str, float]:
    """Mean scores, those of the worst tenth by IoU, and seconds a pair."""
    rows = []
    seconds = 0.0
    for background, image, truth in tqdm(triples, desc=name, leave=False):
        start = time.perf_counter()
        mask = masker(background, image)
        seconds += time.perf_counter() - start
        rows.append(matting_scores(mask, truth))
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    worst = np.sort([row["iou"] for row in rows])[: max(1, len(rows) // 10)]
    return means | {"worst_tenth_iou": float(worst.mean()), "seconds": seconds / len(rows)}


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--widths", type=int, nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", type=output_file, help="also write the scores to this file")
    options = parser.parse_args(arguments)
    predictor = Predictor.load(options.weights)
    result: dict[str, dict] = {}
    for width in options.widths:
        triples = composites(options.folder, width, WIDTHS[width], options.seed)
        result[f"{width} px"] = {"count": len(triples)}
        for name, masker in maskers(predictor, triples).items():
            row = score(masker, triples, name)
            row["false_masks"] = false_masks(masker, options.folder, width, options.seed)
            result[f"{width} px"][name] = row
            say(f"{width:>5} px  {name:<17}", *(f"{key} {value:.4g}" for key, value in row.items()))
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
