"""What does nbgrader keep: the student's version, the marks, the feedback?

nbgrader makes the release, holds the gradebook, and lets a teacher mark answers by hand. It runs
no student's code here: it is given each check's outcome as that cell's output.
"""

import contextlib
import logging
import os
import re
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.preprocessors import (
    CheckCellMetadata,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)
from traitlets.config import Config

from classroom import harmless
from classroom.assignment import NAME, SOURCE, complete, course_file, exercise, parts, settings
from classroom.examine import Mark
from classroom.restore import OWN, Work

SCHEME = "marking-scheme"  # tag of a cell that only graders see

# Characters that a page shows of one cell and of a student's cells together. All of it is run and
# graded; but a page made of megabytes takes minutes, and nobody reads it.
SHOWN_OF_ONE, SHOWN = 10_000, 200_000

# For `make mark`: JupyterLab, started in the course folder, reads it.
FORMGRADER = """\
import os

c = get_config()
c.CourseDirectory.root = os.path.dirname(os.path.abspath(__file__))
c.CourseDirectory.course_id = "COURSE"
c.CourseDirectory.db_url = "sqlite:///" + os.path.join(c.CourseDirectory.root, "gradebook.db")
c.Exchange.root = os.path.join(c.CourseDirectory.root, "exchange")
"""


@dataclass(frozen=True)
class Standing:
    """What the gradebook holds for a student, by name of the cell."""

    points: dict[str, float | None]  # None where a mark by hand is missing
    comments: dict[str, str]  # that a grader wrote

    @property
    def complete(self) -> bool:
        """Whether nothing is left to mark by hand."""
        return None not in self.points.values()

    def by_exercise(self) -> dict[str, float | None]:
        """Return the points of each exercise and question; None where a mark is missing."""
        sums: dict[str, float | None] = {}
        for name, points in self.points.items():
            before = sums.get(exercise(name), 0.0)
            sums[exercise(name)] = None if points is None or before is None else before + points
        return sums


