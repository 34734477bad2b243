"""Mask and depth on real photographs through the command line, beside subtraction: `python benchmarks/real_photos.py FOLDER`.

FOLDER holds quadruples NAME_bg, NAME_image, NAME_mask, NAME_depth (any picture format; depth with near dark, as the source's). Each
pair goes through `python -m eva_helpers.predict` as a user's would. Subtraction gets the one threshold that is best for the whole
group, a courtesy that no user could give it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from eva_helpers import metrics
from eva_helpers.assets import ROOT, resize
from eva_helpers.images import InputError, command_line, read_map
from eva_helpers.predict import load_pair


def quadruples(folder: Path) -> dict[str, dict[str, Path]]:
    """Name -> the four files. InputError when one of a quadruple is missing."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name, _, part = path.stem.rpartition("_")
        if part in ("bg", "image", "mask", "depth"):
            found[name][part] = path
    if not found:
        raise InputError(f"{folder} holds no NAME_bg, NAME_image, NAME_mask, NAME_depth: check the folder.")
    for name, parts in found.items():
        if len(parts) < 4:
            raise InputError(f"{folder}/{name}_*: only {', '.join(sorted(parts))} are there; all four are needed.")
    return dict(found)


def measure(parts: dict[str, Path], weights: str | None) -> dict:
    """One pair: Dice of the predicted mask, Dice of subtraction at every threshold, correlation of the depth with its label."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "eva_helpers.predict", "--background", parts["bg"], "--image", parts["image"], "--out", folder]
        subprocess.run([*map(str, command), *(("--weights", weights) if weights else ())], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        mask, depth = (read_map(Path(folder) / name) for name in ("mask.png", "depth.png"))
    truth, label = (resize(read_map(parts[name]).astype(np.float32), mask.shape) for name in ("mask", "depth"))
    truth, mask, depth, label = (_map(a) for a in (truth > 127, mask > 127, depth.astype(np.float32), 255 - label))
    background, image = (torch.from_numpy(photo.transpose(2, 0, 1)[None] / 255.0) for photo in load_pair(parts["bg"], parts["image"]))
    change = metrics.difference(background, image)
    return {
        "dice": metrics.dice(mask, truth).item(),
        "iou": metrics.iou(mask, truth).item(),
        "subtraction": [metrics.dice(change > t, truth).item() for t in metrics.THRESHOLDS],
        "depth_correlation": metrics.correlation(depth, label).item(),
    }


def _map(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))[None, None]


@command_line
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    pairs = quadruples(options.folder)
    try:
        rows = {name: measure(parts, options.weights) for name, parts in tqdm(pairs.items())}
    except subprocess.CalledProcessError as error:
        return error.returncode  # the command has said why
    groups = defaultdict(list)
    for name in rows:
        groups[name.rpartition("_")[0] or name].append(name)
    print(f"{'group':<10}{'pairs':>6}{'Dice':>9}{'IoU':>9}{'subtraction':>13}{'depth corr.':>13}")
    for group, names in groups.items():
        mean = {key: np.mean([rows[name][key] for name in names], axis=0) for key in ("dice", "iou", "subtraction", "depth_correlation")}
        best = mean["subtraction"].max()
        print(f"{group:<10}{len(names):>6}{mean['dice']:>9.4f}{mean['iou']:>9.4f}{best:>13.4f}{mean['depth_correlation']:>13.4f}")
        for name in sorted(names, key=lambda n: rows[n]["dice"])[:3]:
            print(f"    worst: {name} {rows[name]['dice']:.4f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
