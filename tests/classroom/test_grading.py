"""A class is graded as by the command, with real nbgrader, in the real sandbox."""

import ast
import copy
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from nbconvert import HTMLExporter
from nbgrader.api import Gradebook
from submissions import USUAL, Class, command, grades, hashes

from classroom import sandbox
from classroom.assignment import NAME, PROJECT, SOURCE, course_file, parts, settings
from classroom.collect import Submission, collect
from classroom.examine import Mark, Result
from classroom.grade import _Class, _hash, _limits, _version
from classroom.gradebook import Course
from classroom.platforms import ClassList
from classroom.records import Records, _alike, _status, tell, write_grades
from classroom.restore import restore
from classroom.sandbox import Limits
from labutils.base.writing import only_writer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(sandbox.available()), reason=sandbox.available() or "there is one"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]
GRADED = [name for name, student in USUAL.items() if not student.problem]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    graded = Class(tmp_path_factory.mktemp("class"), USUAL)
    graded.grade()
    return graded


def cell_named(notebook, name):
    return next(cell for cell in notebook.cells if cell.id == name)


@pytest.mark.parametrize("name", USUAL)
def test_every_student_gets_points_and_remarks_and_reasons(graded, name):
    assert graded.rows.keys() == USUAL.keys()
    row, expected = graded.rows[name], USUAL[name]
    assert {title: row[title] for title in expected.points} == expected.points
    assert [remark for remark in expected.remarks if remark not in row["remarks"]] == []
    if expected.problem:
        assert row["status"].startswith("not graded: ")
        assert expected.problem in row["status"]
        assert row["total"] == row["question 1"] == ""
        assert row["student"] not in graded.book()
        return
    waits = name == "answers"  # for a grader
    assert row["status"] == ("needs marking" if waits else "done")
    assert row["question 1"] == ("" if waits else "0")
    assert float(row["total"]) == sum(map(float, expected.points.values()))
    page = graded.feedback(row["student"])
    assert [text for text in expected.told if text not in page] == []


def test_no_page_obeys_what_a_student_wrote(graded):
    feedback = Course(graded.course).page("writes-HTML")
    formgrader = graded.course / "autograded" / "writes-HTML" / NAME / f"{NAME}.ipynb"
    shown, _ = HTMLExporter(template_name="classic").from_filename(formgrader)
    for page in (feedback.read_text(), shown):
        assert page.count("window.hacked") == 6  # it is there to be read
        assert not re.search(
            r"<(script|img)[^>]*>?window.hacked|<[^>]+onerror|href=.(javascript|https://ads)", page
        )


def test_good_work_has_no_remark_but_that_it_is_alike(graded):
    remarks = graded.rows["perfect"]["remarks"].split("; ")
    assert all(remark.startswith("its ") for remark in remarks)
    assert graded.rows["blank"]["remarks"] == ""


def test_graders_see_the_marking_scheme_and_feedback_neither_it_nor_hidden_tests(graded):
    cells = nbformat.read(SOURCE, as_version=4).cells
    block = r"(?s)### BEGIN HIDDEN TESTS\n(.*?)### END"
    hidden = [text for cell in cells for text in re.findall(block, cell.source)]
    scheme = [cell.source for cell in cells if cell.id.endswith("-answer")]
    given = "".join(part.source for part in parts() if not part.name.endswith("-hidden"))
    tests, answers = (
        [line.strip() for line in "\n".join(texts).splitlines() if len(line.strip()) > 25]
        for texts in (hidden, scheme)
    )
    tests = [line for line in tests if line not in given]
    assert len(tests) > 20
    assert len(answers) > 5
    for name in GRADED:
        page = graded.feedback(graded.rows[name]["student"])
        assert not [line for line in tests + answers if line in page]
    path = graded.course / "autograded" / "answers" / NAME / f"{NAME}.ipynb"
    assert "**Marking scheme.**" in path.read_text()


