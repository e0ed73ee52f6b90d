"""Whole ways to a small network, each a method for `compare`: network and amount in, network out.

They leave the network they get as it is. ``digits`` are what to train on: `compare` passes on
those it was given; called by the reader without any, a method loads MNIST. Other options are
set with `functools.partial`, as ``partial(prune_and_tune, epochs=5)``. A stop (the square
button, Ctrl-C) is raised as KeyboardInterrupt: a network that is half trained is no result.
"""

import functools
import inspect
from collections.abc import Callable

from torch import nn

from labutils.base import given
from labutils.base.digits import Digits, load_mnist
from labutils.base.history import History
from labutils.base.structure import fingerprint
from labutils.fit.recovery import reinitialised, rewind
from labutils.fit.training import fine_tune
from labutils.prune.filters import prune_filters
from labutils.prune.repair import repair
from labutils.prune.surgeon import prune_obs
from labutils.prune.weights import prune_magnitude, sparsity

Prune = Callable[[nn.Module, float], nn.Module]


def prune_and_tune(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    prune: Prune = prune_magnitude,
    distil: bool = False,
    progress: bool | str = False,
    **training: object,
) -> nn.Module:
    """Prune once, then fine-tune (Han et al. 2015; with `prune_filters`, Li et al. 2016).

    Parameters
    ----------
    prune : which way, a function of network and amount
    distil : whether the unpruned network is the teacher of the pruned one
    training : further arguments of `fine_tune`
    """
    pruned = pruned_by(prune, model, amount)
    digits = load_mnist() if digits is None else digits
    if distil:
        training = {"teacher": model, **training}
    finished(fine_tune(pruned, digits, progress=progress, **training))
    return pruned


def prune_and_repair(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    prune: Prune = prune_obs,
    images: int = 2_000,
    steps: int = 1,
    damping: float = 0.01,
) -> nn.Module:
    """Prune and repair without training, at once or in steps.

    Parameters
    ----------
    prune : which way, a function of network, amount and calibration images, or of the first two
    images : how many, from the first, of the training images are looked at, without labels
    steps : how often, where weights become zero; after each the rest is ranked anew. The same
        share of what is left goes each time, so that `amount` is gone in the end.
    damping : of `repair`
    """
    amount, steps = given.amount(amount), given.whole(steps, "steps")
    digits = load_mnist() if digits is None else given.digits(digits)
    seen = digits.train[: given.whole(images, "images")]
    looks = "calibration" in inspect.signature(prune).parameters if callable(prune) else False
    rule = functools.partial(prune, calibration=seen) if looks else prune
    repaired = model
    for step in range(1, steps + 1):
        gone = 1 - (1 - amount) ** (step / steps)
        repaired = repair(pruned_by(rule, repaired, gone), model, seen, damping=damping)
    return repaired


def train_from_scratch(
    model: nn.Module,
    amount: float,
    digits: Digits | None = None,
    *,
    prune: Prune = prune_filters,
    seed: int | None = None,
    progress: bool | str = False,
    **training: object,
) -> nn.Module:
    """Train the pruned architecture from fresh weights: does pruning leave more than a shape?

    The control of Liu et al. (2019).

    Parameters
    ----------
    prune : which way the shape, or with zeros the mask, is found
    seed : if not given, one that follows from the network, so that different networks get
        different weights
    training : further arguments of `fine_tune`
    """
    pruned = pruned_by(prune, model, amount)
    digits = load_mnist() if digits is None else digits
    seed = seed_of(model) if seed is None else seed
    fresh = reinitialised(pruned, seed)
    if sparsity(pruned) > 0:
        fresh = rewind(pruned, fresh)
    finished(fine_tune(fresh, digits, seed=seed, progress=progress, **training))
    return fresh


def pruned_by(prune: Prune, model: nn.Module, amount: float) -> nn.Module:
    """Return what the reader's way to prune makes of a network."""
    if not callable(prune):
        raise TypeError(f"prune={prune!r}: give a function of a network and an amount.")
    return given.network(prune(given.network(model), amount), "what prune returned")


def finished(history: History) -> None:
    """Pass on an interruption that a training took for its own."""
    if history.interrupted:
        raise KeyboardInterrupt


def seed_of(model: nn.Module) -> int:
    """Return a seed that follows from the network, so that different networks differ."""
    return int(fingerprint(model), 16) % 2**31
