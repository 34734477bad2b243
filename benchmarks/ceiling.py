"""How good can a mask be at all? `python benchmarks/ceiling.py`.

Most pixels of a small object are outline, covered in part, and a score asks on which side of one half each of them lies. So, on validation
pairs at 64 and 224 px: what the shipped network's masks are worth with the truth put in on the outline, or everywhere else; what the true
mask itself is worth if its outline is known only so well; and, on ideal pairs, which differ by nothing but the object, what the network
reaches when it is trained further on such pairs alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from train_shipped import held_out

from eva_helpers import assets, dataset, metrics, training
from eva_helpers.folders import put
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet

RESULTS = Path(__file__).parent / "results" / "ceiling.json"
SIZES = {64: (384, 32, 256), 224: (128, 8, 102)}  # px: validation pairs; batches and how many an epoch, of the training on ideal pairs
COVERED = (0.02, 0.98)  # coverage of an outline's pixel
ERRORS = (0.05, 0.1, 0.2)  # standard deviations with which the coverage of the outline is known
EPOCHS, LR = 5, 2e-3


def outlines(net: MaskDepthNet, batches: Iterable[dict[str, torch.Tensor]], seed: int = 0) -> dict[str, float]:
    """Mean IoU of the network's masks and of what is made of them and the truth, by name."""
    found: dict[str, list[torch.Tensor]] = {}
    predict, generator = metrics.network(net), torch.Generator().manual_seed(seed)
    for batch in batches:
        truth, mask = batch["mask"], predict(batch["background"], batch["image"])[0]
        outline = (truth > COVERED[0]) & (truth < COVERED[1])
        masks = {
            "the network": mask,
            "the truth on outlines, the network elsewhere": torch.where(outline, truth, mask),
            "the network on outlines, the truth elsewhere": torch.where(outline, mask, truth),
        }
        for error in ERRORS:
            noisy = truth + error * torch.randn(truth.shape, generator=generator)
            masks[f"the truth, its coverage of outlines known to +-{error:g}"] = torch.where(outline, noisy, truth)
        for name, made in masks.items():
            found.setdefault(name, []).append(metrics.iou(made, truth))
    return {name: round(torch.cat(values).mean().item(), 4) for name, values in found.items()}


def trained_on_ideal(
    net: MaskDepthNet, catalogue: assets.Catalogue, size: int, batch: int, steps: int, validation: list[dict[str, torch.Tensor]]
) -> MaskDepthNet:
    """The network, trained further for the mask alone on pairs of the park that differ by nothing but the object; averaged weights."""
    pairs = dataset.CompositeDataset(catalogue, size=size, augment=True, seed=size)
    loader = dataset.loader(pairs, batch, samples=batch * steps, seed=size)
    with tempfile.TemporaryDirectory() as folder:
        config, weights = training.TrainingConfig(epochs=EPOCHS, lr=LR), LossWeights(mask=1.0, depth=0.0)
        trainer = training.Trainer(net.train(), loader, validation, folder, config, weights, z_near=catalogue.z_near)
        trainer.fit()
    return trainer.averaged.module.eval()


def measure(catalogue: assets.Catalogue, size: int, count: int, batch: int, steps: int) -> dict:
    """Everything at one size."""
    net = training.load_weights(assets.WEIGHTS)
    differing, ideal = (list(held_out(catalogue, size, count, strength)) for strength in (1.0, 0.0))
    result = {"pairs": count, "samples": EPOCHS * steps * batch, "capture differences at strength 1": outlines(net, differing)}

    def score(predict: Callable) -> float:
        return metrics.summary(metrics.evaluate(predict, ideal, catalogue.z_near))["mask_iou"]

    result["ideal pairs"] = {
        "subtraction at its best threshold": score(metrics.baseline(metrics.best_threshold(ideal), 0.0)),
        "the network": score(metrics.network(net)),
        "the network, trained further on such pairs alone": score(
            metrics.network(trained_on_ideal(net, catalogue, size, batch, steps, ideal))
        ),
    }
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the pairs and samples; less for a quick look")
    parser.add_argument("--json", type=Path, default=RESULTS, help="sizes that stand in it are not measured again")
    options = parser.parse_args(arguments)
    stored = json.loads(options.json.read_text()) if options.json.exists() else {"share": options.share, "sizes": {}}
    if stored["share"] != options.share:
        print(f"error: {options.json} was made with another --share: remove it, or give another --json.", file=sys.stderr)
        return 2
    catalogue = assets.load_catalogue()
    for size, (count, batch, steps) in SIZES.items():
        if f"{size} px" in stored["sizes"]:
            continue
        count, steps = max(2, round(count * options.share)), max(1, round(steps * options.share))
        stored["sizes"][f"{size} px"] = result = measure(catalogue, size, count, batch, steps)
        put(options.json, (json.dumps(stored, indent=1) + "\n").encode())  # a run that is stopped meanwhile loses none
        print(f"{size} px", json.dumps(result, indent=1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
