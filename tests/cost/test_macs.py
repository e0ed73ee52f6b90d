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
PICTURES = nn.Sequential(nn.ConvTranspose2d(2, 6, 4, 2, groups=2), nn.Conv2d(6, 6, 3, groups=3))
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


@pytest.mark.parametrize("function", [lab.count_macs, lab.layer_table])
def test_what_cannot_be_counted(model, function):
    for layer, shape in ((nn.LSTM(4, 3), (5, 4)), (nn.MultiheadAttention(4, 2), (5, 4))):
        with pytest.raises(ValueError, match=rf"{type(layer).__name__}, whose mult.*not counted"):
            function(nn.Sequential(nn.Linear(4, 4), layer), shape)
    for value, error in ((nn.ReLU(), ValueError), (None, TypeError), ("model.pth", TypeError)):
        with pytest.raises(error, match=r"model is .*: give a network"):
            function(value)
    for shape in (28, None, "28", (), (1, 0, 28), (1, 2.5, 28), (1, -28, 28)):
        with pytest.raises((TypeError, ValueError), match=r"image_shape.*: give"):
            function(model, shape)
