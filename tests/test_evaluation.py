"""The evaluation command and its parts."""

import json

import numpy as np
import pytest
import torch
from conftest import write_catalogue

from eva_helpers.data.dataset import quadrant
from eva_helpers.data.loaders import fixed_sample, make_loader
from eva_helpers.evaluation import cli, report
from eva_helpers.evaluation.baselines import BACKGROUND, NETWORK, SUBTRACTION, background_depth
from eva_helpers.evaluation.original import OriginalNet, original_loss
from eva_helpers.evaluation.robustness import CONDITIONS, exposure, shadow, shift
from eva_helpers.files import read_json, write_json
from eva_helpers.model.profile import parameters, receptive_field
from eva_helpers.model.weights import load_weights


@pytest.fixture
def shots():
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(60, 190, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 24:40] = 1
    return photo, photo.copy(), mask


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_grow_with_their_level(shots, name):
    change, _, levels = CONDITIONS[name]
    gaps = []
    for level in levels:
        changed = change(*shots, level, np.random.default_rng(0))
        gaps.append(0.0)
        for after, before in zip(changed, shots, strict=False):
            assert after.shape == before.shape and after.dtype == np.uint8
            gaps[-1] += np.abs(after.astype(float) - before).mean()
    assert gaps[0] < 0.05 * gaps[-1] or name == "jpeg"
    assert all(a < b for a, b in zip(gaps, gaps[1:], strict=False))


def test_a_condition_leaves_the_other_photo_alone(shots):
    assert np.array_equal(exposure(*shots, 1.0, np.random.default_rng(0))[1], shots[1])
    assert np.array_equal(shift(*shots, 0.02, np.random.default_rng(0))[1], shots[1])
    background, image = shadow(*shots, 0.8, np.random.default_rng(1))
    assert np.array_equal(background, shots[0])
    assert (image <= shots[1]).all() and (image < shots[1]).any()


def test_scores_sorted_by_size():
    rows = {"size": np.array([0.0, 0.05, 0.1, 0.5]), "mask_iou": np.array([1.0, 0.2, 0.6, 0.9])}
    rows["mask_moved_iou"] = np.array([1.0, 0.1, 0.4, 0.8])
    assert report.by_size({"network": rows}) == {
        "0-0.08": {"images": 1, "network": 0.2, report.MOVED: 0.1},
        "0.08-0.16": {"images": 1, "network": 0.6, report.MOVED: 0.4},
        "0.32-1": {"images": 1, "network": 0.9, report.MOVED: 0.8},
    }


def test_the_background_alone_gives_a_depth_that_ignores_the_image(weights):
    net = load_weights(weights)
    a, b, c = torch.rand(3, 1, 3, 32, 32)
    method = background_depth(net)
    assert torch.equal(method(a, b)[1], method(a, c)[1])
    assert not torch.equal(method(a, b)[1], method(b, a)[1])


def test_the_original_network_is_rebuilt_as_described():
    net = OriginalNet()
    assert parameters(net) == pytest.approx(3_199_552, rel=0.05)
    assert receptive_field(net, 48) == 21
    photos = torch.rand(2, 2, 3, 32, 32)
    mask_logits, depth = net(*photos)
    target = {"mask": torch.ones(2, 1, 32, 32), "depth": torch.full((2, 1, 32, 32), 0.5)}
    original_loss(mask_logits, depth, target).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def options_of(tiny, weights, out):
    given = ("--weights", weights, "--catalogue", tiny.folder, "--sizes", 48, 32, "--samples", 8)
    return [str(option) for option in (*given, "--out", out)]


def test_the_command_writes_a_whole_report(tiny, weights, tmp_path, capsys):
    options = options_of(tiny, weights, tmp_path / "out")
    assert cli.main(options) == 0
    result = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert set(result["quadrants"]) == {"32 px", "48 px"}
    assert set(result["robustness"]["32 px"]) == set(CONDITIONS)
    row = result["quadrants"]["48 px"][report.UNSEEN]
    assert set(row) == {NETWORK, SUBTRACTION, BACKGROUND}
    low, high = row["network"]["interval"]["mask_iou"]
    assert low <= row["network"]["mask_iou"] <= high
    assert {"mask_pooled_dice", "mask_boundary_f", "depth_delta3", "depth_ssim"} <= set(
        row["network"]
    )
    assert {"depth_aligned_abs_rel", "depth_ordered", "mask_moved_iou", "size"} <= set(
        row["network"]
    )
    assert set(result["empty scenes"]["32 px"]) == {NETWORK, SUBTRACTION}
    assert (tmp_path / "out/robustness.png").stat().st_size > 5000
    assert "subtraction" in capsys.readouterr().out
    assert cli.main(options) == 2
    assert "overwritten" in capsys.readouterr().err


