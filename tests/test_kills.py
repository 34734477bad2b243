"""A command that is killed, or finds the disk full, goes on where it was; and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.killing import FULL, KINDS, MOMENT, OPERATION, Case, Trials, is_sentence
from eva_helpers import partials
from eva_helpers.files import command_line, read_json, write_whole
from eva_helpers.partials import remove_partials
from eva_helpers.paths import ROOT

KILLS = 20


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """KILLS kills of all commands, in a process that can fork: what it said, and its report."""
    path = tmp_path_factory.mktemp("kills") / "kills.json"
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", str(KILLS), "--json", str(path)]
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=one, capture_output=True, text=True, check=False)
    assert path.exists(), done.stderr
    return done, read_json(path)


def test_every_killed_command_ends_as_one_that_was_not(killed):
    done, report = killed
    assert done.returncode == 0 and not report["problems"], done.stderr
    rows = report["commands"].values()
    assert sum(row["kills"] for row in rows) == KILLS
    assert all(row["resumed right"] == row["kills"] for row in rows)
    assert not any(row["lost anything"] for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_end_is_tried(killed, kind):
    assert sum(row[kind] for row in killed[1]["commands"].values()) >= 3


def whole(folder):
    """What a command ought to do."""
    write_whole(folder / "made.bin", b"made" * 100)
    return 0


def early(folder):
    """The file has its name before it is whole, and is not made again."""
    if not (folder / "made.bin").exists():
        (folder / "made.bin").write_bytes(b"made" * 100)
    return 0


def untidy(folder):
    """Whatever was left by a kill stays."""
    path = folder / f"made.bin.{os.getpid()}.partial"
    path.write_bytes(b"made" * 100)
    path.rename(folder / "made.bin")
    return 0


def overwriting(folder):
    """The user's file is replaced, and written again from memory."""
    notes = folder / "notes.txt"
    text = notes.read_text(encoding="utf-8") or "gone"
    notes.write_text(text, encoding="utf-8")
    return 0


def notes(folder):
    (folder / "notes.txt").write_text("mine " * 20, encoding="utf-8")


def found(command, kind, folder):
    """The problems and losses of trials at all file operations of a command."""
    trials = Trials(Case("it", command, notes), folder, 0)
    ends = [trials.trial(kind) for _ in range(trials.operations)]
    return {problem for end in ends for problem in end.problems}, [
        name for e in ends for name in e.lost
    ]


@pytest.mark.parametrize(
    "command, problem",
    [(early, "made.bin: not as"), (untidy, ".partial: not as"), (overwriting, "notes.txt: lost")],
)
def test_what_a_kill_spoils_is_found(tmp_path, command, problem):
    problems, lost = found(command, OPERATION, tmp_path)
    assert any(problem in each for each in problems)
    assert bool(lost) == (command is overwriting)


def test_a_traceback_on_a_full_disk_is_found(tmp_path):
    problems, _ = found(early, FULL, tmp_path)
    assert any("a full disk ends it with 70: OSError" in each for each in problems)
    polite = command_line(lambda arguments: whole(Path(arguments[0])))
    assert found(lambda folder: polite([str(folder)]), FULL, tmp_path) == (set(), [])


def test_a_command_is_killed_at_a_moment(tmp_path):
    def slow(folder):
        while not (folder / "made.bin").exists():
            for number in range(200):
                write_whole(folder / f"{number}.bin", b"made")
            whole(folder)
        remove_partials(folder, "*.bin")
        return 0

    end = Trials(Case("it", slow, notes), tmp_path, 0).trial(MOMENT)
    assert end.kind == MOMENT and not end.problems and end.seconds >= 0


def test_a_sentence_is_one_and_for_people():
    assert is_sentence("10 %\rerror: the disk is full: free some space.\n")
    assert not is_sentence("Traceback (most recent call last):\nOSError\nerror: it")
    assert not is_sentence("error: one\nerror: two") and not is_sentence("fine")


def test_only_leftovers_are_removed(tmp_path):
    left = ["a.json.12.partial", "b.png.7.partial"]
    kept = ["a.json", "a.json.partial", "c.tar.gz.partial", "d.txt.5.partial"]
    for name in left + kept:
        (tmp_path / name).touch()
    remove_partials(tmp_path, "a.json", "*.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    remove_partials(tmp_path / "nothing", "*")


@pytest.mark.parametrize("times, written", [(1, True), (3, True), (4, False)])
def test_a_file_that_another_process_tidied_up_is_written_again(
    tmp_path, monkeypatch, times, written
):
    replace = os.replace
    calls = []

    def tidied(source, target):
        calls.append(source)
        if len(calls) <= times:
            remove_partials(tmp_path, "*")
        replace(source, target)

    monkeypatch.setattr(partials.os, "replace", tidied)
    if written:
        assert write_whole(tmp_path / "a.json", b"{}").read_bytes() == b"{}"
    else:
        with pytest.raises(ValueError, match=r"a\.json could not be written"):
            write_whole(tmp_path / "a.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] * written
