"""Prune a little, recover, prune more: iterative pruning (Han et al. 2015)."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from labutils.base.digits import Digits
from labutils.base.history import History
from labutils.base.layers import check_amount
from labutils.fit.evaluation import Evaluation, evaluate
from labutils.fit.recovery import RATE, fine_tune, rewind
from labutils.fit.training import BATCH_SIZE, check_training
from labutils.prune.dependencies import read_chain
from labutils.prune.filters import prune_filters
from labutils.prune.step_folder import opened
from labutils.prune.weights import prune_magnitude

Prune = Callable[[nn.Module, float], nn.Module]
Method = str | Prune
METHODS = ("magnitude", "filters")


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
    method: Method = "magnitude",
    *,
    options: Mapping[str, object] | None = None,
    rewind_to: nn.Module | None = None,
    path: str | Path | None = None,
    seed: int = 0,
    **training: object,
) -> list[PruningStep]:
    """Prune a network step by step and let it recover after each.

    Parameters
    ----------
    model : the trained network; left as it was
    amounts : fractions of the original network that are gone after each step, rising, in [0, 1]
    epochs_each : how long each recovery takes
    method : "magnitude" or "filters", or a function of the network as far as it is and the amount
        that returns a new one
    options : further arguments of `prune_magnitude` or `prune_filters`, as
        ``{"criterion": "taylor", "calibration": digits.train[:1000]}``
    rewind_to : the same network at an earlier time, whose weights those that are left get back
        before each recovery (Frankle & Carbin 2019); not for filters
    path : a folder that gets the network of each step as soon as it is there. The same call goes
        on behind the last one, with more amounts too
    seed : of the first recovery; each further one takes the next
    training : further arguments of `fine_tune`, as ``learning_rate`` and ``schedule``

    Returns
    -------
    A `PruningStep` for each amount; ``[-1].model`` is the result. After an interruption there
    are fewer, the last with the weights it was interrupted at.

    Raises
    ------
    TypeError, ValueError
        Amounts that fall, an unknown method, a folder that holds the steps of something else.
    """
    check_training(model, digits, epochs_each, BATCH_SIZE, RATE)
    amounts = _check_amounts(amounts)
    options = dict(options or {})
    prune = _rule(model, method, options)
    if isinstance(training.get("optimizer"), Optimizer):
        raise TypeError(
            "optimizer: each step trains a new network, whose parameters none can have yet; give "
            "a function that makes it, as functools.partial(torch.optim.SGD, lr=0.1)."
        )
    if rewind_to is not None:
        rewind(model, rewind_to)  # refuses another network
    steps: list[PruningStep] = []
    with opened(
        path,
        amounts=amounts,
        network=model,
        images=digits.train,
        rewind_to=rewind_to,
        **{"epochs_each": epochs_each, "method": method, "seed": seed, **options, **training},
    ) as folder:
        for number, amount in enumerate(amounts):
            current = prune(steps[-1].model if steps else model, amount)
            if rewind_to is not None:
                current = rewind(current, rewind_to)
            pruned = evaluate(current, digits.validation)
            done = folder and folder.load(number, amount)
            if done:
                steps.append(PruningStep(amount, pruned, done.history, done))
                continue
            history = fine_tune(current, digits, epochs_each, seed=seed + number, **training)
            steps.append(PruningStep(amount, pruned, history, current))
            if history.interrupted:
                break
            if folder:
                folder.keep(number, amount, current)
    return steps


def _rule(model: nn.Module, method: Method, options: dict) -> Prune:
    """Return what prunes a network that is pruned in part up to an amount of the original."""
    if method == "magnitude":
        return lambda network, amount: prune_magnitude(network, amount, **options)
    if method == "filters":
        whole = _slots(model)

        def remove(network: nn.Module, amount: float) -> nn.Module:
            shares = {}
            for name, now in _slots(network).items():
                left = max(1, whole[name] - round(amount * whole[name]))
                shares[name] = 1 - left / now
            return prune_filters(network, shares, **options)

        return remove
    if callable(method):
        return lambda network, amount: method(network, amount, **options)
    raise ValueError(
        f"method={method!r}: choose {', '.join(map(repr, METHODS))}, or give a function of a "
        "network and an amount that returns a new network."
    )


def _slots(model: nn.Module) -> dict[str, int]:
    """Count what can go of each layer: filters, or in grouped convolutions one of each block."""
    return {name: channels.count // channels.blocks for name, channels in read_chain(model).items()}


def _check_amounts(given: Sequence[float]) -> list[float]:
    amounts = [check_amount(amount) for amount in given]
    if not amounts or any(b <= a for a, b in itertools.pairwise(amounts)):
        raise ValueError(
            f"amounts={given!r}: give at least one, each larger than the one before, since what is "
            "gone stays gone, as (0.5, 0.7, 0.9)."
        )
    return amounts
