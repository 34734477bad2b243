"""The book: `make book` without the notebooks' execution, from a run made up here."""

import base64
import importlib
import io
import re
import warnings
from inspect import isclass, isfunction
from urllib.parse import unquote

import book
import nbformat
import pytest
from conftest import picture
from nbformat.v4 import new_code_cell, new_output
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.paths import ROOT

DOT = (  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NAMES = sorted(path.stem for path in book.NOTEBOOKS.glob("*.ipynb"))
PUBLIC = re.findall(r"^ +(eva_helpers\.\w+)$", (book.DOCS / "api.md").read_text("utf-8"), re.M)


def write_run(run):
    """A run in which every notebook has printed, drawn and shown a widget."""
    run.mkdir(parents=True)
    for name in NAMES:
        notebook = nbformat.read(book.NOTEBOOKS / f"{name}.ipynb", 4)
        notebook.metadata.papermill = {"end_time": "2026-01-01T00:00:00", "exception": None}
        widget = {book.WIDGET: {"model_id": "0"}, "text/plain": "a dead slider"}
        notebook.cells[3].outputs = [
            new_output("stream", text=f"saved {run}/x.png and {ROOT}/assets\n" + "line\n" * 50),
            new_output("display_data", {"image/png": DOT}),
            new_output("display_data", {"text/markdown": "a formula, $p^{123}$"}),
            new_output("display_data", widget),
        ]
        added = new_code_cell(f'RUN_DIR = "{run}"')
        added.metadata.tags = ["injected-parameters"]
        notebook.cells.insert(3, added)
        nbformat.write(notebook, run / f"{name}.ipynb")
    return run


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The folder of the book, built without warnings."""
    folder = tmp_path_factory.mktemp("book")
    run = write_run(folder / "runs" / "mine")
    (folder / "demo" / "runtime").mkdir(parents=True)
    for name in ("index.html", "runtime/manifest.json"):  # what `make demo` leaves
        (folder / "demo" / name).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book, "OUT", folder / "build")
        patch.setattr(book, "DEMO", folder / "demo")
        with warnings.catch_warnings(action="ignore"):  # Sphinx's, about its extensions
            return book.build(run).parent


def written(html):
    """All pages but the templates that the theme copies."""
    return [path for path in html.rglob("*.html") if "_static" not in path.parts]


def page(html, name):
    return (html / f"{name}.html").read_text(encoding="utf-8")


def test_every_page_is_there(html):
    pages = [path.stem for path in book.DOCS.glob("*.md")]
    pages += [f"notebooks/{name}" for name in NAMES]
    pages += [f"api/{room}" for room in PUBLIC] + ["search", "genindex"]
    assert [name for name in pages if not (html / f"{name}.html").is_file()] == []


def test_every_link_and_picture_is_there(html):
    for path in written(html):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', text):
            if not re.match(r"[a-z]+:", target):
                assert (path.parent / unquote(target)).exists(), f"{path.name}: {target}"


def test_no_page_loads_from_elsewhere(html):
    for path in written(html):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r'<(?:script|img|iframe)[^>]* src="(https?:[^"]+)"', text)
        assert not found and not re.search(r'<link rel="stylesheet"[^>]*"https?:', text), path


def test_notebooks_have_their_outputs(html):
    for name in NAMES:
        text = page(html, f"notebooks/{name}")
        assert "saved runs/mine/x.png and assets" in text and str(ROOT) not in text, name
        assert "a dead slider" not in text
        assert re.search(r"<msup>\s*<mi>p</mi>\s*(<mrow>)?\s*<mn>123</mn>", text), "MathML"
        assert "tag_hide-input" in text and "tag_scroll-output" in text
        assert f"blob/main/notebooks/{name}.ipynb" in text, "the button that opens Colab"
    shown = {path.read_bytes() for path in (html / "_images").iterdir()}
    assert base64.b64decode(DOT) in shown


def test_words_lead_to_what_computes_them(html):
    text = (book.DOCS / "glossary.md").read_text(encoding="utf-8")
    names = re.findall(r"\{py:obj\}`~([\w.]+)`", text)
    links = set(re.findall(r'href="api/[\w.]+\.html#([\w.]+)"', page(html, "glossary")))
    assert len(names) > 40 and [name for name in names if name not in links] == []


@pytest.mark.parametrize("room", PUBLIC)
def test_every_public_function_and_class_is_documented(html, room):
    module = importlib.import_module(room)
    names = getattr(module, "__all__", ["export_onnx", "export_program"])
    values = {name: getattr(module, name) for name in names}
    wanted = [n for n, value in values.items() if isclass(value) or isfunction(value)]
    text = page(html, f"api/{room}")
    assert wanted and [name for name in wanted if f'id="{room}.{name}"' not in text] == []


def test_names_lead_to_their_source(html):
    pattern = rf'href="{book.URL}/blob/main/(eva_helpers/[\w/]+\.py)#L(\d+)"'
    found = {
        link for path in written(html) for link in re.findall(pattern, path.read_text("utf-8"))
    }
    assert len(found) > 200
    for path, line in found:
        source = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        assert re.match(r" *(def|class|@)", source), f"{path}:{line}: {source}"


def test_types_are_plain(html):
    found = page(html, "api/eva_helpers.losses") + page(html, "api/eva_helpers.worlds")
    assert "LossWeights" in found and "Annotated[" not in found and "Alias for" not in found


def test_the_demo_is_inside(html):
    assert (html / "demo" / "runtime" / "manifest.json").is_file()
    assert '<a href="demo/index.html">' in page(html, "demo")
    assert "built without it" not in page(html, "demo")


def test_links_lead_into_the_book_or_to_the_repository():
    page = book.DOCS / "use.md"
    assert book.moved("results.md", page) == "results.md"
    assert book.moved("../notebooks/03_model.ipynb", page) == "notebooks/03_model.ipynb"
    assert book.moved("../LICENSE", page) == f"{book.URL}/blob/main/LICENSE"
    assert book.moved("demo", page) == f"{book.URL}/tree/main/docs/demo"
    on_colab = f"{book.URL}/blob/main/notebooks/03_model.ipynb"
    assert book.with_links(f"[a]({on_colab})", page) == "[a](notebooks/03_model.ipynb)"
    picture = "assets/gallery/05_cases.png"
    in_notebook = book.with_links(f"![x]({book.RAW}{picture}) [y](z:w)", book.NOTEBOOKS / "a.ipynb")
    assert in_notebook == f"![x](../{picture}) [y](z:w)"
    assert book.with_links("[![a](https://b/badge.svg)](https://c/d)", page) == "[a](https://c/d)"
    with pytest.raises(InputError, match=r"nowhere\.md, which is not there"):
        book.with_links("[a](nowhere.md#b)", page)


def test_heavy_pictures_get_a_palette():
    file = io.BytesIO()
    picture(0, 700).save(file, "PNG")
    heavy = base64.b64encode(file.getvalue()).decode()
    light = base64.b64decode(book.smaller(heavy))
    assert len(file.getvalue()) > book.HEAVY and 2 * len(light) < len(file.getvalue())
    assert Image.open(io.BytesIO(light)).size == (700, 700) and book.smaller(DOT) == DOT


def test_the_newest_whole_run_is_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(book, "ROOT", tmp_path)
    assert book.main([]) == 2 and "`make run` first" in capsys.readouterr().err
    whole = write_run(tmp_path / "runs" / "whole")
    failed = write_run(tmp_path / "runs" / "failed")
    for run in (whole, failed):
        (run / "index.html").touch()
    broken = nbformat.read(failed / f"{NAMES[2]}.ipynb", 4)
    broken.metadata.papermill.exception = True
    nbformat.write(broken, failed / f"{NAMES[2]}.ipynb")
    assert book.chosen_run(None) == whole
    with pytest.raises(InputError, match=f"lacks {NAMES[2]}"):
        book.chosen_run(failed)


def test_a_changed_notebook_is_noted(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    notebook = nbformat.read(run / f"{NAMES[0]}.ipynb", 4)
    notebook.cells[0].source += " older"
    nbformat.write(notebook, run / f"{NAMES[0]}.ipynb")
    book.lay_out(tmp_path / "source", run)
    assert capsys.readouterr().out.count("note:") == 1
