"""The part of the firmware that is generated: weights.h, from a network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from labutils.base import given
from labutils.base.networks import SimpleCNN
from labutils.device.packing import FORMATS, N_OF_M, PLACES, Packed, pack
from labutils.device.quantization import LAYERS, Int8Network

SIDE = 7  # of the pictures that fc1 reads
SIMD_ORDER = [0, 2, 1, 3]  # of the weights of a convolution, four by four: see c/dense.h


@dataclass(frozen=True)
class Rows:
    """One layer as the C code sees it.

    Attributes
    ----------
    weight : rows x length, in the order in which the kernels walk over their inputs
    bias, multiplier, shift : one for each row; the last two only of int8
    """

    name: str
    weight: Tensor
    bias: Tensor
    multiplier: Tensor | None = None
    shift: Tensor | None = None

    @property
    def is_convolution(self) -> bool:
        """Whether four positions are computed together."""
        return self.name.startswith("conv")


def rows_of(network: SimpleCNN | Int8Network, formats: Mapping[str, str] = {}) -> list[Rows]:
    """Return the layers, their weights in the order of pixels that have their channels together.

    Layers in n of m keep the order in which PyTorch stores them: it says who neighbours are.
    """
    if isinstance(network, Int8Network):
        return [
            Rows(la.name, _walk(la.name, la.weight, formats), la.bias, la.multiplier, la.shift)
            for la in network.layers
        ]
    rows = []
    for name in LAYERS:
        layer = getattr(network, name)
        weight, bias = (tensor.detach().cpu().float() for tensor in (layer.weight, layer.bias))
        rows.append(Rows(name, _walk(name, weight, formats), bias))
    return rows


def check_network(network: object) -> SimpleCNN | Int8Network:
    """Refuse a network that cannot become firmware: another one, or one with NaN."""
    if type(network) not in (SimpleCNN, Int8Network):
        raise TypeError(
            f"A {type(network).__name__} cannot become firmware: give a SimpleCNN, or what "
            "quantize_int8 makes of one."
        )
    for name, tensor in network.state_dict().items():
        given.tensor(tensor, name)
    return network


def smallest_formats(network: SimpleCNN | Int8Network) -> dict[str, str]:
    """Return, for each layer behind conv1, the format that takes the fewest bytes of flash."""
    value_bytes = 1 if isinstance(network, Int8Network) else 4
    return {
        layer.name: min(FORMATS, key=lambda kind: pack(layer.weight, kind).size(value_bytes))
        for layer in rows_of(check_network(network))[1:]
    }


def weights_header(layers: Iterable[Rows], formats: Mapping[str, str], simd: bool) -> str:
    """Write weights.h: for each layer its sizes, its kernel and its arrays.

    Parameters
    ----------
    formats : from layer to how it is packed; dense where not named
    simd : whether the processor multiplies pairs, which dense int8 convolutions lie in order for
    """
    parts = ["/* Generated: one network's weights. */\n"]
    for layer in layers:
        packed = pack(layer.weight, formats.get(layer.name, "dense"), layer.name)
        parts += [_sizes(layer, packed), *_arrays(layer, packed, simd)]
    return "\n".join(parts)


def _walk(name: str, weight: Tensor, formats: Mapping[str, str]) -> Tensor:
    if formats.get(name) in N_OF_M:
        return weight.flatten(1)
    if weight.dim() == 4:
        return weight.permute(0, 2, 3, 1).flatten(1)
    if name == "fc1":  # behind flatten, whose channels come one after the other
        return weight.view(len(weight), -1, SIDE * SIDE).permute(0, 2, 1).flatten(1)
    return weight


def _sizes(layer: Rows, packed: Packed) -> str:
    name = layer.name.upper()
    kernel = "n_of_m" if packed.format in N_OF_M else packed.format
    return (
        f"#define {name}_ROWS {packed.rows}\n"
        f"#define {name}_LENGTH {packed.length}\n"
        f"#define {name}_SPARSE {int(packed.format != 'dense')}\n"
        f"#define {name}_ROW {kernel}_{4 if layer.is_convolution else 1}\n"
    )


def _arrays(layer: Rows, packed: Packed, simd: bool) -> list[str]:
    """Write a layer's arrays, then the structure that holds them together."""
    values = packed.values
    is_int8 = not layer.bias.is_floating_point()
    if simd and is_int8 and layer.is_convolution and packed.format == "dense":
        values = torch.tensor(values).view(-1, 4)[:, SIMD_ORDER].flatten().tolist()
    place_type = PLACES[packed.format][0] if packed.places else "uint8_t"
    fields = {
        "values": ("value_t", values),
        "starts": ("start_t", packed.starts),
        "places": (place_type, packed.places),
        "bias": ("sum_t", layer.bias.tolist()),
        "multiplier": ("int32_t", [] if layer.multiplier is None else layer.multiplier.tolist()),
        "shift": ("uint8_t", [] if layer.shift is None else layer.shift.tolist()),
    }
    arrays = [
        f"static const {kind} {layer.name}_{field}[] = {{{', '.join(map(_number, numbers))}}};\n"
        for field, (kind, numbers) in fields.items()
        if numbers
    ]
    names = [f"{layer.name}_{field}" if numbers else "0" for field, (_, numbers) in fields.items()]
    n_of_m = N_OF_M.get(packed.format, (0, 0))
    entries = ", ".join([*names, *map(str, (packed.rows, packed.length, *n_of_m))])
    return [*arrays, f"static const layer_t {layer.name}_layer = {{{entries}}};\n"]


def _number(value: float) -> str:
    return f"{value!r}f" if isinstance(value, float) else str(value)
