"""Tuning without a browser: the thread, the weights, the previews, and the sliders."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from eva_helpers import tuning
from eva_helpers.files import InputError
from eva_helpers.losses import TERMS, LossWeights, weighted_sum
from eva_helpers.model import MaskDepthNet, load_weights

STEPS = 6  # of an epoch


def pause(tuner):
    tuner.pause()
    tuner.wait_until("paused")
    assert tuner.state == "paused"


def test_importing_needs_no_widgets():
    code = "import sys; from eva_helpers import tuning; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_widgets_in_automatic_runs(monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert not tuning.wanted(True)
    monkeypatch.delenv("CI")
    assert tuning.wanted(True) and not tuning.wanted(False)


def test_a_changed_weight_applies_from_the_next_step(tuner):
    tuner.start()
    tuner.wait(3)
    before = len(tuner.record)
    tuner.set_weights(mask=1.25)
    after = len(tuner.record)
    tuner.wait(3)
    used = [row["weight mask"] for row in tuner.record]
    first = next(step for step, weight in enumerate(used) if weight > 1)
    assert before <= first <= after
    assert used[:first] == pytest.approx([0.3] * first)
    assert used[first:] == pytest.approx([1.25] * len(used[first:]))
    row = tuner.record[-1]
    terms = {name: torch.tensor(row[name]) for name in TERMS}
    expected = weighted_sum(terms, LossWeights(mask=1.25)).item()
    assert row["loss"] == pytest.approx(expected)


def test_pause_holds_and_start_continues(tuner):
    tuner.start()
    tuner.wait(2)
    pause(tuner)
    count = len(tuner.record)
    with pytest.raises(TimeoutError, match="paused"):
        tuner.wait(1, timeout=0.5)
    assert tuner.state == "paused" and len(tuner.record) == count
    tuner.set_weights(depth=0.1)
    tuner.start()
    tuner.wait(2)
    assert tuner.state == "running"
    assert tuner.record[count]["weight depth"] == pytest.approx(0.1)


def test_a_pause_can_be_withdrawn_before_it_begins(tuner):
    tuner.start()
    tuner.pause()
    tuner.start()
    tuner.wait(3)
    assert tuner.state == "running"


def test_stopping_keeps_a_checkpoint_and_ends_the_thread(tuner):
    tuner.start()
    tuner.wait(2)
    tuner.stop()
    assert tuner.state == "stopped"
    assert not any(thread.name == "tuner" for thread in threading.enumerate())
    net = load_weights(tuner.trainer.folder / "last.safetensors")
    assert isinstance(net, MaskDepthNet)
    tuner.start()
    tuner.wait(2)
    assert tuner.state == "running", "a stopped training can continue"


def test_a_paused_training_can_be_stopped(tuner):
    tuner.start()
    tuner.wait(1)
    pause(tuner)
    tuner.stop()
    assert tuner.state == "stopped" and tuner.error is None


def test_a_finished_training_says_so(tiny, tuner):
    tuner.trainer.epoch = tuner.trainer.config.epochs - 1
    tuner.start()
    tuner.wait_until("finished")
    assert tuner.state == "finished" and len(tuner.record) == STEPS
    with pytest.raises(InputError, match="new trainer"):
        tuner.start()


def test_two_trainings_at_once_are_refused(tuner, examples):
    tuner.start()
    tuner.start()
    with pytest.raises(InputError, match="running"):
        tuning.Tuner(tuner.trainer, examples).start()
    tuner.wait(1)
    assert tuner.error is None
    assert [each.name for each in threading.enumerate()].count("tuner") == 1


def test_reset_goes_back_to_the_best(tuner):
    with pytest.raises(InputError, match="no checkpoint"):
        tuner.reset()
    tuner.start()
    tuner.wait(STEPS + 2)
    pause(tuner)
    best = load_weights(tuner.trainer.folder / "best.safetensors").state_dict()
    nets = (tuner.trainer.averaged_net, tuner.trainer.net)
    now = nets[1].state_dict()
    changed = [name for name in best if not torch.equal(now[name].cpu(), best[name])]
    assert changed, "it has been trained since"
    tuner.reset()
    tuner.wait_until("paused")
    for net in nets:
        state = net.state_dict()
        assert all(torch.equal(state[name].cpu(), value) for name, value in best.items())


def test_reset_works_while_the_training_runs_and_after_it(tuner):
    tuner.start()
    tuner.wait(STEPS + 1)
    tuner.reset()
    tuner.wait_until("running")
    assert tuner.state == "running" and tuner.error is None
    tuner.stop()
    tuner.reset()
    best = load_weights(tuner.trainer.folder / "best.safetensors").state_dict()
    state = tuner.trainer.net.state_dict()
    assert all(torch.equal(state[name].cpu(), value) for name, value in best.items())


def test_a_failing_training_says_so_and_keeps_the_last_checkpoint(tuner):
    tuner.start()
    tuner.wait(STEPS + 2)
    pause(tuner)
    good = (tuner.trainer.folder / "best.safetensors").read_bytes()
    real = tuner.trainer.losses
    tuner.trainer.losses = lambda batch: (real(batch)[0] * float("nan"), real(batch)[1])
    tuner.start()
    with pytest.raises(InputError, match="not finite: loss"):
        tuner.wait(50)
    assert tuner.state == "failed"
    assert (tuner.trainer.folder / "best.safetensors").read_bytes() == good


@pytest.mark.parametrize(
    "change, word",
    [
        ({"mask": -1}, "mask"),
        ({"l1": float("nan")}, "l1"),
        ({"shape": 1.0}, "shape"),
        ({"mask": 0, "depth": 0}, "zero"),
    ],
)
def test_bad_weights_leave_the_old_ones(tuner, change, word):
    with pytest.raises(InputError, match=word):
        tuner.set_weights(**change)
    assert tuner.trainer.weights == LossWeights()


def test_saving_overwrites_nothing(tuner, tmp_path):
    first, second = (tuner.save(tmp_path / "kept") for _ in range(2))
    assert [p.name for p in first] == ["tuned.safetensors", "tuned.json", "tuned-tries.json"]
    assert [p.name for p in second] == ["tuned-2.safetensors", "tuned-2.json", "tuned-2-tries.json"]
    assert all(path.exists() for path in (*first, *second))
    assert tuning.read_weights(first[1]) == tuner.trainer.weights


def test_weightings_survive_the_file(tmp_path):
    weights = LossWeights(0.4, 0.6, 0.5, 2.0, 0.1, 0.7)
    path = tuning.write_weights(tmp_path / "new" / "w.json", weights)
    assert tuning.read_weights(path) == weights
    assert json.loads(path.read_text(encoding="utf-8"))["MASK_WEIGHT"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "text", ["nonsense", "[1]", "{}", '{"MASK_WEIGHT": -1}', '{"MASK_WEIGHT": "much"}', '{"LR": 1}']
)
def test_files_that_are_no_weighting_are_refused(text, tmp_path):
    (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        tuning.read_weights(tmp_path / "bad.json")
    with pytest.raises(InputError, match="nowhere"):
        tuning.read_weights(tmp_path / "nowhere.json")


def test_a_mosaic_shows_what_it_says(examples):
    mask = examples["mask"]
    depth = examples["depth"]
    picture = tuning.mosaic(examples, mask, depth, zoom=1)
    drawn = np.concatenate(list(mask.permute(0, 2, 3, 1).numpy()), axis=1)
    assert np.allclose(picture[32:64] / 255, drawn, atol=0.01)
    assert np.ptp(picture[96:].reshape(-1, 3), axis=0).max() == 0, "no error, one colour"
    far = tuning.mosaic(examples, mask, depth - 0.3, zoom=1)[96:]
    assert (far[..., 0] > far[..., 2]).all(), "too far is red"
