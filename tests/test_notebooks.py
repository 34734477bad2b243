"""The series: how each notebook is built, and that it runs - alone, from anywhere, unattended."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib

import nbformat
import papermill
import parameters
import pytest
import run as runner
from test_folders import write_original

from eva_helpers import catalogue, paths
from eva_helpers.files import InputError
from eva_helpers.predict import Predictor
from eva_helpers.storage import FolderDataset

FOLDER = paths.ROOT / "notebooks"

PATHS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
BOOKS = {path.stem: nbformat.read(path, as_version=4) for path in PATHS}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # a locale
EACH = pytest.mark.parametrize("name", BOOKS)


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def tagged(book, tag="parameters"):
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", [])]


def test_the_series_is_numbered_without_gaps():
    numbers = [int(name[:2]) for name in BOOKS]
    assert len(numbers) >= 5 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@EACH
def test_notebook_is_valid_and_clean(name):
    nbformat.validate(BOOKS[name])
    for cell in code(BOOKS[name]):
        assert cell.outputs == [] and cell.execution_count is None, "commit without outputs"
    assert "widgets" not in BOOKS[name].metadata
    for cell in BOOKS[name].cells:
        assert "colab" not in cell.metadata and "execution" not in cell.metadata


def test_those_that_train_ask_colab_for_a_gpu():
    asking = {name[:2] for name, book in BOOKS.items() if book.metadata.get("accelerator") == "GPU"}
    assert asking == {"04", "06"}


def test_cell_ids_are_unique():
    for name, book in BOOKS.items():
        ids = [cell.id for cell in book.cells]
        assert len(set(ids)) == len(ids), name


@EACH
def test_first_cells_are_title_setup_parameters_imports(name):
    title, setup, parameters, imports = BOOKS[name].cells[:4]
    first = next(iter(BOOKS.values())).cells[1]
    assert (
        title.source.startswith(f"# {name[:2]} - ") and f"/notebooks/{name}.ipynb" in title.source
    )
    assert "**The question:**" in title.source and "![" in title.source and "minute" in title.source
    assert setup.source == first.source, "the set-up cell is the same in every notebook"
    assert setup.metadata["cellView"] == "form" and setup.metadata["jupyter"]["source_hidden"]
    assert "# @title" in setup.source and len(setup.source.splitlines()) <= 15
    assert tagged(BOOKS[name]) == [parameters]
    assert "from eva_helpers import" in imports.source
    assert not any("sys.path" in cell.source for cell in code(BOOKS[name]))


@EACH
def test_parameters_are_typed_literals_with_a_reason(name):
    for line in tagged(BOOKS[name])[0].source.splitlines():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*: (int|float|str|bool) = [^#=]+  # [^=]+", line), line
    assert runner.accepted(FOLDER / f"{name}.ipynb") >= {
        "RUN_DIR",
        "INTERACTIVE",
        "SEED",
        "CATALOGUE",
    }


@EACH
def test_cells_are_short_and_explained(name):
    shown = [cell for cell in code(BOOKS[name])[1:] if cell not in tagged(BOOKS[name], "solution")]
    lengths = [len(cell.source.splitlines()) for cell in shown]
    assert max(lengths) <= 30 and sorted(lengths)[len(lengths) // 2] <= 9
    assert sum(cell.cell_type == "markdown" for cell in BOOKS[name].cells) >= 5


@EACH
def test_no_shell_magic_and_no_cuda_calls(name):
    for cell in code(BOOKS[name]):
        # `!cmd` does not stop the notebook when the command fails
        assert not re.search(r"^\s*[!%]|\.cuda\(", cell.source, re.MULTILINE)


@EACH
def test_pictures_of_the_titles_are_in_the_gallery(name):
    pictures = re.findall(r"main/assets/([^)\s]+\.png)\)", BOOKS[name].cells[0].source)
    assert {picture.split("/")[0] for picture in pictures} == {"diagrams", "gallery"}
    for picture in pictures:
        assert (paths.ROOT / "assets" / picture).is_file(), picture


@EACH
def test_a_notebook_answers_its_question_and_sets_exercises(name):
    text = "\n".join(cell.source for cell in BOOKS[name].cells)
    for heading in ("## The answer", "## Exercises", "## What comes next", "## Further reading"):
        assert f"\n{heading}\n" in text, heading
    solutions = tagged(BOOKS[name], "solution")
    assert 2 <= len(solutions) <= 3
    for number, cell in enumerate(solutions, 1):
        assert cell.source.startswith(f'# @title Solution {number} {{ display-mode: "form" }}')
        folded = {"source_hidden": True, "outputs_hidden": True}
        assert cell.metadata["cellView"] == "form" and cell.metadata["jupyter"] == folded
        assert f"**{number}. " in text


@EACH
def test_no_output_is_left_without_a_word(name):
    """Between two figures or tables there is text."""
    shown = ("plt.show()", "display(", "pd.DataFrame(", "pd.Series(")
    silent = 0
    for cell in BOOKS[name].cells:
        last = cell.source.splitlines()[-1] if cell.source else ""
        if cell.cell_type == "markdown":
            silent = 0
        elif last.startswith(shown):
            silent += 1
        assert silent < 3, cell.source


def test_the_learners_version_has_no_solutions(tmp_path, capsys):
    exercises = runpy.run_path(str(paths.ROOT / "tools" / "exercises.py"))
    out = tmp_path / "mine"
    assert exercises["main"]([str(out)]) == 0
    for name, book in BOOKS.items():
        learner = nbformat.read(out / f"{name}.ipynb", as_version=4)
        nbformat.validate(learner)
        assert len(learner.cells) == len(book.cells)
        assert "Solution" not in "".join(cell.source for cell in code(learner))
        assert len(tagged(learner, "exercise")) == len(tagged(book, "solution"))
    assert exercises["main"]([str(out)]) == 2, "a learner's work is not overwritten"
    assert "not empty" in capsys.readouterr().err


def test_one_public_address():
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    owner = project["urls"]["Repository"].removeprefix("https://github.com/")
    pattern = r"github(?:usercontent)?\.com/(?:github/)?([\w.-]+/[\w.-]+?)(?=[/\"\s)\\]|$)"
    for path in (*PATHS, paths.ROOT / "README.md"):
        found = set(re.findall(pattern, path.read_text(encoding="utf-8")))
        assert found <= {owner}, f"{path.name} names {found}, pyproject.toml {owner}"


@pytest.mark.notebook
def test_the_series_runs_with_smoke_values(tmp_path):
    """From another folder, under a locale that is not UTF-8, into a relative folder."""
    command = [sys.executable, str(FOLDER / "run.py"), "--profile", "smoke"]
    command += ["--name", "smoke", "--out", "my r\N{LATIN SMALL LETTER U WITH DIAERESIS}ns"]
    env = os.environ | {"EVA_REPO_URL": "nowhere"} | ASCII
    env.pop("MPLBACKEND", None)  # which the tests set: figures are shown as in any notebook
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = tmp_path / command[-1] / "smoke"
    for name in BOOKS:
        assert (folder / f"{name}.ipynb").is_file()
        assert (folder / f"{name}.html").stat().st_size > 10_000
        executed = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        shown = [output.get("data", {}) for cell in code(executed) for output in cell.outputs]
        named = [data for data in shown if data.get("text/plain", "").startswith("<Figure")]
        assert named and all("image/png" in data for data in named), "figures are shown"
    figures = [path.stem for path in (folder / "figures").glob("*.png")]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert figures and all(f"figures/{name}.png" in page for name in figures)
    assert all(f'href="{name}.html"' in page for name in BOOKS)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics.keys() == BOOKS.keys()
    assert "training/best.safetensors" in metrics["05_visual_evaluation"]["weights"]
    assert str(folder) in done.stdout and "mask_iou" in done.stdout
    assert not (paths.ROOT / "nowhere").exists()


@pytest.mark.notebook
def test_a_notebook_runs_alone_from_another_folder(tmp_path):
    """05 without 04: the shipped weights; started in a folder outside the checkout."""
    values = {"RUN_DIR": str(tmp_path), "SAMPLES": 16, "INTERACTIVE": False}
    path = FOLDER / "05_visual_evaluation.ipynb"
    book = papermill.execute_notebook(str(path), None, values, cwd=str(tmp_path))
    printed = "".join(output.get("text", "") for cell in code(book) for output in cell.outputs)
    assert paths.WEIGHTS.name in printed


@pytest.mark.notebook
def test_notebooks_run_on_photographs(mine, tiny_model, tmp_path, capsys):
    """Photos without metres, walkable ground or true pairs, labelled by a (toy) depth model."""
    folder = tmp_path / "catalogue"
    catalogue.build_catalogue(folder, catalogue.photos_of_folder(mine))
    catalogue.label_depth(folder, catalogue.depth_estimator(tiny_model))
    command = ["--profile", "smoke", "--only", "00", "01", "04", "--name", "photos"]
    command += ["-p", "CATALOGUE", str(folder), "-p", "DEPTH_MODEL", str(tiny_model)]
    status = runner.main([*command, "--out", str(tmp_path)])
    assert status == 0, capsys.readouterr().err
    assert (tmp_path / "photos/figures/00_labels.png").is_file()


@pytest.mark.notebook
def test_without_depth_labels_masks_are_trained_and_scored(mine, tmp_path, capsys):
    folder = tmp_path / "catalogue"
    catalogue.build_catalogue(folder, catalogue.photos_of_folder(mine))
    command = ["--profile", "smoke", "--only", "04", "05", "--name", "masks"]
    status = runner.main([*command, "--out", str(tmp_path), "-p", "CATALOGUE", str(folder)])
    assert status == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "masks/metrics.json").read_text(encoding="utf-8"))
    names = " ".join(name for values in metrics.values() for name in values)
    assert "mask_iou" in names and "validation mask IoU" in names
    assert "rmse" not in names.lower() and "delta" not in names


@pytest.mark.notebook
def test_a_folder_of_composites_is_trained_on_and_resumed(tmp_path, capsys, monkeypatch):
    """From files in the original project's layout to masks of two photos."""
    write_original(tmp_path / "my composites", per=4, count=16, first=0)
    monkeypatch.chdir(tmp_path)
    command = ["--profile", "smoke", "--only", "04", "-p", "COMPOSITES", "my composites"]
    command += ["-p", "SIZE", "32", "-p", "SAMPLES_PER_EPOCH", "16", "-p", "BATCH_SIZE", "8"]
    assert runner.main([*command, "--out", "runs", "--name", "mine"]) == 0, capsys.readouterr().err
    printed = (tmp_path / "runs/mine/04_weighted_loss_training.ipynb").read_text(encoding="utf-8")
    assert "16 composites: 4 composites per background" in printed and "inferred" in printed
    training = tmp_path / "runs/mine/training"
    before = (training / "last.safetensors").read_bytes()
    resume = ["-p", "RESUME", "yes", "-p", "RUN_DIR", "runs/mine"]
    assert runner.main([*command, *resume, "--out", "runs", "--name", "again"]) == 0
    printed = capsys.readouterr().out
    assert "validation mask IoU" in printed and f"results: {tmp_path / 'runs/mine'}" in printed
    assert (training / "last.safetensors").read_bytes() == before
    composites = FolderDataset(tmp_path / "my composites", size=32)
    item = composites.items[0]
    result = Predictor.load(training / "best.safetensors")(item.background, item.image)
    assert result.mask.shape == result.depth.shape == (80, 80)


