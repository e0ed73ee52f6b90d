"""A class is graded by the real command, with real nbgrader, in the real sandbox."""

import copy
import csv
import hashlib
import html
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from nbconvert import HTMLExporter
from submissions import Desk, hand_in

from classroom import sandbox
from classroom.assignment import NAME, PROJECT, SOURCE, parts
from classroom.collect import Submission
from classroom.examine import Mark, Result
from classroom.grade import _Class, _hash
from classroom.gradebook import Course
from classroom.interrupt import Interrupts
from classroom.records import Records, tell
from classroom.restore import restore
from classroom.sandbox import Limits
from labutils.base.writing import only_writer

pytestmark = pytest.mark.skipif(
    bool(sandbox.available()), reason=sandbox.available() or "there is one"
)
LIMITS = {"cell": 30, "call": 15, "total": 400}
EVERY_MARK = """
    select student_id, base_cell.name, grade.auto_score, grade.manual_score from grade
    join submitted_notebook on grade.notebook_id = submitted_notebook.id
    join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id
    join base_cell on grade.cell_id = base_cell.id order by 1, 2
"""
EXERCISES = {f"exercise {n}": p for n, p in enumerate((10, 12, 12, 12, 10, 14, 12, 10), 1)}


def run(
    *arguments: object, timeout: float = 1500, **environment: str
) -> subprocess.CompletedProcess:
    """Call `classroom.grade` as `make grade` does."""
    return subprocess.run(
        [sys.executable, "-m", "classroom.grade", *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def grades(course: Path) -> dict[str, dict[str, str]]:
    """Return grades.csv by the name of the student."""
    with (course / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def hashes(folder: Path) -> dict[str, str]:
    """Return what stands for the content of every file in a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def lesson_files() -> dict[str, str]:
    """Return what stands for every file of the project that a submission could have changed."""
    kept = ("labutils", "data", "models", "notebooks")
    found = {f"{name}/{path}": h for name in kept for path, h in hashes(PROJECT / name).items()}
    return {path: h for path, h in found.items() if "__pycache__" not in path}


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    course = Course(tmp_path_factory.mktemp("release"))
    course.prepare()
    return Desk(course.folder / "release" / NAME / f"{NAME}.ipynb")


class Class:
    """A class graded once, with all that was there before and after."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self.submissions, self.course = folder / "handed in", folder / "the course"
        hand_in(self.submissions, desk, self.course)
        self.before = {**hashes(self.submissions), **lesson_files()}
        begun = time.monotonic()
        self.done = run(self.submissions, "--course", self.course, "--jobs", 2,
                        "--limits", json.dumps(LIMITS))  # fmt: skip
        self.seconds = time.monotonic() - begun
        self.after = {**hashes(self.submissions), **lesson_files()}
        self.rows = grades(self.course) if self.done.returncode == 0 else {}

    def again(self) -> subprocess.CompletedProcess:
        return run(self.submissions, "--course", self.course, "--limits", json.dumps(LIMITS))

    def feedback(self, student: str) -> str:
        page = self.course / "feedback" / student / NAME / f"{NAME}.html"
        return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))

    def book(self) -> dict[str, list]:
        """Return every mark in the gradebook by student."""
        with sqlite3.connect(self.course / "gradebook.db") as book:
            rows = book.execute(EVERY_MARK).fetchall()
        return {student: [row for row in rows if row[0] == student] for student, *_ in rows}


@pytest.fixture(scope="session")
def graded(tmp_path_factory: pytest.TempPathFactory, desk: Desk) -> Class:
    found = Class(tmp_path_factory.mktemp("class"), desk)
    assert found.done.returncode == 0, found.done.stdout + found.done.stderr
    return found


ALL = tuple(EXERCISES)
SOLVED = [
    "perfect", "warns", "loops in a cell", "cannot be interrupted", "sys.exit", "os._exit",
    "fills memory", "floods", "forks", "copied", "stripped", "strips asserts", "renamed", "answers",
    "learns by heart", "writes HTML", "other editor",
]  # fmt: skip
WITHOUT_2 = [
    "loops in a function", "sys.exit in a function", "os._exit in a function", "floods answers",
    "always equal", "borrows",
]  # fmt: skip
POINTS = {
    **dict.fromkeys(SOLVED, ALL),
    **dict.fromkeys(WITHOUT_2, tuple(name for name in ALL if name != "exercise 2")),
    "blank": (),
    "half": ALL[:4],
    "half characters": ALL[1:],
    "edited checks": ALL[:2],
    "deleted checks": ALL[:2],
    "patches torch": ALL[:1],
    "patches labutils": ALL[:1],
    "looks around": ALL[1:2],
    "calls home": ALL[1:2],
    "vandal": ALL[1:2],
    "forges answers": ALL[:1],
    "network only": ALL[7:],
    "hands in a shipped network": (),
    "cleared outputs": (),
}
NOT_GRADED = {
    "corrupt": "the file is damaged (no JSON from line",
    "not a notebook": "the file is no notebook",
    "empty": "is empty",
    "other assignment": "none of this assignment's cells",
    "report only": "no notebook (.ipynb)",
}
REMARKS = {
    "loops in a cell": "cell 6 ran longer than 30 s; left out",
    "cannot be interrupted": "cell 6 ran longer than 30 s; left out",
    "sys.exit": "cell 6 calls sys.exit",
    "os._exit": "cell 6 ended its process; left out",
    "fills memory": "GB of memory; left out",
    "forks": "cell 6 started more than 8 processes; left out",
    "edited checks": "edited, so that the original was used: ex1-check",
    "deleted checks": "missing, and put back: ex1-check",
    "copied": "ex2-solution is there twice",
    "stripped": "recognised without their metadata",
    "strips asserts": "ast_transformers",
    "patches torch": "changes torch.equal",
    "patches labutils": "calls setattr",
    "calls home": "imports socket (the network)",
    "vandal": "imports sqlite3 (the gradebook)",
    "borrows": "ex2-solution calls magnitude_mask of labutils",
    "hands in a shipped network": "the network is models/smallest/simple_cnn_99.0.pth",
    "learns by heart": "of the test images: was it trained on the former?",
    "network only": "a network came without the code that made it",
    "cleared outputs": "no network came with the notebook; it was made anew",
    "renamed": "my lab (1).ipynb",
    "perfect": "its network is just that of",
    "half": "its code is just that of",
}
HIDDEN = [part.name for part in parts() if part.name.endswith("-hidden")]
TOLD = {
    "blank": ("Exercise 2, magnitude_mask: not attempted",),
    "loops in a function": ("magnitude_mask: raised", "the call ran longer than 15 s"),
    "sys.exit in a function": ("magnitude_mask: raised", "SystemExit"),
    "os._exit in a function": ("magnitude_mask: raised", "the call ended its process"),
    "floods answers": ("magnitude_mask: raised", "answered with more than 67 MB"),
    "half characters": ("sparsity_and_bytes: raised", "RuntimeError: ? half"),
    "always equal": ("magnitude_mask: wrong", "an object of type Yes"),
    "patches torch": ("magnitude_mask: wrong", "the signs count"),
    "patches labutils": ("magnitude_mask: wrong", "the signs count"),
    "looks around": ("sparsity_and_bytes: raised", "RuntimeError: []"),
    "calls home": ("sparsity_and_bytes: raised", "Network is unreachable"),
    "vandal": ("sparsity_and_bytes: raised", "RuntimeError: []"),
    "forges answers": ("magnitude_mask: raised", "wrote into the channel of the grading"),
    "borrows": ("magnitude_mask of labutils is there to go on with",),
    "hands in a shipped network": ("This network came with labutils",),
    "cleared outputs": ("223,363 bytes", "0 of 10 points"),
    "perfect": ("18,743 bytes", "On the 10,000 test images it is right for"),
}


def test_one_command_grades_every_submission(graded: Class) -> None:
    assert graded.rows.keys() == POINTS.keys() | NOT_GRADED.keys()
    assert len(graded.rows) >= 25


@pytest.mark.parametrize("student", POINTS)
def test_every_exercise_gets_just_its_points(graded: Class, student: str) -> None:
    row = graded.rows[student]
    expected = {name: f"{p if name in POINTS[student] else 0:g}" for name, p in EXERCISES.items()}
    assert {name: row[name] for name in EXERCISES} == expected
    assert float(row["total"]) == sum(EXERCISES[name] for name in POINTS[student])


@pytest.mark.parametrize("student", POINTS)
def test_the_status_is_done_unless_an_answer_waits_for_a_grader(
    graded: Class, student: str
) -> None:
    row = graded.rows[student]
    assert row["status"] == ("needs marking" if student == "answers" else "done")
    assert row["question 1"] == ("" if student == "answers" else "0")


@pytest.mark.parametrize("student", NOT_GRADED)
def test_what_cannot_be_graded_has_a_reason_and_no_points(graded: Class, student: str) -> None:
    row = graded.rows[student]
    assert row["status"].startswith("not graded: ")
    assert NOT_GRADED[student] in row["status"]
    assert {row[name] for name in (*EXERCISES, "question 1", "total")} == {""}
    assert row["student"] not in graded.book()


@pytest.mark.parametrize("student", REMARKS)
def test_what_was_odd_is_remarked(graded: Class, student: str) -> None:
    assert REMARKS[student] in graded.rows[student]["remarks"]


@pytest.mark.parametrize("student", TOLD)
def test_feedback_explains_what_failed(graded: Class, student: str) -> None:
    page = graded.feedback(graded.rows[student]["student"])
    assert all(text in page for text in TOLD[student])


def test_no_page_obeys_what_a_student_wrote(graded: Class) -> None:
    feedback = graded.course / "feedback" / "writes-HTML" / NAME / f"{NAME}.html"
    formgrader = graded.course / "autograded" / "writes-HTML" / NAME / f"{NAME}.ipynb"
    shown, _ = HTMLExporter(template_name="classic").from_filename(formgrader)
    for page in (feedback.read_text(), shown):
        assert page.count("window.hacked") == 6  # it is there to be read
        assert not re.search(
            r"<(script|img)[^>]*>?window.hacked|<[^>]+onerror|href=.javascript", page
        )


def test_good_work_has_no_remark_but_that_it_is_alike(graded: Class) -> None:
    remarks = graded.rows["perfect"]["remarks"].split("; ")
    assert all(remark.startswith("its ") for remark in remarks)
    assert graded.rows["blank"]["remarks"] == ""


def test_feedback_shows_no_hidden_test_and_no_marking_scheme(graded: Class) -> None:
    cells = nbformat.read(SOURCE, as_version=4).cells
    secret = [
        line.strip()
        for cell in cells
        for block in re.findall(r"(?s)### BEGIN HIDDEN TESTS\n(.*?)### END", cell.source)
        for line in block.splitlines()
        if len(line.strip()) > 25
    ]
    scheme = [line for cell in cells if cell.id.endswith("-answer") for line in
              cell.source.splitlines() if len(line) > 25]  # fmt: skip
    given = "".join(part.source for part in parts() if part.name not in HIDDEN)
    secret = [line for line in secret if line not in given]
    assert len(secret) > 20
    assert len(scheme) > 5
    for student in (row["student"] for name, row in graded.rows.items() if name in POINTS):
        page = graded.feedback(student)
        assert not [line for line in secret + scheme if line in page]


def test_graders_see_the_marking_scheme(graded: Class) -> None:
    path = graded.course / "autograded" / "answers" / NAME / f"{NAME}.ipynb"
    assert "**Marking scheme.**" in path.read_text()


def test_nothing_outside_the_sandboxes_changed(graded: Class) -> None:
    assert graded.after == graded.before


def test_a_second_run_grades_nothing_and_changes_nothing(graded: Class) -> None:
    kept = {n: h for n, h in hashes(graded.course).items() if not n.endswith(".lock")}
    done = graded.again()
    count = len(graded.rows)
    assert f"{count} submissions, {count} of them graded already" in done.stdout
    assert {n: h for n, h in hashes(graded.course).items() if not n.endswith(".lock")} == kept


def test_a_failed_later_file_keeps_the_earlier_marks_and_all_other_students(
    graded: Class,
) -> None:
    book = graded.book()
    path = graded.submissions / "warns" / f"{NAME}.ipynb"
    whole = path.read_text()
    try:
        path.write_text(whole[:1000])
        assert graded.again().returncode == 0
        row = grades(graded.course)["warns"]
        assert row["status"].startswith("not graded: the file is damaged")
        assert "the marks are those of an earlier file" in row["status"]
        assert row["total"] == "92"
        assert graded.book() == book
    finally:
        path.write_text(whole)
    assert graded.again().returncode == 0
    assert grades(graded.course)["warns"]["status"] == "done"
    assert graded.book() == book


def test_only_the_student_who_hands_in_again_changes(graded: Class, desk: Desk) -> None:
    book = graded.book()
    nbformat.write(desk.solved("ex1"), graded.submissions / "blank" / f"{NAME}.ipynb")
    assert graded.again().returncode == 0
    now = graded.book()
    assert {s for s in book if book[s] != now[s]} == {"blank"}
    assert grades(graded.course)["blank"]["total"] == "10"


def test_a_mark_by_hand_completes_the_grade_and_reaches_the_feedback(graded: Class) -> None:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded.course / 'gradebook.db'}") as book:
        grade = book.find_grade("q1-answer", NAME, NAME, "answers")
        grade.manual_score, grade.needs_manual_grade = 3, False
        comment = book.find_comment("q1-answer", NAME, NAME, "answers")
        comment.manual_comment = "And what would make it faster?"
        book.db.commit()
    assert graded.again().returncode == 0
    row = grades(graded.course)["answers"]
    assert (row["question 1"], row["total"], row["status"]) == ("3", "95", "done")
    assert "And what would make it faster?" in graded.feedback("answers")


