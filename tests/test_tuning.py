"""Tuning without a browser: the thread, the weights, the previews, and the sliders."""

import json
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY

from eva_helpers import plots, tuning
from eva_helpers.evaluation.metrics import depth_metrics, iou
from eva_helpers.files import InputError
from eva_helpers.losses import (
    CONDITIONED,
    TERMS,
    LossWeights,
    emphasised,
    raw_terms,
    weight_vector,
    weighted_sum,
)
from eva_helpers.model import ConditionalNet, FiLM, MaskDepthNet, inference, load_weights

STEPS = 6  # of an epoch


@pytest.fixture
def conditional():
    torch.manual_seed(0)
    net = ConditionalNet(replace(TINY, conditional=True)).eval()
    for layer in net.modules():
        if isinstance(layer, FiLM):
            torch.nn.init.normal_(layer.to_film.weight, 0, 0.3)
    return net


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
    with pytest.raises(InputError, match="running"):
        tuner.start()
    with pytest.raises(InputError, match="running"):
        tuning.Tuner(tuner.trainer, examples).start()
    tuner.wait(1)
    assert tuner.error is None


def test_reset_goes_back_to_the_best(tuner):
    with pytest.raises(InputError, match="no checkpoint"):
        tuner.reset()
    tuner.start()
    tuner.wait(STEPS + 2)
    pause(tuner)
    best = load_weights(tuner.trainer.folder / "best.safetensors").state_dict()
    nets = (tuner.trainer.averaged_net, tuner.trainer.net)
    changed = [name for name in best if not torch.equal(nets[1].state_dict()[name], best[name])]
    assert changed, "it has been trained since"
    tuner.reset()
    tuner.wait_until("paused")
    for net in nets:
        state = net.state_dict()
        assert all(torch.equal(state[name], value) for name, value in best.items())


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
    assert all(torch.equal(state[name], value) for name, value in best.items())


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


def test_the_preview_follows_the_weights(conditional, examples):
    one = tuning.preview(conditional, examples, LossWeights(1.0, 0.0))
    other = tuning.preview(conditional, examples, LossWeights(0.0, 1.0))
    assert one.dtype == np.uint8 and one.shape == other.shape == (5 * 64, 4 * 64, 3)
    assert np.array_equal(one[:64], other[:64]), "the photos"
    assert not np.array_equal(one[64:256], other[64:256])
    doubled = tuning.preview(conditional, examples, LossWeights(2.0, 0.0))
    assert np.array_equal(one, doubled), "only the ratios count"
    with pytest.raises(InputError, match="weight 0"):
        tuning.preview(conditional, examples, LossWeights(0, 1, ssim=0, edge=0, l1=0, ssi=1))


def test_the_last_row_of_a_preview_is_the_change_of_the_depth(conditional, examples):
    mask_only = LossWeights(1.0, 0.0)
    pair = (examples["background"], examples["image"])
    _, depth = tuning.at_weighting(conditional, mask_only)(*pair)
    pictures = {
        "usual": tuning.preview(conditional, examples, LossWeights(3.0, 7.0)),
        "before": tuning.preview(conditional, examples, mask_only, depth),
        "changed": tuning.preview(conditional, examples, mask_only),
    }
    changes = {
        name: int(np.ptp(picture[256:].reshape(-1, 3), axis=0).max())
        for name, picture in pictures.items()
    }
    assert changes["usual"] == changes["before"] == 0 and changes["changed"] > 50


def test_weightings_are_compared_in_full_precision(conditional, examples, monkeypatch):
    monkeypatch.setattr("eva_helpers.hardware.fast_bf16", lambda: True)
    pair = (examples["background"], examples["image"])
    vector = weight_vector(LossWeights())
    with torch.no_grad():
        exact = conditional(*pair, vector)[1]
    at_usual = tuning.at_weighting(conditional, LossWeights())(*pair)[1]
    assert torch.allclose(at_usual, exact, atol=1e-6)
    rounded = inference(conditional, "cpu", vector)(*pair)[1]
    assert not torch.allclose(rounded, exact, atol=1e-6)


