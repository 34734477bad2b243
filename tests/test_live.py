"""Steering a training: presets, the gauge of the gradients, the memory, and the panel."""

import dataclasses
import json
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY

from eva_helpers import plots, tuning
from eva_helpers.files import InputError
from eva_helpers.losses import TERMS, Balance, LossWeights, raw_terms
from eva_helpers.model import MaskDepthNet
from eva_helpers.tuning.gradients import task_gradient
from eva_helpers.tuning.memory import MIN_STEPS

STEPS = 6  # of an epoch
OFF = {name: LossWeights(**{key: 0.0}) for name, key in (("mask off", "mask"), ("L1 off", "l1"))}
DEPTH_OFF = LossWeights(depth=0.0)


def pause(tuner):
    tuner.pause()
    tuner.wait_until("paused")


def tried(tuner, *weightings):
    """A paused training in which each weighting was tried."""
    tuner.start()
    for weights in weightings:
        tuner.set_weights(**{name: getattr(weights, name) for name in tuning.SLIDERS})
        tuner.wait(MIN_STEPS + 1)
    pause(tuner)
    return tuner.memory.tries


# --- presets


def test_presets_are_weightings_with_names():
    assert list(tuning.WEIGHT_PRESETS)[-1] == "0.3 / 0.7"
    assert tuning.WEIGHT_PRESETS["0.3 / 0.7"] == LossWeights()
    for name, weights in tuning.WEIGHT_PRESETS.items():
        off, _, word = name.lower().partition(" ")
        assert word != "off" or getattr(weights, off) == 0
        assert max(getattr(weights, each) for each in tuning.SLIDERS) <= 2, "within the sliders"


# --- the pace and the gauge


def test_a_pace_bounds_the_share_of_the_time():
    now = [100.0]
    pace = tuning.Pace(10, 0.04, clock=lambda: now[0])
    assert pace.due()
    with pace.work():
        now[0] += 0.1
    now[0] = 109.9
    assert not pace.due()
    now[0] = 110.0
    assert pace.due(), "cheap work is repeated every ten seconds"
    with pytest.raises(RuntimeError), pace.work():
        now[0] += 2.0
        raise RuntimeError
    now[0] = 159.9
    assert not pace.due(), "two seconds are 4 % of fifty, also if the work failed"
    now[0] = 160.0
    assert pace.due()


def test_the_gauge_measures_what_a_calculation_by_hand_gives():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    terms = {"mask": w[0] ** 2, "dice": w[1], "l1": 3 * w[0] - 4 * w[1]}
    loss = 0.5 * (terms["mask"] + terms["dice"]) + 2 * terms["l1"]
    found = tuning.conflict(loss, terms, [w])  # gradients (1, 0.5) and (6, -8)
    assert found["gradient mask"] == pytest.approx(1.25**0.5)
    assert found["gradient depth"] == pytest.approx(10)
    assert found["cosine"] == pytest.approx((1 * 6 - 0.5 * 8) / (1.25**0.5 * 10))
    assert tuning.conflict(loss, terms, [w], scale=2**16) == pytest.approx(found)
    opposed = {"mask": w[0], "l1": -3 * w[0]}
    assert tuning.conflict(sum(opposed.values()), opposed, [w])["cosine"] == pytest.approx(-1)


@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "geometric"])
def test_both_tasks_add_up_to_the_gradient_of_the_loss(examples, balance):
    torch.manual_seed(0)
    net = MaskDepthNet(TINY)
    terms = raw_terms(*net(examples["background"], examples["image"]), examples)
    loss = Balance(balance)(terms, LossWeights())
    parameters = list(net.encoder.parameters())
    parts = [task_gradient(task, loss, terms, parameters) for task in ("mask", "depth")]
    loss.backward()
    whole = torch.cat([parameter.grad.flatten() for parameter in parameters])
    assert torch.allclose(sum(parts), whole, atol=1e-6) and all(part.any() for part in parts)


def test_the_gradient_of_the_depth_spares_the_mask_decoder(make_trainer, examples):
    """In the network the depth's loss does not reach the mask, only the encoder that they share."""
    trainer = make_trainer()
    loss, terms = trainer.losses(examples)
    decoder = list(trainer.net.mask_decoder.parameters())
    assert not task_gradient("depth", loss, terms, decoder).any()
    assert task_gradient("mask", loss, terms, decoder).any()


