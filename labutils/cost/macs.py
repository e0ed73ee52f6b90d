"""What does each layer put out, and how many multiplications does it take?"""

from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.fit.evaluation import evaluating

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
UNCOUNTED = (nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
Runs = list[tuple[str, nn.Module, tuple[int, ...], int]]


def layer_table(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> pd.DataFrame:
    """Say what each layer puts out and costs: a row a layer that computes something.

    Returns
    -------
    Table with the columns `layer`, `kind`, `output` (shape for one image), `parameters`
    (weights and biases) and `macs`, in the order in which the layers run. What `count_macs`
    refuses is refused.
    """
    rows = [
        {
            "layer": name,
            "kind": type(layer).__name__,
            "output": shape[1:],
            "parameters": sum(p.numel() for p in layer.parameters()),
            "macs": sum(uses * weight.numel() for weight in _weights(layer)),
        }
        for name, layer, shape, uses in _run_once(model, image_shape)
    ]
    return pd.DataFrame(rows)


def count_macs(
    model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28), *, nonzero: bool = False
) -> int:
    """Count multiply-accumulates: multiplications with a weight in a forward pass of one image.

    Those of convolutions (transposed ones too), linear layers and the projections of
    nn.MultiheadAttention are counted; products of two signals, as in attention, are not.

    Parameters
    ----------
    nonzero : count only those with a weight that is not zero. Dense kernels execute all of
        them, whatever the weights are; only special kernels or hardware skip the others.

    Raises
    ------
    TypeError, ValueError
        No network, a layer whose multiplications are not counted here, another image shape than
        the network takes.

    >>> from labutils.base.networks import SimpleCNN
    >>> count_macs(SimpleCNN()) == 28*28 * 16*9 + 14*14 * 32*16*9 + 1568*64 + 64*10
    True
    """
    return sum(
        uses * (int(weight.count_nonzero()) if nonzero else weight.numel())
        for _, layer, _, uses in _run_once(model, image_shape)
        for weight in _weights(layer)
    )


def fitting(model: nn.Module, images: Tensor) -> Tensor:
    """Bring images to a network's device and precision, and run them once to see that they fit."""
    images = images.to(next((p for p in model.parameters() if p.is_floating_point()), images))
    try:
        model(images)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"image_shape={tuple(images.shape[1:])} does not fit this {type(model).__name__}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    return images


def _weights(layer: nn.Module) -> list[Tensor]:
    """Return the weights that a layer multiplies by: all of them equally often."""
    if isinstance(layer, nn.MultiheadAttention):
        return [p for name, p in layer.named_parameters() if name.endswith("weight")]
    return [layer.weight] if isinstance(layer, given.WEIGHTED) else []


def _run_once(model: nn.Module, image_shape: tuple[int, ...]) -> Runs:
    """Run one blank image; return name, layer, output shape, and how often a weight is used."""
    ran: Runs = []

    def note(name: str, layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        uses = 0
        if isinstance(layer, nn.MultiheadAttention):
            output = output[0] if isinstance(output, tuple) else output
            uses = output.numel() // layer.embed_dim  # once for each token
        if isinstance(layer, given.WEIGHTED):  # once for each output of its filter
            places = inputs[0] if isinstance(layer, TRANSPOSED) else output
            uses = places.numel() // len(layer.weight)
        ran.append((name, layer, tuple(output.shape), uses))

    hooks = []
    try:
        for name, layer in given.network(model).named_modules():
            if isinstance(layer, UNCOUNTED):
                raise ValueError(
                    f"{name} is a {type(layer).__name__}, whose multiplications are not counted "
                    "here: only those of convolutions and linear layers are."
                )
            # Layers that have no others in them, but for what computes their weights.
            inner = {child for child, _ in layer.named_children()} - {"parametrizations"}
            counted = not inner or isinstance(layer, nn.MultiheadAttention)
            if counted and "parametrizations" not in name.split("."):
                hooks.append(layer.register_forward_hook(partial(note, name)))
        with evaluating(model), torch.no_grad():
            fitting(model, torch.zeros(1, *given.shape(image_shape)))
    finally:
        for hook in hooks:
            hook.remove()
    return ran
