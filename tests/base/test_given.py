"""Every check returns what is possible; what it says of the rest, where the words matter."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import labutils as lab
from labutils.base import given

SPLIT = lab.Split(torch.zeros(2, 1, 8, 8), torch.tensor([1, 0]))
TABLE = pd.DataFrame({"a": [1.0]})


@pytest.mark.parametrize(
    ("check", "arguments", "expected"),
    [
        (given.amount, (1,), 1.0),
        (given.amount, (np.float32(0.5),), 0.5),
        (given.amounts, ((0.5, 0.9),), [0.5, 0.9]),
        (given.shares, ({"fc1": 1}, ["fc1", "fc2"]), {"fc1": 1.0, "fc2": 0.0}),
        (given.shares, (0.5, ["fc1", "fc2"]), {"fc1": 0.5, "fc2": 0.5}),
        (given.whole, (np.int64(3), "epochs"), 3),
        (given.seed, (2**63 - 1,), 2**63 - 1),
        (given.positive, (0, "rate", True), 0.0),
        (given.choices, (["l1"], "criterion", ("l1", "l2")), ["l1"]),
        (given.shape, ((1, 28, 28),), (1, 28, 28)),
        (given.device, (None,), torch.device("cpu")),
    ],
)
def test_possible_values_come_back_as_plain_ones(check, arguments, expected):
    found = check(*arguments)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (given.digits, lab.Digits(SPLIT, SPLIT, None)),
        (lambda value: given.calibration(value, "Taylor"), SPLIT),
        (given.images, torch.full((1, 3, 4, 4), 1e308, dtype=torch.float64)),
        (lambda value: given.numbers(value, ["a"]), TABLE),
    ],
)
def test_possible_objects_come_back_themselves(check, value):
    assert check(value) is value


@pytest.mark.parametrize(
    ("check", "arguments", "message"),
    [
        (given.network, (None,), "model is None: give a network"),
        (
            given.split,
            (lab.Split(SPLIT.images, -SPLIT.labels),),
            "labels is .* from -1: give int64",
        ),
        (given.calibration, (None, "Taylor"), r"Taylor looks at images.*not None"),
        (given.images, (SPLIT.images[0],), r"shape \(1, 8, 8\): give floating-point images"),
        (given.amount, (90,), r"amount=90: .*for 90% write 0\.9"),
        (given.amounts, ((0.5, 5),), r"amounts\[1\]=5"),
        (given.amounts, ((0.5, 0.5),), "each once"),
        (given.shares, ({"fc9": 0.5}, ["fc1"]), "no prunable layer 'fc9'; choose from fc1"),
        (given.shares, ({"fc1": 2}, ["fc1"]), r"amount\['fc1'\]=2"),
        (given.whole, (11, "epochs", 1, 10), "epochs=11: give an integer from 1 to 10"),
        (given.positive, ([1] * 99, "rate"), r"rate=\[1, .*\.\.\.: give a number above 0"),
        (given.choice, ("l3", "criterion", ("l1",)), "criterion='l3': choose 'l1'"),
        (given.table, (TABLE, ["a", "b"]), "no column 'b': it has 'a'"),
        (given.device, ("gpu",), "device='gpu': it cannot be used here"),
        (given.path, ("a\0b",), "give the path of a file"),
    ],
)
def test_the_impossible_is_refused_in_one_sentence(check, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message) as refused:
        check(*arguments)
    assert re.fullmatch(r"[^\n]{20,300}\.", str(refused.value))


def test_path_of_a_file(tmp_path):
    (tmp_path / "file").touch()
    for possible in (tmp_path / "file", tmp_path / "new", tmp_path / "not" / "yet"):
        assert given.path(str(possible)) == possible
    with pytest.raises(NotADirectoryError, match="file is a file: nothing can lie below"):
        given.path(tmp_path / "file" / "not" / "yet")
