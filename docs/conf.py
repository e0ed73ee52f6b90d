"""How Sphinx makes the course's pages from what tools/website.py lays out for it."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("", "tools")]

import website  # noqa: E402

project, release = "The pruning lab", website.project()["version"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = [str(website.SOURCE / "_static")]
html_extra_path = [str(website.SOURCE / "_extra")]
exclude_patterns = ["_extra"]
html_show_sourcelink = html_use_index = html_domain_indices = False
html_theme_options = {
    "navbar_persistent": [],  # the search stands beside the contents
    "footer_content_items": [],
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
}


def linkcode_resolve(domain: str, info: dict) -> str | None:
    """Return where the program of a function is shown."""
    return website.shown(f"{info['module']}.{info['fullname']}")


def mathml(display: str) -> tuple:
    """Return what draws a formula of this kind without a script, and what ends it."""

    def draw(writer: object, node: nodes.math) -> None:
        from classroom.typeset import formula  # takes a second, which few pages need

        writer.body.append(formula(node.astext(), display))
        raise nodes.SkipNode

    return draw, None


def add_explorers(app: Sphinx, name: str, template: str, context: dict, tree: object) -> None:
    """Have a page with an explorer load it, with its network and digits."""
    if "data-explorer=" in context.get("body", ""):
        for script in ("data.js", "explorer.js"):
            app.add_js_file(f"explorer/{script}", loading_method="defer")
        app.add_css_file("explorer/explorer.css")


def setup(app: Sphinx) -> None:
    """Draw formulas as MathML; let explorers live."""
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
    app.connect("html-page-context", add_explorers)
