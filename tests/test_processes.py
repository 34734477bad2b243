"""Two processes train what one trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from safetensors.torch import load_file

from eva_helpers.data import Alternate, batches_from, divided, make_loader, set_epoch
from eva_helpers.files import InputError, read_json

HERE = Path(__file__).parent
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]


def rows(folder):
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def trained(tiny, out, processes):
    """The folder `out` with trainings by so many processes, and what each of them noted."""
    where = {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]), "OMP_NUM_THREADS": "1"}
    where |= {"ACCELERATE_USE_CPU": "true"}  # also where there is a GPU
    launch = [*LAUNCH, str(processes), "--master-port", "29517", HERE / "two_processes.py"]
    done = subprocess.run(
        [*launch, tiny.folder, out],
        env=os.environ | where,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def two(tiny, tmp_path_factory):
    return trained(tiny, tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def one(tiny, tmp_path_factory):
    return trained(tiny, tmp_path_factory.mktemp("one"), 1)


def difference(one, two):
    """The largest difference of two weights files, relative to the largest value of a tensor."""
    first, second = (load_file(folder / "last.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    return max(
        ((first[name] - second[name]).abs().max() / first[name].abs().max().clamp_min(1e-3)).item()
        for name in first
        if first[name].is_floating_point()
    )


def largest(one, two):
    """The largest difference of two histories."""
    found = []
    for mine, theirs in zip(rows(one), rows(two), strict=True):
        assert mine.keys() == theirs.keys()
        names = mine.keys() - {"weights", "seconds", "samples_per_second"}
        found += [abs(mine[name] - theirs[name]) for name in names]
    return max(found)


@pytest.mark.parametrize("kind", two_processes.KINDS)
def test_weights_and_history_are_those_of_one_process(one, two, kind):
    """But for rounding; with batch norm, which sees half of a batch, the scores about."""
    exact = kind != "batch norm"
    assert largest(one / kind, two / kind) < (2e-4 if exact else 0.05)
    if exact:
        assert difference(one / kind, two / kind) < 1e-3


def test_a_finetuning_of_two_processes_is_that_of_one(one, two):
    """But for batch norm, which sees half of a batch."""
    assert largest(one / "finetuned", two / "finetuned") < 0.05
    notes = [read_json(two / f"process-{number}.json") for number in (0, 1)]
    reports = [note["report"] for note in notes]
    assert reports[0] == reports[1] == read_json(two / "finetuned/finetuned.json")
    assert len(notes[0]["said"]) == 1 + two_processes.EPOCHS and notes[1]["said"] == []
    alone = read_json(one / "finetuned/finetuned.json")["scores"]
    for name, methods in reports[0]["scores"].items():
        for who, scores in methods.items():
            within = 0.05 if who == "after" else 1e-6
            assert scores == pytest.approx(alone[name][who], abs=within), (name, who)


def test_every_sample_is_made_by_one_process(tiny, two):
    shares = [read_json(two / f"process-{number}.json")["seen"] for number in (0, 1)]
    whole = torch.cat([b["image"].sum((1, 2, 3)) for b in two_processes.loaders(tiny)[0]])
    assert [len(share) for share in shares] == [12, 12]
    assert sorted(shares[0] + shares[1]) == pytest.approx(sorted(whole.tolist()))


def test_one_process_writes_and_speaks(two):
    notes = [read_json(two / f"process-{number}.json") for number in (0, 1)]
    assert notes[1]["lines"] == [] and len(notes[0]["lines"]) == 2 * len(two_processes.KINDS) + 2
    assert all("already holds a training" in note["refusals"][0] for note in notes)
    assert [row["epoch"] for row in rows(two / "fixed")] == [1, 2]


def test_a_share_that_is_not_finite_is_skipped_by_all(two):
    lines = read_json(two / "process-0.json")["lines"]
    assert "skipped epoch 1, step 2: image of sample 0 is not finite" in lines


def test_a_training_of_two_processes_resumes_to_the_bit(two):
    for name in ("last.safetensors", "best.safetensors"):
        whole, halves = (two / kind / name for kind in ("batch norm", "halves"))
        assert whole.read_bytes() == halves.read_bytes()


def test_a_batch_has_to_be_divisible(tiny):
    train, validation = two_processes.loaders(tiny)
    with pytest.raises(InputError, match="8 samples cannot be divided equally among 3 processes"):
        divided(train, 0, 3)
    shares = [divided(validation, number, 5, everyone=False) for number in range(5)]
    counts = [[len(batch["image"]) for batch in share] for share in shares]
    assert counts == [[2, 1], [2, 1], [2, 1], [1], [1]]
    last = make_loader(range(9), 4)
    with pytest.raises(InputError, match="1 samples is too small for 2 processes"):
        list(divided(last, 1, 2))


def test_batches_from_any_step_are_those_of_the_whole_epoch():
    loaders = [make_loader(range(20), 4, samples=16, seed=seed) for seed in (1, 2)]

    def batches(made, start):
        set_epoch(made, 3)
        return [batch.tolist() for batch in batches_from(made, start)]

    for made in (divided(Alternate(loaders)), divided(loaders[0]), list(loaders[0])):
        whole = batches(made, 0)
        assert len(whole) == len(made)
        for start in range(len(whole) + 1):
            assert batches(made, start) == whole[start:]
