"""Methods for the tests, in a module, so that other processes find them."""

import os
import signal

import labutils as lab


def half_of_fc1(model, amount):
    return lab.prune_magnitude(model, {"fc1": amount})


def as_many_as_digits(model, amount, digits=None):
    """Leave a trace of the digits that were given."""
    return lab.prune_magnitude(model, len(digits.train) / 100)


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


def dies_at_half(model, amount):
    if amount == 0.5:
        os.kill(os.getpid(), signal.SIGKILL)
    return lab.prune_magnitude(model, amount)


def is_interrupted(model, amount, digits):
    """Train, and have the reader press the square button after the first step."""
    pruned = lab.prune_magnitude(model, amount)
    if amount == 0.5:
        lab.fine_tune(pruned, digits, 1, progress=False, watch=press_the_button)
    return pruned


def press_the_button(step, loss):
    raise KeyboardInterrupt
