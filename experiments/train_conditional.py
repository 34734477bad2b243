"""Train the loss-conditional network of notebook 06, and compare it with dedicated networks.

One network is trained with random loss weights; then, for comparison, dedicated networks with a few
fixed weightings. All start from the shipped weights and have the same budget. Everything is scored
on the validation split at 64 px. How the loss of every term responds to its own weight is also
measured on training pairs, of which theory speaks, and for several conditional networks that differ
only by their seed: what changes sign between them is noise. The trainings resume after the last
finished epoch; `--ship` replaces the shipped conditional weights by the first seed's network.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from eva_helpers.catalogue.catalogue import load_catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import fixed_sample, make_loader
from eva_helpers.evaluation.scoring import evaluate, summary
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.losses.weighting import LossWeights, emphasised, normalised, weight_vector
from eva_helpers.model.conditional import ConditionalNet
from eva_helpers.model.inference import inference
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.parts import without_sizes
from eva_helpers.model.weights import load_weights, save_weights
from eva_helpers.paths import CONDITIONAL_WEIGHTS, ROOT, WEIGHTS
from eva_helpers.training import Trainer, TrainingConfig
from eva_helpers.tuning.conditional import SHARES, responses, term_losses, tradeoff
from experiments.common import DATA, RESULTS, commit, held_out, say
from experiments.conditional_trainer import ConditionalTrainer

SIZE = 64  # px
BATCH = 16
EMA = 0.99
LR = 2e-3
CONDITIONAL_LR = 5e-3  # trains the modulation alone, which starts from zero
TRAINING_PAIRS = 4  # times as many as validation pairs, for the responses to a weight
SCORES = ("mask_iou", "depth_rmse_std")
DEDICATED = {  # name -> weighting; Dice counts as much as BCE everywhere
    "mostly mask": LossWeights(0.9, 0.1),
    "default weights": LossWeights(),
    "mostly depth": LossWeights(0.1, 0.9),
}


class Experiment:
    """What all trainings share: catalogue, budget, validation pairs, the shipped network."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.catalogue = load_catalogue()
        self.options = options
        self.validation = list(held_out(self.catalogue, SIZE, options.validation, batch=64))
        self.pairs = CompositeDataset(self.catalogue, size=SIZE, augment=True, **DATA)
        seen = fixed_sample(self.pairs, TRAINING_PAIRS * options.validation, 0)
        self.training = list(make_loader(seen, 64))

    def train(
        self,
        net: MaskDepthNet,
        kind: type[Trainer],
        folder: Path,
        weights: LossWeights,
        seed: int = 0,
    ) -> MaskDepthNet:
        """The averaged weights of one training in `folder`, which is resumed.

        `seed` decides the order of the pairs and the random weightings.
        """
        conditional = kind is ConditionalTrainer
        shown = 2 if conditional else 1  # times every pair: half as many pairs are the same budget
        loader = make_loader(
            self.pairs, BATCH // shown, samples=self.options.samples // shown, seed=seed
        )
        lr = CONDITIONAL_LR if conditional else LR
        config = TrainingConfig(epochs=self.options.epochs, lr=lr, ema=EMA, seed=seed)
        trainer = kind(
            net,
            loader,
            self.validation,
            folder,
            config,
            weights,
            z_near=self.catalogue.z_near,
            resume=True,
            say=say,
        )
        trainer.fit()
        return trainer.averaged_net

    def conditional(self, seed: int) -> ConditionalNet:
        """A conditional network as it is shipped: in half precision, from its file."""
        say(f"conditional network, seed {seed}")
        folder = self.options.out / f"conditional-{seed}"
        shipped = load_weights(WEIGHTS)
        torch.manual_seed(seed)
        start = without_sizes(shipped)  # trained at one size, so without layers for others
        net = ConditionalNet(replace(start.config, conditional=True), start)
        net.usual.copy_(weight_vector(LossWeights()))
        trained = self.train(net, ConditionalTrainer, folder, LossWeights(), seed)
        save_weights(trained, folder / CONDITIONAL_WEIGHTS.name, half=True)
        return load_weights(folder / CONDITIONAL_WEIGHTS.name)

    def dedicated(self, name: str) -> MaskDepthNet:
        """A network that is trained with one of DEDICATED."""
        say(f"dedicated network, {name}")
        torch.manual_seed(0)
        weights = normalised(DEDICATED[name])
        folder = self.options.out / name.replace(" ", "-")
        return self.train(load_weights(WEIGHTS), Trainer, folder, weights)

    def compared(self, name: str, conditional: ConditionalNet) -> dict:
        """The conditional network and the dedicated one at one of DEDICATED."""
        weights = DEDICATED[name]
        alone = self.dedicated(name)
        z_near = self.catalogue.z_near
        dedicated = summary(evaluate(inference(alone, "cpu", exact=True), self.validation, z_near))
        scores = tradeoff(conditional, self.validation, z_near, [weights])[0]
        scores.pop("weights")
        for key in SCORES:
            change = scores[key] / max(dedicated[key], 1e-9) - 1
            pair = f"conditional {scores[key]:.4f}   dedicated {dedicated[key]:.4f}"
            say(f"{name:<18}{key:<16} {pair}   {change:+.1%}")
        losses = {
            "conditional": term_losses(conditional, self.training, weight_vector(weights)),
            "dedicated": term_losses(alone, self.training),
        }
        row = {"name": name, "weights": asdict(weights), "conditional": scores}
        return row | {"dedicated": dedicated, "training pairs": losses}

    def answers(self, networks: list[ConditionalNet]) -> dict[str, dict[str, list[list[float]]]]:
        """Every term's loss over SHARES, a list per network, on training and validation pairs."""
        result = {}
        pairs = {"training pairs": self.training, "validation pairs": self.validation}
        for name, batches in pairs.items():
            say(f"{name}, change of a term's loss with its weight, for each seed:")
            result[name] = by_key([responses(net, batches) for net in networks])
            for term, seeds in result[name].items():
                changes = (f"{values[-1] / values[0] - 1:+.2%}" for values in seeds)
                say(f"  {term:<6}" + ", ".join(changes))
        return result

    def scores_by_share(self, net: ConditionalNet) -> dict[str, list[float]]:
        """Validation scores of a conditional network over the mask's SHARES."""
        weightings = [emphasised(LossWeights(), "mask", share) for share in SHARES]
        rows = tradeoff(net, self.validation, self.catalogue.z_near, weightings)
        return {score: [row[score] for row in rows] for score in SCORES}


