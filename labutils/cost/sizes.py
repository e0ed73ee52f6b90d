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
import os
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from labutils.base.writing import write_whole

MAGIC = b"EAI1"
Encoding = tuple[Callable[[np.ndarray], bytes], Callable[[bytes, int, np.dtype], np.ndarray]]


@dataclass(frozen=True)
class Sizes:
    """What `model_bytes` found, in bytes.

    Attributes
    ----------
    dense : the tensors as they lie in memory
    file : the ordinary file, as ``torch.save(model.state_dict())`` writes it
    compressed : a file without the zeros, really written and read back bit for bit
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
    ValueError
        The network has no tensors.
    RuntimeError
        The compressed file did not give back the same bits (it always should).
    """
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if not state:
        raise ValueError("The network has no parameters: there is nothing to store.")
    ordinary = io.BytesIO()
    torch.save({name: tensor.clone() for name, tensor in state.items()}, ordinary)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.eai"
        encoding = save_compressed(state, path)
        compressed, restored = path.stat().st_size, load_compressed(path)
    for name, tensor in state.items():
        if not np.array_equal(_bits(tensor), _bits(restored[name])):
            raise RuntimeError(f"{name} came back changed from the compressed file.")
    return Sizes(dense_bytes(model), ordinary.getbuffer().nbytes, compressed, encoding)


def save_compressed(state: dict[str, Tensor], path: str | os.PathLike) -> dict[str, str]:
    """Write tensors without their zeros, whole or not at all; return how each was stored."""
    header, body = {}, b""
    for name, tensor in state.items():
        bits = _bits(tensor)
        chosen, encoded = min(
            ((kind, encode(bits)) for kind, (encode, _) in ENCODINGS.items()),
            key=lambda candidate: len(candidate[1]),
        )
        kind = str(tensor.dtype).removeprefix("torch.")
        header[name] = [chosen, kind, list(tensor.shape), len(encoded)]
        body += encoded
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    content = MAGIC + struct.pack("<I", len(text)) + text + body
    write_whole(Path(path), lambda file: file.write(content))
    return {name: entry[0] for name, entry in header.items()}


def load_compressed(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read back what `save_compressed` wrote, bit for bit.

    Raises
    ------
    ValueError
        The file is truncated or not one of `save_compressed`.
    """
    content = Path(path).read_bytes()
    try:
        if content[:4] != MAGIC:
            raise ValueError("it does not begin as one")
        (length,) = struct.unpack_from("<I", content, 4)
        header = json.loads(zlib.decompress(content[8 : 8 + length]))
        position, state = 8 + length, {}
        for name, (chosen, kind, shape, size) in header.items():
            part = content[position : position + size]
            if len(part) < size:
                raise ValueError("it is cut short")
            state[name] = _tensor(part, chosen, getattr(torch, kind), shape)
            position += size
    except (ValueError, KeyError, AttributeError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is not a whole file of save_compressed: {error}.") from error
    return state


def dense_bytes(model: nn.Module) -> int:
    """Count the bytes of the tensors as they lie in memory, zeros and all."""
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


def sparse_bytes(model: nn.Module) -> int:
    """Count the bytes of each tensor as it is or by a quick encoding, whichever is shorter.

    `model_bytes` tries harder, slower.
    """
    quick = [ENCODINGS[kind][0] for kind in ("bitmask", "gaps")]
    total = 0
    for tensor in model.state_dict().values():
        bits = _bits(tensor)
        total += min(bits.nbytes, *(len(encode(bits)) for encode in quick))
    return total


def _bits(tensor: Tensor) -> np.ndarray:
    """Return the tensor's values as flat integers: bit patterns, so that -0.0 is not zero."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().view(_word(tensor.dtype))


def _tensor(content: bytes, encoding: str, dtype: torch.dtype, shape: list[int]) -> Tensor:
    """Turn encoded bytes into a tensor."""
    count = int(np.prod(shape))
    words = ENCODINGS[encoding][1](content, count, _word(dtype))
    if len(words) != count:
        raise ValueError("its parts do not have the sizes it states")
    return torch.from_numpy(words.copy().view(np.uint8)).view(dtype).reshape(shape)


def _word(dtype: torch.dtype) -> np.dtype:
    return np.dtype(f"<u{dtype.itemsize}")


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


def _encode_deflate(words: np.ndarray) -> bytes:
    return zlib.compress(words.tobytes(), 9)


def _decode_deflate(content: bytes, count: int, word: np.dtype) -> np.ndarray:
    return np.frombuffer(zlib.decompress(content), word)


ENCODINGS: dict[str, Encoding] = {
    "bitmask": (_encode_bitmask, _decode_bitmask),
    "gaps": (_encode_gaps, _decode_gaps),
    "deflate": (_encode_deflate, _decode_deflate),
}
