"""What holds the project together: lists of packages, layers of imports, commands that exist."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import distribution, distributions, version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from eva_helpers import __main__ as command
from eva_helpers.paths import ROOT

PACKAGE = ROOT / "eva_helpers"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(
    re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
)
PINS = {canonicalize_name(name): pin for name, pin in PINS.items()}
WANTED = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
CLASSIFIERS = PROJECT["project"]["classifiers"]
MARKERS = PROJECT["tool"]["pytest"]["ini_options"]["markers"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
NOTEBOOKS = [Requirement(text) for text in EXTRAS["notebooks"]]
LISTED = (ROOT / "tests/colab-preinstalled.txt").read_text(encoding="utf-8").splitlines()
COLAB = dict(line.split("==") for line in LISTED if not line.startswith("#"))  # preinstalled there
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
INNER = {"partials", "files", "schemas", "paths", "shards", "hardware", "refinement"}  # no API page
# From the foundation up: a room imports only from those before it.
ROOMS = [
    "partials",
    "files",
    "schemas",
    "paths",
    "shards",
    "images",
    "hardware",
    "catalogue",
    "worlds",
    "data",
    "storage",
    "model",
    "refinement",
    "losses",
    "plots",
    "evaluation",
    "training",
    "predict",
    "tuning",
    "export",
]


@pytest.mark.parametrize("requirement", WANTED + NOTEBOOKS, ids=lambda r: r.name)
def test_the_tested_set_lies_in_the_ranges(requirement):
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin), f"constraints.txt has {pin}, wanted {requirement}"


def test_the_test_extra_is_pinned_too():
    for text in EXTRAS["test"] + EXTRAS["photos"] + EXTRAS["book"]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name == "eva-helpers" or requirement.specifier.contains(PINS[name]), text


def test_the_tested_set_installs_on_the_oldest_python():
    """A pin that wants a newer Python sends pip searching for minutes, and then it fails."""
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=") + ".0"
    installed = {canonicalize_name(d.name): d for d in distributions()}
    direct = [canonicalize_name(r.name) for r in WANTED + NOTEBOOKS]
    other = [name for name in direct if getattr(installed.get(name), "version", "") != PINS[name]]
    if other:
        pytest.skip(f"not the tested set: {', '.join(other)}; `make setup` installs it")
    for name in installed.keys() & PINS.keys():
        needed = SpecifierSet(installed[name].metadata.get("Requires-Python") or "")
        assert needed.contains(oldest), f"{name} needs Python {needed}"


def test_the_ranges_admit_what_colab_has():
    """Or installing the package would reinstall what Colab has."""
    common = [requirement for requirement in WANTED if requirement.name in COLAB]
    assert len(common) >= 10
    for requirement in common:
        assert requirement.specifier.contains(COLAB[requirement.name]), requirement


CONDA = {  # names on conda-forge
    "pytorch": "torch",
    "opencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib",
}


def test_environment_yml_lists_the_same_packages():
    """Those that pip installs are not conda's: OpenCV twice would be two builds in one folder."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    conda = yaml.safe_load(text)["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert pip[-1] == "-e ." and conda[-2] == "pip"
    assert not {"albumentations", "torch"} & {Requirement(line).name for line in pip[:-1]}
    listed = [Requirement(line) for line in (*conda[:-2], *pip[:-1])]
    for requirement in listed:
        requirement.name = CONDA.get(requirement.name, requirement.name)
    python = "python" + PROJECT["project"]["requires-python"]
    assert sorted(map(str, listed)) == sorted([python, *map(str, WANTED + NOTEBOOKS)])
    lines = [line for line in text.splitlines() if ">=" in line or "-e" in line]
    assert len(lines) > len(listed) and all("#" in line for line in lines), "each has its reason"


