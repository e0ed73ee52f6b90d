"""Grade a class: `make grade SUBMISSIONS=folder-or-zip`.

    python -m classroom.grade SUBMISSIONS [--class LIST [--column NAME]] [--course FOLDER]
                              [--jobs N] [--again STUDENT ...] [--limits JSON]
                              [--unsafe] [--as-root]

Writes into the course folder: grades.csv, a feedback page for each student, what the platform
takes back (`upload/`), and what nbgrader needs to mark the written answers. Run it again at any
time: what is graded stays graded, what changed is graded anew, and marks given by hand since are
in the new grades.csv.
"""

import argparse
import ast
import hashlib
import importlib
import json
import math
import os
import sys
from dataclasses import asdict
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

import torch

from classroom import sandbox
from classroom.apart import Copy
from classroom.assignment import NAME, PROJECT, parts, settings
from classroom.collect import Submission, collect
from classroom.examine import Mark, Result, course_file, examine
from classroom.gradebook import Course
from classroom.harmless import printable, some
from classroom.interrupt import Interrupts
from classroom.platforms import ClassList
from classroom.records import UPLOAD, Records, tell, write_grades
from classroom.restore import read, restore
from classroom.sandbox import Limits, digits
from labutils import checks
from labutils.base.writing import only_writer

# What one notebook can bring about. An OSError (a full disk) is nobody's: it ends the grading.
OF_ONE_NOTEBOOK = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
ROOMS = ("base", "fit", "cost", "prune", "checks")  # of labutils, what grading uses
SPARE = 180  # seconds an examination may take beyond what the student's code may
LOUD = "WARNING: UNSAFE=1: what students hand in runs with all that you may do on this machine."
ROOT = "you are root, so whatever found a way out of the sandbox could do all on this machine"


def main() -> None:
    """Read the command line and grade."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("submissions", type=Path, help="folder, or zip from the LMS")
    told.add_argument("--class", type=Path, dest="listed", help="the class, as the platform has it")
    told.add_argument("--column", default="", help="of that list, for the grades")
    told.add_argument("--course", type=Path, default=PROJECT / "grading", help="folder to keep")
    told.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    told.add_argument("--again", nargs="*", default=[], help="students to grade once more")
    told.add_argument("--unsafe", action="store_true", help="without a sandbox")
    told.add_argument("--as-root", action="store_true", help="even though you are root")
    told.add_argument("--limits", default="{}", help='other limits, as {"cell": 120} for seconds')
    given = told.parse_args()
    try:
        grade(
            given.submissions,
            given.course,
            jobs=max(1, given.jobs),
            again=set(given.again),
            unsafe=given.unsafe,
            as_root=given.as_root,
            limits=_limits(given.limits),
            class_list=ClassList(given.listed, given.column) if given.listed else None,
        )
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. What was graded is kept; the same command goes on from here.")


def grade(
    submissions: Path,
    folder: Path,
    *,
    jobs: int = 2,
    again: set[str] = frozenset(),
    unsafe: bool = False,
    as_root: bool = False,
    limits: Limits | None = None,
    class_list: ClassList | None = None,
) -> Path:
    """Grade all submissions into a course folder; return the path of grades.csv.

    Parameters
    ----------
    submissions : folder or zip, see `collect`
    folder : the course: made if it is not there
    jobs : submissions at a time
    again : students to grade even if their file is graded already
    unsafe : without a sandbox, where there is none
    as_root : even where the user is root
    class_list : who could have handed in something

    Raises
    ------
    RuntimeError
        There is no sandbox and `unsafe` was not said, the user is root and `as_root` was not said,
        or another program grades into the folder.
    FileNotFoundError, ValueError
        There are no submissions there, or none of those to be graded again, or all of another
        class; or they lie in the course folder or where students' code can read, or something in
        that is damaged.
    OSError
        The course folder cannot be made or written.
    """
    limits = limits or _limits("{}")
    places = submissions.resolve(), folder.resolve()
    for warning in _precautions(limits, [*places, PROJECT], unsafe, as_root):
        print(warning)
    _keep_apart(*places)
    handed_in = collect(submissions, NAME)
    unknown = sorted({*again} - {one.student for one in handed_in})
    if unknown:
        raise ValueError(
            f"--again {some(unknown)}: nobody is called so in {submissions}; give what stands in "
            "the column `student` of grades.csv."
        )
    if class_list and not class_list.match({s.student: (s.number, s.name) for s in handed_in})[0]:
        raise ValueError(
            f"CLASS={class_list.path} has nobody of {submissions}: give the list of this class, of "
            "this very assignment where the platform has one for each."
        )
    _make(folder)
    with only_writer(folder / "gradebook.db", doing="grading"), Interrupts() as interrupts:
        course = Course(folder)
        course.prepare()
        interrupts.obey()
        records = Records(folder / "records")
        records.refuse_old(handed_in)
        version = _version(course)
        todo = [
            one
            for one in handed_in
            if one.student in again or not records.known(one.student, _hash(one), version)
        ]
        print(f"{len(handed_in)} submissions, {len(handed_in) - len(todo)} of them graded already")
        graders = _Class(course, records, version, limits, unsafe)
        graders.go_through(todo, jobs, interrupts)
        tell(course, records, interrupts)
        path = write_grades(course, records, class_list)
    print(f"Grades: {path}\nFeedback: {folder / 'feedback'}\nTo upload: {folder / UPLOAD}")
    return path


def _precautions(limits: Limits, places: list[Path], unsafe: bool, as_root: bool) -> list[str]:
    """Return warnings; raise where students' code could do what it must not."""
    root = getattr(os, "geteuid", lambda: None)() == 0
    if root and not as_root:
        raise RuntimeError(f"Nothing is graded: {ROOT}. Log in as an ordinary user, or say ROOT=1.")
    warnings = [f"WARNING: ROOT=1: {ROOT}."] if root else []
    if unsafe:
        return [*warnings, LOUD]
    obstacle = sandbox.available()
    if obstacle:
        raise RuntimeError(obstacle)
    for place in filter(sandbox.shows, places):
        raise ValueError(
            f"{place} lies in {sandbox.shows(place)}, which students' code can read: move it "
            "elsewhere, as into your home folder."
        )
    return [*warnings, *filter(None, [sandbox.shortcomings(limits)])]


