"""A training that was stopped at any moment ends with the weights of one that was not."""

import itertools
import json
import os
import shutil
from contextlib import suppress

import pytest
import torch
from conftest import TINY
from test_training import make
from torch.utils.data import BatchSampler, DataLoader, Subset

from eva_helpers import training
from eva_helpers.data import CompositeDataset, EpochSampler, data_settings, make_loader, set_epoch
from eva_helpers.files import InputError
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet

WEIGHTS = ("last.safetensors", "best.safetensors")
ALWAYS = 1e-9  # minutes
NEVER = -1
CLOCK = {"samples_per_second": 0, "seconds": 0}
FILES = ("training.pt", "progress.json", "best.safetensors", "sha256.json")
DAMAGES = {
    "truncated": lambda path, other: path.write_bytes(path.read_bytes()[:-9]),
    "emptied": lambda path, other: path.write_bytes(b""),
    "garbage": lambda path, other: path.write_bytes(b"[1]"),
    "one bit": lambda path, other: path.write_bytes(flipped(path.read_bytes())),
    "missing": lambda path, other: path.unlink(),
    "of another epoch": lambda path, other: shutil.copy(other, path),
}


class Killed(BaseException):
    """What no handler of the package catches."""


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def small(tiny, folder, **options):
    return make(tiny, folder, **{"epochs": 3, "samples": 16} | options)


def killed_after(step):
    """A callback that ends the training after a step, before it is saved."""

    def on_step(number, terms):
        torch.rand(5)  # as a step that draws random numbers
        if number == step:
            raise Killed

    return on_step


def weights_of(folder):
    return [(folder / name).read_bytes() for name in WEIGHTS]


def epochs_of(folder):
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["epoch"] for line in lines]


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Folders of a training: after two of three epochs, and after all."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = small(tiny, folder / "all")
    trainer.run_epoch()
    trainer.run_epoch()
    shutil.copytree(folder / "all", folder / "two")
    trainer.fit()
    return folder


def test_a_resumed_training_is_the_same_to_the_bit(tiny, tmp_path, whole):
    for _ in range(3):
        torch.rand(5)  # what else the process has drawn does not matter
        small(tiny, tmp_path / "run", resume=True).run_epoch()
    assert weights_of(tmp_path / "run") == weights_of(whole / "all")
    assert epochs_of(tmp_path / "run") == [1, 2, 3]
    lines = []
    finished = small(tiny, tmp_path / "run", resume=True, say=lines.append)
    assert len(finished.fit()) == 3 and len(lines) == 1, "nothing is trained again"


def test_every_epoch_has_its_own_samples(tiny, tmp_path, whole):
    """Also after resuming, and whatever was looked at before."""
    seen = []
    for _ in range(2):
        trainer = small(tiny, tmp_path / "run", resume=True)
        next(iter(trainer.train_loader))
        step = trainer.step
        trainer.step = lambda batch, step=step: seen.append(batch["image"]) or step(batch)
        trainer.run_epoch()
    images = torch.cat(seen).flatten(1)
    assert len(images) == 32 and len(images.unique(dim=0)) > 24


@pytest.mark.parametrize("generator", [False, True])
def test_a_shuffling_loader_of_torch_resumes_too(tiny, tmp_path, generator):
    pairs = CompositeDataset(tiny, size=32, positions=1)
    config = training.TrainingConfig(epochs=2, save_minutes=ALWAYS)
    pairs = Subset(pairs, range(18))

    def trainer(folder):
        torch.manual_seed(1)
        chosen = torch.Generator().manual_seed(3) if generator else None
        loader = DataLoader(pairs, 6, shuffle=True, generator=chosen)
        held_out = [next(iter(make_loader(pairs, 4)))]
        options = {"z_near": 1.5, "resume": True, "say": lambda line: None}
        net = MaskDepthNet(TINY)
        return training.Trainer(net, loader, held_out, tmp_path / folder, config, **options)

    trainer("whole").fit(killed_after(NEVER))
    for step in range(6):
        with suppress(Killed):
            trainer("parts").fit(killed_after(step))
    trainer("parts").fit(killed_after(NEVER))
    same = weights_of(tmp_path / "whole") == weights_of(tmp_path / "parts")
    assert same  # pytest would compare the bytes for minutes


@pytest.mark.parametrize("step", range(1, 6))
def test_killed_within_an_epoch(tiny, tmp_path, whole, step):
    """Saved after each step, it goes on with the next, and ends with the same row of history."""
    run = tmp_path / "run"
    lines = []
    with pytest.raises(Killed):
        small(tiny, run, save_minutes=ALWAYS).fit(killed_after(step))
    again = small(tiny, run, save_minutes=0.0, resume=True, say=lines.append)
    assert (again.epoch, again.progress.steps) == divmod(step, 2)
    assert ("step 1 of the next" in lines[0]) == (step % 2 == 1)
    assert len((again.folder / "last.safetensors").read_bytes()) > 0
    seen = []
    again.fit(lambda number, terms: seen.append(number))
    assert seen == list(range(step, 6))
    same = weights_of(run) == weights_of(whole / "all")
    assert same
    rows = [
        [json.loads(line) | CLOCK for line in (folder / "history.jsonl").open(encoding="utf-8")]
        for folder in (run, whole / "all")
    ]
    assert rows[0] == rows[1]


def test_the_state_is_saved_by_time(tiny, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training.resuming.time, "monotonic", lambda: now[0])
    trainer = small(tiny, tmp_path / "run", epochs=1, samples=64, save_minutes=5.0)
    saved = []
    trainer.run.save = lambda progress, *files: saved.append(progress["running"]["steps"])

    def two_minutes(number, terms):
        now[0] += 120

    trainer.fit(two_minutes)
    assert saved == [3, 6, 0], "every third step, and the end"


