"""A network's structure as plain values, and the network built from them again.

What lies in a file should be data, not a program: names, numbers and tensors can be checked
before anything is built from them.
"""

import hashlib
import inspect

import numpy as np
import torch
from torch import nn

from labutils.base.layers import ONE_FOR_EACH_CHANNEL, SAME_FOR_EVERY_CHANNEL
from labutils.base.networks import NETWORKS

LAYERS: dict[str, type[nn.Module]] = {
    layer.__name__: layer
    for layer in (
        *(nn.Conv2d, nn.Linear, nn.Flatten, nn.Softmax, nn.LogSoftmax),
        *(nn.GroupNorm, nn.LayerNorm, nn.PixelUnshuffle),
        *ONE_FOR_EACH_CHANNEL,
        *SAME_FOR_EVERY_CHANNEL,
    )
}
CHAINS = (nn.Sequential, *NETWORKS.values())
SOMEWHERE = {"device", "dtype"}  # of a layer's options, those that its tensors decide


def describe(model: nn.Module) -> dict:
    """Return a network's structure as strings, numbers, lists and dictionaries.

    One of this package's networks with other layers than its own becomes an nn.Sequential; for
    a network that is neither there is a TypeError.
    """
    if type(model) in NETWORKS.values() and _has_its_own_layers(model):
        structure = {"architecture": type(model).__name__, "widths": list(model.widths)}
    elif type(model) in CHAINS:
        structure = {"architecture": "Sequential", **_describe_layer("", model)[1]}
    else:
        raise _unknown(f"A {type(model).__name__}")
    names: dict[nn.Module, str] = {}
    shared = {
        name: names[layer]
        for name, layer in model.named_modules(remove_duplicate=False)
        if names.setdefault(layer, name) != name
    }
    return {**structure, "shared": shared} if shared else structure


def build(structure: dict) -> nn.Module:
    """Build the network that `describe` described, without memory for its tensors ("meta").

    Whatever Python and PyTorch raise for layers that make no sense is raised.
    """
    architecture = structure["architecture"]
    # On the meta device a network takes no memory, so absurd widths do no harm.
    with torch.device("meta"):
        if architecture in NETWORKS:
            model = NETWORKS[architecture](tuple(structure["widths"]))
        elif architecture == "Sequential":
            model = _build_layer("Sequential", structure)
        else:
            known = ", ".join((*NETWORKS, "Sequential"))
            raise ValueError(f"its architecture is {architecture!r}, expected {known}.")
    for name, first in structure.get("shared", {}).items():
        chain, _, place = name.rpartition(".")
        model.get_submodule(name)  # or there would be one more layer
        setattr(model.get_submodule(chain), place, model.get_submodule(first))
    return model


def fingerprint(model: nn.Module) -> str:
    """Return twelve characters that stand for a network's tensors.

    >>> fingerprint(nn.ReLU())
    'e3b0c44298fc'
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def _has_its_own_layers(model: nn.Module) -> bool:
    """Tell whether the widths are all there is to know of one of this package's networks."""
    try:
        with torch.device("meta"):
            return str(type(model)(model.widths)) == str(model)
    except (AttributeError, ValueError):  # a layer is gone, or another stands in its place
        return False


def _describe_layer(name: str, layer: nn.Module) -> tuple[str, dict]:
    """Return a layer's class and the options it was made with, read off its attributes."""
    if type(layer) in CHAINS:
        parts = layer._modules.items()
        return "Sequential", {"layers": [[n, *_describe_layer(n, part)] for n, part in parts]}
    kind = type(layer).__name__
    if type(layer) is not LAYERS.get(kind):
        raise _unknown(f"{name} is a {kind}, which")
    options = {}
    for option in inspect.signature(type(layer).__init__).parameters:
        if option not in {"self", *SOMEWHERE} and hasattr(layer, option):
            value = getattr(layer, option)
            # A layer keeps as a tensor, or None, what it was asked for with True or False.
            value = value is not None if option == "bias" else value
            options[option] = value.item() if isinstance(value, np.generic) else value
    return kind, options


def _unknown(what: str) -> TypeError:
    return TypeError(
        f"{what} cannot be described: {', '.join(NETWORKS)} can, and an nn.Sequential of "
        f"{', '.join(LAYERS)}. For any other network, torch.save(model.state_dict(), path) keeps "
        "the weights."
    )


def _build_layer(kind: str, options: dict) -> nn.Module:
    if kind == "Sequential":
        model = nn.Sequential()
        for name, child, child_options in options["layers"]:
            model.add_module(name, _build_layer(child, child_options))
        return model
    if kind not in LAYERS:
        raise ValueError(f"it has a layer of the unknown kind {kind!r}.")
    if SOMEWHERE & options.keys():  # elsewhere than on "meta" it would take memory
        raise ValueError(f"it has a {kind} that says where its tensors lie.")
    return LAYERS[kind](**options)
