import contextlib
import io
import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import methods as own
import pandas as pd
import pytest
import torch
from torch import nn

import labutils as lab
from labutils.base.structure import fingerprint
from labutils.study import comparison
from labutils.study.comparison import COLUMNS
from labutils.study.measurement import Measurement
from labutils.study.tables import save_comparison

TIMES = ["latency", "latency_low", "latency_high", "speedup", "seconds"]
QUICK = {"images": 200, "progress": False}


@pytest.fixture(scope="module")
def networks():
    return {seed: lab.load_pretrained(seed) for seed in (0, 1)}


def assert_same(left, right):
    """All but the times agree."""
    pd.testing.assert_frame_equal(left.drop(columns=TIMES), right.drop(columns=TIMES))
    assert (left.loc[left["error"] == "", TIMES] > 0).all(axis=None)


def test_a_row_for_each_network_measured(networks, digits):
    rules = {"magnitude": lab.prune_magnitude, "structured": lab.prune_filters}
    table = lab.compare(rules, (0.5, 0.9), networks, part="validation", **QUICK)
    assert list(table.columns) == COLUMNS
    names = list(table[["method", "amount", "seed"]].itertuples(index=False, name=None))
    assert names[:2] == [("unpruned", 0.0, 0), ("unpruned", 0.0, 1)]
    assert names[2:] == [(m, a, s) for m in rules for a in (0.5, 0.9) for s in (0, 1)]
    for row in table.to_dict("records"):
        rule = rules.get(row["method"], lambda model, amount: model)
        pruned = rule(networks[row["seed"]], row["amount"])
        found = lab.evaluate(pruned, digits.validation[:200])
        assert row["accuracy"] == found.accuracy
        assert (row["low"], row["high"]) == found.interval
        assert row["macs"] == lab.count_macs(pruned)
        assert row["nonzero_macs"] == lab.count_macs(pruned, nonzero=True)
        sizes = lab.model_bytes(pruned)
        assert row["bytes_file"] == sizes.file
        assert row["bytes_compressed"] == sizes.compressed
        assert row["sparsity"] == lab.sparsity(pruned)
        assert row["removed"] == pytest.approx(1 - row["nonzero"] / 105_866)
        assert row["widths"] == "-".join(map(str, pruned.widths))
        before = lab.evaluate(networks[row["seed"]], digits.validation[:200]).accuracy
        assert row["change"] == pytest.approx(100 * (found.accuracy - before))
        assert row["latency_low"] <= row["latency"] <= row["latency_high"]
    assert (table["part"] == "validation").all()


def test_defaults_are_the_three_methods_and_the_shipped_networks(monkeypatch):
    seen = []
    monkeypatch.setattr(
        comparison, "run_tasks", lambda work, tasks, executor: seen.extend(tasks) or ()
    )
    with contextlib.suppress(KeyError):  # nothing is measured here
        lab.compare(progress=False)
    assert len(seen) == 5 + 3 * 4 * 5
    assert {task.images for task in seen} == {10_000}
    assert {task.seed for task in seen} == set(range(5))


def test_own_methods_and_finished_networks_join(networks):
    finished = lab.prune_filters(networks[0], 0.3)
    table = lab.compare([own.half_of_fc1], (0.5,), networks[0], **QUICK)
    assert list(table["method"]) == ["unpruned", "half_of_fc1"]
    table = lab.compare({"mine": own.half_of_fc1, "slim": finished}, (0.5,), networks, **QUICK)
    assert list(table["method"]) == ["unpruned", "unpruned", "mine", "mine", "slim"]
    assert table["widths"].iloc[-1] == "11-22-45"


