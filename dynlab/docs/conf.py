"""The settings of Sphinx. Nothing is fetched from elsewhere: no remote fonts, scripts or inventories."""

from dynlab import _version
from dynlab.docs import plain_text

project = "dynlab"
author = "dynlab contributors"
copyright = author
release = version = _version.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {
    "description": "Exact training dynamics of non-contrastive self-supervised learning",
    "page_width": "1240px",  # formulas are up to 120 characters wide
    "body_max_width": "none",
    "show_powered_by": False,
    "font_family": "Georgia, serif",
}
html_show_sourcelink = False
html_copy_source = False
smartquotes = False  # a prime is no quotation mark
highlight_language = "none"  # blocks are formulas, but for those that name a language
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say more than annotations
autoclass_content = "class"
add_module_names = False
napoleon_google_docstring = False


def plain_docstring(app, what, name, obj, options, lines):
    """Docstrings are plain text; this runs before napoleon, which reads their sections."""
    text = plain_text.docstring(lines)
    # A property's first line is taken for "type: words" where it holds a colon, unless it is empty.
    lines[:] = ["", *text] if what in ("property", "attribute") else text


def fields_of_tuples(app, what, name, obj, skip, options):
    """Fields of named tuples are in the docstrings of their classes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connect the two."""
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("autodoc-skip-member", fields_of_tuples)
    return {"parallel_read_safe": True}