def test_two_of_one_name_in_two_downloads_are_two(graded, tmp_path):
    records = Records(tmp_path)
    for number, content in (("12345", b"1"), ("67890", b"2")):
        path = tmp_path / number / f"Ann Lee_{number}_assignsubmission_file_" / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        (one,) = collect(tmp_path / number)
        records.keep(one, number, "", Result(problem="of no importance"))
    assert records.students() == ["Ann-Lee-12345", "Ann-Lee-67890"]
    assert records.read("Ann-Lee-67890")["latest"]["number"] == "67890"


def test_equal_networks_are_remarked_where_their_code_differs():
    one = {"network": "abc", "solutions": {"ex8-solution": "return one"}}
    other = {**one, "solutions": {"ex8-solution": "return other"}}
    assert _alike({"a": one, "b": other, "c": dict(one)}) == {
        "a": ["its network is just that of b"],
        "b": ["its network is just that of a, c"],
        "c": ["its network is just that of b"],
    }
    assert _alike({"a": one, "c": dict(one)}) == {"a": [], "c": []}  # the same recipe


def test_a_missing_answer_is_in_the_status():
    whole = SimpleNamespace(complete=True)
    latest = {"problem": "", "unanswered": []}
    assert _status({"latest": latest}, whole) == "done"
    latest["unanswered"] = ["question 2"]
    assert _status({"latest": latest}, whole).startswith("done, but no cell answers question 2")


def test_a_second_run_grades_nothing_and_changes_nothing(graded):
    before = hashes(graded.course)
    count = len(USUAL)
    assert f"{count} submissions, {count} of them graded already" in graded.grade()
    now = hashes(graded.course)
    assert {n for n in now.keys() | before if now.get(n) != before.get(n)} <= {"gradebook.db.lock"}


def test_a_failed_later_file_keeps_the_earlier_marks_and_a_good_one_replaces_only_these(graded):
    book = graded.book()
    graded.hand_in("noisy", f"{NAME}.ipynb", json.dumps(graded.blank)[:1000])
    graded.grade()
    row = graded.rows["noisy"]
    assert row["status"].startswith("not graded: the file is damaged")
    assert "the marks are those of an earlier file" in row["status"]
    assert row["total"] == "12"
    assert graded.book() == book
    graded.hand_in("noisy", f"{NAME}.ipynb", graded.solved("1"))
    graded.grade()
    row, now = graded.rows["noisy"], graded.book()
    assert (row["total"], row["status"]) == ("10", "done")
    assert {student for student in book if book[student] != now[student]} == {"noisy"}


def test_a_mark_by_hand_completes_the_grade_and_reaches_the_feedback(graded):
    with Gradebook(f"sqlite:///{graded.course / 'gradebook.db'}") as book:
        for cell, points, extra in (("q1-answer", 3, None), ("ex5a-check", 1.5, 0.5)):
            grade = book.find_grade(cell, NAME, NAME, "answers")
            grade.manual_score, grade.extra_credit, grade.needs_manual_grade = points, extra, False
        comment = book.find_comment("q1-answer", NAME, NAME, "answers")
        comment.manual_comment = "And what would make it faster?"
        book.db.commit()
    graded.grade()
    row = graded.rows["answers"]
    assert (row["question 1"], row["exercise 5"], row["total"]) == ("3", "2", "51")
    assert row["status"] == "done"
    assert "And what would make it faster?" in graded.feedback("answers")
    # The marks stand as long as answer and code say what they said.
    same = "Zeros are stored like other numbers."
    for solved, answer, *points, status in (
        ("12", same, "2", "3", "done"),
        ("125", f"{same} Or not.", "", "", "needs marking"),
    ):
        graded.hand_in("answers", "my lab (1).ipynb", graded.solved(solved, q1_answer=answer))
        graded.grade()
        row = graded.rows["answers"]
        assert row["exercise 3"] == "0"
        assert [row["exercise 5"], row["question 1"], row["status"]] == [*points, status]
    assert "Not marked yet" in graded.feedback("answers")


