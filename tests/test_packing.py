"""Packs: what they hold, and that they notice changed files and continue after a kill."""

import json
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_writing import contents, kill_when, start

from eva_helpers.data import MAPS, CompositeDataset, make_loader, set_epoch
from eva_helpers.files import InputError
from eva_helpers.model import MaskDepthNet, ModelConfig
from eva_helpers.storage import cli, pack_files, packing
from eva_helpers.storage.folders import FolderDataset
from eva_helpers.storage.packing import PackedDataset, pack
from eva_helpers.storage.writing import write_composites
from eva_helpers.training import Trainer, TrainingConfig


@pytest.fixture
def written(tiny, tmp_path):
    composites = CompositeDataset(tiny, None, None, size=48, positions=2, seed=3)
    write_composites(composites, tmp_path / "files", 30)
    return FolderDataset(tmp_path / "files", size=32)


def test_a_pack_holds_the_contents_of_the_files(written, tmp_path):
    done = []
    packed = pack(written, tmp_path / "pack", progress=done.append)
    assert len(packed) == len(written) == sum(done) == 30
    for number in (0, 11, 29):
        one = packed[number]
        other = written[number]
        assert torch.equal(one["background"], other["background"])
        assert torch.equal(one["image"], other["image"])
        assert (one["mask"] - other["mask"]).abs().max() <= 0.5 / 255 + 1e-6
        assert (one["depth"].sqrt() - other["depth"].sqrt()).abs().max() <= 0.5 / 255 + 1e-6
    batch = packed[[3, 1, 3]]
    assert all(torch.equal(batch[name][1], packed[1][name]) for name in MAPS)


