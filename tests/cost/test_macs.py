import pytest
import torch
from other_device import PretendedGPU, moved
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

import labutils as lab

SEQUENCES = nn.Sequential(
    nn.Conv1d(4, 6, 3, stride=2, groups=2), nn.ReLU(), nn.ConvTranspose1d(6, 4, 5, groups=2)
)
VOLUMES = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ConvTranspose3d(4, 2, 3, stride=2, padding=1))
PICTURES = nn.Sequential(
    nn.ConvTranspose2d(2, 6, 4, 2, groups=2), nn.Conv2d(6, 6, 3, stride=2, groups=3), nn.ReLU()
)
ROWS = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 2))  # of a picture: each is used 3 times


@pytest.mark.parametrize(
    ("model", "shape"),
    [(SEQUENCES, (4, 17)), (VOLUMES, (1, 6, 7, 8)), (PICTURES, (2, 5, 6)), (ROWS, (3, 5))],
)
def test_every_convolution_is_counted_as_torch_does(model, shape):
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape))
    assert lab.count_macs(model, shape) * 2 == counter.get_total_flops()
    assert lab.layer_table(model, shape)["macs"].sum() * 2 == counter.get_total_flops()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "hold", [nn.utils.weight_norm, parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_computed_weights_are_counted_too(model, hold):
    before, rows = lab.count_macs(model), lab.layer_table(model)
    for name in ("conv2", "fc1"):
        hold(model.get_submodule(name))
    assert lab.count_macs(model) == lab.count_macs(model, nonzero=True) == before
    table = lab.layer_table(model)
    assert list(table["layer"]) == list(rows["layer"])
    assert list(table["macs"]) == list(rows["macs"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_and_devices(model, dtype):
    expected = lab.count_macs(model)
    assert lab.count_macs(model.to(dtype)) == lab.layer_table(model)["macs"].sum() == expected
    with PretendedGPU():
        assert lab.count_macs(moved(model.float())) == expected


def test_the_network_stays_as_it_was(model):
    model.train()
    lab.layer_table(model)
    with pytest.raises(ValueError, match=r"image_shape=\(3, 28, 28\) does not fit this SimpleCNN"):
        lab.count_macs(model, (3, 28, 28))
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())


def test_what_cannot_be_counted():
    with pytest.raises(ValueError, match=r"LSTM, whose mult.*not counted"):
        lab.count_macs(nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 3)), (5, 4))


class Reads(nn.MultiheadAttention):
    def forward(self, tokens):
        return super().forward(tokens, tokens[..., : self.kdim], tokens[..., : self.kdim])[0]


def test_attention_multiplies_each_token_by_its_projections():
    for attention, weights in ((Reads(8, 2, batch_first=True), 4 * 64), (
        Reads(8, 2, kdim=3, vdim=3, batch_first=True), 2 * 64 + 2 * 24
    )):  # fmt: skip
        model = nn.Sequential(attention, nn.Linear(8, 3))
        assert lab.count_macs(model, (5, 8)) == 5 * (weights + 24)
        table = lab.layer_table(model, (5, 8))
        assert table["macs"].tolist() == [5 * weights, 5 * 24]
        assert table["output"].tolist() == [(5, 8), (5, 3)]


def test_macs_by_hand_and_by_torchs_counter():
    table = lab.layer_table(lab.SimpleCNN()).set_index("layer")
    by_hand = {
        "conv1": 28 * 28 * 16 * 9,
        "conv2": 14 * 14 * 32 * 16 * 9,
        "fc1": 1568 * 64,
        "fc2": 64 * 10,
        "relu1": 0,
    }
    assert table["macs"][list(by_hand)].to_dict() == by_hand
    assert lab.count_macs(lab.SimpleCNN()) == table["macs"].sum() == sum(by_hand.values())
    assert table["parameters"].sum() == 105_866
    assert table.loc["pool2", "output"] == (32, 7, 7)
    for network in (lab.SimpleCNN, lab.LeNet300, lab.LeNet5):
        for amount in (0, 0.5, 0.9):
            model = lab.prune_filters(network(), amount)
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros(1, 1, 28, 28))
            assert lab.count_macs(model) * 2 == counter.get_total_flops()


def test_macs_with_a_weight_that_is_not_zero():
    model = lab.SimpleCNN()
    zeros = lab.prune_magnitude(model, {"conv2": 0.75, "fc1": 0.5})
    assert lab.count_macs(zeros) == lab.count_macs(model)
    assert lab.count_macs(zeros, nonzero=True) == (
        28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 // 4 + 32 * 49 * 64 // 2 + 64 * 10
    )