def test_binder_installs_the_same_packages():
    of_all = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    found = yaml.safe_load((ROOT / "binder/environment.yml").read_text(encoding="utf-8"))
    python, torch, *rest = found["dependencies"]
    assert Requirement(python.replace("=", "==")).specifier.contains("3.12"), "one version"
    assert torch.replace("-cpu", "") == of_all["dependencies"][1]
    assert rest[:-1] == of_all["dependencies"][2:-1]
    assert [*rest[-1]["pip"], "-e ."] == of_all["dependencies"][-1]["pip"]
    script = ROOT / "binder/postBuild"
    assert "pip install --no-deps -e ." in script.read_text(encoding="utf-8")
    assert os.name != "posix" or os.access(script, os.X_OK)


def test_opencv_is_installed_once():
    builds = ("opencv-python", "opencv-contrib-python", "opencv-python-headless")
    assert [name for name in builds if name in PINS] == ["opencv-python-headless"]


def imports(path):
    """Names of all modules that a file imports, function-level imports included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_what_the_package_imports_is_declared():
    modules = {"cv2": "opencv-python-headless", "PIL": "pillow"}
    extras = ("photos", "notebooks", "export", "timm", "shards")
    optional = [Requirement(text) for extra in extras for text in EXTRAS[extra]]
    declared = {canonicalize_name(requirement.name) for requirement in (*WANTED, *optional)}
    for path in PACKAGE.rglob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)}
        for top in tops - sys.stdlib_module_names - {"eva_helpers", "google"}:  # Colab has google
            assert canonicalize_name(modules.get(top, top)) in declared, f"{path.name}: {top}"


def room_of(name):
    """`eva_helpers.model.net.MaskDepthNet` -> `model`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "eva_helpers" and len(parts) > 1 else None


def test_rooms_import_only_from_those_before():
    found = {path.stem for path in PACKAGE.glob("*.py")}
    found |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found == {*ROOMS, "__init__", "__main__"}
    for number, room in enumerate(ROOMS):
        files = (
            (PACKAGE / room).glob("*.py") if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]
        )
        for path in files:
            used = {room_of(name) for name in imports(path)} - {None, room, "__version__"}
            assert used <= set(ROOMS[:number]), f"{path.name} of {room} imports {used}"


def test_the_reference_names_every_public_room():
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^ +eva_helpers\.(\w+)$", text, re.MULTILINE)) == set(ROOMS) - INNER


def test_no_circle_inside_a_room():
    for folder in (path.parent for path in PACKAGE.glob("*/__init__.py")):
        modules = {path.stem: path for path in folder.glob("*.py") if path.stem != "__init__"}
        prefix = f"eva_helpers.{folder.name}."
        used = {
            name: {
                i.removeprefix(prefix).split(".")[0] for i in imports(path) if i.startswith(prefix)
            }
            for name, path in modules.items()
        }
        TopologicalSorter({name: names & modules.keys() for name, names in used.items()}).prepare()


def test_modules_are_short():
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in PACKAGE.rglob("*.py")}
    assert max(map(len, lines.values())) <= 220
    for page, most in {"README.md": 130, "CONTRIBUTING.md": 110}.items():
        assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= most


def test_importing_is_cheap():
    """`import eva_helpers` is cheap, and the predictor checks photos before it imports torch."""
    for name in ("eva_helpers", "eva_helpers.predict"):
        code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, name


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main([name, "--help"])
    usage = capsys.readouterr().out.splitlines()[0]
    assert stopped.value.code == 0 and usage.startswith("usage:") and name in usage


def test_an_unknown_command_is_refused(capsys):
    assert command.main(["predictt"]) == 2 and "predict" in capsys.readouterr().out


