"""Grade one submission: run the student's cells shut in, and judge their answers out here.

The checks, hidden ones included, run in this process. The student's process gets their inputs
and sends back plain data: it never sees what is expected, and nothing in it can pass a check
but right answers.
"""

import ast
import contextlib
import functools
import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

import labutils as lab
from classroom.apart import apart
from classroom.assignment import Part, course_file, parsed, parts, settings, without_words
from classroom.harmless import some
from classroom.oddities import oddities
from classroom.restore import NotThisAssignment, Step, Work, read, restore
from classroom.sandbox import Limits, digits
from classroom.session import OutOfTime, Session
from classroom.values import unpack
from labutils import checks
from labutils.base.structure import describe, fingerprint
from labutils.checks.design import MIME
from labutils.checks.plain import Foreign, Misfit
from labutils.checks.verdict import Attempt, answered, first_line, show

NEAR = 0.05  # share of a network's size by which another differs that was made of it


@dataclass
class Mark:
    """What one check gave."""

    outcome: str  # "right", "wrong", "raised" or "not attempted"
    points: float
    text: str  # for the student; shows inputs and answers, never the code of hidden tests


@dataclass
class Result:
    """What the examination of one submission gave."""

    marks: dict[str, Mark] = field(default_factory=dict)  # by name of the check
    remarks: list[str] = field(default_factory=list)  # for the teacher
    problem: str = ""  # why the submission could not be graded
    unanswered: list[str] = field(default_factory=list)  # questions whose cell is not there
    network: str = ""  # fingerprint of the network handed in, to find equal ones
    solutions: dict[str, str] = field(default_factory=dict)  # likewise, by name of the cell
    seconds: float = 0.0


@dataclass(eq=False)
class Elsewhere:
    """Stands for a student's function, or the network that it gave: the checks ask it."""

    ask: Callable[..., Attempt]  # calls it where it is
    title: str = ""  # of its exercise, and its name
    without: list[str] | None = None  # it must not call, where no check of labutils says so
    calls: list[dict[str, str]] = field(default_factory=list)  # what to tell of each plain call
    borrowed: tuple[str, ...] = ()

    def __call__(self, *arguments: object) -> object:
        """Return the function's answer, for a plain `assert`; CheckFailed if there is none."""
        given = ", ".join(map(show, arguments))
        result = answered(self.title, given, self, arguments, self.without).result
        self.calls.append({"title": self.title, "input": given, "got": show(result)})
        if isinstance(result, (Foreign, Misfit)):  # which some test could take for true
            raise checks.CheckFailed(outcome="wrong", **self.calls[-1])
        return result

    def attempt_elsewhere(self, *arguments: object, instead: tuple[str, ...] | None) -> Attempt:
        """Call the function where it is."""
        found = self.ask(*arguments, instead=instead)
        self.borrowed = found.borrowed
        return found


def examine(content: bytes, course: Path, limits: Limits, *, unsafe: bool = False) -> Result:
    """Grade a submitted file against the assignment in a course folder."""
    began, result = time.monotonic(), Result()
    released, source = parts(course_file(course, "release")), parts(course_file(course, "source"))
    try:
        work = restore(read(content), released)
    except NotThisAssignment as error:
        result.problem = str(error)
        return result
    result.remarks, result.unanswered = work.remarks, work.unanswered
    session = Session(limits, unsafe)
    try:
        _Examiner(work, released, source, session, result).go_through()
    except OutOfTime:
        result.problem = f"it took longer than {limits.total:g} s: " + "; ".join(
            [f"{name} {why}" for name, why in session.left_out.items()] or ["many cells are slow"]
        )
    except (RuntimeError, ChildProcessError) as error:
        result.problem = str(error)
    finally:
        session.close()
    result.remarks += [f"{name} {why}; left out" for name, why in session.left_out.items()]
    result.remarks = list(dict.fromkeys(result.remarks))
    result.seconds = time.monotonic() - began
    return result


@functools.cache
def shipped() -> dict[str, nn.Module]:
    """Return the networks that students have and that earn nothing, by their files' names."""
    folder = settings().network.get("shipped", "")
    files = sorted((lab.lab_home() / folder).glob("*.pth")) if folder else []
    return {f"{folder}/{path.name}": lab.load_model(path) for path in files}


