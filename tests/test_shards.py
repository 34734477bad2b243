"""WebDataset shards: what is written, who can read them, and what is refused."""

import json
import subprocess
import sys
import tarfile
from itertools import chain

import datasets
import numpy as np
import pytest
import torch
import webdataset
from conftest import TINY
from test_writing import contents, kill_when, start
from torch.utils.data import DataLoader

from eva_helpers import training
from eva_helpers.data import CompositeDataset, set_epoch
from eva_helpers.files import InputError, read_json
from eva_helpers.model import MaskDepthNet
from eva_helpers.paths import ROOT
from eva_helpers.storage import ShardDataset, cli, write_shards


@pytest.fixture
def composites(tiny):
    return CompositeDataset(tiny, None, None, size=48, positions=2, seed=3)


@pytest.fixture
def shards(composites, tmp_path):
    """A folder with 50 samples in seven shards."""
    write_shards(composites, tmp_path / "shards", 50, per_shard=8)
    return tmp_path / "shards"


def items(folder):
    """The items of a folder's samples, in order."""
    return [about["item"] for path in sorted(folder.glob("*.tar")) for about in abouts(path)]


def abouts(path):
    with tarfile.open(path) as tar:
        return [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]


def test_the_samples_are_those_of_the_composites(composites, shards):
    read = list(ShardDataset(shards))
    assert len(read) == len(ShardDataset(shards)) == len(items(shards)) == 50
    for item, sample in zip(items(shards), read, strict=True):
        made = composites[item]
        assert sample.keys() == made.keys()
        assert all(sample[name].shape == made[name].shape for name in made)
        assert all(sample[name].dtype == torch.float32 for name in made)
        assert (sample["mask"] - made["mask"]).abs().max() <= 0.5 / 255 + 1e-6
        assert (sample["depth"] - made["depth"]).abs().max() <= 0.5 / 65535 + 1e-6
        for photo in ("background", "image"):  # JPEG
            assert (sample[photo] - made[photo]).abs().mean() < 0.03


def test_the_folder_describes_itself(composites, shards):
    names = [f"all-{number:06d}.tar" for number in range(7)]
    assert sorted(path.name for path in shards.iterdir()) == ["README.md", *names, "settings.json"]
    sizes = [len(abouts(shards / name)) for name in names]
    assert sizes == [8] * 6 + [2]
    about = abouts(shards / names[1])[0]
    scene, cutout, position, flip = composites.where(about["item"])
    assert about["scene"] == composites.scenes[scene].id
    assert about["cutout"] == composites.objects[cutout].id
    assert [about[key] for key in ("position", "flip", "seed")] == [position, int(flip), 3]
    assert (about["depth_white"], about["z_near"]) == (65535, 1.5)
    card = (shards / "README.md").read_text(encoding="utf-8")
    assert "z_near = 1.5 m" in card and "KEY.depth.png" in card


def test_webdataset_decodes_them(composites, shards):
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    pipeline = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8")
    samples = list(pipeline)
    assert [sample["json"]["item"] for sample in samples] == items(shards)
    made = composites.composite(samples[9]["json"]["item"])
    assert abs(samples[9]["image.jpg"].astype(int) - made["image"]).mean() < 8
    assert {"background.jpg", "mask.png", "depth.png"} <= samples[9].keys()


def test_processes_do_not_change_the_bytes(composites, shards, tmp_path):
    state = torch.get_rng_state()
    done = []
    options = {"per_shard": 8, "workers": 2, "progress": done.append}
    write_shards(composites, tmp_path / "two", 50, **options)
    for number in (2, 0, 1):
        own = write_shards(composites, tmp_path / "parts", 50, per_shard=8, shard=(number, 3))
        assert [path.name for path in own] == [f"all-{n:06d}.tar" for n in range(number, 7, 3)]
    assert contents(shards) == contents(tmp_path / "two") == contents(tmp_path / "parts")
    assert sum(done) == 50
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers change"


def test_parts_begin_at_once(tiny, tmp_path):
    """Two processes share a folder, whichever makes it, and neither deletes what the other does."""
    arguments = ("write", tmp_path / "both", "--catalogue", tiny.folder, "--format", "webdataset")
    arguments += ("--count", 60, "--per-shard", 5, "--workers", 1, "--size", 96)
    both = [start(*arguments, "--shard", part) for part in ("1/2", "2/2")]
    assert [process.wait() for process in both] == [0, 0]
    assert len(items(tmp_path / "both")) == 60
    assert not list(tmp_path.rglob("*.partial"))


