"""Which channels are coupled? A network read as a chain, so that filters can be taken out.

If filter 3 of a convolution goes, so does channel 3 of everything that depends on it: its
BatchNorm statistics, its slice of the next layer's weights, and behind Flatten the columns that
its pixels became. `read_chain` finds these dependencies; `cut` removes what is coupled.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.layers import ONE_FOR_EACH_CHANNEL, SAME_FOR_EVERY_CHANNEL

Mixer = nn.Conv2d | nn.Linear  # every output from all inputs (of its group)
ELSEWHERE = (
    "Filters are removed from plain chains: nn.Sequential of convolutions, linear layers, and "
    "layers that treat each channel by itself. For branches and shared layers use Torch-Pruning "
    "(https://github.com/VainF/Torch-Pruning), which traces what depends on what."
)


@dataclass(frozen=True)
class Place:
    """Where channels are cut: a layer, and there which of its tensors' sides.

    The side is "outputs", "inputs", "both" (a depthwise convolution: one filter for each
    channel), or "values" (one parameter or statistic for each channel).
    """

    layer: str
    side: str
    copies: int = 1  # consecutive indices of each channel there, as behind Flatten its pixels


@dataclass
class Channels:
    """The filters (or neurons) of one layer, and every place where channels are coupled to them.

    Grouped convolutions split them into equal blocks; as many must go from each, since the
    groups have to stay equal.
    """

    layer: str
    count: int
    blocks: int
    pictures: bool  # and not single numbers
    places: list[Place] = field(default_factory=list)  # the layer first, the one that reads last
    copies: int = 1  # consecutive indices of each channel behind the places so far

    @property
    def reader(self) -> Place:
        """The place where the next convolution or linear layer reads these channels."""
        return self.places[-1]


def read_chain(model: nn.Module) -> dict[str, Channels]:
    """Find the layers whose filters can go, and everything that depends on each filter.

    Returns
    -------
    `Channels` by layer, in order, without the last layer, whose outputs are the answer.

    Raises
    ------
    ValueError
        The network is no plain chain, or a layer cannot follow (the message names it), or no
        filter can go.
    """
    leaves = list(_leaves(given.plain_weights(model)))
    _refuse_sharing(leaves)
    chains: dict[str, Channels] = {}
    current, flat, obstacle = None, False, None
    for name, layer in leaves:
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            flat = True
        elif isinstance(layer, Mixer):
            if obstacle is not None:
                _refuse(*obstacle, "cannot follow when filters go")
            depthwise = current is not None and _is_depthwise(layer)
            if current is not None:
                _attach_reader(current, name, layer, flat)
            if not depthwise:  # whose filters are those of its inputs
                flat = isinstance(layer, nn.Linear)
                current = Channels(name, len(layer.weight), getattr(layer, "groups", 1), not flat)
                current.places.append(Place(name, "outputs"))
                chains[name] = current
        elif current is None:
            continue  # what is done to the image stays as it is
        elif isinstance(layer, ONE_FOR_EACH_CHANNEL):
            size = getattr(layer, "num_features", 0) or layer.num_parameters
            if size > 1 or not isinstance(layer, nn.PReLU):  # PReLU may have one for all
                _attach(current, name, layer, "values", size, flat)
        elif not isinstance(layer, SAME_FOR_EVERY_CHANNEL):
            obstacle = (name, layer)  # unless it stands behind the last layer, where all stay
    if len(chains) < 2:
        raise ValueError(
            f"This {type(model).__name__} has one layer with weights, or none: the last layer "
            "keeps all its outputs, so there is no filter to remove."
        )
    return {name: channels for name, channels in chains.items() if channels is not current}


def cut(model: nn.Module, channels: Channels, kept: Tensor) -> None:
    """Leave only some filters of a layer in a network, in place, everywhere they reach.

    Parameters
    ----------
    kept : indices of the filters that stay, rising; as many in each block
    """
    for place in channels.places:
        layer = model.get_submodule(place.layer)
        CUTS[place.side](layer, _spread(kept, place.copies))


def _leaves(model: nn.Module, path: tuple[str, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers by name in the order in which they run."""
    if isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward:
        for name, child in model._modules.items():
            yield from _leaves(child, (*path, name))
    elif not path:
        _refuse("the network", model, "is no nn.Sequential, so the order of its layers is unknown")
    else:
        yield ".".join(path), model


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels


