"""Tuning by hand, without a browser: the thread, the weights, the previews, and the panels' callbacks."""

import threading
import time

import numpy as np
import pytest
import torch
from conftest import TINY

from eva_helpers import dataset, losses, metrics, plots, training, widgets
from eva_helpers.images import InputError
from eva_helpers.losses import LossWeights
from eva_helpers.model import ConditionalNet, MaskDepthNet, ModelConfig


@pytest.fixture
def examples(tiny):
    held = dataset.CompositeDataset(tiny, "validation", "validation", size=32)
    return next(iter(dataset.loader(dataset.fixed_sample(held, 4), 4)))


@pytest.fixture
def tuner(tiny, tmp_path, examples):
    pairs = dataset.CompositeDataset(tiny, size=32, augment=True)
    train = dataset.loader(pairs, 4, samples=24, seed=0)
    torch.manual_seed(0)
    config = training.TrainingConfig(epochs=40)
    trainer = training.Trainer(MaskDepthNet(TINY), train, [examples], tmp_path / "run", config, z_near=tiny.z_near, say=lambda line: None)
    made = widgets.Tuner(trainer, examples)
    yield made
    made.stop()


@pytest.fixture
def conditional():
    torch.manual_seed(0)
    net = ConditionalNet(ModelConfig(**TINY.to_dict() | {"conditional": True})).eval()
    for layer in net.modules():
        if hasattr(layer, "to_film"):
            torch.nn.init.normal_(layer.to_film.weight, 0, 0.3)
    return net


def test_importing_needs_no_widgets():
    import subprocess
    import sys

    code = "import sys; from eva_helpers import widgets; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_widgets_where_nobody_looks(monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert not widgets.wanted(True)
    monkeypatch.delenv("CI")
    assert widgets.wanted(True) and not widgets.wanted(False)


def test_a_moved_weight_holds_from_the_next_step(tuner):
    tuner.start()
    tuner.wait(3)
    before = len(tuner.record)
    tuner.set_weights(mask=1.25)
    tuner.wait(3)
    used = [row["weight mask"] for row in tuner.record]
    assert used[0] == 0.3 and used[-1] == 1.25 and 1.25 in used[before : before + 2]
    row = tuner.record[-1]
    assert row["loss"] == pytest.approx(losses.weighted_sum({k: torch.tensor(row[k]) for k in losses.TERMS}, LossWeights(mask=1.25)).item())


def test_pause_holds_and_resume_goes_on(tuner):
    tuner.start()
    tuner.wait(2)
    tuner.pause()
    time.sleep(0.5)
    count = len(tuner.record)
    time.sleep(0.5)
    assert tuner.state == "paused" and len(tuner.record) == count
    tuner.set_weights(depth=0.1)
    tuner.start()
    tuner.wait(2)
    assert tuner.state == "running" and tuner.record[count]["weight depth"] == 0.1


def test_stopping_keeps_a_checkpoint_and_ends_the_thread(tuner):
    tuner.start()
    tuner.wait(2)
    tuner.stop()
    assert tuner.state == "stopped" and not any(thread.name == "tuner" for thread in threading.enumerate())
    assert isinstance(training.load_weights(tuner.trainer.folder / "last.safetensors"), MaskDepthNet)
    tuner.start()
    tuner.wait(2)
    assert tuner.state == "running", "a stopped training can go on"


def test_two_trainings_at_once_are_refused(tuner, examples):
    tuner.start()
    with pytest.raises(InputError, match="running"):
        tuner.start()
    with pytest.raises(InputError, match="running"):
        widgets.Tuner(tuner.trainer, examples).start()
    tuner.wait(1)
    assert tuner.error is None


def test_reset_goes_back_to_the_best(tuner):
    with pytest.raises(InputError, match="no checkpoint"):
        tuner.reset()
    tuner.start()
    tuner.wait(8)  # more than an epoch
    tuner.pause()
    time.sleep(0.4)
    best = training.load_weights(tuner.trainer.folder / "best.safetensors").state_dict()
    tuner.reset()
    time.sleep(0.6)
    state = tuner.trainer.averaged.module.state_dict()
    assert all(torch.equal(state[name], value) for name, value in best.items())


