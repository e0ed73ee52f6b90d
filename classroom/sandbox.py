"""In what is a student's code shut, and when is it stopped?

On Linux bubblewrap gives it a file system of its own: Python, this course's labutils, data and
models to read, an empty /tmp to write, no network, no other process, no home, no course folder.
"""

import contextlib
import json
import os
import resource
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from labutils.base.digits import load_mnist
from labutils.base.home import lab_home

CANDIDATE = Path(__file__).with_name("candidate.py")
PROJECT = CANDIDATE.resolve().parents[1]
MEBIBYTE = 1 << 20
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")


@dataclass(frozen=True)
class Limits:
    """How much one submission may use: seconds, bytes and processes."""

    start: float = 120
    cell: float = 60
    call: float = 20
    design: float = 300  # the call that makes a network to be handed in
    total: float = 900
    memory: int = 3000 * MEBIBYTE  # of all its processes together
    file: int = 64 * MEBIBYTE  # one; all its files may have four times that
    processes: int = 8
    answer: int = 64 * MEBIBYTE


def available() -> str:
    """Return "" if submissions can be shut in here, or why not and what to do."""
    remedy = (
        "Install it (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap), or "
        "grade in a Linux container or virtual machine. UNSAFE=1 grades without any protection."
    )
    if not sys.platform.startswith("linux"):
        return f"Submissions can be shut in by bubblewrap, which is for Linux only. {remedy}"
    if shutil.which("bwrap") is None:
        return f"Submissions are shut in by bubblewrap, which is not installed. {remedy}"
    tried = subprocess.run([*_walls(), "/usr/bin/env", "true"], capture_output=True, text=True)
    if tried.returncode:
        return f"bubblewrap does not work here ({tried.stderr.strip()[:200]}). {remedy}"
    return ""


def start(limits: Limits, *, unsafe: bool = False) -> subprocess.Popen:
    """Start the process that runs one student's code, and talk to it through its pipes."""
    load_mnist()  # unpacked here, since the sandbox cannot write it
    command = [sys.executable, str(CANDIDATE)]
    if not unsafe:
        command = [*_walls(limits), *_doors(), *command]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file, limits.file))
        limit_addresses(limits)

    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**_ENVIRONMENT, "PYTHONPATH": str(PROJECT), "EAI_LAB_HOME": str(lab_home())},
        start_new_session=True,
        preexec_fn=limit,
    )


def limit_addresses(limits: Limits) -> None:
    """Bound this process's memory; four times, since PyTorch takes addresses it never fills."""
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (4 * limits.memory, 4 * limits.memory))


def apart(work: Callable[[], dict], seconds: float, memory: int) -> tuple[dict | None, str]:
    """Do some work in a copy of this process; return what it gave, or why it gave nothing.

    Parameters
    ----------
    work : gives what JSON can hold; it may loop, fill the memory or end its process
    seconds, memory : how long it may take, and how many bytes more than there are in use
    """
    if not sys.platform.startswith("linux"):
        return work(), ""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), open(there, "wb") as pipe:
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            most = psutil.Process().memory_info().vms + memory
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
            pipe.write(json.dumps(work()).encode(errors="replace"))
        os._exit(0)
    os.close(there)
    until, said = time.monotonic() + seconds, b""
    with open(here, "rb", buffering=0) as pipe, selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        while waiting.select(max(0, until - time.monotonic())):
            part = pipe.read(1 << 16)
            said += part
            if not part:
                break
        else:
            kill(child)
    os.waitpid(child, 0)
    if not said.endswith(b"}"):
        late = time.monotonic() >= until
        return None, f"took longer than {seconds:g} s" if late else "took more memory than there is"
    return json.loads(said), ""


def stop(process: subprocess.Popen) -> None:
    """End a student's process and all it started."""
    kill(process.pid)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()


def kill(number: int) -> None:
    """Kill a process, by its number, and all it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(number)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def excess(process: subprocess.Popen, limits: Limits) -> str:
    """Return "" or what of its limits a process and its children have gone beyond."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return ""
    if len(family) > limits.processes:
        return f"started more than {limits.processes} processes"
    if _memory(family, "rss") > limits.memory and _memory(family, "pss") > limits.memory:
        return f"used more than {limits.memory / 1e9:.1f} GB of memory"
    return ""


def _memory(family: list[psutil.Process], kind: str) -> int:
    """Add up the memory of some processes; "rss", soon known, counts what they share often."""
    total = 0
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found = one.memory_info() if kind == "rss" else one.memory_full_info()
            total += getattr(found, kind, found.rss)  # elsewhere than on Linux there is no pss
    return total


# Nothing of the teacher's environment goes in.
_ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "student",
    "IPYTHONDIR": "/tmp/ipython",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "MPLBACKEND": "Agg",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


def _walls(limits: Limits | None = None) -> list[str]:
    """Return bubblewrap and what it keeps out."""
    limits = limits or Limits()
    seen = [part for path in SYSTEM for part in ("--ro-bind-try", path, path)]
    space = ["--size", str(4 * limits.file), "--tmpfs"]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
        *seen,
        *("--proc", "/proc", "--dev", "/dev", *space, "/dev/shm", "--remount-ro", "/dev"),
        *(*space, "/tmp", "--chdir", "/tmp"),
    ]


def _doors() -> list[str]:
    """Return what bubblewrap lets the code read: Python and its packages, the course's own."""
    home = lab_home()
    own = (CANDIDATE, CANDIDATE.with_name("values.py"), PROJECT / "labutils")
    shown = {sys.base_prefix, sys.prefix, *map(str, own)}
    shown |= {str(home / name) for name in ("data", "models")}
    shown |= {path for path in sys.path if path.endswith("-packages") and os.path.isdir(path)}
    outer = sorted(shown, key=len)  # a folder before what lies in it
    binds = [part for path in outer for part in ("--ro-bind", path, path)]
    return [*binds, "--remount-ro", "/"]
