"""The commands in experiments/ do what they say, at toy size; figures themselves are not tested."""

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, smooth
from PIL import Image
from torchjd.aggregation import PCGrad

from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, fixed_sample, make_loader
from eva_helpers.files import InputError, read_json
from eva_helpers.losses import TERMS, LossWeights
from eva_helpers.model import MaskDepthNet, ModelConfig, load_weights, with_refiner
from eva_helpers.model.profile import parameters
from eva_helpers.model.weights import SWITCHES
from eva_helpers.paths import ROOT, WEIGHTS
from eva_helpers.training import TrainingConfig, finetuning
from eva_helpers.tuning import write_weights
from eva_helpers.tuning.bank import MASK_SHARES, Bank
from eva_helpers.worlds import write_worlds
from experiments import (
    balances,
    ceiling,
    course,
    depth,
    highres,
    networks,
    progressive,
    replay,
    stages,
    time_to_dice,
    train_bank,
    train_shipped,
    variants,
)
from experiments.changes import VARIANTS, SupervisedTrainer, Variant
from experiments.common import RESULTS, Results, held_out, quiet

SCRIPTS = (
    "balances", "ceiling", "course", "depth", "highres", "pair_check", "photo_pack",
    "progressive", "real_photos", "replay", "time_to_dice", "train_bank", "train_shipped",
    "variants",
)  # fmt: skip
FULL_SIZE = ("64 px", "224 px")


@pytest.fixture
def command(capsys):
    """Run a script's `main` as its command line would; what it returned and printed."""

    def run(script, *arguments):
        main = importlib.import_module(f"experiments.{script}").main
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=printed.out, stderr=printed.err)

    return run


@pytest.fixture
def examples(tiny):
    held = CompositeDataset(tiny, "validation", "validation", size=32)
    return next(iter(make_loader(fixed_sample(held, 4), 4)))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_help(script, capsys):
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"experiments.{script}").main(["--help"])
    assert end.value.code == 0 and "--help" in capsys.readouterr().out


def test_results_are_continued_and_bound_to_their_settings(tmp_path):
    path = tmp_path / "new" / "results.json"
    first = Results(path, {"share": 0.5, "size": (1, 2)}, "rows")
    assert first.rows == {}
    first.update({"a": {"x": 1}})
    again = Results(path, {"share": 0.5, "size": (1, 2)}, "rows")
    again.update({"b": {"x": 2}})
    assert read_json(path) == {"share": 0.5, "size": [1, 2], "rows": {"a": {"x": 1}, "b": {"x": 2}}}
    with pytest.raises(InputError, match=r"share 0.5, now 1.*another --json"):
        Results(path, {"share": 1, "size": (1, 2)}, "rows")


def test_validation_composites_are_the_same_at_every_strength(tiny):
    plain, shaken = (next(iter(held_out(tiny, 32, 4, strength))) for strength in (0.0, 1.0))
    assert all(torch.equal(plain[name], shaken[name]) for name in ("mask", "depth"))
    assert not torch.equal(plain["image"], shaken["image"])


def test_alternate_interleaves_and_keeps_every_batch():
    mixed = stages.Alternate([list("aaaa"), list("bb")])
    batches = list(mixed)
    assert len(mixed) == 6 and sorted(batches) == list("aaaabb")
    assert batches != sorted(batches)


def test_blending_is_a_mean_of_weights():
    one, two = (MaskDepthNet(TINY) for _ in range(2))
    name = next(key for key, _ in one.named_parameters() if key.startswith("mask_decoder"))
    expected = 0.25 * one.state_dict()[name] + 0.75 * two.state_dict()[name]
    assert torch.allclose(stages.blended(one, two, 0.75).state_dict()[name], expected)


def test_training_the_shipped_weights_resumes(command, tmp_path):
    out = tmp_path / "train"
    tuned = write_weights(tmp_path / "tuned.json", LossWeights(0.5, 0.5))
    smoke = ("train_shipped", "--profile", "smoke", "--out", out)
    first = command(*smoke, "--weighting", tuned)
    assert first.returncode == 0, first.stderr[-2000:]
    net = load_weights(out / "small.safetensors")
    card = read_json(out / "small.json")
    assert card["network"]["parameters"] == parameters(net)
    assert card["loss_weights"]["mask"] == card["loss_weights"]["depth"] == 0.5
    assert card["trained_on"]["views"] == 210 and card["commit"]
    assert "unseen background, unseen object" in card["test_scores"]["quadrants"]["64 px"]
    (out / "commit.txt").write_text("an older one\n")
    again = command(*smoke, "--weighting", tuned)
    later = read_json(out / "small.json")
    assert later["commit"] == "an older one" and later["evaluated_at"] == card["evaluated_at"]
    assert again.returncode == 0 and "resumed" in again.stdout
    assert again.stdout.count("epoch   1/1") == 0, "nothing is trained twice"
    assert [stage["name"] for stage in card["stages"]] == [
        "64px", "mixed", "sized", "plain", "refiner", "worlds",
    ]  # fmt: skip
    assert net.config.sized and net.config.refiner