def test_every_make_target_is_listed_and_its_scripts_exist():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))
    for script in re.findall(r"(\S+\.py)\b", text):
        assert (ROOT / script).is_file(), f"the Makefile calls {script}"
    for module in re.findall(r"python -m ((?:experiments|benchmarks)\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"the Makefile calls {module}"


def test_version_is_in_one_place():
    import eva_helpers

    assert version("eva-helpers") == eva_helpers.__version__ == distribution("eva-helpers").version


def test_ci_calls_what_the_readme_says():
    assert "make test" in (ROOT / ".ci/run").read_text()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in readme and "make test" in readme


def workflow(path=ROOT / ".github/workflows/ci.yml"):
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # `on` is not True


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_commands_that_exist(path):
    found = workflow(path)
    assert found["permissions"] == {"contents": "read"}, "a job that publishes asks for more"
    steps = [step for job in found["jobs"].values() for step in job["steps"]]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    lines = [step["run"] for step in steps if "run" in step]
    wanted = {"ci": {".ci/run", "setup"}, "book": {"run", "demo", "book"}}
    wanted["release"] = wanted["book"] | {"release"}
    assert wanted[path.stem] <= {line.split()[1] for line in lines}
    for line in lines:
        for target in re.findall(r"^make ([a-z-]+)", line):
            assert f"\n{target}:" in MAKEFILE, line
        for script in re.findall(r"^bash (\S+)", line):
            assert (ROOT / script).is_file(), line
        for name in re.findall(r'-m "not (\w+)"', line):
            assert any(each.startswith(f"{name}:") for each in MARKERS), line


def test_the_workflow_tests_every_python_that_the_package_names():
    found = workflow()
    tested = found["jobs"]["pinned"]["strategy"]["matrix"]["python"]
    named = [each.rpartition(" ")[2] for each in CLASSIFIERS if re.search(r" 3\.\d+$", each)]
    assert set(named) <= set(tested)
    assert found["on"]["schedule"]
    assert not found["jobs"]["newest"].get("if"), "every week, too"


def test_the_devcontainer_runs_commands_that_exist():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    python = re.search(r"python:(3\.\d+)", container["image"])[1]
    assert f"Programming Language :: Python :: {python}" in CLASSIFIERS
    command, target = container["postCreateCommand"].split()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert command == "make" and f"\n{target}:" in makefile
    chosen = container["customizations"]["vscode"]
    assert "ms-toolsai.jupyter" in chosen["extensions"]
    venv = re.search(r"^VENV := (\S+)", makefile, re.MULTILINE)[1]
    assert f"/{venv}/" in chosen["settings"]["python.defaultInterpreterPath"]


def test_one_name_and_one_address():
    address = PROJECT["project"]["urls"]["Repository"]
    for name in (
        "CITATION.cff",
        "docs/conf.py",
        "tools/book.py",
        ".github/ISSUE_TEMPLATE/config.yml",
    ):
        found = re.findall(r"https://github\.com/[\w-]+/[\w-]+", (ROOT / name).read_text("utf-8"))
        assert set(found) == {address}, name
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = citation["authors"][0]["name"].removeprefix("The ")
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert f"the {authors}" in licence and licence.startswith(citation["license"])


def test_the_newest_version_has_its_changes():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", text, re.MULTILINE)[1] == version("eva-helpers")


def test_hooks_are_tools_of_the_environment():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"].split() for repo in hooks["repos"] for hook in repo["hooks"]]
    assert len(entries) == 3
    for tool, *arguments in entries:
        assert tool.startswith(".venv/bin/") and tool.removeprefix(".venv/bin/") in PINS
        command = [sys.executable, "-m", tool.removeprefix(".venv/bin/"), *arguments, "--help"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0, command


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_pages_for_developers_name_what_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"`make ([a-z-]+)", text)
    assert targets and [each for each in targets if f"\n{each}:" not in MAKEFILE] == []
    files = re.findall(r"\b(?:tests|tools|notebooks)/\w[\w/]*\.py", text)
    assert [each for each in files if not (ROOT / each).is_file()] == []


def test_issue_forms_have_what_github_wants():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        assert all(field["attributes"]["label"] and field["id"] for field in form["body"])


def test_readme_links_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        links = re.findall(r"\]\(([^)#\s]+)\)", text) + re.findall(r"src=\"([^\"]+)\"", text)
        local = [link for link in links if not link.startswith(("http:", "https:"))]
        assert local and [link for link in local if not (ROOT / link).exists()] == []
