import pandas as pd
import pytest

import labutils as lab
from labutils.look import chooser
from labutils.look.chooser import qualify


@pytest.fixture(scope="module")
def table():
    methods = {"magnitude": lab.prune_magnitude, "structured": lab.prune_filters}
    model = lab.load_pretrained()
    return lab.compare(methods, (0.3, 0.9), model, images=300, progress=False)


def test_qualify_is_the_filter_spelled_out(table):
    kilobytes = table["bytes_compressed"].median() / 1000
    table = table.assign(ms=lab.paired_latency(table))
    slow = table["ms"].quantile(0.8)
    found = qualify(table, kilobytes, slow, 0.5)
    expected = [
        row
        for row in table.to_dict("records")
        if row["bytes_compressed"] <= 1000 * kilobytes
        and row["ms"] <= slow
        and row["accuracy"] >= 0.5
    ]
    expected.sort(key=lambda row: (-row["accuracy"], row["bytes_compressed"]))
    assert 0 < len(found) < len(table)
    assert found["accuracy"].tolist() == [row["accuracy"] for row in expected]
    assert found["MACs"].tolist() == [row["macs"] for row in expected]
    assert len(qualify(table, 1e9, 1e9, 0)) == len(table)
    assert qualify(table, 0, 1e9, 0).empty


def test_sliders_list_what_qualifies(table):
    widget = lab.network_chooser(table)
    limits = (widget.kilobytes.value, widget.milliseconds.value, 0.9)
    pd.testing.assert_frame_equal(widget.found, qualify(table, *limits))
    assert len(widget.found) == (table["accuracy"] >= 0.9).sum()  # at first, all fit
    widget.accuracy.value = 0
    assert len(widget.found) == len(table)
    assert f'data-figure="qualify">{len(table)}<' in widget.page.value
    widget.kilobytes.value = 100
    assert widget.found["kB"].max() <= 100
    assert widget.page.value == chooser.list_page(widget.found, len(table))
    widget.milliseconds.value = 0
    assert "Loosen a limit" in widget.page.value
    bundle = widget._repr_mimebundle_()
    assert "qualify" in bundle["text/html"]


def test_integers_stay_integers_beside_failed_rows(table):
    mixed = table.astype({"macs": float, "parameters": float})
    assert "105,866<" in lab.network_chooser(mixed).page.value


def test_failed_rows_never_qualify(table):
    broken = table.assign(error=["ValueError: no"] * len(table))
    assert qualify(broken, 1e9, 1e9, 0).empty
    with pytest.raises(ValueError, match="no measured network"):
        lab.network_chooser(broken)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((100, 1, 90), "accuracy=90: the least accuracy lies in .* write 0.9"),
        ((100, float("nan"), 0.9), "milliseconds=nan: give a finite number"),
        (("small", 1, 0.9), "kilobytes='small': give a number"),
    ],
)
def test_impossible_limits_and_other_tables(table, limits, said):
    with pytest.raises((TypeError, ValueError), match=said):
        qualify(table, *limits)
    for call in (lab.network_chooser, lambda given: qualify(given, 100, 1, 0.9)):
        with pytest.raises(TypeError, match="table is None: give a table"):
            call(None)
        with pytest.raises(ValueError, match="table has no column 'macs'"):
            call(table.drop(columns="macs"))
        with pytest.raises(ValueError, match="table has no rows"):
            call(table[:0])
