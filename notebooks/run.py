"""Execute the notebooks through papermill: `python notebooks/run.py --profile quick` (`make run`).

Each run gets its own folder `runs/<name>/`: the executed notebooks, an HTML copy of each behind
`index.html`, `figures/`, `metrics.json` and the trained weights. Unknown parameters are refused;
papermill alone would only warn and use the defaults.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import jinja2
import papermill
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from parameters import converted, declared

from eva_helpers.files import InputError, command_line, read_json, writable_folder, write_whole
from eva_helpers.paths import new_run, typed_path

FOLDER = Path(__file__).resolve().parent
PROFILES: dict[str, dict[str, dict[str, object]]] = {
    "full": {},  # the notebooks' own defaults
    "quick": {  # a few minutes on two cores, accurate enough to beat subtraction
        "01_data_exploration": {"SAMPLES": 600},
        "04_weighted_loss_training": {
            "EPOCHS": 10,
            "MINUTES": 4.0,
            "SAMPLES_PER_EPOCH": 4096,
            "VALIDATION_SAMPLES": 192,
        },
        "05_visual_evaluation": {"SAMPLES": 192},
    },
    "smoke": {  # every line runs, nothing is learned
        "00_dataset_generation": {"SIZE": 96},
        "01_data_exploration": {"SAMPLES": 48},
        "02_dataset_and_augmentation": {"TIMED_SAMPLES": 32, "WRITE_COUNT": 60, "WRITE_SIZE": 96},
        "04_weighted_loss_training": {
            "EPOCHS": 2,
            "SAMPLES_PER_EPOCH": 64,
            "BATCH_SIZE": 16,
            "VALIDATION_SAMPLES": 16,
        },
        "05_visual_evaluation": {"SAMPLES": 16},
        "06_loss_weight_tuning": {
            "VALIDATION_SAMPLES": 8,
            "SAMPLES_PER_EPOCH": 64,
            "SWEEP_STEPS": 8,
        },
    },
}
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ name }}</title>
<style>
  body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  pre { overflow-x: auto }
  img { max-width: 100% }
</style>
<h1>Run {{ name }}</h1>
<ol>
{% for book, seconds in done %}
  <li><a href="{{ book }}.html">{{ book.replace("_", " ") }}</a>
    (<a href="{{ book }}.ipynb">executed notebook</a>, {{ "%.0f"|format(seconds) }} s)</li>
{% endfor %}
</ol>
<h2>Metrics</h2>
<pre>{{ metrics }}</pre>
<h2>Figures</h2>
{% for figure in figures %}
<figure><img src="figures/{{ figure }}.png"><figcaption>{{ figure }}</figcaption></figure>
{% endfor %}
"""


def notebooks(only: list[str]) -> list[Path]:
    """The numbered notebooks in order; `only` keeps those whose names begin like this.

    Raises:
        InputError: an entry of `only` matches no notebook.
    """
    found = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
    for prefix in only:
        if not any(path.stem.startswith(prefix) for path in found):
            names = ", ".join(path.stem for path in found)
            raise InputError(f"no notebook begins with {prefix!r}: there are {names}.")
    return [path for path in found if not only or path.stem.startswith(tuple(only))]


def accepted(path: Path) -> set[str]:
    """Names of the parameters that a notebook declares in its cell tagged `parameters`."""
    return set(declared(path))


def protected(arguments: list[str]) -> list[str]:
    """Arguments with a blank before each VALUE of -p: argparse takes -1e-3 for an option."""
    made = list(arguments)
    for place, argument in enumerate(arguments[:-2]):
        if argument in ("-p", "--parameter"):
            made[place + 2] = f" {arguments[place + 2]}"
    return made


def parse(pairs: list[list[str]]) -> dict[str, object]:
    """`-p NAME VALUE` pairs of `protected` arguments; the values stay text."""
    return {name: value.removeprefix(" ") for name, value in pairs}


def from_file(path: str | None) -> dict[str, object]:
    """Parameters of a JSON file; InputError when it cannot be read or is no object."""
    what = 'a parameter file; expected JSON such as {"EPOCHS": 3}'
    values = read_json(path, what) if path else {}
    if not isinstance(values, dict):
        raise InputError(f"{path} is not {what}.")
    return values


