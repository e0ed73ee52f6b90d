"""How does a value leave a process that is not trusted, and come back as plain data?

Numbers, strings, tensors and networks become JSON; whatever else there is becomes its type's
name. Reading builds nothing but these, so an answer can be wrong but never do anything.
"""

import base64
import binascii
import json
import math
import zlib
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from labutils.base.digits import Digits, Split, load_mnist
from labutils.base.networks import NETWORKS
from labutils.base.structure import build, describe

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    )
}
LARGEST = 200_000_000  # bytes of all tensors together
LONGEST = 64  # bits of a whole number
DEEPEST = 8  # lists in lists
IMPOSSIBLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


@dataclass(frozen=True)
class Foreign:
    """Stands for a value of a kind that no exercise asks for; equal to nothing else."""

    kind: str


@dataclass(frozen=True)
class Misfit:
    """Stands for a network whose tensors are not of the shapes that its layers say.

    Attributes
    ----------
    kind : class of the network
    shapes : of its tensors, by name
    """

    kind: str
    shapes: dict[str, tuple[int, ...]]


class _Unusual(Exception):
    """Names a tensor or a network that cannot be packed."""


def pack(value: object, depth: int = 0) -> object:
    """Return a value as JSON can hold it, whatever it is.

    >>> pack({"amounts": [0.5, 1]})
    {'dict': [['amounts', {'list': [0.5, 1]}]]}
    >>> pack(range(3))
    {'foreign': 'range'}
    """
    try:
        return _pack(value, depth)
    except _Unusual as unusual:
        return {"foreign": str(unusual)}
    except Exception:  # a student's object may raise anything when it is looked at
        return {"foreign": type(value).__name__}


def unpack(packed: object) -> object:
    """Return the value again.

    Raises
    ------
    ValueError
        It was not made by `pack`, or is too large.
    """
    try:
        return _Reader().read(packed)
    except ValueError as error:
        reason = str(error).rstrip(".")
    except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError):
        reason = "its parts are not those of any kind"
    raise ValueError(f"This is no packed value: {reason}.")


def _pack(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Integral):
        return _pack_whole_number(int(value))
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Tensor):
        return {"tensor": _pack_tensor(value)}
    if isinstance(value, Split):
        return {"split": [_pack_tensor(value.images), _pack_tensor(value.labels)]}
    if isinstance(value, Digits):
        return {"digits": "MNIST"}
    if isinstance(value, nn.Module):
        return _pack_network(value)
    if isinstance(value, Misfit):
        return {"misfit": [value.kind, [[name, [*shape]] for name, shape in value.shapes.items()]]}
    if isinstance(value, Foreign):
        return {"foreign": value.kind}
    if depth < DEEPEST and isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [pack(part, depth + 1) for part in value]}
    if depth < DEEPEST and isinstance(value, dict):
        return {"dict": [[_pack_key(k), pack(v, depth + 1)] for k, v in value.items()]}
    return {"foreign": type(value).__name__}


def _pack_whole_number(number: int) -> int:
    if number.bit_length() > LONGEST:
        raise _Unusual(f"int beyond {LONGEST} bits")
    return number


def _pack_key(key: object) -> object:
    simple = key is None or isinstance(key, (str, Real, Foreign))
    return pack(key if simple else Foreign(type(key).__name__))


def _pack_network(network: nn.Module) -> dict:
    try:
        structure = json.loads(json.dumps(describe(network)))
    except IMPOSSIBLE:
        known = type(network) in (*NETWORKS.values(), nn.Sequential)
        other = " with layers of unknown kinds" if known else ""
        raise _Unusual(type(network).__name__ + other) from None
    state = [[name, _pack_tensor(tensor)] for name, tensor in network.state_dict().items()]
    return {"network": [structure, state]}


def _pack_tensor(tensor: Tensor) -> list:
    # A subclass of Tensor may answer for itself; its memory cannot.
    with torch._C.DisableTorchFunctionSubclass():
        plain = Tensor.detach(tensor)
        name, size = str(plain.dtype).removeprefix("torch."), plain.numel() * plain.element_size()
        if plain.layout != torch.strided:
            raise _Unusual(f"{plain.layout} Tensor".removeprefix("torch."))
        if plain.is_meta or name not in DTYPES:
            raise _Unusual(f"{name} Tensor on {plain.device}")
        if size > LARGEST:
            raise _Unusual(f"Tensor of {size:,} bytes")
        plain = plain.cpu().contiguous()
        content = bytes(plain.reshape(-1).view(torch.uint8).numpy()) if size else b""
    return [name, list(plain.shape), base64.b64encode(zlib.compress(content, 1)).decode()]


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
                raise ValueError(f"a whole number has more than {LONGEST} bits")
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
        kind = _word(structure["architecture"])[:60]
        tensors = {_word(name): self._tensor(tensor) for name, tensor in state}
        try:
            network = build(structure)
            network.load_state_dict(tensors, assign=True)
        except IMPOSSIBLE:
            return Misfit(kind, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return network


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