def test_what_grading_does_not_use_may_change(graded, monkeypatch):
    course = Course(graded.course)
    known, read, parse = _version(course), Path.read_bytes, ast.parse
    look = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: look.append(path.name) or read(path))
    assert _version(course) == known
    assert {"masks.py", "weights.py"} <= set(look)
    assert not {"figures.py", "explorer.py", "comparison.py"} & set(look)
    monkeypatch.setattr(Path, "read_bytes", lambda path: b'"""Other words."""\n' + read(path))
    assert _version(course) == known
    monkeypatch.setattr(ast, "parse", lambda code: parse(code + b"\nx = 1"))
    assert _version(course) != known


def test_what_nbgrader_fails_to_take_leaves_the_gradebook_as_it_was(graded, monkeypatch):
    course, released = Course(graded.course), parts(course_file(graded.course, "release"))
    nothing = {part.name: Mark("wrong", 0, "") for part in released if part.kind == "check"}
    autograde = course._api.autograde

    def fail_at_the_end(*arguments, **options):
        assert autograde(*arguments, **options)["success"]
        return {"success": False, "error": "the disk is on fire"}

    monkeypatch.setattr(course._api, "autograde", fail_at_the_end)
    book, files = graded.book(), {k: hashes(graded.course / k) for k in ("submitted", "autograded")}
    for student in ("perfect", "newcomer"):
        with pytest.raises(RuntimeError, match="could not autograde: the disk is on fire"):
            course.record(student, restore(graded.blank, released), nothing)
    assert graded.book() == book
    assert {k: hashes(graded.course / k) for k in files} == files
    assert course.standing("newcomer") is None


def test_one_student_whose_marks_cannot_be_recorded_does_not_stop_the_class(
    graded, monkeypatch, tmp_path
):
    def refuse(*_arguments):
        raise RuntimeError("nbgrader could not autograde: \x1b[2J")

    course, records = Course(graded.course), Records(tmp_path)
    monkeypatch.setattr(course, "record", refuse)
    one = Submission("ada", "", "Ada", json.dumps(graded.blank).encode(), "ada.ipynb", None, ())
    going = _Class(course, records, "1", Limits(), False)
    going._finish(one, asdict(Result()), "", total=1)
    latest = records.read("ada")["latest"]
    assert latest["problem"] == (
        "its marks could not be recorded: nbgrader could not autograde: ?[2J"
    )
    assert not records.known("ada", _hash(one), "1")  # so that the next run tries again


def test_one_missing_notebook_costs_one_page(graded, capsys):
    course, records = Course(graded.course), Records(graded.course / "records")
    kept = course.folder / "autograded" / "untidy"
    away = kept.rename(course.folder / "away")
    pages = [course.page(student) for student in ("untidy", "perfect")]
    before = [page.read_bytes() for page in pages]
    try:
        for page in pages:
            page.unlink()
        tell(course, records, lambda: None)
        assert capsys.readouterr().out.startswith("untidy: no feedback page, since ")
        assert [page.exists() for page in pages] == [False, True]
    finally:
        away.rename(kept)
    tell(course, records, lambda: None)
    assert [page.read_bytes() for page in pages] == before


