"""Set the lab up, once, and start what is asked for: python start.py [COMMAND] [ARGUMENT ...]

It needs nothing but Python 3.10 or newer, on Linux, macOS and Windows. Arguments go to the program
behind the command: python start.py lab --no-browser. `make COMMAND` calls this program.
Environment variables: TORCH_INDEX, the index to take PyTorch from, an address or "nightly"; JOBS,
how many tests run at a time.
"""

from __future__ import annotations  # so that an older Python gets as far as to be refused

import contextlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST = "notebooks/00_start_here.ipynb"
VENV = HERE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# Where PyTorch keeps builds without CUDA, 4 GB smaller. Pip's own index has none for Linux.
CPU_BUILDS = "https://download.{}/whl/cpu".format("pytorch.org")
OLDEST_PIP = (22,)  # the first that can install what is edited in place
COMMANDS: dict[str, tuple[Callable, str | None, str]] = {}


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    sys.stdout.reconfigure(errors="replace")  # a console may lack letters of this folder's name
    name, *others = arguments or ["lab"]
    known = {key: made for key, made in COMMANDS.items() if (HERE / made[2]).exists()}
    if name in ("help", "--help", "-h"):
        print(__doc__)
        for key, (function, _, _) in known.items():
            print(f"{key:12} {function.__doc__}")
        return
    if name not in known:
        sys.exit(f"There is no command {name!r}: choose one of {', '.join(known)}, help.")
    os.chdir(HERE)
    command, extra, _ = known[name]
    if others and not signature(command).parameters:
        sys.exit(f"{name} takes no arguments, and was given {' '.join(others)}.")
    try:
        if extra:
            set_up(extra)
        command(*others)
    except OSError as error:
        sys.exit(
            f"{error.filename or HERE} cannot be used ({error.strerror}): free some disk, or move "
            "the project to a folder of your own, then run the same again."
        )
    except KeyboardInterrupt:
        sys.exit("\nStopped: the same command goes on from here.")


def command(extra: str | None, at: str = "labutils") -> Callable:
    """Make a function a command: the packages it needs, and what has to be there to offer it."""
    return lambda function: COMMANDS.setdefault(function.__name__, (function, extra, at))[0]


# The commands, each with the line that `help` shows.


@command("device")
def lab(*arguments: str) -> None:
    """Install what is missing, then open JupyterLab on the first lesson."""
    become("-m", "jupyterlab", f"--LabApp.default_url=/lab/tree/{FIRST}", *as_root(), *arguments)


@command(None)
def install() -> None:
    """Install what is missing, what could not be had before too, and open nothing."""
    (VENV / "installed-device").unlink(missing_ok=True)
    set_up("device")
    print("Installed: `python start.py` opens the first lesson.")


