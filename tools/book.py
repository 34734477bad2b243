"""Build the book, a web site of the executed notebooks, the pages and the package's reference.

`python tools/book.py [RUN]` (`make book`) takes the notebooks of a run and executes none. It lays
the pages out in `build/book/source`, with the links of the book, and Sphinx writes them to
`build/book/html`. The demo is in it where `make demo` has built it before.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image
from sphinx.cmd.build import build_main

from eva_helpers.files import InputError, command_line, make_folder, write_whole
from eva_helpers.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
DOCS = ROOT / "docs"
DEMO = DOCS / "demo"
ASSETS = ROOT / "assets"
PICTURES = (".png", ".jpg", ".svg")
OUT = ROOT / "build" / "book"
URL = "https://github.com/eva-helpers/mask-depth-notebooks"
RAW = "https://raw.githubusercontent.com/eva-helpers/mask-depth-notebooks/main/"
OURS = (RAW, f"{URL}/blob/main/")  # addresses of the repository's files, which work on Colab
LARGEST = 60  # MB of the whole book
LONG = 40  # lines of an output, from which it scrolls
HEAVY = 150_000  # bytes, from which a picture gets a palette: a third of them
WIDGET = "application/vnd.jupyter.widget-view+json"  # dead without a kernel
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
BADGE = re.compile(r"\[!\[([^]]*)\]\([^)]*badge[^)]*\)\]\(([^)]*)\)")


def moved(target: str, page: Path) -> str:
    """Where a link of the repository's file `page` leads to in the book, else on GitHub.

    Raises:
        InputError: it leads to no file.
    """
    inside = next((target.removeprefix(each) for each in OURS if target.startswith(each)), "")
    path = Path(os.path.normpath(ROOT / inside if inside else page.parent / target))
    if not path.exists() or not path.is_relative_to(ROOT):
        raise InputError(f"{page} links to {target}, which is not there: correct the link.")
    place = placed(path)
    if place is None:
        kind = "tree" if path.is_dir() else "blob"
        return f"{URL}/{kind}/main/{path.relative_to(ROOT).as_posix()}"
    return os.path.relpath(place, placed(page).parent).replace(os.sep, "/")


def placed(path: Path) -> Path | None:
    """The place of a file of the repository in the book's source; None if it is not in the book."""
    if path.parent == DOCS and path.suffix == ".md":
        return Path(path.name)
    shown = path.suffix == ".ipynb" or (path.is_relative_to(ASSETS) and path.suffix in PICTURES)
    return path.relative_to(ROOT) if shown else None


def with_links(text: str, page: Path) -> str:
    """Markdown of `page` with the links of the book; badges, which are pictures elsewhere, as text.

    Raises InputError as `moved`.
    """

    def replaced(found: re.Match) -> str:
        target, anchor = found[1], found[2] or ""
        outside = re.match(r"[a-z]+:", target) and not target.startswith(OURS)
        return f"]({target if outside else moved(target, page)}{anchor})"

    return LINK.sub(replaced, BADGE.sub(r"[\1](\2)", text))


def run_by(path: Path) -> bool:
    """Whether `path` is a notebook that papermill has executed to its end, without an error."""
    if not path.is_file():
        return False
    record = nbformat.read(path, 4).metadata.get("papermill", {})
    return bool(record.get("end_time")) and not record.get("exception")


def missing(run: Path) -> str:
    """Names of the notebooks that the run has not executed; empty for a whole run."""
    names = (path.name for path in sorted(NOTEBOOKS.glob("*.ipynb")))
    return ", ".join(name for name in names if not run_by(run / name))


def chosen_run(run: Path | None) -> Path:
    """`run`, or the newest whole one of `runs`.

    Raises:
        InputError: it lacks executed notebooks, or there is none.
    """
    if run:
        if lacks := missing(run):
            raise InputError(f"{run} lacks {lacks}, executed to the end: give a whole run.")
        return run
    indexes = (ROOT / "runs").glob("*/index.html")  # written at the end of a run
    newest = sorted(indexes, key=lambda path: path.stat().st_mtime, reverse=True)
    whole = (path.parent for path in newest if not missing(path.parent))
    if not (found := next(whole, None)):
        raise InputError(
            "no run in runs/ has executed all notebooks: `make run` first, or take them without "
            "outputs, `make book UNEXECUTED=1`."
        )
    return found


