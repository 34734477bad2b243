"""Composites of real photographs: does training on renders carry over to photographs?

`python -m experiments.photo_pack FOLDER`: FOLDER holds `bg/` photographs and `fg/` RGBA cut-outs.
They are composited at 220 px by a few lines of this file, not by the code that made the training
pairs, degraded in five ways, and scored beside subtraction at the threshold that is best for each
way, an advantage that no user could give it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from eva_helpers.evaluation.baselines import THRESHOLDS, photo_difference
from eva_helpers.evaluation.metrics import dice
from eva_helpers.evaluation.robustness import Photos, exposure, jpeg, noise, shift
from eva_helpers.evaluation.scoring import Method
from eva_helpers.files import InputError, command_line, output_file, write_json
from eva_helpers.model.inference import inference
from eva_helpers.model.weights import load_weights
from eva_helpers.paths import WEIGHTS
from experiments.common import say

SIZE = 220  # px
SCALES = (0.15, 0.7)  # longer side of the object, as a share of the frame
TRANSLATION = 2 / SIZE
Change = tuple[Callable[..., Photos], float]  # a capture difference and its level
WAYS: dict[str, tuple[Change, ...]] = {
    "clean": (),
    "JPEG 30": ((jpeg, 30),),
    "exposure": ((exposure, 0.4),),
    "2 px shift": ((shift, TRANSLATION),),
    "all together": ((exposure, 0.4), (shift, TRANSLATION), (noise, 0.01), (jpeg, 30)),
}
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]


def composites(folder: Path, count: int, seed: int) -> list[Triple]:
    """`count` composites of a photograph in `bg/` with a cut-out in `fg/`.

    Returns:
        Triples of background and image, uint8 RGB (220, 220, 3), and mask, float32 (220, 220).

    Raises:
        InputError: `folder` has no bg/ or no fg/.
    """
    if not all((folder / name).is_dir() for name in ("bg", "fg")):
        raise InputError(
            f"{folder} holds no bg/ and fg/: give a folder of photographs and cut-outs."
        )
    rng = np.random.default_rng(seed)
    photos, cutouts = (sorted((folder / name).iterdir()) for name in ("bg", "fg"))
    return [composite(photos, cutouts, rng) for _ in range(count)]


def composite(photos: list[Path], cutouts: list[Path], rng: np.random.Generator) -> Triple:
    """A random cut-out at a random size and place of a random photograph."""
    frame = (SIZE, SIZE)
    background = Image.open(photos[rng.integers(len(photos))]).convert("RGB")
    background = background.resize(frame, Image.Resampling.BICUBIC)
    cutout = Image.open(cutouts[rng.integers(len(cutouts))]).convert("RGBA")
    cutout = cutout.crop(cutout.getchannel("A").getbbox())
    scale = SIZE * rng.uniform(*SCALES) / max(cutout.size)
    size = [max(4, round(side * scale)) for side in cutout.size]
    cutout = cutout.resize(size, Image.Resampling.BICUBIC)
    at = tuple(int(rng.integers(0, SIZE - side + 1)) for side in size)
    image = background.copy()
    image.paste(cutout, at, cutout)
    mask = Image.new("L", frame)
    mask.paste(cutout.getchannel("A"), at)
    return np.asarray(background), np.asarray(image), np.asarray(mask, np.float32) / 255


def degraded(triple: Triple, way: str, seed: int) -> tuple[torch.Tensor, ...]:
    """Background and image, (1, 3, 220, 220) in [0, 1], after the changes of `way`; the mask."""
    background, image, mask = triple
    rng = np.random.default_rng(seed)
    for change, level in WAYS[way]:
        background, image = change(background, image, mask, level, rng)
    photos = (
        torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None] / 255
        for photo in (background, image)
    )
    return *photos, torch.from_numpy(mask)[None, None]


def score(method: Method, triples: list[Triple], way: str) -> dict[str, float]:
    """Mean Dice of the method, of its worst tenth, and of subtraction at its best threshold."""
    ours = []
    simple = []
    for number, triple in enumerate(tqdm(triples, desc=way, leave=False)):
        background, image, mask = degraded(triple, way, number)
        ours.append(dice(method(background, image)[0], mask).item())
        change = photo_difference(background, image)
        simple.append([dice((change > t).float(), mask).item() for t in THRESHOLDS])
    worst = np.sort(ours)[: max(1, len(ours) // 10)]
    return {
        "dice": float(np.mean(ours)),
        "worst_tenth": float(worst.mean()),
        "subtraction": float(np.mean(simple, axis=0).max()),
    }


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--count", type=int, default=200, help="composites (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output_file, help="also write the scores to this file")
    options = parser.parse_args(arguments)
    method = inference(load_weights(options.weights or WEIGHTS))
    triples = composites(options.folder, options.count, options.seed)
    result = {}
    say(f"{'':<14}{'Dice':>8}{'worst tenth':>13}{'subtraction':>13}   {len(triples)} composites")
    for way in WAYS:
        result[way] = score(method, triples, way)
        cells = f"{way:<14}{{dice:>8.4f}}{{worst_tenth:>13.4f}}{{subtraction:>13.4f}}"
        say(cells.format(**result[way]))
    if options.json:
        write_json(options.json, result | {"count": len(triples)})


if __name__ == "__main__":
    sys.exit(main())
