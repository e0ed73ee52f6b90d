"""Prune in steps: with a recovery after each (Han et al. 2015), or while the network trains."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real

import torch
from torch import nn

from labutils.base import given
from labutils.base.digits import Digits
from labutils.base.history import History
from labutils.fit.evaluation import Evaluation, evaluate
from labutils.fit.training import (
    BATCH_SIZE,
    Watch,
    adamw,
    check_settings,
    epochs_before,
    fine_tune,
    following,
    kept_zeros,
    learning_rates,
    loss_with,
    steps_of,
    training_steps,
    under_way,
)
from labutils.prune.dependencies import read_dependencies
from labutils.prune.filters import prune_filters
from labutils.prune.weights import prune_magnitude, sparsity

EVERY = 10  # steps between two prunings while training


@dataclass(frozen=True)
class PruningStep:
    """One round of iterative pruning.

    Attributes
    ----------
    amount : fraction of the original network's weights, or filters, that is gone by now
    pruned : how the network did on the validation images before it recovered
    history : of its recovery
    model : the network afterwards
    """

    amount: float
    pruned: Evaluation
    history: History
    model: nn.Module

    @property
    def accuracy(self) -> float:
        """On the validation images, after the recovery (or at once, if there was none)."""
        after = self.history.validation_accuracy
        return after[-1] if after else self.pruned.accuracy


def prune_iteratively(
    model: nn.Module,
    digits: Digits,
    amounts: Sequence[float],
    epochs_each: int = 1,
    method: str = "magnitude",
    *,
    seed: int = 0,
    **training: object,
) -> list[PruningStep]:
    """Prune a network step by step and let it recover after each.

    Parameters
    ----------
    model : the trained network; left as it was
    amounts : fractions of the original network that are gone after each step, rising, in [0, 1]
    epochs_each : how long each recovery takes
    method : "magnitude" or "filters"
    seed : of the first recovery; each further one takes the next
    training : further arguments of `fine_tune`, as ``learning_rate`` and ``schedule``

    Returns
    -------
    A `PruningStep` for each amount; ``[-1].model`` is the result. After an interruption there
    are fewer, the last with the weights it was interrupted at.

    Raises
    ------
    TypeError, ValueError
        Amounts that fall, an unknown method, options that `fine_tune` does not take.
    """
    given.network(model)
    given.digits(digits)
    given.whole(epochs_each, "epochs_each", 0)
    given.seed(seed)
    given.choice(method, "method", ("magnitude", "filters"))
    amounts = given.amounts(amounts)
    if any(b <= a for a, b in itertools.pairwise(amounts)):
        raise ValueError(
            f"amounts={amounts}: each must be larger than the one before, since what is gone stays "
            "gone, as (0.5, 0.7, 0.9)."
        )
    prune = prune_magnitude if method == "magnitude" else partial(_fewer_filters, model)
    steps: list[PruningStep] = []
    progress, what = training.pop("progress", True), "filters" if method == "filters" else "weights"
    for number, amount in enumerate(amounts):
        current = prune(steps[-1].model if steps else model, amount)
        pruned = evaluate(current, digits.validation)
        label = progress and f"{amount:.1%} of the {what}"
        history = fine_tune(
            current, digits, epochs_each, seed=seed + number, progress=label, **training
        )
        steps.append(PruningStep(amount, pruned, history, current))
        if history.interrupted:
            break
    return steps


def _fewer_filters(original: nn.Module, current: nn.Module, amount: float) -> nn.Module:
    """Take filters out of a network until an amount of the original's is gone."""
    whole, shares = read_dependencies(original).groups, {}
    for name, group in read_dependencies(current).groups.items():
        count = len(whole[name].units)
        shares[name] = 1 - max(1, count - round(amount * count)) / len(group.units)
    return prune_filters(current, shares)


