"""Lesson 06: how does a weight become an int8, a sum the next input, a row one without zeros?"""

from collections.abc import Callable

import torch
from torch import Tensor

from labutils.practice.turn import turn


def _layers() -> list[tuple]:
    drawn = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    return [
        (torch.tensor([[1.27, -0.648, 0.304]]),),
        (torch.tensor([[1.27, -0.648, 0.304], [0.1, -0.254, 0.052]]),),
        (torch.tensor([[0.0, 0.0], [0.6, -1.0]]),),
        (drawn * torch.tensor([[1.0], [0.1], [0.0], [5.0]]),),
    ]


def _scales(weight: Tensor, largest: int = 127) -> Tensor:
    reach = weight.abs().amax(1)
    return torch.where(reach > 0, reach / largest, 1.0)


def _divided(weight: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Return the integers by these scales, a number, a row or a column; and the scales."""
    return (weight / scales).round().to(torch.int8), scales


def _by_row(weight: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    return _divided(weight, scales.view(-1, 1))[0], scales


def _clamped(weight: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    return (weight / scales.view(-1, 1)).round().clamp(-127, 127).to(torch.int8), scales


def _given(change: Callable) -> Callable:
    """Return the function that gives what `change` makes of the right integers and scales."""
    return lambda weight: change(*quantize_filters.right(weight))


@turn(_layers, {
    "cut off instead of rounded: -64.8 becomes -65, so .round() before .to(torch.int8)":
        lambda weight: ((weight / _scales(weight).view(-1, 1)).to(torch.int8), _scales(weight)),
    "real numbers: the integers are to be int8, one byte each":
        lambda weight: ((weight / _scales(weight).view(-1, 1)).round(), _scales(weight)),
    "int32, four bytes each: .to(torch.int8)":
        _given(lambda integers, scales: (integers.int(), scales)),
    "int64, eight bytes each: .to(torch.int8)":
        _given(lambda integers, scales: (integers.long(), scales)),
    "the integers alone: return both, `integers, scales`":
        _given(lambda integers, scales: integers),
    "the scales first: return `integers, scales`":
        _given(lambda integers, scales: (scales, integers)),
    "the scales upside down: a scale times its integers is the weights, so it is largest / 127":
        _given(lambda integers, scales: (integers, 1 / scales)),
    "divided by 128: the largest integer is 127":
        lambda weight: _by_row(weight, _scales(weight, 128)),
    "divided by 128, then cut at 127: divide by 127, and nothing is cut":
        lambda weight: _clamped(weight, _scales(weight, 128)),
    "one scale for all filters: take the largest magnitude of each row":
        lambda weight: _divided(weight, weight.abs().max() / 127),
    "a scale for each column: a filter is a row":
        lambda weight: _divided(weight, _scales(weight.T)),
    "the largest weight: a negative one may have the largest magnitude, so .abs() first":
        lambda weight: _by_row(weight, weight.amax(1) / 127),
    "the largest weight, then cut: a negative one may have the largest magnitude, so .abs() first":
        lambda weight: _clamped(weight, weight.amax(1) / 127),
    "the scales as a column: as the second result, give a tensor of one dimension":
        lambda weight: _divided(weight, _scales(weight).view(-1, 1)),
    "a row of zeros has the scale 0 here, and 0 / 0 is no number: give it the scale 1":
        lambda weight: _by_row(weight, weight.abs().amax(1) / 127),
})  # fmt: skip
def quantize_filters(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 weights, filters x inputs, and a scale for each filter."""
    return _by_row(weight, _scales(weight))


def _cut(value: float) -> int:
    return min(max(round(value), 0), 127)


@turn(lambda: [(5, 3, 3), (8, 1, 4), (-20, 3, 4), (1_000, 3, 4), (14_797, 2_028_450_103, 40)], {
    "shifted to the left: >> divides by 2**shift, << multiplies":
        lambda total, multiplier, shift: _cut(total * multiplier << shift),
    "a half is rounded to the even number, as `round` does: add half before the shift":
        lambda total, multiplier, shift: _cut(total * multiplier / 2**shift),
    "not rounded: add half of what one stands for, 2**(shift - 1), before the shift":
        lambda total, multiplier, shift: _cut(total * multiplier >> shift),
    "half added after the shift: add it before":
        lambda total, multiplier, shift:
            _cut((total * multiplier >> shift) + 2 ** (shift - 1)),
    "a real number: / divides exactly, >> rounds down to an integer":
        lambda total, multiplier, shift:
            min(max((total * multiplier + 2 ** (shift - 1)) / 2**shift, 0), 127),
    "a real number: add half of 2**shift, then >> instead of /":
        lambda total, multiplier, shift: min(max(total * multiplier / 2**shift, 0), 127),
    "always 127: max(x, 0) cuts below, min(x, 127) above":
        lambda *case: max(min(_shifted(*case), 0), 127),
    "1 added instead of a half: half of 2**shift is 2**(shift - 1)":
        lambda total, multiplier, shift: _cut((total * multiplier >> shift) + 1),
    "not cut at 0: what is negative becomes 0, which is the ReLU":
        lambda *case: min(_shifted(*case), 127),
    "not cut at 127, the largest int8":
        lambda *case: max(_shifted(*case), 0),
})  # fmt: skip
def rescale(total: int, multiplier: int, shift: int) -> int:
    """Return what the next layer reads for a sum: 0 to 127."""
    return _cut(_shifted(total, multiplier, shift))


def _shifted(total: int, multiplier: int, shift: int) -> int:
    return (total * multiplier + (1 << (shift - 1))) >> shift


@turn(lambda: [
    ([3], [2], [1, 5, 4, 8]),
    ([3, -1], [1, 3], [1, 2, 4, 8, 16, 32]),
    ([], [], [5, 6]),
    ([2, 5, -4], [0, 2, 4], [7, 1, 3, 1, 2, 9, 9, 9]),
], {
    "the first entries of the vector: value k belongs to the entry columns[k]":
        lambda values, columns, vector: _total(values, range(len(values)), vector),
    "the columns read as gaps: each is a place, counted from 0":
        lambda values, columns, vector:
            _total(values, [sum(columns[:k + 1]) for k in range(len(columns))], vector),
    "columns counted from 1: the first entry is vector[0]":
        lambda values, columns, vector: _total(values, [c - 1 for c in columns], vector),
    "each value times its place: the place says which entry of the vector to multiply by":
        lambda values, columns, vector: sum(v * c for v, c in zip(values, columns, strict=True)),
    "only the first product: the `return` stands inside the loop":
        lambda values, columns, vector: _total(values[:1], columns[:1], vector),
    "the last product is lost: the loop ends too early":
        lambda values, columns, vector: _total(values[:-1], columns[:-1], vector),
    "only the last product: add each one to what came before":
        lambda values, columns, vector: _total(values[-1:], columns[-1:], vector),
    "the products one by one: their sum is asked for":
        lambda values, columns, vector:
            [v * vector[c] for v, c in zip(values, columns, strict=True)],
    "each value times every entry: only the one in its column counts":
        lambda values, columns, vector: sum(values) * sum(vector),
    "the entries without the values: multiply first":
        lambda values, columns, vector: sum(vector[column] for column in columns),
})  # fmt: skip
def sparse_row(values: list[int], columns: list[int], vector: list[int]) -> int:
    """Return the product of a row, of which only what is not zero is stored, and a vector."""
    return _total(values, columns, vector)


def _total(values: list[int], columns: list[int], vector: list[int]) -> int:
    return sum(v * vector[c] for v, c in zip(values, columns, strict=True))
