import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import methods as own
import pandas as pd
import pytest
import torch
from torch import nn

import labutils as lab
from labutils.base.structure import fingerprint
from labutils.study import comparison, tables
from labutils.study.plan import digits_fingerprint
from labutils.study.tables import COLUMNS, PUBLISHED, save_comparison

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
TIMES = ["latency", "latency_low", "latency_high", "speedup", "seconds"]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {seed: lab.SimpleCNN((2, 4, 8)) for seed in (0, 1)}


@pytest.fixture(scope="module")
def few(digits):
    return lab.Digits(digits.train[:70], digits.validation[:60], digits.test[:60])


@pytest.fixture(scope="module")
def compare(few):
    return partial(lab.compare, digits=few, progress=False)


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


@pytest.fixture(params=[None, "pool"])
def executor(request):
    """Here, or in another process."""
    return request.param and request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def cluster():
    """A real Dask cluster of two worker processes on this machine."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        yield client


def assert_same(left, right):
    """All but the times agree."""
    pd.testing.assert_frame_equal(left.drop(columns=TIMES), right.drop(columns=TIMES))
    assert (left.loc[left["error"] == "", TIMES] > 0).all(axis=None)


def test_a_row_for_each_network_measured(networks, few, compare):
    rules = {"magnitude": lab.prune_magnitude, "structured": lab.prune_filters}
    table = compare(rules, (0.5, 0.9), networks, part="validation", images=50)
    assert list(table.columns) == COLUMNS
    names = list(table[["method", "amount", "seed"]].itertuples(index=False, name=None))
    assert names[:2] == [("unpruned", 0.0, 0), ("unpruned", 0.0, 1)]
    assert names[2:] == [(m, a, s) for m in rules for a in (0.5, 0.9) for s in (0, 1)]
    split = few.validation[:50]
    for row in table.to_dict("records"):
        network = networks[row["seed"]]
        pruned = rules.get(row["method"], lambda model, amount: model)(network, row["amount"])
        found, sizes = lab.evaluate(pruned, split), lab.model_bytes(pruned)
        expected = {
            "accuracy": found.accuracy, "low": found.interval[0], "high": found.interval[1],
            "macs": lab.count_macs(pruned), "nonzero_macs": lab.count_macs(pruned, nonzero=True),
            "bytes_dense": sizes.dense, "bytes_file": sizes.file,
            "bytes_compressed": sizes.compressed, "sparsity": lab.sparsity(pruned),
            "widths": "-".join(map(str, pruned.widths)), "part": "validation", "images": 50,
        }  # fmt: skip
        assert {column: row[column] for column in expected} == expected
        whole = sum(parameter.numel() for parameter in network.parameters())
        assert row["removed"] == pytest.approx(1 - row["nonzero"] / whole)
        change = found.accuracy - lab.evaluate(network, split).accuracy
        assert row["change"] == pytest.approx(100 * change)
        assert row["latency_low"] <= row["latency"] <= row["latency_high"]


def test_defaults_are_the_three_methods_and_the_shipped_networks(monkeypatch):
    monkeypatch.setattr(comparison, "measure_row", lambda task: {**task.columns, "error": "none"})
    monkeypatch.setattr(tables, "as_table", pd.DataFrame)
    table = lab.compare(progress=False)
    assert len(table) == 5 + 3 * 4 * 5
    assert table["method"].unique().tolist() == ["unpruned", "magnitude", "structured", "random"]
    assert table["images"].eq(10_000).all()
    assert set(table["seed"]) == set(range(5))


def test_own_methods_and_finished_networks_join(networks, compare):
    finished = lab.prune_filters(networks[0], 0.5)
    table = compare([own.half_of_fc1], (0.5,), networks[0])
    assert list(table["method"]) == ["unpruned", "half_of_fc1"]
    table = compare({"mine": own.half_of_fc1, "slim": finished}, (0.5,), networks)
    assert list(table["method"]) == ["unpruned", "unpruned", "mine", "mine", "slim"]
    assert table["widths"].iloc[-1] == "1-2-4"


class Interrupting:
    """A method that is interrupted when it is called for the n-th time."""

    def __init__(self, at):
        self.at, self.calls = at, []

    def __call__(self, model, amount):
        self.calls.append((fingerprint(model), amount))
        if len(self.calls) == self.at:
            raise KeyboardInterrupt
        return lab.prune_magnitude(model, amount)


def test_interrupted_goes_on_and_measures_nothing_twice(networks, compare, tmp_path, monkeypatch):
    path, method = tmp_path / "rows.csv", Interrupting(at=3)
    go = partial(compare, {"mine": method}, (0.3, 0.5, 0.7), networks, path=path)
    with pytest.raises(KeyboardInterrupt):
        go()
    assert len(lab.load_comparison(path)) == 2 + 2
    path.write_bytes(path.read_bytes() + b"mine,0.5,0,half a li")  # as if it had been killed
    first = lab.load_comparison(path)
    table = go()
    assert len(method.calls) == 3 + 4
    assert len(set(method.calls)) == 6  # only the interrupted row was begun twice
    assert table["error"].eq("").all()
    pd.testing.assert_frame_equal(table.iloc[:4].reset_index(drop=True), first)
    pd.testing.assert_frame_equal(lab.load_comparison(path), table, check_exact=True)
    save_comparison(table, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()
    monkeypatch.setattr(comparison, "measure", None)  # would fail if anything were measured
    pd.testing.assert_frame_equal(go(), table)


@pytest.mark.parametrize(
    "method",
    [own.is_interrupted, partial(lab.prune_and_tune, epochs=1, watch=own.press_the_button)],
)
def test_half_a_training_is_no_row(networks, few, compare, tmp_path, method):
    path = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        compare({"trained": method}, (0.5, 0.7), networks[0], path=path)
    assert lab.load_comparison(path)["method"].tolist() == ["unpruned"]
    # A network whose training the reader stopped may be pruned like any other.
    stopped = lab.prune_magnitude(networks[0], 0)
    lab.fine_tune(stopped, few, 1, progress=False, watch=own.press_the_button)
    assert stopped.history.interrupted
    assert compare([lab.prune_magnitude], (0.5,), stopped)["error"].eq("").all()


def test_killed_while_comparing(tmp_path):
    """A real process, killed without warning: what it had measured stays."""
    path, tests = tmp_path / "rows.csv", Path(own.__file__).parent
    code = (
        "import sys; sys.path.append(sys.argv[2]); import methods, labutils as lab\n"
        "lab.compare([methods.dies_at_half], (0.1, 0.3, 0.5, 0.7), lab.load_pretrained(), "
        "images=60, progress=False, path=sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", code, path, tests]).returncode == -signal.SIGKILL
    before = lab.load_comparison(path)
    assert before["amount"].tolist() == [0, 0.1, 0.3]
    again = partial(lab.compare, images=60, progress=False, path=path)
    table = again({"dies_at_half": own.half_of_fc1}, [0.1, 0.5], lab.load_pretrained())
    assert table["amount"].tolist() == [0, 0.1, 0.5]
    pd.testing.assert_frame_equal(table.iloc[:2], before.iloc[:2])
    kept = lab.load_comparison(path)  # rows that were not asked for this time stay in the file
    assert kept["amount"].tolist() == [0, 0.1, 0.5, 0.3]


def test_other_images_networks_batches_and_digits_are_other_rows(networks, few, tmp_path):
    go = partial(lab.compare, {"m": own.half_of_fc1}, (0.5,), path=tmp_path / "r", progress=False)
    for options in ({"images": 40}, {"images": 40, "batch": 2}, {"images": 40, "part": "train"}):
        table = go(networks[0], few, **options)
        assert (table["images"] == 40).all()
        assert (table["batch"] == options.get("batch", 64)).all()
    go(networks[1], few, images=40)
    swapped = lab.Digits(few.train, few.validation, lab.Split(few.test.images, 9 - few.test.labels))
    table = go(networks[0], swapped, images=40)
    assert table["accuracy"][0] == lab.evaluate(networks[0], swapped.test[:40]).accuracy
    other_training = lab.Digits(few.train[:50], few.validation, few.test)
    table = go(networks[0], other_training, images=40)
    found = lab.load_comparison(tmp_path / "r")
    assert len(found) == 2 * 6
    assert found["digits"].nunique() == 3
    assert table["change"].eq(100 * (table["accuracy"] - table["accuracy"][0])).all()


def test_files_without_a_column_for_the_digits_go_on(tmp_path, digits):
    assert digits_fingerprint(digits) == PUBLISHED
    shutil.copy(RESULTS / "SimpleCNN.csv", tmp_path)
    known = {"filters, 3 epochs": lambda model, amount: 1 / 0}  # measured already
    path = tmp_path / "SimpleCNN.csv"
    table = lab.compare(known, (0.5,), {0: lab.load_pretrained()}, path=path, progress=False)
    before = lab.load_comparison(RESULTS / "SimpleCNN.csv")
    same = (before["seed"] == 0) & before["method"].isin(["unpruned", *known])
    expected = before[same & before["amount"].isin([0, 0.5])].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert len(lab.load_comparison(path)) == len(before)


def test_methods_that_take_digits_get_those_of_the_comparison(networks, few, compare, executor):
    others = lab.Digits(few.train[:10], few.validation, few.test)
    methods = {"given": own.as_many_as_digits, "set": partial(own.as_many_as_digits, digits=others)}
    table = compare(methods, (0.5,), networks[0], executor=executor)
    assert table["error"].eq("").all()
    assert table["sparsity"].tolist() == pytest.approx([0, 0.7, 0.1], abs=1e-3)


def test_a_failed_row_is_reported_and_loses_no_other(networks, compare, tmp_path, capsys):
    path, amounts = tmp_path / "rows.csv", (0.3, 0.5, 0.7)
    table = compare([own.fails_at_half], amounts, networks, path=path, progress=True)
    wrong = table[table["error"] != ""]
    assert list(wrong["amount"]) == [0.5, 0.5]
    assert list(wrong["error"]) == ["ZeroDivisionError: no, not # this, one"] * 2
    assert wrong["accuracy"].isna().all()
    assert "fails_at_half at 0.5, seed 0: ZeroDivisionError" in capsys.readouterr().out
    pd.testing.assert_frame_equal(lab.load_comparison(path), table)
    # Tried again the next time.
    mended = compare({"fails_at_half": lab.prune_magnitude}, amounts, networks, path=path)
    assert mended["error"].eq("").all()
    assert len(lab.load_comparison(path)) == len(mended)


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (own.returns_nothing, TypeError, "'returns_nothing' returned None: it should prune a copy"),
        (own.edits_its_input, ValueError, "'edits_its_input' changed or returned its own network"),
        (own.returns_its_input, ValueError, "'returns_its_input' changed or returned its own"),
    ],
)
def test_methods_that_break_the_rules_are_named(compare, method, error, message, executor):
    with pytest.raises(error, match=message):
        compare([method], (0.5,), lab.SimpleCNN((2, 4, 8)), executor=executor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": {5: lab.prune_magnitude}}, "has the name 5"),
        ({"methods": {"a": nn.ReLU()}}, "'a' is a ReLU without parameters"),
        ({"methods": {"unpruned": lab.prune_magnitude}}, "has the name 'unpruned'"),
        ({"methods": [lab.prune_magnitude] * 2}, "the same name"),
        ({"networks": {"a": lab.SimpleCNN()}}, "a seed in networks='a'"),
        ({"executor": 2}, r"executor is a int: .*ProcessPoolExecutor\(2"),
        ({"path": "nowhere/rows.csv"}, "nowhere is not there"),
    ],
)
def test_wrong_arguments(compare, networks, arguments, message):
    given = {"methods": [lab.prune_magnitude], "amounts": (0.5,), "networks": networks}
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        compare(**{**given, **arguments})


def test_a_file_of_another_kind_is_left_alone(networks, compare, tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text("student,mark\n")
    with pytest.raises(ValueError, match="is no comparison of this version"):
        compare([lab.prune_magnitude], (0.5,), networks, path=path)
    assert path.read_text() == "student,mark\n"


def test_functions_other_processes_cannot_find_end_it(networks, compare, pool):
    with pytest.raises(RuntimeError, match=r"could not measure .*imported from a \.py file"):
        compare({"mine": lambda model, amount: model}, (0.5,), networks[0], executor=pool)


def test_same_table_from_processes(networks, pool):
    given = ({"mine": own.half_of_fc1, "filters": lab.prune_filters}, (0.5, 0.9), networks)
    here = lab.compare(*given, images=50, progress=False)  # these workers read the digits
    assert_same(lab.compare(*given, images=50, progress=False, executor=pool), here)


def test_a_killed_worker_ends_it_and_the_same_call_goes_on(networks, compare, pool, tmp_path):
    go = partial(compare, amounts=(0.3, 0.5), networks=networks[0], path=tmp_path / "rows.csv")
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as mortal,
        pytest.raises(RuntimeError, match=r"BrokenProcessPool.*: a worker was killed .* goes on"),
    ):
        go([own.dies_at_half], executor=mortal)
    kept = lab.load_comparison(tmp_path / "rows.csv")
    assert kept["amount"].tolist() == [0, 0.3]
    table = go({"dies_at_half": lab.prune_magnitude}, executor=pool)
    pd.testing.assert_frame_equal(table.iloc[:2], kept)
    assert table["error"].eq("").all()


def test_same_table_from_a_cluster_whose_worker_is_killed(networks, compare, cluster, tmp_path):
    died, path = str(tmp_path / "died"), tmp_path / "rows.csv"
    assert len(cluster.scheduler_info()["workers"]) == 2

    def dies_once(model, amount, died=died):  # sent whole, need not be in a module
        import os
        import signal
        from pathlib import Path

        if not Path(died).exists():
            Path(died).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return lab.prune_magnitude(model, {"fc1": amount})

    given = ((0.5, 0.9), networks)
    with contextlib.redirect_stdout(io.StringIO()) as bar:
        executor = cluster.get_executor()
        table = compare([dies_once], *given, executor=executor, path=path, progress=True)
    assert "6/6" in bar.getvalue()
    assert (tmp_path / "died").exists()
    expected = compare({"dies_once": own.half_of_fc1}, *given)
    assert_same(table, expected)
    assert_same(lab.load_comparison(path), expected)


class Recording(Executor):
    """Runs at once what it is given, the first time; holds the rest back."""

    def __init__(self):
        self.futures = []

    def submit(self, work, *arguments):
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_result(work(*arguments))
        return self.futures[-1]


def test_stopping_starts_no_more(monkeypatch):
    monkeypatch.setattr(comparison, "measure_row", lambda task, threads: str(task))
    executor = Recording()
    rows = comparison.measure_rows(range(9), executor)
    assert next(rows) == (0, "0")
    rows.close()
    assert all(future.cancelled() for future in executor.futures[1:])


def test_measure_is_what_the_parts_measure(networks, few, compare):
    model = networks[0]
    zeros = lab.prune_magnitude(model, 0.7)
    found = lab.measure(zeros, few.test, reference=model, batch=8)
    assert found.accuracy == lab.evaluate(zeros, few.test).accuracy
    assert (found.images, found.batch) == (60, 8)
    assert found.sparsity == lab.sparsity(zeros)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.nonzero == sum(int(p.count_nonzero()) for p in zeros.parameters())
    assert found.bytes_dense == 4 * found.parameters
    assert json.dumps(vars(found))  # plain numbers all through
    assert lab.measure(model, few.test).speedup == 1.0
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        other = lab.measure(lab.prune_magnitude(model, 0.7).to(dtype), few.test)
        assert other.accuracy == pytest.approx(found.accuracy, abs=0.05)
    table = compare([own.half_of_fc1], (0.5,), lab.prune_magnitude(model, 0).double())
    assert table["error"].eq("").all()
