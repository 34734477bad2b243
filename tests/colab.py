"""Imitate Colab: `python tests/colab.py [--only 04] [--fresh]` (`make test-colab`).

Downloads about 3 GB the first time. A virtual environment gets what Colab preinstalls of our
packages (`colab-preinstalled.txt`, its published list of 2026-08), a module `google.colab` replaces
the real one, and every notebook runs by itself in an otherwise empty folder; the repository is
this checkout's last commit, given as a file:// address. Afterwards no preinstalled package may have
changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
from run import PROFILES  # noqa: E402

LIST = Path(__file__).with_name("colab-preinstalled.txt")
TORCH = ("torch==2.11.0", "torchvision==0.26.0")
SETUP_SECONDS = 60
EXECUTE = """
import json, sys, time
import nbformat
from nbclient import NotebookClient
book = nbformat.read("notebook.ipynb", as_version=4)
times = []
client = NotebookClient(book, timeout=1800, kernel_name="python3")
starts = {}
def started(cell, cell_index):
    starts[cell_index] = time.perf_counter()
client.on_cell_execute = started
def ended(cell, cell_index, execute_reply):
    times.append((cell_index, time.perf_counter() - starts[cell_index]))
client.on_cell_executed = ended
try:
    client.execute()
finally:
    nbformat.write(book, "executed.ipynb")
setup = next(seconds for index, seconds in times if index == 1)
print(json.dumps({"setup": setup, "total": sum(seconds for _, seconds in times)}))
"""


def newest() -> str:
    """Python 3.13 as on Colab where it works, else this interpreter."""
    found = shutil.which("python3.13")
    works = found and subprocess.run([found, "--version"], capture_output=True).returncode == 0
    return found if works else sys.executable


def environment(folder: Path, python: str) -> Path:
    """The virtual environment's interpreter; made once."""
    interpreter = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet"]
        try:
            subprocess.run([*pip, *TORCH], check=True)
        except subprocess.CalledProcessError:
            print(
                f"{', '.join(TORCH)} cannot be installed here: taking the newest instead",
                flush=True,
            )
            subprocess.run([*pip, "torch", "torchvision"], check=True)
        subprocess.run([*pip, "-r", str(LIST)], check=True)
        (folder / ".ready").touch()
    return interpreter


def installed(interpreter: Path) -> dict[str, str]:
    """Package -> version."""
    command = [str(interpreter), "-m", "pip", "list", "--format=json"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    packages = json.loads(listed)
    return {package["name"].lower().replace("_", "-"): package["version"] for package in packages}


def restore(interpreter: Path, before: dict[str, str]) -> list[str]:
    """Uninstall what a set-up cell installed, as on a fresh machine; returns the names."""
    extra = sorted(installed(interpreter).keys() - before.keys())
    if extra:
        command = [str(interpreter), "-m", "pip", "uninstall", "--yes", "--quiet", *extra]
        subprocess.run(command, check=True)
    return extra


def run(notebook: Path, interpreter: Path, stand_in: Path) -> dict:
    """Run one notebook alone; seconds of its set-up and in total.

    Raises:
        CalledProcessError: a cell failed.
    """
    values = PROFILES["smoke"].get(notebook.stem, {})
    book = parameterize_notebook(load_notebook_node(str(notebook)), values)
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(book, Path(folder) / "notebook.ipynb")
        names = ("PATH", "LANG", "TMPDIR", "PIP_INDEX_URL", "SSL_CERT_FILE")
        env = {name: os.environ[name] for name in names if name in os.environ}
        env |= {"HOME": folder, "PYTHONPATH": str(stand_in), "JUPYTER_PLATFORM_DIRS": "1"}
        env["EVA_REPO_URL"] = ROOT.as_uri()
        command = [str(interpreter), "-c", EXECUTE]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-3000:], file=sys.stderr)
            raise subprocess.CalledProcessError(done.returncode, command)
        return json.loads(done.stdout.splitlines()[-1])


def colab_module() -> Path:
    """A folder with a module `google.colab` that every Python process imports at its start."""
    folder = Path(tempfile.mkdtemp())
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").touch()
    (folder / "sitecustomize.py").write_text("import google.colab\n")  # as in Colab's kernel
    return folder


def prepared(options: argparse.Namespace) -> tuple[Path, dict[str, str]]:
    """The environment's interpreter, with its own kernel, and what is preinstalled in it."""
    if options.fresh:
        shutil.rmtree(options.venv, ignore_errors=True)
    interpreter = environment(options.venv, options.python)
    ready = options.venv / ".ready"
    if not ready.read_text():
        ready.write_text(json.dumps(installed(interpreter)))
    before = json.loads(ready.read_text())
    restore(interpreter, before)
    kernel = [str(interpreter), "-m", "ipykernel", "install", "--sys-prefix"]
    subprocess.run(kernel, check=True, capture_output=True)
    return interpreter, before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / "runs" / "colab-venv")
    parser.add_argument("--python", default=newest(), help="Colab's is 3.13 (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--fresh", action="store_true", help="make the environment anew")
    options = parser.parse_args()
    interpreter, before = prepared(options)
    stand_in = colab_module()
    problems = []
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if not notebook.stem.startswith(tuple(options.only)):
            continue
        seconds = run(notebook, interpreter, stand_in)
        if seconds["setup"] > SETUP_SECONDS:
            problems.append(f"the set-up of {notebook.stem} took more than {SETUP_SECONDS} s")
        after = installed(interpreter)
        for name, version in before.items():
            if after.get(name) != version:
                problems.append(f"{name} {version} was changed to {after.get(name)}")
        extra = ", ".join(restore(interpreter, before)) or "nothing"
        times = f"set-up {seconds['setup']:5.1f} s, all {seconds['total']:6.1f} s"
        print(f"{notebook.stem:<34} {times}, installed {extra}", flush=True)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