class Course:
    """A folder as nbgrader lays it out: source, release, submitted, autograded, feedback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.database = self.folder / "gradebook.db"
        self._url = f"sqlite:///{self.database}"
        self._api = NbGraderAPI(config=self._config())
        self._api.log.setLevel(logging.ERROR)

    def prepare(self, source: Path = SOURCE) -> None:
        """Take the assignment over into the course; make the students' version.

        A damaged or another assignment's gradebook is a ValueError; a RuntimeError, if there are
        grades and the assignment has other cells now, or if nbgrader refuses it.
        """
        self._refuse_damage()
        here = course_file(self.folder, "source")
        others = harmless.some(p.name for p in (self.folder / "source").glob("*") if p.name != NAME)
        if others:
            raise ValueError(f"{self.folder} is of {others}: say COURSE=... for {NAME}.")
        if self.database.exists() and here.exists():
            before, after = ({(p.name, p.kind) for p in parts(path)} for path in (here, source))
            self._refuse_other_cells({name for name, _ in before ^ after})
        content, released = complete(source), course_file(self.folder, "release")
        made = self.database.exists() and released.exists() and here.exists()
        if made and here.read_bytes() == content:
            return
        here.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "exchange").mkdir(exist_ok=True)
        (self.folder / "nbgrader_config.py").write_text(
            FORMGRADER.replace("COURSE", settings().handout)
        )
        released.unlink(missing_ok=True)  # so that what fails now is tried again
        here.write_bytes(content)
        self._do("generate_assignment", NAME, force=True, create=True)

    def record(self, student: str, work: Work, marks: dict[str, Mark]) -> None:
        """Put a student's marks into the gradebook, and no other student's; all or nothing.

        A notebook that nbgrader does not take is a RuntimeError.
        """
        notebook = self._marked(work, marks)
        target = course_file(self.folder, "submitted", student)
        marked = self.standing(student).points if target.exists() else {}
        before = _answers(self.marked(student)) if target.exists() else {}
        with self._undone_unless_done(student):
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, target)
            self._do("autograde", NAME, student, force=True, create=True)
            same = {title for title, own in _answers(notebook).items() if own == before.get(title)}
            done = {name for name, points in marked.items() if points is not None}
            self._confirm(student, {name for name in done if exercise(name) in same})

    def marked(self, student: str) -> NotebookNode:
        """Return a student's notebook as graders see it."""
        return nbformat.read(course_file(self.folder, "autograded", student), as_version=4)

    def page(self, student: str) -> Path:
        """Return where the student's feedback page lies, or will."""
        return course_file(self.folder, "feedback", student).with_suffix(".html")

    def standing(self, student: str) -> Standing | None:
        """Return a student's points, or None if there are none yet."""
        with Gradebook(self._url) as book:
            try:
                notebook = book.find_submission_notebook(NAME, NAME, student)
            except MissingEntry:
                return None
            points = {
                grade.cell.name: None if grade.needs_manual_grade else grade.score
                for grade in notebook.grades
            }
            said = {one.cell.name: one.manual_comment or "" for one in notebook.comments}
            return Standing(points, said)

    def _confirm(self, student: str, unchanged: set[str]) -> None:
        """Let the marks by hand of these cells stand: what they are about says what it said."""
        with Gradebook(self._url) as book:
            for grade in book.find_submission_notebook(NAME, NAME, student).grades:
                if grade.cell.name in unchanged:
                    grade.needs_manual_grade = False
            book.db.commit()

    @contextlib.contextmanager
    def _undone_unless_done(self, student: str) -> Iterator[None]:
        """Bring gradebook and files back to what they were if the block is not gone through."""
        own = [self.folder / kind / student for kind in ("submitted", "autograded")]
        files = [path for folder in own for path in folder.rglob("*") if path.is_file()]
        kept = {path: path.read_bytes() for path in files}
        with (
            contextlib.closing(sqlite3.connect(self.database)) as book,
            contextlib.closing(sqlite3.connect(":memory:")) as before,
        ):
            book.backup(before)
            try:
                yield
            except BaseException:
                before.backup(book)
                for folder in own:
                    shutil.rmtree(folder, ignore_errors=True)
                for path, content in kept.items():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                raise

    def _marked(self, work: Work, marks: dict[str, Mark]) -> NotebookNode:
        """Return the student's notebook, each check with its outcome for an output."""
        released = nbformat.read(course_file(self.folder, "release"), as_version=4)
        meta = {cell.metadata.nbgrader.grade_id: cell.metadata for cell in released.cells}
        schemes = {p.name: p.source for p in parts(course_file(self.folder, "source"))}
        cells, room = [], SHOWN
        for step in work.steps:
            cell = nbformat.from_dict({**step.cell, "metadata": {}})
            cell.pop("attachments", None)
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if step.part is None or step.part.kind in OWN:
                cell.source = harmless.shorter(cell.source, min(SHOWN_OF_ONE, room))
                room = max(0, room - len(cell.source))
                if cell.cell_type != "code":
                    cell.source = harmless.markdown(cell.source)
            cell.id = f"added-{len(cells)}"  # of its own, which copied cells have not
            if step.part:
                cell.metadata, cell.id = meta[step.part.name], step.part.name
                if step.part.kind == "check":
                    cell.outputs = _outputs(marks[step.part.name])
                if step.part.kind == "answer":
                    cells.append(_scheme(step.part.name, schemes[step.part.name]))
            cells.append(cell)
        return nbformat.v4.new_notebook(cells=cells, metadata=released.metadata)

    def _refuse_damage(self) -> None:
        """Raise where the gradebook is there, but not whole."""
        if not self.database.exists():
            return
        with (
            contextlib.suppress(sqlite3.DatabaseError),
            contextlib.closing(sqlite3.connect(self.database)) as book,
        ):
            if book.execute("pragma quick_check").fetchone() == ("ok",):
                return
        raise ValueError(
            f"{self.database} is damaged: bring it back from your backup, or grade into a new "
            "course folder (COURSE=...)."
        )

    def _refuse_other_cells(self, changed: set[str]) -> None:
        """Raise where cells came or went after grades were given, which nbgrader does not allow."""
        count = 0
        with contextlib.suppress(MissingEntry), Gradebook(self._url) as book:
            count = len(book.assignment_submissions(NAME))
        if changed and count:
            raise RuntimeError(
                f"The assignment has other cells than before ({', '.join(sorted(changed))}), and "
                f"{self.folder} holds grades already (submissions: {count}). Undo that, or grade "
                "into a new course folder (COURSE=...)."
            )

    def _do(self, action: str, *arguments: str, **options: bool) -> None:
        # nbgrader calls alembic by name: it lies beside this Python.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        with mock.patch.dict(os.environ, PATH=path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries nbgrader uses, about nbgrader
            answer = getattr(self._api, action)(*arguments, **options)
        if not answer["success"]:
            raise RuntimeError(f"nbgrader could not {action}: {_reason(answer)}")

    def _config(self) -> Config:
        config = Config()
        config.CourseDirectory.root = str(self.folder)
        config.CourseDirectory.course_id = settings().handout
        config.CourseDirectory.db_url = self._url
        config.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError"}
        config.Autograde.sanitize_preprocessors = [OverwriteKernelspec, OverwriteCells]
        config.Autograde.autograde_preprocessors = [SaveAutoGrades, CheckCellMetadata]
        return config


def _answers(notebook: NotebookNode) -> dict[str, list[str]]:
    """Return what a student wrote for each exercise and question."""
    found: dict[str, list[str]] = {}
    title = ""
    for cell in reversed(notebook.cells):  # what is graded stands below what it is about
        title = exercise(cell.id) or title
        if cell.metadata.get("nbgrader", {}).get("solution"):
            found.setdefault(title, []).append(cell.source)
    return found


def _outputs(mark: Mark) -> list[NotebookNode]:
    """Return what nbgrader reads a check's points from, and a student the reason."""
    if mark.outcome != "right" or mark.points == 0:
        text = mark.text or "no points for this one"
        title = mark.outcome.capitalize()
        return [new_output("error", ename=title, evalue=text, traceback=text.splitlines())]
    points = new_output("execute_result", {"text/plain": f"{mark.points:g}"}, execution_count=1)
    return [new_output("stream", name="stdout", text=mark.text), points]


def _scheme(name: str, source: str) -> NotebookNode:
    lines = [line for line in source.splitlines() if not line.startswith("### ")]
    cell = new_markdown_cell("> *Only graders see this.*\n\n" + "\n".join(lines))
    cell.metadata.tags, cell.id = [SCHEME], f"{name}-scheme"
    return cell


def _reason(answer: dict) -> str:
    """Return what nbgrader's log ends a traceback with, or else the last it says."""
    log, error = ((answer.get(key) or "").strip() for key in ("log", "error"))
    raised = re.findall(r"^ +[\w.]+(?:Error|Exception): (.+)$", log, re.MULTILINE)
    return (raised or error.splitlines() or log.splitlines() or ["it does not say why"])[-1][:500]
