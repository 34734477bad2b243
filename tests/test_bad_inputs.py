"""Every input of the table `bad_inputs.py` is refused in one sentence; none ends in a traceback."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import bad_inputs
import fuzz_pictures
import numpy as np
import pytest
import run as runner
from conftest import picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from eva_helpers import __main__ as command
from eva_helpers import plots
from eva_helpers.catalogue import load_catalogue, photos_of_folder
from eva_helpers.files import InputError, read_json, writable_folder, write_json
from eva_helpers.images import open_picture, read_mask, write_png
from eva_helpers.model import ModelConfig, load_weights
from eva_helpers.predict.predictor import output_files
from eva_helpers.storage import FolderDataset, PackedDataset, pack
from eva_helpers.storage.manifest import read_manifest
from eva_helpers.training import TrainingConfig
from eva_helpers.tuning.bank import Bank
from eva_helpers.tuning.weights_json import read_weights

LONGEST = 1200  # characters of a sentence, names of 300 characters included
NOBODY = 65534
READERS = {
    "picture": open_picture, "mask": read_mask, "weights": load_weights, "bank": Bank.load,
    "weighting": read_weights, "manifest": read_manifest, "JSON": read_json,
}  # fmt: skip


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> bad_inputs.Kit:
    return bad_inputs.Kit(tmp_path_factory.mktemp("kit"))


def is_sentence(text: str) -> bool:
    return "\n" not in text and text.endswith(".") and len(text) < LONGEST


@pytest.mark.parametrize("name", bad_inputs.CASES)
def test_it_is_refused_in_a_sentence(name, kit):
    with pytest.raises(InputError) as caught:
        bad_inputs.CASES[name](kit)
    assert is_sentence(str(caught.value)), caught.value


@pytest.mark.parametrize("number", range(len(bad_inputs.COMMANDS)))
def test_the_command_line_refuses_it(number, kit, capsys):
    arguments = bad_inputs.filled(bad_inputs.COMMANDS[number], kit)
    try:
        status = command.main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    errors = capsys.readouterr().err
    assert status == 2, arguments
    assert sum("error:" in line for line in errors.splitlines()) == 1, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "a\0b", 300 * "n"])
def test_a_run_stays_in_its_folder(name, tmp_path, capsys):
    options = ["--profile", "smoke", "--only", "03", "--out", str(tmp_path / "runs")]
    assert runner.main([*options, "--name", name]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith("error:")
    assert not [path for path in tmp_path.rglob("*") if path != tmp_path / "runs"]


@contextlib.contextmanager
def without_rights(path: Path):
    """Nobody may read or write `path`; root does not even see the folder it is in."""
    before = path.stat().st_mode
    path.chmod(0)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(NOBODY)
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(before)


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize(
    "entry", [*READERS, "catalogue", "composites", "pack", "photos", "out", "file"]
)
def test_what_may_not_be_read_or_written_is_refused(entry, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "x").write_bytes(b"x")
    entries = {name: lambda read=read: read(locked / "x") for name, read in READERS.items()}
    entries |= {
        "catalogue": lambda: load_catalogue(locked), "composites": lambda: FolderDataset(locked),
        "pack": lambda: PackedDataset(locked), "photos": lambda: photos_of_folder(locked),
        "out": lambda: writable_folder(locked / "out"), "file": lambda: write_json(locked / "y", 1),
    }  # fmt: skip
    with without_rights(locked), pytest.raises(InputError) as caught:
        entries[entry]()
    assert is_sentence(str(caught.value)), caught.value


def test_nothing_is_written_through_a_link(tmp_path, kit):
    """A link that was there before is refused, or replaced; its target stays as it was."""
    target = tmp_path / "target"
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "panel.png").symlink_to(target)
    with pytest.raises(InputError, match=r"panel\.png exists"):
        output_files(folder)
    assert not target.exists()
    target.write_text("precious")
    names = (f"a.json.{os.getpid()}.partial", "a.json", "m.png", f"m.png.{os.getpid()}.partial")
    for name in (*names, "figure.png"):
        (folder / name).symlink_to(target)
    write_json(folder / "a.json", {"a": 1})
    write_png(folder / "m.png", np.zeros((8, 8), np.uint8))
    plots.save(Figure(), folder, "figure")
    assert target.read_text() == "precious" and not (folder / "a.json").is_symlink()


def test_no_array_is_written_through_a_link(tmp_path, kit):
    composites = FolderDataset(kit.composites, size=32)

    def stop(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(composites, tmp_path / "pack", progress=stop)
    array = tmp_path / "pack/image.npy"
    moved = array.rename(tmp_path / "elsewhere.npy")
    array.symlink_to(moved)
    before = moved.read_bytes()
    record = json.loads((tmp_path / "pack/progress.json").read_text())
    with contextlib.suppress(InputError):
        pack(composites, tmp_path / "pack")
    assert moved.read_bytes() == before and record


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
def test_what_promises_much_takes_little_memory(kit):
    """Networks, pictures, arrays that would need gigabytes are refused with one to spare."""
    code = "import sys, pathlib, bad_inputs; bad_inputs.in_little_memory(pathlib.Path(sys.argv[1]))"
    folders = [Path(bad_inputs.__file__).parent, *map(Path, sys.path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(kit.folder / "memory")]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") == len(bad_inputs.GREEDY), done.stdout


WORDS = st.sampled_from([
    "name", "z_near", "depth_encoding", "kind", "log", "inverse", "near", "step", "scenes", "id",
    "cutouts", "scene", "object", "split", "train", "image", "depth", "focal", "contact", "x.png",
    "widths", "encoder", "small", "MASK_WEIGHT", "format", "size", "count", "epochs", "lr", "seed",
])  # fmt: skip
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
ANY_JSON = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(WORDS | st.text(), inner, max_size=9)
    ),
    max_leaves=12,
)
MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def refused_or_valid(use) -> None:
    """Whatever `use` raises is an InputError of one sentence."""
    try:
        use()
    except InputError as error:
        assert is_sentence(str(error)), error


@MANY
@given(values=ANY_JSON)
def test_any_json_is_valid_or_refused(values, kit):
    text = json.dumps(values)
    at = kit.folder / "any.json"
    at.write_text(text)
    refused_or_valid(lambda: read_weights(at))
    refused_or_valid(lambda: ModelConfig.from_dict(values))
    for path, use in (
        (kit.catalogue / "catalogue.json", lambda: load_catalogue(kit.catalogue)),
        (kit.pack / "pack.json", lambda: bad_inputs.use_pack(kit)),
    ):
        refused_or_valid(lambda path=path, use=use: kit.with_text(path, text, use))


@MANY
@given(place=st.sampled_from([*bad_inputs.CATALOGUE]), value=ANY_JSON)
def test_any_value_in_a_catalogue_is_valid_or_refused(place, value, kit):
    refused_or_valid(lambda: bad_inputs.in_catalogue(place, value, kit))


@MANY
@given(place=st.sampled_from([*bad_inputs.NETWORK]), value=ANY_JSON)
def test_any_configuration_is_valid_or_refused(place, value, kit):
    refused_or_valid(lambda: bad_inputs.in_network(place, value, kit))


@MANY
@given(values=st.dictionaries(st.sampled_from([*vars(TrainingConfig())]), PLAIN))
def test_any_settings_of_a_training_are_valid_or_refused(values):
    refused_or_valid(lambda: TrainingConfig(**values))


@MANY
@given(data=st.binary(max_size=300))
def test_any_bytes_are_valid_or_refused(data, kit):
    path = kit.folder / "any.bin"
    path.write_bytes(data)
    for read in READERS.values():
        refused_or_valid(lambda read=read: read(path))


@MANY
@given(rows=st.lists(st.lists(WORDS | st.text(max_size=300), max_size=6), max_size=4))
def test_any_table_is_a_manifest_or_refused(rows, kit):
    path = kit.composites / "any.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([bad_inputs.HEADER.strip().split(","), *rows])
    refused_or_valid(lambda: read_manifest(path))


def test_damaged_pictures_are_read_or_refused(tmp_path):
    """A few seconds of `make fuzz`."""
    tried = fuzz_pictures.fuzz(tmp_path, seconds=4, seed=0)
    assert sum(tried.values()) > 100 and tried["refused"] and tried["read"]


def test_the_fuzzer_notices_what_is_no_sentence(tmp_path, monkeypatch):
    def crash(path, at_least=0):
        raise IndexError("list index out of range")

    monkeypatch.setattr(fuzz_pictures, "open_picture", crash)
    with pytest.raises(IndexError):
        fuzz_pictures.fuzz(tmp_path, seconds=1, seed=0)
    assert next(tmp_path.glob("input*")).stat().st_size, "the input stays"


def test_a_good_picture_is_still_read(tmp_path):
    for kind in fuzz_pictures.FORMATS:
        path = tmp_path / f"a.{kind.lower()}"
        path.write_bytes(bad_inputs.encoded(kind, np.asarray(picture(1, 64))))
        assert np.asarray(open_picture(path)).shape[:2] == (64, 64), kind
