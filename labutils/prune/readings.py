"""What does a layer read, and what does it answer, over the calibration images?

A convolution multiplies the same weights with every patch of its input, so it is a linear layer
that reads patches: both kinds are seen as matrices here, with a column for each image or patch.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base import given
from labutils.base.layers import prunable_layers
from labutils.fit.evaluation import evaluating

AT_A_TIME = 200  # images: their patches are some tens of megabytes


class _Reached(Exception):
    """Ends a forward pass at the layer that is watched."""


def readable_layers(model: nn.Module, name: str = "model") -> dict[str, nn.Module]:
    """Return the layers with weights by name, in order, if all can be seen as matrices.

    Raises
    ------
    TypeError, ValueError
        One is neither nn.Conv2d nor nn.Linear, or its weights are not finite.
    """
    layers = prunable_layers(given.network(model, name))
    for place, layer in layers.items():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            raise ValueError(
                f"{place} is a {type(layer).__name__}, and only nn.Conv2d and nn.Linear are seen "
                "as matrices here: use prune_magnitude, then fine_tune, for this network."
            )
        given.finite(layer.weight, f"{place}.weight")
    return layers


def read(model: nn.Module, name: str, images: Tensor) -> Iterator[Tensor]:
    """Yield what a layer reads, some images at a time: groups x inputs of a group x columns."""
    layer = model.get_submodule(name)
    for values, _ in _passing(model, name, images):
        if isinstance(layer, nn.Conv2d):
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            padded = F.pad(values, layer._reversed_padding_repeated_twice, mode)
            values = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
        yield _columns(values, layer).unflatten(0, (getattr(layer, "groups", 1), -1))


def answer(model: nn.Module, name: str, images: Tensor) -> Iterator[Tensor]:
    """Yield what a layer answers, some images at a time: outputs x columns."""
    layer = model.get_submodule(name)
    for _, values in _passing(model, name, images):
        yield _columns(values, layer)


def gram_matrix(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """Return how strong a layer's inputs are, and how much alike.

    For inputs X, with a column for each image or patch, ``X @ X.T``: half of the Hessian of the
    layer's squared error. Double precision, groups x inputs of a group x inputs of a group.
    """
    return sum(columns @ columns.mT for columns in read(model, name, images))


def _columns(values: Tensor, layer: nn.Module) -> Tensor:
    """Return channels x all else; a linear layer's channels are the last dimension."""
    channels_first = values.movedim(1 if isinstance(layer, nn.Conv2d) else -1, 0)
    return channels_first.flatten(1).cpu().double()  # on the CPU: not every GPU has doubles


@torch.no_grad()
def _passing(model: nn.Module, name: str, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what goes into a layer and comes out; what stands behind it is not computed."""
    found, like = [], next(model.parameters())

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((inputs[0], output))
        raise _Reached

    watching = model.get_submodule(name).register_forward_hook(note)
    try:
        for some in images.split(AT_A_TIME):
            try:
                with evaluating(model):
                    model(some.to(like))
            except _Reached:
                pass
            except (RuntimeError, IndexError) as error:
                raise ValueError(f"The calibration does not fit the network: {error}") from error
            if not found:
                raise ValueError(f"{name} is not used when the network reads an image.")
            yield found.pop()
    finally:
        watching.remove()
