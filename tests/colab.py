"""Imitate Colab: `python tests/colab.py [--only 04] [--fresh]` (`make test-colab`). Takes a download of about 3 GB the first time.

A virtual environment gets what Colab preinstalls of our packages (`colab-preinstalled.txt`, its published list of 2026-08), a module
`google.colab` stands in for the real one, and every notebook runs by itself in an empty folder that holds nothing else; the repository
is this checkout's last commit, given as a file:// address. Afterwards nothing of the preinstalled list may have changed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
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
client.on_cell_execute = lambda cell, cell_index: starts.__setitem__(cell_index, time.perf_counter())
client.on_cell_executed = lambda cell, cell_index, execute_reply: times.append((cell_index, time.perf_counter() - starts[cell_index]))
try:
    client.execute()
finally:
    nbformat.write(book, "executed.ipynb")
print(json.dumps({"setup": next(seconds for index, seconds in times if index == 1), "total": sum(s for _, s in times)}))
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
            print(f"{', '.join(TORCH)} cannot be installed here: taking the newest instead", flush=True)
            subprocess.run([*pip, "torch", "torchvision"], check=True)
        subprocess.run([*pip, "-r", str(LIST)], check=True)
        (folder / ".ready").touch()
    return interpreter


def installed(interpreter: Path) -> dict[str, str]:
    """Package -> version."""
    listed = subprocess.run([str(interpreter), "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True).stdout
    return {entry["name"].lower().replace("_", "-"): entry["version"] for entry in json.loads(listed)}


def restore(interpreter: Path, before: dict[str, str]) -> list[str]:
    """Remove what a set-up cell installed, so that the next notebook finds a fresh machine too; returns the names."""
    extra = sorted(installed(interpreter).keys() - before.keys())
    if extra:
        subprocess.run([str(interpreter), "-m", "pip", "uninstall", "--yes", "--quiet", *extra], check=True)
    return extra


def run(notebook: Path, interpreter: Path, stand_in: Path) -> dict:
    """Run one notebook alone; its set-up's and whole seconds. Raises CalledProcessError when a cell fails."""
    values = PROFILES["smoke"].get(notebook.stem, {})
    book = parameterize_notebook(load_notebook_node(str(notebook)), values)
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(book, Path(folder) / "notebook.ipynb")
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TMPDIR", "PIP_INDEX_URL", "SSL_CERT_FILE")}
        home = {"HOME": folder, "PYTHONPATH": str(stand_in), "EVA_REPO_URL": ROOT.as_uri(), "JUPYTER_PLATFORM_DIRS": "1"}
        command = [str(interpreter), "-c", EXECUTE]
        done = subprocess.run(command, cwd=folder, env=kept | home, capture_output=True, text=True)
        if done.returncode:
            print(done.stderr[-3000:], file=sys.stderr)
            raise subprocess.CalledProcessError(done.returncode, command)
        return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", type=Path, default=ROOT / "runs" / "colab-venv")
    parser.add_argument("--python", default=newest(), help="Colab's is 3.13 (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--fresh", action="store_true", help="make the environment anew")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(options.venv, ignore_errors=True)
    interpreter = environment(options.venv, options.python)
    ready = options.venv / ".ready"
    if not ready.read_text():
        ready.write_text(json.dumps(installed(interpreter)))
    before, slow, changed = json.loads(ready.read_text()), [], {}
    restore(interpreter, before)
    stand_in = Path(tempfile.mkdtemp())
    (stand_in / "google" / "colab").mkdir(parents=True)
    (stand_in / "google" / "colab" / "__init__.py").touch()
    # a notebook's kernel has to be this environment's: Colab's own is
    subprocess.run([str(interpreter), "-m", "ipykernel", "install", "--sys-prefix"], check=True, capture_output=True)
    (stand_in / "sitecustomize.py").write_text("import google.colab\n")  # Colab's kernel has it loaded
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if options.only and not notebook.stem.startswith(tuple(options.only)):
            continue
        start = time.perf_counter()
        seconds = run(notebook, interpreter, stand_in)
        if seconds["setup"] > SETUP_SECONDS:
            slow.append(notebook.stem)
        after = installed(interpreter)
        changed |= {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
        extra = ", ".join(restore(interpreter, before)) or "nothing"
        print(
            f"{notebook.stem:<34} set-up {seconds['setup']:5.1f} s, all {time.perf_counter() - start:6.1f} s, installed {extra}", flush=True
        )
    if changed:
        print(f"error: preinstalled packages were changed: {changed}", file=sys.stderr)
    if slow:
        print(f"error: the set-up took more than {SETUP_SECONDS} s in {', '.join(slow)}", file=sys.stderr)
    return int(bool(changed or slow))


if __name__ == "__main__":
    sys.exit(main())
