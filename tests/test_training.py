import json

import pytest
import torch
from conftest import TINY

import eva_helpers
from eva_helpers import training
from eva_helpers.data import CompositeDataset, fixed_sample, make_loader
from eva_helpers.files import InputError
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet, inference, load_weights


def make(tiny, folder, epochs=2, balance="fixed", samples=32, **options):
    pairs = CompositeDataset(tiny, size=32, augment=True, strength=0.5)
    train = make_loader(pairs, 8, samples=samples, seed=0)
    held_out = CompositeDataset(tiny, "validation", "validation", size=32)
    validation = make_loader(fixed_sample(held_out, 8), 8)
    config = training.TrainingConfig(epochs=epochs, balance=balance)
    options = {"z_near": tiny.z_near, "say": lambda line: None} | options
    torch.manual_seed(0)
    return training.Trainer(MaskDepthNet(TINY), train, validation, folder, config, **options)


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


def test_resume_continues_where_it_stopped(tiny, tmp_path):
    whole = make(tiny, tmp_path / "whole", epochs=3).fit()
    first = make(tiny, tmp_path / "parts", epochs=3)
    first.run_epoch()
    first.run_epoch()
    second = make(tiny, tmp_path / "parts", epochs=3, resume=True)
    assert second.epoch == 2 and second.best == pytest.approx(first.best)
    history = second.fit()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["mask"] == pytest.approx(whole[-1]["mask"], rel=0.02)


def test_an_epoch_that_was_cut_off_is_trained_again(tiny, tmp_path):
    """Its row was written, but not its state."""
    first = make(tiny, tmp_path / "run")
    first.run_epoch()
    with (tmp_path / "run/history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(first.history[0] | {"epoch": 2, "score": 9.0}) + "\n")
    second = make(tiny, tmp_path / "run", resume=True)
    assert second.epoch == 1 and second.best < 9
    second.fit()
    text = (tmp_path / "run/history.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["epoch"] for line in text.splitlines()] == [1, 2]


def test_a_run_of_version_0_1_can_be_resumed(tiny, tmp_path):
    """Its settings are one line, without a version."""
    make(tiny, tmp_path / "run").run_epoch()
    path = tmp_path / "run/config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    assert settings.pop("version") == eva_helpers.__version__
    path.write_text(json.dumps(settings), encoding="utf-8")
    assert len(make(tiny, tmp_path / "run", resume=True).fit()) == 2
    assert json.loads(path.read_text(encoding="utf-8")) == settings


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


def test_freed_memory_is_kept_only_while_a_cpu_trains(tiny, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(training, "keep_freed_memory", lambda: calls.append(1))
    trainer = make(tiny, tmp_path / "run", epochs=1, samples=8)
    assert not calls
    trainer.fit()
    assert len(calls) == (trainer.accelerator.device.type == "cpu")
