"""A command that is killed, or finds the disk full; and what a second call makes of the rest.

The command runs in a forked child (Unix, after the imports, in one thread). A child counts the
file operations in its folder: opening for writing, each write, fsync, renaming, removing, making
folders. The fatal one is not carried out; of a write, a half is. So a kill before each operation,
and one before the next, leave all that a kill can find between two operations.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import numpy as np

MOMENT, OPERATION, FULL = KINDS = ("moments", "file operations", "full disk")
LIMIT = 120  # seconds of a command
TRIES = 30  # to hit it before it ends
PATHS = {"open": 0, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}  # audit events
FOLDERS = {"os.rename": 3, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1}  # their descriptors
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
GROWING = ("open", "os.rename", "os.mkdir", "write", "fsync", "posix_fallocate")


@dataclass(frozen=True)
class Case:
    """A command on trial.

    Attributes:
        name: what the report calls it.
        run: runs it in a folder; returns its exit status.
        begin: fills the new folder with what the user has there before.
        comparable: of a file's name and contents what has to be equal in the end.
        status: with which it ends if it is left alone.
    """

    name: str
    run: Callable[[Path], int]
    begin: Callable[[Path], object] = lambda folder: None
    comparable: Callable[[str, bytes], object] = lambda name, data: data
    status: int = 0


@dataclass
class Trial:
    """How a killed command and its repetition ended; `lost` and `problems` are empty if well."""

    kind: str
    problems: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of work done twice


class Faults:
    """Counts file operations in `folder`, of this process and its children.

    The one with number `at` (0: none) is fatal: it kills all of them, or, with `full`, it and
    all later ones that need space find the disk full.
    """

    def __init__(self, folder: Path, at: int = 0, full: bool = False) -> None:
        self.root = str(folder)
        self.at = at
        self.full = full
        self.count = RawValue("i")
        self._open = io.open

    def install(self) -> None:
        """From now on until this process ends."""
        sys.addaudithook(self._audited)
        builtins.open = io.open = self._opened  # type: ignore[assignment]
        for name in ("fsync", "posix_fallocate"):
            if hasattr(os, name):
                setattr(os, name, self._counted(name, getattr(os, name)))

    def operation(self, name: str, half: Callable[[], object] = lambda: None) -> None:
        """Count one; `half` does half of it."""
        self.count.value += 1
        number = self.count.value
        if not self.at or number < self.at:
            return
        if not self.full:
            half()
            os.killpg(os.getpgrp(), signal.SIGKILL)
        elif name in GROWING:
            half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _audited(self, event: str, arguments: tuple) -> None:
        if event not in PATHS or (event == "open" and not arguments[2] & WRITING):
            return
        folder = arguments[FOLDERS[event]] if event in FOLDERS else -1
        if self._inside(arguments[PATHS[event]], folder):
            self.operation(event)

    def _inside(self, path: Any, folder: int = -1) -> bool:
        if isinstance(path, int):
            return False
        start = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else ""
        return os.path.join(start, os.fsdecode(path)).startswith(self.root)  # noqa: PTH118

    def _opened(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        handle = self._open(file, mode, *arguments, **options)
        return Written(handle, self) if {*mode} & {*"wax+"} and self._inside(file) else handle

    def _counted(self, name: str, function: Callable) -> Callable:
        def call(*arguments: Any) -> Any:
            self.operation(name)
            return function(*arguments)

        return call


class Written:
    """A file that is written to."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        """Write; a kill leaves a half."""

        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.operation("write", half)
        return self._file.write(data)


def forked(work: Callable[[], int], log: Path) -> int:
    """Start `work` in a child with a process group of its own; what it says goes to `log`."""
    number = os.fork()
    if number:
        with suppress(OSError):  # the child does so, too: whoever comes first
            os.setpgid(number, number)
        return number
    status = 70
    try:
        os.setpgid(0, 0)
        signal.alarm(LIMIT)
        sys.stdout = sys.stderr = log.open("w", encoding="utf-8")
        for descriptor in (1, 2):
            os.dup2(sys.stderr.fileno(), descriptor)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def contents(folder: Path) -> dict[str, bytes]:
    """Files and folders in `folder`, by name; those of folders end with a slash."""
    found = {path: path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))}
    files = {name: path.read_bytes() for path, name in found.items() if path.is_file()}
    return files | {f"{name}/": b"" for path, name in found.items() if path.is_dir()}


class Trials:
    """Trials of a case in the folder `home`, beside what the command does if it is left alone."""

    def __init__(self, case: Case, home: Path, seed: int) -> None:
        self.case = case
        self.home = home
        self.log = home / "log.txt"
        self.folder = home / "trial"
        self.rng = np.random.default_rng(seed)
        self.before = self._begin()
        faults = Faults(self.folder)
        status, _ = self._run(faults)
        if status != case.status:
            raise RuntimeError(f"{case.name} ends with {status}: {self._said()}")
        self.operations = faults.count.value
        self.whole = self._comparable(contents(self.folder))
        self._begin()
        self.seconds = self._run(Faults(self.folder))[1]
        self.places = {kind: self._numbers() for kind in (OPERATION, FULL)}

    def _numbers(self) -> list[int]:
        """All operations, in random order."""
        return (1 + self.rng.permutation(self.operations)).tolist()

    def _begin(self) -> dict[str, bytes]:
        """Make the folder anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.case.begin(self.folder)
        return contents(self.folder)

    def _run(self, faults: Faults, seconds: float | None = None) -> tuple[int, float]:
        """Run the command, killed after `seconds`: its exit status, and how long it took."""

        def work() -> int:
            faults.install()
            return self.case.run(self.folder)

        start = time.perf_counter()
        number = forked(work, self.log)
        if seconds is not None:
            time.sleep(seconds)
            os.killpg(number, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        with suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)  # its children
        return status, time.perf_counter() - start

    def trial(self, kind: str) -> Trial:
        """One trial, at a place that is drawn."""
        for _ in range(TRIES):
            found = self._attempt(kind)
            if found:
                return found
        raise RuntimeError(f"{self.case.name} always ends before it is hit: {kind}")

    def _attempt(self, kind: str) -> Trial | None:
        """None where the command ended before."""
        self._begin()
        if kind == MOMENT:
            place = self.rng.uniform(0, self.seconds)
            status, first = self._run(Faults(self.folder), place)
        else:
            self.places[kind] = self.places[kind] or self._numbers()
            place = self.places[kind].pop()
            status, first = self._run(Faults(self.folder, place, kind == FULL))
        middle = contents(self.folder)
        well = status == self.case.status and "error: " not in self._said()
        if well and (kind != FULL or self._comparable(middle) == self.whole):
            return None
        trial = Trial(kind)
        if kind == FULL and not (status == 2 and is_sentence(self._said())):
            trial.problems.append(f"a full disk ends it with {status}: {self._last()}")
        status, second = self._run(Faults(self.folder))
        if status != self.case.status:
            trial.problems.append(f"the second call ends with {status}: {self._last()}")
        trial.seconds = max(0.0, first + second - self.seconds)
        self._compare(trial, middle, contents(self.folder))
        where = f"{place:.3f}" if kind == MOMENT else f"{place} of {self.operations}"
        trial.problems = [f"{self.case.name}, {kind} {where}: {each}" for each in trial.problems]
        return trial

    def _compare(self, trial: Trial, middle: dict[str, bytes], end: dict[str, bytes]) -> None:
        """Compare what is there after the kill, and in the end, with what ought to be."""
        theirs = self._comparable(self.before)
        kept = {name: data for name, data in theirs.items() if self.whole.get(name) == data}
        then, now = self._comparable(middle), self._comparable(end)
        trial.lost += [name for name, data in kept.items() if then.get(name) != data]
        finished = {name for name, data in then.items() if self.whole.get(name) == data}
        trial.lost += [name for name in finished | {*kept} if now.get(name) != self.whole[name]]
        names = sorted({*now} | {*self.whole})
        others = [name for name in names if now.get(name) != self.whole.get(name)]
        if others:
            trial.problems.append(f"{', '.join(others)}: not as without a kill")
        if trial.lost:
            trial.problems.append(f"{', '.join(trial.lost)}: lost")

    def _comparable(self, found: dict[str, bytes]) -> dict[str, object]:
        return {name: self.case.comparable(name, data) for name, data in found.items()}

    def _last(self) -> str:
        return (self._said().splitlines() or [""])[-1]

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def is_sentence(said: str) -> bool:
    """Whether a command's output ends with one error, which is for people."""
    return said.count("error: ") == 1 and not {"Traceback", "Exception"} & {*said.split()}
