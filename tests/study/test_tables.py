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


def test_back_equal_to_the_last_digit_and_row_by_row_the_same_file(table, tmp_path):
    path = save_comparison(table, tmp_path / "at_once.csv")
    pd.testing.assert_frame_equal(lab.load_comparison(path), table, check_exact=True)
    assert path.read_text().startswith("# eai-pruning-lab comparison, format 1\nmethod,")
    for row in table.to_dict("records"):
        tables.append_row(tmp_path / "rows.csv", row)
    assert (tmp_path / "rows.csv").read_bytes() == path.read_bytes()
    path.write_bytes(path.read_bytes()[:-7])  # a last line that was cut off is left out
    assert len(lab.load_comparison(path)) == 2


FIRST = "# eai-pruning-lab comparison, format 1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("method,amount\nmagnitude,0.5\n", "is no comparison of this"),
        ("", "is no comparison of this"),
        ("\udcff", "is no comparison of this"),
        (FIRST.replace("1", "2"), "is no comparison of this version of the lab"),
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
    table = pd.DataFrame(rows, columns=columns).reindex(columns=COLUMNS)
    change = tables.as_table(table.assign(part="test", images=10))["change"]
    assert change.tolist() == pytest.approx([0, -10, 0, 10, math.nan], nan_ok=True)
