"""A chain in int8: int8 weights, of fewer bits if asked, int8 activations, int32 sums.

The arithmetic is that of TensorFlow Lite and CMSIS-NN (Jacob et al. 2018), symmetric: a real
number is a scale times an integer, zero is zero. It is computed here with PyTorch, exactly, so
that a device can be held against it bit for bit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.device.chain import LARGEST, Layer, chain

TOP = 127  # of int8; -128 is left out, so that a number and its negative both fit
# What weights of so many bits may be; those of 2 bits take the fourth value below zero.
RANGES = {8: (-TOP, TOP), 4: (-7, 7), 2: (-2, 1), "ternary": (-1, 1)}
BATCH = 100  # images at a time: as quick as any number
EXACT_FLOAT32 = 2**24  # integers up to here are exact in float32
MULTIPLIER_BITS, COARSE_BITS, LONGEST_SHIFT = 31, 8, 62


@dataclass(frozen=True)
class Int8Layer(Layer):
    """One step in int8: its weight int8, its bias int32, in units of the sums.

    Attributes
    ----------
    bits : of the weights: 8, 4 or 2, or "ternary"
    multiplier, shift : one for each output, or one for all, and one for all: a sum becomes the
        next layer's input as ``(sum * multiplier + 2**(shift - 1)) >> shift``, cut to int8. The
        multiplier is below 2**31. None of the last layer, whose sums are the answer, and of the
        largest
    """

    bits: int | str = 8
    multiplier: Tensor | None = None
    shift: int | None = None

    def sums(self, inputs: Tensor) -> Tensor:
        """Multiply and accumulate: int8 in, int32 out, every one exact."""
        terms = math.prod(self.kernel)
        if self.weight is not None:
            terms = int(self.weight.flatten(1).long().abs().sum(1).max())
        exact = torch.float32 if terms * (TOP + 1) < EXACT_FLOAT32 else torch.float64
        found = self.combine(inputs.to(exact)).to(torch.int32)
        return found if self.bias is None else found + self.bias.view(-1, 1, 1)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Return what the next layer reads: int8, after pooling, ReLU and scaling."""
        found = self.finish(self.sums(inputs))  # what is largest stays so when it is scaled
        if self.multiplier is not None:
            found = found.long() * self.multiplier.view(-1, 1, 1)
            found = (found + (1 << (self.shift - 1))) >> self.shift
        return found.clamp(-TOP, TOP).to(torch.int8)


