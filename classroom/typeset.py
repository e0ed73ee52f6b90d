"""How does a text with formulas become HTML that loads nothing?"""

import html
from pathlib import Path

from latex2mathml.converter import convert
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

# What a browser may load and run.
SAFE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def web_page(title: str, style: Path, body: str) -> str:
    """Return a whole web page: a title, a style sheet's content, what it shows."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{SAFE}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>\n{style.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n{body}"
        "</body>\n</html>\n"
    )


def typeset(text: str, *, draw: bool = True) -> str:
    r"""Return a notebook's Markdown as HTML; ValueError if a formula cannot be drawn.

    Of what a student wrote, show the TeX instead: drawing would let a student find out how a
    parser can be brought to a stop.

    >>> typeset("**Half** of it")
    '<p><strong>Half</strong> of it</p>\n'
    >>> typeset("$x < y$", draw=False)
    '<p><code>x &lt; y</code></p>\n'
    """
    return MarkdownWithMath(renderer=_Typesetter(draw)).render(text)


def code(source: str) -> str:
    """Return Python as HTML that tells its words apart."""
    return Highlight2HTML(pygments_lexer="python")(source)


def formula(tex: str, display: str = "inline") -> str:
    """Return TeX as MathML, which browsers draw by themselves; ValueError if it is none.

    >>> formula("x")[-30:]
    '<mrow><mi>x</mi></mrow></math>'
    """
    try:
        drawn = convert(tex, display=display)
    except Exception:  # of many kinds
        drawn = "\\"
    if "\\" in drawn:  # a command that stayed what it was
        line = " ".join(tex.split())
        raise ValueError(f"The formula {line!r} cannot be drawn: write it with usual TeX commands.")
    return drawn


class _Typesetter(IPythonRenderer):
    """Draws formulas, which it otherwise leaves to a program loaded from elsewhere."""

    def __init__(self, draw: bool) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self._draw = draw

    def heading(self, text: str, level: int, **attributes: object) -> str:
        title, dot, worth = text.partition(" · ")
        if dot:
            text = f'{title} <span class="worth">· {worth}</span>'
        return super().heading(text, level, **attributes)

    def block_math(self, body: str) -> str:
        return self.inline_math(body, "block")

    def inline_math(self, body: str, display: str = "inline") -> str:
        return formula(body, display) if self._draw else f"<code>{html.escape(body)}</code>"
