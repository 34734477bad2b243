"""Fine-tuning a network on one's own photos: what is kept, what is said, what is refused."""

import dataclasses
import json
import math
import shutil

import pytest
import torch

from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import Alternate
from eva_helpers.files import InputError
from eva_helpers.model import ModelConfig, initial_net, load_weights
from eva_helpers.paths import WEIGHTS
from eva_helpers.training import cli, finetuning

REPORTS = ("your validation split", "the park's validation split")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(finetuning, "BATCHES", {32: 4})
    monkeypatch.setattr(finetuning, "STEPS", 2)
    monkeypatch.setattr(finetuning, "EPOCHS", 2)
    monkeypatch.setattr(finetuning, "COUNT", 6)


def finetune(catalogue, weights, out, park, **options):
    said = []
    report = finetuning.finetune(catalogue, weights, out, park=park, say=said.append, **options)
    return report, said


def same(one, two):
    other = two.state_dict()
    return all(torch.equal(value, other[name]) for name, value in one.state_dict().items())


def judged(monkeypatch, before, after):
    """Let the mask IoU of the start be `before`, and that of every trained network `after`."""
    real = finetuning.compared

    def compared(methods, sets, z_near):
        scores = real(methods, sets, z_near)
        yours = scores["your validation split"]
        yours["before"]["mask_iou"], yours["after"]["mask_iou"] = before, after
        return scores

    monkeypatch.setattr(finetuning, "compared", compared)


def test_what_is_better_is_kept(tiny, weights, tmp_path, monkeypatch):
    judged(monkeypatch, 0.5, 0.6)
    report, said = finetune(tiny, weights, tmp_path, tiny, minutes=5)
    assert report["better"] and len(said) == 3
    kept = load_weights(tmp_path / "finetuned.safetensors")
    assert same(kept, load_weights(tmp_path / "best.safetensors"))
    assert not same(kept, load_weights(weights))
    assert json.loads((tmp_path / "finetuned.json").read_text()) == report
    for name in ("your validation split", "your test split", "the park's validation split"):
        for who in ("before", "after", "subtraction"):
            assert math.isfinite(report["scores"][name][who]["mask_iou"])
    again, said = finetune(tiny, weights, tmp_path, tiny, minutes=5)
    assert again == report and len(said) == 1 and "resumed" in said[0]


def test_what_is_no_better_leaves_the_start(tiny, weights, tmp_path, monkeypatch):
    judged(monkeypatch, 0.6, 0.6)
    report, _ = finetune(tiny, weights, tmp_path, tiny)
    assert not report["better"]
    assert same(load_weights(tmp_path / "finetuned.safetensors"), load_weights(weights))
    assert "the start is kept" in cli.text(report)


def test_the_park_is_replayed(tiny):
    batches = finetuning.training_batches(tiny, tiny, 0.0, 0, replay=0.5)
    assert isinstance(batches, Alternate)
    assert [len(loader) for loader in batches.loaders] == [2, 1]
    alone = finetuning.training_batches(tiny, tiny, 0.0, 0, replay=0.0)
    assert [len(loader) for loader in alone.loaders] == [2]
    seeds = {loader.dataset.seed for loader in batches.loaders}
    assert len(seeds) == 2, "the two sources are not sampled alike"


def test_labels_without_a_scale_are_learned_up_to_scale_and_shift(tiny, tmp_path, weights):
    encoding = {"kind": "inverse"}
    folder = tmp_path / "labelled"
    shutil.copytree(tiny.folder, folder)
    listing = json.loads((folder / "catalogue.json").read_text()) | {"depth_encoding": encoding}
    (folder / "catalogue.json").write_text(json.dumps(listing))
    labelled = load_catalogue(folder)
    assert tiny.metric and not labelled.metric
    mine, park = finetuning.training_batches(labelled, tiny, 0.0, 0, 0.5).loaders
    batch, replayed = next(iter(mine)), next(iter(park))
    assert finetuning.MARK in batch and finetuning.MARK not in replayed
    report, _ = finetune(labelled, weights, tmp_path / "out", tiny)
    yours, park = (report["scores"][name]["after"] for name in REPORTS)
    assert "depth_aligned_rmse_std" in yours and "depth_rmse_std" not in yours
    assert "depth_rmse_std" in park
    rows = (tmp_path / "out/history.jsonl").read_text().splitlines()
    assert "depth_rmse_std" not in json.loads(rows[0]), "a scale chooses no epoch"


