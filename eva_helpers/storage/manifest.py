"""Manifests of composites, as any spreadsheet writes them."""

import csv
import functools
from collections.abc import Iterator
from pathlib import Path

from eva_helpers.data import MAPS
from eva_helpers.files import InputError, file_inside, read_text
from eva_helpers.storage.agreement import Item

SEPARATORS = ",;\t|"


def read_manifest(path: Path) -> list[Item]:
    """The composites that the table `path` lists in columns `background`, `image`, `mask`, `depth`.

    Columns are separated by commas, semicolons or tabs, names are in any case, file names with
    slashes or backslashes; other columns are ignored.

    Raises:
        InputError: it is no such table, or names a file that is missing or outside its folder.
    """
    text = read_text(path, "a manifest").removeprefix("\ufeff")
    items = list(_items(path, text.splitlines(keepends=True)))
    if not items:
        raise InputError(f"{path} lists no composites: expected a line for each.")
    return items


def _items(path: Path, lines: list[str]) -> Iterator[Item]:
    if lines and lines[0].lower().startswith("sep="):  # a hint for Excel
        lines = lines[1:]
    header = lines[0] if lines else ""
    separator = max(SEPARATORS, key=header.count)
    inside = functools.cache(lambda name: file_inside(path.parent, name, path))
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        columns = [name.strip().lower() for name in next(rows, [])]
        missing = ", ".join(sorted(set(MAPS) - set(columns)))
        if missing:
            raise InputError(f"{path} has no column {missing}: expected {', '.join(MAPS)}.")
        places = {name: columns.index(name) for name in MAPS}
        for row in rows:
            cells = [cell.strip().replace("\\", "/") for cell in row]
            if any(cells):
                cells += [""] * (len(columns) - len(cells))
                yield Item(**{name: inside(cells[place]) for name, place in places.items()})
    except csv.Error as error:
        raise InputError(f"{path} is not a table ({error}): save it as CSV in UTF-8.") from None
