import json
import math
import multiprocessing
from dataclasses import replace

import pytest
import torch
from conftest import TINY, write_catalogue

from eva_helpers import plots, training
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, fixed_sample, make_loader
from eva_helpers.files import InputError, read_json, write_json
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, inference, load_weights
from eva_helpers.training.history import epoch_line


def make(
    tiny,
    folder,
    epochs=2,
    balance="fixed",
    samples=32,
    batch=8,
    seed=0,
    data=None,
    model=None,
    catalogue=None,
    minutes=0.0,
    lr=3e-3,
    save_minutes=5.0,
    workers=0,
    **options,
):
    catalogue = catalogue or tiny
    pairs = CompositeDataset(catalogue, size=32, augment=True, **{"strength": 0.5} | (data or {}))
    train = make_loader(pairs, batch, samples=samples, seed=seed, workers=workers)
    held_out = CompositeDataset(catalogue, "validation", "validation", size=32)
    validation = make_loader(fixed_sample(held_out, 8), 8)
    times = {"minutes": minutes, "save_minutes": save_minutes}
    config = training.TrainingConfig(epochs=epochs, balance=balance, lr=lr, **times)
    options = {"z_near": tiny.z_near, "say": lambda line: None} | options
    torch.manual_seed(0)
    net = MaskDepthNet(replace(TINY, **(model or {})))
    return training.Trainer(net, train, validation, folder, config, **options)


