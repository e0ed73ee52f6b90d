import os
import sys

import pytest

from labutils.base.threads import WAITING, spin_less


@pytest.mark.parametrize(
    ("before", "loaded", "expected"),
    [
        ({}, {}, WAITING),
        ({"GOMP_SPINCOUNT": "7"}, {}, {**WAITING, "GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {}, {"OMP_WAIT_POLICY": "active"}),
        ({}, {"torch": None}, {}),
    ],
    ids=["set", "one set by the reader", "all set by the reader", "too late"],
)
def test_waiting_threads_sleep_soon_unless_told_otherwise(monkeypatch, before, loaded, expected):
    monkeypatch.setattr(os, "environ", dict(before))
    monkeypatch.setattr(sys, "modules", loaded)
    spin_less()
    assert os.environ == expected
