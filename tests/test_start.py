"""start.py: real environments and a real pip, with an index, a driver and a project to stand in."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import PROJECT
from pages import served

import start

# A project that is installed in a second, and needs no network for what builds it.
PYPROJECT = """[project]
name = "lab"
version = "1.0"
dependencies = ["torch"]
optional-dependencies = {device = ["compiler"], test = []}
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """import zipfile
META = ("Metadata-Version: 2.1\\nName: lab\\nVersion: 1.0\\nRequires-Dist: torch\\n"
        "Provides-Extra: test\\nProvides-Extra: device\\n"
        "Requires-Dist: compiler; extra == 'device'\\n")
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "lab-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("lab-1.0.dist-info/METADATA", META)
        wheel.writestr("lab-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("lab-1.0.dist-info/RECORD", "")
    return name
"""
KINDS = {"ordinary": "1.0", "cpu": "1.0+cpu", "own": "1.0+own"}
# Starts the program with another address for PyTorch's builds; says what it was asked to become.
RUN = "import sys, start; start.CPU_BUILDS = sys.argv.pop(1); start.become = print; start.main({})"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Three package indexes on this machine, by name in its address, each with a PyTorch."""
    folder = tmp_path_factory.mktemp("index")
    for kind, version in KINDS.items():
        for name in ("torch", "torchvision", *(["compiler"] if kind == "ordinary" else [])):
            place = folder / kind / name
            place.mkdir(parents=True)
            wheel, info = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
            with zipfile.ZipFile(place / wheel, "w") as file:
                file.writestr(f"{name}.py", f"kind = {kind!r}")
                meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                file.writestr(f"{info}/METADATA", meta)
                file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
                file.writestr(f"{info}/RECORD", "")
            (place / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')

    with served(folder) as address:
        yield address.rstrip("/")


@pytest.fixture
def folder(tmp_path):
    """A project in a folder whose name asks for care."""
    place = tmp_path / "Übung mit Leerzeichen"
    for name in ("labutils", "tests"):
        (place / name).mkdir(parents=True)
    (place / "start.py").write_bytes((PROJECT / "start.py").read_bytes())
    (place / "pyproject.toml").write_text(PYPROJECT)
    (place / "backend.py").write_text(BACKEND)
    return place


def run(folder, index, *arguments, cpu="cpu", **environment):
    command = [sys.executable, "-c", RUN.format(list(arguments)), f"{index}/{cpu}"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    pip = {"PIP_INDEX_URL": f"{index}/ordinary", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        command, cwd=folder, text=True, encoding="utf-8", errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**kept, **pip, **environment},
    )  # fmt: skip


def python(folder):
    return folder / start.PYTHON.relative_to(PROJECT)


def kind(folder):
    """Which index PyTorch came from."""
    command = [python(folder), "-c", "import torch; print(torch.kind)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pip's own has no CUDA")


@LINUX
@pytest.mark.slow
def test_without_a_driver_the_build_for_cpus_is_taken_once(folder, index):
    first = run(folder, index, "lab", "--no-browser")
    assert first.returncode == 0, first.stdout
    assert "-m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00" in first.stdout
    assert "--no-browser" in first.stdout
    assert kind(folder) == "cpu"
    second = run(folder, f"{index}/gone", "lab")
    assert second.stdout.startswith("-m jupyterlab"), "an index was asked again"
    # An environment that lost its pip, as one whose set-up was stopped, is made anew.
    (pip,) = (folder / ".venv").glob("[Ll]ib/**/site-packages/pip/__init__.py")
    pip.write_text("this is half a fi")
    third = run(folder, index, "lab")
    assert "Setting up" in third.stdout
    assert kind(folder) == "cpu"


@LINUX
@pytest.mark.slow
def test_otherwise_the_ordinary_build_or_the_one_that_is_asked_for(folder, index, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    driver = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    asked = {"TORCH_INDEX": f"{index}/own"}
    for cpu, environment, expected in [
        ("gone", {}, "ordinary"),
        ("cpu", driver, "ordinary"),
        ("cpu", driver | asked, "own"),
    ]:
        done = run(folder, index, "install", cpu=cpu, **environment)
        assert done.returncode == 0, done.stdout
        assert kind(folder) == expected
        assert ("pip's ordinary build" in done.stdout) == (cpu == "gone")
        uninstall = ["-m", "pip", "uninstall", "-qy", "torch", "torchvision", "compiler"]
        subprocess.run([python(folder), *uninstall], check=True)
    wrong = run(folder, index, "install", TORCH_INDEX=f"{index}/gone")
    assert wrong.returncode == 1
    assert "TORCH_INDEX" in wrong.stdout.splitlines()[-1]
    # What lesson 06 needs may be missing, and be had later; what all lessons need may not.
    done = run(folder, index, "lab", PIP_INDEX_URL=f"{index}/cpu")
    assert "lesson 06 will show stored results" in done.stdout
    assert "Successfully installed compiler" in run(folder, index, "install").stdout
    (folder / "backend.py").write_text("raise OSError('no space left')")
    broken = run(folder, index, "check")
    assert broken.returncode == 1
    assert "could not be installed" in broken.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("asked", "system", "driver", "expected"),
    [
        (None, "linux", False, start.CPU_BUILDS),
        ("", "linux", False, start.CPU_BUILDS),
        (None, "linux", True, None),
        (None, "darwin", False, None),
        (None, "win32", False, None),
        ("there", "linux", True, "there"),
        ("there", "win32", False, "there"),
        ("nightly", "linux", True, start.CPU_BUILDS.replace("/whl/", "/whl/nightly/")),
    ],
)
def test_which_index_is_chosen(asked, system, driver, expected):
    assert start.torch_index(asked, system, driver) == expected


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "nonsense", "file:///nowhere"])
def test_an_address_that_does_not_answer_is_known_at_once(address):
    assert not start.answers(address)


@pytest.fixture
def bare(folder, monkeypatch):
    """The program's functions, for that folder, with nothing installed."""
    monkeypatch.setattr(start, "HERE", folder)
    monkeypatch.setattr(start, "VENV", folder / ".venv")
    monkeypatch.setattr(start, "PYTHON", folder / ".venv" / "bin" / "python")
    monkeypatch.setattr(start, "become", print)
    monkeypatch.chdir(folder)
    return folder