def test_the_loss_of_scale_free_batches_ignores_scale_and_shift(make_trainer, examples):
    trainer = make_trainer()
    trainer.__class__ = finetuning.FinetuningTrainer
    trainer.net.eval()
    device = trainer.accelerator.device
    examples = {name: value.to(device) for name, value in examples.items()}
    marked = examples | {finetuning.MARK: torch.ones(4)}
    logits, net_depth = trainer.predict(examples)
    trainer.predict = lambda batch: (logits, 0.3 * net_depth + 0.1)
    moved, metric = (trainer.losses(batch)[0].item() for batch in (marked, examples))
    trainer.predict = lambda batch: (logits, net_depth)
    assert moved == pytest.approx(trainer.losses(marked)[0].item(), rel=1e-4)
    assert metric != pytest.approx(trainer.losses(examples)[0].item(), rel=1e-2)


def test_unusable_weights_are_refused_before_any_training(tiny, tmp_path):
    with pytest.raises(InputError, match="is not there"):
        finetune(tiny, tmp_path / "none.safetensors", tmp_path / "out", tiny)
    assert not (tmp_path / "out").exists()


def test_labels_with_another_scale_than_the_networks_are_refused(tiny, weights, tmp_path):
    other = dataclasses.replace(tiny, z_near=3.0)
    with pytest.raises(InputError, match=r"depth 1 at 3 m, the network at 1\.5 m"):
        finetune(other, weights, tmp_path / "out", tiny)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inverted", [False, True])
def test_labels_of_the_other_polarity_are_reported(tiny, weights, monkeypatch, inverted, tmp_path):
    def right_or_wrong(net):
        def predict(background, image):
            by_image = {each["image"].sum().item(): each["depth"] for each in known}
            depths = torch.stack([by_image[each.sum().item()] for each in image])
            return depths, 1 - depths if inverted else depths

        return predict

    batches = finetuning.held_out(tiny, "validation", 32, 0.0, 0)
    known = [
        {key: batch[key][i] for key in batch}
        for batch in batches
        for i in range(len(batch["image"]))
    ]
    monkeypatch.setattr(finetuning, "inference", right_or_wrong)
    assert finetuning.fall_when_near(load_weights(weights), batches) == inverted


def test_a_training_starts_from_nothing_from_the_shipped_weights_or_from_a_file(weights):
    torch.manual_seed(0)
    new, shipped, own = (initial_net(choice) for choice in ("", "shipped", weights))
    assert new.training and shipped.training and own.training
    assert new.config == ModelConfig() and not same(new, initial_net())
    assert same(shipped, load_weights(WEIGHTS)) and same(own, load_weights(weights))


def test_a_folder_of_three_photos_of_each_kind(mine, weights, tmp_path, monkeypatch, capsys):
    for number in range(3, 6):
        (mine / f"bg/b{number}.jpg").unlink()
        (mine / f"fg/f{number}.png").unlink()
    monkeypatch.setattr("eva_helpers.catalogue.opening.ROOT", tmp_path)
    monkeypatch.setattr(
        "eva_helpers.catalogue.open_catalogue.__defaults__", ("", tmp_path / "data")
    )
    arguments = [str(mine), "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "your test split" in printed and "wrote" in printed
    report = json.loads((tmp_path / "out/finetuned.json").read_text())
    assert "depth_rmse_std" not in report["scores"]["your validation split"]["after"]
    assert "depth_rmse_std" in report["scores"]["the park's validation split"]["after"]


def test_bad_options_end_with_one_sentence(mine, tmp_path, capsys):
    assert cli.main([str(mine), "--out", str(tmp_path / "o"), "--minutes", "0"]) == 2
    assert "above 0" in capsys.readouterr().err
    nowhere = [str(tmp_path / "nowhere"), "--out", str(tmp_path / "o")]
    assert cli.main(nowhere) == 2
    assert "nowhere" in capsys.readouterr().err


def test_another_start_in_the_same_folder_is_refused(tiny, weights, tmp_path):
    finetune(tiny, weights, tmp_path, tiny)
    with pytest.raises(InputError, match="other settings"):
        finetune(tiny, weights, tmp_path, tiny, seed=1)
    trained = tmp_path / "last.safetensors"
    with pytest.raises(InputError, match=r"weights .*choose another folder"):
        finetune(tiny, trained, tmp_path, tiny)
    assert load_catalogue(tiny.folder).name == "tiny"