def as_page(notebook: NotebookNode, page: Path, run: Path) -> NotebookNode:
    """A notebook as a page: the book's links, no paths of this machine, hidden cells folded."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, page)
            continue
        if cell.metadata.get("jupyter", {}).get("source_hidden"):  # it installs on Colab
            tags.append("hide-input")
        cell.source = without_paths(cell.source, run)
        living = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
        cell.outputs = [as_shown(out, run) for out in living]
        if any(out.get("text", "").count("\n") > LONG for out in cell.outputs):
            tags.append("scroll-output")
    return notebook


def as_shown(output: NotebookNode, run: Path) -> NotebookNode:
    """An output whose text names no folder of this machine, and whose picture is not heavy."""
    for holder in (output, output.get("data", {})):
        for kind, value in holder.items():
            if isinstance(value, str) and not kind.startswith("image/"):
                holder[kind] = without_paths(value, run)
    if "image/png" in output.get("data", {}):
        output.data["image/png"] = smaller(output.data["image/png"])
    return output


def smaller(picture: str) -> str:
    """A PNG in base 64; a heavy one with 256 colours."""
    data = base64.b64decode(picture)
    if len(data) < HEAVY:
        return picture
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").quantize(256).save(file, "PNG", optimize=True)
    return base64.b64encode(min(data, file.getvalue(), key=len)).decode()


def without_paths(text: str, run: Path) -> str:
    """`text` with the run as `runs/NAME`, and the repository's files by their paths in it."""
    return text.replace(str(run.resolve()), f"runs/{run.name}").replace(f"{ROOT}{os.sep}", "")


def sources(notebook: NotebookNode) -> list[str]:
    """What is typed in the cells, without those that papermill adds."""
    return [
        cell.source
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def lay_out(source: Path, run: Path) -> None:
    """Write the pages, notebooks and pictures of the book into `source`. Raises InputError."""
    shutil.copytree(ASSETS, source / "assets", ignore=shutil.ignore_patterns("park"))
    make_folder(source / "notebooks")
    for page in sorted(DOCS.glob("*.md")):
        text = with_links(page.read_text(encoding="utf-8"), page)
        write_whole(source / page.name, text.encode())
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(run / path.name, 4)
        if sources(notebook) != sources(nbformat.read(path, 4)):
            print(f"note: {path.name} has changed since {run}; `make run` executes it again.")
        text = nbformat.writes(as_page(notebook, path, run))
        write_whole(source / "notebooks" / path.name, text.encode())


def build(run: Path) -> Path:
    """Build the book into OUT with the notebooks of `run`; its start page.

    Raises:
        InputError: a link leads nowhere, Sphinx has a warning, or the book is too large.
    """
    shutil.rmtree(OUT, ignore_errors=True)
    source, html = OUT / "source", OUT / "html"
    lay_out(source, run)
    has_demo = (DEMO / "runtime" / "manifest.json").is_file()
    options = ["-W", "--keep-going", "-q", "-c", str(DOCS), "-d", str(OUT / "doctrees")]
    options += ["-t", "demo"] if has_demo else []
    if build_main([*options, str(source), str(html)]):
        raise InputError("Sphinx has warnings (above): correct the pages or docstrings they name.")
    if has_demo:
        shutil.copytree(DEMO, html / "demo")
    size = sum(path.stat().st_size for path in html.rglob("*") if path.is_file()) / 1e6
    if size > LARGEST:
        raise InputError(f"{html} has {size:.0f} MB: expected {LARGEST} at most.")
    print(f"{run.name} as a book of {size:.0f} MB, {'with' if has_demo else 'without'} the demo")
    return html / "index.html"


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="its folder (default: the newest)")
    parser.add_argument("--unexecuted", action="store_true", help="notebooks without outputs")
    options = parser.parse_args(arguments)
    print("open:", build(NOTEBOOKS if options.unexecuted else chosen_run(options.run)))


if __name__ == "__main__":
    sys.exit(main())
