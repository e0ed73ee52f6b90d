"""Random chains of layers for the property tests, with notes on where their filters end."""

import copy
import math
from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

SIDE = 8
ACTIVATIONS = (nn.ReLU, nn.Sigmoid, nn.ELU, nn.Identity, nn.GELU)


@dataclass
class Chain:
    """A network, and for each layer that can lose filters: the last module that has them.

    `ends` gives that module's name, how many consecutive channels each filter became there,
    and in how many blocks filters must go equally.
    """

    model: nn.Sequential
    shape: tuple[int, ...]
    ends: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def images(self, count: int = 3) -> Tensor:
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(1))

    def masked(self, kept: dict[str, list[int]]) -> nn.Sequential:
        """The same network with all other filters' outputs set to zero, nothing removed."""
        masked = copy.deepcopy(self.model)
        for name, indices in kept.items():
            end, copies, _ = self.ends[name]
            mask = torch.zeros(len(self.model.get_submodule(name).weight))
            mask[indices] = 1
            masked.get_submodule(end).register_forward_hook(_masking(mask, copies))
        return masked


def _masking(mask: Tensor, copies: int):
    def hook(_module, _inputs, output):
        whole = mask.repeat_interleave(copies)
        return output * whole.view(1, -1, *[1] * (output.dim() - 2))

    return hook


@st.composite
def chains(draw, plain: bool = False) -> Chain:
    """Draw a network of one to three convolutions and one to three linear layers.

    A plain one has only what Torch-Pruning handles alike, and keeps zeros zero.
    """
    channels = draw(st.integers(1, 3))
    chain = Chain(nn.Sequential(), (channels, SIDE, SIDE))
    torch.manual_seed(draw(st.integers(0, 10_000)))
    names = iter(f"layer{i}" for i in range(100))
    add = chain.model.add_module
    producer, last, copies, blocks = None, "", 1, 1
    activation = nn.ReLU if plain else draw(st.sampled_from(ACTIVATIONS))
    for _ in range(draw(st.integers(0, 3))):
        groups = 1 if plain else draw(st.sampled_from([1, 1, 2]))
        depthwise = producer and groups == channels
        groups = groups if channels % groups == 0 and copies == 1 and not depthwise else 1
        width = draw(st.integers(1, 4)) * groups
        width = width * 2 if not plain and draw(st.booleans()) else width
        if producer:
            chain.ends[producer] = (last, copies, math.lcm(blocks, groups))
        producer, copies, blocks = next(names), 1, groups
        add(producer, nn.Conv2d(
            channels, width, draw(st.sampled_from([1, 3])), padding=1, groups=groups,
            stride=draw(st.sampled_from([1, 1, 2])), bias=draw(st.booleans()),
        ))  # fmt: skip
        channels, last = width, producer
        if not plain:
            if draw(st.booleans()):
                last = next(names)
                add(last, nn.BatchNorm2d(channels, affine=draw(st.booleans())))
            if draw(st.booleans()):
                last = next(names)
                add(last, nn.PReLU(channels, init=0.3))
            if channels > 1 and draw(st.booleans()):
                last, multiplier = next(names), draw(st.sampled_from([1, 2]))
                add(last, nn.Conv2d(
                    channels, channels * multiplier, 3, padding=1, groups=channels
                ))  # fmt: skip
                channels, copies = channels * multiplier, multiplier
        last = next(names)
        add(last, activation())
        if draw(st.booleans()):
            last = next(names)
            add(last, nn.MaxPool2d(2, ceil_mode=True) if draw(st.booleans()) else nn.Dropout(0.5))
    add(next(names), nn.Flatten())
    features = chain.model(torch.zeros(2, *chain.shape)).shape[1]
    for _ in range(draw(st.integers(0, 2))):
        if producer:
            chain.ends[producer] = (last, copies, blocks)
        producer, copies, blocks, width = next(names), 1, 1, draw(st.integers(1, 6))
        add(producer, nn.Linear(features, width, bias=draw(st.booleans())))
        features, last = width, producer
        if not plain and draw(st.booleans()):
            last = next(names)
            add(last, nn.BatchNorm1d(features))
        last = next(names)
        add(last, activation())
    if producer:
        chain.ends[producer] = (last, copies, blocks)
    add(next(names), nn.Linear(features, 4))
    _randomise(chain.model)
    chain.model.eval()
    return chain


def _randomise(model: nn.Module) -> None:
    """Give the normalizations statistics and parameters that matter."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
