"""Evaluate a network beside its baselines on the test split, as JSON, a figure and text."""

import argparse
import os
from pathlib import Path

from eva_helpers.catalogue import load_catalogue
from eva_helpers.evaluation.report import evaluation_report, report_text
from eva_helpers.files import InputError, command_line, is_file, writable_folder, write_json
from eva_helpers.model import load_weights
from eva_helpers.paths import PARK, WEIGHTS
from eva_helpers.schemas import Count, Seed, Side, check_options


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="eva-helpers evaluate", description=__doc__)
    add = parser.add_argument
    add("--weights", default=WEIGHTS, help="weights file (default: the shipped one)")
    add("--catalogue", default=PARK, help="folder of a catalogue (default: the embedded park)")
    add("--sizes", type=int, nargs="+", default=[64, 224], help="px a side (default: 64 224)")
    add("--samples", type=int, default=384, help="composites per quadrant (default: %(default)s)")
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True, help="folder for evaluation.json and the figure")
    options = parser.parse_args(arguments)
    check_options(options, sizes=list[Side], samples=Count, seed=Seed)
    return options


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    options = parse(arguments)
    path = options.out / "evaluation.json"
    if is_file(path):
        raise InputError(f"{path} exists and would be overwritten: choose another --out folder.")
    sizes = tuple(sorted(options.sizes))
    net = load_weights(options.weights)
    catalogue = load_catalogue(options.catalogue)
    writable_folder(options.out)  # before the long part
    result = evaluation_report(net, catalogue, sizes, options.samples, options.seed, progress=True)
    write_json(path, result)
    os.environ.setdefault("MPLBACKEND", "agg")
    from eva_helpers.plots import charts, pictures

    for size, card in result["robustness"].items():
        pictures.save(charts.robustness(card, f"unseen pairs, {size}"), options.out, "robustness")
    print(report_text(result))
    print("wrote", path)
