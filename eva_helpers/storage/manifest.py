"""Manifests of composites, as any spreadsheet writes them."""

import csv
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from typing_extensions import TypedDict

from eva_helpers.data import MAPS
from eva_helpers.files import InputError, file_inside, read_text
from eva_helpers.schemas import checked
from eva_helpers.storage.agreement import Item

SEPARATORS = ",;\t|"


def _named(cell: str) -> str:
    if not cell or "\0" in cell:
        raise ValueError("expected the name of a file")
    return cell


FileName = Annotated[str, AfterValidator(_named)]


class Row(TypedDict):
    """What a line says: files in the manifest's folder. Other columns are not read."""

    background: FileName
    image: FileName
    mask: FileName
    depth: FileName


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
        lines[0] = ""
    header = next(filter(str.strip, lines), "")
    separator = max(SEPARATORS, key=header.count)
    inside = functools.cache(lambda name: file_inside(path.parent, name, path))
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        columns = [name.strip().lower() for name in next(filter(None, rows), [])]
        missing = ", ".join(sorted(set(MAPS) - set(columns)))
        if missing:
            raise InputError(f"{path} has no column {missing}: expected {', '.join(MAPS)}.")
        places = {name: columns.index(name) for name in MAPS}
        for row in rows:
            cells = [cell.strip().replace("\\", "/") for cell in row]
            if any(cells):
                cells += [""] * (len(columns) - len(cells))
                named = {name: cells[place] for name, place in places.items()}
                checked(Row, named, f"{path}, line {rows.line_num}")
                yield Item(**{name: inside(cell) for name, cell in named.items()})
    except csv.Error as error:
        raise InputError(f"{path} is not a table ({error}): save it as CSV in UTF-8.") from None