def by_key(networks: list[dict[str, list[float]]]) -> dict[str, list[list[float]]]:
    """One dict of lists per network -> one dict of a list per network."""
    return {name: [values[name] for values in networks] for name in networks[0]}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=6144, help="per epoch")
    parser.add_argument("--validation", type=int, default=512, help="pairs that are scored")
    parser.add_argument(
        "--seeds", type=int, default=3, help="conditional networks; the first one is shipped"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "conditional")
    parser.add_argument(
        "--json",
        type=output_file,
        default=RESULTS / "conditional.json",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--ship", action="store_true", help=f"also write {CONDITIONAL_WEIGHTS.name}"
    )
    return parser.parse_args(arguments)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Train, compare, write the results."""
    options = parse(arguments)
    settings = {"epochs": options.epochs, "samples": options.samples, "size": SIZE, "data": DATA}
    settings |= {"commit": commit(), "ema": EMA}
    settings |= {"lr": {"conditional": CONDITIONAL_LR, "dedicated": LR}}
    experiment = Experiment(options)
    networks = [experiment.conditional(seed) for seed in range(options.seeds)]
    if options.ship:
        shutil.copy(options.out / "conditional-0" / CONDITIONAL_WEIGHTS.name, CONDITIONAL_WEIGHTS)
    answers = experiment.answers(networks)
    scores = by_key([experiment.scores_by_share(net) for net in networks])
    rows = [experiment.compared(name, networks[0]) for name in DEDICATED]
    results = {"settings": settings, "rows": rows, "shares": SHARES}
    write_json(options.json, results | {"answers": answers, "tradeoff": scores})


if __name__ == "__main__":
    sys.exit(main())
