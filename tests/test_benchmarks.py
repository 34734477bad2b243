"""The commands in benchmarks/ do what they say, at toy size; the figures themselves are not tested."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import ceiling
import numpy as np
import pytest
import report
import source
import torch
import train_shipped
from conftest import smooth
from PIL import Image

from eva_helpers import assets, evaluate, training, widgets
from eva_helpers.dataset import CompositeDataset
from eva_helpers.losses import LossWeights
from eva_helpers.model import ModelConfig, receptive_field

FOLDER = assets.ROOT / "benchmarks"


def command(script, *arguments):
    return subprocess.run([sys.executable, str(FOLDER / script), *map(str, arguments)], capture_output=True, text=True)


def test_the_sources_network_is_rebuilt_as_described():
    net = source.SourceNet()
    count = sum(p.numel() for p in net.parameters())
    assert abs(count / 3_199_552 - 1) < 0.05 and receptive_field(net, 64) == 21
    mask, depth = net(torch.rand(2, 3, 32, 40), torch.rand(2, 3, 32, 40))
    assert mask.shape == depth.shape == (2, 1, 32, 40)


def test_alternate_interleaves_and_keeps_every_batch():
    mixed = train_shipped.Alternate([list("aaaa"), list("bb")])
    batches = list(mixed)
    assert len(mixed) == 6 and sorted(batches) == list("aaaabb")
    assert batches != sorted(batches)


def test_training_the_shipped_weights_resumes(tmp_path):
    out = tmp_path / "train"
    tuned = widgets.write_weights(tmp_path / "tuned.json", LossWeights(0.5, 0.5))
    first = command("train_shipped.py", "--profile", "smoke", "--out", out, "--workers", 0, "--weighting", tuned)
    assert first.returncode == 0, first.stderr[-2000:]
    net = training.load_weights(out / "small.safetensors")
    card = json.loads((out / "small.json").read_text())
    assert card["network"]["parameters"] == sum(p.numel() for p in net.parameters())
    assert card["loss_weights"]["mask"] == card["loss_weights"]["depth"] == 0.5
    assert (
        card["trained_on"]["views"] > 0
        and card["commit"]
        and "unseen background, unseen object" in card["test_scores"]["quadrants"]["64 px"]
    )
    (out / "commit.txt").write_text("an older one\n")
    again = command("train_shipped.py", "--profile", "smoke", "--out", out, "--workers", 0)
    later = json.loads((out / "small.json").read_text())
    assert later["commit"] == "an older one" and later["evaluated_at"] == card["evaluated_at"]
    assert again.returncode == 0 and "resumed" in again.stdout and again.stdout.count("epoch   1/1") == 0
    assert net.config.sized and [stage["name"] for stage in card["stages"]] == ["64px", "mixed", "sized"]


def test_the_shipped_weights_are_trained_further(tmp_path, weights, monkeypatch, capfd):
    """Only the stages that they have not had, from them; and what was shipped when it began counts, even when it is resumed later."""
    shipped, out = tmp_path / "shipped.safetensors", tmp_path / "train"
    shutil.copy(weights, shipped)
    had = {"stages": [{"name": "64px"}, {"name": "mixed"}], "minutes": 50, "commit": "before"}
    shipped.with_suffix(".json").write_text(json.dumps(had))
    monkeypatch.setattr(train_shipped.assets, "WEIGHTS", shipped)
    further = ["--profile", "smoke", "--further", "--out", str(out)]
    for _ in range(2):
        assert train_shipped.main([*further, "--ship"]) == 0
        card, printed = json.loads((out / "shipped.json").read_text()), capfd.readouterr().out
        assert (out / "sized").is_dir() and not (out / "mixed").exists() and "stage mixed" not in printed
        assert card["minutes"] >= 50 and card["commit"].startswith("before, stage sized ") and len(card["stages"]) == 3
        assert training.load_weights(shipped).config == replace(training.load_weights(weights).config, sized=True)
    assert train_shipped.main(["--profile", "smoke", "--out", str(out)]) == 2 and "begun with --further" in capfd.readouterr().err
    assert train_shipped.main([*further[:-1], str(tmp_path / "another")]) == 2
    assert "has had all 3 stages" in capfd.readouterr().err and not (tmp_path / "another").exists()


def test_shipped_weights_have_a_card_that_fits():
    card = json.loads(assets.WEIGHTS.with_suffix(".json").read_text())
    net = training.load_weights(assets.WEIGHTS)
    assert net.config == ModelConfig.from_dict({key: value for key, value in card["network"].items() if key != "parameters"})
    assert assets.WEIGHTS.stat().st_size < 8e6
    hardest = card["test_scores"]["quadrants"]["64 px"]["unseen background, unseen object"]
    assert hardest["network"]["mask_iou"] > hardest[evaluate.SUBTRACTION]["mask_iou"]


@pytest.fixture
def quads(tmp_path):
    background = smooth(np.random.default_rng(0), 64)
    image, mask = background.copy(), np.zeros((64, 64), np.uint8)
    image[20:40, 20:40], mask[20:40, 20:40] = 250 - image[20:40, 20:40], 255
    depth = np.repeat(np.linspace(255, 0, 64).astype(np.uint8)[:, None], 64, 1)
    for part, picture in (("bg", background), ("image", image), ("mask", mask), ("depth", depth)):
        Image.fromarray(picture).save(tmp_path / f"park_1_{part}.png")
    return tmp_path


def test_real_photos_prints_scores_beside_subtraction(quads, weights):
    done = command("real_photos.py", quads, "--weights", weights, "--json", quads / "scores.json")
    assert done.returncode == 0, done.stderr[-2000:]
    row = json.loads((quads / "scores.json").read_text())["park_1"]
    assert max(row["subtraction"]) > 0.9 and "subtraction" in done.stdout and -1 <= row["depth_correlation"] <= 1


def test_real_photos_names_what_is_missing(quads):
    (quads / "park_1_mask.png").unlink()
    done = command("real_photos.py", quads)
    assert done.returncode == 2 and "park_1" in done.stderr and "Traceback" not in done.stderr


def test_figures_of_the_readme_are_those_of_the_files():
    text = (assets.ROOT / "README.md").read_text()
    assert report.figures() in text, "run `python benchmarks/report.py`"


def test_the_parks_data_sheet_is_up_to_date():
    assert report.park() in (assets.PARK / "README.md").read_text(), "run `python benchmarks/report.py`"


def test_gallery_holds_what_the_pages_show():
    assert {path.name for path in assets.GALLERY.iterdir()} == report.wanted()


def test_the_race_scores_both_networks(tmp_path):
    done = command("time_to_dice.py", "--seconds", 2, "--every", 1, "--count", 8, "--json", tmp_path / "race.json")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "race.json").read_text())
    assert result["ours"] and result["source"] and 0 < result["subtraction"]["dice"] < 1
    assert all(
        0 <= check["dice"] <= 1 and 0 <= check["pooled"] <= 1 and check["samples"] > 0 for check in result["ours"] + result["source"]
    )


def test_small_photos_first_is_compared_at_every_size(tmp_path):
    done = command("progressive.py", "--share", 0.001, "--count", 4, "--json", tmp_path / "progressive.json")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "progressive.json").read_text())
    assert len(result["plans"]) == 4
    assert all(0 <= plan[size]["mask_iou"] <= 1 for plan in result["plans"].values() for size in ("64 px", "224 px"))
    for stage in ("64px", "mixed"):
        (tmp_path / "train" / stage).mkdir(parents=True)
        shutil.copy(assets.WEIGHTS, tmp_path / "train" / stage / "last.safetensors")
        (tmp_path / "train" / stage / "history.jsonl").write_text('{"seconds": 60}\n')
    more = ("--count", 4, "--json", tmp_path / "progressive.json", "--shipped", tmp_path / "train")
    done = command("progressive.py", *more)
    assert done.returncode == 2 and "another --count or --share" in done.stderr
    done = command("progressive.py", *more, "--share", 0.001)
    assert done.returncode == 0 and "epoch" not in done.stdout, "what is stored is not trained again"
    result = json.loads((tmp_path / "progressive.json").read_text())
    assert result["plans"]["shipped, after its stage mixed"]["minutes"] == 2 and len(result["plans"]) == 6
    table = "\n".join(report.progressive(result))
    assert all(f"{plan['224 px']['depth_rmse_std']:.3f}" in table and name in table for name, plan in result["plans"].items())


def test_the_ceiling_of_a_mask_is_measured_at_every_size(tmp_path):
    path = tmp_path / "ceiling.json"
    done = command("ceiling.py", "--share", 0.002, "--json", path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(path.read_text())
    for values in result["sizes"].values():
        made = values["capture differences at strength 1"]
        swapped = [score for name, score in made.items() if "elsewhere" in name]
        assert len(swapped) == 2 and all(made["the network"] <= score <= 1 for score in swapped), "truth put in never harms"
        noisy = [score for name, score in made.items() if "+-" in name]
        assert noisy == sorted(noisy, reverse=True) and 0 < noisy[-1] < 1, "the less is known, the worse"
        assert all(0 <= score <= 1 for score in values["ideal pairs"].values()) and len(values["ideal pairs"]) == 3
        assert values["samples"] in (5 * 32, 5 * 8)
    table = "\n".join(report.ceiling(result))
    assert all(name in table for values in result["sizes"].values() for name in values["ideal pairs"]) and "| 224 px |" in table
    again = command("ceiling.py", "--share", 0.002, "--json", path)
    assert again.returncode == 0 and not again.stdout, "what is stored is not measured again"
    assert command("ceiling.py", "--json", path).returncode == 2


def test_the_ceilings_network_is_trained_on_ideal_pairs(tiny, weights, monkeypatch):
    asked = []
    monkeypatch.setattr(ceiling.dataset, "CompositeDataset", lambda *a, **o: asked.append(o) or CompositeDataset(*a, **o))
    held = list(train_shipped.held_out(tiny, 32, 4, strength=0.0))
    further = ceiling.trained_on_ideal(training.load_weights(weights), tiny, 32, batch=4, steps=2, validation=held)
    first, last = (net.mask_decoder.detail[0][0].weight for net in (training.load_weights(weights), further))
    assert not torch.equal(first, last) and [options.get("strength", 0) for options in asked] == [0, 0]


def test_variants_are_resumed_and_bound_to_their_settings(tmp_path):
    path = tmp_path / "variants.json"
    first = command("variants.py", "--samples", 32, "--only", "deep supervision", "--json", path)
    assert first.returncode == 0, first.stderr[-2000:]
    stored = path.read_text()
    row = json.loads(stored)["variants"]["network: deep supervision"]
    assert 0 <= row["mask_iou"] <= 1 and row["parameters"] > 1e6
    assert command("variants.py", "--samples", 32, "--only", "deep supervision", "--json", path).returncode == 0
    assert path.read_text() == stored, "nothing is trained twice"
    other = command("variants.py", "--samples", 64, "--only", "deep supervision", "--json", path)
    assert other.returncode == 2 and "other settings" in other.stderr and path.read_text() == stored


@pytest.fixture
def photographs(tmp_path):
    for name in ("bg", "fg"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(smooth(rng, 160)).save(tmp_path / f"bg/{number}.jpg")
        alpha = np.zeros((90, 60), np.uint8)
        alpha[10:80, 10:50] = 255
        Image.fromarray(np.dstack([255 - smooth(rng, 90)[:, :60], alpha])).save(tmp_path / f"fg/{number}.png")
    return tmp_path


def test_photo_pack_degrades_and_scores(photographs, weights):
    done = command("photo_pack.py", photographs, "--weights", weights, "--count", 4, "--json", photographs / "pack.json")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((photographs / "pack.json").read_text())
    assert result["clean"]["subtraction"] > result["all together"]["subtraction"]
    assert command("photo_pack.py", photographs / "bg").returncode == 2


def test_pair_check_counts_what_is_flagged(photographs, weights):
    done = command("pair_check.py", photographs, "--weights", weights, "--count", 8, "--json", photographs / "check.json")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((photographs / "check.json").read_text())
    assert result["good"]["should be"] is False and 0 <= result["wrong background"]["flagged"] <= 1 and result["ms for 640 x 480"] > 0


def test_the_conditional_network_is_compared_with_dedicated_ones(tmp_path):
    options = ("--epochs", 1, "--samples", 64, "--validation", 8, "--seeds", 2)
    done = command("train_conditional.py", *options, "--out", tmp_path / "run", "--json", tmp_path / "table.json")
    assert done.returncode == 0, done.stderr[-2000:]
    table = json.loads((tmp_path / "table.json").read_text())
    rows = table["rows"]
    for terms in (*table["answers"].values(), table["tradeoff"]):
        assert all([len(values) for values in seeds] == 2 * [len(table["shares"])] for seeds in terms.values())
    one, other = table["answers"]["training pairs"]["edge"]
    assert one != other, "another seed is another training"
    changes = [f"{values[-1] / values[0] - 1:+.1%}" for values in (np.mean([one, other], axis=0), one, other)]
    lines = report.conditional(table)
    cells = next(line for line in lines if line.startswith("| edge |")).split(" | ")
    assert [cells[1], cells[3]] == [changes[0], ", ".join(changes[1:])] and len(cells) == 7
    assert sum(line.startswith(("| mask_iou |", "| depth_rmse_std |")) for line in lines) == 2
    learnt = rows[0]["training pairs"]
    assert learnt["dedicated"]["l1"] > 0 and learnt["dedicated"] != learnt["conditional"]
    assert sum(f"{learnt['conditional']['mask']:.4f} / {learnt['dedicated']['mask']:.4f}" in line for line in lines) == 1
    assert len(rows) >= 3 and all(0 <= row[who]["mask_iou"] <= 1 for row in rows for who in ("conditional", "dedicated"))
    assert training.load_weights(tmp_path / "run/conditional-0/conditional.safetensors").config.conditional
