"""The settings of Sphinx. Nothing is fetched from elsewhere, no fonts, scripts or inventories; formulas are MathML."""

import re

from docutils import nodes
from docutils.utils import new_document
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from markdown_it.rules_inline import emphasis
from myst_parser.mdit_to_docutils.sphinx_ import SphinxRenderer
from myst_parser.parsers.mdit import create_md_parser
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dynlab import _version
from dynlab.docs import docstrings

project = "dynlab"
author = "dynlab contributors"
copyright = author
release = version = _version.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
html_theme = "alabaster"
html_theme_options = {
    "description": "Exact training dynamics of non-contrastive self-supervised learning",
    "page_width": "1240px",  # formulas are up to 120 characters wide
    "body_max_width": "none",
    "fixed_sidebar": True,
    "sidebar_width": "250px",
    "show_relbar_bottom": True,
    "show_powered_by": False,
    "font_family": "Georgia, serif",
}
html_static_path = ["static"]  # its custom.css comes after the theme's own
templates_path = ["templates"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # a page opened as a file may not read another one
smartquotes = False  # a prime is no quotation mark
highlight_language = "none"  # blocks are formulas, but for those that name a language
autodoc_preserve_defaults = True  # as they are written
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say more than annotations
autoclass_content = "class"
add_module_names = False


# Markup that docstrings do without, since in formulas it means something else.
FORMULAS_MEAN = [
    "autolink", "blockquote", "entity", "escape", "footnote_def", "footnote_ref", "heading", "html_block", "html_inline",
    "image", "lheading", "link", "myst_block_break", "myst_line_comment", "myst_role", "myst_target", "reference", "table",
]  # fmt: skip


def stars_alone(state, silent):
    """Emphasis by stars around words, not by underscores or by stars between letters: w~_1 is an index, x*y a product."""
    here, around = state.src[state.pos], state.src[max(state.pos - 1, 0) : state.pos + 2]
    return here == "*" and not re.fullmatch(r"\w\*\w", around) and emphasis.tokenize(state, silent)


class Markdown(SphinxDirective):
    """Content that is Markdown, inside of reStructuredText: docstrings, whose |w| and x*y mean themselves there."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """What MyST makes of it."""
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        parser = create_md_parser(document.settings.env.myst_config.copy(enable_extensions={"fieldlist"}), SphinxRenderer)
        parser.disable(FORMULAS_MEAN)
        parser.inline.ruler.at("emphasis", stars_alone)
        parser.options["document"] = document
        parser.render("\n".join(self.content))
        return document.children


def markdown_docstring(app, what, name, obj, options, lines):
    """A docstring as the content of such a directive."""
    lines[:] = [".. markdown::", "", *(f"   {line}" if line else "" for line in docstrings.markdown(lines).split("\n"))]


def fields_of_tuples(app, what, name, obj, skip, options):
    """Fields of named tuples are in the docstrings of their classes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def typeset(writer, node):
    """A formula as MathML, which browsers typeset themselves; docutils translates it."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
        raise nodes.SkipNode from None
    writer.body.append(f'<div class="math">{formula}</div>\n' if block else formula)
    raise nodes.SkipNode


def setup(app):
    """Connect them."""
    app.add_directive("markdown", Markdown)
    app.add_html_math_renderer("mathml", (typeset, None), (typeset, None))
    app.connect("autodoc-process-docstring", markdown_docstring)
    app.connect("autodoc-skip-member", fields_of_tuples)
    return {"parallel_read_safe": True}
