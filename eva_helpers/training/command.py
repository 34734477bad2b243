"""Train a network from the beginning, as notebook 04 does, on any number of processes.

The command is `eva-helpers train`, or `python -m eva_helpers.training` for `torchrun` and
`accelerate launch`. Repeated, it continues a training that was interrupted.
"""

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from eva_helpers.catalogue import open_catalogue
from eva_helpers.data import CompositeDataset, fixed_sample, make_loader
from eva_helpers.data.dataset import Tensors
from eva_helpers.files import command_line
from eva_helpers.losses import BALANCES, LossWeights
from eva_helpers.model import initial_net
from eva_helpers.schemas import TRAINING, TYPED, check_options
from eva_helpers.storage import AugmentedComposites, FolderDataset, split_composites
from eva_helpers.training.config import TrainingConfig
from eva_helpers.training.processes import count, is_main, on_main, state
from eva_helpers.training.trainer import Trainer

EMPTY = 0.05  # share of training composites without an object
VALIDATION_BATCH = 64


def parse(arguments: list[str] | None) -> Namespace:
    """The options of the command; their defaults are the parameters of notebook 04."""
    parser = argparse.ArgumentParser("eva-helpers train", description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the training; continued if it holds one")
    for name, (default, meaning) in DEFAULTS.items():
        option = f"--{name.replace('_', '-')}"
        meaning = f"{meaning} (default: %(default)s)" if default != "" else meaning
        if isinstance(default, bool):
            add(option, action=argparse.BooleanOptionalAction, default=default, help=meaning)
        else:
            choices = BALANCES if name == "balance" else None
            add(option, type=type(default), default=default, choices=choices, help=meaning)
    options = parser.parse_args(arguments)
    types = {name: TYPED[type(default).__name__] for name, (default, _) in DEFAULTS.items()}
    check_options(options, **types | TRAINING)
    return options


DEFAULTS: dict[str, tuple[bool | int | float | str, str]] = {
    "seed": (0, "of all random numbers"),
    "size": (64, "side of the photos, px"),
    "epochs": (20, "of --samples-per-epoch each"),
    "minutes": (0.0, "limit of the training time, 0: none"),
    "samples_per_epoch": (8192, "random items of the virtual dataset"),
    "batch_size": (16, "samples of a step, of all processes together"),
    "validation_samples": (512, "fixed composites of other scenes and objects"),
    "lr": (0.004, "peak of the one-cycle schedule"),
    "strength": (1.0, "of the capture differences, 0: ideal pairs"),
    "variety": (0.5, "random colours and distractors, 0 to 1"),
    "workers": (-1, "loader processes; -1: one a core beside a GPU, else none"),
    "mask_weight": (0.3, "of the mask in the loss"),
    "depth_weight": (0.7, "of depth in the loss"),
    "ssim_weight": (1.0, "of structure in depth"),
    "edge_weight": (1.0, "of edges in depth"),
    "l1_weight": (1.0, "of the absolute level in depth"),
    "dice_weight": (1.0, "of Dice in the mask"),
    "balance": ("fixed", "of mask and depth"),
    "initial_weights": ("", "a weights file, or 'shipped' (default: random ones)"),
    "catalogue": ("", "pets+places, or a folder with bg and fg (default: the embedded park)"),
    "composites": ("", "your folder of composites instead: bg, fg_bg, fg_bg_mask, depthmap"),
    "near_is_dark": (True, "in their depth files"),
    "depth_white": (0.0, "their value of white, 0: recognised"),
    "log_with": ("", "tracker, such as tensorboard or wandb (default: none)"),
    "save_minutes": (5.0, "from one save within an epoch to the next, 0: only after epochs"),
}


def datasets(options: Namespace) -> tuple[Dataset[Tensors], Dataset[Tensors], float]:
    """Samples to train on, those to validate with, and `z_near`, as in notebook 04."""
    catalogue = on_main(lambda: open_catalogue(options.catalogue))
    common: dict[str, Any] = {"strength": options.strength, "seed": options.seed}
    if options.composites:
        reading = {"near_is_dark": options.near_is_dark, "depth_white": options.depth_white or None}
        files = FolderDataset(options.composites, size=options.size, **reading)
        parts = split_composites(files, seed=options.seed)
        augmented = AugmentedComposites(files, parts[0], augment=True, **common)
        return augmented, AugmentedComposites(files, parts[1], **common), catalogue.z_near
    common |= {"size": options.size}
    varied: dict[str, Any] = {"augment": True, "empty": EMPTY, "variety": options.variety}
    train = CompositeDataset(catalogue, "train", "train", **varied, **common)
    held_out = CompositeDataset(catalogue, "validation", "validation", **common)
    return train, held_out, catalogue.z_near


def make_trainer(options: Namespace) -> Trainer:
    """The trainer of the command; raises InputError as `Trainer`."""
    train, held_out, z_near = datasets(options)
    workers = options.workers if options.workers >= 0 else None
    epoch = {"samples": options.samples_per_epoch, "workers": workers, "seed": options.seed}
    fixed = fixed_sample(held_out, options.validation_samples, options.seed)
    names = ("epochs", "lr", "seed", "balance", "minutes", "save_minutes")
    config = TrainingConfig(**{name: getattr(options, name) for name in names})
    end = "_weight"
    given = {name.removesuffix(end): x for name, x in vars(options).items() if name.endswith(end)}
    weights = LossWeights(**given)
    torch.manual_seed(options.seed)
    return Trainer(
        initial_net(options.initial_weights),
        make_loader(train, options.batch_size, **epoch), make_loader(fixed, VALIDATION_BATCH),
        options.out, config, weights, z_near=z_near, resume=True, say=tqdm.write,
        log_with=options.log_with,
    )  # fmt: skip


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Train, or go on."""
    options = parse(arguments)
    trainer = make_trainer(options)
    shares = f"{options.batch_size // count()} of {options.batch_size} samples of a batch each"
    trainer.say(f"{count()} process{'es' * (count() > 1)} on {state().device.type}, {shares}")
    shown = is_main() and sys.stderr.isatty()
    with tqdm(initial=trainer.done, unit="step", disable=not shown) as bar:

        def advance(step: int, terms: dict[str, float]) -> None:
            bar.total = trainer.epochs * trainer.steps
            bar.update()

        trainer.fit(advance)
    trainer.say(f"wrote {trainer.folder / 'best.safetensors'}")
    trainer.accelerator.end_training()