def test_the_platform_gets_back_its_own_list_and_all_pages(graded, tmp_path):
    course, records = Course(graded.course), Records(graded.course / "records")
    path, upload = tmp_path / "class.csv", graded.course / "upload"
    listed = "Identifier,Full name,Grade\n1,perfect,{}\n2,corrupt,5\n3,=Nobody,\n"
    path.write_text(listed.format(""))
    write_grades(course, records, ClassList(path))
    nobody, blank = graded.rows["'=Nobody"], graded.rows["blank"]
    assert (nobody["number"], nobody["status"]) == ("3", "nothing handed in")
    assert set(nobody.values()) == {"3", "'=Nobody", "nothing handed in", ""}
    assert blank["remarks"].endswith("blank is not in the class list")
    assert (upload / "class.csv").read_text() == listed.format(graded.rows["perfect"]["total"])
    pages = {f"{graded.rows[name]['student']}/feedback.html" for name in GRADED}
    with zipfile.ZipFile(upload / "feedback.zip") as archive:
        assert set(archive.namelist()) == pages
        assert archive.read("perfect/feedback.html") == course.page("perfect").read_bytes()
    path.write_text("Identifier,Full name,Grade\n3,Nobody,\n")
    _, error = command(graded.submissions, "--course", graded.course, "--class", path)
    assert f"CLASS={path} has nobody of {graded.submissions}: give the list of this" in error
    write_grades(course, records)


def test_what_nbgrader_refuses_is_told_in_its_words(tmp_path):
    notebook = nbformat.read(SOURCE, as_version=4)
    cell_named(notebook, "setup").source += "\n### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS"
    nbformat.write(notebook, tmp_path / "odd.ipynb")
    with pytest.raises(RuntimeError, match="Hidden test region detected in a non-grade cell"):
        Course(tmp_path / "course").prepare(tmp_path / "odd.ipynb")


def with_one_more_check(notebook):
    more = copy.deepcopy(cell_named(notebook, "ex1-check"))
    more.id = more.metadata.nbgrader.grade_id = "ex1c-check"
    notebook.cells.append(more)


def without_a_cell(notebook):
    notebook.cells.remove(cell_named(notebook, "ex1-hidden"))


def with_a_check_that_is_not_graded(notebook):
    cell = cell_named(notebook, "ex1-check")
    cell.metadata.nbgrader.grade, cell.metadata.nbgrader.points = False, 0


CHANGES = {
    "ex1c-check": with_one_more_check,
    "ex1-hidden": without_a_cell,
    "ex1-check": with_a_check_that_is_not_graded,
}


def test_cells_cannot_come_or_go_once_there_are_grades_but_in_a_new_course(
    graded, tmp_path, monkeypatch
):
    before, together = hashes(graded.course), nbformat.read(SOURCE, as_version=4)
    for name, change in CHANGES.items():
        notebook = nbformat.read(SOURCE, as_version=4)
        change(notebook)
        nbformat.write(notebook, tmp_path / "changed.ipynb")
        said = rf"other cells than before \({name}\), and .* holds"
        with pytest.raises(RuntimeError, match=said):
            Course(graded.course).prepare(tmp_path / "changed.ipynb")
        change(together)
    assert hashes(graded.course) == before
    nbformat.write(together, tmp_path / "changed.ipynb")
    monkeypatch.setitem(settings().points, "exercise 1", {"ex1c-check": 6})
    Course(tmp_path / "next term").prepare(tmp_path / "changed.ipynb")


def test_without_a_sandbox_it_must_be_said_out_loud(graded, tmp_path, monkeypatch):
    (tmp_path / "class").mkdir()
    nbformat.write(graded.solved("15"), tmp_path / "class" / "jdoe.ipynb")
    arguments = tmp_path / "class", "--course", tmp_path / "course"
    monkeypatch.setenv("PATH", "")
    _, refused = command(*arguments)
    assert "bubblewrap, which is not installed" in refused
    assert "UNSAFE=1" in refused
    assert not (tmp_path / "course").exists()
    said, _ = command(*arguments, "--unsafe")
    assert "WARNING: UNSAFE=1" in said
    assert grades(tmp_path / "course")["jdoe"]["total"] == "20"


def test_two_programs_cannot_grade_at_once(tmp_path):
    with only_writer(tmp_path / "gradebook.db", doing="grading"):
        _, error = command(SOURCE, "--course", tmp_path)
    assert "Another program is grading" in error
    assert not (tmp_path / "gradebook.db").exists()