def test_saved_and_read_back_equal(networks, tmp_path):
    path = tmp_path / "rows.csv"
    table = lab.compare([lab.prune_magnitude], (0.5, 0.7), networks, path=path, **QUICK)
    pd.testing.assert_frame_equal(lab.load_comparison(path), table, check_exact=True)
    save_comparison(table, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


class Interrupting:
    """A method that is interrupted when it is called for the n-th time."""

    def __init__(self, at):
        self.at, self.calls = at, []

    def __call__(self, model, amount):
        self.calls.append((fingerprint(model), amount))
        if len(self.calls) == self.at:
            raise KeyboardInterrupt
        return lab.prune_magnitude(model, amount)


def test_interrupted_goes_on_and_measures_nothing_twice(networks, tmp_path, monkeypatch):
    path, method = tmp_path / "rows.csv", Interrupting(at=3)
    given = {"methods": {"mine": method}, "amounts": (0.3, 0.5, 0.7), "networks": networks}
    with pytest.raises(KeyboardInterrupt):
        lab.compare(**given, path=path, **QUICK)
    assert len(lab.load_comparison(path)) == 2 + 2
    path.write_bytes(path.read_bytes() + b"mine,0.5,0,half a li")  # as if it had been killed
    first = lab.load_comparison(path)
    table = lab.compare(**given, path=path, **QUICK)
    assert len(method.calls) == 3 + 4
    assert len(set(method.calls)) == 6  # only the interrupted row was begun twice
    assert table["error"].eq("").all()
    pd.testing.assert_frame_equal(table.iloc[:4].reset_index(drop=True), first)
    pd.testing.assert_frame_equal(lab.load_comparison(path), table)
    monkeypatch.setattr(comparison, "measure", None)  # would fail if anything were measured
    pd.testing.assert_frame_equal(lab.compare(**given, path=path, **QUICK), table)


def test_killed_while_comparing(tmp_path):
    """A real process, killed without warning: what it had measured stays."""
    path = tmp_path / "rows.csv"
    code = (
        "import labutils as lab, sys\n"
        "lab.compare([lab.prune_magnitude], [i / 40 for i in range(40)], lab.load_pretrained(),"
        " images=200, progress=False, path=sys.argv[1])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path])
    while not path.exists() or path.read_bytes().count(b"\n") < 6:
        assert process.poll() is None
    process.kill()
    process.wait()
    before = lab.load_comparison(path)
    assert 4 <= len(before) < 41
    table = lab.compare(
        [lab.prune_magnitude], [0.0, 0.025, 0.5], lab.load_pretrained(), path=path, **QUICK
    )
    assert list(table["amount"]) == [0, 0, 0.025, 0.5]
    pd.testing.assert_frame_equal(table.iloc[:3], before.iloc[:3])
    kept = lab.load_comparison(path)  # rows that were not asked for this time stay in the file
    assert set(before["amount"]) <= set(kept["amount"])


def test_other_images_networks_and_batches_are_other_rows(networks, tmp_path):
    path = tmp_path / "rows.csv"
    for options in (
        {"images": 100}, {"images": 150}, {"images": 100, "batch": 2},
        {"images": 100, "part": "validation"},
    ):  # fmt: skip
        table = lab.compare(
            [lab.prune_magnitude], (0.5,), networks[0], path=path, progress=False, **options
        )
        assert (table["images"] == options["images"]).all()
        assert (table["batch"] == options.get("batch", 64)).all()
    assert len(lab.load_comparison(path)) == 8
    trained_on = lab.prune_magnitude(networks[0], 0.1)
    table = lab.compare([lab.prune_magnitude], (0.5,), trained_on, path=path, **QUICK)
    assert table["sparsity"].iloc[0] > 0.09


def test_a_failed_row_is_reported_and_loses_no_other(networks, tmp_path, capsys):
    path = tmp_path / "rows.csv"
    options = {**QUICK, "progress": True}
    table = lab.compare([own.fails_at_half], (0.3, 0.5, 0.7), networks, path=path, **options)
    wrong = table[table["error"] != ""]
    assert list(wrong["amount"]) == [0.5, 0.5]
    assert list(wrong["error"]) == ["ZeroDivisionError: no, not # this, one"] * 2
    assert wrong["accuracy"].isna().all()
    assert "fails_at_half at 0.5, seed 0: ZeroDivisionError" in capsys.readouterr().out
    pd.testing.assert_frame_equal(lab.load_comparison(path), table)
    # Tried again the next time.
    monkey = {"fails_at_half": lab.prune_magnitude}
    mended = lab.compare(monkey, (0.3, 0.5, 0.7), networks, path=path, **QUICK)
    assert mended["error"].eq("").all()
    assert len(lab.load_comparison(path)) == len(mended)


@pytest.mark.parametrize("executor", [None, 1])
@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (own.returns_nothing, TypeError, "'returns_nothing' returned a NoneType"),
        (own.edits_its_input, ValueError, "'edits_its_input' changed the network"),
        (own.returns_its_input, ValueError, "'returns_its_input' changed .* or returned that same"),
    ],
)
def test_methods_that_break_the_rules_are_named(model, method, error, message, executor):
    with pytest.raises(error, match=message):
        lab.compare([method], (0.5,), model, executor=executor, **QUICK)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"methods": {}}, ValueError, "methods is empty"),
        ({"methods": []}, ValueError, "methods is empty"),
        ({"methods": "magnitude"}, TypeError, "methods is a str"),
        ({"methods": {"a": "magnitude"}}, TypeError, "'a' is a str: give a function"),
        ({"methods": {"unpruned": lab.prune_magnitude}}, ValueError, "rows without pruning"),
        ({"methods": [lab.prune_magnitude] * 2}, ValueError, "the same name"),
        ({"amounts": ()}, ValueError, "at least one fraction"),
        ({"amounts": (0.5, 0.5)}, ValueError, "each once"),
        ({"amounts": (50,)}, ValueError, "for 50% write 0.5"),
        ({"networks": {}}, TypeError, "networks holds nothing"),
        ({"networks": {0: "a"}}, TypeError, "networks holds str"),
        ({"networks": 5}, TypeError, "networks holds int: give a network, or a dictionary"),
        ({"part": "exam"}, ValueError, "part='exam': choose train, validation, test"),
        ({"images": 0}, ValueError, "images=0"),
        ({"batch": 0}, ValueError, "batch=0"),
        ({"executor": 0}, ValueError, "at least one process"),
        ({"executor": "two"}, TypeError, "executor is a str"),
        ({"path": "nowhere/rows.csv"}, FileNotFoundError, "nowhere is not there"),
    ],
)
def test_wrong_arguments(model, arguments, error, message):
    given = {"methods": [lab.prune_magnitude], "amounts": (0.5,), "networks": model, **QUICK}
    with pytest.raises(error, match=message):
        lab.compare(**{**given, **arguments})