def killed_at(monkeypatch, count):
    """Let the `count`-th file operation from now on be the last of this process."""
    calls = itertools.count(1)

    def hooked(operation):
        def call(*arguments, **options):
            if next(calls) == count:
                raise Killed
            return operation(*arguments, **options)

        return call

    for module, name in ((os, "replace"), (os, "fsync"), (os, "open"), (shutil, "rmtree")):
        monkeypatch.setattr(module, name, hooked(getattr(module, name)))


@pytest.mark.parametrize("count", range(1, 16, 2))
def test_killed_while_saving(tiny, tmp_path, whole, monkeypatch, count):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    trainer = small(tiny, run, resume=True)
    with monkeypatch.context() as patch:
        killed_at(patch, count)
        with pytest.raises(Killed):
            trainer.run_epoch()
    small(tiny, run, resume=True).fit()
    assert weights_of(run) == weights_of(whole / "all") and epochs_of(run) == [1, 2, 3]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_state_is_replaced_by_the_one_before(tiny, tmp_path, whole, name, damage):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    DAMAGES[damage](run / "state" / name, run / "state.previous" / name)
    if damage == "of another epoch" and name == "best.safetensors":
        flip = flipped((run / "state" / name).read_bytes())  # both epochs have the same best one
        (run / "state" / name).write_bytes(flip)
    lines = []
    trainer = small(tiny, run, resume=True, say=lines.append)
    assert trainer.epoch == 1 and epochs_of(run) == [1]
    assert f"{run}/state/" in lines[0] and "state.previous instead" in lines[0]
    assert name in lines[0] or name == "sha256.json"


def test_two_damaged_states_are_a_sentence(tiny, tmp_path, whole):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    for name in ("state", "state.previous"):
        (run / name / "training.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"state/training.pt is damaged.*another folder"):
        small(tiny, run, resume=True)
    shutil.rmtree(run / "state")
    shutil.rmtree(run / "state.previous")
    with pytest.raises(InputError, match="is missing"):
        small(tiny, run, resume=True)


def test_a_state_of_an_older_version_is_refused(tiny, tmp_path, whole):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    for name in ("state", "state.previous"):
        (run / name / "sha256.json").unlink()
    with pytest.raises(InputError, match=r"version 0\.2"):
        small(tiny, run, resume=True)


def test_history_and_weights_beside_the_state_follow_it(tiny, tmp_path, whole):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    for path in (run / "history.jsonl", *(run / name for name in WEIGHTS)):
        path.write_bytes(b"x")
    small(tiny, run, resume=True)
    assert weights_of(run) == weights_of(whole / "two") and epochs_of(run) == [1, 2]


def test_every_other_setting_is_refused(tiny, tmp_path, whole):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    changes = {
        "data sampler samples 16, now 24": {"samples": 24},
        "data batch_size 8, now 4": {"batch": 4},
        "data dataset strength 0.5, now 1.0": {"data": {"strength": 1.0}},
        "data sampler seed 0, now 5": {"seed": 5},
        "weight mask 0.3, now 0.4": {"weights": LossWeights(mask=0.4)},
        "network detail 4, now 8": {"model": {"detail": 8}},
        "epochs 3, now 9": {"epochs": 9},
    }
    for words, options in changes.items():
        with pytest.raises(InputError, match=words):
            small(tiny, run, resume=True, **options)
    (run / "config.json").unlink()
    with pytest.raises(InputError, match="epochs 3, now 9"):
        small(tiny, run, resume=True, epochs=9)
    small(tiny, run, resume=True).fit()
    assert weights_of(run) == weights_of(whole / "all")


def test_changed_weights_are_restored(tiny, tmp_path):
    trainer = small(tiny, tmp_path / "run")
    trainer.weights = LossWeights(mask=0.9)
    trainer.run_epoch()
    assert small(tiny, tmp_path / "run", resume=True).weights == LossWeights(mask=0.9)


def test_what_decides_the_samples_is_described(tiny):
    pairs = CompositeDataset(tiny, size=32, strength=0.5)
    loader = make_loader(pairs, 8, samples=16, seed=3)
    before = data_settings(loader)
    assert json.loads(json.dumps(before)) == before
    assert before["sampler"] == {"kind": "EpochSampler", "total": 360, "samples": 16, "seed": 3}
    assert before["dataset"]["strength"] == 0.5 and "catalogue" not in before["dataset"]
    list(loader)
    set_epoch(loader, 7)
    assert data_settings(loader) == before
    fewer = CompositeDataset(tiny, "train", None, size=32, strength=0.5)
    assert data_settings(fewer)["objects"] != before["dataset"]["objects"]


def test_batches_of_a_sampler_are_described(tiny):
    pairs = CompositeDataset(tiny, size=32)
    batches = [BatchSampler(EpochSampler(9), size, drop_last=True) for size in (4, 8)]
    one, other = (data_settings(DataLoader(pairs, batch_sampler=each)) for each in batches)
    assert one["sampler"]["batch_size"] == 4 and one["sampler"]["sampler"]["total"] == 9
    assert one != other


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"epochs": ', b"\xff\xfe\x00"])
def test_a_damaged_settings_file_is_a_sentence(tiny, tmp_path, whole, damage):
    run = shutil.copytree(whole / "two", tmp_path / "run")
    (run / "config.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"config.json is not a settings file"):
        small(tiny, run, resume=True)