def test_a_part_keeps_the_unfinished_files_of_others(composites, tmp_path):
    write_shards(composites, tmp_path, 50, per_shard=8, shard=(0, 2))
    others, own = (tmp_path / f"all-00000{number}.tar.12.partial" for number in (1, 2))
    for path in (others, own):
        path.write_bytes(b"half")
    write_shards(composites, tmp_path, 50, per_shard=8, shard=(0, 2))
    assert others.exists() and not own.exists()


def test_whole_shards_are_kept_and_missing_ones_written(composites, shards):
    whole = contents(shards)
    times = {path: path.stat().st_mtime_ns for path in shards.glob("*.tar")}
    missing = shards / "all-000003.tar"
    missing.unlink()
    done = []
    write_shards(composites, shards, 50, per_shard=8, progress=done.append)
    assert contents(shards) == whole and done == [42, *[1] * 8]
    kept = {path: path.stat().st_mtime_ns for path in times if path != missing}
    assert kept.items() <= times.items()


def test_a_killed_write_continues(tiny, tmp_path):
    settings = ("--catalogue", tiny.folder, "--format", "webdataset", "--size", 160)
    settings += ("--count", 900, "--per-shard", 30, "--workers", 2)
    out = tmp_path / "out"
    process = start("write", out, *settings)
    kill_when(process, lambda: len(list(out.glob("*.tar"))) >= 3)
    assert len(list(out.glob("*.tar"))) < 30
    assert start("write", out, *settings).wait() == 0
    assert start("write", tmp_path / "whole", *settings).wait() == 0
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"per_shard": 9}, {"count": 49}, {"size": 64}])
def test_other_settings_are_refused(tiny, shards, change):
    options = {"size": 48, "per_shard": 8, "count": 50} | change
    other = CompositeDataset(tiny, None, None, size=options["size"], positions=2, seed=3)
    before = contents(shards)
    with pytest.raises(
        InputError, match=f"{next(iter(change))} .*, now {options[next(iter(change))]}"
    ):
        write_shards(other, shards, options["count"], per_shard=options["per_shard"])
    assert contents(shards) == before


def test_a_folder_of_files_is_no_folder_of_shards(composites, shards, tmp_path):
    from eva_helpers.storage import write_composites

    with pytest.raises(InputError, match=r"format 'eva_helpers\.shards 1', now .*folders"):
        write_composites(composites, shards, 50)
    write_composites(composites, tmp_path / "files", 5)
    with pytest.raises(InputError, match=r"now 'eva_helpers\.shards 1'"):
        write_shards(composites, tmp_path / "files", 5)
    with pytest.raises(InputError, match=r"expected 'eva_helpers\.shards 1'"):
        ShardDataset(tmp_path / "files")
    with pytest.raises(InputError, match="is not the settings of"):
        ShardDataset(tmp_path / "nowhere")


def test_nothing_of_the_users_is_overwritten(composites, tmp_path, shards):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_shards(composites, tmp_path / "mine", 4)
    (shards / "README.md").write_text("my own card")
    write_shards(composites, shards, 50, per_shard=8)
    assert (shards / "README.md").read_text() == "my own card"


@pytest.mark.parametrize("keep", [0, 1, 700, -512, -10240, -1])
def test_a_shard_cut_short_is_a_sentence(composites, shards, keep):
    path = shards / "all-000002.tar"
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    with pytest.raises(InputError, match=r"all-000002\.tar is cut short: delete it"):
        write_shards(composites, shards, 50, per_shard=8)
    with pytest.raises(InputError, match=r"all-000002\.tar is cut short"):
        ShardDataset(shards)
    path.unlink()
    with pytest.raises(InputError, match=r"all-000002\.tar is missing"):
        ShardDataset(shards)


def damaged(data, place):
    """`data` with 16 other bytes at `place`."""
    return (
        data[:place] + bytes(byte ^ 0x55 for byte in data[place : place + 16]) + data[place + 16 :]
    )


def test_damage_in_the_middle_is_a_sentence(shards):
    """Of a header, at which tarfile stops without a word; of a picture; and of the length."""
    path = shards / "all-000002.tar"
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        members = {member.name: member for member in tar}
    dataset = ShardDataset(shards)
    header = members["000000020.image.jpg"].offset
    mask = members["000000020.mask.png"]
    places = {
        members["000000020.background.jpg"].offset: "",
        header: "sample 000000020",
        mask.offset_data + mask.size - 40: "sample 000000020",
    }
    for place, where in places.items():
        path.write_bytes(damaged(data, place))
        with pytest.raises(InputError, match=rf"all-000002\.tar is damaged.*{where}: delete"):
            list(dataset)
    end = members["000000020.depth.png"].offset_data + 600
    path.write_bytes(data[:end])  # after the dataset was opened
    with pytest.raises(InputError, match=r"all-000002\.tar is damaged"):
        list(dataset)
    path.write_bytes(data)
    assert len(list(dataset)) == 50