def test_a_task_without_gradient_is_a_gap(make_trainer, examples):
    trainer = make_trainer()
    parameters = list(trainer.net.encoder.parameters())
    unlabelled = examples | {"depth": torch.zeros_like(examples["depth"])}
    cases = [(LossWeights(depth=0.0), examples), (LossWeights(), unlabelled)]
    for trainer.weights, batch in cases:
        found = tuning.conflict(*trainer.losses(batch), parameters)
        assert np.isnan([found["cosine"], found["gradient depth"]]).all()
        assert found["gradient mask"] > 0
    trainer.weights = LossWeights(mask=0.0)
    found = tuning.conflict(*trainer.losses(examples), parameters)
    assert np.isnan(found["gradient mask"]) and found["gradient depth"] > 0
    found = tuning.conflict(*trainer.losses(unlabelled), parameters)
    assert np.isnan(list(found.values())).all(), "nothing is trained at all"


def test_the_gauge_touches_nothing(make_trainer, examples):
    trainer = make_trainer()
    loss, terms = trainer.losses(examples)
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    random = torch.get_rng_state()
    tuning.conflict(loss, terms, list(trainer.net.encoder.parameters()))
    assert all(torch.equal(before[name], now) for name, now in trainer.net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in trainer.net.parameters())


def test_a_training_with_the_gauge_is_the_same_to_the_bit(make_trainer, examples):
    plain = make_trainer("plain", epochs=2)
    plain.fit()
    random = torch.get_rng_state()
    tuner = tuning.Tuner(make_trainer("measured", epochs=2), examples)
    tuner.gauge = tuning.Pace(0, 1e9)  # in every step
    tuner.start()
    tuner.wait_until("finished")
    measured = [row["cosine"] for row in tuner.record]
    assert len(measured) == 2 * STEPS and np.isfinite(measured).all()
    assert torch.equal(torch.get_rng_state(), random)
    for one, other in ((plain.net, tuner.trainer.net), (plain.averaged, tuner.trainer.averaged)):
        expected = one.state_dict()
        assert all(torch.equal(expected[name], v) for name, v in other.state_dict().items())
    grads = zip(plain.net.parameters(), tuner.trainer.net.parameters(), strict=True)
    assert all(torch.equal(one.grad, other.grad) for one, other in grads)


def test_the_record_has_the_learning_rate_of_each_step(tuner):
    tuner.start()
    tuner.wait(4)
    tuner.stop()
    rates = [row["lr"] for row in tuner.record]
    expected = tuner.trainer.make_schedule(torch.optim.SGD([torch.zeros(1)]), 40 * STEPS)
    for rate in rates:
        assert rate == pytest.approx(expected.get_last_lr()[0])
        expected.optimizer.step()
        expected.step()
    assert "cosine" in tuner.record[0] and "cosine" not in tuner.record[1], "at its pace"


# --- the memory


def row(step, value=0.5):
    return {"step": step, "loss": value} | dict.fromkeys(TERMS, value)


def remembered(*weightings, steps=MIN_STEPS):
    memory = tuning.Memory()
    for weights in weightings:
        memory.begin(weights)
        for step in range(steps):
            memory.add(row(step))
    return memory


def test_the_memory_has_an_entry_per_weighting_that_lasted():
    memory = remembered(LossWeights(), OFF["mask off"])
    for step in range(MIN_STEPS - 1):  # a slider passes over it
        memory.begin(LossWeights(mask=1.0))
        memory.add(row(step))
    memory.begin(OFF["mask off"])
    memory.add(row(99))
    assert [each.title for each in memory.tries] == ["1: 0.3 / 0.7", "2: mask off"]
    assert [each.steps for each in memory.tries] == [MIN_STEPS, MIN_STEPS + 1]
    memory.begin(LossWeights(mask=1.0, depth=0.2))
    assert len(memory.tries) == 2, "the one in force has no steps yet"
    for step in range(MIN_STEPS):
        memory.add(row(step))
    assert memory.tries[2].title == "3: mask 1, depth 0.2"


