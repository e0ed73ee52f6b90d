import copy

import pytest
import torch
import torch.nn.functional as F
from labutils.fit.layout import channels_last, fast_forward
from torch import nn

import labutils as lab


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (5, 3, 4, 6), (0, 1, 28, 28), (5, 784)])
def test_channels_last_keeps_the_values(shape):
    images = torch.randn(shape)
    marked = channels_last(images)
    assert torch.equal(marked, images)
    if len(shape) == 4 and shape[0]:
        out = nn.Conv2d(shape[1], 6, 3, padding=1)(marked)
        assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("network", [lab.SimpleCNN, lab.LeNet5, lab.LeNet300])
def test_same_outputs_and_gradients(network):
    torch.manual_seed(0)
    plain = network()
    fast = copy.deepcopy(plain)
    images, labels = torch.randn(32, 1, 28, 28), torch.randint(10, (32,))
    F.cross_entropy(plain(images), labels).backward()
    logits = fast_forward(fast)(images)
    F.cross_entropy(logits, labels).backward()
    assert torch.allclose(logits, plain(images), atol=1e-5)
    for name, parameter in plain.named_parameters():
        assert torch.allclose(fast.get_parameter(name).grad, parameter.grad, atol=1e-5), name


def test_whoever_watches_a_layer_sees_it_as_it_stands():
    images = torch.randn(2, 1, 28, 28)
    for watched, shape in (("relu1", (2, 16, 28, 28)), ("", (2, 10))):
        model, seen = lab.SimpleCNN(), []
        model.get_submodule(watched).register_forward_hook(
            lambda _layer, _inputs, output, seen=seen: seen.append(tuple(output.shape))
        )
        fast_forward(model)(images)
        assert seen == [shape]


def test_a_network_with_a_forward_of_its_own_is_left_alone():
    class Doubled(nn.Sequential):
        def forward(self, values):
            return 2 * super().forward(values)

    model = Doubled(nn.ReLU(), nn.MaxPool2d(2))
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(fast_forward(model)(images), model(images))
