"""Parameters of the notebooks: what was typed becomes what a notebook declares, or is refused."""

from collections.abc import Callable
from pathlib import Path

import papermill

from eva_helpers.catalogue.public_data import PUBLIC
from eva_helpers.files import InputError
from eva_helpers.paths import SHIPPED, typed_path

FILES = {"WEIGHTS", "INITIAL_WEIGHTS", "BANK", "BACKGROUND", "IMAGE"}
FOLDERS = {"CATALOGUE", "COMPOSITES"}
PATHS = FILES | FOLDERS | {"RUN_DIR", "DEPTH_MODEL"}  # a depth model may also be a name
LEAST = {"SEED": 0, "WORKERS": -1, "LR": 1e-8}  # else 1 for whole numbers, 0 for others
LEAST |= dict.fromkeys(("SIZE", "PICTURE_SIZE", "WRITE_SIZE"), 32)
MOST = {"SEED": 2**32 - 1, "VARIETY": 1, "WORKERS": 256}
CHOICES = {"BALANCE": ("fixed", "uncertainty", "geometric")}
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
    try:
        result = READ[kind](value)
        if not _allowed(name, kind, result):
            raise ValueError
    except (ValueError, TypeError, KeyError, OverflowError):
        raise InputError(
            f"{name} is {value!r}: expected {_expected(name, kind)}, "
            f"such as the notebook's own {parameter['default']}; correct it."
        ) from None
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


def _range(name: str, kind: str) -> tuple[float, float]:
    return LEAST.get(name, 1 if kind == "int" else 0), MOST.get(name, float("inf"))


def _allowed(name: str, kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        return name not in CHOICES or value in CHOICES[name]
    least, most = _range(name, kind)
    return least <= value <= most and value != float("inf")


def _expected(name: str, kind: str) -> str:
    """What a parameter's value must be, in words."""
    if name in CHOICES:
        return f"one of {', '.join(CHOICES[name])}"
    if kind in ("bool", "str"):
        return {"bool": "True or False", "str": "text"}[kind]
    least, most = _range(name, kind)
    limits = f"of at least {least}" if most == float("inf") else f"from {least} to {most}"
    return f"a {'whole ' if kind == 'int' else ''}number {limits}"


def _absolute(name: str, value: str) -> str:
    """A path as an absolute one: the notebooks run in another folder than the command."""
    if value in ("", PUBLIC) or (name, value) == ("INITIAL_WEIGHTS", SHIPPED):
        return value
    path = typed_path(value)
    if name == "DEPTH_MODEL" and not path.exists():
        return value
    for names, is_right, what in ((FILES, Path.is_file, "file"), (FOLDERS, Path.is_dir, "folder")):
        if name in names and not is_right(path):
            raise InputError(f"{name} is {value!r}, but {path} is no {what}: check the path.")
    return str(path)