def test_undo_goes_back_and_further_back(tuner):
    with pytest.raises(InputError, match="no earlier weighting"):
        tuner.undo()
    first, second, third = LossWeights(), OFF["mask off"], OFF["L1 off"]
    tried(tuner, first, second, third)
    tuner.set_weights(edge=0.1)
    tuner.set_weights(edge=0.2)
    tuner.set_weights(edge=0.2)  # nothing changes, so there is nothing to undo
    assert tuner.undo() == dataclasses.replace(third, edge=0.1), "also what was tried for no step"
    assert tuner.undo() == third
    assert tuner.undo() == second and tuner.trainer.weights == second
    assert tuner.undo() == first
    with pytest.raises(InputError):
        tuner.undo()


def test_undo_before_the_first_step(tuner):
    for value in (0.1, 0.2):
        tuner.set_weights(mask=value)
    assert tuner.undo() == LossWeights(mask=0.1)
    assert tuner.undo() == LossWeights()


def test_a_training_remembers_scores_and_pictures(tuner):
    first, second = tried(tuner, LossWeights(), OFF["mask off"])
    assert (first.weights, second.weights) == (LossWeights(), OFF["mask off"])
    assert all(each.steps >= MIN_STEPS and not each.failed for each in (first, second))
    assert first.scores.keys() == {"mask_iou", "depth_rmse_std", "cosine"}, "measured in step 1"
    assert second.picture.shape == (4 * 32, 4 * 32, 3)
    expected = tuning.mosaic(tuner.examples, *tuner.predictions(), zoom=1)
    assert np.array_equal(second.picture, expected), "of the paused network"
    steps = [row["step"] for each in (first, second) for row in each.rows]
    assert steps == [row["step"] for row in tuner.record]


def test_a_weighting_that_failed_stays_in_the_memory(tuner):
    tried(tuner, LossWeights())
    real = tuner.trainer.losses

    def losses(batch):
        loss, terms = real(batch)
        return loss * (float("nan") if tuner.trainer.weights.mask == 0 else 1), terms

    tuner.trainer.losses = losses
    tuner.set_weights(mask=0.0)
    tuner.start()
    with pytest.raises(InputError, match="not finite"):
        tuner.wait(50)
    before, failed = tuner.memory.tries
    assert not before.failed and "not finite" in failed.failed and failed.steps == 0
    assert failed.title == "2: mask off (failed)"
    tuner.undo()
    tuner.start()
    tuner.wait(MIN_STEPS + 1)
    tuner.stop()
    assert [each.number for each in tuner.memory.tries] == [1, 2, 3]
    assert [len(figure.axes) for figure in figures(tuner.memory.tries)] == [6, 2]


def figures(tries):
    return tuning.overlay(tries), tuning.side_by_side(*tries[:2])


def test_the_memory_survives_its_file(tuner, tmp_path):
    tries = tried(tuner, LossWeights(), OFF["mask off"])
    tries[1].failed = "broken"
    path = tuner.save(tmp_path)[2]
    again = tuning.read_tries(path)
    for one, other in zip(tries, again, strict=True):
        assert one.title == other.title and one.scores == pytest.approx(other.scores)
        assert np.array_equal(one.picture, other.picture) and one.failed == other.failed
        assert one.steps == other.steps == len(other.rows)
        assert other.rows[-1]["mask"] == pytest.approx(one.rows[-1]["mask"])
    kept = json.loads((tmp_path / "tuned.json").read_text(encoding="utf-8"))
    assert kept.keys() == set(tuning.PARAMETERS.values()), "what notebook 04 reads"


def test_long_curves_are_thinned_in_the_file(tmp_path):
    memory = remembered(LossWeights(), steps=1001)
    (read,) = tuning.read_tries(tuning.write_tries(tmp_path / "tries.json", memory.tries))
    assert read.steps == 1001 and 100 < len(read.rows) <= 200 and read.picture is None
    assert tuning.read_tries(tuning.write_tries(tmp_path / "none.json", [])) == []


@pytest.mark.parametrize(
    "change",
    ["nonsense", "{}", "[1]", {"picture": "iVBORw0KGgo="}, {"picture": "?"}, {"weights": {"x": 1}},
     {"weights": {"mask": -1}}, {"rows": [{"step": 1}]}, {"scores": 3}, {"number": None}],
)  # fmt: skip
def test_a_damaged_memory_is_refused_in_one_sentence(change, tmp_path):
    (entry,) = remembered(LossWeights()).tries
    text = change if isinstance(change, str) else json.dumps([entry.to_dict() | change])
    path = tmp_path / "tries.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not a memory") as refused:
        tuning.read_tries(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="nowhere"):
        tuning.read_tries(tmp_path / "nowhere.json")


