"""The assignment says of itself what is true, and a submission is read for what it is."""

import ast
import copy
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

import labutils as lab
from classroom.assignment import SOURCE, columns, parts
from classroom.oddities import oddities
from classroom.restore import NotThisAssignment, read, restore
from labutils import checks
from labutils.checks.design import MIME
from labutils.checks.verdict import Exercise

PARTS = parts()
BY_NAME = {part.name: part for part in PARTS}
COLUMNS = columns(PARTS)
HIDDEN = [part for part in PARTS if "### BEGIN HIDDEN TESTS" in part.source]
SOLUTIONS = [part for part in PARTS if part.kind == "solution"]


@pytest.fixture
def solved():
    return nbformat.read(SOURCE, as_version=4)


def headings() -> dict[str, tuple[int, int]]:
    """Return minutes and points of each exercise and question, as its heading says."""
    pattern = r"^## (Exercise|Question) (\d).*?· (\d+) minutes.*?· (\d+) points"
    found = (re.match(pattern, part.source, re.MULTILINE) for part in PARTS if part.kind == "text")
    return {f"{m[1].lower()} {m[2]}": (int(m[3]), int(m[4])) for m in found if m}


def test_there_are_a_hundred_points_in_ninety_minutes_and_the_table_says_the_same():
    told = headings()
    assert {name: points for name, (_, points) in told.items()} == COLUMNS
    assert sum(COLUMNS.values()) == 100
    assert sum(minutes for minutes, _ in told.values()) == 90
    rows = re.findall(r"^\| (\d) \|.*?\| (\d+) \| (\d+) \|$", BY_NAME["title"].source, re.MULTILINE)
    table = {f"exercise {number}": (int(m), int(p)) for number, m, p in rows}
    assert table == {name: value for name, value in told.items() if "exercise" in name}


def test_every_exercise_has_a_typed_stub_a_check_two_hints_and_a_way_to_go_on():
    for number in range(1, 9):
        own = [part for part in PARTS if part.name.startswith(f"ex{number}")]
        assert {"solution", "check"} <= {part.kind for part in own}
        hints = BY_NAME[f"ex{number}-hints"].source
        for title in ("Hint 1", "Hint 2", "Stuck?"):
            assert f"<summary>{title}</summary>" in hints
        stuck = hints.split("Stuck?")[1]
        named = set(re.findall(r"`(?:\w+ = )?lab\.(\w+)", stuck))
        assert named & set(dir(lab)) == named != set()
        below = PARTS[PARTS.index(BY_NAME[f"ex{number}-hints"]) :]
        given = "".join(part.source for part in below if part.kind == "code")
        assert "the notebook uses" not in stuck or all(f"lab.{name}(" in given for name in named)
        assert number == 8 or "*and without changing in place* " in BY_NAME[f"ex{number}"].source
    for part in SOLUTIONS:
        (function,) = ast.parse(part.source).body
        text = ast.get_docstring(function)
        assert function.returns is not None
        assert "returns :" in text
        for argument in function.args.args:
            assert argument.annotation is not None
            assert argument.arg in text