def _attach_reader(channels: Channels, name: str, layer: Mixer, flat: bool) -> None:
    """Note that this convolution or linear layer reads the channels."""
    if isinstance(layer, nn.Linear):
        if not flat:
            _refuse(name, layer, "reads pictures; an nn.Flatten() belongs before it")
        _attach(channels, name, layer, "inputs", layer.in_features, flat)
    elif _is_depthwise(layer):
        _attach(channels, name, layer, "both", layer.in_channels, flat)
        channels.copies *= layer.out_channels // layer.in_channels
    else:
        if channels.count % layer.groups:
            _refuse(name, layer, f"splits single channels of {channels.layer} between its groups")
        channels.blocks = math.lcm(channels.blocks, layer.groups)
        _attach(channels, name, layer, "inputs", layer.in_channels, flat)


def _attach(
    channels: Channels, name: str, layer: nn.Module, side: str, size: int, flat: bool
) -> None:
    """Note that the channels reach this layer, which has so many indices for them."""
    if flat and channels.pictures and size % channels.count == 0:
        channels.copies = size // channels.count  # each pixel behind Flatten is one
    if size != channels.count * channels.copies:
        given = channels.count * channels.copies
        _refuse(name, layer, f"expects {size} inputs, but {channels.layer} gives {given}")
    channels.places.append(Place(name, side, channels.copies))


def _refuse_sharing(leaves: list[tuple[str, nn.Module]]) -> None:
    """Refuse a layer, or a tensor, that is used twice: cut for one place, it fits no other."""
    users: dict[int, str] = {}
    for name, layer in leaves:
        for tensor in (*layer.parameters(), *layer.buffers()):
            if id(tensor) in users:
                _refuse(name, layer, f"shares its weights with {users[id(tensor)]}")
            users[id(tensor)] = name


def _refuse(name: str, layer: nn.Module, reason: str) -> NoReturn:
    raise ValueError(f"{name} ({type(layer).__name__}) {reason}. {ELSEWHERE}")


def _spread(indices: Tensor, copies: int) -> Tensor:
    """Return the indices of all copies: of channel c, c * copies and those behind it.

    >>> _spread(torch.tensor([0, 2]), 3)
    tensor([0, 1, 2, 6, 7, 8])
    """
    return (indices[:, None] * copies + torch.arange(copies)).flatten()


def _cut_outputs(layer: Mixer, kept: Tensor) -> None:
    _take(layer, "weight", kept)
    _take(layer, "bias", kept)
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", len(kept))


def _cut_inputs(layer: Mixer, kept: Tensor) -> None:
    groups, weight = getattr(layer, "groups", 1), layer.weight.detach()
    # The filters of a group count the channels of that group alone, from 0.
    of_group = kept.to(weight.device).view(groups, -1) % weight.shape[1]
    parts = zip(weight.chunk(groups), of_group, strict=True)
    _replace(layer, "weight", torch.cat([part.index_select(1, some) for part, some in parts]))
    setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", len(kept))


def _cut_depthwise(layer: nn.Conv2d, kept: Tensor) -> None:
    _cut_outputs(layer, _spread(kept, layer.out_channels // layer.in_channels))
    layer.in_channels = layer.groups = len(kept)


def _cut_values(layer: nn.Module, kept: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        _take(layer, name, kept)
    setattr(layer, "num_parameters" if isinstance(layer, nn.PReLU) else "num_features", len(kept))


CUTS = {
    "outputs": _cut_outputs,
    "inputs": _cut_inputs,
    "both": _cut_depthwise,
    "values": _cut_values,
}


def _take(layer: nn.Module, name: str, kept: Tensor) -> None:
    """Leave only some rows of a layer's tensor, if it has that tensor."""
    before = getattr(layer, name, None)
    if before is not None:
        _replace(layer, name, before.detach().index_select(0, kept.to(before.device)))


def _replace(layer: nn.Module, name: str, after: Tensor) -> None:
    before = getattr(layer, name)
    if isinstance(before, nn.Parameter):
        after = nn.Parameter(after, before.requires_grad)
    setattr(layer, name, after)
