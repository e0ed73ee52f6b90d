"""Every check returns what is possible, and refuses the rest with a sentence."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import labutils as lab
from labutils.base import given

SPLIT = lab.Split(torch.zeros(2, 1, 8, 8), torch.tensor([1, 0]))
TABLE = pd.DataFrame({"a": [1.0]})
NAN = torch.tensor([float("nan")])


@pytest.mark.parametrize(
    ("check", "arguments", "expected"),
    [
        (given.amount, (1,), 1.0),
        (given.amount, (np.float32(0.5),), 0.5),
        (given.amounts, ((0.5, 0.9),), [0.5, 0.9]),
        (given.layer_amounts, ({"fc1": 1}, ["fc1", "fc2"]), {"fc1": 1.0}),
        (given.whole, (np.int64(3), "epochs"), 3),
        (given.whole, (0, "epochs", 0), 0),
        (given.seed, (2**63 - 1,), 2**63 - 1),
        (given.positive, (1, "rate"), 1.0),
        (given.positive, (0, "rate", True), 0.0),
        (given.choice, ("l1", "criterion", ("l1", "l2")), "l1"),
        (given.device, (None,), torch.device("cpu")),
        (given.device, ("cpu",), torch.device("cpu")),
    ],
)
def test_possible_values_come_back_as_plain_ones(check, arguments, expected):
    found = check(*arguments)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (given.network, lab.LeNet300((1, 1))),
        (given.digits, lab.Digits(SPLIT, SPLIT, None)),
        (given.split, SPLIT),
        (lambda value: given.calibration(value, "Taylor"), SPLIT),
        (given.images, torch.zeros(1, 3, 4, 4, dtype=torch.float64)),
        (lambda value: given.table(value, ["a"]), TABLE),
    ],
)
def test_possible_objects_come_back_themselves(check, value):
    assert check(value) is value


@pytest.mark.parametrize(
    ("check", "arguments", "error", "message"),
    [
        (given.network, (None,), TypeError, "model is None: give a network"),
        (given.network, (nn.ReLU(),), ValueError, "a ReLU without parameters"),
        (given.digits, (SPLIT,), TypeError, "digits is a Split: give what load_mnist"),
        (given.split, ((1, 2),), TypeError, "split is a tuple: give images and labels"),
        (given.split, (SPLIT[:0],), ValueError, "split is empty"),
        (given.split, (lab.Split(SPLIT.images, SPLIT.images),), TypeError, r"labels is a torch\.f"),
        (given.split, (lab.Split(SPLIT.labels, SPLIT.labels),), ValueError, "images N x channels"),
        (given.split, (lab.Split(SPLIT.images, -SPLIT.labels),), ValueError, "labels holds -1"),
        (given.calibration, (None, "Taylor"), TypeError, r"Taylor looks at images.*not NoneType"),
        (given.calibration, (SPLIT[:0], "Taylor"), ValueError, "calibration is empty: give it"),
        (given.images, (SPLIT.images[0],), ValueError, r"shape \(1, 8, 8\): give floating-point"),
        (given.tensor, ([1.0], "scores"), TypeError, "scores is a list: give a tensor"),
        (given.tensor, (torch.zeros(0), "scores"), ValueError, "scores is empty"),
        (given.tensor, (NAN, "scores"), ValueError, "scores holds NaN or infinity"),
        (given.amount, (90,), ValueError, r"amount=90: .*for 90% write 0\.9"),
        (given.amount, (float("nan"),), ValueError, r"amount=nan: .* lies in \[0, 1\]"),
        (given.amount, (True,), TypeError, r"amount=True: give a number in \[0, 1\]"),
        (given.amount, ("half",), TypeError, "amount='half': give a number"),
        (given.amounts, (0.5,), TypeError, r"amounts=0\.5: give several"),
        (given.amounts, ("0.5",), TypeError, "give several"),
        (given.amounts, ((),), ValueError, "at least one"),
        (given.amounts, ((0.5, 0.5),), ValueError, "each once"),
        (given.amounts, ((0.5, 5),), ValueError, r"amounts\[1\]=5"),
        (given.layer_amounts, ({"fc9": 0.5}, ["fc1"]), ValueError, "no prunable layer 'fc9'; ch"),
        (given.layer_amounts, ({"fc1": 2}, ["fc1"]), ValueError, r"amount\['fc1'\]=2"),
        (given.whole, (1.5, "epochs"), TypeError, r"epochs=1\.5: give a whole number of at least"),
        (given.whole, (True, "epochs"), TypeError, "epochs=True"),
        (given.whole, (11, "epochs", 1, 10), ValueError, "epochs=11: .* from 1 to 10"),
        (given.seed, ("a",), TypeError, "seed='a': give a whole number from 0"),
        (given.seed, (2**70,), ValueError, "seed=1180"),
        (given.positive, (0, "rate"), ValueError, "rate=0: give a finite number above 0"),
        (given.positive, (float("inf"), "rate"), ValueError, "rate=inf"),
        (given.positive, ([1] * 99, "rate"), TypeError, r"rate=\[1, .*\.\.\.: give a number"),
        (given.choice, ("l3", "criterion", ("l1",)), ValueError, "criterion='l3': choose 'l1'"),
        (given.choice, (["l1"], "criterion", ("l1",)), TypeError, "choose 'l1'"),
        (given.table, ([1], ["a"]), TypeError, "table is a list: give a table"),
        (given.table, (TABLE, ["a", "b"]), ValueError, "no column 'b': it has 'a'"),
        (given.table, (TABLE[:0], ["a"]), ValueError, "no rows"),
        (given.device, ("gpu",), ValueError, "device='gpu': it cannot be used here"),
        (given.device, (1.5,), ValueError, r"device=1\.5"),
        (given.path, (None,), TypeError, "path=None: give the path of a file"),
        (given.path, (" ",), TypeError, "path=' '"),
        (given.path, ("a\0b",), TypeError, "give the path"),
    ],
)
def test_the_impossible_is_refused_in_one_sentence(check, arguments, error, message):
    with pytest.raises(error, match=message) as refused:
        check(*arguments)
    assert re.fullmatch(r"[^\n]{20,300}\.", str(refused.value))


def test_path_of_a_file(tmp_path):
    (tmp_path / "file").touch()
    for possible in (tmp_path / "file", tmp_path / "new", tmp_path / "not" / "yet"):
        assert given.path(str(possible)) == possible
    with pytest.raises(IsADirectoryError, match="is a folder: give the path of a file in it"):
        given.path(tmp_path)
    for below in ("file/new", "file/not/yet"):
        with pytest.raises(NotADirectoryError, match="file is a file: nothing can lie below"):
            given.path(tmp_path / below)
