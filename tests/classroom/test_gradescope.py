"""What Gradescope starts writes what Gradescope reads, whatever happens."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from submissions import POINTS

from classroom import gradescope, sandbox
from classroom.assignment import NAME, SOURCE, parts

pytestmark = pytest.mark.slow
CHECKS = [part for part in parts() if part.kind == "check"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Lay out /autograder elsewhere, with what was uploaded unpacked."""
    base = tmp_path_factory.mktemp("autograder")
    (base / "submission").mkdir()
    with zipfile.ZipFile(gradescope.build(base, " --leaderboard", "a;b")) as archive:
        archive.extractall(base / "source")
        modes = {name: archive.getinfo(name).external_attr >> 16 for name in archive.namelist()}
    assert "torchvision --index-url 'a;b'\n" in (base / "source" / "setup.sh").read_text()
    assert modes["run_autograder"] == modes["setup.sh"] == 0o100755
    return base


def run(base, python=sys.executable):
    """Start what Gradescope starts; return what it would show, and what only to teachers."""
    environment = {"AUTOGRADER": str(base), "PYTHON": python, "OMP_NUM_THREADS": "1"}
    command = ["sh", base / "source" / "run_autograder"]
    process = subprocess.run(
        command, cwd=base, env={**os.environ, **environment}, capture_output=True, text=True
    )
    return json.loads((base / "results" / "results.json").read_text()), process.stdout


@pytest.mark.skipif(bool(sandbox.available()), reason=sandbox.available() or "there is one")
def test_a_solved_notebook_has_all_points_of_the_checks(base):
    (base / "submission" / "my lab.ipynb").write_bytes(SOURCE.read_bytes())
    (base / "submission" / "scratch.py").write_text("1")
    found, told = run(base)
    assert found["score"] == pytest.approx(sum(POINTS.values()))
    assert [test["max_score"] for test in found["tests"]] == [part.points for part in CHECKS]
    assert found["tests"][0]["name"] == "Exercise 1 (ex1-check)"
    assert "right" in found["tests"][0]["output"]
    size, right = found["leaderboard"]
    assert (size["name"], size["value"], size["order"]) == ("Bytes", 18_743, "asc")
    assert 98.8 < right["value"] < 100
    assert "the file was called 'my lab.ipynb'" in told


def test_no_network_that_counts_has_no_place():
    text = "design_network: 200,000 bytes, 99.10% of 5,000 images right: 0 of 10 points"
    assert gradescope._places({"ex8-check": {"text": text}}) == []


def test_whatever_ends_the_grading_the_score_is_0_and_says_so(base, tmp_path, monkeypatch, capsys):
    lost = {"score": 0, "output": gradescope.LOST}
    assert run(base, python="false")[0] == lost
    (tmp_path / "submission").mkdir()
    monkeypatch.setattr(sys, "argv", ["gradescope", "--grade", str(tmp_path), "--unsafe"])
    with pytest.raises(FileNotFoundError, match="results"):  # which run_autograder makes
        gradescope.main()
    (tmp_path / "results").mkdir()
    for file, sentence in (
        (None, gradescope.LOST),
        (f"{NAME}.ipynb", "This could not be graded: the file is damaged"),
    ):
        if file:
            (tmp_path / "submission" / file).write_text("{")
        gradescope.main()
        found = json.loads((tmp_path / "results" / "results.json").read_text())
        assert (list(found), found["score"]) == (["score", "output"], 0)
        assert found["output"].startswith(sentence)
    assert "holds nothing to grade" in capsys.readouterr().out
