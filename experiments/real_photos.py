"""Mask and depth on real photographs through the command line, compared with subtraction.

`python -m experiments.real_photos FOLDER`: FOLDER holds quadruples NAME_bg, NAME_image, NAME_mask
and NAME_depth, in any picture format; near is dark in the depth files, as in the original project.
Each pair goes through `python -m eva_helpers.predict`, as a user's would. Subtraction gets the one
threshold that is best for the whole group, an advantage that no user could give it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from eva_helpers.evaluation.baselines import THRESHOLDS, photo_difference
from eva_helpers.evaluation.metrics import correlation, dice, iou
from eva_helpers.files import InputError, command_line, output_file, write_json
from eva_helpers.images import read_map, resize
from eva_helpers.paths import ROOT
from eva_helpers.predict.predictor import load_pair

PARTS = ("bg", "image", "mask", "depth")
SCORES = ("dice", "iou", "subtraction", "depth_correlation")


def quadruples(folder: Path) -> dict[str, dict[str, Path]]:
    """Name -> its four files by PARTS.

    Raises:
        InputError: there are none, or one of a quadruple is missing.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name, _, part = path.stem.rpartition("_")
        if part in PARTS:
            found[name][part] = path
    if not found:
        raise InputError(
            f"{folder} holds no NAME_bg, NAME_image, NAME_mask, NAME_depth: check the folder."
        )
    for name, parts in found.items():
        if len(parts) < len(PARTS):
            raise InputError(
                f"{folder}/{name}_*: only {', '.join(sorted(parts))} are there; "
                "all four are needed."
            )
    return dict(found)


def predicted(parts: dict[str, Path], weights: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Mask, uint8 (H, W), and depth, uint16 (H, W), as the command writes them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "eva_helpers.predict", "--out", folder]
        command += ["--background", str(parts["bg"]), "--image", str(parts["image"])]
        if weights:
            command += ["--weights", weights]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return read_map(Path(folder) / "mask.png"), read_map(Path(folder) / "depth.png")


def measure(parts: dict[str, Path], weights: str | None) -> dict:
    """Scores of one pair.

    Dice and IoU of the predicted mask, Dice of subtraction at each of THRESHOLDS, and the
    correlation of the depth with its label.
    """
    mask, depth = predicted(parts, weights)
    truth, label = (
        resize(read_map(parts[name]).astype(np.float32), mask.shape) for name in ("mask", "depth")
    )
    background, image = (
        torch.from_numpy(photo.transpose(2, 0, 1)[None] / 255.0)
        for photo in load_pair(parts["bg"], parts["image"])
    )
    found = as_batch(mask > 127)
    object_mask = as_batch(truth > 127)
    change = photo_difference(background, image)
    return {
        "dice": dice(found, object_mask).item(),
        "iou": iou(found, object_mask).item(),
        "subtraction": [dice(change > t, object_mask).item() for t in THRESHOLDS],
        "depth_correlation": correlation(as_batch(depth), as_batch(255 - label)).item(),
    }


def as_batch(array: np.ndarray) -> torch.Tensor:
    """(H, W) as float32 (1, 1, H, W)."""
    return torch.from_numpy(array.astype(np.float32))[None, None]


def show(rows: dict[str, dict]) -> None:
    """Print the means of every group, NAME without its number, and its worst pairs."""
    groups = defaultdict(list)
    for name in rows:
        groups[name.rpartition("_")[0] or name].append(name)
    print(f"{'group':<10}{'pairs':>6}{'Dice':>9}{'IoU':>9}{'subtraction':>13}{'depth corr.':>13}")
    for group, names in groups.items():
        mean = {key: np.mean([rows[name][key] for name in names], axis=0) for key in SCORES}
        print(
            f"{group:<10}{len(names):>6}{mean['dice']:>9.4f}{mean['iou']:>9.4f}"
            f"{mean['subtraction'].max():>13.4f}{mean['depth_correlation']:>13.4f}"
        )
        for name in sorted(names, key=lambda name: rows[name]["dice"])[:3]:
            print(f"    worst: {name} {rows[name]['dice']:.4f}")


@command_line
def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--json", type=output_file, help="also write all scores to this file")
    options = parser.parse_args(arguments)
    pairs = quadruples(options.folder)
    try:
        rows = {name: measure(parts, options.weights) for name, parts in tqdm(pairs.items())}
    except subprocess.CalledProcessError as error:
        return error.returncode  # the command has said why
    show(rows)
    if options.json:
        write_json(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
