"""How does a value leave a process that is not trusted, and come back as plain data?

Numbers, strings, tensors and networks become JSON; of whatever else there is, only its type's
name travels. Reading builds nothing but these, so an answer can be wrong but never do anything.
"""

import base64
import binascii
import math
import zlib

import torch
from torch import Tensor, nn

from labutils.base.digits import Digits, Split, load_mnist
from labutils.checks.design import packed, packed_tensor
from labutils.checks.plain import DEEPEST, DTYPES, LARGEST, LONGEST, Foreign, Misfit, assemble


def pack(value: object) -> object:
    """Return plain data, or inputs of a check, as JSON can hold them.

    >>> pack({"amounts": [0.5, 1]})
    {'dict': [['amounts', {'list': [0.5, 1]}]]}
    """
    if isinstance(value, Tensor):
        return {"tensor": packed_tensor(value)}
    if isinstance(value, nn.Module):
        return packed(value)
    if isinstance(value, Split):
        return {"split": [packed_tensor(value.images), packed_tensor(value.labels)]}
    if isinstance(value, Digits):
        return {"digits": "MNIST"}
    if isinstance(value, Misfit):
        return {"misfit": [value.kind, [[name, [*shape]] for name, shape in value.shapes.items()]]}
    if isinstance(value, Foreign):
        return {"foreign": value.kind}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [pack(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(part)] for key, part in value.items()]}
    return value


def unpack(packed: object) -> object:
    """Return the value again; ValueError if `pack` did not make it, or it is too large."""
    try:
        return _Reader().read(packed)
    except ValueError as error:
        reason = str(error).rstrip(".")
    except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError):
        reason = "its parts are not those of any kind"
    raise ValueError(f"This is no packed value: {reason}.")


class _Reader:
    """Builds values from packed ones, with tensors of at most `LARGEST` bytes together."""

    def __init__(self) -> None:
        self._left = LARGEST
        self._kinds = {
            "tensor": self._tensor,
            "network": self._network,
            "split": lambda pair: Split(*(self._tensor(tensor) for tensor in pair)),
            "digits": lambda _name: load_mnist(),
            "misfit": _misfit,
            "foreign": lambda kind: Foreign(_word(kind)[:60]),
        }

    def read(self, packed: object, depth: int = 0) -> object:
        """Return the value, in lists and dictionaries as they lie in each other."""
        if packed is None or isinstance(packed, (bool, str, float)):
            return packed
        if isinstance(packed, int):
            if packed.bit_length() > LONGEST:
                raise ValueError(f"an integer has more than {LONGEST} bits")
            return packed
        if not isinstance(packed, dict) or len(packed) != 1:
            raise ValueError(f"a {type(packed).__name__} does not name one kind")
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        ((kind, content),) = packed.items()
        if kind in ("list", "tuple"):
            parts = [self.read(part, depth + 1) for part in content]
            return parts if kind == "list" else tuple(parts)
        if kind == "dict":
            return {self._key(k): self.read(v, depth + 1) for k, v in content}
        if kind not in self._kinds:
            raise ValueError(f"there is no kind {kind!r}"[:80])
        return self._kinds[kind](content)

    def _key(self, packed: object) -> object:
        if isinstance(packed, dict) and "foreign" not in packed:
            raise ValueError("the key of a dict is neither a word nor a number")
        return self.read(packed)

    def _tensor(self, packed: list) -> Tensor:
        name, shape, text = packed
        if name not in DTYPES:
            raise ValueError(f"there is no dtype {name!r}"[:80])
        size = math.prod(_shape(shape)) * DTYPES[name].itemsize
        if size > self._left:
            raise ValueError(f"its tensors take more than {LARGEST:,} bytes")
        self._left -= size
        try:
            compressed = base64.b64decode(text, validate=True)
            content = zlib.decompressobj().decompress(compressed, size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"a tensor cannot be read: {error}") from None
        if len(content) != size:
            raise ValueError(f"a tensor of {size:,} bytes came with more or fewer")
        if not size:
            return torch.empty(shape, dtype=DTYPES[name])
        flat = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return flat.view(DTYPES[name]).view(shape)

    def _network(self, packed: list) -> nn.Module | Misfit:
        structure, state = packed
        _word(structure["architecture"])
        return assemble(structure, {_word(name): self._tensor(tensor) for name, tensor in state})


def _misfit(packed: list) -> Misfit:
    kind, shapes = packed
    return Misfit(_word(kind)[:60], {_word(name): tuple(_shape(shape)) for name, shape in shapes})


def _shape(shape: list) -> list:
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("a tensor has an impossible shape")
    return shape


def _word(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError(f"a {type(text).__name__} is no name")
    return text
