"""A SimpleCNN in int8: int8 weights and activations, int32 sums, nothing else.

The arithmetic is that of TensorFlow Lite and CMSIS-NN (Jacob et al. 2018), symmetric: a real
number is a scale times an integer, zero is zero. It is computed here with PyTorch, exactly, so
that a device can be held against it bit for bit.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.base.networks import SimpleCNN

LARGEST = 127  # of int8; -128 is left out, so that a number and its negative both fit
LAYERS = ("conv1", "conv2", "fc1", "fc2")
BATCH = 100  # images at a time: as quick as any number
EXACT_FLOAT32 = 2**24  # integers up to here are exact in float32
MULTIPLIER_BITS, LONGEST_SHIFT = 31, 62


@dataclass(frozen=True)
class Int8Layer:
    """One layer in int8, with its ReLU and pooling.

    Attributes
    ----------
    name : of the layer in the network
    weight : int8, of the shape of the layer's weights
    bias : int32, one for each output, in units of the sums
    multiplier, shift : int64, one for each output: a sum becomes the next layer's input as
        ``(sum * multiplier + 2**(shift - 1)) >> shift``, cut to 0..127. The multiplier is below
        2**31. None of the last layer, whose sums are the answer
    """

    name: str
    weight: Tensor
    bias: Tensor
    multiplier: Tensor | None
    shift: Tensor | None

    @property
    def is_convolution(self) -> bool:
        """Whether it looks at pictures, with pooling behind."""
        return self.weight.dim() == 4

    def sums(self, inputs: Tensor) -> Tensor:
        """Multiply and accumulate: int8 in, int32 out, every one exact."""
        reach = int(self.weight.flatten(1).long().abs().sum(1).max()) * (LARGEST + 1)
        kind = torch.float32 if reach < EXACT_FLOAT32 else torch.float64
        values, weight = inputs.to(kind), self.weight.to(kind)
        if self.is_convolution:
            found = F.conv2d(values, weight, padding=1).to(torch.int32)
            return found + self.bias.view(-1, 1, 1)
        return F.linear(values.flatten(1), weight).to(torch.int32) + self.bias

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return what the next layer reads: int8, after ReLU, scaling and pooling."""
        shape = (-1, 1, 1) if self.is_convolution else (-1,)
        sums = self.sums(inputs)
        if self.is_convolution:  # what is largest stays largest when it is scaled
            sums = _largest_of_four(sums)
        scaled = sums.long() * self.multiplier.view(shape)
        scaled = (scaled + (1 << (self.shift - 1)).view(shape)) >> self.shift.view(shape)
        return scaled.clamp(0, LARGEST).to(torch.int8)


