"""Lesson 02: which weights go, where is the threshold, and where are those that stay?"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from labutils.practice.turn import turn


def _ranked(magnitudes: Tensor, later_first: bool = True) -> list[int]:
    """Return the positions from the smallest to the largest."""
    size = magnitudes.tolist()
    return sorted(range(len(size)), key=lambda i: (size[i], -i if later_first else i))


def _nearly_equal() -> Tensor:
    """Return many ties, and differences so small that a position must not outweigh them."""
    chance = torch.Generator().manual_seed(0)
    tenths, millionths = (torch.randint(0, n, (64,), generator=chance) for n in (4, 2))
    return 0.1 * (tenths + 1) + 1e-6 * millionths


@turn(lambda: [
    (torch.tensor([0.3, 0.1, 0.2]), 2),
    (torch.tensor([0.2, 0.5, 0.1, 0.4]), 3),
    (torch.tensor([0.3, 0.1, 0.3, 0.5]), 2),
    (torch.tensor([0.0, 0.0, 0.7, 0.0, 0.0, 0.2]), 3),
    (_nearly_equal(), 36),
    (torch.tensor([0.5, 0.4]), 0),
    (torch.tensor([0.5, 0.5]), 2),
], {
    "the magnitudes themselves, where their positions are asked for":
        lambda magnitudes, count: magnitudes[smallest.right(magnitudes, count)].tolist(),
    "the largest, where the smallest are asked for":
        lambda magnitudes, count: sorted(_ranked(-magnitudes)[:count]),
    "all that equal the threshold go: a comparison cannot cut between equal ones":
        lambda magnitudes, count: [
            i for i, size in enumerate(magnitudes) if size <= magnitudes.sort().values[count - 1]
        ],
    "one too many: [:count] holds `count` of them":
        lambda magnitudes, count: sorted(_ranked(magnitudes)[: count + 1]),
    "too few: exactly `count` go, of equal ones too":
        lambda magnitudes, count: sorted(_ranked(magnitudes)[: max(count - 1, 0)]),
    "the positions fall, and shall rise: sort them once more":
        lambda magnitudes, count: smallest.right(magnitudes, count)[::-1],
    "in order of size: sort the positions once more":
        lambda magnitudes, count: _ranked(magnitudes)[:count],
    "among equal ones the first goes first: rank by size, then by falling position":
        lambda magnitudes, count: sorted(_ranked(magnitudes, later_first=False)[:count]),
    "nearly equal is not equal: by size first, by position only where sizes are the same":
        lambda magnitudes, count: smallest.right((1e4 * magnitudes).round(), count),
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
    rows = ([9.0, 3.0], [-2.0, 10.0, -5.0, -1.0], [-8.0, -7.0, -6.0, -4.0])
    layer = nn.Linear(2, 1)  # its weights are parameters, as those of a network
    layer.load_state_dict({"weight": torch.tensor([[0.4, -0.2]]), "bias": torch.zeros(1)})
    return [
        ([torch.tensor(row) for row in rows], 0.3),
        ([torch.tensor([2.0, -7.0]), torch.tensor([[-1.0, 5.0], [3.0, -6.0]])], 0.6),
        ([torch.tensor([0.6, -0.1, 0.4]), torch.tensor([[0.7, -0.5], [0.2, -0.3]])], 0.8),
        ([layer.weight], 0.0),
        ([drawn[0], 0.1 * drawn[1]], 0.9),
    ]


@turn(_layers, {
    "how many go is round(amount * n): not int(), which rounds down, nor a quantile":
        lambda weights, amount: _first_to_stay(_joined(weights), amount, int),
    "a quantile lies between two magnitudes: sort them, and take the one behind those that go":
        lambda weights, amount: torch.tensor(_joined(weights)).quantile(amount).item(),
    "the mean of a threshold for each layer: rank all weights together":
        lambda weights, amount: sum(_of_each(weights, amount)) / len(weights),
    "the first layer's threshold: rank all weights together":
        lambda weights, amount: _of_each(weights, amount)[0],
    "only the last layer is ranked: join the lists with +=":
        lambda weights, amount: _of_each(weights, amount)[-1],
    "the signs count: rank by |w|":
        lambda weights, amount: _first_to_stay(_joined(weights, magnitudes=False), amount),
    "the magnitudes are not sorted":
        lambda weights, amount: _joined(weights)[round(amount * len(_joined(weights)))],
    "the amount is the share that goes, not the share that stays":
        lambda weights, amount: _first_to_stay(_joined(weights), 1 - amount),
    "len(weights) counts the layers: n is the number of all weights":
        lambda weights, amount: sorted(_joined(weights))[round(amount * len(weights))],
    "the amount is a share already, no percentage: round(amount * n) go":
        lambda weights, amount: _first_to_stay(_joined(weights), amount / 100),
    "sorted from the largest on: the smallest go":
        lambda weights, amount: -_first_to_stay([-size for size in _joined(weights)], amount),
    "the largest that goes, where the smallest that stays is asked for":
        lambda weights, amount: _first_to_stay(_joined(weights), amount, lambda n: round(n) - 1),
    "one too high: the index `gone` is the first that stays":
        lambda weights, amount: _first_to_stay(_joined(weights), amount, lambda n: round(n) + 1),
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
