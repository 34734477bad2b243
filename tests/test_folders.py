"""Composites as files: the source's layout and manifests, writing that survives a kill, packing that notices change."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import smooth
from PIL import Image

from eva_helpers import assets, dataset, folders, packing
from eva_helpers.images import InputError


@pytest.fixture
def source_folder(tmp_path):
    """Ten composites in the source's layout, four to a background; the depth of composite n is n / 16 in the source's polarity."""
    rng = np.random.default_rng(0)
    for name in ("bg", "fg_bg", "fg_bg_mask", "depthmap"):
        (tmp_path / name).mkdir()
    for number in range(1, 4):
        Image.fromarray(smooth(rng, 80)).save(tmp_path / f"bg/bg_{number}.jpg")
    for number in range(1, 11):
        Image.fromarray(smooth(rng, 80)).save(tmp_path / f"fg_bg/fg_bg_{number}.jpg")
        Image.fromarray(np.eye(80, dtype=np.uint8) * 255).save(tmp_path / f"fg_bg_mask/fg_bg_mask_{number}.jpg")
        Image.fromarray(np.full((80, 80), number * 16, np.uint8)).save(tmp_path / f"depthmap/depth_{number}.jpg")
    return tmp_path


def test_folder_rule_and_polarity(source_folder):
    pairs = folders.FolderDataset(source_folder, size=40, per_background=4)
    assert len(pairs) == 10
    assert [pairs.items[i].background.name for i in (3, 4, 9)] == ["bg_1.jpg", "bg_2.jpg", "bg_3.jpg"]
    sample = pairs[9]
    assert sample["image"].shape == (3, 40, 40) and sample["mask"].shape == (1, 40, 40)
    assert sample["depth"].mean().item() == pytest.approx(1 - 160 / 255, abs=0.01)
    as_stored = folders.FolderDataset(source_folder, size=40, per_background=4, near_is_dark=False)[9]["depth"]
    assert as_stored.mean().item() == pytest.approx(160 / 255, abs=0.01)
    assert "inverted" in pairs.polarity


def test_the_sources_own_rule_is_4000():
    assert folders.SOURCE_PER_BACKGROUND == 4000  # 100 cut-outs x 20 positions x 2


def test_folder_split_never_parts_a_background(source_folder):
    pairs = folders.FolderDataset(source_folder, size=40, per_background=4)
    train, held = pairs.split(0.3)
    sides = [{pairs.items[i].background for i in part.indices} for part in (train, held)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert len(train) + len(held) == len(pairs)


@pytest.mark.parametrize("name", ["fg_bg_mask/fg_bg_mask_7.jpg", "depthmap/depth_3.jpg", "bg/bg_2.jpg"])
def test_a_missing_partner_is_named(source_folder, name):
    (source_folder / name).unlink()
    with pytest.raises(InputError, match=name.split("/")[0] + r".*number \d"):
        folders.FolderDataset(source_folder, per_background=4)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="fg_bg"):
        folders.FolderDataset(tmp_path)


def test_a_damaged_file_is_named_not_returned_grey(source_folder):
    path = source_folder / "fg_bg/fg_bg_2.jpg"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"fg_bg_2\.jpg"):
        folders.FolderDataset(source_folder, per_background=4)[1]


# --- manifests


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write_manifest(folder, lines):
    (folder / "manifest.csv").write_text("image,mask,depth,background\n" + "\n".join(",".join(line) for line in lines) + "\n")


LINE = ("fg_bg/fg_bg_1.jpg", "fg_bg_mask/fg_bg_mask_1.jpg", "depthmap/depth_1.jpg", "bg/bg_3.jpg")


def test_a_manifest_ties_any_files(source_folder):
    write_manifest(source_folder, [LINE])
    pairs = folders.FolderDataset(source_folder, size=40)
    assert len(pairs) == 1 and pairs.items[0].background.name == "bg_3.jpg"
    assert pairs[0]["image"].shape == (3, 40, 40)


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/hostname", "bg/../../outside.jpg", ""])
def test_a_manifest_may_not_leave_its_folder(source_folder, name):
    Image.new("RGB", (80, 80)).save(source_folder.parent / "outside.jpg")
    write_manifest(source_folder, [(name, *LINE[1:])])
    with pytest.raises(InputError, match="outside its folder"):
        folders.FolderDataset(source_folder)


def test_a_link_out_of_the_folder_is_refused(source_folder):
    Image.new("RGB", (80, 80)).save(source_folder.parent / "outside.jpg")
    (source_folder / "link.jpg").symlink_to(source_folder.parent / "outside.jpg")
    write_manifest(source_folder, [("link.jpg", *LINE[1:])])
    with pytest.raises(InputError, match="outside its folder"):
        folders.FolderDataset(source_folder)


def test_a_manifest_without_a_column_or_file_is_named(source_folder):
    write_manifest(source_folder, [("gone.jpg", *LINE[1:])])
    with pytest.raises(InputError, match=r"gone\.jpg"):
        folders.FolderDataset(source_folder)
    (source_folder / "manifest.csv").write_text("image,mask,depth\na,b,c\n")
    with pytest.raises(InputError, match="background"):
        folders.FolderDataset(source_folder)


# --- writing


@pytest.fixture
def pairs(tiny):
    return dataset.CompositeDataset(tiny, None, None, size=48, positions=2, seed=3)


def test_what_is_written_is_what_is_made(pairs, tmp_path):
    manifest = folders.write(pairs, tmp_path / "out")
    rows = rows_of(manifest)
    assert len(rows) == len(pairs) == 6 * 6 * 2 * 2
    stored = folders.FolderDataset(tmp_path / "out", size=48)
    for number in (0, 17, 143):
        made, read = dataset.to_tensors(pairs.composite(number)), stored[number]
        assert torch.equal((made["mask"] * 255).round(), (read["mask"] * 255).round())
        assert (made["depth"] - read["depth"]).abs().max() < 1e-4
        assert (made["image"] - read["image"]).abs().mean() < 0.03  # JPEG
        scene, cutout, position, flip = pairs.where(number)
        row = rows[number]
        assert (row["scene"], row["cutout"]) == (pairs.scenes[scene].id, pairs.objects[cutout].id)
        assert [int(row[key]) for key in ("number", "position", "flip", "item", "seed")] == [number + 1, position, int(flip), number, 3]
        assert row["background"] == f"bg/bg_{scene + 1}.jpg"


def test_full_writes_follow_the_sources_rule(pairs, tmp_path):
    """Composite n belongs to background ceil(n / per_background), also without the manifest."""
    folders.write(pairs, tmp_path / "out").unlink()
    stored = folders.FolderDataset(tmp_path / "out", size=48, per_background=6 * 2 * 2)
    assert len(stored) == len(pairs)
    assert all(item.background.name == f"bg_{pairs.where(n)[0] + 1}.jpg" for n, item in enumerate(stored.items))


def test_jpeg_as_the_source(pairs, tmp_path):
    folders.write(pairs, tmp_path / "out", 5, jpeg=True)
    assert {path.suffix for path in (tmp_path / "out/fg_bg_mask").iterdir()} == {".jpg"}
    item = int(rows_of(tmp_path / "out/manifest.csv")[2]["item"])
    read, made = folders.FolderDataset(tmp_path / "out", size=48)[2], dataset.to_tensors(pairs.composite(item))
    assert (read["depth"] - made["depth"]).abs().mean() < 0.01


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_processes_do_not_change_the_files(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "CHUNK", 10)
    folders.write(pairs, tmp_path / "one", 45, workers=1)
    folders.write(pairs, tmp_path / "two", 45, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_part_is_drawn_from_everything(pairs, tmp_path):
    rows = rows_of(folders.write(pairs, tmp_path / "out", 40))
    assert len({row["item"] for row in rows}) == 40
    assert len({row["background"] for row in rows}) == len({row["cutout"] for row in rows}) == 6
    assert {row["position"] for row in rows} == {row["flip"] for row in rows} == {"0", "1"}


def test_nothing_of_the_users_is_touched(pairs, tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        folders.write(pairs, tmp_path, 4)
    assert contents(tmp_path) == {"photo.jpg": b"mine"}


def test_other_settings_are_refused(pairs, tiny, tmp_path):
    folders.write(pairs, tmp_path / "out", 4)
    other = dataset.CompositeDataset(tiny, None, None, size=48, positions=2, seed=4)
    with pytest.raises(InputError, match="another seed"):
        folders.write(other, tmp_path / "out", 4)


@pytest.mark.parametrize("count", [0, -1, 145])
def test_impossible_counts_are_refused(pairs, tmp_path, count):
    with pytest.raises(InputError, match="count"):
        folders.write(pairs, tmp_path / "out", count)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_broken_file(pairs, tmp_path, monkeypatch):
    real, room = folders.Path.write_bytes, [60]

    def write_bytes(path, data):
        room[0] -= 1
        if room[0] < 0:
            real(path, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(folders.Path, "write_bytes", write_bytes)
    with pytest.raises(InputError, match="No space left"):
        folders.write(pairs, tmp_path / "out", 30)
    assert not list((tmp_path / "out").rglob("*.partial"))
    for path in (tmp_path / "out").rglob("*.*g"):
        Image.open(path).load()
    monkeypatch.undo()
    assert len(rows_of(folders.write(pairs, tmp_path / "out", 30))) == 30


def start(*arguments):
    return subprocess.Popen([sys.executable, "-m", "eva_helpers.dataset", *map(str, arguments)], cwd=assets.ROOT, start_new_session=True)


def kill_when(process, folder, pattern, enough):
    """SIGKILL the process and its children as soon as `enough` files match."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None and len(list(folder.glob(pattern))) < enough:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def text_of(path):
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_a_killed_write_resumes_without_a_wrong_file(tiny, tmp_path):
    settings = ("--catalogue", tiny.folder, "--size", 64, "--count", 1400, "--workers", 2)
    kill_when(start("write", tmp_path / "out", *settings), tmp_path / "out", ".parts/*.csv", 2)
    assert not (tmp_path / "out/manifest.csv").exists()
    for path in list((tmp_path / "out").rglob("*.jpg")) + list((tmp_path / "out").rglob("*.png")):
        Image.open(path).load()
    assert start("write", tmp_path / "out", *settings).wait() == 0
    assert start("write", tmp_path / "whole", *settings).wait() == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_command_line_says_what_is_wrong(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "eva_helpers.dataset", "write", str(tmp_path / "out"), "--catalogue", str(tmp_path)],
        capture_output=True, text=True, cwd=assets.ROOT,
    )  # fmt: skip
    assert done.returncode == 2 and "catalogue.json" in done.stderr and "Traceback" not in done.stderr


