"""What holds the project together: the three lists of packages, one address, commands that exist."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distribution, distributions, version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from eva_helpers import assets

ROOT = assets.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
PINS = {canonicalize_name(name): pin for name, pin in PINS.items()}
WANTED = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
COLAB = {  # preinstalled there: the ranges must admit them, or a set-up would reinstall them
    "torch": "2.11.0", "torchvision": "0.26.0", "numpy": "2.1.3", "matplotlib": "3.10.0", "pillow": "11.3.0",
    "opencv-python-headless": "5.0.0.93", "albumentations": "2.0.8", "accelerate": "1.14.0", "safetensors": "0.8.0",
    "tqdm": "4.67.3", "ipywidgets": "7.7.1",
}  # fmt: skip


@pytest.mark.parametrize("requirement", WANTED, ids=lambda r: r.name)
def test_the_tested_set_lies_in_the_ranges(requirement):
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin), f"constraints.txt pins {requirement.name} {pin}, pyproject.toml wants {requirement}"


def test_the_test_extra_is_pinned_too():
    for text in PROJECT["project"]["optional-dependencies"]["test"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_tested_set_installs_on_the_oldest_python():
    """A pin that wants more sends pip searching for minutes, and then it fails; Debian 12 has Python 3.11.2."""
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=") + ".0"
    installed = [found for found in distributions() if PINS.get(canonicalize_name(found.name)) == found.version]
    refused = [found.name for found in installed if not SpecifierSet(found.metadata["Requires-Python"] or "").contains(oldest)]
    assert len(installed) > 100 and not refused


def test_the_ranges_admit_what_colab_has():
    wanted = {canonicalize_name(requirement.name): requirement for requirement in WANTED}
    for name, there in COLAB.items():
        assert wanted[name].specifier.contains(there), f"{wanted[name]} would reinstall Colab's {name} {there}"


def test_environment_yml_lists_the_same_packages():
    text = (ROOT / "environment.yml").read_text()
    listed = yaml.safe_load(text)["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    requirements = {canonicalize_name(r.name): r for r in map(Requirement, (line for line in pip if not line.startswith("-")))}
    for wanted in WANTED:
        assert str(requirements[canonicalize_name(wanted.name)].specifier) == str(wanted.specifier), wanted.name
    lines = [line for line in text.partition("- pip:")[2].splitlines() if line.strip()]
    assert lines and all("#" in line for line in lines), "every package in environment.yml stands beside its reason"


def test_opencv_is_installed_once():
    installed = [name for name in ("opencv-python", "opencv-contrib-python", "opencv-python-headless") if name in PINS]
    assert installed == ["opencv-python-headless"]


def test_what_the_package_imports_is_declared():
    modules = {"cv2": "opencv-python-headless", "PIL": "pillow"}
    optional = map(Requirement, PROJECT["project"]["optional-dependencies"]["photos"])
    declared = {canonicalize_name(requirement.name) for requirement in (*WANTED, *optional)}
    for path in (ROOT / "eva_helpers").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"eva_helpers"}:
                if top != "google":  # Colab has it, and nobody else
                    assert canonicalize_name(modules.get(top, top)) in declared, f"{path.name} imports {top}, which pyproject.toml lacks"


def test_modules_import_only_from_those_above():
    order = [
        "images",
        "assets",
        "compose",
        "augment",
        "dataset",
        "folders",
        "packing",
        "photos",
        "hardware",
        "matching",
        "model",
        "losses",
        "metrics",
        "training",
        "evaluate",
        "pairing",
        "predict",
        "effects",
        "plots",
        "widgets",
    ]
    assert {path.stem for path in (ROOT / "eva_helpers").glob("*.py")} == {*order, "__init__"}
    for number, name in enumerate(order):
        tree = ast.parse((ROOT / "eva_helpers" / f"{name}.py").read_text())
        for node in tree.body:  # at module level; `predict` reaches training and plots inside functions
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eva_helpers"):
                used = [node.module.partition(".")[2]] if "." in node.module else [alias.name for alias in node.names]
                assert all(order.index(module) < number for module in used), f"{name} imports {used}"


def test_every_make_target_is_listed_and_its_scripts_exist():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split())
    assert targets == set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))
    for script in re.findall(r"(\S+\.py)\b", text):
        assert (ROOT / script).is_file(), f"the Makefile calls {script}"


def test_version_is_in_one_place():
    import eva_helpers

    assert version("eva-helpers") == eva_helpers.__version__ == distribution("eva-helpers").version


def test_ci_calls_what_the_readme_says():
    assert "make test" in (ROOT / ".ci/run").read_text() and ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "make run" in readme and "make test" in readme


def test_readme_links_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        links = re.findall(r"\]\(([^)#\s]+)\)", text) + re.findall(r"src=\"([^\"]+)\"", text)
        local = [link for link in links if not link.startswith(("http:", "https:"))]
        assert local and all((ROOT / link).exists() for link in local), [link for link in local if not (ROOT / link).exists()]