def test_a_file_of_another_kind_is_left_alone(model, tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text("student,mark\n")
    with pytest.raises(ValueError, match="is no comparison of this lab"):
        lab.compare([lab.prune_magnitude], (0.5,), model, path=path, **QUICK)
    assert path.read_text() == "student,mark\n"


def test_functions_other_processes_cannot_find_are_refused(model):
    def inner(model, amount):
        return lab.prune_magnitude(model, amount)

    for method in (inner, lambda model, amount: lab.prune_magnitude(model, amount)):
        with pytest.raises(TypeError, match=r"define it in a \.py file .*or use Dask"):
            lab.compare({"mine": method}, (0.5,), model, executor=2, **QUICK)


def test_same_table_from_processes(networks):
    given = ({"mine": own.half_of_fc1, "filters": lab.prune_filters}, (0.5, 0.9), networks)
    here = lab.compare(*given, **QUICK)
    assert_same(lab.compare(*given, executor=2, **QUICK), here)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        assert_same(lab.compare(*given, executor=pool, **QUICK), here)


def test_killed_worker_of_a_pool(networks, tmp_path, monkeypatch):
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        table = lab.compare([own.dies_once], (0.5, 0.9), networks, executor=pool, **QUICK)
    assert (tmp_path / "died").exists()
    expected = lab.compare({"dies_once": lab.prune_magnitude}, (0.5, 0.9), networks, **QUICK)
    assert_same(table, expected)


def test_row_that_always_kills_its_worker(networks):
    table = lab.compare([own.always_dies], (0.3, 0.5, 0.7), networks[0], executor=1, **QUICK)
    assert list(table["error"] != "") == [False, False, True, False]
    assert "the process that ran it died" in table["error"][2]


@pytest.fixture(scope="module")
def cluster():
    """A real Dask cluster of two worker processes on this machine."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        yield client


def test_same_table_from_a_cluster(networks, cluster):
    def in_a_notebook(model, amount):  # sent whole, need not be in a module
        return lab.prune_magnitude(model, {"fc1": amount})

    given = ({"mine": in_a_notebook, "filters": lab.prune_filters}, (0.5, 0.9), networks)
    bar = io.StringIO()
    with contextlib.redirect_stdout(bar):
        table = lab.compare(*given, executor=cluster.get_executor(), images=200)
    assert "10/10" in bar.getvalue()
    assert_same(table, lab.compare(*given, **QUICK))


def test_killed_worker_of_a_cluster(networks, cluster, tmp_path):
    died = str(tmp_path / "died")
    assert len(cluster.scheduler_info()["workers"]) == 2

    def dies_once(model, amount, died=died):
        import os
        import signal
        from pathlib import Path

        if not Path(died).exists():
            Path(died).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return lab.prune_magnitude(model, amount)

    path = tmp_path / "rows.csv"
    table = lab.compare(
        [dies_once], (0.5, 0.9), networks, executor=cluster.get_executor(), path=path, **QUICK
    )
    assert (tmp_path / "died").exists()
    expected = lab.compare({"dies_once": lab.prune_magnitude}, (0.5, 0.9), networks, **QUICK)
    assert_same(table, expected)
    assert_same(lab.load_comparison(path), expected)


def test_fingerprint_tells_networks_apart():
    torch.manual_seed(0)
    model = lab.SimpleCNN()
    before = fingerprint(model)
    assert fingerprint(lab.prune_magnitude(model, 0)) == before
    assert fingerprint(lab.prune_magnitude(model, 0.01)) != before
    normalised = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert len(fingerprint(normalised)) == 12


def test_measure_is_what_the_parts_measure(model, digits):
    split = digits.test[:300]
    zeros = lab.prune_magnitude(model, 0.7)
    found = lab.measure(zeros, split, reference=model, batch=8)
    assert isinstance(found, Measurement)
    assert found.accuracy == lab.evaluate(zeros, split).accuracy
    assert found.images == 300
    assert found.sparsity == lab.sparsity(zeros)
    assert found.parameters == 105_866
    assert found.nonzero == sum(int(p.count_nonzero()) for p in zeros.parameters())
    assert found.bytes_dense == 4 * 105_866
    assert found.batch == 8
    assert json.dumps(vars(found))  # plain numbers all through
    assert lab.measure(model, split).speedup == 1.0
