"""Results for those whose machine has no compiler or emulator."""

import pandas as pd
import pytest

from labutils.device import remembered
from labutils.device import stored_results as room


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def without_extra(monkeypatch):
    monkeypatch.setattr(room, "missing", lambda: ["unicorn"])


TABLE = pd.DataFrame({"variant": ["a", "b"], "flash": [1, 2], "accuracy": [0.5, 0.25]})


def test_what_is_measured_here_is_returned_and_not_kept(folder, monkeypatch):
    monkeypatch.delenv(room.STORING, raising=False)
    pd.testing.assert_frame_equal(remembered("costs", TABLE.copy), TABLE)
    assert not folder.exists()


def test_kept_when_stored_and_shown_when_missing(folder, monkeypatch, capsys):
    monkeypatch.setenv(room.STORING, "1")
    remembered("costs", TABLE.copy)
    without_extra(monkeypatch)
    pd.testing.assert_frame_equal(remembered("costs", lambda: 1 / 0), TABLE)
    told = capsys.readouterr().out
    assert "unicorn cannot be imported" in told
    assert "pip install --editable '.[device]'" in told
    assert "measured before, with" in told
    assert "torch 2" in told


def test_nothing_stored_says_so(folder, monkeypatch):
    without_extra(monkeypatch)
    with pytest.raises(FileNotFoundError, match=r"no stored result 'costs', and unicorn cannot"):
        remembered("costs", TABLE.copy)