def test_cells_are_known_by_their_ids_and_their_outputs_are_of_a_run_in_order(solved):
    assert [cell.id for cell in solved.cells] == [part.name for part in PARTS]
    cells = [cell for cell in solved.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {(o.output_type, o.get("name")) for cell in cells for o in cell.outputs}
    assert kinds <= {("stream", "stdout"), ("display_data", None), ("execute_result", None)}


@pytest.mark.parametrize("part", HIDDEN, ids=lambda part: part.name)
def test_a_hidden_test_needs_nothing_but_the_students_functions(part):
    nodes = list(ast.walk(ast.parse(part.source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    made |= {alias.name for node in nodes for alias in getattr(node, "names", [])}  # imported
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    own = {function for solution in SOLUTIONS for function in solution.functions}
    assert used - made - {"enumerate", "range", "list"} <= own
    assert used & own


def test_what_an_exercise_is_to_do_without_is_there_and_no_solution_is_odd():
    everywhere = "".join(file.read_text() for file in Path(lab.__file__).parent.rglob("*.py"))
    every = [value for value in vars(checks).values() if isinstance(value, Exercise)]
    assert [check.__name__ for check in every if not check.instead] == ["choose_amounts"]
    for check in every:
        assert [name for name in check.instead if f"def {name}(" not in everywhere] == []
    for number in range(1, 8):
        own = [check for check in every if check.title.startswith(f"Exercise {number},")]
        wanted = {name for check in own for name in check.instead} & set(dir(lab))
        box = BY_NAME[f"ex{number}"].source.partition("*To be done without* ")[2]
        assert set(re.findall(r"`lab\.(\w+)`", box)) == wanted
    assert not [clause for part in SOLUTIONS for clause in oddities(part.source)]


def own_code(work):
    return {s.part.name: s.cell.source for s in work.steps if s.part.kind == "solution"}


def restored(notebook):
    """What is taken of a notebook; here always all cells of the assignment, in their order."""
    work = restore(notebook, PARTS)
    assert [step.part.name for step in work.steps if step.part] == [part.name for part in PARTS]
    return work


def test_a_whole_submission_is_taken_as_it_is_and_added_cells_stay_where_they_are(solved):
    assert restored(solved).remarks == []
    solved.cells.insert(7, new_code_cell("x = 1"))
    assert [step.part for step in restored(solved).steps].index(None) == 7


def test_a_missing_check_comes_back_behind_its_solution(solved):
    solved.cells = [cell for cell in solved.cells if not cell.id.startswith("ex4")]
    put_back = "missing, and put back: ex4a-solution, ex4a-check, ex4b-solution, ex4b-check"
    assert put_back in restored(solved).remarks[0]


def test_given_code_and_checks_are_those_of_the_assignment(solved):
    for cell in solved.cells:
        if cell.id in ("setup", "ex3-check"):
            cell.source = "print('mine')"
    work = restored(solved)
    assert all(s.cell.source == s.part.source for s in work.steps if s.part.kind != "solution")
    assert work.remarks == ["edited, so that the original was used: setup, ex3-check"]


@pytest.mark.parametrize("strip", ["metadata", "ids", "both"])
def test_cells_are_recognised_without_their_names(solved, strip):
    for place, cell in enumerate(solved.cells):
        if strip in ("metadata", "both"):
            cell.metadata = {}
        if strip in ("ids", "both"):
            cell.id = f"c{place}"
    work = restored(solved)
    assert own_code(work) == {part.name: part.source for part in SOLUTIONS}
    assert (work.remarks == []) == (strip == "ids")


@pytest.mark.parametrize("gone", [False, True])
def test_written_answers_are_found_by_their_questions_or_missed_aloud(solved, gone):
    """As an editor leaves a notebook that keeps neither metadata nor ids."""
    for place, cell in enumerate(solved.cells):
        if cell.id.endswith("-answer"):
            cell.source = f"My own words on {cell.id}."
        cell.metadata, cell.id = {}, f"c{place}"
    if gone:
        solved.cells = [cell for cell in solved.cells if "on q2-answer" not in cell.source]
    work = restored(solved)
    answers = {s.part.name: s.cell.source for s in work.steps if s.part and s.part.kind == "answer"}
    assert answers["q1-answer"] == "My own words on q1-answer."
    assert answers["q2-answer"].startswith("My own words") != gone
    assert work.unanswered == ["question 2"] * gone


def test_the_first_of_two_cells_with_one_name_counts_and_the_other_still_runs(solved):
    place = next(i for i, cell in enumerate(solved.cells) if cell.id == "ex2-solution")
    second = copy.deepcopy(solved.cells[place])
    second.source = "SECOND = True"
    solved.cells.insert(place + 1, second)
    work = restored(solved)
    assert [s.cell.source for s in work.steps if s.part is None] == ["SECOND = True"]
    assert work.remarks == ["ex2-solution is there twice; the first counts as the original"]


DEEP = b'{"nbformat": 4, "cells": [{"metadata": ' + b'{"a":' * 700 + b"1" + b"}" * 701 + b"]}"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged (no JSON from line 1"),
        (b"\xff\xfe\x00", "not text"),
        (b"[]", "no notebook, though it is JSON"),
        (b'{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no notebook"),
        (b"[" * 100_000, "nested too deeply"),
        (DEEP, "the "),  # which of two, depends on the Python
        (b'{"nbformat": 99, "cells": []}', "no notebook of today's format"),
        (b'{"nbformat": 4, "cells": {}}', "no notebook, though it is JSON"),
        (b'{"nbformat": 4, "cells": [1, null, {}]}', "none of this assignment's cells"),
        (b'{"nbformat": 4, "cells": [' + b"{}," * 2000 + b"{}]}", "the notebook has 2,001 cells"),
        (b"[" + b"9" * 5000 + b"]", "no notebook"),
    ],
)
def test_what_is_no_notebook_is_named(content, sentence):
    with pytest.raises(NotThisAssignment, match=re.escape(sentence)):
        restore(read(content), PARTS)


def older_format_with_ids(found):
    found["nbformat_minor"] = 4


def oldest_format(found):
    found["nbformat_minor"] = 0
    for cell in found["cells"]:
        del cell["id"]


def more_properties(found):
    for cell in found["cells"]:
        cell["id"], cell["vscode"] = f"#VSC-{cell['id']}==", {"languageId": "python"}
        for output in cell.get("outputs", ()):
            output["jetTransient"] = {"display_id": None}


def fewer_properties(found):
    found.pop("metadata")
    for cell in found["cells"]:
        cell.pop("execution_count", None)
        if cell["cell_type"] != "code":
            cell.pop("metadata")


def whole_sources(found):
    for cell in found["cells"]:
        cell["source"] = "".join(cell["source"])


@pytest.mark.parametrize(
    "save",
    [older_format_with_ids, oldest_format, more_properties, fewer_properties, whole_sources],
)
def test_files_of_other_editors_are_read(save):
    found = json.loads(SOURCE.read_text("utf-8"))
    save(found)
    work = restored(read(json.dumps(found).encode()))
    assert own_code(work) == {part.name: part.source for part in SOLUTIONS}
    (check,) = (step.cell for step in work.steps if step.part.name == "ex8-check")
    assert any(MIME in output.data for output in check.outputs)


def test_half_a_character_and_metadata_of_any_kind_harm_nothing(solved):
    for cell, meta in zip(solved.cells, [3, "x", [], {"grade_id": ["a"]}, None], strict=False):
        cell.metadata.nbgrader = meta
    solved.cells[4].source = "# \ud800"
    found = read(json.dumps(solved).encode())
    assert found.cells[4].source == "# ?"
    restored(found)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("torch.equal = print", ["changes torch.equal"]),
        ("lab.magnitude.x = 1", ["changes lab.magnitude.x"]),
        ("sys.modules['labutils'] = None", ["changes sys.modules['labutils']"]),
        ("import subprocess", ["imports subprocess (other processes)"]),
        ("from urllib.request import urlopen", ["imports urllib.request (the network)"]),
        ("os.system('ls')", ["calls os.system"]),
        ("get_ipython().ast_transformers.append(x)", ["touches get_ipython().ast_transformers"]),
        ("for layer in network.modules(): pass", []),
        ("weight[mask] = 0\nself.x = 1\nnetwork.conv1.bias = None", []),
        ("not python (", []),
        ("!ls", []),
        ("%matplotlib inline\nimport gc\nnetwork.eval()", []),
        ("%time exec(code)\neval(text)", ["calls eval"]),
    ],
)
def test_odd_code_is_named_and_usual_code_is_not(code, expected):
    assert [clause for clause in oddities(code) if not clause.startswith("touches sys")] == expected
