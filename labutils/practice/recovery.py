"""Lesson 05: what keeps zeros, how large is a step, and what is a lottery ticket?"""

import torch
from torch import Tensor

from labutils.practice.turn import turn


def _after_a_step() -> list[tuple]:
    small, drawn = torch.tensor([0.7, -0.1, -0.6]), torch.Generator().manual_seed(0)
    return [
        ((small,), [small == -0.1]),
        (
            (torch.tensor([[0.4, 0.9], [0.02, -0.1]]), torch.tensor([0.5, 0.8, 0.0])),
            [torch.tensor([[True, False], [False, True]]), torch.tensor([True, False, False])],
        ),
        (
            tuple(torch.randn(shape, generator=drawn) for shape in ((3, 3), (2, 2, 1, 1), (4,))),
            [torch.rand(shape, generator=drawn) < 0.7 for shape in ((3, 3), (2, 2, 1, 1), (4,))],
        ),
    ]


def _clear(weights: tuple[Tensor, ...], places: list[Tensor]) -> None:
    for weight, place in zip(weights, places, strict=False):
        weight[place] = 0.0


@turn(_after_a_step, {
    "only the first tensor: go through all of them":
        lambda weights, zeros: _clear(weights, zeros[:1]),
    "the wrong way round: `zeros` is True where a weight was zero":
        lambda weights, zeros: _clear(weights, [~zero for zero in zeros]),
    "every weight is zero now: only those that were zero before the step shall be":
        lambda weights, zeros: _clear(weights, [zero | True for zero in zeros]),
    "where a weight is small now: what counts is where it was zero before the step":
        lambda weights, zeros: _clear(weights, [weight.abs() < 0.2 for weight in weights]),
}, in_place=True)  # fmt: skip
def put_zeros_back(weights: tuple[Tensor, ...], zeros: list[Tensor]) -> None:
    """Set the weights to zero again that were zero before a step."""
    _clear(weights, zeros)


def _goals() -> list[tuple]:
    return [(0.75, 2), (0.875, 3), (0.5, 1), (0.9, 3), (0.98, 5)]


@turn(_goals, {
    "equal parts of the amount: each step then takes a larger share of what is left":
        lambda amount, steps: [amount * step / steps for step in range(1, steps + 1)],
    "the share that goes is not amount / steps: what is left shall be 1 - amount at the end":
        lambda amount, steps: [1 - (1 - amount / steps) ** step for step in range(1, steps + 1)],
    "what is left after each step: give what is gone, 1 minus it":
        lambda amount, steps: [(1 - amount) ** (step / steps) for step in range(1, steps + 1)],
    "the last step is missing: range(1, steps) ends before `steps`":
        lambda amount, steps: [1 - (1 - amount) ** (step / steps) for step in range(1, steps)],
    "the first step is step 1, not 0: range(1, steps + 1)":
        lambda amount, steps: [1 - (1 - amount) ** (step / steps) for step in range(steps)],
})  # fmt: skip
def equal_steps(amount: float, steps: int) -> list[float]:
    """Return the amounts after steps that each leave the same share of what there was."""
    return [1 - (1 - amount) ** (step / steps) for step in range(1, steps + 1)]


def _trained_and_fresh() -> list[tuple]:
    return [
        (torch.tensor([0.9, 0.0, -0.4]), torch.tensor([0.1, -0.2, 0.3])),
        (
            torch.tensor([[0.0, 0.001], [-2.0, 0.0]]),
            torch.tensor([[0.5, -0.6], [0.7, 0.0]]),
        ),
        (torch.zeros(2, 3), torch.ones(2, 3)),
    ]


@turn(_trained_and_fresh, {
    "the pruned weights as they are now: set those that stayed back to `start`":
        lambda pruned, start: pruned,
    "the start weights everywhere: zero where the pruned weight is zero":
        lambda pruned, start: start,
    "the wrong way round: the start weights belong where the pruned weight is not zero":
        lambda pruned, start: torch.where(pruned == 0, start, 0),
    "the product of both: only whether the pruned weight is zero counts":
        lambda pruned, start: pruned * start,
    "only the mask: the start weights belong in it":
        lambda pruned, start: (pruned != 0).to(start),
})  # fmt: skip
def ticket(pruned: Tensor, start: Tensor) -> Tensor:
    """Return the start weights without those that were pruned since."""
    return torch.where(pruned != 0, start, 0)
