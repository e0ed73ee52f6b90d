import subprocess
import sys

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


def test_variable_that_names_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"EAI_LAB_HOME.*gone.*not a folder"):
        lab.lab_home()


@pytest.mark.parametrize("inside", [True, False])
def test_package_without_its_project(tmp_path, inside):
    # A real copy: the package finds its project through its own, resolved path.
    package = tmp_path / "site" / "labutils"
    package.parent.mkdir()
    subprocess.run(["cp", "-r", PROJECT / "labutils", package], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
        "import labutils as lab; print(lab.__file__); print(lab.lab_home())"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=PROJECT / "notebooks" if inside else tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    file, home = process.stdout.splitlines()
    assert file.startswith(str(tmp_path))
    if inside:
        assert home == str(PROJECT)
    else:
        assert home.startswith(str(tmp_path))
        assert home.endswith("eai-pruning-lab")