def pytest(*options: str) -> None:
    """Run tests side by side, a file in one worker, and on Linux with the network cut.

    Threads of their own would only be in each other's way. Lessons are tests too: --nbval-lax
    runs them. What takes more than a second is marked slow.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    offline = ["tools/offline.py", PYTHON] if sys.platform == "linux" else []
    workers = ["-n", os.environ.get("JOBS") or "2", "--dist", "loadfile"]
    become(*offline, "-m", "pytest", *workers, *options)


@command("test", at="tests")
def test(*arguments: str) -> None:
    """Run everything: lint, unit tests, notebooks, a real browser."""
    lint()
    pytest("--no-loadscope-reorder", "--nbval-lax", "--durations=20", *arguments)


@command("test", at="tests")
def check(*arguments: str) -> None:
    """Run what a change is most likely to break, in about two minutes."""
    lint()
    pytest("-m", "not slow and not browser", "--durations=5", *arguments)


@command("test", at="tests")
def lint() -> None:
    """Look at the style and the spelling."""
    call("-m", "ruff", "check", ".")
    call("-m", "ruff", "format", "--check", ".")
    call("-m", "codespell_lib")


@command("device", at="tools")
def run(*arguments: str) -> None:
    """Run all lessons in order, without a screen; pages in build/."""
    become("tools/lessons.py", "run", *arguments)


@command("device")
def page(*arguments: str) -> None:
    """Write the explorer as one file: dist/pruning-lab.html, for any browser, offline."""
    become("-m", "labutils.page", *arguments)


@command("site", at="tools/website.py")
def site(*arguments: str) -> None:
    """Write the course as pages to be read without installing: build/site/index.html."""
    become("tools/website.py", *arguments)


@command("teacher", at="classroom")
def handout(*arguments: str) -> None:
    """Build what students get: dist/eai-lab2-handout.zip and the task sheet."""
    become("-m", "classroom.handout", *arguments)


@command("teacher", at="classroom")
def grade(*arguments: str) -> None:
    """Grade a class: python start.py grade FOLDER-OR-ZIP, or make grade SUBMISSIONS=..."""
    if not arguments:
        sys.exit("Say what to grade, a folder or a zip file (see notebooks/assignment/README.md).")
    become("-m", "classroom.grade", "--course", course(), *arguments)


@command("teacher", at="classroom")
def mark(*arguments: str) -> None:
    """Mark written answers by hand: in JupyterLab, menu Nbgrader, Formgrader."""
    folder, *others = (
        arguments if arguments[:1] and arguments[0][:1] != "-" else [course(), *arguments]
    )
    if not Path(folder).is_dir():
        sys.exit(f"There is no {folder} yet: grade a class first.")
    os.chdir(folder)
    become("-m", "jupyterlab", *as_root(), *others)


@command("test", at="tools")
def notebooks(*arguments: str) -> None:
    """Run all lessons again and store their outputs."""
    become("tools/lessons.py", "store", *arguments)


@command("device", at="models/make_pretrained.py")
def pretrained(*arguments: str) -> None:
    """Train the networks in models/pretrained again."""
    become("models/make_pretrained.py", *arguments)


@command("device", at="models/make_smallest.py")
def smallest(*arguments: str) -> None:
    """Search for the networks in models/smallest again (hours)."""
    become("models/make_smallest.py", *arguments)


@command("test", at="tests")
def pictures() -> None:
    """Take the screenshots in the README again."""
    call("-m", "pytest", "-m", "browser", "tests/browser/test_browser.py")
    shutil.copy("build/screenshots/explorer.png", "docs")


@command(None)
def clean() -> None:
    """Remove what these commands made, the environment included."""
    made = (".venv", "build", "dist", "*.egg-info", "models/*.pth", "models/*.onnx")
    made += ("data/*/raw/*-ubyte", "data/*/*.lock")
    for path in (path for pattern in made for path in HERE.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# The environment


def set_up(extra: str) -> None:
    """Have an environment in .venv with the packages of an extra, which it installs once.

    What was installed for is written down; after a change of pyproject.toml it is done again.
    """
    if sys.version_info < (3, 10):
        sys.exit(
            f"This is Python {sys.version.split()[0]}: install 3.10 or newer and start with it, as "
            "python3.12 start.py or make lab PYTHON=python3.12."
        )
    wanted = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    stamp = VENV / f"installed-{extra}"
    if not works(PYTHON):
        make_environment()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    renew_pip()
    install_torch()
    if not pip("--editable", f".[{extra}]"):
        if extra != "device" or not pip("--editable", "."):
            sys.exit(
                "The packages could not be installed; the lines above say which, and why. Check "
                "the network (behind a proxy: set HTTPS_PROXY=http://name:port) and the free disk, "
                "then run the same again: it goes on where it stopped."
            )
        print("Without compiler and emulator, lesson 06 will show stored results.")
    stamp.write_text(wanted, encoding="utf-8")


def make_environment() -> None:
    """Make .venv, anew where one is there that does not work."""
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists():
        sys.exit(f"{VENV} is no environment of Python's: move it away, then run the same again.")
    if not (find_spec("venv") and find_spec("ensurepip")):
        sys.exit(
            f"{sys.executable} cannot make environments: on Debian and Ubuntu, apt install "
            "python3-venv; elsewhere, install Python from python.org."
        )
    print(f"Setting up {VENV}, once: this takes some minutes.", flush=True)
    HERE.joinpath(".venv").mkdir(exist_ok=True)  # raises where that is not allowed
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV])
    if made.returncode or not works(PYTHON):
        sys.exit(f"No environment could be made in {VENV}; the lines above say why.")


def works(python: Path) -> bool:
    """Tell whether an environment's Python starts and has pip: a stopped set-up leaves less."""
    try:
        return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False


