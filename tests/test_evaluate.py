"""The evaluation command and what it is made of."""

import json

import numpy as np
import pytest

from eva_helpers import evaluate, metrics


@pytest.fixture
def shots():
    rng = np.random.default_rng(0)
    photo = np.kron(rng.integers(60, 190, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 24:40] = 1
    return photo, photo.copy(), mask


@pytest.mark.parametrize("condition", evaluate.CONDITIONS, ids=lambda condition: condition.__name__)
def test_conditions_grow_with_their_level(shots, condition):
    gaps = []
    for level in evaluate.CONDITIONS[condition][1]:
        background, image = condition(*shots, level, np.random.default_rng(0))
        assert background.shape == image.shape == shots[0].shape and background.dtype == image.dtype == np.uint8
        gaps.append(np.abs(background.astype(float) - shots[0]).mean() + np.abs(image.astype(float) - shots[1]).mean())
    assert gaps[0] < 0.05 * gaps[-1] or condition is evaluate.jpeg
    assert all(a < b for a, b in zip(gaps, gaps[1:], strict=False))


def test_a_condition_leaves_the_other_photo_alone(shots):
    assert np.array_equal(evaluate.exposure(*shots, 1.0, np.random.default_rng(0))[1], shots[1])
    assert np.array_equal(evaluate.misalignment(*shots, 0.02, np.random.default_rng(0))[1], shots[1])
    background, image = evaluate.shadow(*shots, 0.8, np.random.default_rng(1))
    assert np.array_equal(background, shots[0]) and (image <= shots[1]).all() and (image < shots[1]).any()


def test_scores_sorted_by_size():
    rows = {"size": np.array([0.0, 0.05, 0.1, 0.5]), "mask_iou": np.array([1.0, 0.2, 0.6, 0.9])}
    rows["mask_moved_iou"] = np.array([1.0, 0.1, 0.4, 0.8])
    table = evaluate.by_size({"network": rows})
    assert table == {
        "0-0.08": {"images": 1, "network": 0.2, evaluate.MOVED: 0.1},
        "0.08-0.16": {"images": 1, "network": 0.6, evaluate.MOVED: 0.4},
        "0.32-1": {"images": 1, "network": 0.9, evaluate.MOVED: 0.8},
    }


def test_the_background_alone_gives_a_depth_that_ignores_the_image(weights):
    import torch

    from eva_helpers import training

    net = training.load_weights(weights)
    a, b, c = torch.rand(3, 1, 3, 32, 32)
    depth = evaluate.background_depth(net)
    with torch.no_grad():
        assert torch.equal(depth(a, b)[1], depth(a, c)[1]) and not torch.equal(depth(a, b)[1], depth(b, a)[1])


def test_the_command_writes_a_whole_report(tiny, weights, tmp_path, capsys):
    options = ["--weights", weights, "--catalogue", tiny.folder, "--sizes", "32", "48", "--samples", "8", "--out", tmp_path / "out"]
    assert evaluate.main([str(option) for option in options]) == 0
    result = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert set(result["quadrants"]) == {"32 px", "48 px"} and set(result["robustness"]["32 px"]) == {
        c.__name__ for c in evaluate.CONDITIONS
    }
    row = result["quadrants"]["48 px"][evaluate.UNSEEN]
    assert set(row) == {evaluate.NETWORK, evaluate.SUBTRACTION, evaluate.BACKGROUND}
    low, high = row[evaluate.NETWORK]["interval"]["mask_iou"]
    assert low <= row[evaluate.NETWORK]["mask_iou"] <= high
    assert {"mask_pooled_dice", "mask_boundary_f", "depth_delta3", "depth_ssim", "depth_aligned_abs_rel", "depth_ordered"} <= set(
        row["network"]
    )
    assert (tmp_path / "out/robustness.png").stat().st_size > 5000
    assert "subtraction" in capsys.readouterr().out
    assert evaluate.main([str(option) for option in options]) == 2
    assert "overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [["--weights", "nowhere.safetensors"], ["--catalogue", "nowhere"], ["--sizes", "16"], ["--samples", "0"]]
)
def test_bad_input_gets_one_sentence(change, weights, tmp_path, capsys):
    assert evaluate.main(["--weights", str(weights), "--out", str(tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_perfect_network_would_score_one(tiny):
    """The report's own arithmetic: an oracle that knows mask and depth gets 1, 0 and no false alarm."""
    from eva_helpers import dataset

    pairs = dataset.fixed_sample(dataset.quadrant(tiny, evaluate.UNSEEN, size=48), 6)
    answer = next(iter(dataset.loader(pairs, 32)))
    rows = evaluate.compare({"oracle": lambda background, image: (answer["mask"], answer["depth"])}, pairs, tiny.z_near)["oracle"]
    scores = evaluate.scores(rows)
    assert scores["mask_iou"] == scores["mask_boundary_f"] == scores["mask_pooled_iou"] == 1 and scores["depth_rmse_std"] == 0
    assert scores["depth_ordered"] == 1 and scores["interval"]["mask_iou"] == (1, 1)
    assert metrics.summary(rows)["depth_delta1"] == 1
