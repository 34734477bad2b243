"""Accuracy and speed of the pair check on composites of real photographs.

`python -m experiments.pair_check FOLDER`, with a FOLDER as for `experiments.photo_pack`. Pairs with
a wrong background, a shift or a change of exposure should be flagged, good ones should not; after
alignment their masks should be as good as those of good pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from eva_helpers.evaluation.metrics import dice
from eva_helpers.evaluation.robustness import Photos, exposure, jpeg, noise, shift
from eva_helpers.files import command_line, write_json
from eva_helpers.predict.pairing import check_pair
from eva_helpers.predict.predictor import Predictor
from experiments.common import say
from experiments.photo_pack import Triple, composites

OTHER = 7  # how many composites further the wrong background is taken from
REPETITIONS = 30  # of the timing


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


def measure(predictor: Predictor, triples: list[Triple], damage: Callable) -> dict[str, float]:
    """Share of damaged pairs that are flagged, and the mean Dice without and with alignment."""
    flagged = []
    scores: dict[bool, list[float]] = {False: [], True: []}
    for number, (background, image, mask) in enumerate(tqdm(triples, leave=False)):
        pair = damage(background, image, mask, np.random.default_rng(number))
        truth = torch.from_numpy(mask)[None, None]
        for align, values in scores.items():
            prediction = predictor(*pair, align=align)
            values.append(dice(torch.from_numpy(prediction.mask)[None, None], truth).item())
        flagged.append(bool(prediction.check.problems))
    plain, aligned = (float(np.mean(values)) for values in scores.values())
    return {"flagged": float(np.mean(flagged)), "dice": plain, "aligned": aligned}


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
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200, help="composites (default: %(default)s)")
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    triples = composites(options.folder, options.count, seed=0)
    predictor = Predictor.load(options.weights)
    wrong = wrong_backgrounds(triples)
    result: dict = {"count": len(triples)}
    result["wrong background"] = {"flagged": wrong, "should be": True}
    say(f"{'':<32}{'flagged':>9}{'Dice':>9}{'Dice aligned':>14}")
    say(f"{'wrong background':<32}{wrong:>9.1%}")
    for name, (damage, bad) in DAMAGES.items():
        found = measure(predictor, triples, damage)
        result[name] = {"flagged": found.pop("flagged"), "should be": bad} | found
        cells = f"{name:<32}{{flagged:>9.1%}}{{dice:>9.4f}}{{aligned:>14.4f}}"
        say(cells.format(**result[name]))
    result["ms for 640 x 480"] = milliseconds()
    say(f"one check of 640 x 480: {result['ms for 640 x 480']:.1f} ms")
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
