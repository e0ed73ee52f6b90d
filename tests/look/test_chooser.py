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
    with pytest.raises(ValueError, match=r"accuracy=90: the least accuracy lies in .* write 0.9"):
        qualify(table, 100, 1, 90)
    with pytest.raises(ValueError, match="milliseconds=nan: give a finite number"):
        qualify(table, 100, float("nan"), 0.9)


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
    small = table[table["bytes_compressed"] <= 100_000]
    assert widget.found["accuracy"].iloc[0] == small["accuracy"].max()
    assert widget.page.value == chooser.list_page(widget.found, len(table))
    widget.milliseconds.value = 0
    assert "Loosen a limit" in widget.page.value
    assert "qualify" in widget._repr_mimebundle_()["text/html"]


def test_failed_rows_never_qualify(table):
    mixed = table.astype({"macs": float, "parameters": float})  # as they become beside failed rows
    mixed.loc[1, "error"] = "ValueError: no"
    assert "105,866<" in lab.network_chooser(mixed).page.value
    assert len(qualify(mixed, 1e9, 1e9, 0)) == len(table) - 1
    with pytest.raises(ValueError, match="no measured network"):
        lab.network_chooser(table.assign(error="ValueError: no"))
