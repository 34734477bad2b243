"""Accuracy and speed of the pair check, on composites of real photographs or on synthetic pairs.

`python -m experiments.pair_check FOLDER`, with a FOLDER as for `experiments.photo_pack`. Pairs with
a wrong background, a shift or a change of exposure should be flagged, good ones should not; after
alignment their masks should be as good as those of good pairs. Without FOLDER, the pairs are those
of `experiments.pair_kinds`: plain walls, objects that fill the frame, zoom, wrong backgrounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from eva_helpers.evaluation.baselines import THRESHOLDS, photo_difference
from eva_helpers.evaluation.metrics import dice, iou
from eva_helpers.evaluation.robustness import Photos, exposure, jpeg, noise, shift
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.predict.pairing import check_pair
from eva_helpers.predict.predictor import Predictor
from experiments.common import say
from experiments.pair_kinds import KINDS, Kind, Pair
from experiments.photo_pack import Triple, composites

OTHER = 7  # how many composites further the wrong background is taken from
REPETITIONS = 30  # of the timing
COST = 0.02  # of IoU that alignment may take
SHARES = ("flagged", "another place", "worse aligned")
SCORES = ("dice", "aligned", "iou", "subtraction")


def unchanged(background, image, mask, rng) -> Photos:
    """The pair as it is."""
    return background, image


def compressed(background, image, mask, rng) -> Photos:
    """Noise on both photos, then JPEG of quality 60."""
    return jpeg(*noise(background, image, mask, 0.01, rng), mask, 60, rng)


def level(change: Callable, value: float) -> Callable[..., Photos]:
    """`change` of `evaluation.robustness` at the level `value`."""
    return lambda background, image, mask, rng: change(background, image, mask, value, rng)


DAMAGES = {  # name -> change of (background, image, mask, rng), and whether it should be flagged
    "good": (unchanged, False),
    "good, JPEG 60 and noise": (compressed, False),
    "shifted by 2.2 %": (level(shift, 0.022), True),
    "shifted by 5 %": (level(shift, 0.05), True),
    "exposed by 22 % more or less": (level(exposure, float(np.log2(1.22))), True),
}


def wrong_backgrounds(triples: list[Triple]) -> float:
    """Share of pairs with the background of another composite that are flagged."""
    flagged = []
    for number, (_, image, _) in enumerate(triples):
        other = triples[(number + OTHER) % len(triples)][0]
        flagged.append(bool(check_pair(other, image).problems))
    return float(np.mean(flagged))


def measure(predictor: Predictor, pairs: Iterable[Pair]) -> dict[str, float]:
    """Figures for pairs of background, image and mask.

    Returns:
        The shares that are flagged, called another place, and lose more than COST of IoU by
        alignment; the mean Dice without and with alignment; the mean IoU without, and that of
        subtraction at the threshold that is best for these pairs.
    """
    rows = []
    simple = []
    for background, image, mask in tqdm(pairs, leave=False):
        truth = torch.from_numpy(mask)[None, None]
        plain, aligned = (predictor(background, image, align=align) for align in (False, True))
        found = [torch.from_numpy(each.mask)[None, None] for each in (plain, aligned)]
        scores = [iou(each, truth).item() for each in found]
        dices = [dice(each, truth).item() for each in found]
        shares = (plain.check.problems, not plain.check.same_place, scores[0] - scores[1] > COST)
        rows.append([*map(bool, shares), *dices, scores[0]])
        photos = (
            torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
            for photo in (background, image)
        )
        change = photo_difference(*photos)
        simple.append([iou(change > threshold, truth).item() for threshold in THRESHOLDS])
    means = [*np.mean(rows, axis=0), np.mean(simple, axis=0).max()]
    return {name: float(mean) for name, mean in zip(SHARES + SCORES, means, strict=True)}


def damaged(triples: list[Triple], damage: Callable) -> Iterator[Pair]:
    """The composites with a damage of DAMAGES."""
    for number, (background, image, mask) in enumerate(triples):
        rng = np.random.default_rng(number)
        yield *damage(background, image, mask, rng), mask


def synthetic(kind: Kind, count: int, seed: int) -> Iterator[Pair]:
    """`count` pairs of one kind of `pair_kinds`."""
    return (kind(np.random.default_rng((seed, number))) for number in range(count))


def report(name: str, row: dict) -> None:
    """Print one row of the table."""
    shares = "".join(f"{row.get(key, np.nan):>15.1%}" for key in SHARES)
    scores = "".join(f"{row.get(key, np.nan):>12.4f}" for key in SCORES)
    say(f"{name:<42}{shares}{scores}")


def milliseconds() -> float:
    """Median time of one check of two photos of 640 x 480 px."""
    coarse = np.random.default_rng(0).integers(0, 255, (48, 64, 3))
    photo = np.kron(coarse, np.ones((10, 10, 1))).astype(np.uint8)
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        check_pair(photo, photo)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="bg/ and fg/ (default: synthetic)")
    parser.add_argument("--count", type=int, default=200, help="of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--json", type=output_file, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    groups = {}
    result: dict = {"count": options.count}
    if options.folder:
        triples = composites(options.folder, options.count, options.seed)
        wrong = wrong_backgrounds(triples)
        result["wrong background"] = {"flagged": wrong, "should be": True}
        groups = {name: (damaged(triples, how), bad) for name, (how, bad) in DAMAGES.items()}
    else:
        for name, (kind, bad) in KINDS.items():
            groups[name] = (synthetic(kind, options.count, options.seed), bad)
    predictor = Predictor.load(options.weights)
    heads = [f"{name:>15}" for name in SHARES] + [f"{name:>12}" for name in SCORES]
    say(" " * 42 + "".join(heads))
    for name, row in result.items():
        if isinstance(row, dict):
            report(name, row)
    for name, (pairs, bad) in groups.items():
        result[name] = {"should be": bad} | measure(predictor, pairs)
        report(name, result[name])
    result["ms for 640 x 480"] = milliseconds()
    say(f"one check of 640 x 480: {result['ms for 640 x 480']:.1f} ms")
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
