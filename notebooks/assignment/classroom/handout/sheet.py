"""What do the tasks look like on paper?"""

import html
import re
from pathlib import Path

from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

STYLE = Path(__file__).parent / "sheet.css"
EM = 100  # of a drawn formula's units
PEN = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib's codes and those of SVG


def page(notebook: NotebookNode) -> str:
    """Return the assignment's texts and stubs as a web page to be printed, complete in itself.

    Hints, checks and given code are left out: they are of use only where code can be run.

    Parameters
    ----------
    notebook : the students' version

    Raises
    ------
    ValueError
        A formula cannot be drawn.
    """
    parts = "\n".join(filter(None, map(_part, notebook.cells)))
    kept_together = filter(str.strip, re.split(r"(?=<h2)|(?<=</pre></div>)", parts))
    title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title[1] if title else 'The tasks')}</title>\n"
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + "".join(f"<section>\n{section.strip()}\n</section>\n" for section in kept_together)
        + "</body>\n</html>\n"
    )


def formula(tex: str) -> str:
    r"""Draw a formula: a page that loads nothing cannot set TeX.

    Raises
    ------
    ValueError
        It has something that matplotlib's mathtext does not know.

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


def _part(cell: NotebookNode) -> str:
    task = cell.metadata.nbgrader
    if cell.cell_type == "markdown":
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL).strip()
        if task.solution or not text:
            return ""
        return MarkdownWithMath(renderer=_Paper(exclude_anchor_links=True)).render(text)
    return Highlight2HTML(pygments_lexer="python")(cell.source) if task.solution else ""


class _Paper(IPythonRenderer):
    """Draws formulas, which it otherwise leaves to a program loaded from elsewhere."""

    def heading(self, text: str, level: int, **attributes: object) -> str:
        title, dot, worth = text.partition(" · ")
        if dot:
            text = f'{title} <span class="worth">· {worth}</span>'
        return super().heading(text, level, **attributes)

    def block_math(self, body: str) -> str:
        large = body.replace(r"\frac", r"\dfrac")  # as TeX has it in a line of its own
        return f'<div class="display">{formula(large)}</div>'

    def inline_math(self, body: str) -> str:
        return formula(body)
