"""The state of a training on disk, which is whole at every moment, and of random generators."""

import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eva_helpers.files import InputError

STATE = "state"
PREVIOUS = "state.previous"
SUMS = "sha256.json"
Contents = dict[str, bytes]  # file name -> its data
RandomState = dict[str, Any]


def write_state(folder: Path, contents: Contents) -> None:
    """Make `contents` the files of `folder`/state; the state before becomes `state.previous`.

    They are written to a new folder with their SHA-256 sums, flushed to the disk, then renamed.

    Raises:
        InputError: the disk is full or read-only.
    """
    partial, state, previous = (folder / name for name in ("state.partial", STATE, PREVIOUS))
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name, data in (contents | {SUMS: json.dumps(sums, indent=1).encode()}).items():
            _write(partial / name, data)
        _flush(partial)
        if state.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(state, previous)
        os.replace(partial, state)
        _flush(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(
            f"{state} could not be written ({error.strerror}): "
            "free some space, then resume the training."
        ) from None


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Bring the names in a folder to the disk; Windows cannot, and needs it less."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def read_state(folder: Path, say: Callable[[str], None]) -> Contents | None:
    """The newest whole state in `folder`; None if there is none yet.

    A damaged or missing state is reported to `say` and replaced by the one before.

    Raises:
        InputError: neither of the two is whole.
    """
    state, previous = folder / STATE, folder / PREVIOUS
    try:
        return _verified(state)
    except InputError as error:
        problem = str(error)
    if not state.exists() and not previous.exists() and not (folder / "history.jsonl").exists():
        return None
    try:
        contents = _verified(previous)
    except InputError as error:
        raise InputError(
            f"{folder} cannot be resumed ({problem}; {error}): "
            "restore these files, or train again in another folder."
        ) from None
    say(f"{problem}: resuming from {previous} instead")
    if state.exists():
        shutil.rmtree(state)
    os.replace(previous, state)
    return contents


def _verified(state: Path) -> Contents:
    """The files of a state. Raises InputError if one is not as it was written."""
    try:
        sums = json.loads((state / SUMS).read_bytes())
        contents = {name: (state / name).read_bytes() for name in sums}
    except FileNotFoundError as error:
        older = " (version 0.2 and older wrote none)" if state.exists() else ""
        raise InputError(f"{error.filename} is missing{older}") from None
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(f"{state / SUMS} is damaged") from None
    for name, data in contents.items():
        if hashlib.sha256(data).hexdigest() != sums[name]:
            raise InputError(f"{state / name} is damaged")
    if not contents:
        raise InputError(f"{state / SUMS} is damaged")
    return contents


def random_state(loader: Any) -> RandomState:
    """The state of all random generators, and of those of a loader."""
    numpy: Any = np.random.get_state(legacy=False)
    numpy["state"]["key"] = numpy["state"]["key"].tolist()
    return {
        "python": random.getstate(),
        "numpy": numpy,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "loader": [generator.get_state() for generator in _generators(loader)],
    }


def packed(parts: dict[str, Any], loader: Any, begun: RandomState | None = None) -> bytes:
    """The states of `parts` (networks, optimiser ...), of a loader and of all random generators.

    `begun` is the `random_state` at the beginning of the epoch, where one is being trained.
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    states |= {"random": random_state(loader), "begun": begun}
    file = io.BytesIO()
    torch.save(states, file)
    return file.getvalue()


def unpack(data: bytes, parts: dict[str, Any], loader: Any) -> RandomState | None:
    """The inverse of `packed`; returns `begun`."""
    states = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    for name in parts.keys() & states.keys():
        parts[name].load_state_dict(states[name])
    set_random_state(states["random"], loader)
    return states.get("begun")


def set_random_state(state: RandomState, loader: Any) -> None:
    """The inverse of `random_state`; generators of GPUs are set where there are as many GPUs."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    for generator, value in zip(_generators(loader), state["loader"], strict=False):
        generator.set_state(value)


def _generators(loader: Any) -> list[torch.Generator]:
    """Those of a DataLoader and its sampler, of which the order of samples may depend."""
    samplers = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    holders = (loader, *samplers, getattr(samplers[1], "sampler", None))
    found = [getattr(each, "generator", None) for each in holders]
    return [each for each in found if isinstance(each, torch.Generator)]
