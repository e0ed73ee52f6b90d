import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import labutils as lab


def test_layer_table_by_hand():
    table = lab.layer_table(lab.SimpleCNN()).set_index("layer")
    assert table.loc["conv1", "macs"] == 28 * 28 * 16 * 9
    assert table.loc["conv2", "macs"] == 14 * 14 * 32 * 16 * 9
    assert table.loc["fc1", "macs"] == 1568 * 64
    assert table.loc["fc2", "macs"] == 64 * 10
    assert table.loc["relu1", "macs"] == 0
    assert table["parameters"].sum() == 105_866
    assert table.loc["pool2", "output"] == (32, 7, 7)


def test_layer_table_counts_groups_and_strides():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, 4, 9, 9))
    assert lab.layer_table(model, (4, 9, 9))["macs"].tolist() == [8 * 16 * 2 * 9, 0, 128 * 3]


@pytest.mark.parametrize(
    ("network", "macs"),
    [
        (lab.SimpleCNN, 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 + 32 * 49 * 64 + 64 * 10),
        (lab.LeNet300, 784 * 300 + 300 * 100 + 100 * 10),
        (lab.LeNet5, 24 * 24 * 20 * 25 + 8 * 8 * 50 * 20 * 25 + 800 * 500 + 500 * 10),
    ],
)
def test_macs_by_hand_and_by_torchs_counter(network, macs):
    for amount in (0, 0.5, 0.9):
        model = lab.prune_filters(network(), amount)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 1, 28, 28))
        assert lab.count_macs(model) * 2 == counter.get_total_flops()
        assert lab.count_macs(model) == lab.layer_table(model)["macs"].sum()
    assert lab.count_macs(network()) == macs


def test_macs_with_a_weight_that_is_not_zero():
    model = lab.SimpleCNN()
    zeros = lab.prune_magnitude(model, {"conv2": 0.75, "fc1": 0.5})
    assert lab.count_macs(zeros) == lab.count_macs(model)
    assert lab.count_macs(zeros, nonzero=True) == (
        28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 // 4 + 32 * 49 * 64 // 2 + 64 * 10
    )


def test_macs_of_other_pictures():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, groups=1), nn.ReLU())
    assert lab.count_macs(model, (3, 33, 17)) == 16 * 8 * 8 * 27
