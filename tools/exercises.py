"""A learner's version of the notebooks, without the solutions: `python tools/exercises.py OUT`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat

from eva_helpers.files import InputError, command_line, make_folder, write_whole
from eva_helpers.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
TAG = "solution"
EMPTY = "# Write your code here.\n"


def without_solutions(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with an empty cell in place of each that is tagged `solution`."""
    for cell in book.cells:
        if TAG in cell.metadata.get("tags", []):
            cell.source = EMPTY
            cell.metadata = nbformat.NotebookNode(tags=["exercise"])
    return book


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Write all notebooks into a new or empty folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a new or empty folder")
    out = parser.parse_args(arguments).out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: expected a new folder, so that no work is lost.")
    make_folder(out)
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        book = without_solutions(nbformat.read(path, as_version=4))
        written = write_whole(out / path.name, f"{nbformat.writes(book)}\n".encode())
        print(written)


if __name__ == "__main__":
    sys.exit(main())