def test_the_report_of_the_shipped_weights_can_be_read_as_text():
    from eva_helpers.paths import WEIGHTS

    stored = json.loads(WEIGHTS.with_suffix(".json").read_text())["test_scores"]
    text = report.report_text(stored)
    score = stored["quadrants"]["64 px"][report.UNSEEN][NETWORK]["mask_iou"]
    assert f"{score:.4f}" in text and "126 true pairs" in text
    assert SUBTRACTION in text and BACKGROUND in text
    alarms = stored["empty scenes"]["224 px"][SUBTRACTION]
    assert f"{alarms:.1%}" in text


@pytest.mark.parametrize(
    "change",
    [
        ["--weights", "nowhere.safetensors"],
        ["--catalogue", "nowhere"],
        ["--sizes", "16"],
        ["--samples", "0"],
    ],
)
def test_bad_input_gets_one_sentence(change, weights, tmp_path, capsys):
    assert cli.main(["--weights", str(weights), "--out", str(tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_impossible_folder_is_refused_before_the_evaluation(
    tiny, weights, tmp_path, capsys, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cli, "evaluation_report", lambda *_, **__: pytest.fail("computed"))
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        assert cli.main(options_of(tiny, weights, out)) == 2
        assert str(out) in capsys.readouterr().err


def test_a_perfect_network_would_score_one(tiny):
    """An oracle that knows mask and depth gets IoU 1, depth error 0."""
    pairs = fixed_sample(quadrant(tiny, report.UNSEEN, size=48), 6)
    answer = next(iter(make_loader(pairs, 32)))
    oracle = {"oracle": lambda background, image: (answer["mask"], answer["depth"])}
    scores = report.scores(report.compare(oracle, pairs, tiny.z_near))["oracle"]
    assert scores["mask_iou"] == scores["mask_boundary_f"] == scores["mask_pooled_iou"] == 1
    assert scores["depth_rmse_std"] == 0 and scores["depth_delta1"] == 1
    assert scores["depth_ordered"] == 1 and scores["interval"]["mask_iou"] == (1, 1)


def test_false_alarms_need_a_false_mask(tiny):
    methods = {
        "none": lambda background, image: (torch.zeros_like(image[:, :1]), image[:, :1]),
        "all": lambda background, image: (torch.ones_like(image[:, :1]), image[:, :1]),
    }
    assert report.false_alarms(methods, tiny, 32, 4, 0, 1.0) == {"none": 0.0, "all": 1.0}


def test_robustness_follows_the_level(tiny, weights):
    card = report.robustness(load_weights(weights), tiny, 32, 6, seed=0)
    assert list(card) == list(CONDITIONS)
    for part in card.values():
        assert len(part[NETWORK]) == len(part["levels"])
    simple = card["noise"]["subtraction, best threshold"]
    assert simple[0] > simple[-1]


@pytest.mark.filterwarnings("ignore:.*no depth labels")
def test_a_report_without_depth_labels_is_one_of_masks(tmp_path, weights, capsys):
    folder = write_catalogue(tmp_path / "catalogue")
    listing = read_json(folder / "catalogue.json")
    for scene in listing["scenes"]:
        scene["depth"] = None
    write_json(folder / "catalogue.json", listing)
    out = tmp_path / "out"
    options = ["--catalogue", folder, "--weights", weights, "--sizes", 32, "--samples", 6]
    assert cli.main([str(option) for option in (*options, "--out", out)]) == 0
    text = (out / "evaluation.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert "mask_iou" in text and "depth_" not in text
    printed = capsys.readouterr().out
    assert "mask_iou" in printed and "depth_rmse" not in printed and "NaN" not in printed
