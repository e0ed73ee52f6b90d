"""The page that a student gets back says what was found, and does nothing else."""

from dataclasses import replace

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell
from pages import Page

from classroom.assignment import parts
from classroom.feedback import page
from classroom.gradebook import SCHEME, Standing

PARTS = parts()
GRADED = {part.name: part for part in PARTS if part.kind in ("check", "answer")}
FULL = {name: part.points for name, part in GRADED.items()}
RIGHT = {name: f"{name}: right" for name, part in GRADED.items() if part.kind == "check"}
HOSTILE = '<script>f()</script><img src="//x/y.png" onerror="f()">[x](javascript:f())'
LINKS = "http://x.y <http://x.y> [x](http://x.y) ![x](http://x.y) <b>"


def notebook(**instead: str) -> nbformat.NotebookNode:
    """Return the solved notebook, with other sources by name of the cell (`_` for `-`)."""
    cells = []
    for part in PARTS:
        new = new_markdown_cell if part.kind in ("text", "answer") else new_code_cell
        source = instead.get(part.name.replace("-", "_"), part.source)
        cells.append(new(source, metadata={"nbgrader": {"grade_id": part.name}}))
    return nbformat.v4.new_notebook(cells=cells)


def made(
    points: dict | None = None,
    told: dict | None = None,
    comments: dict | None = None,
    **instead: str,
) -> str:
    standing = Standing({**FULL, **(points or {})}, comments or {})
    return page("Ada & Co", notebook(**instead), PARTS, standing, {**RIGHT, **(told or {})})


def test_all_right() -> None:
    said = Page(made()).text
    assert "Ada & Co: 100 of 100 points" in said
    assert "so far" not in said
    assert "What the checks found" not in said
    assert said.count("4 of 4 points") == sum(points == 4 for points in FULL.values())
    assert "ex7-hidden: right" in said


def test_what_failed_is_told_at_the_top_and_at_its_place() -> None:
    failure = "Exercise 2, magnitude_mask: wrong\n  likely    x < y"
    content = made(
        {"ex2-check": 0.0, "ex2-hidden": 0.0}, {"ex2-check": failure, "ex2-hidden": failure}
    )
    said = Page(content).text
    assert "Ada & Co: 88 of 100 points" in said
    assert "Exercise 2 0 12" in said
    assert content.count("likely    x &lt; y") == 3  # once in the summary, once for each check
    assert said.index("What the checks found") < said.index("Lab 2: pruning a network yourself")


def test_an_answer_that_nobody_has_read_waits_and_does_not_count() -> None:
    said = Page(made({"q1-answer": None, "ex1-check": 0.0})).text
    assert "Ada & Co: 90 of 96 points so far" in said
    assert "Question 1 not marked yet 4" in said
    assert "Not marked yet" in said


def test_comments_stand_below_what_they_are_about() -> None:
    content = made(comments={"q2-answer": "*Which* seeds?", "ex3-solution": f"Nicely done {LINKS}"})
    assert "<em>Which</em> seeds?" in content
    said = Page(content).code
    assert said.index("victims=round(everything") < said.index("Nicelydone")
    assert said.index("Nicelydone") < said.index("checks.global_masks(global_masks)")


def test_checks_are_shown_as_released_and_graders_own_cells_not_at_all() -> None:
    content = made(ex1_check="print('right')", setup="print('mine')")
    assert "print('mine')" not in Page(content).code
    assert "checks.sparsity_and_bytes(sparsity_and_bytes)" in Page(content).code
    marked = notebook()
    marked.cells.insert(3, new_markdown_cell("one point", metadata={"tags": [SCHEME]}))
    assert "one point" not in page("Ada", marked, PARTS, Standing(FULL, {}), RIGHT)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    deeds = Page(made(comments={"q2-answer": LINKS}, q1_answer=LINKS))
    assert deeds.text.replace("\u2060", "").count(LINKS) == 2  # there to be read
    assert not deeds.tags & {"script", "link", "img", "iframe", "object"}
    assert not deeds.handlers
    assert {address[:1] for address in deeds.addresses} == {"#"}
    assert "default-src 'none'" in made()


def test_what_a_student_writes_is_text() -> None:
    marked, told = notebook(), {**RIGHT, "ex1-check": HOSTILE}
    marked.cells[4:4] = [new_code_cell(HOSTILE), new_raw_cell(HOSTILE)]
    deeds = Page(page(HOSTILE, marked, PARTS, Standing({**FULL, "ex1-check": 0.0}, {}), told))
    # In the title, the heading, two cells, the summary of what failed, and at its place.
    assert deeds.code.count("<script>f()") == 6
    assert not deeds.tags & {"script", "img"}
    assert not deeds.handlers


def test_formulas_are_drawn_if_they_are_the_assignments_and_can_be() -> None:
    content = made(q1_answer=r"about $\frac{a}{b}$ of it")
    assert content.count("<math ") == made().count("<math ") == 1
    assert r"<code>\frac{a}{b}</code>" in content
    released = [replace(p, source=r"$\unheard{x}$") if p.name == "ex8" else p for p in PARTS]
    content = page("Ada", notebook(), released, Standing(FULL, {}), RIGHT)
    assert r"<code>\unheard{x}</code>" in content
