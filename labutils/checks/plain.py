"""What a student's function gave, as plain data: a judge meets nothing that answers for itself."""

import json
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from labutils.base.networks import NETWORKS
from labutils.base.structure import build, describe

_DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64"
DTYPES = {name: getattr(torch, name) for name in _DTYPES.split()}
LARGEST = 200_000_000  # bytes of a tensor
LONGEST = 64  # bits of an integer
DEEPEST = 8  # lists in lists


@dataclass(frozen=True)
class Foreign:
    """Stands for a value of a kind that no exercise asks for; equal to nothing else."""

    kind: str


@dataclass(frozen=True)
class Misfit:
    """Stands for a network whose tensors, with these shapes, are not those of its layers."""

    kind: str
    shapes: dict[str, tuple[int, ...]]


class _Unusual(Exception):
    """Names a kind of value more closely than its type does."""


def plain(value: object, depth: int = 0) -> object:
    """Return a value as numbers, strings, tensors and networks, in lists and dicts.

    >>> plain({"amounts": [0.5, range(3)]})
    {'amounts': [0.5, Foreign(kind='range')]}
    """
    try:
        return _plain(value, depth)
    except _Unusual as unusual:
        return Foreign(str(unusual))
    except Exception:  # a student's object may raise anything when it is looked at
        return Foreign(type(value).__name__)


def assemble(structure: dict, state: dict[str, Tensor]) -> nn.Module | Misfit:
    """Return the network that `describe` described, its weights being these tensors."""
    try:
        network = build(structure)
        network.load_state_dict(state, assign=True)
    except Exception:  # whatever Python and PyTorch raise for layers that make no sense
        return Misfit(structure["architecture"][:60], {n: tuple(t.shape) for n, t in state.items()})
    return network


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Integral):
        if int(value).bit_length() > LONGEST:
            raise _Unusual(f"int beyond {LONGEST} bits")
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Tensor):
        return _plain_tensor(value)
    if isinstance(value, nn.Module):
        return _plain_network(value)
    if depth < DEEPEST and isinstance(value, (list, tuple)):
        parts = [plain(part, depth + 1) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if depth < DEEPEST and isinstance(value, dict):
        return {_plain_key(key): plain(part, depth + 1) for key, part in value.items()}
    return Foreign(type(value).__name__)


def _plain_key(key: object) -> object:
    simple = key is None or isinstance(key, (str, Real))
    return plain(key) if simple else Foreign(type(key).__name__)


def _plain_tensor(tensor: Tensor) -> Tensor:
    # A subclass of Tensor may answer for itself; its memory cannot.
    with torch._C.DisableTorchFunctionSubclass():
        found = Tensor.detach(tensor)
    name, size = str(found.dtype).removeprefix("torch."), found.numel() * found.element_size()
    if found.layout != torch.strided:
        raise _Unusual(f"{found.layout} Tensor".removeprefix("torch."))
    if found.is_meta or name not in DTYPES:
        raise _Unusual(f"{name} Tensor on {found.device}")
    if size > LARGEST:
        raise _Unusual(f"Tensor of {size:,} bytes")
    return found.cpu().contiguous().as_subclass(Tensor)


def _plain_network(network: nn.Module) -> nn.Module | Misfit:
    try:
        structure = json.loads(json.dumps(describe(network)))
    except Exception:
        known = type(network) in (*NETWORKS.values(), nn.Sequential)
        other = " with layers of unknown kinds" if known else ""
        raise _Unusual(type(network).__name__ + other) from None
    return assemble(structure, {n: _plain_tensor(t) for n, t in network.state_dict().items()})
