"""Ways to balance the two tasks, on narrow networks with one decoder: `make balances`.

Fixed weights; the plain sum of both losses; learned and parameter-free balances; aggregators of
gradients from TorchJD (an optional extra: `pip install 'eva-helpers[torchjd]'`); and networks that
are trained for one task only. With two tasks, PCGrad has the direction of UPGrad: each gradient
loses what conflicts with the other. All are trained alike, with several seeds. Hypervolumes compare
the fronts that fixed weightings reach with single points.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from eva_helpers.catalogue.catalogue import load_catalogue
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError, command_line, output_file, write_json
from eva_helpers.hardware import keep_freed_memory
from eva_helpers.losses import Balance, LossWeights, task_losses
from eva_helpers.model import NarrowNet
from eva_helpers.tuning.bank import MASK_SHARES, at_share
from experiments.common import RESULTS, Results, commit, held_out, say
from experiments.narrow_training import SCORES, SIZE, WIDTHS, Descent, Samples, fixed, score, train

AGGREGATORS = ("PCGrad", "MGDA", "AlignedMTL")  # of TorchJD
REFERENCE = (0.0, 1.0)  # mask IoU and depth RMSE / std: the corner that hypervolumes begin at
EVEN = at_share(0.5)
FRONT = "front of fixed weightings"


@dataclass(frozen=True)
class Method:
    """How the raw terms become gradients, and what is learned beside the network."""

    descend: Descent
    learned: Iterable[Tensor] = ()


def balanced(kind: str) -> Method:
    """One of `losses.BALANCES`."""
    balance = Balance(kind)
    learned = [each for each in balance.parameters() if each.requires_grad]
    return Method(lambda terms, net: balance(terms, EVEN).backward(), learned)


def aggregated(name: str) -> Method:
    """An aggregator of TorchJD over the gradients of the losses of mask and depth.

    Raises InputError: TorchJD is not installed.
    """
    try:
        from torchjd import aggregation
        from torchjd.autojac import backward, jac_to_grad
    except ImportError:
        raise InputError(
            f"{name} needs TorchJD: pip install torchjd, or leave it out with --methods."
        ) from None
    aggregator = getattr(aggregation, name)()

    def descend(terms: dict[str, Tensor], net: nn.Module) -> None:
        backward(list(task_losses(terms, EVEN)))
        jac_to_grad(net.parameters(), aggregator)

    return Method(descend)


def only(task: str) -> Method:
    """One task alone."""
    share = 1.0 if task == "mask" else 0.0
    return Method(fixed(at_share(share)))


def methods() -> dict[str, Callable[[], Method]]:
    """What is compared, by name."""
    made: dict[str, Callable[[], Method]] = {
        f"fixed, mask {share:g}": lambda share=share: Method(fixed(at_share(share)))
        for share in MASK_SHARES
    }
    made["sum of both"] = lambda: Method(fixed(LossWeights(1, 1, EVEN.ssim, EVEN.edge, EVEN.l1)))
    made |= {name: lambda name=name: balanced(name) for name in ("uncertainty", "geometric")}
    made |= {name: lambda name=name: aggregated(name) for name in AGGREGATORS}
    made |= {f"{task} alone": lambda task=task: only(task) for task in ("mask", "depth")}
    return made


def hypervolume(points: Iterable[tuple[float, float]]) -> float:
    """The area that points of mask IoU (more is better) and depth RMSE / std (less) dominate.

    It is bounded by REFERENCE (Zitzler and Thiele, 1999).
    """
    area = 0.0
    best, limit = REFERENCE
    for iou, error in sorted(points, key=lambda point: point[1]):
        if iou > best and error < limit:
            area += (iou - best) * (limit - error)
            best = iou
    return area


def run(
    name: str, samples: Samples, validation: list[Batch], z_near: float, steps: int, seeds: int
) -> dict[str, list[float]]:
    """SCORES of a method, a value for each seed."""
    rows = []
    for seed in range(seeds):
        method = methods()[name]()
        net = NarrowNet(WIDTHS)
        stored = train(method.descend, samples.batches(seed), (steps,), seed, method.learned)
        net.load_state_dict(stored[0])
        rows.append(score(net, validation, z_near))
        say(f"{name:<18} seed {seed}", *(f"{key} {value:.3f}" for key, value in rows[-1].items()))
    return {key: [row[key] for row in rows] for key in SCORES}


def volumes(rows: dict[str, dict[str, list[float]]]) -> dict[str, list[float]]:
    """The hypervolume of the front of all fixed weightings, and of every single method, by seed."""
    points = {
        name: list(zip(*(row[key] for key in SCORES), strict=True)) for name, row in rows.items()
    }
    fronts = [found for name, found in points.items() if name.startswith("fixed")]
    made = {name: [hypervolume([point]) for point in found] for name, found in points.items()}
    if fronts:
        made[FRONT] = [hypervolume(front) for front in zip(*fronts, strict=True)]
    return made


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """One line a method: mean and standard deviation over the seeds."""
    found = volumes(rows)
    lines = []
    for name, row in rows.items():
        values = (*row.values(), found[name])
        cells = (f"{np.mean(each):.3f} +- {np.std(each):.3f}" for each in values)
        lines.append(f"{name:<26}" + "   ".join(cells))
    if FRONT in found:
        lines.append(f"{FRONT:<26}hypervolume {np.mean(found[FRONT]):.3f}")
    return "\n".join(lines)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=8192, help="training samples")
    parser.add_argument("--validation", type=int, default=192, help="pairs that are scored")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=list(methods()), default=list(methods()))
    parser.add_argument("--json", type=output_file, default=RESULTS / "balances.json")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    names = ("samples", "validation", "steps", "seeds")
    settings = {name: getattr(options, name) for name in names} | {"widths": list(WIDTHS)}
    results = Results(options.json, settings, "methods")
    catalogue = load_catalogue()
    missing = [name for name in options.methods if name not in results.rows]
    if missing:
        validation = list(held_out(catalogue, SIZE, options.validation, batch=64))
        samples = Samples(catalogue, options.samples, 0)
    for name in missing:
        row = run(name, samples, validation, catalogue.z_near, options.steps, options.seeds)
        results.update({name: row | {"commit": commit()}})
    rows = {name: {key: row[key] for key in SCORES} for name, row in results.rows.items()}
    write_json(options.json, settings | {"methods": results.rows, "hypervolume": volumes(rows)})
    print(table(rows))


if __name__ == "__main__":
    sys.exit(main())
