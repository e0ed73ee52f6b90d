"""In what is a student's code shut, and when is it stopped?

On Linux bubblewrap gives it a file system of its own: Python, this course's labutils, data and
models to read, an empty /tmp to write, no network, no other process, no home, no course folder.
A control group, where one can be had, counts its memory wherever it lies.
"""

import contextlib
import functools
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field
from pydantic.dataclasses import dataclass

from classroom import obstacles, syscalls
from classroom.apart import limit
from labutils.base.digits import Digits, load_mnist
from labutils.base.home import lab_home

CANDIDATE = Path(__file__).with_name("candidate.py")
PROJECT = CANDIDATE.resolve().parents[1]
MEBIBYTE = 1 << 20
TASKS = 256  # processes and threads in a control group
BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # by which a control group is asked for
Positive = Annotated[float, Field(gt=0, lt=math.inf, strict=True)]
Number = Annotated[int, Field(gt=0, strict=True)]
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")


@dataclass(frozen=True, config={"extra": "forbid"})
class Limits:
    """How much one submission may use: seconds, bytes and processes."""

    start: Positive = 120
    cell: Positive = 60
    call: Positive = 20
    design: Positive = 300  # the call that makes a network to be handed in
    total: Positive = 900
    memory: Number = 3000 * MEBIBYTE  # of all its processes together
    file: Number = 64 * MEBIBYTE  # one; all its files may have four times that
    processes: Number = 8
    answer: Number = 64 * MEBIBYTE

    @property
    def addresses(self) -> int:
        """How many bytes one process may ask for; PyTorch takes addresses that it never fills."""
        return 4 * self.memory


@functools.cache
def digits() -> Digits:
    """Return MNIST, loaded once for all that this process and its copies do."""
    return load_mnist()


def available() -> str:
    """Return "" if submissions can be shut in here, or why not and what to do."""
    return obstacles.found(lambda: [*_walls(Limits()), "/usr/bin/env", "true"])


def shortcomings(limits: Limits) -> str:
    """Return "" or a sentence on what of the sandbox cannot be had on this machine."""
    grouped = "no control group (systemd-run --scope), so that files in /tmp do not count as memory"
    filtered = "no list of the kernel's calls for this kind of processor, so that none is refused"
    missing = [grouped] * (not _group(limits)) + [filtered] * (not syscalls.program())
    return f"Note: there is {'; and '.join(missing)}." if missing else ""


def shows(path: Path) -> str:
    """Return the folder around a path that the code inside can read, or ""."""
    around = {Path(folder).resolve(): folder for folder in (*SYSTEM, *_shown())}
    return next((str(around[one]) for one in (path, *path.parents) if one in around), "")


def start(limits: Limits, *, unsafe: bool = False) -> subprocess.Popen:
    """Start the process that runs one student's code, and talk to it through its pipes."""
    digits()  # unpacked here, since the sandbox cannot write them
    command, environment = [sys.executable, str(CANDIDATE)], dict(_ENVIRONMENT)
    bounds = {"CORE": 0, "FSIZE": limits.file, "NOFILE": 256, "AS": limits.addresses}
    with tempfile.TemporaryFile(buffering=0) as calls:
        calls.write(syscalls.program())
        calls.seek(0)
        if not unsafe:
            command = [*_group(limits), *_walls(limits, calls.fileno()), *command]
            environment |= {name: os.environ[name] for name in BUS if name in os.environ}
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "PYTHONPATH": str(PROJECT), "EAI_LAB_HOME": str(lab_home())},
            start_new_session=True,
            pass_fds=[calls.fileno()],
            preexec_fn=functools.partial(limit, **bounds),
        )


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


def _group(limits: Limits) -> list[str]:
    """Return the start of a command for a control group; what is in no process counts in it."""
    return obstacles.control_group(limits.memory + 8 * limits.file, TASKS)


def _walls(limits: Limits, calls: int | None = None) -> list[str]:
    """Return bubblewrap and what it keeps out; `calls` is an open file with a filter of these."""
    filtered = calls is not None and syscalls.program()
    space = ["--size", str(4 * limits.file), "--tmpfs"]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
        *obstacles.no_namespaces(),
        *(("--seccomp", str(calls)) if filtered else ()),
        *(part for name in BUS for part in ("--unsetenv", name)),
        *(part for path in SYSTEM for part in ("--ro-bind-try", path, path)),
        # Root may write settings, capabilities or not; /dev/zero gives memory that nobody counts.
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--dev", "/dev", "--dev-bind", "/dev/null", "/dev/zero"),
        *(*space, "/dev/shm", "--remount-ro", "/dev", *space, "/tmp", "--chdir", "/tmp"),
        *(part for path in _shown() for part in ("--ro-bind", path, path)),
        *("--remount-ro", "/"),
    ]


def _shown() -> list[str]:
    """Return what the code may read besides the system: Python, its packages, the course's own."""
    home = lab_home()
    own = (CANDIDATE, CANDIDATE.with_name("values.py"), PROJECT / "labutils")
    shown = {sys.base_prefix, sys.prefix, *map(str, own)}
    shown |= {str(home / name) for name in ("data", "models")}
    shown |= {path for path in sys.path if path.endswith("-packages") and os.path.isdir(path)}
    return sorted(shown, key=len)  # a folder before what lies in it