class Int8Network(nn.Module):
    """A chain in int8; as a module it gives real logits for real images.

    Attributes
    ----------
    layers : its steps, pooling that is not done with a convolution among them
    input_scale : what 1 stands for in an int8 image
    output_scale : what 1 stands for in the last layer's sums, one for each class
    """

    def __init__(
        self, layers: tuple[Int8Layer, ...], input_scale: float, output_scale: Tensor
    ) -> None:
        super().__init__()
        self.layers, self.input_scale = layers, input_scale
        self.output_scale = nn.Parameter(output_scale, requires_grad=False)

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels or neurons of each layer with weights but the last."""
        weights = [layer.weight for layer in self.layers if layer.weight is not None]
        return tuple(map(len, weights[:-1]))

    def integers(self, images: Tensor) -> Tensor:
        """Turn real images, one or N x channels x height x width, into int8, on the CPU."""
        real, shape = given.tensor(images, "images").is_floating_point(), self.layers[0].shape
        if not real or tuple(images.shape[-3:]) != shape:
            raise ValueError(
                f"images are a {images.dtype} tensor of shape {tuple(images.shape)}: give real "
                f"ones of {' x '.join(map(str, shape))}, as digits.test.images."
            )
        return _round(images.cpu() / self.input_scale)

    def sums(self, images: Tensor) -> Tensor:
        """Return the last layer's sums for int8 images: int32, N x classes."""
        values = images
        for layer in self.layers[:-1]:
            values = layer.outputs(values)
        return self.layers[-1].finish(self.layers[-1].sums(values)).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, N x classes, for real images."""
        sums = self.sums(self.integers(images)).float()
        return sums.to(self.output_scale.device) * self.output_scale


def quantize_int8(
    model: nn.Module,
    calibration: Split,
    *,
    per_channel: bool = True,
    bits: int | str | Mapping[str, int | str] = 8,
) -> Int8Network:
    """Turn a network into int8 (Jacob et al. 2018).

    Weights that are zero stay zero, so a pruned network stays pruned.

    Parameters
    ----------
    model : a chain of convolutions, batch norms, ReLU, pooling and linear layers, as a SimpleCNN;
        left as it was
    calibration : training images, some hundreds; the largest activations over them become 127
    per_channel : whether each filter and neuron has a scale of its own, or the layer one for all
    bits : of the weights, 8, 4, 2 or "ternary" (-1, 0 and 1), of all layers or by layer (8 where
        not named). Below 8 much is lost unless the network is trained for it, see `train_int8`

    Raises
    ------
    TypeError, ValueError
        Another network, weights that are not finite, no images, or images it does not read; bits
        or layers that are not known.
    """
    shape = tuple(given.split(calibration, "calibration").images.shape[1:])
    layers = chain(model, shape)
    chosen = layer_bits(bits, layers)
    units = {
        layer.name: largest_unit(layer.weight, chosen[layer.name], per_channel)
        for layer in layers
        if layer.weight is not None
    }
    return in_integers(layers, chosen, units, activation_scales(layers, calibration))


def layer_bits(
    bits: int | str | Mapping[str, int | str], layers: list[Layer]
) -> dict[str, int | str]:
    """Return the bits of every layer with weights, by name."""
    names = [layer.name for layer in layers if layer.weight is not None]
    asked = bits if isinstance(bits, Mapping) else dict.fromkeys(names, bits)
    for name, each in asked.items():
        given.choice(name, "bits", names)
        if isinstance(each, bool) or each not in RANGES:
            raise ValueError(f"bits={each!r:.40}: choose among {', '.join(map(repr, RANGES))}.")
    return {name: asked.get(name, 8) for name in names}


def largest_unit(weight: Tensor, bits: int | str, per_channel: bool = True) -> Tensor:
    """Return what 1 stands for in each filter, so that its largest weight is the largest integer.

    With 2 bits or "ternary", so that the weights' mean size is preserved (Li & Liu 2016).
    """
    size = weight.detach().double().flatten(1).abs()
    reach = size.amax(1) / RANGES[bits][1]
    if RANGES[bits][1] == 1:
        large = size > 0.7 * size.mean(1, keepdim=True)
        reach = (size * large).sum(1) / large.sum(1).clamp(min=1)
    reach = reach if per_channel else reach.max(0, keepdim=True).values
    return torch.where(reach > 0, reach, 1.0)


def in_integers(
    layers: list[Layer],
    bits: Mapping[str, int | str],
    units: Mapping[str, Tensor],
    scales: list[float],
    *,
    coarse: bool = False,
) -> Int8Network:
    """Write real layers in integers.

    Parameters
    ----------
    bits, units : of the weights, and what 1 stands for in each filter's, by layer
    scales : what 1 stands for in the image, and in what each layer hands on
    coarse : whether scales and biases take a byte each instead of four
    """
    found = []
    for place, layer in enumerate(layers):
        made = {**vars(layer), "bits": bits.get(layer.name, 8)}
        unit = torch.ones(1, dtype=torch.float64) / math.prod(layer.kernel)
        if layer.weight is not None:
            unit = units[layer.name]
            spread = unit.view(-1, *[1] * (layer.weight.dim() - 1))
            weight = (layer.weight.double() / spread).round().clamp(*RANGES[made["bits"]])
            bias = (layer.bias.double() / (unit * scales[place])).round()
            if coarse:  # a byte each, times a power of two
                step = 2.0 ** max(0, math.frexp(float(bias.abs().max()) / (TOP + 0.5))[1])
                bias = (bias / step).round() * step
            made |= {"weight": weight.to(torch.int8), "bias": bias.to(torch.int32)}
        if place < len(layers) - 1 and layer.kind != LARGEST:
            ratio = unit * scales[place] / scales[place + 1]
            made["multiplier"], made["shift"] = fixed_point(
                ratio, COARSE_BITS if coarse else MULTIPLIER_BITS
            )
        found.append(Int8Layer(**made))
    return Int8Network(tuple(found), scales[0], (unit * scales[-2]).float())


def activation_scales(layers: list[Layer], calibration: Split) -> list[float]:
    """Return what 1 stands for in the image and behind each layer, so that 127 is the largest."""
    largest = [0.0] * (len(layers) + 1)
    with torch.inference_mode():
        for values in calibration.images.split(BATCH):
            values = values.cpu().float()
            largest[0] = max(largest[0], float(values.abs().max()))
            for place, layer in enumerate(layers, 1):
                values = layer.real(values)
                largest[place] = max(largest[place], float(values.abs().max()))
    scales = [value / TOP if value > 0 else 1.0 for value in largest]
    for place, layer in enumerate(layers, 1):  # the largest of some integers is one of them
        scales[place] = scales[place - 1] if layer.kind == LARGEST else scales[place]
    return scales


def fixed_point(ratio: Tensor, bits: int = MULTIPLIER_BITS) -> tuple[Tensor, int]:
    """Write positive ratios as ``multiplier / 2**shift``, the largest multiplier with `bits` bits.

    Beyond what 62 bits hold, the closest that can be written.

    >>> fixed_point(torch.tensor([0.75, 0.5], dtype=torch.float64))
    (tensor([1610612736, 1073741824]), 31)
    """
    exponent = math.frexp(float(ratio.max()))[1]
    shift = min(max(bits - exponent, 1), LONGEST_SHIFT)
    multiplier = (ratio * 2.0**shift).round()
    return multiplier.clamp(max=2**bits - 1).long(), shift


def _round(values: Tensor) -> Tensor:
    return values.round().clamp(-TOP, TOP).to(torch.int8)
