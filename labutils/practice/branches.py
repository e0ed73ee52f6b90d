"""Lesson 08: which tensors lose what, when a channel of a residual block goes?"""

import torch
from torch import Tensor

from labutils.practice.turn import turn


def _blocks() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randint(-9, 10, shape, generator=generator).float()

    numbered = (torch.arange(3.0), torch.arange(9.0).view(3, 3), torch.arange(6.0).view(2, 3))
    stem, branch, reader = numbered
    return [
        (stem.view(3, 1), branch, reader, 1),
        (drawn(4, 2), drawn(4, 4), drawn(3, 4), 0),
        (drawn(5, 5), drawn(5, 5), drawn(5, 5), 3),
    ]


def _without(tensor: Tensor, gone: int, *dims: int) -> Tensor:
    for dim in dims:
        kept = [index for index in range(tensor.shape[dim]) if index != gone]
        tensor = tensor.index_select(dim, torch.tensor(kept))
    return tensor


@turn(_blocks, {
    "the branch keeps its rows: what it answers is added to the stem's channels, so it must agree":
        lambda stem, branch, reader, gone: (
            _without(stem, gone, 0), _without(branch, gone, 1), _without(reader, gone, 1)
        ),
    "the branch keeps its columns: it reads the stem's channels, of which one is gone":
        lambda stem, branch, reader, gone: (
            _without(stem, gone, 0), _without(branch, gone, 0), _without(reader, gone, 1)
        ),
    "the branch as it was: it reads the stem's channels, and answers as many":
        lambda stem, branch, reader, gone: (
            _without(stem, gone, 0), branch, _without(reader, gone, 1)
        ),
    "rows of the reader were cut: they are what it answers; what it reads lies along the columns":
        lambda stem, branch, reader, gone: (
            _without(stem, gone, 0), _without(branch, gone, 0, 1), _without(reader, gone, 0)
        ),
    "the stem's columns were cut: they are what it reads, the channels it gives are rows":
        lambda stem, branch, reader, gone: (
            _without(stem, gone, 1), _without(branch, gone, 0, 1), _without(reader, gone, 1)
        ),
    "the reader as it was: it reads the channels of the sum, of which one is gone":
        lambda stem, branch, reader, gone: (
            _without(stem, gone, 0), _without(branch, gone, 0, 1), reader
        ),
    "zeros where something should be gone":
        lambda stem, branch, reader, gone: (
            stem * (torch.arange(len(stem)) != gone)[:, None], branch, reader
        ),
})  # fmt: skip
def cut_block(
    stem: Tensor, branch: Tensor, reader: Tensor, gone: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of a residual block without a channel."""
    return _without(stem, gone, 0), _without(branch, gone, 0, 1), _without(reader, gone, 1)


def _additions() -> list[tuple]:
    return [
        (["stem", "a", "b"], [("stem", "b")]),
        (["stem", "a", "b", "c", "d"], [("stem", "b"), ("b", "d")]),
        (["a", "b", "c", "d", "e"], [("c", "d"), ("a", "b"), ("d", "a")]),
        (["a", "b"], []),
    ]


def _joined(layers: list[str], added: list[tuple[str, str]]) -> list[list[str]]:
    groups = [{layer} for layer in layers]
    for pair in added:
        met = [group for group in groups if group & {*pair}]
        groups = [group for group in groups if group not in met] + [set().union(*met)]
    found = [[layer for layer in layers if layer in group] for group in groups]
    return sorted(found, key=lambda group: layers.index(group[0]))


def _only_pairs(layers: list[str], added: list[tuple[str, str]]) -> list[list[str]]:
    paired = {layer for pair in added for layer in pair}
    return [[*pair] for pair in added] + [[layer] for layer in layers if layer not in paired]


@turn(_additions, {
    "layers that go alone are missing: each is a group of one":
        lambda layers, added: [group for group in _joined(layers, added) if len(group) > 1],
    "a group for each pair: those that share a layer are one group":
        lambda layers, added: sorted(_only_pairs(layers, added), key=lambda g: layers.index(g[0])),
    "every layer by itself: those that are added go together":
        lambda layers, added: [[layer] for layer in layers],
    "all layers together: only those that are added, directly or by way of others":
        lambda layers, added: [[*layers]],
    "the right groups in another order: by their first layer, as the layers come":
        lambda layers, added: _joined(layers, added)[::-1],
})  # fmt: skip
def join(layers: list[str], added: list[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of layers that lose channels together."""
    return _joined(layers, added)