def test_a_mosaic_shows_what_it_says(examples):
    mask = examples["mask"]
    depth = examples["depth"]
    picture = tuning.mosaic(examples, mask, depth, zoom=1)
    drawn = np.concatenate(list(mask.permute(0, 2, 3, 1).numpy()), axis=1)
    assert np.allclose(picture[32:64] / 255, drawn, atol=0.01)
    assert np.ptp(picture[96:].reshape(-1, 3), axis=0).max() == 0, "no error, one colour"
    far = tuning.mosaic(examples, mask, depth - 0.3, zoom=1)[96:]
    assert (far[..., 0] > far[..., 2]).all(), "too far is red"
    nearer = tuning.mosaic(examples, mask, depth, depth - 0.01, zoom=1)
    assert np.array_equal(nearer[:128], picture)
    assert (nearer[128:, :, 2] > nearer[128:, :, 0]).all(), "what came nearer is blue"


def test_the_tradeoff_of_every_weighting(conditional, examples, tiny):
    rows = tuning.tradeoff(conditional, [examples], tiny.z_near, tuning.simplex((0.1, 0.9)))
    assert len(rows) == 8 and len({row["depth_rmse_std"] for row in rows}) > 1
    row = rows[3]
    with torch.no_grad():
        vector = weight_vector(row["weights"])
        mask_logits, depth = conditional(examples["background"], examples["image"], vector)
    score = iou(mask_logits.sigmoid(), examples["mask"]).mean().item()
    assert row["mask_iou"] == pytest.approx(score, abs=0.02)
    rmse = depth_metrics(depth, examples["depth"], tiny.z_near)["rmse"].mean().item()
    assert row["depth_rmse"] == pytest.approx(rmse, abs=0.005), "each row is of its own weighting"
    figure = plots.tradeoff(rows, rows[0])
    assert len(figure.axes[0].collections) == 2


def test_a_tradeoff_needs_depth_labels(conditional, examples, tiny):
    unlabelled = examples | {"depth": torch.zeros_like(examples["depth"])}
    with pytest.raises(InputError, match="no depth labels"):
        tuning.tradeoff(conditional, [unlabelled], tiny.z_near, [LossWeights()])


def test_how_each_loss_responds_to_its_weight(conditional, examples):
    answers = tuning.responses(conditional, [examples])
    assert list(answers) == list(CONDITIONED)
    assert all(len(values) == len(tuning.SHARES) for values in answers.values())
    for name, number in (("mask", 0), ("edge", 3)):
        weights = emphasised(LossWeights(), name, tuning.SHARES[number])
        pair = (examples["background"], examples["image"])
        with torch.no_grad():
            terms = raw_terms(*conditional(*pair, weight_vector(weights)), examples)
        expected = terms[name] + (terms["dice"] if name == "mask" else 0)
        assert answers[name][number] == pytest.approx(expected.item(), rel=1e-4)


def test_the_preview_panel_follows_sliders_and_points(conditional, examples, tiny):
    rows = tuning.tradeoff(conditional, [examples], tiny.z_near, tuning.simplex((0.1, 0.9)))
    panel = tuning.preview_panel(conditional, examples, rows)
    pictures = [panel.picture.value]
    first_chart = panel.chart.value
    panel.sliders["mask"].value = 2.0
    pictures.append(panel.picture.value)
    points = panel.box.children[-1].children
    points[5].click()
    pictures.append(panel.picture.value)
    assert len(set(pictures)) == 3 and not panel.errors and "ms" in panel.status.value
    assert panel.chart.value != first_chart, "the ring moves with the sliders"
    marked = [number for number, point in enumerate(points) if point.layout.border]
    assert marked == [5], "the button of the current weighting is marked, no other"
    values = [panel.sliders[name].value for name in ("mask", "ssim")]
    assert values == pytest.approx([rows[5]["weights"].mask, rows[5]["weights"].ssim], abs=1e-6)


def test_every_weighting_has_its_place_in_the_chart():
    scores = ((0.5, 0.2), (0.7, 0.3), (0.6, 0.1))
    rows = [
        {"mask_iou": x, "depth_rmse_std": y, "weights": LossWeights(0.2 + y, 0.5)}
        for x, y in scores
    ]
    picture, places = tuning.chart(rows)
    assert places[0, 0] < places[2, 0] < places[1, 0], "better masks stand to the right"
    assert places[2, 1] > places[0, 1] > places[1, 1], "smaller depth errors stand lower"
    for place in places:
        x, y = place.astype(int)
        assert picture[y - 2 : y + 3, x - 2 : x + 3].min() < 200, "a dot is drawn there"
        ring = tuning.ringed(picture, place) != picture
        centre = np.argwhere(ring.any(axis=2))[:, ::-1].mean(axis=0)
        assert np.abs(centre - place).max() < 1.5
