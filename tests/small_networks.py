"""Small networks for the tests that train, and what such tests look at."""

import signal

import torch

import labutils as lab


def small(seed=0, amount=0.6):
    """A pruned network that trains in a moment."""
    torch.manual_seed(seed)
    return lab.prune_magnitude(lab.SimpleCNN((2, 3, 8)), amount)


def zeros(model):
    """Where the weights of each layer are zero."""
    return {name: layer.weight == 0 for name, layer in lab.prunable_layers(model).items()}


def keeps_zeros(before, model):
    return all((zeros(model)[name] >= zero).all() for name, zero in before.items())


def same(first, second):
    """Whether two networks have the same weights, bit for bit."""
    others = second.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in first.state_dict().items())


def interrupt(*_arguments):
    """Press Ctrl-C (pytest's workers may ignore it, so its usual handler is set before)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
