"""The command `eva-helpers train`, alone and in two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import papermill
import pytest

from eva_helpers import __main__ as program
from eva_helpers import paths
from eva_helpers.files import read_json
from eva_helpers.training.command import DEFAULTS, make_trainer, parse

SMALL = ["--size", "32", "--epochs", "2", "--samples-per-epoch", "16", "--batch-size", "8"]
SMALL += ["--validation-samples", "9"]
NOTEBOOK = paths.ROOT / "notebooks/04_weighted_loss_training.ipynb"
# also on a machine with one GPU
ON_CPU = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29519"],
    "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    + ["--main_process_port", "29520"],
}


def test_the_defaults_are_those_of_notebook_04():
    declared = papermill.inspect_notebook(str(NOTEBOOK))
    elsewhere = {"RESUME", "RUN_DIR", "INTERACTIVE"}
    wanted = {
        name.lower(): eval(entry["default"])
        for name, entry in declared.items()
        if name not in elsewhere
    }
    assert {name: default for name, (default, _) in DEFAULTS.items()} == wanted | {
        "save_minutes": 5.0
    }


def test_it_trains_what_the_notebook_trains(tmp_path, monkeypatch):
    """The settings that decide a training are those that the notebook's cells lead to."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    wanted = ("make_loader(train", "options = {", "inner = ", "config = Train", "Trainer(\n")
    chosen = [code[1], code[2], code[3], *(c for c in code[4:] if any(w in c for w in wanted))]
    smaller = {"RUN_DIR": str(tmp_path), "SAMPLES_PER_EPOCH": 16, "SIZE": 32}
    chosen[0] += "".join(f"\n{name} = {value!r}" for name, value in smaller.items())
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec("\n".join(chosen), {"display": print})
    given = ["--out", str(tmp_path / "mine"), "--size", "32", "--samples-per-epoch", "16"]
    make_trainer(parse(given))
    notebook, mine = (read_json(tmp_path / n / "config.json") for n in ("training", "mine"))
    assert mine == notebook


def test_every_weight_reaches_the_loss(tiny, tmp_path):
    names = [name for name in DEFAULTS if name.endswith("_weight")]
    values = {name: 0.1 * number for number, name in enumerate(names, 1)}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    where = ["--out", str(tmp_path / "run"), "--catalogue", str(tiny.folder), *SMALL]
    weights = make_trainer(parse([*where, *given])).weights
    assert {name: getattr(weights, name.removesuffix("_weight")) for name in names} == values


def test_it_trains_and_goes_on(tiny, tmp_path, capsys):
    command = ["train", "--out", str(tmp_path / "run"), "--catalogue", str(tiny.folder), *SMALL]
    assert program.main(command) == 0 and program.main(command) == 0
    printed = capsys.readouterr().out
    assert "1 process on" in printed and "8 of 8 samples of a batch each" in printed
    assert "resumed after epoch 2" in printed
    assert len(read_lines(tmp_path / "run")) == 2


def read_lines(folder):
    return (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_it_trains_in_two_processes(tiny, tmp_path, launcher):
    out = tmp_path / "run"
    command = [sys.executable, *LAUNCHERS[launcher], "-m", "eva_helpers.training", "--out", out]
    command = [*command, "--catalogue", tiny.folder, *SMALL]
    done = subprocess.run(
        command, env=ON_CPU, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("2 processes on") == 1 and "4 of 8 samples" in done.stdout
    assert len(read_lines(out)) == 2 and (out / "best.safetensors").is_file()


def test_it_trains_in_two_processes_from_a_notebook(tiny, tmp_path):
    out = tmp_path / "run"
    script = Path(tmp_path / "cell.py")
    given = ["--out", str(out), "--catalogue", str(tiny.folder), *SMALL]
    script.write_text(
        "from accelerate import notebook_launcher\n"
        "from eva_helpers.training.command import main\n"
        f"notebook_launcher(main, ({given!r},), num_processes=2, use_port='29521')\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script],
        env=ON_CPU,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("2 processes on") == 1 and len(read_lines(out)) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--epochs", "0"], "--epochs is 0"),
        (["--lr", "nan"], "--lr is nan"),
        (["--size", "8"], "at least 32"),
        (["--variety", "2"], "--variety is 2"),
        (["--mask-weight", "-1"], "--mask-weight is -1"),
    ],
)
def test_numbers_out_of_range_are_a_sentence(tmp_path, capsys, given, words):
    assert program.main(["train", "--out", str(tmp_path / "run"), *given]) == 2
    assert words in capsys.readouterr().err
