"""How do a layer's weights lie in flash? Dense, or without the zeros in one of four ways."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labutils.base import given

FORMATS = ("dense", "csr", "gaps", "bitmask")
# For layers with at most n of m neighbours that are not zero.
N_OF_M = {f"{n}:{m}": (n, m) for m in range(2, 9) for n in range(1, m)}
STEP = 4  # rows are filled up with zeros to a multiple of it, for kernels that take four at a time
LONGEST_GAP = 255
BITS = 32
# What says where a weight belongs: its C type, and bytes each.
PLACES = {"csr": ("uint16_t", 2), "gaps": ("uint8_t", 1), "bitmask": ("uint32_t", 4)}
PLACES |= dict.fromkeys(N_OF_M, ("uint8_t", 1))
BEHIND = 3  # bytes behind the places of n of m, for a kernel that reads four at a time


@dataclass(frozen=True)
class Packed:
    """The rows of a layer, a row for each filter or neuron.

    Attributes
    ----------
    format : "dense"; "csr": each weight with its place in the row; "gaps": each with its distance
        from the one before, longer ones bridged by zeros; "bitmask": a bit for each place;
        "2:4", or others of `N_OF_M`: 2 weights of every 4 neighbours, zeros if there are fewer,
        and the place of each among them in 2 bits, or as many as count to 4
    rows, length : how many rows, and places in each
    values : the weights, row after row
    starts : where each row's values begin, and the end of the last; empty if dense or n of m
    places : as the format says; empty if dense
    """

    format: str
    rows: int
    length: int
    values: list[float]
    starts: list[int]
    places: list[int]

    def size(self, value_bytes: int) -> int:
        """Return how many bytes it takes in flash."""
        start_bytes = 2 if not self.starts or self.starts[-1] < 2**16 else 4
        place_bytes = PLACES[self.format][1] if self.places else 0
        starts, places = len(self.starts) * start_bytes, len(self.places) * place_bytes
        return len(self.values) * value_bytes + starts + places


def pack(rows: Tensor, format: str, name: str = "rows") -> Packed:
    """Pack the weights of a layer.

    Parameters
    ----------
    rows : weights, rows x length
    format : one of `FORMATS`, or of `N_OF_M` if no more of the neighbours are not zero
    name : of the layer, for the sentence that says they are
    """
    given.choice(format, "format", (*FORMATS, *N_OF_M))
    n, m = N_OF_M.get(format, (0, STEP))
    count, length = rows.shape
    rows = F.pad(rows, (0, -length % m))
    length = rows.shape[1]
    if format in N_OF_M:
        return Packed(format, count, length, *_n_of_m(rows, n, m, name))
    if format == "dense":
        return Packed(format, count, length, rows.flatten().tolist(), [], [])
    if format == "gaps":
        values, places, starts = _gaps(rows)
    else:
        values = rows[rows != 0].tolist()
        starts = [0, *(rows != 0).sum(1).cumsum(0).tolist()]
        places = rows.nonzero()[:, 1].tolist() if format == "csr" else _masks(rows != 0)
    return Packed(format, count, length, values, starts, places)


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


def _n_of_m(rows: Tensor, n: int, m: int, name: str) -> tuple[list, list[int], list[int]]:
    groups = rows.reshape(-1, m)
    if (most := int((groups != 0).sum(1).max())) > n:
        raise ValueError(
            f"Up to {most} of {m} neighbours in {name} are not zero, and {n}:{m} has room for {n}: "
            f"prune with prune_n_of_m(model, {n}, {m}), or choose another format for {name}."
        )
    # Those that are not zero first, then as many zeros as it takes.
    places = (groups == 0).byte().argsort(stable=True)[:, :n]
    bits = (places[:, :, None] >> torch.arange((m - 1).bit_length()) & 1).reshape(len(rows), -1)
    packed = np.packbits(bits.numpy(), axis=1, bitorder="little").flatten().tolist()
    return groups.gather(1, places).flatten().tolist(), [], packed + [0] * BEHIND


def _masks(set_places: Tensor) -> list[int]:
    """Return 32 places a word, the lowest bit first."""
    words = F.pad(set_places, (0, -set_places.shape[1] % BITS)).numpy()
    return np.packbits(words, axis=1, bitorder="little").view("<u4").flatten().tolist()