# --- the panel


def draw(tuner):
    picture = tuning.mosaic(tuner.examples, *tuner.predictions())
    return plots.tuning(tuner.record, tuner.trainer.history, picture)


def simple(tuner):
    """A quicker picture than `draw`."""
    return np.full((2, 2, 3), len(tuner.record) % 256, np.uint8)


@pytest.fixture
def panel(tuner, tmp_path):
    return tuning.tuner_panel(tuner, simple, tmp_path / "kept")


def press(panel, text):
    bars = panel.box.children[:2]
    next(each for bar in bars for each in bar.children if each.description == text).click()


def tick(panel):
    """What the front end does once a second."""
    panel.player.value += 1


def test_the_live_figure(tuner):
    assert draw(tuner).axes, "before the first step"
    tuner.start()
    tuner.wait(STEPS + 2)
    tuner.stop()
    assert len(tuning.png(draw(tuner))) > 5000


def test_the_buttons_call_the_tuner(panel, tuner, tmp_path):
    press(panel, "reset to best")
    assert len(panel.errors) == 1 and "no checkpoint" in panel.status.value
    press(panel, "start / resume")
    assert "running" in panel.status.value and panel.player.playing
    tuner.wait(2)
    panel.sliders["l1"].value = 1.5
    assert tuner.trainer.weights.l1 == pytest.approx(1.5) and "l1 1.5" in panel.status.value
    press(panel, "pause")
    tuner.wait_until("paused")
    press(panel, "save")
    assert (tmp_path / "kept/tuned-tries.json").exists() and "tuned.json" in panel.status.value
    press(panel, "start / resume")
    press(panel, "stop")
    assert tuner.state == "stopped" and "stopped" in panel.progress.value
    assert not panel.player.playing, "nothing more to poll"
    assert bytes(panel.picture.value[:4]) == b"\x89PNG" and len(panel.errors) == 1


def test_a_refused_weighting_is_reported_and_the_slider_goes_back(panel, tuner):
    for name in ("mask", "depth"):
        panel.sliders[name].value = 0
    assert len(panel.errors) == 1 and "zero" in panel.status.value
    assert panel.sliders["depth"].value == tuner.trainer.weights.depth == pytest.approx(0.7)


def test_presets_and_undo_set_all_sliders_at_once(panel, tuner):
    used = []
    real = tuner.set_weights
    tuner.set_weights = lambda **changes: used.append(real(**changes))
    press(panel, "depth off")
    tuner.start()
    tuner.wait(MIN_STEPS + 1)
    press(panel, "mask off")  # one slider at a time, all weights would be zero in between
    tuner.wait(MIN_STEPS + 1)
    assert used == [DEPTH_OFF, OFF["mask off"]] and not panel.errors
    assert (panel.sliders["mask"].value, panel.sliders["depth"].value) == pytest.approx((0, 0.7))
    press(panel, "undo")
    assert tuner.trainer.weights == DEPTH_OFF and "depth 0" in panel.status.value
    assert (panel.sliders["mask"].value, panel.sliders["depth"].value) == pytest.approx((0.3, 0))
    press(panel, "undo")
    press(panel, "undo")
    assert "no earlier weighting" in panel.status.value and len(panel.errors) == 1


def test_pictures_are_hidden_until_there_are_some(panel, tuner):
    pictures = (panel.picture, panel.tries.pair, panel.tries.overlay)
    assert [each.layout.display for each in pictures] == ["none"] * 3
    tried(tuner, LossWeights(), OFF["mask off"])
    panel.poll()
    assert [each.layout.display for each in pictures] == [None] * 3


def test_polling_draws_what_is_new(panel, tuner):
    panel.pace = tuning.Pace(1e9, 1)
    press(panel, "start / resume")
    tuner.wait(3)
    assert not panel.picture.value, "the training's thread writes no widget"
    tick(panel)
    first = panel.picture.value
    assert first and "running: step" in panel.progress.value
    tuner.wait(2)
    tick(panel)
    assert panel.picture.value == first, "not yet, at its pace"
    panel.pace = tuning.Pace(0, 1)
    tick(panel)
    assert panel.picture.value != first
    panel.pace = tuning.Pace(1e9, 1)
    pause(tuner)
    tick(panel)
    assert "paused" in panel.progress.value, "a new state is shown at once"
    panel.draw = lambda tuner: pytest.fail("nothing is new")
    tick(panel)
    assert not panel.errors


