"""Exercises 2 and 3: which weights stay when the smallest go, in one tensor or over all?"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labutils.checks.verdict import Wrong, exercise, expect_tensor, likely, show, show_keys

SMALL_KEPT = "you kept the small ones: True marks a weight that stays"


def _mask_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.tensor([3.0, -1.0, 2.0, -4.0]), 0.5),
        (torch.tensor([[-5.0, 1.0], [2.0, 0.5]]), 0.25),
        (torch.tensor([3.0, -1.0, 2.0, -1.0]), 0.25),
        (torch.tensor([0.3, -0.1, 0.2, 0.5, -0.4]), 0.35),
        (torch.tensor([3.0, -1.0, 2.0]), 0.0),
        (torch.tensor([3.0, -1.0, 2.0]), 1.0),
        (torch.randn(8, 4, 3, 3, generator=generator), 0.65),
    ]


@exercise(2, ("weight", "amount"), _mask_cases)
def magnitude_mask(result: object, weight: Tensor, amount: float) -> None:
    """Judge a mask that is True where one of the largest weights stays."""
    expect_tensor(result, weight.shape, torch.bool)
    removed = round(amount * weight.numel())
    _judge(result, weight, removed, {
        SMALL_KEPT: lambda: ~_largest(weight.abs(), removed),
        "the signs count: rank by |w|, or -4 goes before 1": lambda: _largest(weight, removed),
        "the amount is removed, not kept": lambda: _largest(weight.abs(), weight.numel() - removed),
        "k is rounded down: round(amount * n) weights go":
            lambda: _largest(weight.abs(), math.floor(amount * weight.numel())),
        "k is rounded up: round(amount * n) weights go":
            lambda: _largest(weight.abs(), math.ceil(amount * weight.numel())),
        "ties remove too many: `>` a threshold removes all that equal it. Rank the weights and "
        "cut by position": lambda: _above(weight.abs(), removed, strictly=True),
        "ties remove too few: `>=` a threshold keeps all that equal it. Rank the weights and "
        "cut by position": lambda: _above(weight.abs(), removed, strictly=False),
    })  # fmt: skip


def _global_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(1)
    large = {
        "conv1": 0.5 * torch.randn(4, 1, 3, 3, generator=generator),
        "fc1": 0.05 * torch.randn(10, 36, generator=generator),
    }
    return [
        ({"a": torch.tensor([5.0, -4.0]), "b": torch.tensor([[1.0, -2.0], [3.0, 0.5]])}, 0.5),
        ({"a": torch.tensor([1.0, 1.0, 1.0]), "b": torch.tensor([1.0, 2.0])}, 0.4),
        ({"a": torch.tensor([1.0, -2.0]), "b": torch.tensor([3.0])}, 0.0),
        ({"a": torch.tensor([1.0, -2.0]), "b": torch.tensor([3.0])}, 1.0),
        (large, 0.8),
    ]


@exercise(3, ("weights", "amount"), _global_cases)
def global_masks(result: object, weights: dict[str, Tensor], amount: float) -> None:
    """Judge masks by layer that leave the largest weights of all layers together."""
    if not isinstance(result, dict) or list(result) != list(weights):
        raise Wrong(f"a dict with the keys {list(weights)}, in this order", show_keys(result))
    for name, weight in weights.items():
        expect_tensor(result[name], weight.shape, torch.bool, of=name)
    join = torch.cat([weight.flatten() for weight in weights.values()])
    mask = torch.cat([result[name].flatten() for name in weights])
    removed = round(amount * join.numel())

    def by_layer(keep: Callable) -> Tensor:
        return torch.cat([keep(w.abs(), w.numel()).flatten() for w in weights.values()])

    _judge(mask, join, removed, {
        SMALL_KEPT: lambda: ~_largest(join.abs(), removed),
        "the signs count: rank by |w|": lambda: _largest(join, removed),
        "each layer was cut by itself: one ranking over all layers decides":
            lambda: by_layer(lambda scores, n: _largest(scores, round(amount * n))),
        "ties remove too many: `>` a threshold removes all that equal it, in every layer":
            lambda: _above(join.abs(), removed, strictly=True),
        "ties remove too few: `>=` a threshold keeps all that equal it, in every layer":
            lambda: _above(join.abs(), removed, strictly=False),
        "each layer was scaled by its largest weight first: magnitudes are compared as they are":
            lambda: _largest(by_layer(lambda scores, n: scores / scores.max()), removed),
        "k is rounded down: round(amount * n) weights go":
            lambda: _largest(join.abs(), math.floor(amount * join.numel())),
    })  # fmt: skip


def _judge(mask: Tensor, weight: Tensor, removed: int, mistakes: dict) -> None:
    """Raise `Wrong` unless just so many went, and none of them was larger than one that stayed."""
    gone, stay = weight[~mask].abs(), weight[mask].abs()
    if gone.numel() != removed:
        noun = "weight" if removed == 1 else "weights"
        raise Wrong(
            f"exactly {removed} {noun} removed", f"{gone.numel()} removed", likely(mask, mistakes)
        )
    if removed and stay.numel() and gone.max() > stay.min():
        got = mask if mask.numel() <= 8 else (
            f"removed one of {show(float(gone.max()))}, kept one of {show(float(stay.min()))}"
        )  # fmt: skip
        raise Wrong("no weight removed that is larger than one kept", got, likely(mask, mistakes))


def _largest(scores: Tensor, removed: int) -> Tensor:
    """Mark all but the lowest `removed`; among equal ones the first stay."""
    ranks = scores.flatten().argsort(descending=True, stable=True).argsort()
    return (ranks < scores.numel() - removed).view(scores.shape)


def _above(scores: Tensor, removed: int, *, strictly: bool) -> Tensor:
    """Mark what lies above the largest weight to go, or at the smallest to stay."""
    ordered = scores.flatten().sort().values
    if strictly:
        return scores > ordered[removed - 1] if removed else scores > -1
    return scores >= ordered[removed] if removed < scores.numel() else scores > scores.max()
