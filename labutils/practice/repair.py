"""Lesson 07: what should a weight become when its neighbour goes, and which two of four stay?"""

import torch
from torch import Tensor

from labutils.practice.turn import turn


def _two_inputs() -> list[tuple]:
    drawn = torch.Generator().manual_seed(0)
    return [
        (torch.tensor([[1.0, 2.0], [1.0, 1.0]]), torch.tensor([0.6, 0.4])),
        (torch.tensor([[1.0, -1.0, 2.0], [2.0, 0.5, 1.0]]), torch.tensor([0.5, -1.0])),
        (torch.tensor([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]), torch.tensor([0.3, 0.5])),
        (torch.randn((2, 6), generator=drawn), torch.randn(2, generator=drawn)),
    ]


def _gain(inputs: Tensor, weights: Tensor) -> Tensor:
    """Return by how much the second weight changes."""
    first, second = inputs
    return weights[0] * (first @ second) / (second @ second)


@turn(_two_inputs, {
    "the second weight as it was: it is to take over what the first did":
        lambda inputs, weights: weights[1],
    "the sum of the weights: that is right only where the two inputs are equal":
        lambda inputs, weights: weights.sum(),
    "the first weight: it is the second that stays":
        lambda inputs, weights: (weights @ inputs) @ inputs[0] / (inputs[0] @ inputs[0]),
    "what the second weight gains: add what it was":
        _gain,
    "divided by the first input's squares: it is the second that stays":
        lambda inputs, weights: (weights @ inputs) @ inputs[1] / (inputs[0] @ inputs[0]),
    "not divided: by the sum of the squares of the second input":
        lambda inputs, weights: (weights @ inputs) @ inputs[1],
    "divided by the root: take the sum of the squares itself":
        lambda inputs, weights: (weights @ inputs) @ inputs[1] / inputs[1].norm(),
    "divided by the square of the sum: take the sum of the squares":
        lambda inputs, weights: (weights @ inputs) @ inputs[1] / inputs[1].sum() ** 2,
    "the mean of answers / inputs: then images count the same, not their errors":
        lambda inputs, weights: (weights @ inputs / inputs[1]).mean(),
})  # fmt: skip
def remaining_weight(inputs: Tensor, weights: Tensor) -> Tensor:
    """Return what the second weight should become when the first goes."""
    return weights[1] + _gain(inputs, weights)


def _rows() -> list[tuple]:
    drawn = torch.Generator().manual_seed(0)
    return [
        (torch.tensor([3.0, -1.0, 0.5, -2.0]),),
        (torch.tensor([0.1, 7.0, 0.2, 0.3, -9.0, 8.0, 0.5, 6.0]),),
        (torch.randn(16, generator=drawn),),
    ]


def _mask(row: Tensor, neighbours: Tensor, count: int = 2, largest: bool = True) -> Tensor:
    places = neighbours.topk(count, dim=1, largest=largest).indices
    chosen = torch.zeros(neighbours.shape, dtype=torch.bool)
    return chosen.scatter_(1, places, True).view(row.shape)


@turn(_rows, {
    "the largest values: it is the magnitude that counts, so .abs() first":
        lambda row: _mask(row, row.view(-1, 4)),
    "the other way round: True where a weight stays":
        lambda row: _mask(row, row.abs().view(-1, 4), largest=False),
    "the larger half of the whole row: of each four neighbours two stay":
        lambda row: row.abs() > row.abs().sort().values[len(row) // 2 - 1],
    "one of each two neighbours: look at four together":
        lambda row: _mask(row, row.abs().view(-1, 2), 1),
    "three of four: only the two largest stay":
        lambda row: _mask(row, row.abs().view(-1, 4), 3),
    "one of four: the two largest stay":
        lambda row: _mask(row, row.abs().view(-1, 4), 1),
    "weights that are not neighbours: view(-1, 4) has four neighbours in each of its rows":
        lambda row: _mask(row, row.abs().view(4, -1).mT).view(-1, 4).mT.flatten(),
    "in rows of four: the mask is to be as long as the row, .flatten()":
        lambda row: _mask(row, row.abs().view(-1, 4)).view(-1, 4),
    "the weights that stay: give the mask, True or False for each":
        lambda row: row * _mask(row, row.abs().view(-1, 4)),
})  # fmt: skip
def two_of_four(row: Tensor) -> Tensor:
    """Return which weights of a row stay, two of each four neighbours."""
    return _mask(row, row.abs().view(-1, 4))
