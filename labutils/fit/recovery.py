"""Set weights back: to what they were earlier, or to fresh ones."""

import copy

import torch
from torch import nn

from labutils.base import given
from labutils.base.layers import prunable_layers


def rewind(pruned: nn.Module, earlier: nn.Module) -> nn.Module:
    """Return a copy of a network as it was earlier, without the weights that went since.

    With the weights from before the training it is the lottery ticket of Frankle & Carbin
    (2019); with those from early in it, that of their later paper (2020).

    Parameters
    ----------
    pruned : says by its zeros which weights are missing
    earlier : the same network at an earlier time
    """
    gone = prunable_layers(given.network(pruned, "pruned"))
    copied = copy.deepcopy(given.network(earlier, "earlier"))
    layers = prunable_layers(copied)
    shapes = [{n: tuple(layer.weight.shape) for n, layer in of.items()} for of in (layers, gone)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"The earlier network has the weights {shapes[0]}, the pruned one {shapes[1]}: "
            "rewinding needs the same network at two times, with zeros, not with filters removed."
        )
    with torch.no_grad():
        for name, layer in gone.items():
            layers[name].weight.masked_fill_(layer.weight == 0, 0)
    return copied


def reinitialised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a copy of a network with fresh random weights, as if it had just been made.

    >>> from labutils.base.networks import LeNet300
    >>> fresh = reinitialised(LeNet300(), seed=3)
    >>> _ = torch.manual_seed(3)
    >>> bool((fresh.fc1.weight == LeNet300().fc1.weight).all())
    True
    """
    given.seed(seed)
    fresh = copy.deepcopy(given.network(model))
    fresh.__dict__.pop("history", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in fresh.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    return fresh