def test_processes_do_not_change_the_pack(written, tmp_path):
    pack(written, tmp_path / "one", workers=1)
    pack(written, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_pack_stores_each_background_once(written, tmp_path):
    packed = pack(written, tmp_path / "pack")
    assert len(packed.arrays["backgrounds"]) == 6
    size = sum(path.stat().st_size for path in (tmp_path / "pack").iterdir())
    assert size < 30 * 5 * 32 * 32 + 6 * 3 * 32 * 32 + 2000


def test_batches_shuffle_and_cover_everything(written, tmp_path):
    packed = pack(written, tmp_path / "pack")
    batches = list(packed.batches(10, seed=1))
    assert [len(batch["image"]) for batch in batches] == [10, 10, 10]
    drawn = [round(float(image.sum()), 2) for batch in batches for image in batch["image"]]
    stored = [round(float(packed[index]["image"].sum()), 2) for index in range(30)]
    assert sorted(drawn) == sorted(stored) and drawn != stored


def test_a_pack_trains(written, tmp_path):
    """Accelerate rebuilds the loader, and every epoch has its own order."""
    packed = pack(written, tmp_path / "pack")
    loader = packed.batches(10, seed=1)
    net = MaskDepthNet(ModelConfig(widths=(8,) * 5, blocks=(1,) * 5, decoder=(8,) * 4, detail=4))
    options = {"z_near": 1.5, "say": lambda line: None}
    config = TrainingConfig(epochs=2)
    held = make_loader(packed, 30)
    rows = Trainer(net, loader, held, tmp_path / "run", config, **options).fit()
    assert [math.isfinite(row["loss"]) for row in rows] == [True, True]
    again = packed.batches(10, seed=1)
    orders = [torch.cat([batch["image"] for batch in each]) for each in (again, again)]
    assert not torch.equal(*orders)
    set_epoch(again, 0)
    assert torch.equal(orders[0], torch.cat([batch["image"] for batch in again]))
    samples = make_loader(packed, 10, shuffle=True, seed=1)
    assert len(next(iter(samples))["image"]) == 10


def test_a_stale_pack_is_noticed(written, tmp_path):
    pack(written, tmp_path / "pack")
    os.utime(tmp_path / "files/fg_bg_mask/fg_bg_mask_4.png", ns=(1, 1))
    with pytest.raises(InputError, match="stale"):
        pack(written, tmp_path / "pack")


def test_a_pack_read_in_another_way_is_noticed(written, tmp_path):
    pack(written, tmp_path / "pack")
    rows = (tmp_path / "files/manifest.csv").read_text().splitlines()
    other = FolderDataset(tmp_path / "files", size=32, near_is_dark=False)
    (tmp_path / "files/manifest.csv").write_text("\n".join([*rows[:2], rows[4], *rows[3:]]))
    for composites in (other, FolderDataset(tmp_path / "files", size=32)):
        with pytest.raises(InputError, match="stale"):
            pack(composites, tmp_path / "pack")


def test_parts_are_joined_to_the_same_pack(written, tmp_path):
    """In any order; the last call packs what they lack."""
    folder = tmp_path / "parts"
    pack(written, tmp_path / "whole")
    for number in (2, 0):
        assert pack(written, folder, shard=(number, 3)) is None
        (folder / "progress.json.1.partial").write_text("{")  # of another process
    assert (folder / "progress.json.1.partial").exists()
    with pytest.raises(InputError, match="no finished pack"):
        PackedDataset(folder)
    done = []
    packed = pack(written, folder, progress=done.append)
    assert len(packed) == sum(done) == 30 and done[0] == 20, "a third is decoded"
    assert contents(folder) == contents(tmp_path / "whole")
    assert len(pack(written, folder, shard=(0, 3))) == 30, "nothing is left to do"


def test_more_parts_than_composites(written, tmp_path):
    for number in range(40):
        pack(written, tmp_path / "parts", shard=(number, 40))
    assert len(list((tmp_path / "parts").glob("part-*"))) == 30
    pack(written, tmp_path / "parts")
    pack(written, tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def stop_after(number):
    """A `progress` that interrupts after so many composites."""
    counts = []

    def progress(done):
        counts.append(done)
        if sum(counts) >= number:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_part_goes_on(written, tmp_path, monkeypatch):
    """By the same call, or by the last one."""
    monkeypatch.setattr(packing, "RECORD", 2)
    for number in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            pack(written, tmp_path / "parts", shard=(number, 2), progress=stop_after(9))
    done = []
    pack(written, tmp_path / "parts", shard=(0, 2), progress=done.append)
    assert done[0] == 7 and sum(done) == 15
    assert len(list(tmp_path.glob("parts/part-*/pack.json"))) == 1
    pack(written, tmp_path / "parts")
    pack(written, tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_an_interrupted_end_goes_on(written, tmp_path, monkeypatch):
    """While the parts are removed, of which one is not whole any more."""
    for number in (0, 1):
        pack(written, tmp_path / "parts", shard=(number, 2))

    def interrupted(folder):
        (folder / "pack.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(packing.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(written, tmp_path / "parts")
    monkeypatch.undo()
    pack(written, tmp_path / "parts")
    pack(written, tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_stale_part_is_noticed(written, tmp_path):
    pack(written, tmp_path / "parts", shard=(1, 2))
    os.utime(tmp_path / "files/fg_bg_mask/fg_bg_mask_24.png", ns=(1, 1))
    with pytest.raises(InputError, match="part-2-of-2 is stale"):
        pack(written, tmp_path / "parts")


def test_parts_begin_at_once(written, tmp_path):
    command = ("pack", tmp_path / "files", tmp_path / "both", "--size", 32, "--workers", 1)
    both = [start(*command, "--shard", part) for part in ("1/2", "2/2")]
    assert [process.wait() for process in both] == [0, 0]
    assert len(list(tmp_path.glob("both/part-*/pack.json"))) == 2
    pack(written, tmp_path / "both")
    pack(written, tmp_path / "whole")
    assert contents(tmp_path / "both") == contents(tmp_path / "whole")


def test_the_command_packs_a_part(written, tmp_path, capsys):
    command = ["pack", str(tmp_path / "files"), str(tmp_path / "pack"), "--size", "32"]
    assert cli.main([*command, "--workers", "1", "--shard", "1/2"]) == 0
    assert "part 1 of 2 is written: at the end, repeat without" in capsys.readouterr().out
    assert cli.main([*command, "--workers", "1"]) == 0
    assert "30 composites at 32 px" in capsys.readouterr().out
    assert len(PackedDataset(tmp_path / "pack", written)) == 30


def test_an_unfinished_pack_is_no_pack(tmp_path):
    with pytest.raises(InputError, match="finished"):
        PackedDataset(tmp_path)


@pytest.mark.parametrize("name", ["thesis.txt", "image.npy", "progress.json"])
def test_packing_never_overwrites(written, tmp_path, name):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / name).write_text('{"mine": 1}')
    for shard in ((0, 1), (0, 2)):
        with pytest.raises(InputError, match="choose another folder"):
            pack(written, tmp_path / "pack", shard=shard)
    assert contents(tmp_path / "pack") == {name: b'{"mine": 1}'}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_file_stops_the_pack_and_it_can_be_finished(written, tmp_path, workers):
    path = tmp_path / "files/fg_bg/fg_bg_20.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    with pytest.raises(InputError, match=r"^\S*fg_bg_20\.jpg is damaged") as error:
        pack(written, tmp_path / "pack", workers=workers)
    assert "\n" not in str(error.value), "one sentence, whichever process it comes from"
    assert not (tmp_path / "pack/pack.json").exists()
    path.write_bytes(whole)
    assert len(pack(written, tmp_path / "pack", workers=workers)) == 30
    assert "progress.json" not in contents(tmp_path / "pack")


def test_the_disk_is_checked_before_packing(written, tmp_path, monkeypatch):
    full = SimpleNamespace(free=1000)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(InputError, match="GB"):
        pack(written, tmp_path / "pack")
    monkeypatch.undo()
    assert len(pack(written, tmp_path / "pack")) == 30


@pytest.mark.parametrize(
    "progress", [{"next": -2}, {"next": 17}, {"next": 30}, {"done": [["samples", 0]]}, {}]
)
def test_an_unfinished_pack_is_continued(written, tmp_path, progress):
    """From what is stored; a pack begun by an older version (`done`) from the beginning."""
    folder = tmp_path / "pack"
    record = pack(written, folder).state
    whole = contents(folder)
    (folder / "pack.json").unlink()
    record = record | progress if progress else {"format": record["format"]}
    (folder / "progress.json").write_text(json.dumps(record))
    for name in pack_files.ARRAYS:
        array = np.load(folder / f"{name}.npy", mmap_mode="r+")
        start = progress.get("next", -6)
        array[(start if start < 0 else 6) if name == "backgrounds" else max(start, 0) :] = 0
    (folder / "progress.json.12.partial").write_text("{")
    done = []
    pack(written, folder, progress=done.append)
    assert contents(folder) == whole
    assert done[0] == max(progress.get("next", 0), 0) and sum(done) == 30


def test_what_a_kill_at_the_very_end_leaves_is_removed(written, tmp_path):
    pack(written, tmp_path / "pack")
    whole = contents(tmp_path / "pack")
    (tmp_path / "pack/progress.json").write_text("{}")
    pack(written, tmp_path / "pack")
    assert contents(tmp_path / "pack") == whole


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves nothing")
def test_the_space_of_an_array_is_reserved(tmp_path):
    """Or a store into it would be fatal when the disk is full."""
    path = tmp_path / "array.npy"
    assert pack_files.new_array(path, (50, 3, 64, 64)).shape == (50, 3, 64, 64)
    assert 512 * path.stat().st_blocks >= path.stat().st_size
    with pytest.raises(InputError, match="could not be made"):
        pack_files.new_array(tmp_path / "nowhere/array.npy", (1, 8, 8))


def test_a_killed_pack_continues(tiny, tmp_path):
    settings = ("--catalogue", tiny.folder, "--size", 64, "--count", 800)
    assert start("write", tmp_path / "files", *settings).wait() == 0
    process = start("pack", tmp_path / "files", tmp_path / "pack", "--size", 32, "--workers", 2)
    record = tmp_path / "pack/progress.json"

    def begun():
        return record.exists() and json.loads(record.read_text()).get("next", 0) >= 1

    kill_when(process, begun)
    assert not (tmp_path / "pack/pack.json").exists()
    files = FolderDataset(tmp_path / "files", size=32)
    done = []
    packed = pack(files, tmp_path / "pack", progress=done.append)
    assert done[0] >= 1 and sum(done) == 800
    for number in range(0, 800, 79):
        assert torch.equal(packed[number]["image"], files[number]["image"])
