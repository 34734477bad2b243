"""Where the park, the weights and the folders of a run are."""

import os
from pathlib import Path
from typing import Any

from eva_helpers.files import InputError, writable_folder, write_json
from eva_helpers.schemas import is_name, read_as

PACKAGE = Path(__file__).resolve().parent
SHIPPED = "shipped"  # stands for the path of WEIGHTS where one can choose
WEIGHTS = PACKAGE / "weights" / "small.safetensors"
BANK = PACKAGE / "weights" / "bank.safetensors"  # of narrow networks
CLONE = "mask-depth-notebooks"  # the folder that the notebooks clone into on Colab
DRIVE = Path("/content/drive")  # where Colab mounts Google Drive


def find_checkout() -> Path:
    """The folder that holds `assets/park`: EVA_ROOT, else beside the package, in or above the
    working folder, or the notebooks' clone in it; without any, the working folder itself."""
    if "EVA_ROOT" in os.environ:
        return Path(os.environ["EVA_ROOT"]).resolve()
    here = Path.cwd()
    for folder in (PACKAGE.parent, here, *here.parents, here / CLONE):
        if (folder / "assets" / "park").is_dir():
            return folder
    return here


ROOT = find_checkout()
PARK = ROOT / "assets" / "park"


def typed_path(path: str | os.PathLike) -> Path:
    """The absolute path of what a user typed: in the working folder; ~ is the home folder."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:  # nobody's home
        return Path(path).absolute()


def new_run(name: str, folder: str | os.PathLike | None = None) -> Path:
    """Make and return a new folder `runs/<name>`, or `runs/<name>-2` ...: nothing is overwritten.

    Args:
        name: of the run.
        folder: that holds the runs (default: `runs` of the checkout).

    Raises:
        InputError: the name is no folder's name, or nothing can be written in `folder`.
    """
    if not is_name(name):
        raise InputError(f"{name!r} cannot be the name of a run: give a name without folders.")
    base = writable_folder(typed_path(folder) if folder else ROOT / "runs")
    for number in range(1, 10_000):
        path = base / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(
                f"{path} cannot be made ({error.strerror}): give another name."
            ) from None
    raise InputError(f"{base} already holds 10,000 runs called {name}: remove some.")


def run_folder(run_dir: str | os.PathLike = "") -> Path:
    """The folder a notebook writes to: `run_dir`, or `runs/by-hand` of the checkout if empty.

    For a folder on Google Drive (/content/drive/MyDrive/...), Drive is mounted first; what is
    stored there survives the end of a Colab session.

    Raises:
        InputError: nothing can be written there; on Google Drive, but this is not Colab.
    """
    path = typed_path(run_dir) if run_dir else ROOT / "runs" / "by-hand"
    if path.is_relative_to(DRIVE) and not DRIVE.exists():
        try:
            from google.colab import drive
        except ImportError:
            raise InputError(
                f"{path} is on Google Drive, which only Colab mounts: give another RUN_DIR."
            ) from None
        drive.mount(str(DRIVE))
    return writable_folder(path)


def record_metrics(run: Path, notebook: str, values: dict[str, float | int | str]) -> Path:
    """Store a notebook's figures in `run/metrics.json`; those of other notebooks are kept.

    Raises InputError where that file is damaged, or as `write_json`.
    """
    path = run / "metrics.json"
    known = read_as(dict[str, Any], path) if path.exists() else {}
    return write_json(path, known | {notebook: values})
