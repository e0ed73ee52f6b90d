"""Grade a class: `make grade SUBMISSIONS=folder-or-zip`.

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
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

from classroom import sandbox
from classroom.apart import Copy
from classroom.assignment import NAME, PROJECT, course_file, parts, settings, without_words
from classroom.collect import Submission, collect
from classroom.examine import Mark, Result, examine
from classroom.gradebook import Course
from classroom.handout.build import make_writable
from classroom.harmless import printable, some
from classroom.interrupt import interrupts_kept
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
    try:
        grade(**vars(told.parse_args()))
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped. What was graded is kept; the same command goes on from here.")


def grade(
    submissions: Path,
    course: Path,
    *,
    jobs: int = 2,
    again: Iterable[str] = (),
    unsafe: bool = False,
    as_root: bool = False,
    limits: str = "{}",
    listed: Path | None = None,
    column: str = "",
) -> None:
    """Grade all submissions into a course folder, made if it is not there.

    The parameters are those of the command. What only the teacher can put right, as a missing
    sandbox, a wrong list or a damaged course, is an OSError, a RuntimeError or a ValueError.
    """
    allowed, class_list = _limits(limits), ClassList(listed, column) if listed else None
    places = submissions.resolve(), course.resolve()
    for warning in _precautions(allowed, [*places, PROJECT], unsafe, as_root):
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
    make_writable(course, "COURSE=...")
    with only_writer(course / "gradebook.db", doing="grading"), interrupts_kept() as obey:
        book = Course(course)
        book.prepare()
        obey()
        records = Records(course / "records")
        version = _version(book)
        todo = [
            one
            for one in handed_in
            if one.student in again or not records.known(one.student, _hash(one), version)
        ]
        print(f"{len(handed_in)} submissions, {len(handed_in) - len(todo)} of them graded already")
        graders = _Class(book, records, version, allowed, unsafe)
        graders.go_through(todo, jobs, obey)
        tell(book, records, obey)
        path = write_grades(book, records, class_list)
    print(f"Grades: {path}\nFeedback: {course / 'feedback'}\nTo upload: {course / UPLOAD}")


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


def _limits(text: str) -> Limits:
    try:
        return replace(settings().limits, **json.loads(text))
    except (TypeError, ValueError):
        raise ValueError(
            f"--limits {text!r}: give an object in JSON with some of {', '.join(vars(Limits()))}, "
            "all positive numbers, those of bytes and processes whole ones."
        ) from None


@dataclass
class _Class:
    """Examines several submissions at a time, and records one after the other."""

    course: Course
    records: Records
    version: str
    limits: Limits
    unsafe: bool
    done: int = 0

    def go_through(self, todo: list[Submission], jobs: int, obey: Callable[[], None]) -> None:
        """Grade these, some at a time."""
        # What takes seconds to load, before the first copy of this process: so all have it.
        digits()
        checks.sensitivity_scan.cases()  # digits, too
        importlib.import_module("torch._dynamo")  # of any optimizer
        waiting, running, enough = list(todo), {}, self.limits.total + SPARE
        try:
            while waiting or running:
                obey()
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
        result, handed_in = Result(**(found or {"problem": f"the examination {why}"})), _hash(one)
        result.marks = {name: Mark(**mark) for name, mark in result.marks.items()}
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
    if one.content is None:
        return asdict(Result(problem=one.problem))
    try:
        return asdict(examine(one.content, folder, limits, unsafe=unsafe))
    except MemoryError:
        return asdict(Result(problem="its answers took more memory than there is"))


def _hash(one: Submission) -> str:
    return hashlib.sha256(one.content or (one.problem or "").encode()).hexdigest()


def _version(course: Course) -> str:
    """Return what stands for the assignment and its checks: another one, and all is graded anew.

    Of the code that counts what it does: pictures, comments and layout may change.
    """
    rooms = [file for room in ROOMS for file in sorted((PROJECT / "labutils" / room).glob("*.py"))]
    code = [ast.parse(file.read_bytes()) for file in (PROJECT / "classroom" / "values.py", *rooms)]
    does = [ast.dump(without_words(tree)) for tree in code]
    told = [course_file(course.folder, "source").read_text("utf-8"), repr(settings())]
    return hashlib.sha256("\0".join(told + does).encode()).hexdigest()


if __name__ == "__main__":
    main()
