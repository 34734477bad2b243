"""The protocol of the original course, on photographs: `python -m experiments.course FOLDER`.

FOLDER holds `bg/` photographs and `fg/` RGBA cut-outs. Every cut-out is pasted onto every
background at a random place, a quarter to two thirds of the frame long as in the course's pictures,
with no difference between the two shots. As published by the course's students, composites are
split at random, so that every background and every object is also in the test half (`leaky`);
beside it, photos are split (`leak-free`). The shipped network is scored as it is, and after fine-
tuning for the given minutes on samples like these, without augmentation, whose resampling would
change the outlines. The fine-tuned weights stay in --out.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from eva_helpers.catalogue.build import build_catalogue
from eva_helpers.catalogue.catalogue import SPLITS, Catalogue, load_catalogue
from eva_helpers.catalogue.sources import photos_of_folder
from eva_helpers.data import placement
from eva_helpers.evaluation.baselines import calibrated_subtraction
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.model.inference import inference
from eva_helpers.model.weights import load_weights
from eva_helpers.paths import WEIGHTS
from eva_helpers.training.finetuning import compared, finetune, held_out
from experiments.common import RESULTS, commit

SIZES = {64: 16, 112: 8}  # px -> samples a batch
LR = 6e-3  # ideal pairs allow more than photographs do
OBJECTS = (0.23, 0.67)  # longer side of an object / side of the frame


def leaky(catalogue: Catalogue) -> Catalogue:
    """Every photo in every split: only the random places of the composites differ."""
    scenes = tuple(replace(each, split=split) for split in SPLITS for each in catalogue.scenes)
    cutouts = tuple(replace(each, split=split) for split in SPLITS for each in catalogue.cutouts)
    return replace(catalogue, scenes=scenes, cutouts=cutouts)


def measure(catalogue: Catalogue, options: argparse.Namespace, out: Path) -> dict:
    """Test scores by size and method, for one way to split."""
    park = load_catalogue()
    finetune(
        catalogue, options.weights, out, park=park,
        minutes=options.minutes, strength=0.0, sizes=SIZES, replay=options.replay,
        varied={}, lr=LR,
    )  # fmt: skip
    nets = {"as shipped": options.weights, "fine-tuned": out / "finetuned.safetensors"}
    scores = {}
    for size in SIZES:
        methods = {name: inference(load_weights(path)) for name, path in nets.items()}
        methods["subtraction"] = calibrated_subtraction(catalogue, size, 0, strength=0.0)
        test = {f"{size} px": held_out(catalogue, "test", size, 0.0, seed=1)}
        scores |= compared(methods, test, catalogue.z_near)
    return scores


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line; a training that was interrupted goes on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="for catalogue and trainings")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--minutes", type=float, default=28.0, help="of each training")
    parser.add_argument("--replay", type=float, default=0.0, help="batches of the park for each")
    parser.add_argument("--json", type=output_file, default=RESULTS / "course.json")
    options = parser.parse_args(arguments)
    photos = photos_of_folder(options.folder)
    catalogue = build_catalogue(options.out / "catalogue", photos, progress=True)
    result: dict = {"commit": commit(), "minutes": options.minutes, "replay": options.replay}
    result["objects"] = OBJECTS
    for name, each in {"leaky": leaky(catalogue), "leak-free": catalogue}.items():
        with patch.object(placement, "SIZES", OBJECTS):  # nothing else needs other sizes
            result[name] = measure(each, options, options.out / name)
        for size, methods in result[name].items():
            ious = (f"{who} {row['mask_iou']:.4f}" for who, row in methods.items())
            print(f"{name}, {size}: mask IoU", ", ".join(ious))
    write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