def parameters(
    paths: list[Path], profile: str, given: dict[str, object], run: Path
) -> dict[Path, dict[str, object]]:
    """The parameters of each notebook, with the types that it declares.

    Raises:
        InputError: a given name is a parameter of none of the notebooks, the profile names one
            that its notebook lacks, or as `parameters.converted`.
    """
    names = {path: declared(path) for path in paths}
    known = set().union(*names.values())
    unknown = ", ".join(sorted(given.keys() - known))
    if unknown:
        choices = ", ".join(sorted(known))
        raise InputError(f"no notebook has the parameter {unknown}: choose from {choices}.")
    plan = {}
    for path in paths:
        values = PROFILES[profile].get(path.stem, {}) | {"RUN_DIR": str(run), "INTERACTIVE": False}
        foreign = ", ".join(sorted(values.keys() - names[path].keys()))
        if foreign:
            raise InputError(
                f"{path.name} has no parameter {foreign}, which profile {profile!r} sets: "
                "correct one of them."
            )
        taken = given.keys() & names[path].keys()
        plan[path] = values | {name: converted(names[path][name], given[name]) for name in taken}
    return plan


def execute(path: Path, values: dict[str, object], run: Path) -> None:
    """Run one notebook; its executed copy and HTML stay in `run`, even if it fails."""
    target = run / path.name
    try:
        papermill.execute_notebook(
            str(path),
            str(target),
            values,
            kernel_name="python3",
            cwd=str(FOLDER),
            progress_bar=sys.stderr.isatty(),
            stdout_file=sys.stdout,
            extra_arguments=["--IPKernelApp.log_level=40"],  # no warning about plain TCP
        )
    finally:
        if target.exists():
            exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
            page, _ = exporter.from_filename(str(target))
            write_whole(target.with_suffix(".html"), page.encode())


def write_index(run: Path, done: list[tuple[str, float]]) -> Path:
    """One page that links to everything in the run; `done`: notebook names and seconds."""
    figures = [path.stem for path in sorted((run / "figures").glob("*.png"))]
    template = jinja2.Environment(autoescape=True).from_string(PAGE)
    page = template.render(name=run.name, done=done, metrics=metrics_table(run), figures=figures)
    return write_whole(run / "index.html", page.encode())


def metrics_table(run: Path) -> str:
    """`metrics.json` of the run as lines: notebook, name, value."""
    path = run / "metrics.json"
    if not path.exists():
        return "(no metrics)"
    books = sorted(read_json(path).items())
    rows = [(book, name, value) for book, values in books for name, value in values.items()]
    wide = [max(len(str(row[column])) for row in rows) for column in (0, 1)]
    lines = []
    for book, name, value in rows:
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        lines.append(f"{book:<{wide[0]}}  {name:<{wide[1]}}  {shown:>10}")
    return "\n".join(lines)


def arguments_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(description="Execute the notebooks through papermill.")
    add = parser.add_argument
    add("--profile", choices=PROFILES, default="quick")
    add("--name", default="", help="of the run's folder in runs/ (default: profile and date)")
    add("--out", help="folder that holds the runs (default: runs/)")
    add("--only", nargs="+", default=[], metavar="NOTEBOOK", help="beginnings of names: 04 05")
    add(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="for every notebook that has it",
    )
    add("-f", "--file", metavar="JSON", help="parameters from a file, e.g. a saved weighting")
    return parser


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Exit status 0; 1 when a notebook failed; 2 for arguments that cannot be used."""
    typed = sys.argv[1:] if arguments is None else arguments
    options = arguments_parser().parse_args(protected(typed))
    paths = notebooks(options.only)
    given = from_file(options.file) | parse(options.parameter)
    parameters(paths, options.profile, given, Path())  # refuse before anything is made
    if given.get("RUN_DIR"):
        writable_folder(typed_path(str(given["RUN_DIR"])))
    name = options.name or f"{options.profile}-{time.strftime('%Y%m%d-%H%M')}"
    run = new_run(name, options.out)
    plan = parameters(paths, options.profile, given, run)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.environ["PYTHONUTF8"] = "1"  # of the notebooks, whatever the locale
    done = []
    for number, (path, values) in enumerate(plan.items(), 1):
        print(f"\n[{number}/{len(plan)}] {path.stem}", flush=True)
        start = time.perf_counter()
        try:
            execute(path, values, run)
        except PapermillExecutionError as error:
            where = f"{path.name} failed in cell {error.cell_index}"
            print(f"error: {where}: {error.ename}: {error.evalue}", file=sys.stderr)
            print(f"see {run / path.name}", file=sys.stderr)
            return 1
        seconds = time.perf_counter() - start
        done.append((path.stem, seconds))
        print(f"    done in {seconds:.0f} s", flush=True)
    index = write_index(run, done)
    if options.profile == "smoke":
        print("\nsmoke runs every line and learns nothing: its scores mean nothing")
    results = Path(next(iter(plan.values()))["RUN_DIR"] or run)
    print(f"\n{metrics_table(results)}\n\nresults: {results}\nopen:    {index}")
    return 0


if __name__ == "__main__":
    if sys.getfilesystemencoding() != "utf-8":  # a locale whose names fit in no notebook
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.argv])
    sys.exit(main())
