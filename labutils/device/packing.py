"""How do a layer's weights lie in flash? With or without the zeros, in bytes, bits or a code."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labutils.base import given

FORMATS = ("dense", "csr", "gaps", "bitmask")
# Deep compression (Han et al. 2016): a Huffman code for the weights of a format, and its gaps.
CODED = {"huffman": "dense", "gaps huffman": "gaps"}
# For layers with at most n of m neighbours that are not zero.
N_OF_M = {f"{n}:{m}": (n, m) for m in range(2, 9) for n in range(1, m)}
KNOWN = (*FORMATS, *CODED, *N_OF_M)
STEP = 4  # rows are filled up with zeros to a multiple of it, for kernels that take four at a time
LONGEST_GAP = 255
BITS = 32
# What says where a weight belongs: its C type, and bytes each.
PLACES = {"csr": ("uint16_t", 2), "gaps": ("uint8_t", 1), "bitmask": ("uint32_t", 4)}
PLACES |= dict.fromkeys(N_OF_M, ("uint8_t", 1))
BEHIND = 3  # bytes behind the places of n of m, for a kernel that reads four at a time
HUFFMAN = "huffman"


@dataclass(frozen=True)
class Coded:
    """Integers as bytes.

    Attributes
    ----------
    code : 8, 4 or 2 bits each, the lowest first; "ternary", five of -1, 0 and 1 a byte; or
        "huffman"
    content : the bytes
    lengths, symbols : only of a Huffman code: how many codes there are of 1 bit, 2 bits and so on,
        and what they stand for, in order
    """

    code: int | str
    content: list[int]
    lengths: list[int]
    symbols: list[int]

    @property
    def size(self) -> int:
        """Bytes of flash."""
        return len(self.content) + len(self.lengths) + len(self.symbols)


@dataclass(frozen=True)
class Packed:
    """The rows of a layer, a row for each filter or neuron.

    Attributes
    ----------
    format : "dense"; "csr": each weight with its place in the row; "gaps": each with its distance
        from the one before, longer ones bridged by zeros; "bitmask": a bit for each place;
        "2:4", or others of `N_OF_M`: 2 weights of every 4 neighbours, zeros if there are fewer,
        and the place of each among them in 2 bits, or as many as count to 4
    rows, length : how many rows, and places in each, with the zeros at its end
    stored : places in each without them, if they are not stored
    values : the weights, row after row
    starts : where each row's values begin, and the end of the last; empty if dense or n of m
    places : as the format says; empty if dense
    coded, coded_places : the same in fewer bits or a Huffman code; None if they are as they are
    """

    format: str
    rows: int
    length: int
    stored: int
    values: list[float]
    starts: list[int]
    places: list[int]
    coded: Coded | None = None
    coded_places: Coded | None = None

    def size(self, value_bytes: int) -> int:
        """Return how many bytes it takes in flash; `value_bytes` for weights as they are."""
        start_bytes = 2 if not self.starts or self.starts[-1] < 2**16 else 4
        place_bytes = PLACES[self.format][1] if self.places else 0
        values = self.coded.size if self.coded else len(self.values) * value_bytes
        places = self.coded_places.size if self.coded_places else len(self.places) * place_bytes
        return values + len(self.starts) * start_bytes + places


def pack(
    rows: Tensor, format: str, name: str = "rows", code: int | str = 8, step: int = STEP
) -> Packed:
    """Pack the weights of a layer.

    Parameters
    ----------
    rows : weights, rows x length
    format : one of `FORMATS` or `CODED`, or of `N_OF_M` if no more neighbours are not zero
    name : of the layer, for the sentence that says they are
    code : 8, 4, 2 or "ternary": in how many bits its integers fit
    step : what the length of rows is a multiple of
    """
    code = HUFFMAN if given.choice(format, "format", KNOWN) in CODED else code
    format = CODED.get(format, format)
    n, m = N_OF_M.get(format, (0, step))
    stored = rows.shape[1]
    padded = F.pad(rows, (0, -stored % m))
    count, length = padded.shape
    starts, places = [], []
    if format in N_OF_M:
        values, places = _n_of_m(padded, n, m, name)
        stored = length // m * n
    elif format == "dense":
        stored = length if code == 8 else stored
        values = padded[:, :stored].flatten().tolist()
    elif format == "gaps":
        values, places, starts = _gaps(rows)
    else:
        values = rows[rows != 0].tolist()
        starts = [0, *(rows != 0).sum(1).cumsum(0).tolist()]
        places = rows.nonzero()[:, 1].tolist() if format == "csr" else _masks(rows != 0)
    coded = None if code == 8 else encode(values, code)
    coded_places = encode(places, code) if code == HUFFMAN and places else None
    return Packed(format, count, length, stored, values, starts, places, coded, coded_places)


def encode(values: Sequence[int], code: int | str) -> Coded:
    """Write integers in 4 or 2 bits each, five "ternary" ones a byte, or in a Huffman code."""
    if code == HUFFMAN:
        return _huffman(values)
    base, each = {4: (16, 2), 2: (4, 4), "ternary": (3, 5)}[code]
    digits = np.array([*values, *[0] * (-len(values) % each)], dtype=int)
    digits = digits + 1 if code == "ternary" else digits % base
    return Coded(code, (digits.reshape(-1, each) @ base ** np.arange(each)).tolist(), [], [])


def _huffman(values: Sequence[int]) -> Coded:
    """Give frequent numbers short codes, of as many bits as Huffman's tree is deep (1952)."""
    counts = Counter(values)
    depth = dict.fromkeys(counts, int(len(counts) == 1))
    heap = [(count, place, [value]) for place, (value, count) in enumerate(counts.items())]
    heapq.heapify(heap)
    while len(heap) > 1:
        (one, place, left), (two, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for value in left + right:
            depth[value] += 1
        heapq.heappush(heap, (one + two, place, left + right))
    symbols = sorted(counts, key=lambda value: (depth[value], value))
    lengths = [0] * max(depth.values(), default=1)
    codes, code, before = {}, 0, 0
    for value in symbols:  # codes of one length follow each other
        code <<= depth[value] - before
        codes[value], code, before = f"{code:0{depth[value]}b}", code + 1, depth[value]
        lengths[before - 1] += 1
    bits = np.array([*map(int, "".join(codes[value] for value in values))], dtype=np.uint8)
    content = np.packbits(bits, bitorder="little").tolist()
    return Coded(HUFFMAN, content, lengths, [symbol % 256 for symbol in symbols])


def _gaps(rows: Tensor) -> tuple[list, list[int], list[int]]:
    values, places, starts = [], [], [0]
    for row in rows:
        before = 0
        for place in row.nonzero().flatten().tolist():
            while place - before > LONGEST_GAP:
                values.append(0)
                places.append(LONGEST_GAP)
                before += LONGEST_GAP
            values.append(row[place].item())
            places.append(place - before)
            before = place
        starts.append(len(values))
    return values, places, starts


def _n_of_m(groups: Tensor, n: int, m: int, name: str) -> tuple[list, list[int]]:
    rows, groups = len(groups), groups.reshape(-1, m)
    if (most := int((groups != 0).sum(1).max())) > n:
        raise ValueError(
            f"Up to {most} of {m} neighbours in {name} are not zero, and {n}:{m} has room for {n}: "
            f"prune with prune_n_of_m(model, {n}, {m}), or choose another format for {name}."
        )
    # Those that are not zero first, then as many zeros as it takes.
    places = (groups == 0).byte().argsort(stable=True)[:, :n]
    bits = (places[:, :, None] >> torch.arange((m - 1).bit_length()) & 1).reshape(rows, -1)
    packed = np.packbits(bits.numpy(), axis=1, bitorder="little").flatten().tolist()
    return groups.gather(1, places).flatten().tolist(), packed + [0] * BEHIND


def _masks(set_places: Tensor) -> list[int]:
    """Return 32 places a word, the lowest bit first."""
    words = F.pad(set_places, (0, -set_places.shape[1] % BITS)).numpy()
    return np.packbits(words, axis=1, bitorder="little").view("<u4").flatten().tolist()
