"""How do a layer's weights lie in flash? Dense, or without the zeros in one of three ways."""

from dataclasses import dataclass

import numpy as np
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
        starts, places = len(self.starts) * start_bytes, len(self.places) * place_bytes
        return len(self.values) * value_bytes + starts + places


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