def train_sparse(
    model: nn.Module,
    digits: Digits,
    final_amount: float,
    start: float = 0.0,
    end: float | None = None,
    *,
    epochs: int = 5,
    seed: int = 0,
    scope: str = "global",
    learning_rate: float = 1e-2,
    schedule: str = "one_cycle",
    teacher: nn.Module | None = None,
    batch_size: int = BATCH_SIZE,
    weight_decay: float = 0.01,
    device: torch.device | str | None = None,
    progress: bool | str = True,
    watch: Watch | None = None,
) -> History:
    """Train a network in place and prune it meanwhile, more and more, by magnitude.

    Every 10 steps the smallest weights become zero and stay so, as many as the cubic schedule
    of Zhu & Gupta (2017) asks for, see `cubic_amount`. Everything else is as with `fine_tune`.
    The history's `sparsity` says how much was zero after each epoch.

    Parameters
    ----------
    model : fresh, or trained already; one with zeros goes on from its sparsity
    final_amount : fraction of the weights that are zero in the end
    start, end : between which epochs pruning goes on, as 0.5 for the middle of the first; by
        default from the beginning until two thirds of the epochs are over
    scope : as for `prune_magnitude`

    Raises
    ------
    TypeError, ValueError
        An amount outside [0, 1] or below the sparsity there is, an end before the start.
    """
    given.network(model)
    given.digits(digits)
    check_settings(epochs, seed, batch_size, weight_decay, learning_rate)
    if teacher is not None:
        given.module(teacher, "teacher")
    end = epochs * 2 / 3 if end is None else given.positive(end, "end", zero=True)
    if not given.positive(start, "start", zero=True) <= end <= epochs:
        raise ValueError(
            f"start={start!r}, end={end!r}: pruning goes on from start to end, in epochs, with "
            f"0 <= start <= end <= {epochs} (the epochs of the training)."
        )
    initial = sparsity(model)
    if given.amount(final_amount, "final_amount") < initial:
        raise ValueError(
            f"final_amount={final_amount!r}: the network has {initial:.1%} zeros already, and "
            "zeros stay zero; give a larger amount."
        )
    pruned = prune_magnitude(model, final_amount, scope)  # refuses early what cannot be done
    steps_an_epoch = steps_of(digits, 1, batch_size)
    first, last = round(start * steps_an_epoch), max(1, round(end * steps_an_epoch))
    due = {*range(max(first, EVERY), last, EVERY), last}
    optimizer = adamw(model, learning_rate, weight_decay)
    rates = learning_rates(schedule, steps_of(digits, epochs, batch_size))
    scheduler = following(optimizer, rates)
    history = History(seed, epochs, trained_epochs=epochs_before(model))
    with under_way(model, digits, history, batch_size, device, progress, watch) as seen:
        keep = kept_zeros(model)

        def prune_or_keep(step: int) -> None:
            nonlocal keep
            keep()
            if step in due:
                share = (step - first) / (last - first) if step < last else 1.0
                amount = cubic_amount(share, final_amount, initial)
                model.load_state_dict(prune_magnitude(model, amount, scope).state_dict())
                keep = kept_zeros(model)
            if step % steps_an_epoch == 0:
                history.sparsity.append(sparsity(model))

        if epochs == 0:  # there is no time: all at once
            model.load_state_dict(pruned.state_dict())
        loss_of = loss_with(teacher, digits)
        steps = training_steps(
            model, digits, history, optimizer, scheduler, batch_size, loss_of, prune_or_keep
        )
        try:
            for loss in steps:
                if seen(loss):
                    break
        finally:  # a stop may have come between a step and what follows it
            keep()
    return history


def cubic_amount(share: float, final: float, initial: float = 0.0) -> float:
    """Return the amount to have pruned at a moment: fast at first, then slower and slower.

    ``final + (initial - final) * (1 - share)**3`` (Zhu & Gupta 2017): while many weights are
    left most of them are of no use; the last ones that go are missed.

    Parameters
    ----------
    share : how much of the time between start and end is over; below 0 as 0, above 1 as 1
    final, initial : amounts at the end and at the start

    >>> [round(cubic_amount(share, 0.9), 2) for share in (0, 0.25, 0.5, 1)]
    [0.0, 0.52, 0.79, 0.9]
    """
    final, initial = given.amount(final, "final"), given.amount(initial, "initial")
    if isinstance(share, Real):
        share = min(max(share, 0.0), 1.0)
    return final + (initial - final) * (1 - given.fraction(share, "share")) ** 3


def rising_amounts(amount: float, steps: int) -> list[float]:
    """Divide the way to an amount into steps that each leave the same share of what there was.

    >>> [round(part, 2) for part in rising_amounts(0.9, 2)]
    [0.68, 0.9]
    """
    steps = given.whole(steps, "steps", 1, 1_000)
    if not 0 < given.amount(amount) < 1:
        return [float(amount)]
    return [*(1 - (1 - amount) ** (step / steps) for step in range(1, steps)), amount]