def test_what_nbgrader_fails_to_take_leaves_the_gradebook_as_it_was(
    graded: Class, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, released = (
        Course(graded.course),
        parts(graded.course / "release" / NAME / f"{NAME}.ipynb"),
    )
    nothing = {part.name: Mark("wrong", 0, "") for part in released if part.kind == "check"}
    autograde = course._api.autograde

    def fail_at_the_end(*arguments: object, **options: bool) -> dict:
        assert autograde(*arguments, **options)["success"]
        return {"success": False, "error": "the disk is on fire"}

    monkeypatch.setattr(course._api, "autograde", fail_at_the_end)
    book, files = graded.book(), {k: hashes(graded.course / k) for k in ("submitted", "autograded")}
    for student in ("perfect", "newcomer"):
        with pytest.raises(RuntimeError, match="could not autograde: the disk is on fire"):
            course.record(student, restore(desk.blank, released), nothing)
    assert graded.book() == book
    assert {k: hashes(graded.course / k) for k in files} == files
    assert course.standing("newcomer") is None


def test_one_student_whose_marks_cannot_be_recorded_does_not_stop_the_class(
    graded: Class, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_arguments: object) -> None:
        raise RuntimeError("nbgrader could not autograde: \x1b[2J")

    course, records = Course(graded.course), Records(tmp_path)
    monkeypatch.setattr(course, "record", refuse)
    content = (graded.submissions / "perfect" / f"{NAME}.ipynb").read_bytes()
    one = Submission("ada", "Ada", content, "ada.ipynb", None, ())
    going = _Class(course, records, "1", Limits(), False)
    (tmp_path / ".ada.result").write_text(json.dumps(asdict(Result())))
    going._finish(one, SimpleNamespace(exitcode=0), late=False, total=1)
    latest = records.read("ada")["latest"]
    assert latest["problem"] == (
        "its marks could not be recorded: nbgrader could not autograde: ?[2J"
    )
    assert not records.known("ada", _hash(one), "1")  # so that the next run tries again


def test_one_missing_notebook_costs_one_page(
    graded: Class, capsys: pytest.CaptureFixture[str]
) -> None:
    course, records = Course(graded.course), Records(graded.course / "records")
    kept = course.folder / "autograded" / "half"
    away = kept.rename(course.folder / "away")
    pages = [course.page(student) for student in ("half", "perfect")]
    before = [page.read_bytes() for page in pages]
    try:
        for page in pages:
            page.unlink()
        tell(course, records, Interrupts())
        assert capsys.readouterr().out.startswith("half: no feedback page, since ")
        assert [page.exists() for page in pages] == [False, True]
    finally:
        away.rename(kept)
    tell(course, records, Interrupts())
    assert [page.read_bytes() for page in pages] == before


def with_a_cell_more(notebook: nbformat.NotebookNode) -> None:
    more = copy.deepcopy(cell_named(notebook, "ex1-check"))
    more.id = more.metadata.nbgrader.grade_id = "ex1c-check"
    notebook.cells.append(more)


def with_a_text_more(notebook: nbformat.NotebookNode) -> None:
    more = copy.deepcopy(cell_named(notebook, "ex1"))
    more.id = more.metadata.nbgrader.grade_id = "ex1c-check"
    notebook.cells.append(more)


def without_a_cell(notebook: nbformat.NotebookNode) -> None:
    notebook.cells.remove(cell_named(notebook, "ex1-hidden"))


def with_a_check_that_is_not_graded(notebook: nbformat.NotebookNode) -> None:
    cell = cell_named(notebook, "ex1-check")
    cell.metadata.nbgrader.grade, cell.metadata.nbgrader.points = False, 0


def cell_named(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def test_what_nbgrader_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    notebook = nbformat.read(SOURCE, as_version=4)
    cell_named(notebook, "ex1-hidden").metadata.nbgrader.grade = False
    nbformat.write(notebook, tmp_path / "odd.ipynb")
    with pytest.raises(RuntimeError, match="Hidden test region detected in a non-grade cell"):
        Course(tmp_path / "course").prepare(tmp_path / "odd.ipynb")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (with_a_cell_more, "ex1c-check"),
        (with_a_text_more, "ex1c-check"),
        (without_a_cell, "ex1-hidden"),
        (with_a_check_that_is_not_graded, "ex1-check"),
    ],
)
def test_cells_cannot_come_or_go_once_there_are_grades(
    graded: Class, tmp_path: Path, change: Callable, name: str
) -> None:
    notebook = nbformat.read(SOURCE, as_version=4)
    change(notebook)
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    before = hashes(graded.course)
    with pytest.raises(RuntimeError, match=rf"other cells than before \({name}\), and .* holds"):
        Course(graded.course).prepare(tmp_path / "changed.ipynb")
    assert hashes(graded.course) == before
    Course(tmp_path / "next term").prepare(tmp_path / "changed.ipynb")


