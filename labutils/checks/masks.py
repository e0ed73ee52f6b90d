"""Exercises 2 and 3: which weights stay when the smallest go, in one tensor or over all?"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labutils.checks.verdict import Wrong, exercise, expect_tensor, likely, show, show_keys


@exercise(2, lambda: [
    (torch.tensor([3.0, -1.0, 2.0, -4.0]), 0.5),
    (torch.tensor([[-5.0, 1.0], [2.0, 0.5]]), 0.25),
    (torch.tensor([3.0, -1.0, 2.0, -1.0]), 0.25),
    (torch.tensor([0.3, -0.1, 0.2, 0.5, -0.4]), 0.35),
    (torch.tensor([3.0, -1.0, 2.0]), 0.0),
    (torch.tensor([3.0, -1.0, 2.0]), 1.0),
    (torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)), 0.65),
], ("magnitude_mask", "prune_magnitude"))  # fmt: skip
def magnitude_mask(result: object, weight: Tensor, amount: float) -> None:
    """Judge a mask that is True where one of the largest weights stays."""
    expect_tensor(result, weight.shape, torch.bool)
    cut = ". Rank the weights and cut by position"
    _judge(result, weight, amount, _mistakes(weight, amount, ", or -4 goes before 1", cut))


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


@exercise(3, _global_cases, ("prune_magnitude",))
def global_masks(result: object, weights: dict[str, Tensor], amount: float) -> None:
    """Judge masks by layer that leave the largest weights of all layers together."""
    if not isinstance(result, dict) or list(result) != list(weights):
        raise Wrong(f"a dict with the keys {list(weights)}, in this order", show_keys(result))
    for name, weight in weights.items():
        expect_tensor(result[name], weight.shape, torch.bool, of=name)

    def by_layer(change: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([change(weight.flatten().abs()) for weight in weights.values()])

    join = torch.cat([weight.flatten() for weight in weights.values()])
    mask = torch.cat([result[name].flatten() for name in weights])
    _judge(mask, join, amount, {
        "each layer was cut by itself: one ranking over all layers decides":
            lambda: by_layer(lambda scores: _largest(scores, round(amount * len(scores)))),
        **_mistakes(join, amount, "", ", in every layer"),
        "each layer was scaled by its largest weight first: magnitudes are compared as they are":
            lambda: _largest(by_layer(lambda s: s / s.max()), round(amount * len(join))),
    })  # fmt: skip


def _mistakes(weight: Tensor, amount: float, of_signs: str, of_ties: str) -> dict:
    """Return the usual mistakes; with these endings of what is said of signs and of ties."""
    scores, total, exact = weight.abs(), weight.numel(), amount * weight.numel()
    removed, ordered = round(exact), scores.flatten().sort().values
    return {
        "you kept the small ones: True marks a weight that stays":
            lambda: ~_largest(scores, removed),
        f"the signs count: rank by |w|{of_signs}": lambda: _largest(weight, removed),
        "the amount is removed, not kept": lambda: _largest(scores, total - removed),
        f"ties remove too many: `>` a threshold removes all that equal it{of_ties}":
            lambda: scores > (ordered[removed - 1] if removed else -1),
        f"ties remove too few: `>=` a threshold keeps all that equal it{of_ties}":
            lambda: scores >= (ordered[removed] if removed < total else math.inf),
        "k is rounded down: round(amount * n) weights go":
            lambda: _largest(scores, math.floor(exact)),
        "k is rounded up: round(amount * n) weights go": lambda: _largest(scores, math.ceil(exact)),
    }  # fmt: skip


def _judge(mask: Tensor, weight: Tensor, amount: float, mistakes: dict) -> None:
    """Raise `Wrong` unless as many went as asked for, and none larger than one that stayed."""
    gone, stay = weight[~mask].abs(), weight[mask].abs()
    removed = round(amount * weight.numel())
    if gone.numel() != removed:
        wanted = f"exactly {removed} {'weight' if removed == 1 else 'weights'} removed"
        raise Wrong(wanted, f"{gone.numel()} removed", likely(mask, mistakes))
    if removed and stay.numel() and gone.max() > stay.min():
        got = f"removed one of {show(float(gone.max()))}, kept one of {show(float(stay.min()))}"
        got = mask if mask.numel() <= 8 else got
        raise Wrong("no weight removed that is larger than one kept", got, likely(mask, mistakes))


def _largest(scores: Tensor, removed: int) -> Tensor:
    """Mark all but the lowest `removed`; among equal ones the first stay."""
    ranks = scores.flatten().argsort(descending=True, stable=True).argsort()
    return (ranks < scores.numel() - removed).view(scores.shape)