def test_a_failing_training_says_so_and_keeps_the_last_checkpoint(tuner):
    tuner.start()
    tuner.wait(8)
    good = (tuner.trainer.folder / "best.safetensors").read_bytes()
    tuner.pause()
    time.sleep(0.3)
    real = tuner.trainer.step
    tuner.trainer.step = lambda batch: real(batch) | {"loss": float("nan")}
    tuner.start()
    with pytest.raises(InputError, match="loss is nan"):
        tuner.wait(50)
    assert tuner.state == "failed" and (tuner.trainer.folder / "best.safetensors").read_bytes() == good


@pytest.mark.parametrize(
    "change, word",
    [({"mask": -1}, "mask"), ({"l1": float("nan")}, "l1"), ({"shape": 1.0}, "shape"), ({"mask": 0, "depth": 0}, "zero")],
)
def test_bad_weights_leave_the_old_ones(tuner, change, word):
    with pytest.raises(InputError, match=word):
        tuner.set_weights(**change)
    assert tuner.trainer.weights == LossWeights()


def test_saving_overwrites_nothing(tuner, tmp_path):
    first, second = tuner.save(tmp_path / "kept"), tuner.save(tmp_path / "kept")
    assert len({*first, *second}) == 4 and all(path.exists() for path in (*first, *second))
    assert widgets.read_weights(first[1]) == tuner.trainer.weights