def test_without_a_sandbox_it_must_be_said_out_loud(desk: Desk, tmp_path: Path) -> None:
    only = tmp_path / "class" / "jdoe"
    only.mkdir(parents=True)
    nbformat.write(desk.solved("ex1", "ex5"), only / f"{NAME}.ipynb")
    refused = run(only.parent, "--course", tmp_path / "course", PATH="")
    assert refused.returncode == 1
    assert "bubblewrap, which is not installed" in refused.stderr
    assert "UNSAFE=1" in refused.stderr
    assert not (tmp_path / "course").exists()
    done = run(only.parent, "--course", tmp_path / "course", "--unsafe")
    assert "WARNING: UNSAFE=1" in done.stdout
    assert grades(tmp_path / "course")["jdoe"]["total"] == "20"


def test_two_programs_cannot_grade_at_once(tmp_path: Path) -> None:
    with only_writer(tmp_path / "gradebook.db", doing="grading"):
        second = run(SOURCE, "--course", tmp_path)
    assert second.returncode == 1
    assert "Another program is grading" in second.stderr
    assert not (tmp_path / "gradebook.db").exists()


# Ctrl-C while the process is copied for the second student, in a hook that loses all errors.
WHILE_COPYING = """
import os, signal
from classroom import grade
copies = []
def press():
    copies.append(1)
    if len(copies) == 2:
        os.kill(os.getpid(), signal.SIGINT)
os.register_at_fork(after_in_parent=press)
grade.main()
"""


