import copy

import pytest
import torch
from torch import nn

import labutils as lab


@pytest.mark.parametrize(
    ("network", "parameters", "widths"),
    [
        (lab.SimpleCNN, 105_866, (16, 32, 64)),
        (lab.LeNet300, 266_610, (300, 100)),
        (lab.LeNet5, 431_080, (20, 50, 500)),
    ],
)
def test_published_sizes(network, parameters, widths):
    model = network()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.widths == widths
    assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert network(tuple(w // 2 for w in widths)).widths == tuple(w // 2 for w in widths)


def test_layers_are_those_of_the_design():
    assert [type(layer).__name__ for layer in lab.SimpleCNN()] == [
        *("Conv2d", "ReLU", "MaxPool2d") * 2,
        *("Flatten", "Linear", "ReLU", "Linear"),
    ]


def test_is_an_ordinary_network():
    model = lab.SimpleCNN()
    part = model[:3]
    assert type(part) is nn.Sequential
    assert part(torch.zeros(1, 1, 28, 28)).shape == (1, 16, 14, 14)
    assert model[0] is model.conv1
    assert model[-1] is model.fc2
    twin = copy.deepcopy(model)
    assert type(twin) is lab.SimpleCNN
    image = torch.randn(1, 1, 28, 28)
    assert torch.equal(twin(image), model(image))
    model.conv1 = nn.Conv2d(1, 9, 3, padding=1)
    assert model.widths == (9, 32, 64)  # they follow the layers


@pytest.mark.parametrize("widths", [(16, 32), (16, 32, 0), (16, 32, 64.0), (10**9, 32, 64)])
def test_wrong_widths(widths):
    with pytest.raises(ValueError, match=r"3 integers.*conv1, conv2, fc1"):
        lab.SimpleCNN(widths)
