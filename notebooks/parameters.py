"""Parameters of the notebooks: what was typed becomes what a notebook declares, or is refused."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import papermill

from eva_helpers.catalogue.public_data import PUBLIC
from eva_helpers.files import InputError, checked_path
from eva_helpers.paths import SHIPPED, typed_path
from eva_helpers.schemas import TRAINING, TYPED, checked

FILES = {"WEIGHTS", "INITIAL_WEIGHTS", "BANK", "BACKGROUND", "IMAGE"}
FOLDERS = {"CATALOGUE", "COMPOSITES"}
PATHS = FILES | FOLDERS | {"RUN_DIR", "DEPTH_MODEL"}  # a depth model may also be a name
KINDS = {name.upper(): kind for name, kind in TRAINING.items()}
KINDS |= dict.fromkeys(("PICTURE_SIZE", "WRITE_SIZE"), TRAINING["size"])
WORDS = {"true": True, "yes": True, "on": True, "1": True}
WORDS |= {"false": False, "no": False, "off": False, "0": False}


def declared(path: Path) -> dict[str, dict[str, str]]:
    """What a notebook's cell tagged `parameters` declares: name -> its name, type, default."""
    return papermill.inspect_notebook(str(path))


def converted(parameter: dict[str, str], value: object) -> object:
    """`value`, typed or from a JSON file, as the declared type; paths become absolute.

    Raises:
        InputError: it is of another type, out of range, or a path that is not there.
    """
    name = parameter["name"]
    kind = parameter["inferred_type_name"]
    with suppress(ValueError, TypeError, KeyError, OverflowError):  # else refused below
        value = READ[kind](value)
    result = checked(KINDS.get(name, TYPED[kind]), value, name)
    return _absolute(name, result) if name in PATHS and isinstance(result, str) else result


def _whole(value: object) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    return float(value)


def _flag(value: object) -> bool:
    return WORDS[str(value).strip().lower()]


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError
    str(value).encode()  # a name that is not Unicode cannot be written into a notebook
    return str(value)


READ: dict[str, Callable] = {"int": _whole, "float": _number, "bool": _flag, "str": _text}


def _absolute(name: str, value: str) -> str:
    """A path as an absolute one: the notebooks run in another folder than the command."""
    if value in ("", PUBLIC) or (name, value) == ("INITIAL_WEIGHTS", SHIPPED):
        return value
    path = typed_path(checked_path(value))
    if name == "DEPTH_MODEL" and not path.exists():
        return value
    for names, is_right, what in ((FILES, Path.is_file, "file"), (FOLDERS, Path.is_dir, "folder")):
        if name in names and not is_right(path):
            raise InputError(f"{name} is {value!r}, but {path} is no {what}: check the path.")
    return str(path)
