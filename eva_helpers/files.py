"""Reading and writing files safely, and errors that a person can act on."""

import argparse
import codecs
import functools
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from eva_helpers.partials import write_and_rename

Main = Callable[[list[str] | None], int | None]
Result = TypeVar("Result")


class InputError(ValueError):
    """Input cannot be used; the message names it, what was expected and the remedy."""


def command_line(main: Main) -> Callable[..., int]:
    """Turn `main(arguments)` into a command: an InputError is printed and exits with status 2.

    So is what the system refuses: a full disk, a folder without permission.

    Characters that the terminal's encoding lacks are printed as escapes, warnings as sentences.
    """

    @functools.wraps(main)
    def run(arguments: list[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        warnings.formatwarning = _sentence
        try:
            return main(arguments) or 0
        except (InputError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run


def _sentence(message: Warning | str, *_source: Any, **_line: Any) -> str:
    return f"warning: {message}\n"  # without the line of code


def checked_path(path: Any) -> Path:
    """`path` as a Path. Raises InputError where it is none, or has parts no file can be called."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise InputError(f"{path!r} is no path: expected the name of a file or folder.")
    lengths = [len(os.fsencode(part)) for part in Path(path).parts]
    if max(lengths, default=0) > 255 or sum(lengths) > 3000:
        raise InputError(f"{path} has a part of more than 255 bytes: give a shorter path.")
    return Path(path)


def _seen(path: Path, look: Callable[[Path], Result]) -> Result:
    """`look(path)`. Raises InputError where that is not allowed."""
    try:
        return look(path)
    except PermissionError as error:
        reason = error.strerror
        raise InputError(f"{path} cannot be read ({reason}): change its rights.") from None


def is_file(path: Any) -> bool:
    """Whether `path` is a file. Raises InputError as `checked_path`, or if it may not be seen."""
    return _seen(checked_path(path), Path.is_file)


def paths_in(folder: Path, pattern: str = "*") -> list[Path]:
    """What `folder` holds, by name. Raises InputError where that may not be seen."""
    return _seen(checked_path(folder), lambda path: sorted(path.glob(pattern)))


def write_whole(path: str | os.PathLike, data: bytes) -> Path:
    """Write `data` so that `path` never holds half of it: under a temporary name, then renamed.

    Raises:
        InputError: the folder is missing or read-only, or the disk is full.
    """
    path = checked_path(path)
    try:
        write_and_rename(path, data)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path} could not be written ({reason}): "
            "check the folder and the free space, then repeat."
        ) from None
    return path


def write_json(path: str | os.PathLike, values: Any) -> Path:
    """Write `values` as indented UTF-8 JSON; whole or not at all, as `write_whole`."""
    return write_whole(path, (json.dumps(values, indent=1) + "\n").encode())


def read_text(path: str | os.PathLike, what: str = "a text file") -> str:
    """The contents of a text file: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        InputError: it is missing or in another encoding; `what` says what was expected.
    """
    try:
        data = checked_path(path).read_bytes()
        marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if marked else "utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path} is not {what} ({error.strerror}): check the path, or restore it."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not {what} in UTF-8: save it again as UTF-8.") from None


def read_json(path: str | os.PathLike, what: str = "a JSON file") -> Any:
    """The contents of a JSON file.

    Raises:
        InputError: it is missing or not valid JSON; `what` says what was expected.
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not {what} ({error}): check the path, or restore it."
        ) from None


def same_settings(path: str | os.PathLike, settings: dict, remedy: str) -> bool:
    """Whether the JSON file `path` records `settings`; False where there is no such file.

    Raises:
        InputError: it records other settings; the message lists them and ends with `remedy`.
    """
    if not is_file(path):
        return False
    known = read_json(path, "a settings file")
    if not isinstance(known, dict):
        raise InputError(f"{path} is not a settings file: check the path, or restore it.")
    wanted = json.loads(json.dumps(settings))
    differing = [key for key, value in wanted.items() if known.get(key) != value]
    if differing:
        changes = ", ".join(f"{key} {known.get(key)!r}, now {wanted[key]!r}" for key in differing)
        raise InputError(f"{path} was made with other settings ({changes}): {remedy}.")
    return True


def file_inside(folder: Path, name: str, listing: str | os.PathLike) -> Path:
    """The file `name` of `folder`, which `listing` (a manifest, a catalogue) mentions.

    Raises:
        InputError: it is outside the folder, missing or empty.
    """
    if not isinstance(name, str):
        raise InputError(f"{listing} names {name!r}: expected the name of a file in its folder.")
    root = folder.resolve()
    path = checked_path(os.path.normpath(root / (name or "..")))
    if not (path.is_relative_to(root) and path.resolve().is_relative_to(root)):
        raise InputError(
            f"{listing} names {name!r}, which is outside its folder: only files inside are read."
        )
    if not is_file(path) or path.stat().st_size == 0:
        raise InputError(
            f"{path} is missing or empty, but {Path(listing).name} names it: "
            "restore it, or remove the entry."
        )
    return path


def make_folder(folder: Path) -> Path:
    """Make `folder` and its parents. Raises InputError when that is impossible."""
    try:
        checked_path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({error.strerror}): choose another folder."
        ) from None
    return folder


def writable_folder(path: str | os.PathLike) -> Path:
    """Make the folder `path` and try to write into it: commands call it before they start work.

    Raises:
        InputError: it cannot be made, is read-only, or the disk is full.
    """
    folder = make_folder(checked_path(path))
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(b"0")
    except OSError as error:
        raise InputError(
            f"no file can be written in {folder} ({error.strerror}): choose another folder."
        ) from None
    return folder


def output_file(path: str) -> Path:
    """`type` of an argparse option for a file to be written: refused at once, not after the work.

    Raises:
        argparse.ArgumentTypeError: nothing can be written there, or it is a folder.
    """
    try:
        writable_folder(checked_path(path).parent)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if Path(path).is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: give the name of a file.")
    return Path(path)