def refused(*arguments):
    with pytest.raises(SystemExit) as stopped:
        start.main(list(arguments))
    said = str(stopped.value.code)
    assert said.count("\n") == 0
    return said


def test_an_older_python_is_refused_with_a_remedy(bare, monkeypatch):
    ast.parse((PROJECT / "start.py").read_text(), feature_version=(3, 7))  # gets that far
    monkeypatch.setattr(sys, "version_info", (3, 9, 0))
    assert "make lab PYTHON=python3.12" in refused("lab")


def test_a_python_without_venv_is_refused_with_a_remedy(bare, monkeypatch):
    monkeypatch.setattr(start, "find_spec", lambda name: None if name == "ensurepip" else name)
    assert "apt install python3-venv" in refused()


def test_what_is_in_the_way_is_left_alone(bare):
    (bare / ".venv").mkdir()
    (bare / ".venv" / "mine").write_text("precious")
    assert "move it away" in refused("check")
    assert (bare / ".venv" / "mine").read_text() == "precious"


def test_a_folder_that_cannot_be_written_is_named(bare, monkeypatch):
    def mkdir(self, **_):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    said = refused("lab")
    assert f"{bare / '.venv'} cannot be used (Read-only file system)" in said
    assert "a folder of your own" in said


def test_a_command_that_takes_nothing_says_so(bare):
    assert refused("clean", "everything") == "clean takes no arguments, and was given everything."


def test_an_interrupted_set_up_ends_without_a_traceback(bare, monkeypatch):
    monkeypatch.setattr(start, "set_up", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit, match="the same command goes on from here"):
        start.main(["lab"])


def test_an_old_pip_is_renewed_before_it_is_used(bare, monkeypatch):
    said = subprocess.CompletedProcess([], 0, stdout=b"21.2.3\r\n")
    monkeypatch.setattr(start.subprocess, "run", lambda *_, **__: said)
    asked = []
    monkeypatch.setattr(start, "pip", lambda *arguments: asked.append(arguments) or False)
    with pytest.raises(SystemExit, match=r"pip 21.2.3 is too old.*network"):
        start.renew_pip()
    assert asked == [("--upgrade", "pip")]


def test_only_what_is_there_is_offered(bare, capsys):
    assert refused("site") == "There is no command 'site': choose one of " + (
        "lab, install, test, check, lint, page, pictures, clean, help."
    )
    start.main(["help"])
    assert "Open JupyterLab".lower() in capsys.readouterr().out.lower()


def test_clean_takes_what_was_made_and_no_more(bare):
    for name in ("build/site/page", "models/mine.pth", "models/pretrained/kept.pth", "grading/x"):
        (bare / name).parent.mkdir(parents=True, exist_ok=True)
        (bare / name).touch()
    start.main(["clean"])
    left = {path.relative_to(bare).as_posix() for path in bare.rglob("*") if path.is_file()}
    assert {"models/pretrained/kept.pth", "grading/x", "start.py"} <= left
    assert not {"build/site/page", "models/mine.pth"} & left


def test_a_program_takes_over(monkeypatch):
    monkeypatch.setattr(start.os, "name", "posix")
    monkeypatch.setattr(start, "PYTHON", Path("python"))
    monkeypatch.setattr(start.os, "execv", lambda *command: sys.exit(repr(command)))
    with pytest.raises(SystemExit, match=re.escape("('python', ['python', '-m', 'x'])")):
        start.become("-m", Path("x"))


def test_on_windows_a_program_is_waited_for_even_when_interrupted(monkeypatch):
    monkeypatch.setattr(start.os, "name", "nt")
    monkeypatch.setattr(start, "PYTHON", sys.executable)
    real, waits = subprocess.Popen.wait, []

    def wait(process):
        waits.append(process)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return real(process)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    monkeypatch.setattr(subprocess.Popen, "poll", lambda process: process.returncode)
    with pytest.raises(SystemExit) as ended:
        start.become("-c", "import sys; sys.exit(7)")
    assert ended.value.code == 7
    assert len(waits) == 2
