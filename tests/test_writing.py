"""Writing composites: what is written, and that a kill or a full disk never leaves a wrong file."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from eva_helpers import paths
from eva_helpers.data import CompositeDataset, to_tensors
from eva_helpers.files import InputError
from eva_helpers.storage import cli
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.writing import in_order, write_composites


@pytest.fixture
def composites(tiny):
    return CompositeDataset(tiny, None, None, size=48, positions=2, seed=3)


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_files_hold_the_composites(composites, tmp_path):
    rows = rows_of(write_composites(composites, tmp_path / "out"))
    assert len(rows) == len(composites) == 6 * 6 * 2 * 2
    stored = FolderDataset(tmp_path / "out", size=48)
    for number in (0, 17, 143):
        made = to_tensors(composites.composite(number))
        read = stored[number]
        assert torch.equal((made["mask"] * 255).round(), (read["mask"] * 255).round())
        assert (made["depth"] - read["depth"]).abs().max() < 1e-4
        assert (made["image"] - read["image"]).abs().mean() < 0.03  # JPEG
        scene, cutout, position, flip = composites.where(number)
        row = rows[number]
        ids = (composites.scenes[scene].id, composites.objects[cutout].id)
        assert (row["scene"], row["cutout"]) == ids
        origin = [int(row[key]) for key in ("number", "position", "flip", "item", "seed")]
        assert origin == [number + 1, position, int(flip), number, 3]
        assert row["background"] == f"bg/bg_{scene + 1}.jpg"


def test_full_writes_follow_the_original_projects_numbers(composites, tmp_path):
    """Composite n belongs to background ceil(n / per_background), also without the manifest."""
    write_composites(composites, tmp_path / "out").unlink()
    stored = FolderDataset(tmp_path / "out", size=48, per_background=6 * 2 * 2)
    assert len(stored) == len(composites)
    for number, item in enumerate(stored.items):
        assert item.background.name == f"bg_{composites.where(number)[0] + 1}.jpg"


def test_masks_and_depths_as_jpeg(composites, tmp_path):
    rows = rows_of(write_composites(composites, tmp_path / "out", 5, jpeg=True))
    assert {path.suffix for path in (tmp_path / "out/fg_bg_mask").iterdir()} == {".jpg"}
    made = to_tensors(composites.composite(int(rows[2]["item"])))
    read = FolderDataset(tmp_path / "out", size=48)[2]
    assert (read["depth"] - made["depth"]).abs().mean() < 0.01


def test_processes_do_not_change_the_files(composites, tmp_path):
    state = torch.get_rng_state()
    done = []
    write_composites(composites, tmp_path / "one", 60, workers=1)
    write_composites(composites, tmp_path / "two", 60, workers=2, progress=done.append)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sum(done) == 60
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers change"


def test_shards_write_what_one_call_writes(composites, tmp_path):
    """At the same time: no shard removes what another is writing, and the last call counts."""
    for number in (2, 0, 1):
        assert write_composites(composites, tmp_path / "parts", shard=(number, 3)) is None
        other = tmp_path / "parts/fg_bg/another.jpg.1.partial"
        other.write_bytes(b"half")
    assert not (tmp_path / "parts/manifest.csv").exists()
    done = len(contents(tmp_path / "parts"))
    write_composites(composites, tmp_path / "parts")
    added = len(contents(tmp_path / "parts")) - done
    assert added == 3 - 1, "manifest, metadata and card, instead of the leftover"
    write_composites(composites, tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_the_command_writes_a_part(tiny, tmp_path, capsys, monkeypatch):
    command = ["write", str(tmp_path / "out"), "--catalogue", str(tiny.folder), "--size", "48"]
    command += ["--positions", "1", "--workers", "1"]
    assert cli.main([*command, "--shard", "1/2"]) == 0
    assert "part 1 of 2 is written" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(command) == 0 and not (tmp_path / "out/manifest.csv").exists()
    assert len([*(tmp_path / "out/fg_bg").iterdir()]) == 6 * 6 * 2
    assert cli.main([*command, "--shard", "1/1"]) == 0
    assert len(rows_of(tmp_path / "out/manifest.csv")) == 6 * 6 * 2
    for text in ("0/2", "3/2", "half", "1"):
        with pytest.raises(SystemExit):
            cli.main([*command, "--shard", text])


def test_a_part_is_drawn_from_everything(composites, tmp_path):
    rows = rows_of(write_composites(composites, tmp_path / "out", 40))
    assert len({row["item"] for row in rows}) == 40
    assert len({row["background"] for row in rows}) == len({row["cutout"] for row in rows}) == 6
    assert {row["position"] for row in rows} == {row["flip"] for row in rows} == {"0", "1"}


def test_nothing_of_the_users_is_overwritten(composites, tmp_path):
    for name in ("photo.jpg", "notes.1.partial"):
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="not empty"):
        write_composites(composites, tmp_path, 4)
    assert contents(tmp_path) == before
    with pytest.raises(InputError, match=r"photo\.jpg"):
        write_composites(composites, tmp_path / "photo.jpg", 4)


def test_other_settings_are_refused(composites, tiny, tmp_path):
    write_composites(composites, tmp_path / "out", 4)
    other = CompositeDataset(tiny, None, None, size=48, positions=2, seed=4)
    with pytest.raises(InputError, match="seed 3, now 4"):
        write_composites(other, tmp_path / "out", 4)


@pytest.mark.parametrize(
    "option", [{"variety": 0.5}, {"true_pairs": 0.5}, {"empty": 0.5}, {"placement": "random"}]
)
def test_every_option_that_changes_the_files_is_recorded(composites, tiny, tmp_path, option):
    write_composites(composites, tmp_path / "out", 4)
    other = CompositeDataset(tiny, None, None, size=48, positions=2, seed=3, **option)
    with pytest.raises(InputError, match=f"{next(iter(option))} .*, now"):
        write_composites(other, tmp_path / "out", 4)


@pytest.mark.parametrize("count", [0, -1, 145])
def test_impossible_counts_are_refused(composites, tmp_path, count):
    with pytest.raises(InputError, match="count"):
        write_composites(composites, tmp_path / "out", count)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_broken_file(composites, tmp_path, monkeypatch):
    write_bytes = Path.write_bytes
    written = []

    def until_full(path, data):
        written.append(path)
        if len(written) <= 60:
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(InputError, match="No space left"):
        write_composites(composites, tmp_path / "out", 30)
    assert not list((tmp_path / "out").rglob("*.partial"))
    for path in (tmp_path / "out").rglob("*.*g"):
        Image.open(path).load()
    monkeypatch.undo()
    assert len(rows_of(write_composites(composites, tmp_path / "out", 30))) == 30


def test_a_begun_folder_is_continued(composites, tmp_path):
    """Missing files are written, leftovers removed; also where an older version recorded parts."""
    out = tmp_path / "out"
    write_composites(composites, out, 30)
    whole = contents(out)
    for name in ("manifest.csv", "bg/bg_2.jpg", "fg_bg_mask/fg_bg_mask_3.png", "fg_bg/fg_bg_9.jpg"):
        (out / name).unlink()
    (out / "depthmap/depth_30.png.12.partial").write_bytes(b"half")
    (out / "settings.json.12.partial").write_bytes(b"half")
    (out / ".parts").mkdir()
    (out / ".parts/000000.csv").write_text("1\n")
    write_composites(composites, out, 30)
    assert contents(out) == whole | {".parts/000000.csv": b"1\n"}


def test_a_folder_that_was_killed_at_once_is_continued(composites, tmp_path):
    (tmp_path / "settings.json.12.partial").write_bytes(b"{")
    write_composites(composites, tmp_path, 4)
    assert not list(tmp_path.rglob("*.partial"))


def start(*arguments):
    """A running `eva-helpers dataset` in a process group of its own."""
    command = [sys.executable, "-m", "eva_helpers", "dataset", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=paths.ROOT, start_new_session=True, preexec_fn=heed_interrupts
    )


def heed_interrupts():
    """A test run in the background of a shell ignores SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill_when(process, condition, with_signal=signal.SIGKILL):
    """Kill a running process and its children as soon as `condition()` holds."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "it never came so far"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    os.killpg(process.pid, with_signal)
    process.wait()


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_write_continues_without_a_wrong_file(tiny, tmp_path, with_signal, capfd):
    # Large and many enough to take seconds, so that the signal never comes too late.
    settings = ("--catalogue", tiny.folder, "--size", 160, "--count", 900, "--workers", 2)
    out = tmp_path / "out"
    process = start("write", out, *settings)
    kill_when(process, lambda: len(list(out.glob("depthmap/*.png"))) >= 30, with_signal)
    if with_signal == signal.SIGINT:
        assert process.returncode == 130
        errors = capfd.readouterr().err
        assert "the same command continues" in errors and "Traceback" not in errors
    assert not (out / "manifest.csv").exists()
    for path in [*out.rglob("*.jpg"), *out.rglob("*.png")]:
        Image.open(path).load()
    assert start("write", out, *settings).wait() == 0
    assert start("write", tmp_path / "whole", *settings).wait() == 0
    assert contents(out) == contents(tmp_path / "whole")


def killed_in_a_process(task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_was_killed_is_a_sentence():
    with pytest.raises(InputError, match=r"was killed, .* fewer --workers than 2"):
        list(in_order(killed_in_a_process, range(60), 2))


@pytest.mark.parametrize(
    "options, mentioned", [(["--catalogue", "."], "catalogue.json"), (["--size", "8"], "size is 8")]
)
def test_the_command_line_says_what_is_wrong(tmp_path, options, mentioned):
    command = [sys.executable, "-m", "eva_helpers", "dataset", "write", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=paths.ROOT)
    assert done.returncode == 2 and mentioned in done.stderr and "Traceback" not in done.stderr
