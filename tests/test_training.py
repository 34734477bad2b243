import json

import pytest
import torch
from conftest import TINY
from safetensors.torch import save_file

from eva_helpers import dataset, training
from eva_helpers.images import InputError
from eva_helpers.losses import LossWeights
from eva_helpers.model import MaskDepthNet


def make(tiny, folder, epochs=2, balance="fixed", samples=32, **options):
    pairs = dataset.CompositeDataset(tiny, size=32, augment=True, strength=0.5)
    train = dataset.loader(pairs, 8, samples=samples, seed=0)
    held = dataset.loader(dataset.fixed_sample(dataset.CompositeDataset(tiny, "validation", "validation", size=32), 8), 8)
    torch.manual_seed(0)
    config = training.TrainingConfig(epochs=epochs, balance=balance)
    return training.Trainer(MaskDepthNet(TINY), train, held, folder, config, z_near=tiny.z_near, say=lambda line: None, **options)


def test_an_epoch_leaves_a_record_and_weights(tiny, tmp_path):
    lines = []
    trainer = make(tiny, tmp_path / "run")
    trainer.say = lines.append
    history = trainer.fit()
    assert [row["epoch"] for row in history] == [1, 2] and len(lines) == 2
    stored = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert stored == history
    assert {"mask", "ssim", "edge", "l1", "loss", "mask_iou", "depth_rmse_std", "weights"} <= history[0].keys()
    net = training.load_weights(tmp_path / "run/best.safetensors")
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
    one, two = ([row | clock for row in make(tiny, tmp_path / name).fit()] for name in ("a", "b"))
    assert one == two


def test_resume_continues_where_it_stopped(tiny, tmp_path):
    whole = make(tiny, tmp_path / "whole", epochs=3).fit()
    first = make(tiny, tmp_path / "parts", epochs=3)
    first.run_epoch()
    first.run_epoch()
    second = make(tiny, tmp_path / "parts", epochs=3, resume=True)
    assert second.epoch == 2
    history = second.fit()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["mask"] == pytest.approx(whole[-1]["mask"], rel=0.02)


def test_a_training_is_never_overwritten(tiny, tmp_path):
    make(tiny, tmp_path / "run").run_epoch()
    with pytest.raises(InputError, match="resume"):
        make(tiny, tmp_path / "run")
    with pytest.raises(InputError, match="epochs"):
        make(tiny, tmp_path / "run", epochs=5, resume=True)


def test_new_weights_hold_from_the_next_step(tiny, tmp_path):
    trainer = make(tiny, tmp_path / "run")
    batch = next(iter(trainer.train_loader))
    trainer.weights = LossWeights(mask=1.0, depth=0.0, dice=0.0)
    terms = trainer.step(batch)
    assert terms["loss"] == pytest.approx(terms["mask"])
    trainer.weights = LossWeights(mask=0.0, depth=1.0, ssim=0.0, edge=0.0, l1=2.0)
    terms = trainer.step(batch)
    assert terms["loss"] == pytest.approx(2 * terms["l1"])


def test_weights_survive_the_file(tmp_path):
    torch.manual_seed(0)
    net, photo = MaskDepthNet(TINY).eval(), torch.rand(1, 3, 32, 32)
    training.save_weights(net, tmp_path / "a.safetensors")
    training.save_weights(net, tmp_path / "half.safetensors", half=True)
    assert torch.equal(training.load_weights(tmp_path / "a.safetensors")(photo, photo)[1], net(photo, photo)[1])
    assert torch.allclose(training.load_weights(tmp_path / "half.safetensors")(photo, photo)[1], net(photo, photo)[1], atol=1e-2)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (tmp_path / "a.safetensors").stat().st_size


def test_foreign_and_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="not there"):
        training.load_weights(path)
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match="safetensors"):
        training.load_weights(path)
    save_file({"layer": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="another network"):
        training.load_weights(path)
    save_file({"layer": torch.zeros(2)}, path, metadata={"format": training.FORMAT, "config": "{}"})
    with pytest.raises(InputError, match="does not fit"):
        training.load_weights(path)


@pytest.mark.parametrize("balance", ["uncertainty", "geometric"])
def test_automatic_balances_train_and_resume(tiny, tmp_path, balance):
    trainer = make(tiny, tmp_path / "run", balance=balance)
    trainer.run_epoch()
    learned = trainer.balance.log_variances.detach().clone()
    assert (learned != 0).all() if balance == "uncertainty" else (learned == 0).all()
    again = make(tiny, tmp_path / "run", balance=balance, resume=True)
    assert torch.equal(again.balance.log_variances, learned)
    again.fit()
    assert len(again.history) == 2
