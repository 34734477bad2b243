"""Limits of the mask score: where the network's masks fall short, and how far training can go.

Most pixels of a small object lie on its outline and are partly covered; a score asks on which side
of one half each of them is. On validation pairs at 64 and 224 px this measures the masks of the
shipped network with the truth inserted on the outline or everywhere else; the true mask with an
uncertain outline; and, on ideal pairs, which differ only by the object, what the network reaches
after further training on such pairs alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable

import torch

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import make_loader
from eva_helpers.evaluation.baselines import best_threshold, subtraction
from eva_helpers.evaluation.metrics import iou
from eva_helpers.evaluation.scoring import Batch, Method, evaluate, summary
from eva_helpers.files import command_line, output_file
from eva_helpers.losses.weighting import LossWeights
from eva_helpers.model.inference import inference
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.weights import load_weights
from eva_helpers.paths import WEIGHTS
from eva_helpers.training import Trainer, TrainingConfig
from experiments.common import RESULTS, Results, held_out, say

# px -> validation pairs; batch size and batches an epoch of the training on ideal pairs
SIZES = {64: (384, 32, 256), 224: (128, 8, 102)}
COVERED = (0.02, 0.98)  # coverage of a pixel on the outline
ERRORS = (0.05, 0.1, 0.2)  # standard deviations of the error in the coverage of the outline
EPOCHS = 5
LR = 2e-3


def outlines(net: MaskDepthNet, batches: Iterable[Batch], seed: int = 0) -> dict[str, float]:
    """Mean IoU, by name, of the network's masks and of combinations of them with the truth."""
    method = inference(net)
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[torch.Tensor]] = {}
    for batch in batches:
        truth = batch["mask"]
        mask, _ = method(batch["background"], batch["image"])
        outline = (truth > COVERED[0]) & (truth < COVERED[1])
        masks = {
            "the network": mask,
            "the truth on outlines, the network elsewhere": torch.where(outline, truth, mask),
            "the network on outlines, the truth elsewhere": torch.where(outline, mask, truth),
        }
        for error in ERRORS:
            noisy = truth + error * torch.randn(truth.shape, generator=generator)
            name = f"the truth, with an error of {error:g} on outlines"
            masks[name] = torch.where(outline, noisy, truth)
        for name, made in masks.items():
            found.setdefault(name, []).append(iou(made, truth))
    return {name: round(torch.cat(values).mean().item(), 4) for name, values in found.items()}


def trained_on_ideal(
    net: MaskDepthNet,
    catalogue: Catalogue,
    size: int,
    batch: int,
    steps: int,
    validation: list[Batch],
) -> MaskDepthNet:
    """The network after further training, for the mask alone, on ideal pairs of the park.

    They differ only by the object. Returns the averaged weights.
    """
    pairs = CompositeDataset(catalogue, size=size, augment=True, seed=size)
    loader = make_loader(pairs, batch, samples=batch * steps, seed=size)
    config = TrainingConfig(epochs=EPOCHS, lr=LR)
    weights = LossWeights(mask=1.0, depth=0.0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            net.train(), loader, validation, folder, config, weights, z_near=catalogue.z_near
        )
        trainer.fit()
    return trainer.averaged_net.eval()


def measure(catalogue: Catalogue, size: int, count: int, batch: int, steps: int) -> dict:
    """All figures for one size; `count` validation pairs, `steps` batches an epoch."""
    net = load_weights(WEIGHTS)
    differing, ideal = (list(held_out(catalogue, size, count, strength)) for strength in (1.0, 0.0))

    def score(method: Method) -> float:
        return summary(evaluate(method, ideal, catalogue.z_near))["mask_iou"]

    result = {"pairs": count, "samples": EPOCHS * steps * batch}
    on_ideal = "the network, trained further on such pairs alone"
    return result | {
        "capture differences at strength 1": outlines(net, differing),
        "ideal pairs": {
            "subtraction at its best threshold": score(subtraction(best_threshold(ideal), 0.0)),
            "the network": score(inference(net)),
            on_ideal: score(inference(trained_on_ideal(net, catalogue, size, batch, steps, ideal))),
        },
    }


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the pairs and samples; less for a quick look"
    )
    parser.add_argument(
        "--json",
        type=output_file,
        default=RESULTS / "ceiling.json",
        help="sizes that it holds are not measured again (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    results = Results(options.json, {"share": options.share}, "sizes")
    catalogue = load_catalogue()
    for size, (pairs, batch, batches) in SIZES.items():
        name = f"{size} px"
        if name in results.rows:
            continue
        count = max(2, round(pairs * options.share))
        steps = max(1, round(batches * options.share))
        say(f"{name}: {count} pairs, then {EPOCHS} epochs of {steps} steps on ideal pairs")
        results.update({name: measure(catalogue, size, count, batch, steps)})
        say(name, json.dumps(results.rows[name], indent=1))


if __name__ == "__main__":
    sys.exit(main())
