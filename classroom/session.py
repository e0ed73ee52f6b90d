"""Ask the student's process, and go on without what ends it.

A cell that loops, kills the process or fills the memory costs itself: the process is started
again, the other cells run again, and the grading goes on.
"""

import contextlib
import json
import threading
import time

from classroom import sandbox
from classroom.apart import kill
from classroom.sandbox import Limits
from classroom.values import pack, unpack
from labutils.checks.verdict import Attempt

LOOK = 0.1  # seconds between two looks at what the process uses


class Lost(Exception):
    """The student's process is gone; says what it did."""


class OutOfTime(Exception):
    """The submission has used all of its time."""


class Session:
    """One student's process, started again whenever it is lost."""

    def __init__(self, limits: Limits, unsafe: bool = False) -> None:
        self.limits, self.unsafe = limits, unsafe
        self.done: list[tuple[str, str]] = []  # name and source of the cells to be run again
        self.left_out: dict[str, str] = {}  # why a cell, by its name, was left out
        self._begun, self._number = time.monotonic(), 0
        self._process, self._beyond = None, ""  # what it went beyond
        self._broken: dict[str, str] = {}

    def close(self) -> None:
        """End the process and all it started."""
        if self._process is not None:
            with contextlib.suppress(OSError), self._process:  # which closes its pipes, too
                kill(self._process.pid)
            self._process = None

    def run(self, name: str, source: str) -> str:
        """Run a cell; return "" or the error it ended with."""
        try:
            self._ready()
            error = self._ask({"run": source}, self.limits.cell).get("ran")
        except Lost as loss:
            self.left_out[name] = str(loss)
            return str(loss)
        self.done.append((name, source))
        return str(error)[:200] if error else ""

    def call(
        self,
        function: str,
        *arguments: object,
        seconds: float | None = None,
        instead: tuple[str, ...] | None = None,
    ) -> Attempt:
        """Call one of the student's functions; whatever happens is an attempt."""
        if function in self._broken:  # it has cost a process once; that is enough
            return Attempt(error=self._broken[function])
        request = {"call": function, "arguments": pack(arguments), "instead": instead}
        try:
            self._ready()
            answer = self._ask(request, seconds or self.limits.call)
            if answer.get("missing"):
                return Attempt(error=f"NameError: there is no function {function}")
            return _attempt(answer["attempt"])
        except Lost as loss:
            self._broken[function] = f"the call {loss}"
        except (KeyError, TypeError, ValueError):
            self._broken[function] = "the call gave no answer that can be read"
        return Attempt(error=self._broken[function])

    def _ready(self) -> None:
        """Start the process if there is none, and bring it to where it was."""
        while self._process is None:
            self._process = sandbox.start(self.limits, unsafe=self.unsafe)
            try:
                self._exchange(b"", self.limits.start)
            except Lost as loss:
                raise ChildProcessError(f"The sandbox did not start: its process {loss}.") from None
            self._run_again()

    def _run_again(self) -> None:
        """Run the cells again that went well; stop at the first that does not this time."""
        cell = None
        try:
            for cell in self.done:
                self._ask({"run": cell[1]}, self.limits.cell)
        except Lost:
            self.done.remove(cell)
            self.left_out[cell[0]] = "did not end well when it was run again"

    def _ask(self, request: dict, seconds: float) -> dict:
        self._number += 1
        line = json.dumps({"number": self._number, **request}).encode() + b"\n"
        answer = self._exchange(line, seconds)
        if answer.get("number") != self._number:
            self._lose("wrote into the channel of the grading")
        return answer

    def _exchange(self, line: bytes, seconds: float) -> dict:
        """Write a line and read one, while time, memory and processes are watched."""
        answered, said = threading.Event(), b""
        self._beyond = ""
        watch = threading.Thread(target=self._watch, args=(answered, seconds))
        watch.start()
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            said = self._process.stdout.readline(self.limits.answer)
        except OSError:  # nobody reads any more
            pass
        finally:
            answered.set()
            watch.join()
        if time.monotonic() - self._begun > self.limits.total:
            self.close()
            raise OutOfTime
        if len(said) == self.limits.answer:
            self._beyond = f"answered with more than {self.limits.answer / 1e6:.0f} MB"
        if self._beyond or not said.endswith(b"\n"):
            self._lose(self._beyond or "ended its process")
        try:
            answer = json.loads(said)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._lose("wrote into the channel of the grading")
        return answer

    def _watch(self, answered: threading.Event, seconds: float) -> None:
        """Kill the process if it goes beyond its limits before it has answered."""
        until = time.monotonic() + seconds
        while not (self._beyond or answered.wait(LOOK)):
            if time.monotonic() > min(until, self._begun + self.limits.total):
                self._beyond = f"ran longer than {seconds:g} s"
            else:
                self._beyond = sandbox.excess(self._process, self.limits)
        if self._beyond:
            kill(self._process.pid)

    def _lose(self, what: str) -> None:
        self.close()
        raise Lost(what)


def _attempt(answer: dict) -> Attempt:
    """Read an attempt that the student's process reported."""
    error, where = str(answer.get("error", ""))[:300], str(answer.get("where", ""))[:200]
    if error:
        return Attempt(error=error, where=where)
    return Attempt(
        unpack(answer.get("result")),
        attempted=answer.get("attempted", True) is not False,
        changed_input=answer.get("changed_input") is True,
        shared=str(answer.get("shared", ""))[:200],
        borrowed=tuple(str(name)[:40] for name in answer.get("borrowed", ())[:9]),
    )