def seen(loader):
    return [
        tuple(sample.flatten(1).mean(1).tolist()) for batch in loader for sample in batch["image"]
    ]


def test_the_processes_of_a_loader_share_the_shards(shards):
    alone = seen(DataLoader(ShardDataset(shards), 5))
    several = seen(DataLoader(ShardDataset(shards), 5, num_workers=3))
    assert len(alone) == len(set(alone)) == 50 and sorted(alone) == sorted(several)
    more_than_shards = seen(DataLoader(ShardDataset(shards), 5, num_workers=9))
    assert sorted(more_than_shards) == sorted(alone)


def test_ranks_share_the_shards(shards, monkeypatch):
    parts = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(seen(DataLoader(ShardDataset(shards, ranks=True), 5, num_workers=2)))
    assert [len(part) for part in parts] == [18, 16, 16]
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert sorted(chain(*parts)) == sorted(seen(DataLoader(ShardDataset(shards, ranks=True), 5)))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_epoch_has_its_own_order(shards, workers):
    def epoch(number, seed=0):
        loader = DataLoader(ShardDataset(shards, 16, seed), 5, num_workers=workers)
        set_epoch(loader, number)
        return seen(loader)

    first, second, again, other = epoch(0), epoch(1), epoch(0), epoch(0, seed=1)
    assert first == again and first != second and first != other
    in_order = seen(DataLoader(ShardDataset(shards), 5))
    assert first != in_order and sorted(first) == sorted(second) == sorted(in_order)
    moved = [first.index(sample) - in_order.index(sample) for sample in first]
    assert max(map(abs, moved)) > 16, "shards are shuffled, too"


def test_shards_train_and_resume_to_the_bit(tiny, shards, examples, tmp_path):
    def trainer(folder, **options):
        torch.manual_seed(0)
        loader = DataLoader(ShardDataset(shards, 16), 10)
        config = training.TrainingConfig(epochs=2)
        options |= {"z_near": tiny.z_near, "say": lambda line: None}
        return training.Trainer(
            MaskDepthNet(TINY), loader, [examples], tmp_path / folder, config, **options
        )

    trainer("whole").fit()
    trainer("parts").run_epoch()
    trainer("parts", resume=True).fit()
    one, other = (tmp_path / name / "last.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
    settings = read_json(tmp_path / "whole/config.json")
    assert settings["data dataset settings count"] == 50


def test_hugging_face_loads_them(tiny, shards, tmp_path):
    held_out = CompositeDataset(tiny, "validation", "validation", size=48)
    write_shards(held_out, tmp_path / "other", 4)
    options = {"cache_dir": str(tmp_path / "cache")}
    for folder, split in ((shards, "train"), (tmp_path / "other", "validation")):
        loaded = datasets.load_dataset(str(folder), **options)
        assert [*loaded] == [split]
        assert [row["item"] for row in loaded[split]["json"]] == items(folder)
        assert loaded[split][3]["image.jpg"].size == (48, 48)
        assert np.asarray(loaded[split][3]["depth.png"]).dtype == np.uint16


@pytest.mark.parametrize(
    "options, mentioned",
    [
        (["--per-shard", "0", "--format", "webdataset"], "--per-shard is 0"),
        (["--per-shard", "5"], "--per-shard is not for --format folders"),
        (["--jpeg", "--format", "webdataset"], "--jpeg is not for --format webdataset"),
        (["--shard", "3/2", "--format", "webdataset"], "3/2 is no part"),
        (["--shard", "0/2", "--format", "webdataset"], "0/2 is no part"),
    ],
)
def test_the_command_line_says_what_is_wrong(tiny, tmp_path, options, mentioned, capsys):
    arguments = ["write", str(tmp_path / "out"), "--catalogue", str(tiny.folder), *options]
    try:
        assert cli.main(arguments) == 2
    except SystemExit as stopped:
        assert stopped.code == 2
    assert mentioned in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tar"))


def test_the_command_line_names_what_it_wrote(tiny, tmp_path, capsys):
    options = ["--count", "10", "--size", "48", "--split", "train", "--format", "webdataset"]
    folder = ["write", str(tmp_path), "--catalogue", str(tiny.folder)]
    assert cli.main([*folder, *options]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "train-000000.tar")]
    assert len(list(ShardDataset(tmp_path))) == 10


def test_the_library_is_needed_for_reading_alone(shards):
    code = f"""
import sys
sys.modules["webdataset"] = None
from eva_helpers.files import InputError
from eva_helpers.storage import ShardDataset
try:
    ShardDataset({str(shards)!r})
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "pip install webdataset" in done.stdout, done.stderr
