"""How is work done that may loop, fill the memory or end its process? In a copy of this one."""

import contextlib
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import psutil
import torch

with contextlib.suppress(ModuleNotFoundError):  # Windows
    import resource

LINUX = sys.platform.startswith("linux")


class Copy:
    """A process whose work gives what JSON can hold; on Linux it has all that this one has loaded.

    It may take so many seconds, and have so many bytes of addresses in all.
    """

    def __init__(self, work: Callable[[], dict], seconds: float, memory: int) -> None:
        context = multiprocessing.get_context("fork" if LINUX else "spawn")
        self._said, there = context.Pipe(duplex=False)
        self._seconds, self._until = seconds, time.monotonic() + seconds
        self.process = context.Process(target=_do, args=(work, there, memory))
        self.process.start()
        there.close()
        self.fileno = self._said.fileno

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self._until

    def outcome(self, otherwise: str) -> tuple[dict | None, str]:
        """Wait for the end; return what the work gave, or why not: late, or `otherwise`."""
        said, late = b"", False
        with contextlib.suppress(EOFError, OSError):
            late = not self._said.poll(max(0, self._until - time.monotonic()))
            said = b"" if late else self._said.recv_bytes()
        self.end()
        if said:
            return json.loads(said), ""
        late_by = f"took longer than {self._seconds:g} s"
        return None, late_by if late else otherwise.format(self.process.exitcode)

    def end(self) -> None:
        """End it, whatever it does."""
        if self.process.is_alive():
            kill(self.process.pid)
        self.process.join()
        self._said.close()


def apart(work: Callable[[], dict], seconds: float, memory: int) -> tuple[dict | None, str]:
    """Do some work in a copy of this process; return what it gave, or why it gave nothing.

    `memory` are the bytes it may take beyond those in use; see `Copy` for the others.
    """
    if not LINUX:
        return work(), ""
    copy = Copy(work, seconds, psutil.Process().memory_info().vms + memory)
    return copy.outcome("took more memory than there is")


def limit(**bounds: int) -> None:
    """Bound what this process may use, by the names of setrlimit(2), unless it is bounded more."""
    for name, most in bounds.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS does not bound addresses
            resource.setrlimit(kind, (most, most))


def kill(number: int) -> None:
    """Kill a process, by its number, and all it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def _do(work: Callable[[], dict], there: Connection, memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    torch.set_num_threads(1)  # GNU's OpenMP waits for ever for threads that were not copied
    limit(AS=memory)
    with contextlib.suppress(MemoryError):
        # A student's text may have half characters, which no file can hold.
        there.send_bytes(json.dumps(work(), ensure_ascii=False).encode("utf-8", "replace"))