@pytest.fixture
def shipped(tmp_path, weights, monkeypatch):
    """Shipped weights that have had two of six stages."""
    path = tmp_path / "shipped.safetensors"
    shutil.copy(weights, path)
    had = {"stages": [{"name": "64px"}, {"name": "mixed"}], "minutes": 50, "commit": "before"}
    path.with_suffix(".json").write_text(json.dumps(had))
    monkeypatch.setattr(train_shipped, "WEIGHTS", path)
    return path


def test_the_shipped_weights_are_trained_further(tmp_path, weights, shipped, capfd):
    """Only the stages that they have not had, from what was shipped when the training began."""
    out = tmp_path / "train"
    further = ["--profile", "smoke", "--further", "--out", str(out)]
    for _ in range(2):
        assert train_shipped.main([*further, "--ship"]) == 0
        card = read_json(out / "shipped.json")
        assert "stage mixed" not in capfd.readouterr().out
        assert (out / "sized").is_dir() and not (out / "mixed").exists()
        assert card["minutes"] >= 50 and len(card["stages"]) == 6
        assert card["commit"].startswith("before, stage sized ")
        assert load_weights(shipped).config == replace(
            load_weights(weights).config, sized=True, refiner=8
        )
    assert train_shipped.main(["--profile", "smoke", "--out", str(out)]) == 2
    assert "begun with --further" in capfd.readouterr().err
    assert train_shipped.main([*further[:-1], str(tmp_path / "another")]) == 2
    assert "has had all 6 stages" in capfd.readouterr().err
    assert not (tmp_path / "another").exists()


def test_shipped_weights_have_a_card_that_fits():
    card = read_json(WEIGHTS.with_suffix(".json"))
    net = load_weights(WEIGHTS)
    left_out = {"parameters", *SWITCHES}  # those of earlier versions
    config = {key: value for key, value in card["network"].items() if key not in left_out}
    assert net.config == ModelConfig.from_dict(config)
    assert card["network"]["parameters"] == parameters(net)
    assert WEIGHTS.stat().st_size < 8e6
    hardest = card["test_scores"]["quadrants"]["64 px"]["unseen background, unseen object"]
    simple = hardest["subtraction / constant depth"]
    assert hardest["network"]["mask_iou"] > simple["mask_iou"]


@pytest.fixture
def quads(tmp_path):
    background = smooth(np.random.default_rng(0), 64)
    image = background.copy()
    image[20:40, 20:40] = 250 - image[20:40, 20:40]
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    depth = np.repeat(np.linspace(255, 0, 64).astype(np.uint8)[:, None], 64, 1)
    pictures = {"bg": background, "image": image, "mask": mask, "depth": depth}
    for part, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"park_1_{part}.png")
    return tmp_path


