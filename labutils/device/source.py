"""The part of the firmware that is generated: weights.h, from a network."""

import functools
import itertools
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from labutils.device.chain import AVERAGE, Layer, chain
from labutils.device.packing import CODED, FORMATS, HUFFMAN, N_OF_M, PLACES, Packed, pack
from labutils.device.quantization import TOP, Int8Layer, Int8Network

CODES = {8: 0, 4: "BITS_4", 2: "BITS_2", "ternary": "TERNARY", HUFFMAN: "HUFFMAN"}
SIMD_ORDER = [0, 2, 1, 3]  # of the weights of a convolution, four by four: see c/dense.h
INTEGERS = {"int8_t": 2**7, "int16_t": 2**15}
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Source:
    """One layer as the C code sees it.

    Attributes
    ----------
    layer : a real one, or an `Int8Layer`
    format : how its weights are packed, one of `packing.KNOWN`
    name : of its function in C
    simd : whether the processor multiplies pairs
    """

    layer: Layer
    format: str
    name: str = ""
    simd: bool = False

    @property
    def is_int8(self) -> bool:
        """Whether it computes with integers."""
        return isinstance(self.layer, Int8Layer)

    @property
    def is_depthwise(self) -> bool:
        """Whether each filter sees one channel, and no weight is left out."""
        groups, channels = self.layer.groups, self.layer.shape[0]
        alike = self.layer.weight is not None and groups == channels == len(self.layer.weight)
        alike = alike and channels > 1 and not self.layer.pooled
        return alike and self.format in ("dense", HUFFMAN)

    @property
    def is_connected(self) -> bool:
        """Whether each neuron sees everything there is."""
        layer = self.layer
        return layer.kernel == layer.shape[1:] and layer.padding == (0, 0) and layer.groups == 1

    @property
    def is_swapped(self) -> bool:
        """Whether its weights go in the order of pairs."""
        dense = self.format in ("dense", HUFFMAN) and self.is_int8 and self.simd
        return dense and not self.is_connected and not self.is_depthwise

    @property
    def is_scaled(self) -> bool:
        """Whether its sums are scaled before they are handed on."""
        return self.is_int8 and self.layer.multiplier is not None

    @property
    def bias_shift(self) -> int:
        """How many bits of every bias are zero, and need not be stored."""
        if not self.is_int8:
            return 0
        bits = functools.reduce(operator.or_, self.layer.bias.tolist())
        return (bits & -bits).bit_length() - 1 if bits else 0

    @functools.cached_property
    def packed(self) -> Packed | None:
        """Its weights, in the order of pixels that have their channels together.

        Those of n of m keep the order in which PyTorch stores them: it says who neighbours are.
        """
        if self.layer.weight is None:
            return None
        filters = self.layer.filters
        filters = filters if self.format in N_OF_M else filters.permute(0, 2, 3, 1)
        code = self.layer.bits if self.is_int8 else 8
        step = 1 if self.is_depthwise else 4
        return pack(filters.flatten(1), self.format, self.layer.name, code, step)


def check_network(network: Network) -> Network:
    """Refuse a network that cannot become firmware: one that is no chain, or has NaN."""
    if not isinstance(network, Int8Network):
        chain(network)
    return network


def sources(
    network: nn.Module, formats: Mapping[str, str] = {}, simd: bool = False
) -> list[Source]:
    """Return the layers as the C code sees them; dense where no format is named."""
    layers = network.layers if isinstance(network, Int8Network) else chain(network)
    return [
        Source(
            layer,
            formats.get(layer.name, "dense"),
            f"layer{place}_{re.sub(r'[^A-Za-z0-9]', '_', layer.name)}",
            simd,
        )
        for place, layer in enumerate(layers)
    ]


def smallest_formats(network: nn.Module) -> dict[str, str]:
    """Return, for each layer with weights, the format that takes the fewest bytes of flash."""
    is_int8 = isinstance(check_network(network), Int8Network)
    kinds, value_bytes = ((*FORMATS, *CODED), 1) if is_int8 else (FORMATS, 4)
    return {
        source.layer.name: min(
            kinds, key=lambda kind: replace(source, format=kind).packed.size(value_bytes)
        )
        for source in sources(network)
        if source.layer.weight is not None
    }


