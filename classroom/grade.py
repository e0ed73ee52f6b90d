"""Grade a class: `make grade SUBMISSIONS=folder-or-zip`.

    python -m classroom.grade SUBMISSIONS [--class LIST [--column NAME]] [--course FOLDER]
                              [--jobs N] [--again STUDENT ...] [--limits JSON] [--unsafe]

Writes into the course folder: grades.csv, a feedback page for each student, what the platform
takes back (`upload/`), and what nbgrader needs to mark the written answers. Run it again at any
time: what is graded stays graded, what changed is graded anew, and marks given by hand since are
in the new grades.csv.
"""

import argparse
import ast
import hashlib
import json
import math
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from classroom import sandbox
from classroom.assignment import NAME, PROJECT, parts, settings
from classroom.collect import Submission, collect
from classroom.examine import Mark, Result, course_file, digits, examine
from classroom.gradebook import Course
from classroom.harmless import printable, some
from classroom.interrupt import Interrupts
from classroom.platforms import ClassList
from classroom.records import UPLOAD, Records, tell, write_grades
from classroom.restore import read, restore
from classroom.sandbox import Limits
from labutils.base.writing import only_writer

# What one notebook can bring about. An OSError (a full disk) is nobody's: it ends the grading.
OF_ONE_NOTEBOOK = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
ROOMS = ("base", "fit", "cost", "prune", "checks")  # of labutils, what grading uses
SPARE = 180  # seconds an examination may take beyond what the student's code may
LOUD = "WARNING: UNSAFE=1: what students hand in runs with all that you may do on this machine."


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
    told.add_argument("--limits", default="{}", help='other limits, as {"cell": 120} for seconds')
    given = told.parse_args()
    try:
        grade(
            given.submissions,
            given.course,
            jobs=max(1, given.jobs),
            again=set(given.again),
            unsafe=given.unsafe,
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
    class_list : who could have handed in something

    Raises
    ------
    RuntimeError
        There is no sandbox and `unsafe` was not said, or another program grades into the folder.
    FileNotFoundError, ValueError
        There are no submissions there, or none of those to be graded again, or all of another
        class; or they lie in the course folder, or something in that is damaged.
    OSError
        The course folder cannot be made or written.
    """
    obstacle = "" if unsafe else sandbox.available()
    if obstacle:
        raise RuntimeError(obstacle)
    if unsafe:
        print(LOUD)
    _keep_apart(submissions.resolve(), folder.resolve())
    handed_in = collect(submissions, NAME)
    unknown = sorted(again - {one.student for one in handed_in})
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
        graders = _Class(course, records, version, limits or _limits("{}"), unsafe)
        graders.go_through(todo, jobs, interrupts)
        tell(course, records, interrupts)
        path = write_grades(course, records, class_list)
    print(f"Grades: {path}\nFeedback: {folder / 'feedback'}\nTo upload: {folder / UPLOAD}")
    return path


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
        digits()  # before the first copy of this process is made, so that all have them
        waiting, running = list(todo), {}
        try:
            while waiting or running:
                interrupts.obey()
                while waiting and len(running) < jobs:
                    one = waiting.pop(0)
                    running[self._start(one)] = one, time.monotonic()
                wait([process.sentinel for process in running], timeout=1)
                for process, (one, begun) in list(running.items()):
                    late = time.monotonic() - begun > self.limits.total + SPARE
                    if late:
                        sandbox.kill(process.pid)
                        process.join()
                    if late or not process.is_alive():
                        del running[process]
                        self._finish(one, process, late, len(todo))
        finally:
            for process in running:
                sandbox.kill(process.pid)
                process.join()

    def _start(self, one: Submission) -> BaseProcess:
        # On Linux a copy of this process, PyTorch loaded and all, which saves seconds for each.
        kind = "fork" if sys.platform.startswith("linux") else "spawn"
        self._outbox(one).unlink(missing_ok=True)
        process = multiprocessing.get_context(kind).Process(
            target=_examine,
            args=(one, self.course.folder, self._outbox(one), self.limits, self.unsafe),
            daemon=True,  # it ends with this program, wherever that is interrupted
        )
        process.start()
        return process

    def _outbox(self, one: Submission) -> Path:
        return self.records.folder / f".{one.student}.result"

    def _finish(self, one: Submission, process: BaseProcess, late: bool, total: int) -> None:
        result, handed_in = _result(self._outbox(one), process, late), _hash(one)
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


def _examine(one: Submission, folder: Path, outbox: Path, limits: Limits, unsafe: bool) -> None:
    """Examine one submission in a process of its own, and leave the result in a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    torch.set_num_threads(1)
    sandbox.limit_addresses(limits)  # a network handed in may be made to take any memory
    if one.problem or one.content is None:
        result = Result(problem=one.problem or "there is no notebook")
    else:
        try:
            result = examine(one.content, folder, limits, unsafe=unsafe)
        except MemoryError:
            result = Result(problem="its answers took more memory than there is")
    # A student's text may have half characters, which no file can hold.
    text = json.dumps(asdict(result), ensure_ascii=False)
    outbox.write_bytes(text.encode("utf-8", "replace"))


def _result(outbox: Path, process: BaseProcess, late: bool) -> Result:
    if late:
        return Result(problem="the examination took too long and was stopped")
    try:
        read_back = json.loads(outbox.read_bytes())
        outbox.unlink()
    except (OSError, ValueError):
        return Result(problem=f"the examination ended with code {process.exitcode}; see above")
    marks = {name: Mark(**mark) for name, mark in read_back.pop("marks").items()}
    return replace(Result(**read_back), marks=marks)


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
