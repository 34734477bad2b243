"""The package as users install it: a wheel, or the set-up cell on Colab."""

import email
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import picture
from packaging.requirements import Requirement

from eva_helpers.paths import ROOT

USE = """
import sys
from pathlib import Path
import eva_helpers
from eva_helpers.files import InputError
from eva_helpers.catalogue import load_catalogue
from eva_helpers.predict import Predictor

assert Path(eva_helpers.__file__).is_relative_to(sys.prefix), eva_helpers.__file__
result = Predictor.load()("background.png", "image.png")
assert result.mask.shape == result.depth.shape == (120, 120)
assert 0 < result.depth.std()
try:
    load_catalogue()
except InputError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: a build leaves folders in its source tree.
    copied = ["pyproject.toml", "README.md", "LICENSE"]
    copied += [str(p.relative_to(ROOT)) for p in (ROOT / "eva_helpers").rglob("*") if p.is_file()]
    for name in copied:
        if "__pycache__" not in name:
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(folder / "source")], check=True)
    return next(folder.glob("*.whl"))


def environment(folder: Path) -> Path:
    """The interpreter of a new environment that sees this one's packages, but not this checkout."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    # A plain path entry does not run the .pth files in it, such as that of the checkout.
    dependencies = Path(site.strip()) / "dependencies.pth"
    dependencies.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment with the wheel."""
    python = environment(tmp_path_factory.mktemp("environment"))
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    return python


def test_the_wheel_holds_weights_types_and_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("py.typed", "weights/small.safetensors", "weights/bank.safetensors"):
        assert f"eva_helpers/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "experiments", "benchmarks")) for name in names)


def test_the_wheel_brings_none_of_the_extras(wheel):
    """What `pip install` without brackets brings is the list of dependencies, and no more."""
    path = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(zipfile.ZipFile(wheel).read(path))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    brought = {each.name for each in needed if not each.marker or each.marker.evaluate()}
    assert brought == {Requirement(text).name for text in project["dependencies"]}
    assert set(metadata.get_all("Provides-Extra")) == project["optional-dependencies"].keys()


def test_the_installed_package_predicts(python, tmp_path):
    picture(0).save(tmp_path / "background.png")
    picture(1).save(tmp_path / "image.png")
    done = subprocess.run([python, "-c", USE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "clone" in done.stdout, "without the repository there is no park: say what to do"


def test_the_installed_command_predicts(python, tmp_path):
    picture(0).save(tmp_path / "background.png")
    picture(1).save(tmp_path / "image.png")
    command = [python.with_name("eva-helpers"), "predict"]
    command += ["--background", "background.png", "--image", "image.png", "--out", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"mask.png", "depth.png", "panel.png"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout, so nothing to clone")
def test_the_set_up_cell_installs_the_package_on_colab(tmp_path):
    """In an empty folder, and a second time; the clone's park is found."""
    book = json.loads((ROOT / "notebooks/03_model.ipynb").read_text(encoding="utf-8"))
    cell = "".join(book["cells"][1]["source"])
    check = "from eva_helpers.catalogue import load_catalogue\nprint(load_catalogue().folder)"
    code = f"import sys\nsys.modules['google.colab'] = sys\n{cell}\n{cell}\n{check}"
    python = environment(tmp_path / "environment")
    content = tmp_path / "content"
    content.mkdir()
    env = os.environ | {"EVA_REPO_URL": ROOT.as_uri(), "GIT_CONFIG_COUNT": "1"}
    env |= {"GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}  # whoever owns it
    env.pop("PYTHONPATH", None)
    command = [python, "-c", code]
    done = subprocess.run(command, cwd=content, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(content / "mask-depth-notebooks" / "assets" / "park")


def test_a_commands_warnings_are_sentences():
    command = "import warnings\nfrom eva_helpers.files import command_line\n"
    command += "command_line(lambda arguments: warnings.warn('few photos'))([])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stderr == "warning: few photos\n"
