"""The networks in models/pretrained, and the program behind `make pretrained`."""

import runpy
import sys

import pytest
import torch
from conftest import PROJECT

import labutils as lab


@pytest.fixture(scope="module")
def accuracies(digits):
    return [lab.evaluate(lab.load_pretrained(seed), digits.test).accuracy for seed in range(5)]


def test_pretrained_networks_are_good(accuracies):
    assert sum(accuracies) / 5 >= 0.9915
    assert len(set(accuracies)) > 1


def test_table_in_the_repository_is_of_the_networks_there(accuracies):
    readme = (PROJECT / "models" / "pretrained" / "README.md").read_text()
    for seed, accuracy in enumerate(accuracies):
        row = next(line for line in readme.splitlines() if line.startswith(f"| {seed} |"))
        stated = float(row.split("|")[3].split("%")[0]) / 100
        # Another machine rounds otherwise: an image or two may tip over.
        assert abs(stated - accuracy) < 0.0005


def test_pretrained_seed_that_is_not_there():
    with pytest.raises(ValueError, match="seed 99: choose 0, 1, 2, 3, 4"):
        lab.load_pretrained(99)


def test_networks_and_table_are_written_and_kept(tmp_path, monkeypatch, few_digits):
    arguments = ["--epochs", "0", "--seeds", "3", "4", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["make_pretrained.py", *arguments])
    monkeypatch.setattr(lab, "load_mnist", lambda: few_digits)
    path, times = tmp_path / "simple_cnn_seed3.pth", []
    for _ in range(2):
        runpy.run_path(str(PROJECT / "models" / "make_pretrained.py"), run_name="__main__")
        times.append(path.stat().st_mtime_ns)
    assert times[0] == times[1]  # the same weights: left untouched
    torch.manual_seed(3)
    assert torch.equal(lab.load_model(path).fc1.weight, lab.SimpleCNN().fc1.weight)
    assert lab.load_model(path).history.seed == 3
    accuracy = lab.evaluate(lab.load_model(path), few_digits.test).accuracy
    assert f"{accuracy:.2%}" in (tmp_path / "README.md").read_text()