@pytest.mark.parametrize("how", [["-m", "classroom.grade"], ["-c", WHILE_COPYING]])
def test_an_interrupted_run_goes_on_where_it_was(
    how: list[str], desk: Desk, tmp_path: Path
) -> None:
    for student in ("ada", "bob"):
        (tmp_path / "class" / student).mkdir(parents=True)
        nbformat.write(desk.solved("ex5"), tmp_path / "class" / student / f"{NAME}.ipynb")
    arguments = [tmp_path / "class", "--course", tmp_path / "course", "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, *how, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=PROJECT, env=environment, start_new_session=True,
    ) as going:  # fmt: skip
        assert any(line.startswith("[1/2]") for line in iter(going.stdout.readline, ""))
        if "-m" in how:
            os.killpg(going.pid, signal.SIGINT)  # as a terminal does
        _, error = going.communicate(timeout=60)
    assert going.returncode == 1
    assert error == "\nStopped. What was graded is kept; the same command goes on from here.\n"
    done = run(*arguments)
    assert "2 submissions, 1 of them graded already" in done.stdout
    assert {row["total"] for row in grades(tmp_path / "course").values()} == {"10"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere"),
        ([SOURCE, "--limits", "{"], "give an object in JSON with some of start, cell, call"),
        ([SOURCE, "--limits", '{"cell": "60"}'], "all positive numbers"),
        ([SOURCE, "--limits", '{"cell": 0}'], "all positive numbers"),
        ([SOURCE, "--limits", "[60]"], "all positive numbers"),
        ([SOURCE, "--again", "nobody"], "--again nobody: nobody is called so in"),
    ],
)
def test_bad_arguments_end_in_a_sentence(arguments: list, sentence: str, tmp_path: Path) -> None:
    done = run(*arguments, "--course", tmp_path / "course")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gradebook.db", "gradebook.db is damaged: bring it back from your backup"),
        ("records/lab2_pruning.json", "lab2_pruning.json is damaged: bring it back"),
    ],
)
def test_a_damaged_course_is_named_and_left_as_it_is(
    name: str, sentence: str, tmp_path: Path
) -> None:
    damaged = tmp_path / "course" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{" * 5000)
    done = run(SOURCE, "--course", tmp_path / "course")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert damaged.read_text() == "{" * 5000


def test_a_course_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(SOURCE, "--course", tmp_path / "file" / "course")
    assert done.returncode == 1
    assert "cannot be made (Not a directory): choose another with COURSE=" in done.stderr


@pytest.mark.parametrize(("submissions", "course"), [("course/submitted", "course"), ("a", "a/b")])
def test_nothing_is_written_where_submissions_lie(
    submissions: str, course: str, tmp_path: Path
) -> None:
    only = tmp_path / submissions / "ada" / f"{NAME}.ipynb"
    only.parent.mkdir(parents=True)
    only.write_bytes(SOURCE.read_bytes())
    done = run(tmp_path / submissions, "--course", tmp_path / course)
    assert done.returncode == 1
    assert "lie one in the other" in done.stderr
    assert hashes(tmp_path) == {str(only.relative_to(tmp_path)): hashes(only.parent)[only.name]}
