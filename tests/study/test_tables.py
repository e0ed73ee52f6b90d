import math
import os
import subprocess
import sys

import pandas as pd
import pytest

import labutils as lab
from labutils.base import writing as _whole
from labutils.study import tables
from labutils.study.tables import save_comparison


@pytest.fixture
def table():
    columns = ["method", "amount", "seed", "network", "part", "images", "accuracy", "change"]
    rows = [
        ("unpruned", 0.0, 0, "0123e4", "test", 10, 0.9, 0.0),
        ("NA", 0.1 + 0.2, 0, "0123e4", "test", 10, 1 / 3, 100 * (1 / 3 - 0.9)),
        ("a, b", 1e-17, 0, "0123e4", "test", 10, math.nan, math.nan),
    ]
    return pd.DataFrame(rows, columns=columns).assign(
        widths=["1-2", "", "3"], error=["", "", "E: x"]
    )


def test_back_equal_to_the_last_digit(table, tmp_path):
    path = save_comparison(table, tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(lab.load_comparison(path), table, check_exact=True)
    assert path.read_text().startswith("# eai-pruning-lab comparison, format 1\nmethod,")


def test_row_by_row_is_the_same_file(table, tmp_path):
    save_comparison(table, tmp_path / "at_once.csv")
    for row in table.to_dict("records"):
        tables.append_row(tmp_path / "rows.csv", row)
    at_once = (tmp_path / "at_once.csv").read_bytes()
    assert (tmp_path / "rows.csv").read_bytes() == at_once


def test_last_line_cut_off_is_left_out(table, tmp_path):
    path = save_comparison(table, tmp_path / "rows.csv")
    path.write_bytes(path.read_bytes()[:-7])
    assert len(lab.load_comparison(path)) == 2


def test_foreign_and_future_files_are_refused(table, tmp_path):
    path = tmp_path / "rows.csv"
    with pytest.raises(FileNotFoundError, match=r"no file .*rows\.csv: compare"):
        lab.load_comparison(path)
    path.write_text("method,amount\nmagnitude,0.5\n")
    with pytest.raises(ValueError, match="is no comparison of this lab"):
        lab.load_comparison(path)
    save_comparison(table, path)
    path.write_text(path.read_text().replace("format 1", "format 2", 1))
    with pytest.raises(ValueError, match="has format 2; this labutils reads and writes 1"):
        lab.load_comparison(path)
    path.write_text("")
    with pytest.raises(ValueError, match="is no comparison of this lab"):
        lab.load_comparison(path)


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "rows.csv"
    code = (
        "import sys; from pathlib import Path; from labutils.base.writing import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    with (
        pytest.raises(RuntimeError, match="Another program is comparing"),
        _whole.only_writer(path),
    ):
        pass
    other.communicate("\n")
    with _whole.only_writer(path):
        pass


def test_folders_that_will_not_do(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="nowhere is not there"),
        _whole.only_writer(tmp_path / "nowhere" / "rows.csv"),
    ):
        pass


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with (
        pytest.raises(PermissionError, match="choose a folder of your own"),
        _whole.only_writer(tmp_path / "rows.csv"),
    ):
        pass


def test_change_is_against_the_same_network():
    rows = [
        ("unpruned", 0, "a", 0.9),
        ("x", 0, "a", 0.8),
        ("unpruned", 1, "b", 0.7),
        ("x", 1, "b", 0.8),
    ]
    table = pd.DataFrame(rows, columns=["method", "seed", "network", "accuracy"])
    table = table.assign(part="test", images=10)
    assert tables.with_change(table)["change"].tolist() == pytest.approx([0, -10, 0, 10])
    alone = tables.with_change(table[table["method"] == "x"])
    assert alone["change"].isna().all()
