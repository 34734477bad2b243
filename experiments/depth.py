"""Depth judged as the field judges it: `python -m experiments.depth [--quads FOLDER]`.

On composites of unseen rendered parks, of rendered worlds of every kind (`eva-helpers worlds`), on
real photographs with labels of a pretrained network (their polarity as in the original project:
near is dark), and on the stereo pair of scikit-image. Beside the network: a constant, the network's
depth of the background, and rows: the mean training label of each row, which a lawn teaches.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import fixed_sample
from eva_helpers.evaluation.depth_scores import (
    ALIGNMENTS,
    correlation,
    distance_scores,
    edge_recall,
    ordered_pairs,
)
from eva_helpers.files import InputError, command_line, output_file, write_json
from eva_helpers.images import read_map, resize
from eva_helpers.paths import ROOT, WEIGHTS
from eva_helpers.predict.predictor import Predictor, load_pair
from eva_helpers.worlds import with_objects
from experiments.common import RESULTS, commit, say
from experiments.real_photos import quadruples

SIZE = 128  # px of the composites
METHODS = ("network", "its depth of the background", "rows", "constant")
Case = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # set, photos, truth, valid
Depths = dict[str, np.ndarray]


def composites(name: str, catalogue: Catalogue, count: int) -> Iterator[Case]:
    """Test pairs of a catalogue with capture differences; `name` is the set's."""
    data = CompositeDataset(catalogue, "test", "test", size=SIZE, strength=1.0)
    for sample in fixed_sample(data, min(count, len(data)), 0):
        background, image = (
            np.rint(255 * sample[key].numpy()).astype(np.uint8).transpose(1, 2, 0)
            for key in ("background", "image")
        )
        truth = sample["depth"][0].numpy()
        yield name, background, image, truth, np.ones(truth.shape, bool)


def by_kind(worlds: Catalogue, park: Catalogue, count: int) -> Iterator[Case]:
    """Test pairs of rendered worlds, each kind a set of its own."""
    whole = with_objects(worlds, park)
    for kind in sorted({scene.info["kind"] for scene in worlds.backgrounds("test")}):
        scenes = tuple(scene for scene in worlds.scenes if scene.info["kind"] == kind)
        part = replace(whole, scenes=scenes)
        yield from composites(f"world: {kind}", part, count)


def photographs(folder: Path) -> Iterator[Case]:
    """Quadruples NAME_bg, NAME_image, NAME_mask, NAME_depth; a set for each NAME without number."""
    for name, parts in quadruples(folder).items():
        background, image = load_pair(parts["bg"], parts["image"])
        label = resize(read_map(parts["depth"]).astype(np.float32), image.shape[:2])
        truth = (255 - label).clip(0) / 255
        yield name.rpartition("_")[0], background, image, truth, np.ones(truth.shape, bool)


def stereo() -> Iterator[Case]:
    """The stereo pair of scikit-image, whose disparity is inverse depth; the photo stands twice."""
    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        say("the stereo pair is left out: scikit-image is not installed")
        return
    photo, _, disparity = stereo_motorcycle()
    valid = np.isfinite(disparity) & (disparity > 0)
    truth = np.where(valid, disparity, 0) / disparity[valid].max()
    yield "stereo pair", photo, photo, truth, valid


def row_profile(park: Catalogue, count: int) -> np.ndarray:
    """Mean inverse depth of each row of training composites, (SIZE, 1)."""
    data = CompositeDataset(park, size=SIZE)
    return np.mean([each["depth"][0].numpy() for each in fixed_sample(data, count, 0)], axis=(0, 2))


def predictions(predictor: Predictor, rows: np.ndarray) -> Callable[[Case], Depths]:
    """The depth of every one of METHODS for a case."""

    def predict(case: Case) -> Depths:
        _, background, image, truth, _ = case
        height, width = truth.shape
        profile = resize(np.repeat(rows[:, None], 2, 1).astype(np.float32), (height, 2))[:, :1]
        maps = (
            predictor(background, image).depth,
            predictor(background, background).depth,
            np.broadcast_to(profile, (height, width)),
            np.full((height, width), rows.mean()),
        )
        return dict(zip(METHODS, maps, strict=True))

    return predict


def scores(depth: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """All scores of one image; those of distances by alignment."""
    row = {"correlation": correlation(depth, truth, valid)}
    row["ordered pairs"] = ordered_pairs(depth, truth, valid)
    row["edge recall"] = edge_recall(depth, truth, valid)
    for how in ALIGNMENTS:
        found = distance_scores(depth, truth, how, valid)
        row |= {f"{how} {key}": value for key, value in found.items()}
    return row


def measure(cases: Iterable[Case], predict: Callable[[Case], Depths]) -> dict[str, dict]:
    """Mean scores: set -> method -> score, with the number of `images` of the set."""
    found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        name, _, _, truth, valid = case
        for method, depth in predict(case).items():
            found[name][method].append(scores(depth, truth, valid))
    return {name: {"images": len(rows[METHODS[0]])} | means(rows) for name, rows in found.items()}


def means(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean of every score over the images that have it."""
    return {
        method: {key: round(float(np.nanmean([row[key] for row in each])), 4) for key in each[0]}
        for method, each in rows.items()
    }


def text(result: dict[str, dict]) -> str:
    """A table of the main scores."""
    keys = ("correlation", "ordered pairs", "edge recall", "metric delta1", "affine delta1")
    lines = ["set / method".ljust(46) + "".join(key.rjust(15) for key in keys)]
    for name, part in result.items():
        for method in METHODS:
            cells = "".join(f"{part[method][key]:15.3f}" for key in keys)
            lines.append(f"{name}, {method}".ljust(46) + cells)
    return "\n".join(lines)


def all_cases(options: argparse.Namespace, park: Catalogue) -> Iterator[Case]:
    """The cases of every set that there is."""
    yield from composites("unseen parks", park, options.count)
    if (options.worlds / "catalogue.json").exists():
        yield from by_kind(load_catalogue(options.worlds), park, options.count // 4)
    elif options.worlds != WORLDS:
        raise InputError(f"{options.worlds} holds no worlds: render some with eva-helpers worlds.")
    else:
        say(f"worlds are left out: eva-helpers worlds {options.worlds} renders some")
    if options.quads:
        yield from photographs(options.quads)
    yield from stereo()


WORLDS = ROOT / "runs" / "worlds"


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--worlds", type=Path, default=WORLDS, help="(default: %(default)s)")
    parser.add_argument("--quads", type=Path, help="folder of real photographs with depth labels")
    parser.add_argument("--count", type=int, default=128, help="composites of parks")
    parser.add_argument("--json", type=output_file, default=RESULTS / "depth.json")
    options = parser.parse_args(arguments)
    park = load_catalogue()
    predict = predictions(Predictor.load(options.weights), row_profile(park, 4 * options.count))
    result = measure(all_cases(options, park), predict)
    print(text(result))
    write_json(options.json, {"commit": commit(), "size": SIZE, "sets": result})


if __name__ == "__main__":
    sys.exit(main())
