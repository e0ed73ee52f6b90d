"""What the lessons ask their reader to write: blanks, solutions and the usual mistakes."""

import ast
import itertools

import lessons
import nbformat
import numpy as np
import pytest
import torch
from blanks import ASKED, HELP, NOTEBOOKS
from conftest import PROJECT

from labutils import practice
from labutils.practice.turn import Turn, like, turn

TURNS = {name: turn for name, turn in vars(practice).items() if isinstance(turn, Turn)}
CASES = [(lesson, name) for lesson, names in ASKED.items() for name in names]
every_blank = pytest.mark.parametrize(("lesson", "name"), CASES)


def defined(lesson, source):
    """What a function is when it was written into a lesson, after the lesson's imports."""
    first = next(
        c
        for c in nbformat.read(PROJECT / f"notebooks/{lesson}.ipynb", 4).cells
        if c.cell_type == "code"
    )
    body = [n for n in ast.parse(first.source).body if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {}
    exec(compile(ast.Module(body, []), "imports", "exec"), names)
    before = set(names)
    exec(source, names)
    (name,) = set(names) - before
    return names[name]


@every_blank
def test_blank_is_a_stub_with_help_and_a_right_solution(lesson, name, capsys):
    blank, check, text = ASKED[lesson][name]
    assert check.source == f"practice.{name}({name})"
    assert text.cell_type == "markdown"
    solution = HELP.fullmatch(text.source)
    assert solution, text.source
    turn = TURNS[name]
    turn(defined(lesson, blank.source))
    assert capsys.readouterr().out.startswith(f"Your turn, {name}: not attempted")
    turn(defined(lesson, solution[1]))
    assert f"{name}: right" in capsys.readouterr().out
    same_head = [ast.dump(ast.parse(s).body[0].args) for s in (blank.source, solution[1])]
    assert same_head[0] == same_head[1]


@every_blank
def test_rest_of_the_lesson_does_not_depend_on_what_is_written(lesson, name):
    notebook = nbformat.read(PROJECT / f"notebooks/{lesson}.ipynb", as_version=4)
    users = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and lessons.BLANK not in cell.metadata.get("tags", []):
            loaded = {n.id for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Name)}
            users += [cell.source] * (name in loaded)
    assert users == [f"practice.{name}({name})"]


def test_every_check_is_used_once():
    assert sorted(TURNS) == sorted(name for _, name in CASES)
    assert all(2 <= len(names) <= 3 for lesson, names in ASKED.items() if names)


MISTAKES = [(turn, text) for turn in TURNS.values() for text in turn.mistakes]


@pytest.mark.parametrize(
    ("turn", "text"), MISTAKES, ids=[f"{t.__name__}: {m}" for t, m in MISTAKES]
)
def test_each_usual_mistake_is_named(turn, text, capsys):
    turn(turn.mistakes[text])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Your turn, {turn.__name__}: wrong"
    assert lines[-1] == f"  likely    {text}"


@pytest.mark.parametrize("turn", TURNS.values(), ids=list(TURNS))
def test_no_answer_stops_the_lesson(turn, capsys):
    def raises(*_):
        raise ZeroDivisionError("by hand")

    for answer in (None, 3, raises, lambda *_: None, lambda *_: "text", lambda: 1):
        turn(answer)
        assert f"{turn.__name__}: right" not in capsys.readouterr().out


def test_form_alone_is_no_mistake(capsys):
    assert like((1.0, 2), torch.zeros(2)).tolist() == [1.0, 2.0]
    assert like(torch.tensor(2.5), 1.0) == 2.5
    assert like(torch.zeros(2, dtype=torch.float64), torch.zeros(2)).dtype == torch.float32
    assert like("text", torch.zeros(2)) == "text"

    @turn(lambda: [(3,)], {})
    def places(count):
        return list(range(count))

    for form in (range, np.arange, torch.arange, lambda n: tuple(map(float, range(n)))):
        places(form)
        assert "right" in capsys.readouterr().out
    places(lambda _: "[0, 1, 2]")
    assert "got       '[0, 1, 2]', of type str" in capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_prediction_has_a_place_to_answer_and_is_answered(path):
    cells = nbformat.read(path, as_version=4).cells
    named = []
    for text, code in itertools.pairwise(cells):
        if "> **Predict.**" in text.source:
            assert code.cell_type == "code", text.source
            lines = ast.parse(code.source).body
            assert all(ast.unparse(line.value.func) == "lab.guess" for line in lines), text.source
            named += [line.targets[0].id for line in lines]
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert named
    assert [name for name in named if f"{name}.beside(" not in code] == []
    assert any(cell.source == "lab.guesses()" for cell in cells)