def renew_pip() -> None:
    """Bring a pip up to date that could not install the project."""
    said = subprocess.run([PYTHON, "-c", "import pip; print(pip.__version__)"], capture_output=True)
    version = said.stdout.decode().strip()
    if tuple(map(int, version.split(".")[:1])) < OLDEST_PIP and not pip("--upgrade", "pip"):
        sys.exit(f"pip {version} is too old, and a newer one could not be had: check the network.")


def install_torch() -> None:
    """Install PyTorch from where `torch_index` says, if it says so and PyTorch is not there yet."""
    asked = os.environ.get("TORCH_INDEX")
    index = torch_index(asked, sys.platform, has_nvidia_driver())
    there = subprocess.run(
        [PYTHON, "-c", "import importlib.util as u; exit(not u.find_spec('torch'))"]
    )
    if index is None or there.returncode == 0:
        return
    if (asked or answers(index)) and pip("torch", "torchvision", "--index-url", index):
        return
    if asked:
        sys.exit(f"PyTorch could not be installed from TORCH_INDEX={asked}: correct or unset it.")
    print(
        f"{index} has no PyTorch for this machine now: pip's ordinary build, 4 GB larger, is taken."
    )


def torch_index(asked: str | None, system: str, driver: bool) -> str | None:
    """Return the address of the index to take PyTorch from, None for pip's own.

    On Linux pip's own has builds with CUDA, gigabytes that only an NVIDIA driver can use; for
    macOS and Windows it has none of that.
    """
    if asked == "nightly":
        return CPU_BUILDS.replace("/whl/", "/whl/nightly/")
    return asked or (CPU_BUILDS if system == "linux" and not driver else None)


def has_nvidia_driver() -> bool:
    """Tell whether programs can reach an NVIDIA GPU here, be it from within WSL."""
    return bool(shutil.which("nvidia-smi")) or any(
        Path(sign).exists() for sign in ("/proc/driver/nvidia", "/usr/lib/wsl/lib/nvidia-smi")
    )


def answers(index: str) -> bool:
    """Tell, in seconds, whether an index can be reached: pip would try for minutes."""
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=10):
            return True
    except (OSError, ValueError):
        return False


def pip(*arguments: str) -> bool:
    """Install with the environment's pip; tell whether that worked."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONUTF8": "1"}).returncode == 0


# Programs


def call(*arguments: str | Path) -> None:
    """Run a program of the environment's Python; end with it where it fails."""
    failed = subprocess.run([PYTHON, *arguments]).returncode
    if failed:
        sys.exit(failed)


def become(*arguments: str | Path) -> None:
    """Run a program to its end in place of this one, which Windows cannot: there, wait for it."""
    command = list(map(str, (PYTHON, *arguments)))
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    process = subprocess.Popen(command)
    while process.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):  # meant for the program, which got it too
            process.wait()
    sys.exit(process.returncode)


def as_root() -> list[str]:
    """Return what Jupyter asks for where everything runs as root, as in a container."""
    return ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def course() -> str:
    """Return the folder of the class's gradebook, one for each assignment."""
    return "-".join(["grading", *Path(os.environ.get("ASSIGNMENT", "")).parts[-1:]])


if __name__ == "__main__":
    main(sys.argv[1:])
