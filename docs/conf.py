"""How Sphinx builds these pages: `make docs`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from pydl import __version__  # noqa: E402

project = "pydl"
author = "the authors of pydl"
copyright = "the authors of pydl, MIT licence"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "reference"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"  # `x` in a docstring is an argument
nitpicky = True
nitpick_ignore = [("py:class", "Figure")]  # matplotlib's
# What is not on these pages: other projects' types, type variables, and what lies inside pydl.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(numpy|np|collections|typing|os|matplotlib|argparse|weakref|onnx|enum|dataclasses|abc|contextlib|_cffi_backend)\b.*",
    ),
    ("py:.*", r"(pydl\..*\.)?(T|K|V|Self|P|R)"),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # "Attributes:" are a list and no targets: properties are those
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference"]

myst_heading_anchors = 3  # the anchors that GitHub gives headings

html_theme = "furo"
html_title = f"pydl {__version__}"
html_copy_source = False
html_show_sphinx = False
