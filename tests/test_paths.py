"""Folders of runs and their records; files that are read, written and found unwritable."""

import argparse
import ast
import io
import json
import re
import sys
import types
from pathlib import Path

import pytest

from eva_helpers import files, paths
from eva_helpers.files import InputError


def test_runs_never_share_a_folder(tmp_path):
    first = paths.new_run("x", tmp_path)
    second = paths.new_run("x", tmp_path)
    assert first != second and first.is_dir() and second.is_dir()


def test_metrics_of_other_notebooks_stay(tmp_path):
    paths.record_metrics(tmp_path, "a", {"x": 1})
    path = paths.record_metrics(tmp_path, "b", {"y": 2.0})
    assert json.loads(path.read_text()) == {"a": {"x": 1}, "b": {"y": 2.0}}


def test_a_run_folder_on_google_drive_is_mounted_first(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DRIVE", tmp_path / "drive")
    with pytest.raises(InputError, match="only Colab"):
        paths.run_folder(tmp_path / "drive" / "runs")
    colab = types.ModuleType("google.colab")
    colab.drive = types.SimpleNamespace(mount=lambda place: Path(place).mkdir())
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    assert paths.run_folder(tmp_path / "drive" / "runs").is_dir()


def test_a_run_lies_where_its_folder_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths.new_run("x", "my runs") == tmp_path / "my runs" / "x"
    assert paths.new_run("x", "~/runs") == tmp_path / "home" / "runs" / "x"
    assert paths.run_folder("by hand") == tmp_path / "by hand"
    assert paths.typed_path("~no-such-user/x") == tmp_path / "~no-such-user" / "x"


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "..", "x" * 300])
def test_a_run_is_one_folder(name, tmp_path):
    with pytest.raises(InputError, match="name"):
        paths.new_run(name, tmp_path / "runs")
    assert [path.name for path in tmp_path.iterdir()] in ([], ["runs"])


UNWRITABLE = ["file", "file/sub"] + (["/proc"] if sys.platform == "linux" else [])


@pytest.mark.parametrize("name", UNWRITABLE)
def test_a_folder_that_cannot_be_written_is_found_out_first(name, tmp_path):
    (tmp_path / "file").touch()
    for use in (files.writable_folder, paths.run_folder, lambda path: paths.new_run("x", path)):
        with pytest.raises(InputError, match=r"choose another folder\.$"):
            use(tmp_path / name)
    with pytest.raises(argparse.ArgumentTypeError, match="choose another folder"):
        files.output_file(str(tmp_path / name / "x.json"))


def test_a_writable_folder_is_made_and_stays_empty(tmp_path):
    assert list(files.writable_folder(tmp_path / "a" / "b").iterdir()) == []
    path = tmp_path / "c" / "x.json"
    assert files.output_file(str(path)) == path and path.parent.is_dir()
    with pytest.raises(argparse.ArgumentTypeError, match="is a folder"):
        files.output_file(str(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_other_programs_is_read(encoding, tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"name": "\N{WHITE STAR}"}', encoding=encoding)
    assert files.read_json(path) == {"name": "\N{WHITE STAR}"}


@pytest.mark.parametrize(
    "data, reason",
    [(b"\xff{}", "UTF-8"), (b"{", "name"), (b"[" * 100_000, "recursion"), (b"9" * 5_000, "digits")],
)
def test_text_that_cannot_be_read_is_refused(data, reason, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"x\.json is not a JSON file.*{reason}"):
        files.read_json(path)
    with pytest.raises(InputError, match="No such file"):
        files.read_text(tmp_path / "none.txt")


def test_what_a_terminal_cannot_show_is_printed_as_escapes(monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii", write_through=True))
    assert files.command_line(lambda _: print("\N{WHITE STAR} \udcfc"))([]) == 0
    assert printed.getvalue() == b"\\u2606 \\udcfc\n"


def sources():
    """The project's Python code: modules, scripts and notebooks."""
    for folder in ("eva_helpers", "notebooks", "experiments", "benchmarks", "tools"):
        for path in sorted((paths.ROOT / folder).rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")
    for path in sorted((paths.ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path, "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def without_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the locale's encoding."""
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if isinstance(call.func, ast.Attribute):
        return call.func.attr == "write_text" or (call.func.attr == "read_text" and not call.args)
    modes = [*call.args[1:2], *(key.value for key in call.keywords if key.arg == "mode")]
    binary = any("b" in str(getattr(mode, "value", "")) for mode in modes)
    return isinstance(call.func, ast.Name) and call.func.id == "open" and not binary


def test_every_text_file_is_read_and_written_as_utf_8():
    for path, code in sources():
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
        found = [call.lineno for call in calls if without_encoding(call)]
        assert not found, f"{path.name} opens text without an encoding in line {found}"
        paths_opened = re.findall(r"(?:[Pp]ath|file)\.open\((?!.*(?:encoding|\"[rwa]?b)).*", code)
        assert not paths_opened, f"{path.name}: {paths_opened}"