STOPPED = "\nStopped. What was graded is kept; the same command goes on from here."


def test_the_real_command_when_interrupted_goes_on_where_it_was(graded, tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.ipynb").write_text("damaged")
    nbformat.write(graded.solved("5"), tmp_path / "class" / "bob.ipynb")
    arguments = tmp_path / "class", "--course", tmp_path / "course", "--jobs", "1"
    with subprocess.Popen(
        [sys.executable, "-m", "classroom.grade", "--as-root", *arguments], cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as going:  # fmt: skip
        assert any(line.startswith("[1/2]") for line in iter(going.stdout.readline, ""))
        os.killpg(going.pid, signal.SIGINT)  # as a terminal does
        _, error = going.communicate(timeout=600)
    assert going.returncode == 1
    assert error == f"{STOPPED}\n"
    assert not (tmp_path / "course" / "grades.csv").exists()
    said, _ = command(*arguments)
    assert "2 submissions, 1 of them graded already" in said
    assert grades(tmp_path / "course")["bob"]["total"] == "10"


def test_an_interrupt_while_a_process_is_copied_is_not_lost(tmp_path):
    """In a hook that loses all errors; the others are no notebooks, so that it takes no time."""
    copies = []

    def press():
        copies.append(1)
        if len(copies) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    for student in ("ada", "bob", "cyd"):
        (tmp_path / f"{student}.ipynb").write_text("damaged")
    arguments = tmp_path, "--course", f"{tmp_path} course", "--jobs", "1"
    os.register_at_fork(after_in_parent=press)
    assert command(*arguments)[1] == STOPPED
    assert len(copies) == 2
    said, error = command(*arguments)
    assert re.search("3 submissions, [12] of them graded already", said)
    assert not error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere"),
        ([SOURCE, "--limits", "{"], "give an object in JSON with some of start, cell, call"),
        ([SOURCE, "--limits", '{"cell": "60"}'], "all positive numbers"),
        ([SOURCE, "--limits", '{"cell": 0}'], "all positive numbers"),
        ([SOURCE, "--limits", "[60]"], "all positive numbers"),
        ([SOURCE, "--limits", '{"memory": 4e9}'], "those of bytes and processes whole ones"),
        ([SOURCE, "--class", "nowhere"], "CLASS=nowhere is no file: give the list that you"),
        ([SOURCE, "--again", "nobody"], "--again nobody: nobody is called so in"),
        (
            [SOURCE, "--course", PROJECT / "LICENSE/x"],
            "is not a folder: choose another with COURSE=...",
        ),
    ],
)
def test_bad_arguments_end_in_a_sentence(arguments, sentence, tmp_path):
    assert sentence in command("--course", tmp_path / "course", *arguments)[1]


def test_limits_are_those_given_and_else_the_usual():
    assert _limits('{"cell": 90}') == Limits(cell=90)


@pytest.mark.parametrize("name", ["gradebook.db", "records/lab2_pruning.json"])
def test_a_damaged_course_is_named_and_left_as_it_is(name, tmp_path):
    damaged = tmp_path / "course" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{" * 5000)
    said = f"{damaged} is damaged: bring it back from your backup"
    assert said in command(SOURCE, "--course", tmp_path / "course")[1]
    assert damaged.read_text() == "{" * 5000


@pytest.mark.parametrize(("submissions", "course"), [("course/submitted", "course"), ("a", "a/b")])
def test_nothing_is_written_where_submissions_lie(submissions, course, tmp_path):
    only = tmp_path / submissions / "ada" / f"{NAME}.ipynb"
    only.parent.mkdir(parents=True)
    only.write_bytes(SOURCE.read_bytes())
    before = hashes(tmp_path)
    _, error = command(tmp_path / submissions, "--course", tmp_path / course)
    assert "lie one in the other" in error
    assert hashes(tmp_path) == before
