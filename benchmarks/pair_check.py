"""How often is the pair check right, and how fast? `python benchmarks/pair_check.py FOLDER` (FOLDER as for photo_pack.py).

Composites of photographs with a wrong background, a shift or an exposure change should be flagged, good ones should not; aligned ones
should give the mask of good ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from photo_pack import composites

from eva_helpers import metrics, predict
from eva_helpers.evaluate import exposure, jpeg, misalignment, noise
from eva_helpers.images import command_line
from eva_helpers.pairing import check_pair

DAMAGES = {  # name -> what happens to (background, image, mask) with the random numbers, and whether the check should complain
    "good": (lambda b, i, m, rng: (b, i), False),
    "good, JPEG 60 and noise": (lambda b, i, m, rng: jpeg(*noise(b, i, m, 0.01, rng), m, 60, rng), False),
    "shifted by 2.2 %": (lambda b, i, m, rng: misalignment(b, i, m, 0.022, rng), True),
    "shifted by 5 %": (lambda b, i, m, rng: misalignment(b, i, m, 0.05, rng), True),
    "exposed by 22 % more or less": (lambda b, i, m, rng: exposure(b, i, m, float(np.log2(1.22)), rng), True),
}


@command_line
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--weights")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    triples, predictor = composites(options.folder, options.count, 0), predict.Predictor.load(options.weights)
    result: dict = {"count": len(triples)}
    wrong = [bool(check_pair(triples[(n + 7) % len(triples)][0], image).problems) for n, (_, image, _) in enumerate(triples)]
    result["wrong background"] = {"flagged": float(np.mean(wrong)), "should be": True}
    print(f"{'':<32}{'flagged':>9}{'Dice':>9}{'Dice aligned':>14}\n{'wrong background':<32}{np.mean(wrong):>9.1%}")
    for name, (damage, bad) in DAMAGES.items():
        flagged, plain, fixed = [], [], []
        for number, (background, image, mask) in enumerate(triples):
            pair = damage(background, image, mask, np.random.default_rng(number))
            truth = torch.from_numpy(mask)[None, None]
            for align, scores in ((False, plain), (True, fixed)):
                done = predictor(*pair, align=align)
                scores.append(metrics.dice(torch.from_numpy(done.mask)[None, None], truth).item())
            flagged.append(bool(done.check.problems))
        result[name] = {
            "flagged": float(np.mean(flagged)),
            "should be": bad,
            "dice": float(np.mean(plain)),
            "aligned": float(np.mean(fixed)),
        }
        print(f"{name:<32}{np.mean(flagged):>9.1%}{np.mean(plain):>9.4f}{np.mean(fixed):>14.4f}", flush=True)
    photo = np.kron(np.random.default_rng(0).integers(0, 255, (48, 64, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        check_pair(photo, photo)
        times.append(1000 * (time.perf_counter() - start))
    result["ms for 640 x 480"] = float(np.median(times))
    print(f"one check of 640 x 480: {np.median(times):.1f} ms")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