def test_weightings_survive_the_file(tmp_path):
    weights = LossWeights(0.4, 0.6, 0.5, 2.0, 0.1, 0.7)
    assert widgets.read_weights(widgets.write_weights(tmp_path / "w.json", weights)) == weights
    for text in ("nonsense", "[1]", '{"MASK_WEIGHT": -1}', '{"MASK_WEIGHT": "much"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError):
            widgets.read_weights(tmp_path / "bad.json")
    with pytest.raises(InputError, match="nowhere"):
        widgets.read_weights(tmp_path / "nowhere.json")


def test_the_preview_follows_the_weights(conditional, examples):
    one = widgets.preview(conditional, examples, LossWeights(1.0, 0.0))
    other = widgets.preview(conditional, examples, LossWeights(0.0, 1.0))
    assert one.dtype == np.uint8 and one.shape == other.shape == (5 * 64, 4 * 64, 3)
    assert np.array_equal(one[:64], other[:64]) and not np.array_equal(one[64:256], other[64:256])
    usual = widgets.preview(conditional, examples, LossWeights(3.0, 7.0))
    with torch.no_grad():
        depth = widgets.at_weighting(conditional, LossWeights(1.0, 0.0))(examples["background"], examples["image"])[1]
    own = widgets.preview(conditional, examples, LossWeights(1.0, 0.0), depth)
    changes = [np.ptp(picture[256:].reshape(-1, 3), axis=0).max() for picture in (usual, own, one)]
    assert changes[:2] == [0, 0] and changes[2] > 50, "the last row shows what has changed, and nothing else"
    doubled = widgets.preview(conditional, examples, LossWeights(2.0, 0.0))
    assert np.array_equal(one, doubled), "only the ratios count"
    with pytest.raises(InputError, match="weight 0"):
        widgets.preview(conditional, examples, LossWeights(0, 1, ssim=0, edge=0, l1=0, ssi=1))


def test_weightings_are_compared_in_full_precision(conditional, examples, monkeypatch):
    monkeypatch.setattr(metrics, "autocast", lambda device: torch.autocast("cpu", torch.bfloat16))
    photos, usual = (examples["background"], examples["image"]), LossWeights()
    with torch.no_grad():
        exact = conditional(*photos, losses.condition(usual))[1]
        assert torch.allclose(widgets.at_weighting(conditional, usual)(*photos)[1], exact, atol=1e-6)
        assert not torch.allclose(metrics.network(conditional, "cpu", losses.condition(usual))(*photos)[1], exact, atol=1e-6)


def test_a_mosaic_shows_what_it_says(examples):
    picture = widgets.mosaic(examples, examples["mask"], examples["depth"], zoom=1)
    assert np.allclose(picture[32:64] / 255, np.concatenate(list(examples["mask"].permute(0, 2, 3, 1).numpy()), 1), atol=0.01)
    assert np.ptp(picture[96:].reshape(-1, 3), axis=0).max() == 0, "no error, one colour"
    far = widgets.mosaic(examples, examples["mask"], examples["depth"] - 0.3, zoom=1)[96:]
    assert (far[..., 0] > far[..., 2]).all(), "too far is red"
    nearer = widgets.mosaic(examples, examples["mask"], examples["depth"], examples["depth"] - 0.01, zoom=1)
    assert np.array_equal(nearer[:128], picture) and (nearer[128:, :, 2] > nearer[128:, :, 0]).all(), "what came nearer is blue"


def test_the_tradeoff_of_every_weighting(conditional, examples, tiny):
    rows = widgets.tradeoff(conditional, [examples], tiny.z_near, widgets.simplex((0.1, 0.9)))
    assert len(rows) == 8 and len({row["depth_rmse_std"] for row in rows}) > 1
    with torch.no_grad():
        mask_logits, depth = conditional(examples["background"], examples["image"], losses.condition(rows[3]["weights"]))
    assert rows[3]["mask_iou"] == pytest.approx(metrics.iou(mask_logits.sigmoid(), examples["mask"]).mean().item(), abs=0.02)
    rmse = metrics.depth_metrics(depth, examples["depth"], tiny.z_near)["rmse"].mean().item()
    assert rows[3]["depth_rmse"] == pytest.approx(rmse, abs=0.005), "each row is of its own weighting"
    figure = plots.tradeoff(rows, rows[0])
    assert len(figure.axes[0].collections) == 2


def test_how_each_loss_answers_to_its_weight(conditional, examples):
    answers = widgets.responses(conditional, [examples])
    assert list(answers) == list(losses.CONDITIONED) and all(len(values) == len(widgets.SHARES) for values in answers.values())
    for name, number in (("mask", 0), ("edge", 3)):
        weights = losses.emphasised(LossWeights(), name, widgets.SHARES[number])
        with torch.no_grad():
            terms = losses.raw_terms(*conditional(examples["background"], examples["image"], losses.condition(weights)), examples)
        expected = terms[name] + (terms["dice"] if name == "mask" else 0)
        assert answers[name][number] == pytest.approx(expected.item(), rel=1e-4)
    figure = plots.responses({"some pairs": answers, "the same": answers}, widgets.SHARES)
    drawn = figure.axes[1].lines[0].get_ydata()
    assert drawn[0] == 0 and drawn[-1] == pytest.approx(100 * (answers["mask"][-1] / answers["mask"][0] - 1))


def test_the_live_figure(tuner):
    tuner.start()
    tuner.wait(8)
    tuner.stop()
    picture = widgets.mosaic(tuner.examples, *tuner.predictions())
    figure = plots.tuning(tuner.record, tuner.trainer.history, picture)
    assert len(widgets.png(figure)) > 5000
    assert plots.tuning([], [], picture).axes


def draw(tuner):
    return plots.tuning(tuner.record, tuner.trainer.history, widgets.mosaic(tuner.examples, *tuner.predictions()))


def test_the_tuners_panel_calls_the_tuner(tuner, tmp_path):
    panel = widgets.tuner_panel(tuner, draw, tmp_path / "kept")
    start, pause, reset, save, stop = panel.box.children[0].children
    start.click()
    tuner.wait(2)
    panel.sliders["l1"].value = 1.5
    assert tuner.trainer.weights.l1 == 1.5 and "l1 1.5" in panel.status.value
    pause.click()
    time.sleep(0.4)
    assert tuner.state == "paused"
    save.click()
    assert (tmp_path / "kept/tuned.json").exists() and "tuned.json" in panel.status.value
    start.click()
    stop.click()
    assert tuner.state == "stopped" and bytes(panel.picture.value[:4]) == b"\x89PNG" and not panel.errors
    assert reset.description


def test_a_panel_shows_and_keeps_errors(tuner, tmp_path):
    panel = widgets.tuner_panel(tuner, draw, tmp_path)
    for name in ("mask", "depth"):
        panel.sliders[name].value = 0
    assert len(panel.errors) == 1 and "zero" in panel.status.value and tuner.trainer.weights.depth == 0.7


def test_the_preview_panel_follows_sliders_and_points(conditional, examples, tiny):
    rows = widgets.tradeoff(conditional, [examples], tiny.z_near, widgets.simplex((0.1, 0.9)))
    panel = widgets.preview_panel(conditional, examples, rows)
    seen, charts = {panel.picture.value}, {panel.chart.value}
    panel.sliders["mask"].value = 2.0
    seen.add(panel.picture.value)
    points = panel.box.children[-1].children
    points[5].click()
    seen.add(panel.picture.value)
    charts.add(panel.chart.value)
    assert len(charts) == 2, "the ring moves with the sliders"
    assert len(seen) == 3 and not panel.errors
    assert [number for number, point in enumerate(points) if point.layout.border_top] == [5], "the point of the sliders is marked, no other"
    assert [panel.sliders[name].value for name in ("mask", "ssim")] == pytest.approx(
        [rows[5]["weights"].mask, rows[5]["weights"].ssim], abs=1e-6
    )


def test_every_weighting_has_its_place_in_the_chart():
    scores = ((0.5, 0.2), (0.7, 0.3), (0.6, 0.1))
    rows = [{"mask_iou": x, "depth_rmse_std": y, "weights": LossWeights(0.2 + y, 0.5)} for x, y in scores]
    picture, places = widgets.chart(rows)
    assert places[0, 0] < places[2, 0] < places[1, 0], "better masks stand to the right"
    assert places[2, 1] > places[0, 1] > places[1, 1], "smaller depth errors stand lower"
    for place in places:
        around = picture[int(place[1]) - 2 : int(place[1]) + 3, int(place[0]) - 2 : int(place[0]) + 3]
        assert around.min() < 200, "a dot is drawn there"
        ring = widgets.ringed(picture, place) != picture
        assert ring.any() and np.abs(np.argwhere(ring.any(2))[:, ::-1].mean(0) - place).max() < 1.5


def test_a_conditional_training_listens_to_its_weights(tiny, tmp_path, examples):
    """After a while of drawn weightings the network answers two extremes differently, and its file brings a conditional network back."""
    pairs = dataset.CompositeDataset(tiny, size=32)
    torch.manual_seed(0)
    config = training.TrainingConfig(epochs=4, lr=5e-3, ema=0.9)
    net = ConditionalNet(ModelConfig(**TINY.to_dict() | {"conditional": True}))
    trainer = training.ConditionalTrainer(
        net, dataset.loader(pairs, 16, samples=160, seed=0), [examples], tmp_path / "c", config, z_near=tiny.z_near, say=lambda line: None
    )
    trainer.fit()
    loaded = training.load_weights(tmp_path / "c/last.safetensors")
    assert isinstance(loaded, ConditionalNet)
    scores = {}
    for name, weights in {"mask": LossWeights(0.98, 0.02), "depth": LossWeights(0.02, 0.98)}.items():
        with torch.no_grad():
            logits, depth = loaded(examples["background"], examples["image"], losses.condition(weights))
        scores[name] = metrics.iou(logits.sigmoid(), examples["mask"]).mean().item(), losses.depth_l1(depth, examples["depth"]).item()
    assert scores["mask"] != scores["depth"]


def test_every_pair_is_shown_with_a_weighting_and_with_its_mirror(tiny, tmp_path, examples, monkeypatch):
    net = ConditionalNet(ModelConfig(**TINY.to_dict() | {"conditional": True}))
    loader = dataset.loader(dataset.CompositeDataset(tiny, size=32), 6, samples=6, seed=0)
    trainer = training.ConditionalTrainer(net, loader, [examples], tmp_path / "c", z_near=tiny.z_near, say=lambda line: None)
    shown, predict = {}, trainer.predict
    monkeypatch.setattr(
        trainer, "predict", lambda batch, conditions: shown.update(batch, conditions=conditions) or predict(batch, conditions)
    )
    loss, terms = trainer.losses(next(iter(loader)))
    assert loss.isfinite() and set(terms) == set(losses.TERMS) and len(shown["image"]) == 12
    for name in ("background", "image", "mask", "depth"):
        assert torch.equal(*shown[name].chunk(2))
    ratios = (shown["conditions"] / losses.condition(trainer.weights)).log()
    one, other = (ratios - ratios.mean(1, keepdim=True)).chunk(2)
    assert torch.allclose(one, -other, atol=1e-4) and len(shown["conditions"].unique(dim=0)) == 2 * trainer.GROUPS