def test_statistics_of_a_folder(source_folder, capsys):
    assert folders.main(["statistics", str(source_folder), "--per-background", "4", "--size", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "near dark" in lines[0] and [line.split()[0] for line in lines[1:]] == list(dataset.MAPS)
    assert float(lines[-1].split("[")[1].split("]")[0]) == pytest.approx(np.mean([1 - n * 16 / 255 for n in range(1, 11)]), abs=0.01)


# --- packing


@pytest.fixture
def written(pairs, tmp_path):
    folders.write(pairs, tmp_path / "files", 30)
    return folders.FolderDataset(tmp_path / "files", size=32)


def test_a_pack_holds_what_the_files_hold(written, tmp_path):
    packed = packing.pack(written, tmp_path / "pack")
    assert len(packed) == len(written) == 30
    for number in (0, 11, 29):
        one, other = packed[number], written[number]
        assert torch.equal(one["background"], other["background"]) and torch.equal(one["image"], other["image"])
        assert (one["mask"] - other["mask"]).abs().max() <= 0.5 / 255 + 1e-6
        assert (one["depth"].sqrt() - other["depth"].sqrt()).abs().max() <= 0.5 / 255 + 1e-6
    batch = packed[[3, 1, 3]]
    assert all(torch.equal(batch[name][1], packed[1][name]) for name in dataset.MAPS)


def test_a_pack_stores_each_background_once(written, tmp_path):
    packed = packing.pack(written, tmp_path / "pack")
    assert len(packed.arrays["backgrounds"]) == 6
    size = sum(path.stat().st_size for path in (tmp_path / "pack").iterdir())
    assert size < 30 * 5 * 32 * 32 + 6 * 3 * 32 * 32 + 2000


def test_batches_shuffle_and_cover_everything(written, tmp_path):
    packed = packing.pack(written, tmp_path / "pack")
    batches = list(packed.batches(10, seed=1))
    assert [len(batch["image"]) for batch in batches] == [10, 10, 10]
    sums = sorted(round(float(value.sum()), 2) for batch in batches for value in batch["image"])
    assert sums == sorted(round(float(packed[i]["image"].sum()), 2) for i in range(30))


def test_a_stale_pack_is_noticed(written, tmp_path):
    packing.pack(written, tmp_path / "pack")
    path = tmp_path / "files/fg_bg_mask/fg_bg_mask_4.png"
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="stale"):
        packing.pack(written, tmp_path / "pack")


def test_an_unfinished_pack_is_no_pack(tmp_path):
    with pytest.raises(InputError, match="finished"):
        packing.PackedDataset(tmp_path)


def test_packing_never_overwrites(written, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        packing.pack(written, tmp_path / "pack")
    assert contents(tmp_path / "pack") == {"thesis.txt": b"mine"}


def test_a_damaged_file_stops_the_pack_and_it_can_be_finished(written, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "CHUNK", 5)
    path = tmp_path / "files/fg_bg/fg_bg_20.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    with pytest.raises(InputError, match=r"fg_bg_20\.jpg"):
        packing.pack(written, tmp_path / "pack")
    assert not (tmp_path / "pack/pack.json").exists()
    path.write_bytes(whole)
    assert len(packing.pack(written, tmp_path / "pack")) == 30


def test_a_killed_pack_resumes(tiny, tmp_path):
    settings = ("--catalogue", tiny.folder, "--size", 64, "--count", 1400)
    assert start("write", tmp_path / "files", *settings).wait() == 0
    process = start("pack", tmp_path / "files", tmp_path / "pack", "--size", 32, "--workers", 1)
    end, record = time.monotonic() + 120, tmp_path / "pack/progress.json"
    while time.monotonic() < end and process.poll() is None and '"samples", 200' not in text_of(record):
        time.sleep(0.002)
    assert record.exists(), "killed too late to test anything"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    source = folders.FolderDataset(tmp_path / "files", size=32)
    packed = packing.pack(source, tmp_path / "pack")
    for number in range(0, 1400, 139):
        assert torch.equal(packed[number]["image"], source[number]["image"])
