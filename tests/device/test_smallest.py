"""The smallest networks: those that ship, and the program that searches for them."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import make_smallest
import pandas as pd
import pytest
import torch
from conftest import PROJECT

import labutils as lab
from labutils import device
from labutils.device import smallest

FOLDER = PROJECT / "models" / "smallest"
SAID = {"made": "designed", "kept": 0, "bits": "4", "epochs": "1 1"}
TRIALS = pd.DataFrame(
    {
        **dict.fromkeys(SAID, [None] * 4),
        "widths": ["a", "b", "c", "c"],
        "bytes": [3, 1, 2, 3],
        "validation": [0.997, 0.98, 0.993, 0.991],
    }
).assign(**SAID)
SHIPPED = sorted(path.stem for path in FOLDER.glob("*_median.json"))


def test_the_smallest_that_is_accurate_enough_is_chosen():
    """By the means over the seeds of a candidate."""
    chosen = device.choose(TRIALS, 99.0)
    assert (chosen["widths"], chosen["bytes"], chosen["seeds"]) == ("c", 2.5, 2)
    assert chosen["validation"] == pytest.approx(0.992)
    assert device.choose(TRIALS, 99.0, seeds=2)["widths"] == "c"
    assert device.choose(TRIALS, 99.3)["widths"] == "a"
    assert device.choose(TRIALS, 99.0, margin=0.003)["widths"] == "a"
    with pytest.raises(ValueError, match=r"None of 3 candidates reaches 99.65% .* best has 99.70%"):
        device.choose(TRIALS, 99.65)
    with pytest.raises(ValueError, match="None of 1 candidates"):
        device.choose(TRIALS, 99.3, seeds=2)


def test_they_are_there_for_a_home_that_has_only_digits(monkeypatch, tmp_path):
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path))
    assert isinstance(device.load_smallest(99.0), device.Int8Network)
    assert {"bytes", "validation"} <= set(device.read_trials())


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_what_its_readme_and_the_search_say(name, digits):
    """Bytes and all 10,000 answers of the worst, the median and the best, measured again."""
    way, accuracy, _ = name.split("_")
    trials, rows = device.read_trials(), (FOLDER / "README.md").read_text().splitlines()
    (row,) = [r for r in rows if re.match(rf"\| {way}\w* \| {accuracy}% ", r)]
    stated = [float(one) for one in re.findall(r"(\d+\.\d+)%", row)[-3:]]
    for seed, said in zip(smallest.SEEDS, stated, strict=True):
        network = device.load_smallest(float(accuracy), seed, way)
        found = lab.evaluate(network, digits.test).accuracy
        assert found == pytest.approx(said / 100, abs=4e-4)
        size = sum(device.Firmware(network, device.smallest_formats(network)).constants().values())
        validation = lab.evaluate(network, digits.validation).accuracy
        mine = trials[trials["bytes"] == size]["validation"]
        assert (mine - validation).abs().min() < 4e-4
    assert stated == sorted(stated)


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


@pytest.mark.parametrize(
    "trial",
    [
        make_smallest.Trial("designed", "8 8 8 8", 0, "ternary", "1 1"),
        make_smallest.Trial("pruned", "6 8 8", 1_000, "4", "1 1"),
    ],
    ids=lambda trial: trial.made,
)
def test_a_trial(trial, monkeypatch, tmp_path, few_digits):
    monkeypatch.setattr(make_smallest, "BUILD", tmp_path)
    monkeypatch.setattr(lab, "load_mnist", lambda: few_digits)
    found = make_smallest.try_out(trial)
    network = device.load_int8(trial.path)
    kept = sum(int((la.weight != 0).sum()) for la in network.layers if la.weight is not None)
    assert kept <= (trial.kept or 10_000)
    formats = device.smallest_formats(network)
    assert found["bytes"] == sum(device.Firmware(network, formats).constants().values())
    assert found["validation"] == lab.evaluate(network, few_digits.validation).accuracy > 0.3
    assert trial == make_smallest.Trial(*(found[name] for name in asdict(trial)))


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped(monkeypatch, tmp_path, quantized_small):
    """What is known is not tried again; five seeds decide; what was chosen is written down."""
    monkeypatch.setattr(make_smallest, "FOLDER", tmp_path)
    monkeypatch.setattr(make_smallest, "BUILD", tmp_path / "build")
    (tmp_path / "build").mkdir()
    tried = []

    def try_out(trial):
        """The smaller candidate is lucky with its first seed."""
        tried.append(trial)
        device.save_int8(quantized_small, trial.path)
        small = trial.widths == "8 8"
        lucky = 0.9981 if trial.seed == 0 or not small else 0.9
        said = {"bytes": 100 if small else 200, "instructions": 9, "validation": lucky}
        return asdict(trial) | said

    monkeypatch.setattr(make_smallest, "try_out", try_out)
    monkeypatch.setattr(make_smallest, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    asked = [make_smallest.Trial("designed", widths, 0, "4", "1 1") for widths in ("8 8", "9 9")]
    monkeypatch.setattr(make_smallest, "TRIALS", asked)
    trials = make_smallest.search(asked)
    pd.testing.assert_frame_equal(make_smallest.search(asked), trials)
    assert tried == asked
    trials, seeds = make_smallest.settle(trials, "designed", 99.5)
    assert [(trial.widths, trial.seed) for trial in seeds] == [("9 9", seed) for seed in range(5)]
    assert len(tried) == len(trials) == 10
    assert make_smallest.settle(trials, "pruned", 99.5)[1] == []
    make_smallest.write_down({("designed", 99.5): seeds, ("pruned", 99.5): []}, trials)
    text = (tmp_path / "README.md").read_text()
    row = next(line for line in text.splitlines() if "| designed | 99.5% |" in line)
    assert row.startswith("| designed | 99.5% | 9 9 | all | 4 | 1 1 | 200 | 9 |")
    assert "No candidate reached: pruned 99.5%." in text
    names = {path.name for path in tmp_path.glob("*.json")}
    assert names == {f"designed_99.5_{seed}.json" for seed in smallest.SEEDS}
    for trial in seeds:  # as on another machine
        trial.path.unlink()
    make_smallest.write_down({("designed", 99.5): seeds}, trials)
    assert row in (tmp_path / "README.md").read_text().splitlines()
    (tmp_path / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match="made again"):
        make_smallest.write_down({("designed", 99.5): seeds}, trials)
