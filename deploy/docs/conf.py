"""Sphinx: the reference out of docstrings, and all pages of the project, with the links between them.

    sphinx-build -W --keep-going -c deploy/docs . build/docs

Docstrings here are plain text: paragraphs, lists, indented tables, names in single backticks. What they need
to be good reStructuredText is done in `docstrings.py`, so that they stay readable where they are written.
"""

import doctest
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE)]  # the checkout that these pages are of, not one that is installed

project = "hyperpush"
author = "the authors of hyperpush"
copyright = author  # noqa: A001  (Sphinx calls it so)

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest", "myst_parser", "docstrings"]

# The folder of sources is the whole checkout; these are the pages in it.
root_doc = "deploy/docs/index"
exclude_patterns = [".*", "build", "dist", "tests"]
include_patterns = [
    "README.md",
    "peer/*.md",
    "peer/**/*.md",
    "deploy/*.md",
    "deploy/**/*.md",
    "deploy/docs/**.rst",
]

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_use_type_comments = False
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3

doctest_test_doctest_blocks = "default"
doctest_default_flags = doctest.ELLIPSIS  # as in tests/deploy/test_docs.py

html_theme = "alabaster"
html_theme_options = {
    "page_width": "1350px",
    "body_max_width": "none",  # code is up to 110 columns wide
    "sidebar_width": "250px",
    "fixed_sidebar": True,
    "code_font_size": "0.8em",
}
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
