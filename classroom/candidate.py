"""Runs a student's cells and functions when asked to: the side of the grading that is not trusted.

It is started inside the sandbox, reads one JSON request a line, and answers each with a line.
What it says is the student's word: the other side takes it for an answer, never for a verdict.

Requests: {"number": n, "run": source} and {"number": n, "call": name, "arguments": packed,
"instead": names of what it is to do without}.
"""

import contextlib
import functools
import importlib
import json
import os
import sys
import warnings
from types import ModuleType

MOST_PROCESSES = 64
PYTHON = {"capture", "prun", "time", "timeit"}  # cell magics


def main() -> None:
    """Answer until the other side hangs up."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    requests = os.fdopen(os.dup(0), "r")
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    shell = _shell()
    _say(answers, {"ready": True})
    for line in requests:
        request = json.loads(line)
        answer = _run(shell, request["run"]) if "run" in request else _call(shell, request)
        _say(answers, {"number": request["number"], **answer})


def _shell() -> object:
    """Return an IPython that behaves as a notebook's kernel does, as far as code can see."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES, MOST_PROCESSES))
    import values  # noqa: F401  (beside this file; loaded before the clock of the first cell runs)
    from IPython.core.interactiveshell import InteractiveShell

    _LaterCompiler().stand_in()
    sys.path.pop(0)  # no other file of this folder is in the way of a student's modules
    warnings.simplefilter("ignore")
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    # There is no screen, no other program and nobody to read help: such lines do nothing.
    shell.run_line_magic = shell.system = lambda *_args, **_options: None
    shell.getoutput = lambda *_args, **_options: []
    shell.run_cell_magic = functools.partial(_cell_magic, shell)
    shell.showtraceback = lambda *_args, **_options: None
    return shell


class _LaterCompiler(ModuleType):
    """Says for torch.compile's machinery what optimizers ask of it; it takes a second to load.

    Whoever wants anything else of it gets the real one.
    """

    def __init__(self) -> None:
        super().__init__("torch._dynamo")
        self.disable, self.graph_break = lambda function, *_args, **_options: function, lambda: None

    def stand_in(self) -> None:
        """Be what is imported by this name."""
        import torch

        sys.modules.setdefault(self.__name__, self)
        torch._dynamo = sys.modules[self.__name__]

    def __getattr__(self, name: str) -> object:
        if name == "__file__":  # which whoever looks for a function's module asks of all
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _cell_magic(shell: object, name: str, _line: str, cell: str) -> None:
    """Run what is Python below a line as %%time; leave out the rest."""
    if name in PYTHON:
        shell.run_cell(cell).raise_error()


def _run(shell: object, source: str) -> dict:
    outcome = shell.run_cell(source, store_history=False, silent=True)
    error = outcome.error_before_exec or outcome.error_in_exec
    return {"ran": None if error is None else _line(error)}


def _call(shell: object, request: dict) -> dict:
    import torch
    from values import pack, unpack

    from labutils.checks.verdict import attempt

    if request["call"] not in shell.user_ns:
        return {"missing": True}
    torch.manual_seed(0)
    try:
        arguments = unpack(request["arguments"])
        found = attempt(shell.user_ns[request["call"]], *arguments, instead=request["instead"])
        return {"attempt": {**vars(found), "result": pack(found.result)}}
    except BaseException as error:  # SystemExit and KeyboardInterrupt are answers too
        return {"attempt": {"error": _line(error)}}


def _line(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {(text.splitlines() or [''])[0][:160]}"


def _say(answers: object, message: dict) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
