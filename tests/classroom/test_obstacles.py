"""What a machine lacks for shutting submissions in is said, with what helps there."""

import os
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from classroom import obstacles, sandbox
from classroom.grade import _precautions
from classroom.sandbox import Limits

APPARMOR, CLONE, MOST = (name for name, *_ in obstacles.FORBIDDING)
DENIED = "setting up uid map: Permission denied"
STAND_IN = """\
#!/bin/sh
while [ "$1" != -- ]; do asked="$asked $1"; shift; done
shift
if [ "$1" = sh ]; then {look}; else echo "$asked"; exec "$@"; fi
"""


@pytest.mark.parametrize(
    ("system", "said", "settings", "container", "helps"),
    [
        ("linux", "", {APPARMOR: "1"}, True, ""),
        ("linux", None, {}, False, "apt install bubblewrap"),
        ("linux", DENIED, {APPARMOR: "1", CLONE: "1"}, False, "/etc/apparmor.d/bwrap"),
        ("linux", DENIED, {APPARMOR: "0", CLONE: "0"}, False, "kernel.unprivileged_userns_clone=1"),
        ("linux", DENIED, {MOST: "0"}, False, "user.max_user_namespaces=15000"),
        ("linux", DENIED, {MOST: "9"}, True, "--security-opt systempaths=unconfined"),
        ("linux", DENIED, {}, False, "a virtual machine"),
        ("darwin", None, {}, False, "Linux only: grade in a Linux virtual machine"),
        ("win32", None, {}, False, "WSL 2"),
        ("freebsd14", None, {}, False, "a Linux virtual machine"),
    ],
)
def test_the_remedy_is_the_one_that_works_there(system, said, settings, container, helps):
    told = obstacles.obstacle(system, said, settings, container)
    assert helps in told
    assert bool(told) == bool(helps)
    assert ("apt install" in told) == (said is None and system == "linux")
    assert (DENIED in told) == (said == DENIED)


@pytest.mark.parametrize(
    ("look", "had"),
    [("echo 4096", True), ("echo max", False), ("echo", False), ("exit 1", False), (None, False)],
)
def test_a_control_group_is_had_where_its_bound_holds(look, had, tmp_path, monkeypatch):
    """With a stand-in for systemd, which not every machine runs; None: there is not even that."""
    if look:
        command = tmp_path / "systemd-run"
        command.write_text(STAND_IN.format(look=look))
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}" if look is None else f"{tmp_path}:/usr/bin:/bin")
    obstacles.control_group.cache_clear()
    try:
        begins = obstacles.control_group(4096, 9)
        assert bool(begins) == had
        assert ("no control group" in sandbox.shortcomings(Limits())) != had
    finally:
        obstacles.control_group.cache_clear()
    if had:
        told = subprocess.check_output([*begins, "echo", "started"], text=True)
        assert "-p MemoryMax=4096 -p MemorySwapMax=0 -p TasksMax=9\nstarted" in told


@pytest.mark.parametrize(
    ("user", "place", "said"),
    [
        (0, "/home/me/lab", "you are root"),
        (1000, "/usr/src/app/grading", "/usr/src/app/grading lies in /usr, which students'"),
        (1000, str(sandbox.PROJECT / "labutils" / "grading"), "can read: move it elsewhere"),
    ],
)
def test_what_is_too_dangerous_is_refused(user, place, said, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(sandbox, "available", str)
    with pytest.raises((RuntimeError, ValueError), match=said):
        _precautions(Limits(), [Path(place)], False, False)


def test_what_is_dangerous_is_said_out_loud(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    warnings = _precautions(Limits(), [Path("/usr/src/app")], True, True)
    assert [line.split(":")[1] for line in warnings] == [" ROOT=1", " UNSAFE=1"]
