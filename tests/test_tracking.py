"""Trackers: what TensorBoard's files hold is the history, also of trainings that were killed."""

import itertools

import pytest
from accelerate import tracking as trackers
from accelerate.tracking import GeneralTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from test_training import make

from eva_helpers.files import InputError
from eva_helpers.losses import LossWeights
from eva_helpers.training import cli, tracking

TENSORBOARD = {"log_with": "tensorboard", "samples": 48, "batch": 4}  # 12 steps an epoch


def points(folder):
    """What TensorBoard shows: tag -> {step: value}; no step is there twice."""
    events = EventAccumulator(str(folder / "eva-helpers")).Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        values = [(event.step, event.value) for event in events.Scalars(tag)]
        found[tag] = dict(values)
        assert len(found[tag]) == len(values), f"{tag} has a step twice"
    return found


def hyperparameters(folder):
    (file,) = folder.glob("eva-helpers/*/events*")
    events = EventAccumulator(str(file)).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def test_tensorboard_shows_the_history(tiny, tmp_path):
    weights = LossWeights(mask=0.4, l1=0.5)
    trainer = make(tiny, tmp_path, epochs=2, weights=weights, **TENSORBOARD)
    rates = []
    losses = []
    history = trainer.fit(
        lambda step, terms: (rates.append(trainer.learning_rate), losses.append(terms["loss"]))
    )
    found = points(tmp_path)
    parts = weights.parts()
    for step, row in zip((12, 24), history, strict=True):
        for name in ("loss", "mask", "dice", "ssim", "edge", "l1"):
            assert found[f"train/{name}"][step] == pytest.approx(row[name])
        for name in ("mask_iou", "depth_rmse_std", "score"):
            assert found[f"validation/{name}"][step] == pytest.approx(row[name])
        for name in ("epoch", "seconds", "samples_per_second"):
            assert found[name][step] == pytest.approx(row[name])
        shares = {name: found[f"share/{name}"][step] for name in parts if parts[name]}
        assert "share/ssi" not in found
        assert shares == pytest.approx({name: parts[name] * row[name] for name in shares})
        assert sum(shares.values()) == pytest.approx(row["loss"], rel=1e-4)
        assert found["lr"][step] == pytest.approx(rates[step - 1])
    assert found["step/loss"] == pytest.approx({n: losses[n - 1] for n in (10, 20)})
    assert found["step/lr"] == pytest.approx({n: rates[n - 1] for n in (10, 20)})


def test_settings_are_hyperparameters(tiny, tmp_path):
    make(tiny, tmp_path, epochs=1, weights=LossWeights(mask=0.4), **TENSORBOARD).fit()
    found = hyperparameters(tmp_path)
    assert found["weight mask"] == 0.4 and found["lr"] == 3e-3 and found["balance"] == "fixed"
    assert found["data dataset strength"] == 0.5 and found["network widths"] == "[8, 8, 8, 8, 8]"


@pytest.mark.parametrize("killed", [5, 15, 23])
def test_a_killed_training_goes_on_without_double_points(tiny, tmp_path, killed):
    whole = make(tiny, tmp_path / "whole", epochs=2, **TENSORBOARD)
    whole.fit()
    trainer = make(tiny, tmp_path / "run", epochs=2, **TENSORBOARD)
    step, calls = trainer.step, itertools.count()

    def until(batch):
        if next(calls) == killed:
            raise KeyboardInterrupt
        return step(batch)

    trainer.step = until
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    for _ in range(2):  # the second one has nothing left to do
        make(tiny, tmp_path / "run", epochs=2, resume=True, **TENSORBOARD).fit()
    one, other = points(tmp_path / "whole"), points(tmp_path / "run")
    clock = ("seconds", "samples_per_second")
    for tag in one.keys() - {*clock}:
        assert other[tag] == one[tag], tag
    assert [*other["seconds"]] == [12, 24]
    files = list((tmp_path / "run").glob("eva-helpers/events*"))
    assert len(files) == 2, "a finished training opens no tracker"


def test_a_killed_save_leaves_no_double_points(tiny, tmp_path):
    """Logged, but not saved: the epoch is trained and logged again."""
    trainer = make(tiny, tmp_path, epochs=2, **TENSORBOARD)
    trainer.run_epoch()
    trainer.run.save = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer.fit()
    make(tiny, tmp_path, epochs=2, resume=True, **TENSORBOARD).fit()
    assert [*points(tmp_path)["train/loss"]] == [12, 24]


def test_no_tracker_by_default(tiny, tmp_path):
    make(tiny, tmp_path, epochs=1).fit()
    assert not list(tmp_path.rglob("*events*"))


def test_a_tracker_changes_neither_the_training_nor_its_settings(tiny, tmp_path):
    make(tiny, tmp_path / "a", epochs=2, samples=16).fit()
    make(tiny, tmp_path / "b", epochs=2, samples=16, log_with="tensorboard").run_epoch()
    make(tiny, tmp_path / "b", epochs=2, samples=16, resume=True).fit()
    one, two = ((tmp_path / name / "last.safetensors").read_bytes() for name in "ab")
    assert one == two


def test_balances_that_ignore_the_weights_have_no_shares(tiny, tmp_path):
    make(tiny, tmp_path, epochs=1, balance="geometric", **TENSORBOARD).fit()
    assert not [tag for tag in points(tmp_path) if tag.startswith("share/")]


def test_any_tracker_of_accelerate_will_do(tiny, tmp_path, monkeypatch):
    logged = {}

    class Own(GeneralTracker):
        name = "own"
        requires_logging_directory = False
        tracker = None

        def __init__(self, project, **options):
            super().__init__()
            logged["opened"] = (project, options)

        def store_init_configuration(self, values):
            logged["settings"] = values

        def log(self, values, step=None, **options):
            logged[step] = values

        def finish(self):
            logged["closed"] = True

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "own", Own)
    history = make(tiny, tmp_path, epochs=1, samples=16, log_with="own").fit()
    assert logged["opened"] == ("eva-helpers", {}) and logged["closed"]
    assert logged["settings"]["weight mask"] == 0.3
    assert logged[2]["validation/mask_iou"] == history[0]["mask_iou"]


def test_unusable_trackers_are_a_sentence(tiny, tmp_path, monkeypatch, mine, capsys):
    with pytest.raises(InputError, match=r"'tensorbord' is unknown: expected one of .*tensorboard"):
        make(tiny, tmp_path / "run", log_with="tensorbord")
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(InputError, match="wandb is not installed: `pip install wandb`"):
        make(tiny, tmp_path / "run", log_with="wandb")
    assert not (tmp_path / "run").exists()
    arguments = [str(mine), "--out", str(tmp_path / "out"), "--log-with", "comet_ml"]
    assert cli.main(arguments) == 2
    assert "pip install comet-ml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_finetuning_logs_too(tiny, weights, tmp_path, monkeypatch):
    from eva_helpers.training import finetuning

    for name, value in {"BATCHES": {32: 4}, "STEPS": 2, "EPOCHS": 2, "COUNT": 6}.items():
        monkeypatch.setattr(finetuning, name, value)
    monkeypatch.setattr(cli, "load_catalogue", lambda: tiny)
    arguments = [str(tiny.folder), "--weights", str(weights), "--out", str(tmp_path)]
    assert cli.main([*arguments, "--log-with", "tensorboard"]) == 0
    assert len(points(tmp_path)["validation/score"]) == 2
