"""How do a layer's weights lie in flash? Dense, or without the zeros in one of three ways."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from labutils.base import given

FORMATS = ("dense", "csr", "gaps", "bitmask")
STEP = 4  # rows are filled up with zeros to a multiple of it, for kernels that take four at a time
LONGEST_GAP = 255
BITS = 32
# What says where a weight belongs: its C type, and bytes each.
PLACES = {"csr": ("uint16_t", 2), "gaps": ("uint8_t", 1), "bitmask": ("uint32_t", 4)}


@dataclass(frozen=True)
class Packed:
    """The rows of a layer, a row for each filter or neuron.

    Attributes
    ----------
    format : "dense"; "csr": each weight with its place in the row; "gaps": each with its distance
        from the one before, longer ones bridged by zeros; "bitmask": a bit for each place
    rows, length : how many rows, and places in each
    values : the weights, row after row
    starts : where each row's values begin, and the end of the last; empty if dense
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
        return (
            len(self.values) * value_bytes
            + len(self.starts) * start_bytes
            + len(self.places) * place_bytes
        )


def pack(rows: Tensor, format: str) -> Packed:
    """Pack the weights of a layer.

    Parameters
    ----------
    rows : weights, rows x length
    format : one of `FORMATS`
    """
    given.choice(format, "format", FORMATS)
    count, length = rows.shape
    rows = F.pad(rows, (0, -length % STEP))
    length = rows.shape[1]
    if format == "dense":
        return Packed(format, count, length, rows.flatten().tolist(), [], [])
    if format == "gaps":
        values, places, starts = _gaps(rows)
    else:
        values = rows[rows != 0].tolist()
        starts = [0, *(rows != 0).sum(1).cumsum(0).tolist()]
        places = rows.nonzero()[:, 1].tolist() if format == "csr" else _masks(rows != 0)
    return Packed(format, count, length, values, starts, places)


def unpack(packed: Packed) -> Tensor:
    """Return the rows again, rows x length."""
    if packed.format == "dense":
        return torch.tensor(packed.values).view(packed.rows, packed.length)
    rows = torch.zeros(packed.rows, packed.length, dtype=torch.tensor(packed.values).dtype)
    words = -(-packed.length // BITS)
    for row in range(packed.rows):
        start, end = packed.starts[row : row + 2]
        if packed.format == "csr":
            places = packed.places[start:end]
        elif packed.format == "gaps":
            places = np.cumsum(packed.places[start:end]).tolist()
        else:
            masks = packed.places[row * words : (row + 1) * words]
            places = [i for i in range(packed.length) if masks[i // BITS] >> i % BITS & 1]
        for place, value in zip(places, packed.values[start:end], strict=True):
            rows[row, place] += value  # a bridge adds its zero to whatever is there
    return rows


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


def _masks(set_places: Tensor) -> list[int]:
    """Return 32 places a word, the lowest bit first."""
    words = F.pad(set_places, (0, -set_places.shape[1] % BITS)).numpy()
    return np.packbits(words, axis=1, bitorder="little").view("<u4").flatten().tolist()