def test_a_picture_can_be_asked_for(panel, tuner):
    """Where the player does not count, a button still calls the kernel."""
    panel.pace = tuning.Pace(1e9, 1)
    panel.look.click()
    first = panel.picture.value
    press(panel, "start / resume")
    tuner.wait(3)
    panel.look.click()
    assert first and panel.picture.value != first and "running: step" in panel.progress.value


def test_a_page_that_was_loaded_again_counts_again(panel):
    """The front end begins to count when `playing` changes, not when it is found set."""
    sent = []
    press(panel, "start / resume")
    panel.player.observe(lambda change: sent.append(change["new"]), names="playing")
    press(panel, "start / resume")
    assert sent == [False, True]


def test_a_panel_that_is_made_again_leaves_no_training_behind(panel, tuner, make_trainer, examples):
    press(panel, "start / resume")
    tuner.wait(1)
    second = tuning.Tuner(make_trainer("second"), examples)
    again = tuning.tuner_panel(second, simple, "unused")
    press(again, "start / resume")
    assert tuner.state == "stopped" and (tuner.trainer.folder / "last.safetensors").exists()
    assert str(tuner.trainer.folder) in again.status.value and second.state == "running"
    press(again, "stop")
    assert not [each for each in threading.enumerate() if each.name == "tuner"]


def test_every_widget_is_written_by_the_main_thread(panel, tuner):
    writers = set()
    for widget in (panel.picture, panel.status, panel.progress, panel.tries.pair):
        widget.observe(lambda change: writers.add(threading.current_thread()), names="value")
    press(panel, "start / resume")
    for name in ("mask off", "L1 off"):
        press(panel, name)
        tuner.wait(MIN_STEPS + 1)
        tick(panel)
    press(panel, "stop")
    assert writers == {threading.main_thread()}


def test_why_a_training_failed_is_shown_once(panel, tuner):
    def fail(batch):
        raise RuntimeError("broken on purpose")

    tuner.trainer.step = fail
    press(panel, "start / resume")
    with pytest.raises(RuntimeError, match="on purpose"):
        tuner.wait(1)
    for _ in range(2):
        tick(panel)
    assert "RuntimeError: broken on purpose" in panel.status.value and len(panel.errors) == 1
    assert "failed" in panel.progress.value and not panel.player.playing
    assert "(failed)" in tuner.memory.tries[0].title


def test_two_tries_are_chosen_and_compared(panel, tuner):
    tried(tuner, LossWeights(), DEPTH_OFF, OFF["mask off"])
    tick(panel)
    first, second = panel.tries.choices
    assert [label for label, _ in first.options] == ["1: 0.3 / 0.7", "2: depth off", "3: mask off"]
    assert (first.value, second.value) == (1, 3) and panel.tries.overlay.value
    pair = panel.tries.pair.value
    first.value = 2
    assert panel.tries.pair.value != pair and not panel.errors
    tuner.set_weights(l1=0.5)
    tuner.start()
    tuner.wait(MIN_STEPS + 1)
    pause(tuner)
    panel.pace = tuning.Pace(0, 1)
    tick(panel)
    assert (first.value, second.value) == (2, 4), "the first stays, the second is the newest"


def test_the_older_player_is_started_by_hand(panel, tuner):
    """ipywidgets 7, as on Colab, starts no player from the kernel."""
    panel.player = SimpleNamespace(has_trait=lambda name: False, _playing=False)
    press(panel, "start / resume")
    assert "press" in panel.status.value
    panel.player._playing = True
    press(panel, "stop")
    assert panel.player._playing is False and not panel.errors


def test_other_threads_get_their_turn_sooner_while_a_figure_is_drawn(panel, tuner):
    usual = sys.getswitchinterval()
    seen = []
    panel.draw = lambda tuner: seen.append(sys.getswitchinterval()) or 1 / 0
    tried(tuner, LossWeights())
    with pytest.raises(ZeroDivisionError):
        panel.poll()
    assert seen[0] < usual / 10 and sys.getswitchinterval() == usual
