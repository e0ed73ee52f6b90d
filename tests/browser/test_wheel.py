"""The built package, installed into an environment of its own, with no clone around it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import nbformat
import pytest
from browser import go_to, jupyterlab, open_lesson, run_cell, server
from conftest import PROJECT

from labutils.base.home import DISTRIBUTION

pytestmark = pytest.mark.slow
NEEDED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "etc", "labutils", "notebooks")
NEEDED += ("models/pretrained", "models/smallest", "benchmarks/results")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in NEEDED:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        (folder / name).parent.mkdir(exist_ok=True)
        copy(PROJECT / name, folder / name)
    code = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An environment with this wheel, and with the other packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    own = subprocess.run(
        [folder / scripts, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    pip = [sys.executable, "-m", "pip", "--python", folder / scripts, "install", "--no-deps", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    with open(f"{own}/others.pth", "w") as file:  # .pth files behind this are not read
        file.write(sysconfig.get_path("purelib"))
    return folder / scripts


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder, of somebody who has nothing of the lab's but the package."""
    monkeypatch.delenv("EAI_LAB_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JUPYTERLAB_DIR", f"{sys.prefix}/share/jupyter/lab")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path / "empty"


@pytest.fixture
def only_digits(tmp_path, monkeypatch):
    """A class's folder with the digits as they were published, and nothing else."""
    home = tmp_path / "class"
    files = shutil.ignore_patterns("*-ubyte", "*.lock")
    shutil.copytree(PROJECT / "data" / "MNIST", home / "data" / "MNIST", ignore=files)
    monkeypatch.setenv("EAI_LAB_HOME", str(home))
    return home


def run(python, *arguments):
    done = subprocess.run([python, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_what_lessons_need_and_no_solution(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = [name.partition(".data/data/")[2] for name in file.namelist()]
    shipped = {name.partition(f"share/{DISTRIBUTION}/")[2] for name in names}
    for folder in ("notebooks", "models/pretrained", "models/smallest", "benchmarks/results"):
        expected = (PROJECT / folder).glob("*.*")
        wanted = {f"{folder}/{path.name}" for path in expected if path.name[0] != "."}
        assert wanted
        assert wanted <= shipped
    assert not [name for name in names if "assignment" in name]
    assert wheel.stat().st_size < 10e6


LOOK = """
import labutils as lab
from labutils import device
print(lab.__file__)
kinds = lab.SimpleCNN, lab.ResidualCNN, lab.SeparableCNN
print([lab.load_pretrained(3, kind).widths for kind in kinds])
print(device.load_smallest(99.0).widths, len(device.read_trials()))
print(len(lab.load_comparison(lab.lab_home("benchmarks/results/SimpleCNN.csv"))))
print(lab.save_model(lab.SimpleCNN(), lab.lab_home() / "models" / "mine.pth"))
try:
    lab.load_mnist()
except FileNotFoundError as error:
    print(error)
"""


def test_in_an_empty_folder_all_is_there_but_the_digits(python, empty, tmp_path):
    place, *lines = run(python, "-c", LOOK).splitlines()
    assert str(python.parents[1]) in place
    assert lines[0].count("(") == 3
    assert str(tmp_path / "cache") in lines[3], "what is saved has a place"
    assert "download" in lines[-1], "torchvision's, which the cut network refuses"
    assert list(empty.iterdir()) == []


def test_a_copy_of_the_lessons_keeps_the_readers_work(python, empty):
    said = run(python, "-m", "labutils", "my lessons", "--copy")
    folder = empty / "my lessons"
    assert str(folder) in said
    lesson = folder / "notebooks" / "00_start_here.ipynb"
    assert lesson.read_bytes() == (PROJECT / "notebooks" / lesson.name).read_bytes()
    lesson.write_text("my work")
    (lesson.parent / "01_training.ipynb").unlink()
    run(python, "-m", "labutils", "my lessons", "--copy")
    assert lesson.read_text() == "my work"
    assert (lesson.parent / "01_training.ipynb").is_file()
    for link in ("labutils/prune/dependencies.py", "benchmarks/results/README.md"):
        assert (folder / link).is_file()


def test_a_folder_that_cannot_be_used_is_one_sentence(python, empty):
    (empty / "file").touch()
    command = [python, "-m", "labutils", "file"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("name another folder.")
    assert "Traceback" not in done.stderr


@pytest.mark.browser
def test_a_jupyterlab_of_another_python_runs_it(
    python, empty, only_digits, browser, tmp_path, monkeypatch
):
    kernel = tmp_path / "jupyter" / "kernels" / "elsewhere"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    told = {"argv": command, "display_name": "Elsewhere", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(told))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    def fill(folder):
        run(python, "-m", "labutils", folder, "--copy")
        path = folder / "notebooks" / "00_start_here.ipynb"
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.kernelspec = {"name": "elsewhere", "display_name": "Elsewhere"}
        notebook.cells.append(nbformat.v4.new_code_cell("print(lab.__file__)"))
        nbformat.write(notebook, path)

    with server(fill) as address:
        page = jupyterlab(browser, address)
        open_lesson(page, "00_start_here")
        run_cell(page, "lab.pruning_explorer(")
        go_to(page, "lab.pruning_explorer(")
        slider = page.locator(".lab[aria-busy]").first.get_by_role("slider", name="Remove")
        slider.scroll_into_view_if_needed()
        slider.press("End")
        page.locator(".lab[aria-busy=false] .basis", has_text="100% of the weights").wait_for()
        run_cell(page, "lab.check_installation()")
        go_to(page, "lab.check_installation()")
        page.locator(".jp-RenderedHTML tr", has_text="✓ ok").nth(10).wait_for()
        assert page.get_by_text("✗ fix").count() == 0
        run_cell(page, "print(lab.__file__)")
        page.get_by_text(str(python.parents[1])).wait_for()
        page.close()
