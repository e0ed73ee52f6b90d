"""Which steps does a network take on a device: convolutions, pooling and linear layers?"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

from labutils.base import given

CONVOLUTION, AVERAGE, LARGEST = "convolution", "average", "largest"
SUPPORTED = (
    "a chain (nn.Sequential) of Conv2d, BatchNorm2d, ReLU, MaxPool2d, AvgPool2d, "
    "AdaptiveAvgPool2d(1), Flatten and Linear"
)
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)  # as far as numbers go
CLOSE = 1e-4  # how far the chain's logits may lie from the network's, as a share of the largest


@dataclass(frozen=True)
class Layer:
    """One step, with its ReLU.

    A linear layer is a convolution whose filters are as large as the picture.

    Attributes
    ----------
    name : of the layer in the network
    end : name of the last of the network's layers that it stands for
    kind : "convolution", "average" or "largest" (pooling)
    shape : of what it reads: channels, height, width
    weight, bias : as PyTorch has them; None of pooling
    kernel, stride, padding : height and width
    groups : of a convolution; as many as channels if it is depthwise
    relu : whether what is below zero becomes zero
    pooled : whether the largest of 2 x 2 sums goes on (pooling that is done with a convolution)
    """

    name: str
    end: str
    kind: str
    shape: tuple[int, int, int]
    weight: Tensor | None = None
    bias: Tensor | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    relu: bool = False
    pooled: bool = False

    @property
    def output(self) -> tuple[int, int, int]:
        """Shape of what it hands on: channels, height, width."""
        high, wide = (
            (side + 2 * pad - kernel) // stride + 1
            for side, pad, kernel, stride in zip(
                self.shape[1:], self.padding, self.kernel, self.stride, strict=True
            )
        )
        channels = self.shape[0] if self.weight is None else len(self.weight)
        return (channels, high // 2, wide // 2) if self.pooled else (channels, high, wide)

    @property
    def is_convolution(self) -> bool:
        """Whether its filters move over a picture."""
        return self.weight is not None and self.output[1:] != (1, 1)

    @property
    def filters(self) -> Tensor:
        """Its weights as filters x channels of a group x height x width."""
        return self.weight.view(len(self.weight), -1, *self.kernel)

    def combine(self, values: Tensor) -> Tensor:
        """Multiply by the weights and add; or add, or find the largest, if it pools."""
        values = values.view(len(values), *self.shape)
        if self.kind == LARGEST:
            return F.max_pool2d(values, self.kernel, self.stride)
        if self.kind == AVERAGE:
            return F.avg_pool2d(values, self.kernel, self.stride, divisor_override=1)
        filters = self.filters.to(values)
        return F.conv2d(values, filters, None, self.stride, self.padding, groups=self.groups)

    def finish(self, sums: Tensor) -> Tensor:
        """Do what comes behind the bias: the largest of four, and ReLU."""
        sums = largest_of_four(sums) if self.pooled else sums
        return sums.clamp(min=0) if self.relu else sums

    def real(self, values: Tensor) -> Tensor:
        """Return what it makes of real values, N x channels x height x width."""
        sums = self.combine(values)
        if self.kind == AVERAGE:
            sums = sums / math.prod(self.kernel)
        return self.finish(sums if self.bias is None else sums + self.bias.view(-1, 1, 1))


def largest_of_four(values: Tensor) -> Tensor:
    """Pool 2 x 2; an odd last row or column is left out."""
    height, width = (length // 2 * 2 for length in values.shape[-2:])
    corners = [values[..., i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return torch.stack(corners).amax(0)


def chain(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> list[Layer]:
    """Return a network's steps, with batch norms folded into the convolutions before them.

    Raises
    ------
    TypeError, ValueError
        A network that is no such chain, has weights that are not finite, or does not read such
        images; the message names the layer.
    """
    if type(given.module(model)).forward is not nn.Sequential.forward:
        raise TypeError(f"A {type(model).__name__} is no chain of layers: give {SUPPORTED}.")
    for name, tensor in model.state_dict().items():
        given.tensor(tensor, name)
    model = copy.deepcopy(model).cpu().float().eval()
    layers: list[Layer] = []
    before, shape = None, _three(given.shape(image_shape))
    for name, module in parts(model):
        if isinstance(module, NOTHING):
            continue
        if isinstance(module, nn.ReLU) and layers:
            layers[-1] = replace(layers[-1], relu=True, end=name)
        elif isinstance(module, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            layers[-1] = _folded(layers[-1], name, module)
        elif _pools_in_fours(module) and layers and _may_pool(layers[-1]):
            layers[-1] = replace(layers[-1], pooled=True, end=name)
        else:
            layers.append(_layer(name, module, shape))
        before, shape = module, layers[-1].output
    _check(layers, model, image_shape)
    return layers


def parts(model: nn.Module, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Go through a chain, and the chains in it, from one layer to the next."""
    for name, module in model._modules.items():  # all, also those that are there twice
        if type(module).forward is nn.Sequential.forward:
            yield from parts(module, f"{before}{name}.")
        else:
            yield f"{before}{name}", module


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"image_shape={shape}: give channels, height and width, as (1, 28, 28).")
    return tuple(shape)