class Int8Network(nn.Module):
    """A SimpleCNN in int8; as a module it gives real logits for real images.

    Attributes
    ----------
    layers : conv1, conv2, fc1, fc2
    input_scale : what 1 stands for in an int8 image
    output_scale : what 1 stands for in the last layer's sums, one for each digit
    """

    def __init__(
        self, layers: tuple[Int8Layer, ...], input_scale: float, output_scale: Tensor
    ) -> None:
        super().__init__()
        self.layers, self.input_scale = layers, input_scale
        self.output_scale = nn.Parameter(output_scale, requires_grad=False)

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels or neurons of each layer but the last."""
        return tuple(len(layer.weight) for layer in self.layers[:-1])

    def integers(self, images: Tensor) -> Tensor:
        """Turn real images, one or N x 1 x 28 x 28, into int8, on the CPU."""
        real = given.tensor(images, "images").is_floating_point()
        if not real or tuple(images.shape[-3:]) != (1, 28, 28):
            raise ValueError(
                f"images are a {images.dtype} tensor of shape {tuple(images.shape)}: give real "
                "ones of 1 x 28 x 28, as digits.test.images."
            )
        return _round(images.cpu() / self.input_scale)

    def sums(self, images: Tensor) -> Tensor:
        """Return the last layer's sums for int8 images: int32, N x 10."""
        values = images
        for layer in self.layers[:-1]:
            values = layer.outputs(values)
        return self.layers[-1].sums(values)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits N x 10 for real images."""
        sums = self.sums(self.integers(images)).float()
        return sums.to(self.output_scale.device) * self.output_scale


def quantize_int8(model: SimpleCNN, calibration: Split, *, per_channel: bool = True) -> Int8Network:
    """Turn a network into int8 (Jacob et al. 2018).

    Weights that are zero stay zero, so a pruned network stays pruned.

    Parameters
    ----------
    model : a SimpleCNN of any widths; left as it was
    calibration : training images, some hundreds; the largest activations over them become 127
    per_channel : whether each filter and neuron has a scale of its own, or the layer one for all

    Raises
    ------
    TypeError, ValueError
        Another network, weights that are not finite, no images, or images of another shape.
    """
    if type(model) is not SimpleCNN:
        raise TypeError(
            f"A {type(model).__name__} cannot be turned into int8 here: give a SimpleCNN, of any "
            "widths."
        )
    shape = tuple(given.split(calibration, "calibration").images.shape[1:])
    if shape != (1, 28, 28):
        raise ValueError(f"calibration has images of {shape}: a SimpleCNN reads 1 x 28 x 28.")
    model = copy.deepcopy(model).cpu().float()
    layers = {name: getattr(model, name) for name in LAYERS}
    for name, layer in layers.items():
        given.tensor(layer.weight, f"{name}.weight")
        given.tensor(layer.bias, f"{name}.bias")
    scales = activation_scales(model, calibration)
    found = []
    for name, scale, next_scale in zip(LAYERS, scales, [*scales[1:], None], strict=True):
        weight = layers[name].weight.detach().double()
        reach = weight.flatten(1).abs().amax(1)
        reach = reach if per_channel else reach.max().expand(len(reach))
        unit = torch.where(reach > 0, reach / LARGEST, 1.0)
        integers = _round(weight / unit.view(-1, *[1] * (weight.dim() - 1)))
        bias = (layers[name].bias.detach().double() / (unit * scale)).round().to(torch.int32)
        ratio = None if next_scale is None else unit * scale / next_scale
        multiplier, shift = (None, None) if ratio is None else fixed_point(ratio)
        found.append(Int8Layer(name, integers, bias, multiplier, shift))
    return Int8Network(tuple(found), scales[0], (unit * scales[-1]).float())


def activation_scales(model: SimpleCNN, calibration: Split) -> list[float]:
    """Return what 1 stands for in each layer's input, so that the largest one seen is 127."""
    largest = dict.fromkeys(LAYERS, 0.0)
    with torch.inference_mode():
        for values in calibration.images.split(BATCH):
            values = values.cpu().float()
            for name, layer in model.named_children():
                if name in largest:
                    largest[name] = max(largest[name], float(values.abs().max()))
                values = layer(values)
    return [value / LARGEST if value > 0 else 1.0 for value in largest.values()]


def fixed_point(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Write positive ratios as ``multiplier / 2**shift``, the multiplier with 31 bits.

    Beyond what 62 bits hold, the closest that can be written.

    >>> fixed_point(torch.tensor([0.75], dtype=torch.float64))
    (tensor([1610612736]), tensor([31]))
    """
    exponents = torch.tensor([math.frexp(value)[1] for value in ratio.tolist()])
    shift = (MULTIPLIER_BITS - exponents).clamp(1, LONGEST_SHIFT)
    multiplier = (ratio * 2.0 ** shift.double()).round()
    return multiplier.clamp(max=2**MULTIPLIER_BITS - 1).long(), shift


def _round(values: Tensor) -> Tensor:
    return values.round().clamp(-LARGEST, LARGEST).to(torch.int8)


def _largest_of_four(values: Tensor) -> Tensor:
    """Pool 2 x 2; an odd last row or column is left out."""
    height, width = (length // 2 * 2 for length in values.shape[-2:])
    corners = [values[..., i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return torch.stack(corners).amax(0)