def test_an_epoch_leaves_a_record_and_weights(tiny, tmp_path):
    lines = []
    history = make(tiny, tmp_path / "run", say=lines.append).fit()
    assert [row["epoch"] for row in history] == [1, 2] and len(lines) == 2
    text = (tmp_path / "run/history.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == history
    columns = {"mask", "ssim", "edge", "l1", "loss", "mask_iou", "depth_rmse_std", "weights"}
    assert columns <= history[0].keys()
    net = load_weights(tmp_path / "run/best.safetensors")
    assert net.config == TINY and not net.training


def test_a_killed_process_of_the_loader_is_a_sentence_and_the_training_resumes(tiny, tmp_path):
    before = set(multiprocessing.active_children())
    trainer = make(tiny, tmp_path / "run", workers=1)

    def kill(step, _terms):
        if step == 5:  # of the second epoch
            (child,) = set(multiprocessing.active_children()) - before
            child.kill()
            child.join()

    with pytest.raises(InputError, match=r"was killed, .*: resume with fewer of them") as caught:
        trainer.fit(on_step=kill)
    assert str(tmp_path / "run") in str(caught.value)
    again = make(tiny, tmp_path / "run", resume=True)
    assert [row["epoch"] for row in again.fit()] == [1, 2]


def test_the_line_of_an_epoch_names_the_terms_that_there_are():
    row = {"epoch": 2, "loss": 0.5, "mask": 0.25, "dice": 0.75, "mask_iou": 0.6}
    line = epoch_line(row | {"samples_per_second": 41.4, "threads": 2}, 20)
    assert "loss 0.5000  bce 0.2500  dice 0.7500  |  val IoU 0.6000  |  41 samples/s" in line
    assert "2/20" in line and "(2 threads)" in line and "ssim" not in line


def test_a_training_of_before_a_term_existed_resumes(tiny, tmp_path):
    make(tiny, tmp_path / "run", epochs=1).fit()
    record = tmp_path / "run/config.json"
    settings = read_json(record)
    del settings["weight ssi"]
    write_json(record, settings)
    make(tiny, tmp_path / "run", epochs=1, resume=True)
    with pytest.raises(InputError, match="weight ssi None, now 1"):
        make(tiny, tmp_path / "run", epochs=1, resume=True, weights=LossWeights(ssi=1.0))


def test_training_lowers_the_loss(tiny, tmp_path):
    history = make(tiny, tmp_path / "run", epochs=15).fit()
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


@pytest.mark.parametrize("epochs", range(1, 7))
def test_any_number_of_steps_is_a_training(tiny, tmp_path, epochs):
    trainer = make(tiny, tmp_path / "run", epochs=epochs, samples=8)
    assert len(trainer.train_loader) == 1 and len(trainer.fit()) == epochs


def test_same_seed_same_numbers(tiny, tmp_path):
    clock = {"samples_per_second": 0, "seconds": 0}
    histories = [make(tiny, tmp_path / name).fit() for name in ("a", "b")]
    one, two = ([row | clock for row in history] for history in histories)
    assert one == two


def test_a_trainer_leaves_the_random_numbers_alone(tiny, tmp_path):
    trainer = make(tiny, tmp_path / "run", epochs=1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training.Trainer(trainer.net, trainer.train_loader, [], tmp_path / "other", z_near=1.5)
    assert torch.equal(torch.rand(3), expected)


def test_steps_are_reported_while_they_happen(tiny, tmp_path):
    seen = []
    trainer = make(tiny, tmp_path / "run")
    history = trainer.fit(on_step=lambda step, terms: seen.append((step, terms["loss"])))
    assert [step for step, _ in seen] == list(range(8))
    assert sum(loss for _, loss in seen[4:]) / 4 == pytest.approx(history[1]["loss"])


def test_a_training_is_never_overwritten(tiny, tmp_path):
    make(tiny, tmp_path / "run").run_epoch()
    with pytest.raises(InputError, match="resume"):
        make(tiny, tmp_path / "run")
    with pytest.raises(InputError, match="epochs 2, now 5"):
        make(tiny, tmp_path / "run", epochs=5, resume=True)


def test_new_weights_apply_from_the_next_step(tiny, tmp_path):
    trainer = make(tiny, tmp_path / "run")
    batch = next(iter(trainer.train_loader))
    trainer.weights = LossWeights(mask=1.0, depth=0.0, dice=0.0)
    terms = trainer.step(batch)
    assert terms["loss"] == pytest.approx(terms["mask"])
    trainer.weights = LossWeights(mask=0.0, depth=1.0, ssim=0.0, edge=0.0, l1=2.0)
    terms = trainer.step(batch)
    assert terms["loss"] == pytest.approx(2 * terms["l1"])


@pytest.mark.parametrize("balance", ["uncertainty", "geometric"])
def test_automatic_balances_train_and_resume(tiny, tmp_path, balance):
    trainer = make(tiny, tmp_path / "run", balance=balance)
    trainer.run_epoch()
    learned = trainer.balance.log_variances.detach().clone()
    assert bool(learned.abs().min() > 1e-6) == (balance == "uncertainty")
    again = make(tiny, tmp_path / "run", balance=balance, resume=True)
    assert torch.equal(again.balance.log_variances, learned)
    assert len(again.fit()) == 2


def test_the_averaged_network_can_compute_in_full_precision(tiny, tmp_path):
    """Also where it was trained in bfloat16."""
    trainer = make(tiny, tmp_path / "run", epochs=1)
    trainer.fit()
    pair = torch.rand(2, 4, 3, 32, 32)
    loaded = load_weights(tmp_path / "run/last.safetensors")
    _, expected = inference(loaded, "cpu", exact=True)(*pair)
    _, depth = inference(trainer.averaged_net, "cpu", exact=True)(*pair)
    assert torch.allclose(depth, expected, atol=1e-6)


@pytest.fixture
def unlabelled(tmp_path):
    """The tiny catalogue without any depth."""
    folder = write_catalogue(tmp_path / "unlabelled")
    listing = read_json(folder / "catalogue.json")
    for scene in listing["scenes"]:
        scene["depth"] = None
        scene["ground"] = None
    write_json(folder / "catalogue.json", listing)
    return load_catalogue(folder)


@pytest.mark.filterwarnings("ignore:.*no depth labels")
@pytest.mark.parametrize("balance", ["fixed", "uncertainty", "geometric"])
def test_without_depth_labels_the_mask_alone_counts(tiny, unlabelled, tmp_path, balance):
    lines = []
    options = {"catalogue": unlabelled, "balance": balance, "say": lines.append}
    trainer = make(tiny, tmp_path / "run", **options)
    untouched = [value.clone() for value in trainer.net.depth_decoder.parameters()]
    for row in trainer.fit():
        assert row["score"] == row["mask_iou"] and row["mask"] > 0
        assert not [name for name in row if name.startswith("depth") or name in ("l1", "ssim")]
    assert "IoU" in lines[0] and "RMSE" not in lines[0] and "ssim" not in lines[0]
    now = trainer.net.depth_decoder.parameters()
    assert all(torch.equal(old, new) for old, new in zip(untouched, now, strict=True))
    plots.curves(trainer.history)


@pytest.mark.parametrize("task", ["mask", "depth"])
def test_what_is_not_trained_does_not_count(tiny, tmp_path, task):
    weights = LossWeights(**{"mask": 0.0, "depth": 0.0} | {task: 1.0})
    row = make(tiny, tmp_path / "run", epochs=1, weights=weights).run_epoch()
    score = {"mask": row.get("mask_iou"), "depth": -row.get("depth_rmse_std", 0)}[task]
    assert row["score"] == score
    assert ("mask_iou" in row) == ("mask" in row) == (task == "mask")
    assert ("depth_rmse_std" in row) == ("l1" in row) == (task == "depth")


@pytest.mark.filterwarnings("ignore:.*no depth labels")
def test_depth_alone_needs_labels(tiny, unlabelled, tmp_path):
    weights = LossWeights(mask=0.0, depth=1.0)
    trainer = make(tiny, tmp_path / "run", catalogue=unlabelled, weights=weights)
    with pytest.raises(InputError, match="no depth labels"):
        trainer.run_epoch()


def spoilt(trainer, steps, name="image", value=math.nan):
    """Let some of the trainer's batches have a value in sample 2 that is not finite."""
    batches = list(trainer.train_loader)
    for number in steps:
        batches[number][name][2, 0, 3, 3] = value
    trainer.train_loader = batches
    return trainer


@pytest.mark.parametrize("name", ["background", "image", "mask", "depth"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_whose_samples_are_not_finite_is_skipped(tiny, tmp_path, name, value):
    lines = []
    trainer = make(tiny, tmp_path / "run", epochs=1, say=lines.append)
    spoilt(trainer, (1,), name, value).fit()
    assert f"{name} of sample 2 is not finite" in lines[0] and "step 2" in lines[0]
    for net in (trainer.net, trainer.averaged_net):
        assert all(value.isfinite().all() for value in net.state_dict().values())
    text = (tmp_path / "run/history.jsonl").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_three_such_steps_in_a_row_end_the_training(tiny, tmp_path):
    trainer = make(tiny, tmp_path / "run")
    spoilt(trainer, (0, 1, 3)).run_epoch()
    kept = (tmp_path / "run/last.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"3 steps in a row.*sample 2.*smaller LR"):
        spoilt(trainer, (0, 1)).run_epoch()
    assert (tmp_path / "run/last.safetensors").read_bytes() == kept
    make(tiny, tmp_path / "run", resume=True).fit()


def test_a_loss_or_gradient_that_is_not_finite_changes_nothing(tiny, tmp_path):
    trainer = make(tiny, tmp_path / "run", epochs=1)
    batch = next(iter(trainer.train_loader))
    real = trainer.losses
    before = [value.clone() for value in trainer.net.parameters()]
    root = {"loss": lambda loss: loss * math.inf, "gradient": lambda loss: (loss - loss).sqrt()}
    for word, change in root.items():
        trainer.losses = lambda batch, change=change: (change(real(batch)[0]), real(batch)[1])
        with pytest.raises(training.NotFinite, match=word):
            trainer.step(batch)
    now = trainer.net.parameters()
    assert all(torch.equal(old, new) for old, new in zip(before, now, strict=True))


def test_a_network_that_diverged_never_becomes_the_best(tiny, tmp_path):
    trainer = make(tiny, tmp_path / "run", epochs=4, lr=1e30)
    with pytest.raises(InputError, match="smaller LR"):
        trainer.fit()
    assert len(list((tmp_path / "run").glob("state*"))) == len(trainer.history) == 0


def test_a_limit_of_minutes_fits_the_schedule_to_the_speed(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(training.trainer, "step_speed", lambda *_: (40.0, 0.2))
    lines = []
    limited = make(tiny, tmp_path / "a", epochs=9, minutes=10, say=lines.append)
    assert limited.config.epochs == 9 and len(limited.fit()) == 3
    assert lines[0] == "trains 3 of 9 epochs in 10 minutes: 0 samples/s"
    assert limited.optimizer.param_groups[0]["lr"] < 3e-4, "the schedule has ended"
    again = make(tiny, tmp_path / "a", epochs=9, minutes=10, resume=True)
    assert again.epochs == 3 and len(again.fit()) == 3
    short = make(tiny, tmp_path / "b", epochs=9, minutes=2, say=lines.append)
    assert len(short.fit()) == 1 and short.steps == 2 and "2 of 4 steps" in lines[-2]


def test_a_limit_that_is_not_reached_changes_nothing(tiny, tmp_path):
    make(tiny, tmp_path / "a", samples=16).fit()
    make(tiny, tmp_path / "b", samples=16, minutes=60).fit()
    for name in ("last.safetensors", "best.safetensors"):
        one, other = ((tmp_path / run / name).read_bytes() for run in "ab")
        assert one == other


def test_freed_memory_is_kept_only_while_a_cpu_trains(tiny, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(training.trainer, "keep_freed_memory", lambda: calls.append(1))
    trainer = make(tiny, tmp_path / "run", epochs=1, samples=8)
    assert not calls
    trainer.fit()
    assert len(calls) == (trainer.accelerator.device.type == "cpu")