def _layer(name: str, module: nn.Module, shape: tuple[int, int, int]) -> Layer:
    """Return one convolution, linear or pooling layer, or say why it cannot be one."""
    if isinstance(module, nn.Linear):
        return Layer(name, name, CONVOLUTION, shape, *_parameters(module), kernel=shape[1:])
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
        return Layer(name, name, AVERAGE, shape, kernel=shape[1:])
    if isinstance(module, nn.Conv2d) and _is_plain(module, dilation=1, padding_mode="zeros"):
        sizes = {size: _pair(getattr(module, size)) for size in ("kernel_size", "stride")}
        return Layer(
            name,
            name,
            CONVOLUTION,
            shape,
            *_parameters(module),
            *sizes.values(),
            _pair(module.padding),
            module.groups,
        )
    plain = {"padding": 0, "ceil_mode": False}
    if isinstance(module, nn.MaxPool2d) and _is_plain(module, **plain, dilation=1):
        return Layer(
            name, name, LARGEST, shape, None, None, _pair(module.kernel_size), _pair(module.stride)
        )
    if isinstance(module, nn.AvgPool2d) and _is_plain(module, **plain, divisor_override=None):
        return Layer(
            name, name, AVERAGE, shape, None, None, _pair(module.kernel_size), _pair(module.stride)
        )
    raise TypeError(f"The layer {name}, {module}, cannot become firmware: give {SUPPORTED}.")


def _parameters(module: nn.Module) -> tuple[Tensor, Tensor]:
    weight = module.weight.detach()
    return weight, weight.new_zeros(len(weight)) if module.bias is None else module.bias.detach()


def _folded(layer: Layer, name: str, norm: nn.BatchNorm2d) -> Layer:
    weight, bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return replace(layer, weight=weight.detach(), bias=bias.detach(), end=name)


def _pair(size: int | str | tuple[int, int]) -> tuple[int, int]:
    if isinstance(size, str):
        raise TypeError(f'padding="{size}": give it as a number, as padding=1.')
    return (size, size) if isinstance(size, int) else tuple(size)


def _is_plain(module: nn.Module, **wanted: object) -> bool:
    """Whether options are what they are wanted to be, numbers in both directions."""
    return all(getattr(module, name) in (value, (value, value)) for name, value in wanted.items())


def _pools_in_fours(module: nn.Module) -> bool:
    plain = {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1, "ceil_mode": False}
    return isinstance(module, nn.MaxPool2d) and _is_plain(module, **plain)


def _may_pool(layer: Layer) -> bool:
    return layer.kind == CONVOLUTION and not layer.pooled and min(layer.output[1:]) > 1


def _check(layers: list[Layer], model: nn.Module, image_shape: tuple[int, ...]) -> None:
    """Refuse a chain that does not compute what its network does."""
    sizes = " x ".join(map(str, image_shape))
    images = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            wanted, found = model(images), images
            for layer in layers:
                found = layer.real(found)
    except (RuntimeError, ValueError) as error:  # what PyTorch raises for shapes
        raise ValueError(
            f"image_shape={tuple(image_shape)} does not fit: this {type(model).__name__} does not "
            f"read images of {sizes}."
        ) from error
    if not layers or layers[-1].output[1:] != (1, 1) or wanted.dim() != 2:
        raise ValueError(f"{type(model).__name__} gives no logits, N x classes, for {sizes}.")
    apart = float((found.flatten(1) - wanted).abs().max())
    if not apart <= CLOSE * max(1.0, float(wanted.abs().max())):
        raise ValueError(
            f"{type(model).__name__} computes something else than its layers one by one, up to "
            f"{apart:.2g} apart: give {SUPPORTED}, each used once, without hooks."
        )