def weights_header(layers: list[Source]) -> str:
    """Write weights.h: what lies in RAM, the numbers, and a function for each layer."""
    functions, there = [], "image"
    for place, source in enumerate(layers):
        here = "logits" if source is layers[-1] else ("front", "back")[place % 2]
        functions.append(f"LAYER {source.name}(void) {{\n    {_call(source, there, here)};\n}}\n")
        there = here
    image, classes = math.prod(layers[0].layer.shape), layers[-1].layer.output[0]
    return "\n".join(
        [
            "/* Generated: one network's weights and layers. */\n",
            f"value_t image[FOURS({image})]; /* the caller writes it */",
            f"sum_t logits[{classes}]; /* the caller reads it */",
            # What is behind the last value stays zero: kernels take four at a time.
            *(f"static value_t {name}[FOURS({size})];" for name, size in _room(layers).items()),
            f"static column_t columns[{max(1, *(_columns(source) for source in layers))}];\n",
            *(_structure(source, source is layers[-1]) for source in layers),
            *functions,
            f"static void (*const layers[])(void) = {{{', '.join(la.name for la in layers)}}};\n",
        ]
    )


def _room(layers: list[Source]) -> dict[str, int]:
    """Return how many values each variable has to hold."""
    handed_on = [math.prod(source.layer.output) for source in layers[:-1]]
    by_channel = [s for s in layers if s.format in N_OF_M and s.is_connected]
    return {
        "front": max([1, *handed_on[::2]]),
        "back": max([1, *handed_on[1::2]]),
        "unpacked": max([1, *map(_unpacked, layers)]),
        "arranged": max([1, *(math.prod(source.layer.shape) for source in by_channel)]),
    }


def _columns(source: Source) -> int:
    """Return how many values a convolution lays out: what four positions see."""
    moves = source.packed and not source.is_depthwise and not source.is_connected
    return 4 * source.packed.length if moves else 1


def _unpacked(source: Source) -> int:
    """Return how many bytes a layer needs to write out its weights: one row, or all of them."""
    packed = source.packed
    if not packed or not packed.coded:
        return 1
    each = packed.stored if packed.format in N_OF_M else packed.length
    ends = packed.starts or [each * row for row in range(packed.rows + 1)]
    longest = max(after - before for before, after in itertools.pairwise(ends))
    return (longest if source.is_connected else ends[-1]) * (2 if packed.coded_places else 1)


def _call(source: Source, there: str, here: str) -> str:
    """Write the call of a layer's kernel."""
    layer, this = source.layer, f"&{source.name}_layer"
    if layer.weight is None:
        return f"pool({this}, {int(layer.kind == AVERAGE)}, {there}, {here})"
    if source.is_depthwise:
        return f"depthwise({this}, {there}, {here}, unpacked)"
    kind = CODED.get(source.format, source.format)
    kernel = "n_of_m" if kind in N_OF_M else kind
    if source.is_connected:
        there = f"by_channel({this}, {there}, arranged)" if kernel == "n_of_m" else there
        return f"connect({this}, {kernel}_1, {there}, {here}, unpacked)"
    sparse = int(kind != "dense")
    return f"convolve({this}, {kernel}_4, {sparse}, {there}, {here}, columns, unpacked)"


def _structure(source: Source, last: bool) -> str:
    """Write a layer's arrays, then the structure that holds them together."""
    arrays, fields = [], _geometry(source.layer) | _layout(source) | {"last": int(last)}
    for field, (kind, values) in _numbers(source).items():
        # Used: the shift, too, which the compiler may know by heart, is a number to be stored.
        text = ", ".join(
            f"{value!r}f" if isinstance(value, float) else str(value) for value in values
        )
        name = f"{source.name}_{field}"
        arrays.append(f"__attribute__((used)) static const {kind} {name}[] = {{{text}}};\n")
        fields[field] = name
        if field in ("bias", "multiplier"):
            fields[f"{field}_bytes"] = {"int8_t": 1, "uint8_t": 1, "int16_t": 2}.get(kind, 4)
    entries = "".join(f"    .{field} = {value},\n" for field, value in fields.items())
    return "\n".join([*arrays, f"static const layer_t {source.name}_layer = {{\n{entries}}};\n"])


