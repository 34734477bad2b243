"""Does training on renders carry over to photographs? `python benchmarks/photo_pack.py FOLDER`.

FOLDER holds `bg/` photographs and `fg/` RGBA cut-outs. They are composited at 220 px by this file's own few lines (not by the code that
made the training pairs), degraded in five ways, and scored beside subtraction at the threshold that is best for each way, a
courtesy that no user could give it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from eva_helpers import assets, metrics, training
from eva_helpers.evaluate import exposure, jpeg, misalignment, noise
from eva_helpers.images import InputError, command_line

SIZE = 220
WAYS = {  # name -> the changes, each a function and its level
    "clean": (),
    "JPEG 30": ((jpeg, 30),),
    "exposure": ((exposure, 0.4),),
    "2 px shift": ((misalignment, 2 / SIZE),),
    "all together": ((exposure, 0.4), (misalignment, 2 / SIZE), (noise, 0.01), (jpeg, 30)),
}


def composites(folder: Path, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """`count` triples background, image uint8 (220, 220, 3), mask float32 (220, 220), an object of 15 to 70 % of the frame each.

    Raises:
        InputError: `folder` has no bg/ or no fg/.
    """
    if not all((folder / name).is_dir() for name in ("bg", "fg")):
        raise InputError(f"{folder} holds no bg/ and fg/: give a folder of photographs and cut-outs.")
    rng, made = np.random.default_rng(seed), []
    photos, cutouts = (sorted((folder / name).iterdir()) for name in ("bg", "fg"))
    for _ in range(count):
        background = Image.open(photos[rng.integers(len(photos))]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        cutout = Image.open(cutouts[rng.integers(len(cutouts))]).convert("RGBA")
        cutout = cutout.crop(cutout.getchannel("A").getbbox())
        scale = SIZE * rng.uniform(0.15, 0.7) / max(cutout.size)
        cutout = cutout.resize([max(4, round(side * scale)) for side in cutout.size], Image.Resampling.BICUBIC)
        at = tuple(int(rng.integers(0, SIZE - side + 1)) for side in cutout.size)
        image, mask = background.copy(), Image.new("L", (SIZE, SIZE))
        image.paste(cutout, at, cutout)
        mask.paste(cutout.getchannel("A"), at)
        made.append((np.asarray(background), np.asarray(image), np.asarray(mask, np.float32) / 255))
    return made


def degraded(triple: tuple, way: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A triple after the changes of `way`, as tensors with a batch axis."""
    background, image, mask = triple
    rng = np.random.default_rng(seed)
    for change, level in WAYS[way]:
        background, image = change(background, image, mask, level, rng)
    photos = (torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None] / 255 for photo in (background, image))
    return *photos, torch.from_numpy(mask)[None, None]


@command_line
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    predict = metrics.network(training.load_weights(options.weights or assets.WEIGHTS))
    triples, result = composites(options.folder, options.count, options.seed), {}
    print(f"{'':<14}{'Dice':>8}{'worst tenth':>13}{'subtraction':>13}   {len(triples)} composites")
    for way in WAYS:
        ours, simple = [], []
        for number, triple in enumerate(tqdm(triples, desc=way, leave=False)):
            background, image, mask = degraded(triple, way, number)
            with torch.no_grad():
                ours.append(metrics.dice(predict(background, image)[0], mask).item())
            change = metrics.difference(background, image)
            simple.append([metrics.dice((change > t).float(), mask).item() for t in metrics.THRESHOLDS])
        result[way] = {"dice": float(np.mean(ours)), "worst_tenth": float(np.sort(ours)[: max(1, len(ours) // 10)].mean())}
        result[way]["subtraction"] = float(np.mean(simple, axis=0).max())
        print(f"{way:<14}{result[way]['dice']:>8.4f}{result[way]['worst_tenth']:>13.4f}{result[way]['subtraction']:>13.4f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result | {"count": len(triples)}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
