"""Imitate Colab: `python tests/colab.py [--only 04] [--fresh]` (`make test-colab`).

Downloads about 3 GB the first time. A virtual environment of Colab's Python gets what Colab
preinstalls of our packages (`colab-preinstalled.txt`), a module `google.colab` replaces the real
one, and every notebook runs by itself in an otherwise empty folder; the repository is this
checkout's last commit, given as a file:// address. Afterwards no preinstalled package may have
changed. With `--host kaggle`, an environment variable says that it is Kaggle, whose image is built
on Colab's.
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
PYTHON = "3.13"  # what Colab runs since 2026-08-25, and the list is for
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


def version(python: str) -> str:
    """`3.13` of an interpreter; empty if it does not run, as a shim of pyenv may not."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def matching(given: str | None) -> str:
    """The given interpreter, else one found here, that is Colab's Python.

    Raises:
        SystemExit: there is none.
    """
    candidates = [given] if given else [f"python{PYTHON}", "python3", sys.executable]
    for python in candidates:
        if version(python) == PYTHON:
            return python
    found = ", ".join(f"{python} is {version(python) or 'not usable'}" for python in candidates)
    sys.exit(
        f"error: Colab runs Python {PYTHON}, but {found}: install it (Debian 13's package "
        f"python{PYTHON}-venv, `uv python install {PYTHON}`, or pyenv), and give its path: "
        f"make test-colab COLAB_PYTHON=/path/to/python{PYTHON}"
    )


def environment(folder: Path, python: str | None) -> Path:
    """The virtual environment's interpreter; made once."""
    interpreter = folder / "bin" / "python"
    if not (folder / ".ready").exists() or version(str(interpreter)) != PYTHON:
        python = matching(python)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet"]
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


def run(notebook: Path, interpreter: Path, host: dict[str, str]) -> dict:
    """Run one notebook alone; seconds of its set-up and in total.

    Raises:
        CalledProcessError: a cell failed.
    """
    values = PROFILES["smoke"].get(notebook.stem, {})
    book = parameterize_notebook(load_notebook_node(str(notebook)), values)
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(book, Path(folder) / "notebook.ipynb")
        names = ("PATH", "LANG", "TMPDIR", "PIP_INDEX_URL", "SSL_CERT_FILE", "OMP_NUM_THREADS")
        env = {name: os.environ[name] for name in names if name in os.environ}
        env |= {"HOME": folder, "JUPYTER_PLATFORM_DIRS": "1", "EVA_REPO_URL": ROOT.as_uri()} | host
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
    parser.add_argument("--python", help=f"an interpreter of Python {PYTHON}, as Colab's")
    parser.add_argument("--host", choices=("colab", "kaggle"), default="colab")
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--fresh", action="store_true", help="make the environment anew")
    options = parser.parse_args()
    interpreter, before = prepared(options)
    host = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}
    if options.host == "colab":
        host = {"PYTHONPATH": str(colab_module())}
    problems = []
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if not notebook.stem.startswith(tuple(options.only)):
            continue
        seconds = run(notebook, interpreter, host)
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
