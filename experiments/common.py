"""What the experiments share: the recipe's data, validation pairs, results that survive a stop."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from torch.utils.data import DataLoader

from eva_helpers.catalogue.catalogue import Catalogue
from eva_helpers.data.dataset import CompositeDataset
from eva_helpers.data.loaders import fixed_sample, make_loader
from eva_helpers.files import make_folder, read_json, same_settings, write_json
from eva_helpers.paths import ROOT

RESULTS = Path(__file__).resolve().parent / "results"
STRENGTH = 1.25  # of the capture differences: a margin above the 1.0 that is tested
EMPTY = 0.08  # share of pairs without an object: the mask must learn to stay empty
VARIETY = 1.0  # colours, distractor objects, second objects: what the park lacks
TRUE_PAIRS = 0.2  # share of rendered pairs, with the real shadows and contact composites lack
DATA = {"strength": STRENGTH, "empty": EMPTY, "variety": VARIETY, "true_pairs": TRUE_PAIRS}

say = functools.partial(print, flush=True)


def quiet(line: str) -> None:
    """Report nothing."""


def held_out(
    catalogue: Catalogue,
    size: int,
    count: int,
    strength: float = 1.0,
    batch: int = 32,
    seed: int = 0,
) -> DataLoader:
    """`count` fixed composites of validation scenes and dogs at `size` px.

    The same ones for every `strength` of the capture differences.
    """
    pairs = CompositeDataset(
        catalogue, "validation", "validation", size=size, strength=strength, seed=seed
    )
    return make_loader(fixed_sample(pairs, count, seed), batch)


def commit() -> str:
    """The checkout's commit, followed by "+changes" if tracked files differ from it."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "-uno")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+changes" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Results:
    """Measured rows by name in a JSON file, beside the settings they were measured with.

    The file is written after every row, so an interrupted run loses none, and the next one
    continues it: `rows` holds what is there already.

    Args:
        path: of the JSON file.
        settings: plain values; they become keys of the file.
        name: the key that holds the rows.

    Raises:
        InputError: the file was made with other settings.
    """

    def __init__(self, path: Path, settings: dict, name: str) -> None:
        self.path = path
        self.settings = settings
        self.name = name
        known = same_settings(path, settings, "remove it, or give another --json")
        self.rows: dict[str, dict] = read_json(path)[name] if known else {}

    def update(self, rows: dict[str, dict]) -> None:
        """Add or replace rows, and write the file."""
        self.rows |= rows
        make_folder(self.path.parent)
        write_json(self.path, self.settings | {self.name: self.rows})
