"""Another assignment, of plain asserts, takes a notebook and a TOML file: no Python is touched."""

import os
import re
import subprocess
import sys
import zipfile

import nbformat
import pytest
from conftest import PROJECT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from submissions import grades

from classroom import assignment, sandbox
from classroom.assignment import SETTINGS, SOURCE, complete, settings
from classroom.examine import Mark, Result
from classroom.handout.build import _prove

TOML = """\
handout = "tiny"
[points]
"exercise 1" = { ex1-check = 2, ex1-hidden = 3 }
"exercise 2" = { ex2-check = 4 }
"question 1" = { q1-answer = 1 }
[without]
"exercise 2" = ["magnitude_mask"]
"""
SOLUTION = "def {}:\n    ### BEGIN SOLUTION\n    {}\n    ### END SOLUTION"
CELLS = {
    "title": "# Lab 9: two",
    "ex1-solution": SOLUTION.format("double(n)", "return 2 * n"),
    "ex1-check": "assert double([2, 3]) == [2, 3, 2, 3]",
    "ex1-hidden": "### BEGIN HIDDEN TESTS\nassert double(7) == 14\nassert len(double([1])) == 2\n"
    "### END HIDDEN TESTS",
    "ex2-solution": SOLUTION.format("keep(weight)", "return weight.abs() >= 2"),
    "ex2-check": "import torch\n\nw = torch.tensor([3.0, -1.0])\nassert keep(w)[0], 'the larger'",
    "q1": "Why?",
    "q1-answer": "### BEGIN SOLUTION\nBecause of this and of that.\n### END SOLUTION",
}
STUDENTS = {  # the bodies of the two functions, their points, and what is told
    "right": ("return n + n", "return weight > 0", "5", "4", ["Exercise 2: right"]),
    "wrong": (
        "return n * 2 if n != [1] else 3", "return weight < 0", "2", "0",
        ["wrong input [1] got 3 because object of type 'int' has no len()",
         "input [3, -1] got [False, True] (bool) because the larger"],
    ),
    "hostile": (
        "return type('Yes', (), {'__eq__': lambda *_: True})()",
        "return lab.magnitude_mask(weight, 0.5)", "0", "0",
        ["got an object of type Yes", "calls magnitude_mask of labutils"],
    ),
}  # fmt: skip
RUN = """\
from pathlib import Path
from classroom.grade import grade
from classroom.handout.build import build
build(Path("made"))
grade(Path("class"), Path("course"), as_root=True)
"""


def notebook(**work):
    cells = []
    for name, source in CELLS.items():
        kind, text = name.partition("-")[2], name in ("title", "q1", "q1-answer")
        meta = {"grade_id": name, "schema_version": 3, "task": False, "locked": True}
        meta |= {"solution": kind in ("solution", "answer"), "grade": kind not in ("solution", "")}
        new = new_markdown_cell if text else new_code_cell
        own = work.get(name.replace("-", "_"), source)
        cells.append(new(own, id=name, metadata={"nbgrader": meta}))
    return new_notebook(cells=cells)


@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox.available()), reason=sandbox.available() or "there is one")
def test_it_is_made_and_graded_by_the_same_commands(tmp_path):
    for folder in ("lab9", "class"):
        (tmp_path / folder).mkdir()
    nbformat.write(notebook(), tmp_path / "lab9" / "lab9.ipynb")
    (tmp_path / "lab9" / "assignment.toml").write_text(TOML)
    for name, (double, keep, *_) in STUDENTS.items():
        work = notebook(
            ex1_solution=f"def double(n):\n    {double}",
            ex2_solution=f"import labutils as lab\ndef keep(weight):\n    {keep}",
            q1_answer="YOUR ANSWER HERE",
        )
        nbformat.write(work, tmp_path / "class" / f"{name}.ipynb")
    other = {"PYTHONPATH": str(PROJECT), "ASSIGNMENT": "lab9"}
    command = [sys.executable, "-W", "ignore", "-c", RUN]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, **other}, check=True)
    with zipfile.ZipFile(tmp_path / "made" / "tiny-handout.zip") as packed:
        task, read = (packed.read(f"tiny/{n}").decode() for n in ("lab9.ipynb", "README.md"))
    assert "double(7)" not in task
    assert read.startswith("# Lab 9: two\n\nYour task is the notebook `lab9.ipynb`")
    rows = grades(tmp_path / "course")
    for name, (_, _, *points, told) in STUDENTS.items():
        assert [rows[name][title] for title in ("exercise 1", "exercise 2")] == points
        assert rows[name]["question 1"] + rows[name]["status"] == "0done"
        folder = tmp_path / "course" / "feedback" / rows[name]["student"]
        page = re.sub(r"<[^>]+>", "", (folder / "lab9" / "lab9.html").read_text())
        page = " ".join(page.replace("&#x27;", "'").split())
        assert "len(double" not in page
        assert [text for text in told if text not in page] == []


def test_a_check_that_the_solution_does_not_pass_is_named():
    """As of plain data that cannot travel, or a name that some other cell makes."""
    says = "Exercise 1, double: raised"
    for result in (Result({"ex1-check": Mark("raised", 0, says)}), Result(problem=says)):
        with pytest.raises(ValueError, match="does not pass its own checks: ") as told:
            _prove(result)
        assert says in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("handout", "handuot", "handout = "),
        ("tiny", "../tiny", "handout = '../tiny': String should match pattern"),
        ("= 4", "= '4'", "points.exercise 2.ex2-check"),
        ("= 4", "= inf", "less than inf"),
        ("[without]", "[limits]\ncel = 1\n[without]", "limits.cel"),
        ("[points]", "[points", "Expected ']'"),
    ],
)
def test_a_wrong_key_or_value_is_named(old, new, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(assignment, "SETTINGS", tmp_path / "assignment.toml")
    (tmp_path / "assignment.toml").write_text(TOML.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(sentence)) as told:
        settings.__wrapped__()
    assert str(told.value).startswith(f"{tmp_path / 'assignment.toml'}: ")
    (tmp_path / "assignment.toml").unlink()
    with pytest.raises(FileNotFoundError, match="ASSIGNMENT= one of lab2_pruning, or a folder"):
        settings.__wrapped__()


@pytest.mark.parametrize(
    ("table", "key", "value", "odd"),
    [
        ("points", "exercise 1", {"ex1-check": 6}, "ex1-hidden"),
        ("points", "exercise 9", {"ex1-check": 6, "ex9": 1}, "ex1-check, ex9"),
        ("without", "exercise 9", [], "exercise 9"),
        ("network", "cell", "ex8-check", "ex8-check"),
    ],
)
def test_file_and_notebook_name_the_same(table, key, value, odd, monkeypatch):
    monkeypatch.setitem(getattr(settings(), table), key, value)
    with pytest.raises(ValueError, match=f"assignment.toml and .* do not agree on {odd}: "):
        complete()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("points", 0, ""),
        ("points", 6, ""),
        ("points", 7, f" has 7 points in changed.ipynb and 6 in {SETTINGS}: "),
        ("task", True, " is of no kind that can be graded: "),
        ("solution", True, " is of no kind that can be graded: "),
    ],
)
def test_points_have_one_place_and_cells_a_known_kind(key, value, sentence, tmp_path):
    whole, changed = nbformat.read(SOURCE, as_version=4), tmp_path / "changed.ipynb"
    next(c for c in whole.cells if c.id == "ex1-check").metadata.nbgrader[key] = value
    nbformat.write(whole, changed)
    if not sentence:
        assert complete(changed) == complete()
        return
    with pytest.raises(ValueError, match=f"^ex1-check{sentence}"):
        complete(changed)
