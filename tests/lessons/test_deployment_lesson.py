"""Lessons 06 and 07 on a machine that has neither compiler nor emulator."""

import os
import re

import nbformat
import pytest
from conftest import PROJECT
from nbclient import NotebookClient

from labutils.device._extra import PACKAGES
from labutils.device.stored_results import RESULTS


@pytest.fixture
def blocked(tmp_path):
    """The environment of a kernel in which the packages of the extra cannot be imported."""
    for name in PACKAGES:
        (tmp_path / f"{name}.py").write_text("raise ImportError('no wheel for this machine')")
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"}


@pytest.mark.slow
def test_stored_results_are_shown_and_said_to_be(blocked):
    path = PROJECT / "notebooks" / "06_deployment.ipynb"
    notebook = nbformat.read(path, as_version=4)
    setup = next(cell for cell in notebook.cells if cell.id == "setup")  # little to train on
    setup.source += "\ndigits = lab.Digits(digits.train[:2_560], digits.validation, digits.test)"
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute(env=blocked)
    cells = {cell.id: cell for cell in notebook.cells}
    assert "missing: ['onnx'" in cells["setup"].outputs[0].text
    stored = [cell for cell in notebook.cells if "device.remembered(" in cell.source]
    code = [cell for cell in stored if cell.cell_type == "code"]
    assert len(code) >= 8
    for cell in code:
        said = "".join(output.get("text", "") for output in cell.outputs)
        assert "Not measured here" in said, cell.id
        assert "This was measured before, with Linux" in said, cell.id
    (explorer,) = cells["widget"].outputs
    assert "The laptop reads a" in explorer.data["text/html"]


def test_what_lessons_measure_on_a_device_is_stored():
    lessons = (PROJECT / "notebooks").glob("[0-9]*.ipynb")
    text = "".join(path.read_text(encoding="utf-8") for path in lessons)
    names = re.findall(r'device\.remembered\((?:\\n",\s*")?\s*\\"(\w+)\\"', text)
    assert {"formats", "n_of_m"} < set(names)
    assert sorted(names) == sorted(path.stem for path in RESULTS.glob("*.csv"))