def _numbers(source: Source) -> dict[str, tuple[str, list]]:
    """Return the C types and the numbers of a layer's arrays; no array where there are none."""
    layer, packed, found = source.layer, source.packed, {}
    if packed:
        values = packed.values
        if source.is_swapped and not packed.coded:
            values = torch.tensor(values).view(-1, 4)[:, SIMD_ORDER].flatten().tolist()
        place_type = PLACES.get(packed.format, ("uint8_t", 0))[0]
        found |= {"values": ("value_t", values), "places": (place_type, packed.places)}
        found["starts"] = ("start_t", packed.starts)
        for field, coded in (("value", packed.coded), ("place", packed.coded_places)):
            if coded:
                found[f"{field}s"] = ("uint8_t", coded.content)
                found[f"{field}_lengths"] = ("uint8_t", coded.lengths)
                found[f"{field}_symbols"] = ("uint8_t", coded.symbols)
        bias = [
            value >> source.bias_shift if source.is_int8 else value for value in layer.bias.tolist()
        ]
        found["bias"] = (_smallest(bias) if source.is_int8 else "float", bias if any(bias) else [])
    if source.is_scaled:
        small = int(layer.multiplier.max()) < 256
        found["multiplier"] = ("uint8_t" if small else "int32_t", layer.multiplier.tolist())
        found["shift"] = ("uint8_t", [layer.shift])
    return {field: (kind, numbers) for field, (kind, numbers) in found.items() if numbers}


def _layout(source: Source) -> dict[str, object]:
    """Return what the C code has to know of how a layer's numbers are written."""
    packed, fields = source.packed, {}
    if source.is_scaled:
        fields = {"multipliers": len(source.layer.multiplier), "narrow": _is_narrow(source.layer)}
    if packed:
        n, m = N_OF_M.get(packed.format, (0, 0))
        row_bytes = 4 * -(-packed.length // 32) if packed.format == "bitmask" else 0
        if packed.format in N_OF_M:
            row_bytes = -(-packed.stored * (m - 1).bit_length() // 8)
        fields |= {"rows": packed.rows, "length": packed.length, "stored": packed.stored}
        fields |= {"code": CODES[packed.coded.code if packed.coded else 8], "n": n, "m": m}
        place_bytes = PLACES[packed.format][1] if packed.starts and not row_bytes else 0
        fields |= {"place_bytes": place_bytes, "row_bytes": row_bytes}
        fields |= {"swapped": source.is_swapped, "bias_shift": source.bias_shift}
    return {field: int(v) if isinstance(v, bool) else v for field, v in fields.items()}


def _geometry(layer: Layer) -> dict[str, object]:
    channels, high, wide = layer.shape
    pooled = 2 if layer.pooled else 1  # an odd last row or column is not computed
    down, across = (side * pooled for side in layer.output[1:])
    pairs = {name: getattr(layer, name) for name in ("kernel", "stride", "padding")}
    return {
        **{"channels": channels, "high": high, "wide": wide, "rows": channels},
        **{"down": down, "across": across, "groups": layer.groups},
        **{name: f"{{{pair[0]}, {pair[1]}}}" for name, pair in pairs.items()},
        **{"relu": int(layer.relu), "pooled": int(layer.pooled)},
    }


def _is_narrow(layer: Int8Layer) -> bool:
    """Whether every sum fits 32 bits once it is multiplied by its scale."""
    reach = torch.tensor(math.prod(layer.kernel) * TOP)
    if layer.weight is not None:
        reach = layer.weight.flatten(1).long().abs().sum(1) * TOP + layer.bias.long().abs()
    return int((reach * layer.multiplier).max()) + 2 ** (layer.shift - 1) < 2**31


def _smallest(numbers: list[int]) -> str:
    """Return the smallest type that holds them all."""
    largest = max(map(abs, numbers), default=0)
    return next((kind for kind, limit in INTEGERS.items() if largest < limit), "int32_t")
