"""What does each layer put out, and how many multiplications does it take?"""

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from labutils.fit.evaluation import evaluating


def layer_table(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> pd.DataFrame:
    """Say what each layer puts out and costs: a row a layer that computes something.

    Returns
    -------
    Table with the columns `layer`, `kind`, `output` (shape for one image), `parameters`
    (weights and biases) and `macs` (multiplications with a weight, one image), in the
    order in which the layers run.
    """
    rows = [
        {
            "layer": name,
            "kind": type(layer).__name__,
            "output": shape[1:],
            "parameters": sum(p.numel() for p in layer.parameters()),
            "macs": _uses(layer, shape) * layer.weight.numel() if _multiplies(layer) else 0,
        }
        for name, layer, shape in _run_once(model, image_shape)
    ]
    return pd.DataFrame(rows)


def count_macs(
    model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28), *, nonzero: bool = False
) -> int:
    """Count multiply-accumulates: multiplications with a weight in a forward pass of one image.

    Parameters
    ----------
    nonzero : count only those with a weight that is not zero. Dense kernels execute all of
        them, whatever the weights are; only special kernels or hardware skip the others.

    >>> from labutils.base.networks import SimpleCNN
    >>> count_macs(SimpleCNN()) == 28*28 * 16*9 + 14*14 * 32*16*9 + 1568*64 + 64*10
    True
    """
    return sum(
        _uses(layer, shape)
        * (int(layer.weight.count_nonzero()) if nonzero else layer.weight.numel())
        for _, layer, shape in _run_once(model, image_shape)
        if _multiplies(layer)
    )


def _multiplies(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Conv2d, nn.Linear))


def _uses(layer: nn.Module, output: tuple[int, ...]) -> int:
    """Say how often each weight is used for one image: once for each output of its filter."""
    return math.prod(output) // len(layer.weight)


def _run_once(
    model: nn.Module, image_shape: tuple[int, ...]
) -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """Run one blank image; return name, layer and output shape, in the order of running."""
    ran: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def note(name: str) -> Callable:
        def hook(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
            ran.append((name, layer, tuple(output.shape)))

        return hook

    leaves = [(name, layer) for name, layer in model.named_modules() if not [*layer.children()]]
    hooks = [layer.register_forward_hook(note(name)) for name, layer in leaves]
    try:
        device = next(model.parameters()).device
        with evaluating(model), torch.inference_mode():
            model(torch.zeros(1, *image_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return ran
