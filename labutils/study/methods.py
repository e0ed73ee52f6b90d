"""Whole ways to a small network, each a method for `compare`: network and amount in, network out.

All leave the network they get as it is, and take

- ``digits``: what `load_mnist` returns; read from the disk if not given, as in other processes;
- ``distil``: whether the unpruned network is the teacher of the pruned one;
- ``seed``: of the order of the images and of fresh weights; for those, if not given, one
  that follows from the network, so that different networks get different weights.

Other options are set with `functools.partial`, as ``partial(prune_and_tune, epochs=5)``.
"""

import copy
from collections.abc import Callable

from torch import nn

from labutils.base.digits import Digits, load_mnist
from labutils.base.layers import check_amount, prunable_layers
from labutils.base.structure import fingerprint
from labutils.fit.recovery import fine_tune, reinitialised, rewind, train_sparse
from labutils.fit.training import train
from labutils.prune.filters import prune_filters
from labutils.prune.saliency import prune_snip
from labutils.prune.steps import prune_iteratively
from labutils.prune.weights import prune_magnitude

Prune = Callable[[nn.Module, float], nn.Module]


def prune_and_tune(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    prune: Prune = prune_magnitude,
    distil: bool = False,
    **training: object,
) -> nn.Module:
    """Prune once, then fine-tune (Han et al. 2015; with `prune_filters`, Li et al. 2016).

    Parameters
    ----------
    prune : which way, a function of network and amount
    training : further arguments of `fine_tune`
    """
    pruned = prune(model, amount)
    fine_tune(pruned, digits or load_mnist(), **_usual(model, distil, training))
    return pruned


def prune_in_steps(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    steps: int = 3,
    distil: bool = False,
    **iterating: object,
) -> nn.Module:
    """Prune and fine-tune several times; each step leaves the same share of what there was.

    Parameters
    ----------
    iterating : further arguments of `prune_iteratively`
    """
    amounts = rising_amounts(amount, steps)
    options = _usual(model, distil, iterating)
    return prune_iteratively(model, digits or load_mnist(), amounts, **options)[-1].model


def prune_while_training(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    distil: bool = False,
    **training: object,
) -> nn.Module:
    """Train the network on while its weights become fewer (Zhu & Gupta 2017).

    Parameters
    ----------
    training : further arguments of `train_sparse`
    """
    pruned = copy.deepcopy(model)
    train_sparse(pruned, digits or load_mnist(), amount, **_usual(model, distil, training))
    return pruned


def prune_before_training(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    calibration: int = 1_000,
    seed: int | None = None,
    **training: object,
) -> nn.Module:
    """Prune fresh weights by saliency, then train what is left: SNIP (Lee et al. 2019).

    Parameters
    ----------
    model : only its architecture is used, with weights of its own
    calibration : so many training images are used for the saliency
    training : further arguments of `fine_tune`
    """
    digits, seed = digits or load_mnist(), _seed(model, seed)
    fresh = reinitialised(model, seed)
    pruned = prune_snip(fresh, amount, digits.train[:calibration])
    fine_tune(pruned, digits, seed=seed, **_usual(model, False, training))
    return pruned


def train_from_scratch(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    prune: Prune = prune_filters,
    seed: int | None = None,
    **training: object,
) -> nn.Module:
    """Train the pruned architecture from fresh weights: does pruning leave more than a shape?

    The control of Liu et al. (2019).

    Parameters
    ----------
    prune : which way the shape, or with zeros the mask, is found
    training : further arguments of `fine_tune`
    """
    seed = _seed(model, seed)
    pruned = prune(model, amount)
    fresh = reinitialised(pruned, seed)
    if any((layer.weight == 0).any() for layer in prunable_layers(pruned).values()):
        fresh = rewind(pruned, fresh)
    fine_tune(fresh, digits or load_mnist(), seed=seed, **_usual(model, False, training))
    return fresh


def train_ticket(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    epochs: int = 5,
    seed: int | None = None,
    learning_rate: float = 1e-2,
    **training: object,
) -> nn.Module:
    """Train fresh weights, prune them, set those left back to the start, train again.

    The lottery ticket (Frankle & Carbin 2019), found in one step.

    Parameters
    ----------
    model : only its architecture is used, with weights of its own
    training : further arguments of `fine_tune`
    """
    digits, seed = digits or load_mnist(), _seed(model, seed)
    start = reinitialised(model, seed)
    trained = copy.deepcopy(start)
    train(trained, digits, epochs, seed, learning_rate=learning_rate, progress=False)
    ticket = rewind(prune_magnitude(trained, amount), start)
    options = _usual(model, False, {"epochs": epochs, "learning_rate": learning_rate, **training})
    fine_tune(ticket, digits, seed=seed, **options)
    return ticket


def rising_amounts(amount: float, steps: int) -> list[float]:
    """Divide the way to an amount into steps that each leave the same share of what there was.

    >>> [round(part, 2) for part in rising_amounts(0.9, 2)]
    [0.68, 0.9]
    """
    if type(steps) is not int or steps < 1:
        raise ValueError(f"steps={steps!r}: give a whole number of at least 1.")
    if not 0 < check_amount(amount) < 1:
        return [float(amount)]
    return [*(1 - (1 - amount) ** (step / steps) for step in range(1, steps)), amount]


def _usual(model: nn.Module, distil: bool, given: dict) -> dict:
    """Return the options of a training inside a comparison, which shows its own progress."""
    return {"progress": False, **({"teacher": model} if distil else {}), **given}


def _seed(model: nn.Module, given: int | None) -> int:
    return int(fingerprint(model), 16) % 2**31 if given is None else given
