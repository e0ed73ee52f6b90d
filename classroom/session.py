"""Ask the student's process, and go on without what ends it.

A cell that loops, kills the process or fills the memory costs itself: the process is started
again, the other cells run again, and the grading goes on.
"""

import json
import os
import selectors
import time

from classroom import sandbox
from classroom.sandbox import Limits
from classroom.values import pack, unpack
from labutils.checks.verdict import Attempt

LOOK = 0.1  # seconds between two looks at what the process uses
CHUNK = 1 << 16


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
        self._process, self._unread = None, bytearray()
        self._begun, self._looked, self._number = time.monotonic(), 0.0, 0
        self._broken: dict[str, str] = {}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            sandbox.stop(self._process)
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
            self._unread = bytearray()
            os.set_blocking(self._process.stdout.fileno(), False)
            try:
                self._answer(self.limits.start)
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
        try:
            self._write(line, seconds)
            answer = self._answer(seconds)
        except (BrokenPipeError, ConnectionError):
            self.close()
            raise Lost("ended its process") from None
        if answer.get("number") != self._number:
            self._lose("wrote into the channel of the grading")
        return answer

    def _write(self, line: bytes, seconds: float) -> None:
        """Write all of a line, unless nobody reads it: a full pipe would block for ever."""
        pipe, until = self._process.stdin.fileno(), time.monotonic() + seconds
        os.set_blocking(pipe, False)
        with selectors.DefaultSelector() as waiting:
            waiting.register(pipe, selectors.EVENT_WRITE)
            while line:
                self._still_fine(until, seconds)
                if waiting.select(LOOK):
                    line = line[os.write(pipe, line[:CHUNK]) :]

    def _answer(self, seconds: float) -> dict:
        """Read one line, watching time, memory and processes."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            whole = b"\n" in self._unread
            while not whole:
                self._still_fine(until, seconds)
                whole = bool(waiting.select(LOOK)) and self._read()
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self._lose("wrote into the channel of the grading")
        return answer

    def _read(self) -> bool:
        """Take what has come; tell whether a line has come to its end."""
        content = os.read(self._process.stdout.fileno(), 64 * CHUNK)
        if not content:
            self._lose("ended its process")
        self._unread += content
        if len(self._unread) > self.limits.answer:
            self._lose(f"answered with more than {self.limits.answer / 1e6:.0f} MB")
        return b"\n" in content

    def _still_fine(self, until: float, seconds: float) -> None:
        now = time.monotonic()
        if now - self._begun > self.limits.total:
            self.close()
            raise OutOfTime
        if now > until:
            self._lose(f"ran longer than {seconds:g} s")
        if now - self._looked > LOOK:
            self._looked = now
            too_much = sandbox.excess(self._process, self.limits)
            if too_much:
                self._lose(too_much)

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