@pytest.mark.notebook
@pytest.mark.parametrize("broken", ["tuning.Tuner._after_step", "tuning.map_of"])
def test_a_broken_tuning_function_makes_papermill_fail(broken, tmp_path):
    """Also one that breaks inside the training's thread, where an error is easily lost."""
    book = nbformat.read(FOLDER / "06_loss_weight_tuning.ipynb", as_version=4)
    code = (
        f"def breaks(*_, **__):\n    raise RuntimeError('broken on purpose')\n\n\n{broken} = breaks"
    )
    book.cells.insert(4, nbformat.v4.new_code_cell(code))
    nbformat.write(book, tmp_path / "broken.ipynb")
    values = {"RUN_DIR": str(tmp_path / "run"), "INTERACTIVE": False}
    values |= runner.PROFILES["smoke"]["06_loss_weight_tuning"]
    with pytest.raises(papermill.PapermillExecutionError, match="broken on purpose"):
        papermill.execute_notebook(
            str(tmp_path / "broken.ipynb"), None, values, cwd=str(tmp_path), kernel_name="python3"
        )


def test_without_the_package_the_set_up_says_what_to_do(tmp_path):
    setup = BOOKS["01_data_exploration"].cells[1].source
    isolated = [sys.executable, "-I", "-S", "-c", setup]  # without site-packages
    done = subprocess.run(isolated, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "make setup" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [], "nothing is cloned outside Colab and Kaggle"


def test_without_the_internet_the_set_up_says_what_to_switch_on(tmp_path):
    """As on Kaggle, where it is off at first."""
    setup = BOOKS["01_data_exploration"].cells[1].source
    isolated = [sys.executable, "-I", "-S", "-c", setup]  # without site-packages
    env = os.environ | {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}
    env["EVA_REPO_URL"] = (tmp_path / "unreachable").as_uri()
    done = subprocess.run(isolated, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "switch on Internet" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [], "a second try begins anew"


def test_an_unknown_parameter_is_refused(tmp_path, capsys):
    assert runner.main(["--profile", "smoke", "--out", str(tmp_path), "-p", "EPOCH", "3"]) == 2
    message = capsys.readouterr().err
    assert "EPOCH" in message and "EPOCHS" in message and len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "refused before anything is made"


def test_an_unknown_notebook_is_refused(tmp_path, capsys):
    assert runner.main(["--only", "77", "--out", str(tmp_path)]) == 2
    assert "77" in capsys.readouterr().err


def test_profiles_name_only_parameters_that_exist(tmp_path):
    for profile in runner.PROFILES:
        plan = runner.parameters(PATHS, profile, {}, tmp_path)
        for values in plan.values():
            assert values["RUN_DIR"] == str(tmp_path) and values["INTERACTIVE"] is False
    assert set().union(*runner.PROFILES.values()) <= BOOKS.keys()


def planned(tmp_path, given, only=("04", "05", "06")):
    """The values that the notebooks get, all together."""
    plan = runner.parameters(runner.notebooks(list(only)), "smoke", given, tmp_path)
    return {name: value for values in plan.values() for name, value in values.items()}


@pytest.mark.parametrize(
    "name, typed, value",
    [
        ("EPOCHS", "2.0", 2),
        ("EPOCHS", "1e1", 10),
        ("LR", "1", 1.0),
        ("RESUME", "no", False),
        ("RESUME", "True", True),
        ("WORKERS", "-1", -1),
        ("DEPTH_WEIGHT", "0", 0.0),
        ("CATALOGUE", "pets+places", "pets+places"),
        ("CATALOGUE", "", ""),
        ("BALANCE", "geometric", "geometric"),
    ],
)
def test_given_values_win_and_get_the_declared_type(name, typed, value, tmp_path):
    given = planned(tmp_path, runner.parse([[name, typed]]))[name]
    assert given == value and type(given) is type(value)


@pytest.mark.parametrize("name, value, expected", [
    ("EPOCHS", "ten", "a whole number"),
    ("EPOCHS", "0", "at least 1"),
    ("EPOCHS", 2.5, "a whole number"),
    ("EPOCHS", True, "a whole number"),
    ("EPOCHS", [3], "a whole number"),
    ("EPOCHS", 10**400, "at most 100000"),
    ("SEED", "-1", "at least 0"),
    ("SIZE", "16", "at least 32"),
    ("LR", "-1e-3", "at least 0.00000001"),
    ("LR", "nan", "a number"),
    ("LR", "inf", "a number"),
    ("VARIETY", "1.5", "at most 1"),
    ("RESUME", "perhaps", "True or False"),
    ("BALANCE", "equal", "'fixed', 'uncertainty' or 'geometric'"),
    ("CATALOGUE", {"a": 1}, "text"),
    ("CATALOGUE", None, "text"),
    ("CATALOGUE", "nowhere", "no folder"),
    ("WEIGHTS", "nowhere", "no file"),
])  # fmt: skip
def test_other_values_are_refused(name, value, expected, tmp_path):
    with pytest.raises(InputError, match=rf"^{name} is [^\n]*{re.escape(expected)}"):
        planned(tmp_path, {name: value})


def test_the_commands_refuse_before_anything_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text('{"EPOCHS": [3]}', encoding="utf-8")
    (tmp_path / "file").touch()
    for typed in (
        ["-p", "LR", "-1e-3"], ["--parameter", "SEED", "-1"], ["-p", "CATALOGUE", "nowhere"],
        ["-f", "bad.json"], ["--name", "../x"], ["--out", "file/sub"], ["-p", "RUN_DIR", "file/x"],
    ):  # fmt: skip
        assert runner.main(["--profile", "smoke", "--out", "runs", *typed]) == 2, typed
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "file"]


def test_paths_mean_what_they_mean_where_they_were_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("my catalogue", "2025", "2025.10"):
        (tmp_path / folder).mkdir()
        assert planned(tmp_path, {"CATALOGUE": folder})["CATALOGUE"] == str(tmp_path / folder)
    (tmp_path / "mine.safetensors").touch()
    for typed in ("mine.safetensors", "./mine.safetensors", "~/mine.safetensors"):
        made = planned(tmp_path, {"WEIGHTS": typed})["WEIGHTS"]
        assert made == str(tmp_path / "mine.safetensors")
    assert planned(tmp_path, {"RUN_DIR": "new"})["RUN_DIR"] == str(tmp_path / "new")
    models = (planned(tmp_path, {"DEPTH_MODEL": m}, ["00"])["DEPTH_MODEL"] for m in ("a/b", "2025"))
    assert list(models) == ["a/b", str(tmp_path / "2025")]


@EACH
def test_what_the_notebooks_declare_is_allowed(name):
    for parameter in parameters.declared(FOLDER / f"{name}.ipynb").values():
        default = ast.literal_eval(parameter["default"])
        assert parameters.converted(parameter, default) == default


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("typed", [[], ["-C", str(paths.ROOT)]])
def test_make_runs_the_commands_where_it_was_typed(typed, tmp_path):
    """Also a name with a blank, and from another folder."""
    folder = tmp_path if typed else paths.ROOT
    command = ["make", *typed, "-n", "run", "NAME=my run", "PARAMS=-p CATALOGUE 'my photos'"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PWD": str(folder)}, capture_output=True, text=True
    )
    assert f'cd "{folder}" && ' in done.stdout and '--name "my run"' in done.stdout


@pytest.mark.notebook
def test_a_failing_notebook_fails_the_run(tmp_path, capsys):
    command = ["--profile", "smoke", "--only", "01", "--out", str(tmp_path)]
    (tmp_path / "no photos").mkdir()
    status = runner.main([*command, "-p", "CATALOGUE", str(tmp_path / "no photos")])
    message = capsys.readouterr().err
    assert status == 1 and "01_data_exploration" in message and "InputError" in message
    assert list(tmp_path.glob("*/01_data_exploration.html")), (
        "the executed copy stays, to see what happened"
    )


def test_a_run_never_overwrites_another(tmp_path):
    first, second = (paths.new_run("same", tmp_path) for _ in range(2))
    assert first != second and first.is_dir() and second.is_dir()


def test_parameters_come_from_a_file_too(tmp_path, capsys):
    path = tmp_path / "weights.json"
    path.write_text('{"MASK_WEIGHT": 0.5, "EPOCHS": 3}')
    values = runner.from_file(str(path)) | runner.parse([["EPOCHS", "4"]])
    assert values == {"MASK_WEIGHT": 0.5, "EPOCHS": "4"}
    for text in ("nonsense", "[1]"):
        path.write_text(text)
        command = ["--profile", "smoke", "--out", str(tmp_path / "out"), "-f", str(path)]
        assert runner.main(command) == 2
        assert "not a parameter file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
