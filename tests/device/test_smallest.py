"""The smallest networks: those that ship, and the program that searches for them."""

import re
from concurrent.futures import ThreadPoolExecutor

import make_smallest
import pandas as pd
import pytest
import torch
from conftest import PROJECT

import labutils as lab
from labutils import device
from labutils.device import smallest

FOLDER = PROJECT / "models" / "smallest"
TRIALS = pd.DataFrame(
    {"widths": ["a", "b", "c"], "bytes": [3, 1, 2], "validation": [0.995, 0.98, 0.992]}
)


def test_the_smallest_that_is_accurate_enough_is_chosen():
    assert device.choose(TRIALS, 99.3)["widths"] == "a"
    assert device.choose(TRIALS, 99.0)["widths"] == "c"
    assert device.choose(TRIALS, 99.0, margin=0.003)["widths"] == "a"
    with pytest.raises(ValueError, match=r"None of 3 networks reaches 99.5% .* best has 99.50%"):
        device.choose(TRIALS, 99.5)


def test_they_are_there_for_a_home_that_has_only_digits(monkeypatch, tmp_path):
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path))
    assert isinstance(device.load_smallest(99.0), lab.SimpleCNN)
    assert {"bytes", "validation"} <= set(device.read_trials())


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", smallest.ACCURACIES)
def test_what_ships_is_what_its_readme_and_the_search_say(accuracy, digits):
    """Bytes and all 10,000 answers, measured again."""
    network = device.load_smallest(accuracy)
    whole = device.quantize_int8(network, digits.train[:1_000])
    found = lab.evaluate(whole, digits.test)
    chosen = device.choose(device.read_trials(), accuracy)
    formats = device.smallest_formats(whole)
    size = sum(device.Firmware(whole, formats).constants().values())
    assert size == chosen["bytes"]
    assert " ".join(map(str, network.widths)) == chosen["widths"]
    validation = lab.evaluate(whole, digits.validation).accuracy
    assert validation == pytest.approx(chosen["validation"], abs=4e-4)
    (row,) = re.findall(rf"^\| {accuracy}% .*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    (stated,) = re.findall(r"\| (\S+)% \([\d,]+ of 10,000", row)
    assert float(stated) / 100 == pytest.approx(found.accuracy, abs=4e-4)
    assert f"| {size:,} |" in row


def test_distorted_copies(digits):
    few = digits.train[:50]
    copies = make_smallest.distorted(few, 3)
    assert copies.images.shape == (150, 1, 28, 28)
    assert torch.equal(copies.images[:50], few.images)
    assert torch.equal(copies.labels, few.labels.repeat(3))
    assert not torch.equal(copies.images[50:100], copies.images[100:])
    # Still the same digits on the same paper.
    assert copies.images.min() == few.images.min()
    assert copies.images[50:].mean() == pytest.approx(few.images.mean().item(), abs=0.1)
    answers = lab.predict(lab.load_pretrained(), copies).argmax(1)
    assert (answers == copies.labels).float().mean() > 0.9


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped(monkeypatch, tmp_path, capsys):
    """What is known is not tried again; what was chosen is copied and written down."""
    monkeypatch.setattr(make_smallest, "FOLDER", tmp_path)
    monkeypatch.setattr(make_smallest, "BUILD", tmp_path / "build")
    (tmp_path / "build").mkdir()
    trial = make_smallest.Trial((8, 16, 16), 2_600, 1)
    lab.save_model(lab.prune_magnitude(lab.SimpleCNN(trial.widths), 0.8), trial.path)
    tried = []

    def try_out(trial):
        tried.append(trial.kept)
        row = {"widths": " ".join(map(str, trial.widths)), "kept": trial.kept, "epochs": 1}
        return row | {"bytes": 2 * trial.kept, "validation": 0.9981}

    monkeypatch.setattr(make_smallest, "try_out", try_out)
    monkeypatch.setattr(make_smallest, "teacher", lambda: None)
    monkeypatch.setattr(make_smallest, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    more = [trial, make_smallest.Trial((8, 16, 16), 3_000, 1)]
    make_smallest.search([trial])
    trials = make_smallest.search(more)
    assert tried == [2_600, 3_000]
    pd.testing.assert_frame_equal(make_smallest.search(more), trials)
    assert tried == [2_600, 3_000]
    chosen = pd.DataFrame([device.choose(trials, 99.0)])
    make_smallest.write_down(chosen, len(trials))
    assert lab.load_model(tmp_path / "simple_cnn_99.0.pth").widths == (8, 16, 16)
    assert "| 99.0% | 8 16 16 |" in (tmp_path / "README.md").read_text()
