"""How many bytes does a network take: in memory, in a file, and in a file without its zeros?

A file without zeros must say where the other weights are, and that costs bytes too. Three
ways are tried on each tensor, and the shortest is kept:

- ``bitmask``: one bit for each weight, then the values that are not zero;
- ``gaps``: for each such value, in a byte, how many zeros come before it (255 stands for 255
  zeros and no value), as in Han et al. 2016;
- ``deflate``: all bytes, zeros included, through zlib, as in a zip file.
"""

import io
import json
import struct
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from labutils.base import given

BEGINNING = struct.Struct("<4sI")  # of the file: what it is, and how long its list of tensors


@dataclass(frozen=True)
class Sizes:
    """What `model_bytes` found, in bytes.

    Attributes
    ----------
    dense : the tensors as they lie in memory
    file : the ordinary file, as ``torch.save(model.state_dict())`` writes it
    compressed : a file without the zeros, really packed and unpacked again bit for bit
    encoding : how that file stores each tensor
    """

    dense: int
    file: int
    compressed: int
    encoding: dict[str, str]

    @property
    def best(self) -> str:
        """The encoding that stores most tensors' weights in that file."""
        weights = [kind for name, kind in self.encoding.items() if name.endswith("weight")]
        return Counter(weights or self.encoding.values()).most_common(1)[0][0]


def model_bytes(model: nn.Module) -> Sizes:
    """Measure a network's size by writing it; nothing is estimated.

    Raises
    ------
    TypeError, ValueError
        It is no network, or has no tensors.
    RuntimeError
        The compressed file did not give back the same bits (it always should).
    """
    state = {name: tensor.detach().cpu() for name, tensor in _tensors(model).items()}
    ordinary = io.BytesIO()
    torch.save({name: tensor.clone() for name, tensor in state.items()}, ordinary)
    content, encoding = _pack(state)
    restored = _unpack(content)
    for name, tensor in state.items():
        back = restored[name]
        same = (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        if not same or not np.array_equal(_words(back), _words(tensor)):
            raise RuntimeError(f"{name} came back changed from the compressed file.")
    return Sizes(dense_bytes(model), ordinary.getbuffer().nbytes, len(content), encoding)


def dense_bytes(model: nn.Module) -> int:
    """Count the bytes of the tensors as they lie in memory, zeros and all."""
    return sum(tensor.nbytes for tensor in _tensors(model).values())


def sparse_bytes(model: nn.Module) -> int:
    """Count the bytes of each tensor as it is or by a quick encoding, whichever is shorter.

    `model_bytes` tries harder, slower.
    """
    total = 0
    for tensor in _tensors(model).values():
        words = _words(tensor)
        total += min(words.nbytes, len(_encode_bitmask(words)), len(_encode_gaps(words)))
    return total


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    if not isinstance(model, nn.Module) or not model.state_dict():
        given.network(model)  # says what is wrong
    return model.state_dict()


def _pack(state: dict[str, Tensor]) -> tuple[bytes, dict[str, str]]:
    """Write tensors without their zeros, behind a list of them; say how each was stored."""
    listed, body = {}, b""
    for name, tensor in state.items():
        words = _words(tensor)
        encoded = {kind: encode(words) for kind, (encode, _) in ENCODINGS.items()}
        shortest = min(encoded, key=lambda kind: len(encoded[kind]))
        dtype = str(tensor.dtype).removeprefix("torch.")
        listed[name] = [shortest, dtype, list(tensor.shape), len(encoded[shortest])]
        body += encoded[shortest]
    text = zlib.compress(json.dumps(listed, separators=(",", ":")).encode(), 9)
    encoding = {name: entry[0] for name, entry in listed.items()}
    return BEGINNING.pack(b"EAI1", len(text)) + text + body, encoding


def _unpack(content: bytes) -> dict[str, Tensor]:
    """Read back what `_pack` wrote."""
    _, length = BEGINNING.unpack_from(content)
    file = io.BytesIO(content[BEGINNING.size :])
    state = {}
    for name, (kind, dtype, shape, size) in json.loads(zlib.decompress(file.read(length))).items():
        like = torch.empty(shape, dtype=getattr(torch, dtype))
        words = ENCODINGS[kind][1](file.read(size), like.numel(), _words(like).dtype)
        state[name] = torch.from_numpy(words.copy().view(np.uint8)).view(like.dtype).view(shape)
    return state


def _words(tensor: Tensor) -> np.ndarray:
    """Return the values as flat integers: bit patterns, so that -0.0 is not zero."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().view(f"<u{tensor.itemsize}")


def _encode_bitmask(words: np.ndarray) -> bytes:
    kept = words != 0
    return np.packbits(kept).tobytes() + words[kept].tobytes()


def _decode_bitmask(content: bytes, count: int, word: np.dtype) -> np.ndarray:
    length = -(-count // 8)
    kept = np.unpackbits(np.frombuffer(content[:length], np.uint8), count=count).astype(bool)
    words = np.zeros(count, word)
    words[kept] = np.frombuffer(content[length:], word)
    return words


def _encode_gaps(words: np.ndarray) -> bytes:
    (positions,) = words.nonzero()
    zeros_before = np.diff(positions, prepend=-1) - 1
    skips, rest = np.divmod(zeros_before, 255)
    last = np.cumsum(skips + 1) - 1  # where each value's own byte stands, behind its skips
    steps = np.full(last[-1] + 1 if len(last) else 0, 255, np.uint8)
    steps[last] = rest
    return struct.pack("<I", len(steps)) + steps.tobytes() + words[positions].tobytes()


def _decode_gaps(content: bytes, count: int, word: np.dtype) -> np.ndarray:
    (length,) = struct.unpack_from("<I", content)
    steps = np.frombuffer(content[4 : 4 + length], np.uint8)
    ends = np.cumsum(np.where(steps == 255, 255, steps.astype(np.int64) + 1))
    words = np.zeros(count, word)
    words[ends[steps != 255] - 1] = np.frombuffer(content[4 + length :], word)
    return words


ENCODINGS = {
    "bitmask": (_encode_bitmask, _decode_bitmask),
    "gaps": (_encode_gaps, _decode_gaps),
    "deflate": (
        lambda words: zlib.compress(words.tobytes(), 9),
        lambda content, count, word: np.frombuffer(zlib.decompress(content), word),
    ),
}
