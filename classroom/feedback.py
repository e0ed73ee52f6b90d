"""What does a student get back?

A page that is complete in itself: it loads nothing and runs no script, whatever a student wrote.
"""

import functools
import html
from collections.abc import Iterator, Mapping
from pathlib import Path

from nbformat import NotebookNode

from classroom.assignment import Part, columns
from classroom.gradebook import SCHEME, Standing
from classroom.harmless import markdown
from classroom.typeset import code, typeset, web_page

STYLE = Path(__file__).with_suffix(".css")
WAITING = "not marked yet"


def page(
    name: str,
    notebook: NotebookNode,
    released: list[Part],
    standing: Standing,
    told: Mapping[str, str],
) -> str:
    """Return a student's page: points, what failed, and the notebook as the gradebook keeps it.

    Given cells and checks are shown as they were released; `told` is what each check said.
    """
    parts = {part.name: part for part in released}
    body = "\n".join(_summary(name, released, standing, told))
    for cell in notebook.cells:
        if SCHEME not in cell.metadata.get("tags", []):
            part = parts.get(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
            body += "\n" + _cell(cell, part, standing, told)
    return web_page(f"{name}: feedback", STYLE, body + "\n")


def _summary(
    name: str, released: list[Part], standing: Standing, told: Mapping[str, str]
) -> Iterator[str]:
    most, points = columns(released), standing.by_exercise()
    graded = [part for part in released if part.kind in ("check", "answer")]
    first = {part.exercise: part.name for part in reversed(graded)}
    total = sum(value for value in points.values() if value is not None)
    possible = sum(most[title] for title in most if points[title] is not None)
    so_far = "" if standing.complete else " so far"
    yield f"<h1>{html.escape(name)}: {total:g} of {possible:g} points{so_far}</h1>"
    yield '<table>\n<tr><th></th><th class="number">points</th><th class="number">of</th></tr>'
    for title, of in most.items():
        got = WAITING if points[title] is None else f"{points[title]:g}"
        yield (
            f'<tr><td><a href="#{first[title]}">{title.capitalize()}</a></td>'
            f'<td class="number">{got}</td><td class="number">{of:g}</td></tr>'
        )
    yield "</table>"
    lacking = [p for p in graded if p.kind == "check" and (standing.points[p.name] or 0) < p.points]
    failed = dict.fromkeys(told[part.name] for part in lacking)
    if failed:
        yield "<h2>What the checks found</h2>"
        yield from map(_verbatim, failed)


def _cell(
    cell: NotebookNode, part: Part | None, standing: Standing, told: Mapping[str, str]
) -> str:
    if part is None:
        show = {"markdown": _untouched, "code": code}.get(cell.cell_type, _verbatim)
        return _yours("You added", show(cell.source))
    comment = standing.comments.get(part.name, "")
    said = f'<div class="comment">\n{_untouched(comment)}</div>\n' if comment else ""
    if part.kind == "solution":
        return _yours("Your code", code(cell.source)) + said
    if part.kind == "answer":
        own = _yours("Your answer", _untouched(cell.source))
        return own + _verdict(part, standing.points[part.name], said)
    given = _given(part.source, "markdown" if part.kind == "text" else "code")
    if part.kind != "check":
        return given
    return given + _verdict(part, standing.points[part.name], _verbatim(told[part.name]))


def _yours(label: str, content: str) -> str:
    return f'<div class="yours">\n<p class="label">{label}</p>\n{content}</div>\n'


def _verdict(part: Part, points: float | None, why: str) -> str:
    """Say how many points a check or an answer has, and why."""
    kind, said = "waiting", WAITING.capitalize()
    if points is not None:
        kind = "full" if points >= part.points else "less"
        said = f"{points:g} of {part.points:g} points"
    return (
        f'<div class="verdict {kind}" id="{part.name}">\n<p><strong>{said}</strong></p>\n'
        f"{why}</div>\n"
    )


def _untouched(text: str) -> str:
    """Return Markdown that somebody wrote: nothing of it becomes HTML, a link, or is drawn."""
    return typeset(markdown(text), draw=False)


@functools.cache
def _given(source: str, kind: str) -> str:
    """Return a cell of the assignment, the same on every page."""
    if kind == "code":
        return code(source)
    try:
        return typeset(source)
    except ValueError:  # its TeX is better than no page
        return _untouched(source)


def _verbatim(text: str) -> str:
    return f"<pre>{html.escape(text.rstrip())}</pre>\n"
