"""Why can submissions not be shut in on this machine, and what helps here?"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

UNSAFE = " UNSAFE=1 grades without any protection."
INSTALL = "Install it (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap)."
ELSEWHERE = {
    "win32": "grade in WSL 2 (`wsl --install`, then all as on Linux).",
    "darwin": "grade in a Linux virtual machine (Lima, UTM)." + UNSAFE,
}
# What forbids bubblewrap its work: a setting below /proc/sys, its value, and what allows it.
FORBIDDING = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1",
     "AppArmor forbids it; allow bubblewrap alone: printf 'abi <abi/4.0>,\\ninclude "
     "<tunables/global>\\nprofile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }\\n' | "
     "sudo tee /etc/apparmor.d/bwrap && sudo systemctl reload apparmor."),
    ("kernel/unprivileged_userns_clone", "0",
     "The kernel is set to forbid it: sudo sysctl -w kernel.unprivileged_userns_clone=1."),
    ("user/max_user_namespaces", "0",
     "The kernel is set to forbid it: sudo sysctl -w user.max_user_namespaces=15000."),
)  # fmt: skip
CONTAINER = (
    "This is a container: start it with `--security-opt seccomp=unconfined --security-opt "
    "apparmor=unconfined --security-opt systempaths=unconfined` (or, less safe, --privileged)."
)


def obstacle(system: str, said: str | None, settings: dict[str, str], container: bool) -> str:
    """Return "" if submissions can be shut in on a system as `sys.platform` names it, or why not.

    `said` is what bubblewrap complained of, empty if it works and None if it is not there;
    `settings` are the values of files below /proc/sys.
    """
    if not system.startswith("linux"):
        what = ELSEWHERE.get(system, "grade in a Linux virtual machine." + UNSAFE)
        return f"Submissions can be shut in by bubblewrap, which is for Linux only: {what}"
    if said is None:
        return f"Submissions are shut in by bubblewrap, which is not installed. {INSTALL}{UNSAFE}"
    if not said:
        return ""
    remedies = [helps for name, value, helps in FORBIDDING if settings.get(name) == value]
    remedies += [CONTAINER] if container else []
    remedies = remedies or ["Grade in a virtual machine with a usual Linux."]
    return f"bubblewrap does not work here ({said[:200]}). {remedies[0]}{UNSAFE}"


def found(trial: Callable[[], list[str]]) -> str:
    """Return what `obstacle` says of this machine; `trial` makes a command of bubblewrap's."""
    said, settings = None, {}
    if shutil.which("bwrap"):
        tried = subprocess.run(trial(), capture_output=True, text=True)
        said = tried.stderr.strip() or "no reason given" if tried.returncode else ""
    for name, *_ in FORBIDDING:
        path = Path("/proc/sys", name)
        settings[name] = path.read_text().strip() if path.exists() else ""
    container = any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))
    return obstacle(sys.platform, said, settings, container)


@functools.cache
def no_namespaces() -> list[str]:
    """Return bubblewrap's options against namespaces made inside; none before version 0.8."""
    options = ["--unshare-user", "--disable-userns"]
    tried = subprocess.run(["bwrap", *options, "--ro-bind", "/", "/", "true"], capture_output=True)
    return [] if tried.returncode else options


@functools.cache
def control_group(memory: int, tasks: int) -> list[str]:
    """Return a command that starts another in a control group; none where none can be had.

    Its `memory`, in bytes, counts all: files in a tmpfs, pipes, and what the kernel keeps.
    """
    systemd_run = shutil.which("systemd-run")
    user = ["--user"] if os.geteuid() else []
    bounds = (f"MemoryMax={memory}", "MemorySwapMax=0", f"TasksMax={tasks}")
    options = [part for bound in bounds for part in ("-p", bound)]
    command = [str(systemd_run), *user, "--scope", "--quiet", "--collect", *options, "--"]
    look = 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max"'
    try:  # it says nothing of a bound that it could not set
        told = subprocess.run([*command, "sh", "-c", look], capture_output=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return command if told.strip().isdigit() else []
