"""Train a network further on your own photos: the command `eva-helpers finetune`."""

import argparse
from pathlib import Path

import pandas as pd

from eva_helpers.catalogue import load_catalogue, open_catalogue
from eva_helpers.files import command_line, writable_folder
from eva_helpers.paths import SHIPPED
from eva_helpers.schemas import Positive, Seed, Strength, check_options
from eva_helpers.training.finetuning import finetune
from eva_helpers.training.processes import is_main, on_main
from eva_helpers.training.tracking import check_tracker


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="eva-helpers finetune", description=__doc__)
    add = parser.add_argument
    add("catalogue", help="your folder with bg and fg, or a catalogue folder")
    add("--out", type=Path, required=True, help="folder for the network and its training")
    add("--weights", default=SHIPPED, help="where to start: a file, or the shipped ones")
    add("--minutes", type=float, default=15.0, help="of training (default: %(default)g)")
    add("--strength", type=float, default=1.0, help="of the capture differences; 0: ideal pairs")
    add("--seed", type=int, default=0)
    add("--log-with", default="", help="tracker, such as tensorboard or wandb (default: none)")
    options = parser.parse_args(arguments)
    check_options(options, minutes=Positive, strength=Strength, seed=Seed)
    check_tracker(options.log_with)
    return options


def text(report: dict) -> str:
    """The scores of a report as a table, and what was kept."""
    rows = {
        (name, who): row for name, part in report["scores"].items() for who, row in part.items()
    }
    table = pd.DataFrame(rows).T
    kept = "kept" if report["better"] else "no better on your validation split: the start is kept"
    scores = table.to_string(float_format="{:.4f}".format, na_rep="")
    return f"{scores}\nfine-tuned network: {kept}"


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line; a training that was interrupted goes on."""
    options = parse(arguments)
    on_main(lambda: writable_folder(options.out))  # before the long part
    catalogue = on_main(lambda: open_catalogue(options.catalogue))
    report = finetune(
        catalogue, options.weights, options.out, park=load_catalogue(),
        minutes=options.minutes, strength=options.strength, seed=options.seed,
        log_with=options.log_with,
    )  # fmt: skip
    if is_main():
        print(text(report))
        print("wrote", options.out / "finetuned.safetensors")
