import shutil
from importlib.util import module_from_spec, spec_from_file_location

import pytest
from conftest import PROJECT

import labutils as lab


def test_project_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("EAI_LAB_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert lab.lab_home() == PROJECT


def test_variable_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path))
    assert lab.lab_home() == tmp_path.resolve()
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"EAI_LAB_HOME.*gone.*not a folder"):
        lab.lab_home()


def test_package_without_its_project(tmp_path, monkeypatch):
    """A copy of it elsewhere takes the project it runs in, or a folder of the user's."""
    monkeypatch.delenv("EAI_LAB_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copy = tmp_path / "site" / "labutils" / "base" / "home.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(PROJECT / "labutils" / "base" / "home.py", copy)
    spec = spec_from_file_location("home_elsewhere", copy)
    home = module_from_spec(spec)
    spec.loader.exec_module(home)
    monkeypatch.chdir(PROJECT / "notebooks")
    assert home.lab_home() == PROJECT
    monkeypatch.chdir(tmp_path)
    assert home.lab_home().name == "eai-pruning-lab"
    assert PROJECT not in home.lab_home().parents


def test_what_a_home_lacks_comes_from_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path))
    assert lab.lab_home("benchmarks/results") == PROJECT / "benchmarks" / "results"
    assert lab.lab_home("models/none.pth") == tmp_path.resolve() / "models" / "none.pth"
    (tmp_path / "models" / "pretrained").mkdir()
    assert lab.lab_home("models/pretrained") == tmp_path.resolve() / "models" / "pretrained"
    with pytest.raises(FileNotFoundError, match=r"no pretrained networks in .*come with the lab"):
        lab.load_pretrained(0)
