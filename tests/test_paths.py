"""Folders of runs and their records."""

import json
import sys
import types
from pathlib import Path

import pytest

from eva_helpers import paths
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
