"""The program behind `make pretrained`."""

import runpy
import sys

import torch
from conftest import PROJECT

import labutils as lab


def make(folder, monkeypatch):
    arguments = ["--epochs", "0", "--seeds", "3", "4", "--folder", str(folder)]
    monkeypatch.setattr(sys, "argv", ["make_pretrained.py", *arguments])
    runpy.run_path(str(PROJECT / "models" / "make_pretrained.py"), run_name="__main__")


def test_networks_and_table_are_written_and_kept(tmp_path, monkeypatch, digits):
    make(tmp_path, monkeypatch)
    path = tmp_path / "simple_cnn_seed3.pth"
    torch.manual_seed(3)
    assert torch.equal(lab.load_model(path).fc1.weight, lab.SimpleCNN().fc1.weight)
    assert lab.load_model(path).history.seed == 3
    accuracy = lab.evaluate(lab.load_model(path), digits.test).accuracy
    assert f"{accuracy:.2%}" in (tmp_path / "README.md").read_text()
    before = path.stat().st_mtime_ns
    make(tmp_path, monkeypatch)
    assert path.stat().st_mtime_ns == before  # the same weights: left untouched


def test_table_in_the_repository_is_of_the_networks_there(digits):
    readme = (PROJECT / "models" / "pretrained" / "README.md").read_text()
    for seed in range(5):
        test = lab.evaluate(lab.load_pretrained(seed), digits.test)
        row = next(line for line in readme.splitlines() if line.startswith(f"| {seed} |"))
        stated = float(row.split("|")[3].split("%")[0]) / 100
        # Another machine rounds otherwise: an image or two may tip over.
        assert abs(stated - test.accuracy) < 0.0005