def _keep_apart(submissions: Path, folder: Path) -> None:
    """Refuse to write where the submissions lie: what students handed in would be lost."""
    if submissions.is_relative_to(folder) or folder.is_relative_to(submissions):
        raise ValueError(
            f"{submissions} and the course folder {folder} lie one in the other; grading writes "
            "into the latter: choose another course folder (COURSE=...)."
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"The course folder {folder} cannot be made ({error.strerror}): choose another with "
            "COURSE=..."
        ) from None


def _limits(text: str) -> Limits:
    usual = settings().limits
    try:
        given = json.loads(text)
        if all(type(value) in (int, float) and 0 < value < math.inf for value in given.values()):
            return Limits(**{**usual, **given})
    except (AttributeError, TypeError, ValueError):
        pass
    raise ValueError(
        f"--limits {text!r}: give an object in JSON with some of {', '.join(vars(Limits()))}, all "
        "positive numbers."
    )


class _Class:
    """Examines several submissions at a time, and records one after the other."""

    def __init__(
        self, course: Course, records: Records, version: str, limits: Limits, unsafe: bool
    ) -> None:
        self.course, self.records, self.version = course, records, version
        self.limits, self.unsafe = limits, unsafe
        self.done = 0

    def go_through(self, todo: list[Submission], jobs: int, interrupts: Interrupts) -> None:
        """Grade these, some at a time."""
        # What takes seconds to load, before the first copy of this process: so all have it.
        digits()
        checks.sensitivity_scan.cases()  # digits, too
        importlib.import_module("torch._dynamo")  # of any optimizer
        waiting, running, enough = list(todo), {}, self.limits.total + SPARE
        try:
            while waiting or running:
                interrupts.obey()
                while waiting and len(running) < max(1, jobs):
                    one = waiting.pop(0)
                    work = partial(_examined, one, self.course.folder, self.limits, self.unsafe)
                    running[Copy(work, enough, self.limits.addresses)] = one
                ended = wait(list(running), timeout=1)
                for copy in [copy for copy in running if copy in ended or copy.late]:
                    outcome = copy.outcome("ended with code {}; see above")
                    self._finish(running[copy], *outcome, len(todo))
                    del running[copy]
        finally:
            for copy in running:
                copy.end()

    def _finish(self, one: Submission, found: dict | None, why: str, total: int) -> None:
        result, handed_in = _result(found, why), _hash(one)
        result.remarks = [*one.notes, *result.remarks]
        if not result.problem:
            try:
                work = restore(read(one.content), parts(course_file(self.course.folder, "release")))
                self.course.record(one.student, work, result.marks)
            except OF_ONE_NOTEBOOK as error:  # whatever one notebook does, the class goes on
                result.problem = printable(f"its marks could not be recorded: {error}"[:300])
                handed_in = ""  # the next run tries again
        self.records.keep(one, handed_in, self.version, result)
        self.done += 1
        points = sum(mark.points for mark in result.marks.values())
        said = f"not graded: {result.problem}" if result.problem else f"{points:g} points so far"
        seconds = f"({result.seconds:.0f} s)"
        print(f"[{self.done}/{total}] {one.student}: {said} {seconds}", flush=True)


def _examined(one: Submission, folder: Path, limits: Limits, unsafe: bool) -> dict:
    """Examine one submission, in a process of its own; return its `Result` as plain data."""
    torch.set_num_threads(1)
    if one.problem or one.content is None:
        return asdict(Result(problem=one.problem or "there is no notebook"))
    try:
        return asdict(examine(one.content, folder, limits, unsafe=unsafe))
    except MemoryError:
        return asdict(Result(problem="its answers took more memory than there is"))


def _result(found: dict | None, why: str) -> Result:
    if found is None:
        return Result(problem=f"the examination {why}")
    marks = {name: Mark(**mark) for name, mark in found["marks"].items()}
    return Result(**{**found, "marks": marks})


def _hash(one: Submission) -> str:
    return hashlib.sha256(one.content or (one.problem or "").encode()).hexdigest()


def _version(course: Course) -> str:
    """Return what stands for the assignment and its checks: another one, and all is graded anew.

    Of the code that counts what it does: pictures, comments and layout may change.
    """
    rooms = [file for room in ROOMS for file in sorted((PROJECT / "labutils" / room).glob("*.py"))]
    code = [ast.parse(file.read_bytes()) for file in (PROJECT / "classroom" / "values.py", *rooms)]
    for node in (node for tree in code for node in ast.walk(tree)):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # what stands alone in a line and does nothing: docstrings
            node.body = [part for part in body if not _only_says(part)]
    told = [course_file(course.folder, "source").read_text("utf-8"), repr(settings())]
    return hashlib.sha256("\0".join([*told, *map(ast.dump, code)]).encode()).hexdigest()


def _only_says(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


if __name__ == "__main__":
    main()
