"""Methods for the tests, in a module, so that other processes find them."""

import os
import signal
from pathlib import Path

import labutils as lab


def half_of_fc1(model, amount):
    return lab.prune_magnitude(model, {"fc1": amount})


def fails_at_half(model, amount):
    if amount == 0.5:
        raise ZeroDivisionError("no, \nnot # this, one")
    return lab.prune_magnitude(model, amount)


def returns_nothing(model, amount):
    lab.prune_magnitude(model, amount)


def edits_its_input(model, amount):
    model.fc1.weight.data.mul_(1 - amount)
    return lab.prune_magnitude(model, amount)


def returns_its_input(model, amount):
    return model


def dies_once(model, amount):
    """Kill the process it runs in, the first time of all."""
    marker = Path(os.environ["DIED"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return lab.prune_magnitude(model, amount)


def always_dies(model, amount):
    if amount == 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    return lab.prune_magnitude(model, amount)
