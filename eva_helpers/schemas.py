"""Declared types of what comes from outside; what does not fit them is refused in one sentence.

A file format is declared once, where it is read: as a dataclass or TypedDict whose fields have
these types, which pydantic checks.
"""

import argparse
import functools
import operator
import os
import re
import reprlib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from eva_helpers.files import InputError, file_inside, read_json

MIN_SIDE = 32  # px: the network halves the resolution five times
MAX_SIDE = 32_766  # px: OpenCV counts the pixels of a side in 16 bits when it moves a picture
PLAIN = {  # words for what pydantic expects
    "greater than or equal to": "at least", "less than or equal to": "at most",
    "greater than": "above", "less than": "below", "valid integer": "whole number",
    "valid number": "number", "finite number": "number", "a valid string": "text",
    "a valid boolean": "True or False", "valid tuple": "list",
    "a valid dictionary": "named values",
}  # fmt: skip
MEANING = {  # of the problems that pydantic names otherwise
    "missing": "is missing: add it, or restore the file",
    "unexpected_keyword_argument": "is unknown: remove it",
    "union_tag_not_found": "has no kind: expected one",
    "dataclass_type": "has no named values: expected some, in {}",
    "model_attributes_type": "has no named values: expected some, in {}",
}


def is_name(text: str) -> bool:
    """Whether `text` can be the name of one file or folder."""
    return text not in ("", ".", "..") and "\0" not in text and text == Path(text).name


def _name(value: str) -> str:
    if not is_name(value) or len(os.fsencode(value)) > 251:  # ".png" still fits
        raise ValueError("expected a name of 1 to 251 bytes without slashes and NUL")
    return value


def _text(value: Any) -> Any:
    """Whole numbers as text: catalogues number their scenes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _inside(value: Any, info: ValidationInfo) -> Any:
    """The path of a file that a listing names, where `checked` knows the listing."""
    listing = info.context
    return file_inside(listing.parent, value, listing) if listing else value


Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Weight = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Strength = Annotated[Number, Field(ge=0, le=3)]  # of capture differences
Count = Annotated[Whole, Field(ge=1, le=10**9)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Side = Annotated[Whole, Field(ge=MIN_SIDE, le=MAX_SIDE)]
Processes = Annotated[Whole, Field(ge=0, le=1024)]
Name = Annotated[str, BeforeValidator(_text), AfterValidator(_name)]
FileInside = Annotated[Path, BeforeValidator(_inside)]
Split = Literal["train", "validation", "test"]
Balancing = Literal["fixed", "uncertainty", "geometric"]  # of the losses of mask and depth
TRAINING: dict[str, Any] = {  # parameters of a training by name; of others, by type: TYPED
    "seed": Annotated[Whole, Field(ge=0, lt=2**32)],
    "size": Annotated[Side, Field(le=4096)],
    "epochs": Annotated[Count, Field(le=100_000)],
    "samples_per_epoch": Annotated[Count, Field(ge=16)],  # a batch
    "batch_size": Annotated[Count, Field(le=4096)],
    "lr": Annotated[Number, Field(ge=1e-8, le=1)],
    "strength": Strength,
    "variety": Share,
    "workers": Annotated[Whole, Field(ge=-1, le=256)],
    "balance": Balancing,
}
TYPED = {"int": Count, "float": Weight, "bool": Flag, "str": str}


def checked(kind: Any, value: Any, name: str | os.PathLike, listing: Path | None = None) -> Any:
    """`value` as `kind`; a FileInside is looked for beside the file `listing`.

    Raises:
        InputError: it does not fit; `name`, a file or an argument, begins the sentence.
    """
    if hasattr(value, "__index__") and not isinstance(value, bool):
        value = operator.index(value)  # NumPy's whole numbers
    try:
        return _adapter(kind).validate_python(value, context=listing)
    except ValidationError as error:
        raise _refusal(error, f"{name}") from None


def check_fields(instance: Any, what: str = "") -> None:
    """Raise InputError unless the fields of a dataclass hold what they are declared to hold."""
    kind: Any = type(instance)
    hints = _hints(kind)
    for field in fields(instance):
        checked(hints[field.name], getattr(instance, field.name), f"{what}{field.name}")


def read_as(kind: Any, path: str | os.PathLike, what: str = "a JSON file") -> Any:
    """The contents of a JSON file as `kind`.

    Raises:
        InputError: it is missing, no JSON, does not fit, or names a file outside its folder.
    """
    return checked(kind, read_json(path, what), path, Path(path))


def check_options(options: argparse.Namespace, **kinds: Any) -> None:
    """Raise InputError unless the options of a command line are of the `kinds`, by name."""
    for name, kind in kinds.items():
        checked(kind, getattr(options, name), f"--{name.replace('_', '-')}")


@functools.lru_cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)


@functools.lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _refusal(error: ValidationError, name: str) -> InputError:
    """The first problem as a sentence: where, what was found, what was expected."""
    problem = error.errors(include_url=False)[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):  # of `file_inside`, or of a dataclass that checks itself
        return cause
    place = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, problem["loc"])))
    where = f"{name}: {place}" if place else name
    if problem["type"] in MEANING:
        return InputError(f"{where} {MEANING[problem['type']]}.")
    expected = re.sub(r"^Value error, expected |^\w+ should (be |match )?", "", problem["msg"])
    for theirs, plain in PLAIN.items():
        expected = expected.replace(theirs, plain)
    return InputError(f"{where} is {reprlib.repr(problem['input'])}: expected {expected}.")
