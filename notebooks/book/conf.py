"""Sphinx's settings for the book. `book.py` puts this file beside the chapters that it has prepared."""

import re

project = "tinyllm"
html_title = "tinyllm"
author = "the tinyllm developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
exclude_patterns = ["_build"]

# Chapters: the committed outputs are shown, nothing is run.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 4

# The reference: what the docstrings and the types say, in the order of the source.
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "set"}  # what matplotlib writes for its figures
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "code"  # the docstrings write `name`

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it would be fetched, which a browser refuses for a site read from the disk
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
# Colours of code that pass a contrast of 4.5 in both themes.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def setup(app):
    app.connect("autodoc-process-docstring", _end_code_before_letters)


def _end_code_before_letters(app, what, name, obj, options, lines):
    """The docstrings write `Drawing`s; reStructuredText wants `Drawing`\\ s."""
    lines[:] = [re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line) for line in lines]
