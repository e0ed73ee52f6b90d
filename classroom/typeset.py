"""How does a text with formulas become HTML that loads nothing?"""

import html
from pathlib import Path

from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

EM = 100  # of a drawn formula's units
PEN = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib's codes and those of SVG


def web_page(title: str, style: Path, body: str, safe: str = "") -> str:
    """Return a whole web page: a title, a style sheet's content, what it shows.

    Parameters
    ----------
    safe : policy of what a browser may load and run
    """
    policy = f'<meta http-equiv="Content-Security-Policy" content="{safe}">\n' if safe else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n{policy}'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>\n{style.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n{body}"
        "</body>\n</html>\n"
    )


def typeset(text: str, *, draw: bool = True) -> str:
    r"""Return a notebook's Markdown as HTML, its formulas drawn.

    Parameters
    ----------
    draw : False shows the TeX of formulas instead. Drawing what a student wrote would let a
        student find out how matplotlib's parser can be brought to a stop

    Raises
    ------
    ValueError
        A formula to be drawn has something that matplotlib's mathtext does not know.

    >>> typeset("**Half** of it")
    '<p><strong>Half</strong> of it</p>\n'
    >>> typeset("$x < y$", draw=False)
    '<p><code>x &lt; y</code></p>\n'
    """
    return MarkdownWithMath(renderer=_Typesetter(draw)).render(text)


def formula(tex: str) -> str:
    r"""Draw a formula: a page that loads nothing cannot set TeX.

    >>> formula(r"\frac{1}{2}")[:26]
    '<svg class="formula" role='
    """
    from matplotlib import rc_context
    from matplotlib.textpath import TextPath

    line = " ".join(tex.split())
    try:
        with rc_context({"mathtext.fontset": "stix"}):
            path = TextPath((0, 0), f"${line}$", size=EM)
    except ValueError as error:
        raise ValueError(
            f"The formula {line!r} cannot be drawn for the printed tasks: write it with what "
            "matplotlib's mathtext knows."
        ) from error
    steps = path.iter_segments(simplify=False, curves=True)
    drawn = " ".join(PEN[code] + _points(numbers, code) for numbers, code in steps)
    left, bottom, right, top = path.get_extents().extents
    return (
        f'<svg class="formula" role="img" aria-label="{html.escape(line)}" '
        f'viewBox="{left:.0f} {-top:.0f} {right - left:.0f} {top - bottom:.0f}" '
        f'style="width:{(right - left) / EM:.2f}em; vertical-align:{bottom / EM:.2f}em">'
        f'<path d="{drawn}"/></svg>'
    )


def _points(numbers: list[float], code: int) -> str:
    if PEN[code] == "Z":
        return ""
    signs = (1, -1) * len(numbers)  # down is up in SVG
    return " ".join(f"{sign * number:.1f}" for sign, number in zip(signs, numbers, strict=False))


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
        large = body.replace(r"\frac", r"\dfrac")  # as TeX has it in a line of its own
        return f'<div class="display">{self._drawn(large)}</div>'

    def inline_math(self, body: str) -> str:
        return self._drawn(body)

    def _drawn(self, tex: str) -> str:
        return formula(tex) if self._draw else f"<code>{html.escape(tex)}</code>"
