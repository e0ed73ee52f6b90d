import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import labutils as lab


@pytest.fixture(scope="module")
def table():
    """Two networks by two methods, on few images."""
    networks = {seed: lab.load_pretrained(seed) for seed in (0, 1)}
    methods = {"magnitude": lab.prune_magnitude, "structured": lab.prune_filters}
    return lab.compare(methods, (0.5, 0.9), networks, images=60, progress=False)


def test_report_of_one_network(table, capsys):
    one = table[table["seed"] == 0]
    lab.report(one)
    text = capsys.readouterr().out
    assert text.index("ORIGINAL MODEL") < text.index("MAGNITUDE-BASED") < text.index("STRUCTURED")
    assert "105,866, of which 105,866 are not zero" in text
    assert "423.5 kB" in text
    row = one[(one["method"] == "structured") & (one["amount"] == 0.5)].iloc[0]
    (line,) = [li for li in text.split("STRUCTURED")[1].splitlines() if li.startswith("   50% ")]
    figures = (f"{row['accuracy']:.2%}", f"{row['change']:+.2f} ", "26,698/26,698", " 106.8 ")
    assert all(figure in line for figure in figures)


def test_report_of_several_networks_has_means_and_intervals(table, capsys):
    lab.report(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ORIGINAL MODEL (mean of 2 networks)"
    rows = table[(table["method"] == "magnitude") & (table["amount"] == 0.9)]
    _, low, high = lab.mean_interval(rows["change"])
    line = next(line for line in lines if line.startswith("   90% "))
    assert f"{rows['accuracy'].mean():.2%}" in line
    assert f"{rows['change'].mean():+.2f} ({low:+.2f} to {high:+.2f})" in line
    with pytest.raises(ValueError, match="no unpruned network"):
        lab.report(rows)


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@pytest.mark.slow
@given(POINTS)
def test_pareto_front_by_definition(points):
    table = pd.DataFrame(points, columns=["kB", "accuracy"])
    front = lab.pareto_front(table, "kB")
    for i, (cost, worth) in enumerate(points):
        beaten = any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points)
        assert front[i] == (not beaten)


def test_pareto_front_leaves_out_what_was_not_measured():
    table = pd.DataFrame({"kB": [1.0, None], "accuracy": [0.5, None]})
    assert lab.pareto_front(table, "kB").tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "limit", "word"),
    [
        ([0.9, 1.0, 1.1], {"at_least": 0.5}, "holds"),
        ([0.9, 1.0, 1.1], {"at_least": 1.5}, "does not hold"),
        ([0.9, 1.0, 1.1], {"at_least": 1.0}, "can't tell"),
        ([0.9, 1.0, 1.1], {"at_most": 1.5}, "holds"),
        ([0.9, 1.0, 1.1], {"at_most": 0.5}, "does not hold"),
        ([0.9, 1.0, 1.1], {"at_most": 1.1}, "can't tell"),
        ([1.0, 1.0], {"at_least": 1.0}, "holds"),
    ],
)
def test_verdicts(values, limit, word):
    found = lab.verdict(values, **limit)
    assert found.word == word
    assert (found.mean, found.low, found.high) == lab.mean_interval(values)


def test_paired_latency_is_the_ratio_applied_to_the_unpruned_median(table):
    found = lab.paired_latency(table)
    unpruned = table[table["method"] == "unpruned"]["latency"].median()
    assert (found * table["speedup"]).tolist() == pytest.approx([unpruned] * len(table))
    alone = table[table["method"] == "structured"]
    assert lab.paired_latency(alone).tolist() == alone["latency"].tolist()


def test_what_has_no_answer():
    table = pd.DataFrame({"kB": [1.0, 2.0], "accuracy": [0.5, 0.6], "method": ["a", "b"]})
    with pytest.raises(TypeError, match="'method' holds no numbers"):
        lab.pareto_front(table, "method")
    for limits in ({}, {"at_least": 0, "at_most": 1}, {"at_least": math.nan}, {"at_most": "1"}):
        with pytest.raises(ValueError, match="give one limit, a finite number"):
            lab.verdict([1.0, 2.0], **limits)
