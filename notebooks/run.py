"""Execute the series through papermill: `python notebooks/run.py --profile quick` (`make run`).

Everything of a run goes into a folder of its own, `runs/<name>/`: the executed notebooks, an HTML copy of each behind `index.html`,
`figures/`, `metrics.json` and the trained weights. Unknown parameters are refused: papermill alone would only warn and run with
the defaults.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import sys
import time
from pathlib import Path

import papermill
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

from eva_helpers.assets import new_run
from eva_helpers.images import InputError, command_line

FOLDER = Path(__file__).resolve().parent
TIMEOUT = 3600  # seconds a cell may take; a hanging cell must end some day
PROFILES: dict[str, dict[str, dict[str, object]]] = {
    "full": {},  # the notebooks' own defaults
    "quick": {  # a few minutes on two cores, good enough to beat subtraction
        "01_data_exploration": {"SAMPLES": 600},
        "04_weighted_loss_training": {"EPOCHS": 10, "SAMPLES_PER_EPOCH": 4096, "VALIDATION_SAMPLES": 192},
        "05_visual_evaluation": {"SAMPLES": 192},
    },
    "smoke": {  # every line runs, nothing is learnt
        "00_dataset_generation": {"SIZE": 96, "WRITE_COUNT": 60, "WRITE_SIZE": 96},
        "01_data_exploration": {"SAMPLES": 48},
        "02_dataset_and_augmentation": {"TIMED_SAMPLES": 32},
        "04_weighted_loss_training": {"EPOCHS": 2, "SAMPLES_PER_EPOCH": 64, "BATCH_SIZE": 16, "VALIDATION_SAMPLES": 16},
        "05_visual_evaluation": {"SAMPLES": 16},
        "06_loss_weight_tuning": {"VALIDATION_SAMPLES": 8, "SAMPLES_PER_EPOCH": 64, "SWEEP_STEPS": 3},
    },
}


def notebooks(only: list[str]) -> list[Path]:
    """The numbered notebooks in order; `only` keeps those whose names begin so. InputError when one matches nothing."""
    found = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
    for prefix in only:
        if not any(path.stem.startswith(prefix) for path in found):
            raise InputError(f"no notebook begins with {prefix!r}: there are {', '.join(path.stem for path in found)}.")
    return [path for path in found if not only or any(path.stem.startswith(prefix) for prefix in only)]


def accepted(path: Path) -> set[str]:
    """Names of the parameters a notebook declares in its cell tagged `parameters`."""
    return set(papermill.inspect_notebook(str(path)))


def parse(pairs: list[list[str]]) -> dict[str, object]:
    """`-p NAME VALUE` pairs; values are read as JSON (3, 0.5, true, "text"), anything else is text."""
    values = {}
    for name, value in pairs:
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = {"True": True, "False": False}.get(value, value)
    return values


def from_file(path: str | None) -> dict[str, object]:
    """Parameters of a JSON file; InputError when it cannot be read or is no object."""
    try:
        values = json.loads(Path(path).read_text()) if path else {}
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f'{path} is no parameter file ({error}): expected JSON such as {{"EPOCHS": 3}}.') from None
    if not isinstance(values, dict):
        raise InputError(f'{path} is no parameter file: expected JSON such as {{"EPOCHS": 3}}.')
    return values


def parameters(paths: list[Path], profile: str, given: dict[str, object], run: Path) -> dict[Path, dict[str, object]]:
    """What each notebook gets.

    Raises:
        InputError: a given name is a parameter of none of the notebooks, or the profile names one its notebook lacks.
    """
    names = {path: accepted(path) for path in paths}
    unknown = given.keys() - set().union(*names.values())
    if unknown:
        known = ", ".join(sorted(set().union(*names.values())))
        raise InputError(f"no notebook has the parameter {', '.join(sorted(unknown))}: choose from {known}.")
    plan = {}
    for path in paths:
        values = PROFILES[profile].get(path.stem, {}) | {"RUN_DIR": str(run), "INTERACTIVE": False}
        foreign = values.keys() - names[path]
        if foreign:
            raise InputError(f"{path.name} has no parameter {', '.join(sorted(foreign))}, which profile {profile!r} sets: fix one of them.")
        plan[path] = values | {name: value for name, value in given.items() if name in names[path]}
    return plan


def execute(path: Path, values: dict[str, object], run: Path) -> None:
    """Run one notebook; its executed copy and HTML stay in `run`, also when it fails."""
    target = run / path.name
    try:
        papermill.execute_notebook(
            str(path),
            str(target),
            values,
            kernel_name="python3",
            cwd=str(FOLDER),
            execution_timeout=TIMEOUT,
            progress_bar=sys.stderr.isatty(),
            stdout_file=sys.stdout,
            extra_arguments=["--IPKernelApp.log_level=40"],  # its warning about plain TCP is about no notebook of ours
        )
    finally:
        if target.exists():
            page, _ = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True).from_filename(str(target))
            target.with_suffix(".html").write_text(page)


def write_index(run: Path, done: list[tuple[str, float]]) -> Path:
    """One page that leads to everything in the run."""
    links = "".join(
        f"<li><a href='{name}.html'>{html.escape(name.replace('_', ' '))}</a> "
        f"(<a href='{name}.ipynb'>executed notebook</a>, {seconds:.0f} s)</li>"
        for name, seconds in done
    )
    pictures = "".join(
        f"<figure><img src='figures/{path.name}' style='max-width:100%'><figcaption>{html.escape(path.stem)}</figcaption></figure>"
        for path in sorted((run / "figures").glob("*.png"))
    )
    page = (
        "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(run.name)}</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{overflow-x:auto}</style>"
        f"<h1>Run {html.escape(run.name)}</h1><ol>{links}</ol><h2>Metrics</h2><pre>{html.escape(metrics_table(run))}</pre>"
        f"<h2>Figures</h2>{pictures}"
    )
    path = run / "index.html"
    path.write_text(page)
    return path


def metrics_table(run: Path) -> str:
    """`metrics.json` of the run as lines: notebook, name, value."""
    path = run / "metrics.json"
    if not path.exists():
        return "(no metrics)"
    rows = [(book, name, value) for book, values in sorted(json.loads(path.read_text()).items()) for name, value in values.items()]
    wide = [max(len(str(row[column])) for row in rows) for column in (0, 1)]
    shown = ((book, name, f"{value:.4f}" if isinstance(value, float) else str(value)) for book, name, value in rows)
    return "\n".join(f"{book:<{wide[0]}}  {name:<{wide[1]}}  {value:>10}" for book, name, value in shown)


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 when a notebook failed; 2 for arguments that cannot be used."""
    parser = argparse.ArgumentParser(description="Execute the notebook series through papermill.")
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--name", default="", help="name of the run's folder in runs/ (default: profile and date)")
    parser.add_argument("--out", help="folder that holds the runs (default: runs/)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NOTEBOOK", help="beginnings of notebook names, e.g. 04 05")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="for every notebook that has it"
    )
    parser.add_argument("-f", "--file", metavar="JSON", help="parameters from a file, e.g. a weighting that was tuned by hand")
    options = parser.parse_args(arguments)
    paths = notebooks(options.only)
    given = from_file(options.file) | parse(options.parameter)
    parameters(paths, options.profile, given, Path())  # refuse before anything is made
    run = new_run(options.name or f"{options.profile}-{time.strftime('%Y%m%d-%H%M')}", options.out)
    plan = parameters(paths, options.profile, given, run)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    done = []
    for number, (path, values) in enumerate(plan.items(), 1):
        print(f"\n[{number}/{len(plan)}] {path.stem}", flush=True)
        start = time.perf_counter()
        try:
            execute(path, values, run)
        except PapermillExecutionError as error:
            print(
                f"error: {path.name} failed in cell {error.cell_index}: {error.ename}: {error.evalue}\nsee {run / path.name}",
                file=sys.stderr,
            )
            return 1
        done.append((path.stem, time.perf_counter() - start))
        print(f"    done in {done[-1][1]:.0f} s", flush=True)
    index = write_index(run, done)
    print(f"\n{metrics_table(run)}\n\nresults: {run}\nopen:    {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
