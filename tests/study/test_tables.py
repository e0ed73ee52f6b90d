import math
import os

import pandas as pd
import pytest

import labutils as lab
from labutils.base import writing
from labutils.study import tables
from labutils.study.tables import COLUMNS, save_comparison


@pytest.fixture
def table():
    texts = {"network": "0123e4", "part": "test", "digits": "0e1"}
    rows = [
        ("unpruned", 0.0, 0.9, 0.0, "1-2", ""),
        ("NA", 0.1 + 0.2, 1 / 3, 100 * (1 / 3 - 0.9), "", ""),
        ("a, b", 1e-17, math.nan, math.nan, "3", "E: x"),
    ]
    own = pd.DataFrame(rows, columns=["method", "amount", "accuracy", "change", "widths", "error"])
    others = dict.fromkeys(set(COLUMNS) - set(own) - set(texts), 10)
    return own.assign(**texts, **others)[COLUMNS]


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


FIRST = "# eai-pruning-lab comparison, format 1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("method,amount\nmagnitude,0.5\n", "is no comparison of this lab"),
        ("", "is no comparison of this lab"),
        ("\udcff", "is no comparison of this lab"),
        (FIRST.replace("1", "2"), "has format 2; this labutils reads and writes 1"),
        (FIRST, "is damaged"),
        (FIRST + "method,amount\nmagnitude,0.5\n", "is damaged .*not in index"),
        (FIRST + "method,amount\nmagnitude,0.5,7,8\n", "is damaged"),
    ],
)
def test_foreign_future_and_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "rows.csv"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        lab.load_comparison(path)


def test_paths_without_a_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*rows\.csv: compare"):
        lab.load_comparison(tmp_path / "rows.csv")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        lab.load_comparison(tmp_path)
    with pytest.raises(TypeError, match="path=None"):
        lab.load_comparison(None)


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "rows.csv"
    with (
        writing.only_writer(path),
        pytest.raises(RuntimeError, match="Another program is comparing"),
    ):
        lab.compare(path=path, networks=lab.SimpleCNN(), images=1, progress=False)
    with writing.only_writer(path):
        pass


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with (
        pytest.raises(PermissionError, match="choose a folder of your own"),
        writing.only_writer(tmp_path / "rows.csv"),
    ):
        pass


def test_change_is_against_the_same_network_and_digits():
    columns = ["method", "seed", "network", "digits", "accuracy"]
    rows = [
        ("unpruned", 0, "a", "d", 0.9), ("x", 0, "a", "d", 0.8),
        ("unpruned", 1, "b", "d", 0.7), ("x", 1, "b", "d", 0.8), ("x", 1, "b", "e", 0.8),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns).assign(part="test", images=10)
    assert tables.with_change(table)["change"].tolist()[:4] == pytest.approx([0, -10, 0, 10])
    assert math.isnan(tables.with_change(table)["change"][4])
