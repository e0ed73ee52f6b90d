"""The same network computed faster on a CPU: nobody outside can tell but by the clock."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def fast_forward(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that gives what ``model(images)`` gives, sooner.

    Two things are changed. Images are marked channels-last, since pooling along the other
    layout takes longer than the convolutions. And where a ReLU comes before max-pooling,
    pooling goes first and leaves the ReLU a quarter of the work: the largest of the values
    cut off at zero is the largest value cut off at zero, for gradients too.
    """
    plain = isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward
    layers = list(model) if plain and not _is_watched(model) else [model]
    for i in range(len(layers) - 1):
        if _swaps(layers[i], layers[i + 1]):
            layers[i], layers[i + 1] = layers[i + 1], layers[i]

    def forward(images: Tensor) -> Tensor:
        values = channels_last(images)
        for layer in layers:
            values = layer(values)
        return values

    return forward


def channels_last(images: Tensor) -> Tensor:
    """Mark images N x C x H x W as channels-last, in which pooling on a CPU is fast.

    Only the strides change, and every layer behind follows them; the values, the shape
    and the network stay as they are. Other tensors, and other devices, pass unchanged.
    """
    if images.dim() != 4 or images.device.type != "cpu":
        return images
    if images.shape[1] != 1:
        return images.contiguous(memory_format=torch.channels_last)
    # With one channel both layouts are the same bytes; PyTorch looks at the strides.
    height, width = images.shape[2:]
    return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))


def _swaps(first: nn.Module, second: nn.Module) -> bool:
    """Whether two layers are a ReLU and a max-pooling whose outputs nobody looks at."""
    return (
        isinstance(first, nn.ReLU)
        and isinstance(second, nn.MaxPool2d)
        and not second.return_indices
        and not _is_watched(first)
        and not _is_watched(second)
    )


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody hooked this module, and so expects it to be called as it stands."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
