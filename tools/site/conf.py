"""How Sphinx makes the book: pages, equations as MathML, links from code to documentation."""

import html

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Neural audio effects"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_codeautolink"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
html_favicon = "favicon.svg"
html_static_path = ["_static"]
html_show_sphinx = False
html_copy_source = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_mock_imports = ["lightning_fabric", "dawdreamer", "vita", "transformers", "fluidsynth"]
# A docstring is plain prose with single backquotes; Sphinx may not find what each names.
suppress_warnings = [
    "myst.header",
    "mystnb.unknown_mime_type",
    "codeautolink.*",
    "ref.*",
    "docutils",
]


def _inline(self, node):
    self.body.append(convert(node.astext()))
    raise SkipNode


def _block(self, node):
    self.body.append(f'<div class="math" title="{html.escape(node.astext())}">')
    self.body.append(convert(node.astext(), display="block"))
    self.body.append("</div>")
    raise SkipNode


def setup(app):
    """Equations as MathML, which browsers show by themselves."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


html_math_renderer = "mathml"