def test_real_photos_prints_scores_beside_subtraction(command, quads, weights):
    path = quads / "scores.json"
    done = command("real_photos", quads, "--weights", weights, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    row = read_json(path)["park_1"]
    assert max(row["subtraction"]) > 0.9 and "subtraction" in done.stdout
    assert row["iou"] == pytest.approx(row["dice"] / (2 - row["dice"]))


def test_real_photos_names_what_is_missing(command, quads):
    (quads / "park_1_mask.png").unlink()
    done = command("real_photos", quads)
    assert done.returncode == 2 and "park_1" in done.stderr and "Traceback" not in done.stderr


def test_the_race_scores_both_networks(command, tmp_path):
    path = tmp_path / "race.json"
    done = command("time_to_dice", "--seconds", 2, "--every", 1, "--count", 8, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = read_json(path)
    assert 0.1 < result["subtraction"]["dice"] < 0.9
    for checks in (result["ours"], result["original"]):
        samples = [check["samples"] for check in checks]
        assert samples and samples == sorted(samples) and samples[0] >= time_to_dice.BATCH
        assert all(np.isfinite([check["dice"], check["pooled"]]).all() for check in checks)


def test_small_photos_first_is_compared_at_every_size(command, tmp_path):
    path = tmp_path / "progressive.json"
    done = command("progressive", "--share", 0.001, "--count", 4, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    plans = read_json(path)["plans"]
    assert list(plans) == list(progressive.PLANS)
    assert all(plan[size]["depth_rmse_std"] > 0 for plan in plans.values() for size in FULL_SIZE)
    for stage in ("64px", "mixed"):
        (tmp_path / "train" / stage).mkdir(parents=True)
        shutil.copy(WEIGHTS, tmp_path / "train" / stage / "last.safetensors")
        (tmp_path / "train" / stage / "history.jsonl").write_text('{"seconds": 60}\n')
    more = ("progressive", "--count", 4, "--json", path, "--shipped", tmp_path / "train")
    done = command(*more)
    assert done.returncode == 2 and "share 0.001, now 1.0" in done.stderr
    done = command(*more, "--share", 0.001)
    assert done.returncode == 0 and "epoch" not in done.stdout, (
        "what is stored is not trained again"
    )
    plans = read_json(path)["plans"]
    assert len(plans) == 6 and plans["shipped, after its stage mixed"]["minutes"] == 2


def test_the_ceiling_of_a_mask_is_measured_at_every_size(command, tmp_path):
    path = tmp_path / "ceiling.json"
    done = command("ceiling", "--share", 0.002, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = read_json(path)
    for size in FULL_SIZE:
        values = result["sizes"][size]
        made = values["capture differences at strength 1"]
        swapped = [score for name, score in made.items() if "elsewhere" in name]
        assert len(swapped) == 2 and all(made["the network"] <= score <= 1 for score in swapped)
        noisy = [score for name, score in made.items() if "error" in name]
        assert noisy == sorted(noisy, reverse=True) and 0 < noisy[-1] < 1, (
            "the more error, the worse"
        )
        assert len(values["ideal pairs"]) == 3 and values["samples"] in (5 * 32, 5 * 8)
    again = command("ceiling", "--share", 0.002, "--json", path)
    assert again.returncode == 0 and not again.stdout, "what is stored is not measured again"
    assert command("ceiling", "--json", path).returncode == 2


def test_the_ceilings_network_is_trained_on_ideal_pairs(tiny, weights, monkeypatch):
    asked = []

    def recorded(*arguments, **options):
        asked.append(options)
        return CompositeDataset(*arguments, **options)

    monkeypatch.setattr(ceiling, "CompositeDataset", recorded)
    held = list(held_out(tiny, 32, 4, strength=0.0))
    net = load_weights(weights)
    further = ceiling.trained_on_ideal(net, tiny, 32, batch=4, steps=2, validation=held)
    first, last = (
        each.mask_decoder.detail[0][0].weight for each in (load_weights(weights), further)
    )
    assert not torch.equal(first, last)
    assert len(asked) == 1 and asked[0].get("strength", 0) == 0


def test_variants_are_resumed_and_bound_to_their_settings(command, tmp_path):
    path = tmp_path / "variants.json"
    call = ("variants", "--only", "deep supervision", "--json", path, "--samples")
    first = command(*call, 32)
    assert first.returncode == 0, first.stderr[-2000:]
    stored = path.read_text()
    row = read_json(path)["variants"]["network: deep supervision"]
    assert row["parameters"] > 1e6 and row["depth_rmse_std"] > 0 and row["samples_per_second"] > 0
    assert command(*call, 32).returncode == 0
    assert path.read_text() == stored, "nothing is trained twice"
    other = command(*call, 64)
    assert other.returncode == 2 and path.read_text() == stored
    assert "samples 128, now 256" in other.stderr


def test_the_stored_variants_are_those_of_the_code():
    stored = Results(RESULTS / "variants.json", variants.settings(6144), "variants")
    assert list(stored.rows) == list(VARIANTS)
    for name, variant in VARIANTS.items():
        assert stored.rows[name]["change"] == json.loads(json.dumps(variant.change())), name


NETWORKS = [name for name, each in VARIANTS.items() if each.network is not MaskDepthNet]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_variant_is_trained(name, tiny, tmp_path, examples):
    variant = VARIANTS[name]
    torch.manual_seed(0)
    net = variant.network(TINY)
    options = {"z_near": tiny.z_near, "say": quiet}
    config = TrainingConfig(epochs=1)
    trainer = variant.trainer(net, [examples] * 4, [], tmp_path / "run", config, **options)
    before = [value.clone() for value in net.parameters()]
    first, *_, last = [trainer.step(examples)["loss"] for _ in range(4)]
    assert last < first
    untouched = [torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True)]
    assert not any(untouched)


def test_a_network_variant_changes_one_thing():
    torch.manual_seed(0)
    background, image = torch.rand(2, 1, 3, 32, 40)
    base = MaskDepthNet(TINY).eval()
    assert not torch.equal(base.match(background, image), background)
    assert torch.equal(networks.Unmatched(TINY).match(background, image), background)
    f, b = torch.rand(2, 1, 4, 8, 8)
    assert torch.equal(networks.BothFeatures(TINY).fuse(f, b), torch.cat([f, b], 1))
    assert torch.equal(networks.DifferenceAlone(TINY).fuse(f, b), f - b)
    for kind in (networks.OneDepthMap, MaskDepthNet):
        net = kind(TINY).eval()
        before = net(background, image)[1]
        torch.nn.init.constant_(net.mask_decoder.detail[-1].bias, 5.0)
        moved = not torch.allclose(net(background, image)[1], before)
        assert moved == (kind is MaskDepthNet), "one map of the depth does not see the mask"


def test_a_supervised_training_adds_the_loss_at_a_quarter(tiny, tmp_path, examples):
    torch.manual_seed(0)
    net = networks.Supervised(TINY)
    options = {"z_near": tiny.z_near, "say": quiet}
    trainer = SupervisedTrainer(net, [examples], [], tmp_path / "run", **options)
    loss, terms = trainer.losses(examples)
    plain = trainer.balance(terms, trainer.weights)
    assert set(terms) == set(TERMS) and loss.item() > plain.item() + 0.1
    assert torch.isclose(trainer.losses(examples)[0], loss), "hooks do not accumulate"


def test_a_variant_without_changes_is_the_base():
    assert Variant().change() == {} == VARIANTS["base"].change()
    assert VARIANTS["network: deep supervision"].change() == {
        "network": "Supervised",
        "trainer": "SupervisedTrainer",
    }


@pytest.fixture
def photographs(tmp_path):
    for name in ("bg", "fg"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(smooth(rng, 160)).save(tmp_path / f"bg/{number}.jpg")
        alpha = np.zeros((90, 60), np.uint8)
        alpha[10:80, 10:50] = 255
        cutout = np.dstack([255 - smooth(rng, 90)[:, :60], alpha])
        Image.fromarray(cutout).save(tmp_path / f"fg/{number}.png")
    return tmp_path


def test_photo_pack_degrades_and_scores(command, photographs, weights):
    path = photographs / "pack.json"
    done = command("photo_pack", photographs, "--weights", weights, "--count", 4, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = read_json(path)
    assert result["clean"]["subtraction"] > result["all together"]["subtraction"]


def test_scripts_run_as_modules_and_report_bad_input(photographs):
    call = [sys.executable, "-m", "experiments.photo_pack", str(photographs / "bg")]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_pair_check_counts_what_is_flagged(command, photographs, weights):
    path = photographs / "check.json"
    done = command("pair_check", photographs, "--weights", weights, "--count", 8, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = read_json(path)
    assert result["good"]["should be"] is False and result["wrong background"]["should be"] is True
    flagged = {name: row["flagged"] for name, row in result.items() if isinstance(row, dict)}
    assert flagged["shifted by 5 %"] > flagged["good"] and result["ms for 640 x 480"] > 0


def test_the_refiner_alone_is_trained_on_masks_of_smaller_photos():
    start = with_refiner(MaskDepthNet(TINY), 8)
    net = stages.FromHalf(start.config, start).train()
    learning = {name.split(".")[0] for name, each in net.named_parameters() if each.requires_grad}
    assert learning == {"refiner"}
    photos = torch.rand(2, 2, 3, 96, 128)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(8):
        mask_logits, depth = net(*photos)
        assert mask_logits.shape == depth.shape == (2, 1, 96, 128)
        assert mask_logits.requires_grad and not depth.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_masks_of_large_photographs(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(highres, "WIDTHS", {320: 2})
    monkeypatch.setattr(highres, "LEAST_SIDE", 30)
    for name in ("bg", "fg"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    photo = smooth(rng, 400)[:300]
    Image.fromarray(photo).save(tmp_path / "bg" / "a.jpg")
    rgba = np.dstack([255 - photo[:120, :100], np.zeros((120, 100), np.uint8)])
    cv2.ellipse(rgba, (50, 60), (40, 55), 0, 0, 360, (10, 10, 10, 255), -1)
    Image.fromarray(rgba).save(tmp_path / "fg" / "a.png")
    first, again = (highres.composites(tmp_path, 320, 2, 0)[0] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    background, image, mask = first
    changed = np.abs(background.astype(int) - image).max(2) > 60
    assert changed[mask > 0.9].mean() > 0.9 and changed[mask == 0].mean() < 0.05
    target = tmp_path / "scores.json"
    arguments = [str(tmp_path), "--weights", str(weights), "--json", str(target)]
    assert highres.main([*arguments, "--widths", "320"]) == 0
    scores = read_json(target)["320 px"]
    assert scores["subtraction"]["iou"] > 0.8 and scores["count"] == 2
    assert set(scores) == {"count", "predictor", "first pass alone", "subtraction"}
    (tmp_path / "fg" / "a.png").unlink()
    assert highres.main(arguments) == 2


def test_a_bank_is_trained_scored_and_written(command, tmp_path):
    options = ("--samples", 64, "--validation", 8, "--lengths", 2, 4, "--seeds", 2, "--further", 32)
    written = ("--out", tmp_path / "bank.safetensors", "--json", tmp_path / "bank.json")
    done = command("train_bank", *options, *written)
    assert done.returncode == 0, done.stderr[-2000:]
    table = read_json(tmp_path / "bank.json")
    bank = Bank.load(tmp_path / "bank.safetensors")
    assert bank.lengths == (2, 4) and list(table["scores"]) == ["2", "4"]
    assert list(table["scores"]["4"]) == list(bank.weightings)
    assert len(table["shortest training, seeds"]) == 2
    assert table["shortest training, seeds"][0] == table["spread"]["2"]
    assert list(table["project"]) == ["shipped", *(f"mask {share:g}" for share in MASK_SHARES)]
    first, last = (bank.parameters["last.weight"][row] for row in range(2))
    assert not torch.equal(first, last) and not torch.equal(last[0], last[4])


def test_the_spread_of_scores_has_the_direction_of_the_weights():
    good = {
        f"mask {share:g}": {"mask_iou": share, "depth_rmse_std": 0.2 + share / 2}
        for share in MASK_SHARES
    }
    found = train_bank.spread(good)
    assert found["mask IoU, range"] == pytest.approx(0.96)
    assert found["depth RMSE / std, range"] == pytest.approx(0.48)
    for name in ("mask", "depth"):
        assert found[f"{name}, rank correlation"] == pytest.approx(1)


def test_ways_to_balance_are_trained_once_and_compared(command, tmp_path):
    names = ["fixed, mask 0.3", "uncertainty", "PCGrad", "mask alone"]
    options = ("--samples", 64, "--validation", 8, "--steps", 2, "--seeds", 2)
    written = ("--json", tmp_path / "balances.json", "--methods", *names)
    done = command("balances", *options, *written)
    assert done.returncode == 0, done.stderr[-2000:]
    stored = read_json(tmp_path / "balances.json")
    rows = stored["methods"]
    assert list(rows) == names and all(len(row["mask_iou"]) == 2 for row in rows.values())
    assert list(stored["hypervolume"]) == [*names, "front of fixed weightings"]
    assert "+-" in done.stdout and "front of fixed weightings" in done.stdout
    before = (tmp_path / "balances.json").read_bytes()
    assert command("balances", *options, *written).returncode == 0
    assert (tmp_path / "balances.json").read_bytes() == before, "nothing is trained twice"


def test_a_hypervolume_is_the_area_that_points_dominate():
    assert balances.hypervolume([(0.5, 0.4)]) == pytest.approx(0.5 * 0.6)
    front = [(0.8, 0.5), (0.5, 0.4), (0.4, 0.45)]
    assert balances.hypervolume(front) == pytest.approx(0.5 * 0.6 + 0.3 * 0.5)
    assert balances.hypervolume([(0.5, 1.2)]) == 0


def test_conflicting_gradients_lose_what_conflicts():
    """As UPGrad, whose direction PCGrad has for two tasks."""
    one, other = torch.tensor([1.0, 0.5]), torch.tensor([-1.0, 0.5])
    made = PCGrad()(torch.stack([one, other]))
    parts = (
        one - (one @ other) / (other @ other) * other,
        other - (one @ other) / (one @ one) * one,
    )
    assert torch.allclose(made, sum(parts), atol=1e-5)


def test_depth_is_judged_on_every_set_beside_baselines(
    tiny, weights, tmp_path, monkeypatch, capsys
):
    worlds = write_worlds(tmp_path / "worlds", 10, size=64)
    known = {(): tiny, (tmp_path / "worlds",): worlds}
    monkeypatch.setattr(depth, "load_catalogue", lambda *folder: known[folder])
    arguments = ["--weights", str(weights), "--count", "4", "--json", str(tmp_path / "d.json")]
    assert depth.main([*arguments, "--worlds", str(tmp_path / "worlds")]) == 0
    sets = read_json(tmp_path / "d.json")["sets"]
    kinds = {f"world: {scene.info['kind']}" for scene in worlds.backgrounds("test")}
    assert set(sets) == {"unseen parks", "stereo pair"} | kinds
    row = sets["unseen parks"]
    assert row["images"] == 4 and set(row) == {"images", *depth.METHODS}
    assert row["constant"]["correlation"] == 0 and row["constant"]["ordered pairs"] == 0.5
    assert row["rows"]["correlation"] > 0.5, "the tiny floor rises with the rows"
    assert "edge recall" in capsys.readouterr().out
    assert depth.main([*arguments, "--worlds", str(tmp_path / "none")]) == 2


def test_one_decoder_is_trained_and_all_else_stays(make_trainer, tiny, tmp_path, examples):
    net = MaskDepthNet(TINY)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train = make_trainer("other").train_loader
    options = {"z_near": tiny.z_near, "say": quiet, "task": "depth"}
    weights = LossWeights(mask=0.0)
    config = TrainingConfig(epochs=1)
    trainer = stages.DecoderTrainer(
        net, train, [examples], tmp_path / "depth", config, weights, **options
    )
    trainer.fit()
    changed = {n.split(".")[0] for n, v in net.state_dict().items() if not v.equal(before[n])}
    assert changed == {"depth_decoder"}


def test_a_stage_adds_rendered_worlds(tiny):
    stage = replace(stages.SMOKE[0], worlds=0.5)
    both = stages.loaders(tiny, stage, 0, 0, worlds=tiny)
    counts = [loader.sampler.samples for loader in both.loaders]
    assert counts[1] == counts[0] // 2
    marked = ["scale_free" in next(iter(loader)) for loader in both.loaders]
    assert marked == [False, True], "the worlds' cameras differ, so their depth has no scale"


def test_the_protocol_of_the_course_with_and_without_leak(mine, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "SIZES", {32: 4})
    for name, value in {"STEPS": 1, "EPOCHS": 1, "COUNT": 4}.items():
        monkeypatch.setattr(finetuning, name, value)
    target = tmp_path / "course.json"
    arguments = [str(mine), "--out", str(tmp_path / "out"), "--weights", str(weights)]
    assert course.main([*arguments, "--minutes", "5", "--json", str(target)]) == 0
    result = read_json(target)
    for name in ("leaky", "leak-free"):
        assert set(result[name]["32 px"]) == {"as shipped", "fine-tuned", "subtraction"}
    apart = load_catalogue(tmp_path / "out/catalogue")
    mixed = course.leaky(apart)
    ids = [{scene.id for scene in each.backgrounds("test")} for each in (mixed, apart)]
    known = {scene.id for scene in apart.backgrounds("train")}
    assert known <= ids[0] and not known & ids[1]


def test_ways_to_keep_depth_while_fine_tuning(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "BATCHES", {32: 4})
    for name, value in {"STEPS": 4, "EPOCHS": 1, "COUNT": 4}.items():
        monkeypatch.setattr(finetuning, name, value)
    target = tmp_path / "replay.json"
    assert replay.main([str(mine), "--out", str(tmp_path / "out"), "--json", str(target)]) == 0
    ways = read_json(target)["ways"]
    assert set(ways) == {"before", *replay.WAYS}
    assert all(row["photos"]["mask_iou"] > 0 for row in ways.values())
    assert all("depth_delta1" in row["park"] for row in ways.values())


def test_frozen_parts_neither_learn_nor_gather_statistics():
    net = replay.freeze(MaskDepthNet(TINY), ("encoder", "depth_decoder")).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    mask_logits, _ = net(*torch.rand(2, 2, 3, 64, 64))
    mask_logits.sum().backward()
    learning = [name for name, value in net.named_parameters() if value.grad is not None]
    changed = [name for name, value in net.state_dict().items() if not value.equal(before[name])]
    assert learning and changed
    assert all(name.startswith("mask_decoder.") for name in learning + changed)
