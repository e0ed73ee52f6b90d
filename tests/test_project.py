"""The files around the code agree with each other."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml
from conftest import PROJECT
from packaging.requirements import Requirement

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


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_an_installation_brings_the_configuration_of_ipython_and_nbconvert(tmp_path, kind):
    pytest.importorskip("setuptools", "77")
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT / file, tmp_path)
    for folder in ("etc", "labutils"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    code = f"from setuptools import build_meta; build_meta.build_{kind}('.')"
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


def test_readme_knows_every_make_target():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    output = subprocess.run(
        ["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    targets = re.findall(r"^make (\w+)", output, flags=re.MULTILINE)
    assert {"lab", "run", "test", "notebooks", "pretrained", "clean"} <= set(targets)
    for target in set(targets) - {"help"}:
        assert f"make {target}" in readme


@pytest.mark.skipif(sys.platform == "win32", reason="make is for Linux and macOS")
def test_old_python_is_refused_with_a_remedy(tmp_path):
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text((PROJECT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    process = subprocess.run(
        ["make", "lab", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode != 0
    assert "is not Python 3.10 or newer" in process.stdout + process.stderr
    assert "make lab PYTHON=python3.12" in process.stdout + process.stderr


def test_nothing_names_a_registry_or_a_machine():
    hosts = ("download." + "pytorch.org", "pypi." + "org", "/" + "work/", "/" + "root/")
    for name, text in tracked_texts():
        for host in hosts:
            assert host not in text, f"{name} names {host}"