class _Examiner:
    """Goes through one student's work."""

    def __init__(
        self, work: Work, released: list[Part], source: list[Part], session: Session, result: Result
    ) -> None:
        self.work, self.session, self.result = work, session, result
        self.blank, self.source = ({p.name: p for p in given} for given in (released, source))
        solutions = [part for part in released if part.kind == "solution"]
        self.by_function = {f: part.name for part in solutions for f in part.functions}
        self.network = settings().network.get("cell", "")
        self.errors: dict[str, str] = {}
        self.calls: list[dict[str, str]] = []  # of students' functions, by a plain check

    def go_through(self) -> None:
        """Run and grade, cell by cell."""
        for number, step in enumerate(self.work.steps, start=1):
            if step.cell.cell_type != "code":
                continue
            if step.part and step.part.kind == "check":
                self.result.marks[step.part.name] = self._grade(self.source[step.part.name], step)
            else:
                self._run(step, number)

    def _run(self, step: Step, number: int) -> None:
        name, kind = (step.part.name, step.part.kind) if step.part else (f"cell {number}", "")
        code = step.cell.source
        if kind != "code":
            self.result.remarks += [f"{name} {clause}" for clause in oddities(code)]
        if kind == "solution" and code != self.blank[name].source:
            # Without comments, docstrings and layout, to be compared.
            self.result.solutions[name] = ast.unparse(without_words(parsed(code))) or code
        error = self.session.run(name, code)
        if error:
            self.errors[name] = error

    def _grade(self, part: Part, step: Step) -> Mark:
        """Run a check, hidden tests included, on the answers of the student's functions."""
        used = {node.id for node in ast.walk(parsed(part.source)) if isinstance(node, ast.Name)}
        wanted = [function for function in self.by_function if function in used]
        if [self.by_function[function] for function in wanted] == [self.network]:
            return self._design(part, wanted[0], step.cell)
        stand_ins = {}
        for function in wanted:
            ask = functools.partial(self.session.call, function)
            title, without = part.exercise.capitalize(), settings().without.get(part.exercise)
            stand_ins[function] = Elsewhere(ask, f"{title}, {function}", without, self.calls)
        mark = self._check(part, stand_ins)
        self.result.remarks += [
            f"{self.by_function[function]} calls {some(stand_in.borrowed)} of labutils"
            for function, stand_in in stand_ins.items()
            if stand_in.borrowed
        ]
        return mark

    def _check(self, part: Part, stand_ins: dict[str, Elsewhere]) -> Mark:
        self.calls.clear()
        space = {"lab": lab, "checks": checks, "torch": torch, "digits": digits(), **stand_ins}
        try:
            value, told = _run_check(part.source, space)
        except checks.CheckFailed as failure:
            return Mark(failure.outcome, 0, self._told(failure, list(stand_ins)))
        except (OutOfTime, ChildProcessError, MemoryError):
            raise
        except Exception as error:
            if not self.calls:
                said = f"{type(error).__name__}: {first_line(error)}"
                raise RuntimeError(f"{part.name} fails by itself: {said}") from error
            # A plain assert, or an answer with which it cannot compute.
            failure = checks.CheckFailed(
                outcome="wrong", **self.calls[-1], because=first_line(error)
            )
            return Mark("wrong", 0, str(failure))
        points = part.points
        if type(value) is float and [self.by_function[f] for f in stand_ins] == [self.network]:
            points = min(max(0.0, value), points)
        return Mark("right", points, told or f"{part.exercise.capitalize()}: right\n")

    def _design(self, part: Part, function: str, cell: dict) -> Mark:
        """Judge a network apart: one that is too large or too slow costs its exercise alone."""
        attempt = self._network(function, cell)
        ready = Elsewhere(lambda _digits, instead: attempt)

        def judged() -> dict:
            mark = self._check(part, {function: ready})
            remarks = _weighed(attempt.result, mark) if mark.outcome == "right" else []
            network = fingerprint(attempt.result) if mark.outcome == "right" else ""
            return {"mark": asdict(mark), "network": network, "remarks": remarks}

        limits = self.session.limits
        found, why = apart(judged, limits.cell, limits.memory)
        if found is None:
            what = f"{function}: wrong\n  got       a network whose evaluation {why}"
            return Mark("wrong", 0, what)
        self.result.network = found["network"]
        self.result.remarks += found["remarks"]
        return Mark(**found["mark"])

    def _network(self, function: str, cell: dict) -> Attempt:
        """Return the network in a cell's output, or what the function gives now."""
        network, with_code = _handed_in(cell), self.network in self.result.solutions
        if network is not None:
            if not with_code:
                self.result.remarks.append("a network came without the code that made it")
            return Attempt(network)
        if with_code:
            self.result.remarks.append("no network came with the notebook; it was made anew")
        return self.session.call(function, digits(), seconds=self.session.limits.design)

    def _told(self, failure: Exception, wanted: list[str]) -> str:
        """Return the failure; where the cell itself failed, say so rather than "no function"."""
        text = str(failure)
        for function in wanted:
            error = self.errors.get(self.by_function[function])
            if error and f"NameError: there is no function {function}" in text:
                return f"{text}\n  because   the cell that defines it failed: {error}"
        return text


def _weighed(network: nn.Module, mark: Mark) -> list[str]:
    """Say in its mark what a network is worth on the test images; return what is odd about it."""
    known = next((name for name, other in shipped().items() if _near(network, other)), "")
    if known:
        mark.outcome, mark.points = "wrong", 0
        mark.text = "This network came with labutils: make one yourself."
        return [f"the network is {known}"]
    chosen_on, unseen = (lab.evaluate(network, s) for s in (digits().validation, digits().test))
    remarks = []
    if chosen_on.interval[0] > unseen.interval[1]:  # by more than 95% intervals allow
        remarks.append(
            f"the network is right for {chosen_on.accuracy:.1%} of the validation images but "
            f"{unseen.accuracy:.1%} of the test images: was it trained on the former?"
        )
    mark.text += f"On the 10,000 test images it is right for {unseen}.\n"
    return remarks


def _near(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks differ by some small changes to their numbers alone."""
    if describe(one) != describe(other):
        return False
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    apart = sum(float((a - b).double().square().sum()) for a, b in pairs)
    size = sum(float(tensor.double().square().sum()) for tensor in other.state_dict().values())
    return apart < (NEAR**2) * size


def _run_check(source: str, space: dict) -> tuple[object, str]:
    """Run a check as a notebook's cell; return its last line's value, if it has one, and text."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as told:
        exec(compile(tree, "check", "exec"), space)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "check", "eval"), space)
    return value, told.getvalue()


def _handed_in(cell: dict) -> object:
    """Return the network in a cell's outputs, or None."""
    outputs = (output.get("data", {}).get(MIME) for output in cell.get("outputs", []))
    packed = next((found for found in outputs if found is not None), None)
    with contextlib.suppress(ValueError):
        return unpack(packed)
