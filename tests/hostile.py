"""Answers that no exercise asks for: odd kinds, too much of one, and objects that lie."""

import torch
from torch import Tensor, nn

import labutils as lab


class Agreeable:
    """Equal to everything, larger than everything, as long as anything."""

    __hash__ = None

    def __eq__(self, other):
        return True

    __lt__ = __gt__ = __le__ = __ge__ = __bool__ = lambda self, *_other: True

    def __len__(self):
        return 4

    def __getattr__(self, name):
        return self

    def __call__(self, *_inputs):
        return self


class YesTensor(Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        return True

    def __eq__(self, other):
        return True


class YesDict(dict):
    __hash__ = None

    def __eq__(self, other):
        return True

    __contains__ = __eq__

    def __missing__(self, key):
        return torch.ones(2, dtype=torch.bool)


class YesText(str):
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return True


class Explosive:
    def __getattribute__(self, name):
        raise RuntimeError("do not touch")


class ExplosiveDict(dict):
    def items(self):
        raise RuntimeError("do not touch")


class Numbered(int):
    def __int__(self):
        raise RuntimeError("do not touch")


class UnknownNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)

    def state_dict(self, *_arguments, **_options):
        return Agreeable()


def nested(levels, copies=1):
    value = [0]
    for _ in range(levels):
        value = [value] * copies
    return value


def in_itself():
    value = []
    value.append(value)
    return value


# What it is, how to make one, and what a check shows of it, where that is always the same.
HOSTILE = {
    "equal to everything": (Agreeable, "an object of type Agreeable"),
    "tensor that says yes": (lambda: torch.zeros(4).as_subclass(YesTensor), "[0, 0, 0, 0]"),
    "bool tensor that says yes": (lambda: torch.zeros(4, dtype=torch.bool).as_subclass(YesTensor),
        "[False, False, False, False] (bool)"),
    "dict that says yes": (YesDict, "{}"),
    "dict whose keys say yes": (lambda: {YesText("a"): 0.5, YesText("conv1"): [0.5]},
        "{a: 0.5, conv1: [0.5]}"),
    "dict that explodes": (lambda: ExplosiveDict(a=1), "an object of type ExplosiveDict"),
    "explosive": (Explosive, "an object of type Explosive"),
    "number that explodes": (lambda: Numbered(3), "an object of type Numbered"),
    "deep list": (lambda: nested(10_000), "[" * 8 + "an object of type list" + "]" * 8),
    "list in itself": (in_itself, "[" * 8 + "an object of type list" + "]" * 8),
    "branching list": (lambda: nested(12, copies=2), ""),
    "long list": (lambda: [0.5] * 100_000, "[" + "0.5, " * 16 + "0.5]"),
    "unknown network": (UnknownNetwork, "an object of type UnknownNetwork"),
    "layer": (lambda: nn.Conv2d(1, 2, 3), "an object of type Conv2d"),
    "layers of unknown kinds": (lambda: nn.Sequential(UnknownNetwork()),
        "an object of type Sequential with layers of unknown kinds"),
    "network without layers": (lambda: nn.Sequential(), "Sequential of 0 layers"),
    "SimpleCNN without conv1": (lambda: lab.SimpleCNN()[1:], "Sequential of 9 layers"),
    "complex tensor": (lambda: torch.zeros(4, dtype=torch.complex64),
        "an object of type complex64 Tensor on cpu"),
    "sparse tensor": (lambda: torch.eye(2).to_sparse(), "an object of type sparse_coo Tensor"),
    "tensor without data": (lambda: torch.zeros(4, device="meta"),
        "an object of type float32 Tensor on meta"),
    "endless tensor": (lambda: torch.zeros(1).expand(10**13),
        "an object of type Tensor of 40,000,000,000,000 bytes"),
    "endless number": (lambda: -(10**5000), "an object of type int beyond 64 bits"),
    "pair of endless numbers": (lambda: (2**64, -(10**400)),
        "(an object of type int beyond 64 bits, an object of type int beyond 64 bits)"),
    "pair that is not a number": (lambda: (float("nan"), float("inf")), "(nan, inf)"),
    "numbers of nobody": (lambda: {"conv1": float("nan"), "fc1": 10**400, "fc2": None}, ""),
    "odd keys": (lambda: {(1, 2): 0, torch.ones(1): 2},
        "{Foreign(kind='tuple'): 0, Foreign(kind='Tensor'): 2}"),
    "array": (lambda: torch.zeros(4).numpy(), "an object of type ndarray"),
    "range": (lambda: range(3), "an object of type range"),
    "complex": (lambda: 1j, "an object of type complex"),
    "generator": (lambda: (i for i in range(4)), "an object of type generator"),
    "function": (lambda: print, "an object of type builtin_function_or_method"),
}  # fmt: skip
