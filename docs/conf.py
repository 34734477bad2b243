"""Sphinx's settings for the book, whose pages `tools/book.py` lays out: `make book`."""

import inspect
import sys
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, get_type_hints

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from eva_helpers import __version__

HERE = Path(__file__).resolve().parent
URL = "https://github.com/eva-helpers/mask-depth-notebooks"

project = "Mask and depth from two photos"
author = "the eva-helpers authors"
project_copyright = author
version = release = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
]
root_doc = "index"
templates_path = [str(HERE / "_templates")]  # autosummary looks beside the pages

# The notebooks come executed; what they print to stderr are warnings about this machine.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # formulas in outputs, too
nb_output_stderr = "remove"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no page loads anything from elsewhere
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # the links between pages name headings as GitHub does

# Public names are those of each package's __all__; `room.rst` adds the modules below.
autosummary_generate = True
autosummary_context = {
    "modules": {
        "eva_helpers.data": ["augment", "capture"],
        "eva_helpers.evaluation": ["depth_scores", "matting", "robustness"],
        "eva_helpers.predict": ["effects", "many"],
        "eva_helpers.worlds": ["rays"],
    }
}
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False  # torch's, below every network
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "py:obj"

html_theme = "sphinx_book_theme"
html_title = project
html_baseurl = "https://eva-helpers.github.io/mask-depth-notebooks/"
html_theme_options = {
    "repository_url": URL,
    "repository_branch": "main",
    "use_repository_button": True,
    "use_issues_button": True,
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "use_download_button": False,
    "navbar_persistent": [],  # the search is in the sidebar
}
html_copy_source = False
html_math_renderer = "mathml"  # browsers draw it themselves
html_static_path = ["_static"]
html_css_files = ["book.css"]


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Where a name of the package is defined, on GitHub; None for values, which have no source."""
    value = reduce(getattr, info["fullname"].split("."), sys.modules[info["module"]])
    value = inspect.unwrap(getattr(value, "fget", value))
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return None
    path = Path(inspect.getfile(value)).relative_to(HERE.parent)
    return f"{URL}/blob/main/{path.as_posix()}#L{inspect.getsourcelines(value)[1]}"


def plain_types(app: Sphinx, function: Any, bound: bool) -> None:
    """Signatures show `float`, not the range that `schemas` declares for it."""
    if inspect.isfunction(function):
        with suppress(NameError):  # a type that only type checkers import
            function.__annotations__ = get_type_hints(function)


def without_aliases(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> Any:
    """Fields of a named tuple stand in its signature already."""
    return (getattr(value, "__doc__", None) or "").startswith("Alias for field") or None


def write_formula(translator: HTML5Translator, node: nodes.Node) -> None:
    """A formula as MathML."""
    translator.body.append(tex2mathml(node.astext(), isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-before-process-signature", plain_types)
    app.connect("autodoc-skip-member", without_aliases)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
