"""Lesson 02: which weights go, where is the threshold, and where are those that stay?"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from labutils.practice.turn import turn


def _ranked(magnitudes: Tensor, later_first: bool = True) -> list[int]:
    """Return the positions from the smallest to the largest."""
    size = magnitudes.tolist()
    return sorted(range(len(size)), key=lambda i: (size[i], -i if later_first else i))


@turn(lambda: [
    (torch.tensor([0.3, 0.1, 0.2]), 2),
    (torch.tensor([0.2, 0.5, 0.1, 0.4]), 2),
    (torch.tensor([0.3, 0.1, 0.3, 0.3, 0.5]), 2),
    (torch.tensor([0.0, 0.0, 0.7, 0.0, 0.0, 0.2]), 3),
    (torch.tensor([0.5, 0.4]), 0),
    (torch.tensor([0.5, 0.5]), 2),
], {
    "the magnitudes themselves, where their positions are asked for":
        lambda magnitudes, count: magnitudes[smallest.right(magnitudes, count)].tolist(),
    "the largest, where the smallest are asked for":
        lambda magnitudes, count: sorted(_ranked(-magnitudes)[:count]),
    "one too many: [:count] holds `count` of them":
        lambda magnitudes, count: sorted(_ranked(magnitudes)[: count + 1]),
    "one too few: [:count] holds `count` of them":
        lambda magnitudes, count: sorted(_ranked(magnitudes)[: max(count - 1, 0)]),
    "in order of size: sort the positions once more":
        lambda magnitudes, count: _ranked(magnitudes)[:count],
    "among equal ones the first goes first: rank by size, then by falling position":
        lambda magnitudes, count: sorted(_ranked(magnitudes, later_first=False)[:count]),
    "all that equal the threshold go: a comparison cannot cut between equal ones":
        lambda magnitudes, count: [
            i for i, size in enumerate(magnitudes) if size <= magnitudes.sort().values[count - 1]
        ],
})  # fmt: skip
def smallest(magnitudes: Tensor, count: int) -> list[int]:
    """Return the positions of the smallest, rising; among equal ones the later goes first."""
    return sorted(_ranked(magnitudes)[:count])


def _first_to_stay(values: list[float], amount: float, gone: Callable = round) -> float:
    return sorted(values)[gone(amount * len(values))]


def _joined(weights: list[Tensor], magnitudes: bool = True) -> list[float]:
    together = [value for weight in weights for value in weight.flatten().tolist()]
    return [abs(value) for value in together] if magnitudes else together


def _of_each(weights: list[Tensor], amount: float) -> list[float]:
    return [_first_to_stay(_joined([weight]), amount) for weight in weights]


def _layers() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(4, 1, 3, 3, generator=generator), torch.randn(9, 20, generator=generator)]
    return [
        ([torch.tensor([-0.9, -0.3]), torch.tensor([[0.2, -0.7, 0.6]])], 0.4),
        ([torch.tensor([2.0, -7.0]), torch.tensor([[-1.0, 5.0], [3.0, -6.0]])], 0.6),
        ([torch.tensor([0.4, -0.2])], 0.0),
        ([drawn[0], 0.1 * drawn[1]], 0.9),
    ]


@turn(_layers, {
    "the mean of a threshold for each layer: rank all weights together":
        lambda weights, amount: sum(_of_each(weights, amount)) / len(weights),
    "the first layer's threshold: rank all weights together":
        lambda weights, amount: _of_each(weights, amount)[0],
    "the signs count: rank by |w|":
        lambda weights, amount: _first_to_stay(_joined(weights, magnitudes=False), amount),
    "the magnitudes are not sorted":
        lambda weights, amount: _joined(weights)[round(amount * len(_joined(weights)))],
    "the amount is the share that goes, not the share that stays":
        lambda weights, amount: _first_to_stay(_joined(weights), 1 - amount),
    "the number that go is rounded down: it is round(amount * n)":
        lambda weights, amount: _first_to_stay(_joined(weights), amount, int),
    "the largest that goes, where the smallest that stays is asked for":
        lambda weights, amount: _first_to_stay(_joined(weights), amount, lambda n: round(n) - 1),
})  # fmt: skip
def global_threshold(weights: list[Tensor], amount: float) -> float:
    """Return the smallest magnitude that stays when all weights are ranked together."""
    return _first_to_stay(_joined(weights), amount)


def _kept(row: Tensor) -> list[int]:
    return row.nonzero().flatten().tolist()


def _sparse_row() -> Tensor:
    row = torch.randn(16, generator=torch.Generator().manual_seed(0))
    return row * (row > 0.5)


@turn(lambda: [
    (torch.tensor([0.0, 0.0, 0.5, 0.0, -0.3, 0.2, 0.0]),),
    (torch.tensor([0.4, -0.1, 0.0, 0.0, 0.0, 0.2]),),
    (torch.zeros(4),),
    (_sparse_row(),),
], {
    "positions: count the zeros since the weight before":
        lambda row: _kept(row),
    "the count goes on: begin with 0 again after each weight":
        lambda row: [place - before for before, place in enumerate(_kept(row))],
    "the zeros after the last weight stand before nothing":
        lambda row: [*gaps.right(row), len(row) - 1 - max(_kept(row), default=-1)],
    "one too many: the weight itself is no zero":
        lambda row: [gap + 1 for gap in gaps.right(row)],
    "the zeros before the first weight count too":
        lambda row: gaps.right(row)[1:],
    "a weight right behind another one has a gap too: 0":
        lambda row: [gap for gap in gaps.right(row) if gap],
})  # fmt: skip
def gaps(row: Tensor) -> list[int]:
    """Return how many zeros stand before each weight that is not zero."""
    return [after - before - 1 for before, after in itertools.pairwise([-1, *_kept(row)])]
