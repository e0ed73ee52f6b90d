"""A network's structure as plain values, and the network built from them again.

What lies in a file should be data, not a program: names, numbers and tensors can be checked
before anything is built from them.
"""

import copy
import hashlib
import inspect

import numpy as np
import torch
from torch import nn

from labutils.base import given
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
CHAINS = (nn.Sequential, *(kind for kind in NETWORKS.values() if issubclass(kind, nn.Sequential)))
OWN_CLASS = "own class"
SOMEWHERE = {"device", "dtype"}  # of a layer's options, those that its tensors decide


def describe(model: nn.Module) -> dict:
    """Return a network's structure as strings, numbers, lists and dictionaries.

    One of this package's networks with other layers than its own becomes an nn.Sequential; for
    a network that is neither there is a TypeError.
    """
    if type(model) in NETWORKS.values() and _has_its_own_layers(model):
        structure = {"architecture": type(model).__name__, "widths": list(model.widths)}
    else:
        structure = {"architecture": "Sequential", "layers": _describe_chain(model)}
    names: dict[nn.Module, str] = {}
    shared = {
        name: names[layer]
        for name, layer in model.named_modules(remove_duplicate=False)
        if names.setdefault(layer, name) != name
    }
    return {**structure, "shared": shared} if shared else structure


def describe_own(model: nn.Module) -> dict:
    """Return what a file has to say of a network of a class that is not known here.

    Its class says what its layers are, its tensors and their sizes how many channels are left.
    """
    sizes = {name: _numbers(layer) for name, layer in given.plain_weights(model).named_modules()}
    return {"architecture": OWN_CLASS, "class": type(model).__name__, "sizes": sizes}


def build(structure: dict, into: nn.Module | None = None) -> nn.Module:
    """Build the network that `describe` described, without memory for its tensors ("meta").

    Whatever Python and PyTorch raise for layers that make no sense is raised.

    Parameters
    ----------
    into : a network of the class, where it is not one of this package or an nn.Sequential
    """
    architecture = structure["architecture"]
    if architecture == OWN_CLASS:
        return _shrunk(structure, into)
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


def _shrunk(structure: dict, into: nn.Module | None) -> nn.Module:
    """Return a network of the reader's class with tensors of the sizes that were saved."""
    name = structure["class"]
    if type(into).__name__ != name:
        wrong = "" if into is None else f", not a {type(into).__name__}"
        raise ValueError(
            f"it holds a {name}, a class of its own, whose program is not in the file: give a "
            f"network of that class{wrong}, as load_model(path, into={name}())."
        )
    model = copy.deepcopy(into).to("meta")
    for path, layer in model.named_modules():
        for tensors in (layer._parameters, layer._buffers):
            for own, tensor in tensors.items():
                saved = structure["state"].get(f"{path}.{own}".lstrip("."))
                if tensor is not None and saved is not None and saved.dim() == tensor.dim():
                    empty = torch.empty_like(saved, device="meta")
                    trained = isinstance(tensor, nn.Parameter)
                    tensors[own] = nn.Parameter(empty, False) if trained else empty
        saved = structure["sizes"].get(path, {})
        vars(layer).update({name: saved.get(name, size) for name, size in _numbers(layer).items()})
    return model


def _numbers(layer: nn.Module) -> dict[str, int]:
    """Return what a layer says of its size, as in_channels and groups."""
    return {name: value for name, value in vars(layer).items() if type(value) is int}


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


def _describe_chain(model: nn.Module) -> list[list]:
    """Return the name, class and options of each layer of a chain."""
    if type(model) not in CHAINS:
        raise TypeError(f"A {type(model).__name__} cannot be described.")
    return [[name, *_describe_layer(layer)] for name, layer in model._modules.items()]


def _describe_layer(layer: nn.Module) -> tuple[str, dict]:
    """Return a layer's class and the options it was made with, read off its attributes."""
    if type(layer) in CHAINS:
        return "Sequential", {"layers": _describe_chain(layer)}
    kind = type(layer).__name__
    if type(layer) is not LAYERS.get(kind):
        raise TypeError(f"A {kind} cannot be described.")
    options = {}
    for option in inspect.signature(type(layer).__init__).parameters:
        if option not in {"self", *SOMEWHERE} and hasattr(layer, option):
            value = getattr(layer, option)
            # A layer keeps as a tensor, or None, what it was asked for with True or False.
            value = value is not None if option == "bias" else value
            options[option] = value.item() if isinstance(value, np.generic) else value
    return kind, options


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
