"""Is what a function was given possible? Every public function asks here first.

Each check returns what it was given (numbers as plain `int` or `float`), or raises a
`TypeError` or `ValueError` that says in one sentence what was given, what is allowed, and what
to do. `name` is how the caller calls the argument.
"""

import math
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from labutils.base.digits import Digits, Split

WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)  # the layers that multiply by weights
MOST = 10**7  # epochs, images, threads, ...: more is a slip


def instance(value: object, kind: type, name: str, wanted: str) -> object:
    """Return an object of a kind; `wanted` says what to give instead of another."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {_kind(value)}: give {wanted}.")
    return value


def several(value: object, name: str, check: Callable, wanted: str) -> list:
    """Return several values, at least one, each checked by itself."""
    right = isinstance(value, Sequence) and not isinstance(value, str)
    if not right or len(value) == 0:
        raise _wrong(value, name, f"give {wanted}", right)
    return [check(one, f"{name}[{place}]") for place, one in enumerate(value)]


def module(value: object, name: str = "model") -> nn.Module:
    """Return a network, be it without parameters, as one of integers."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"{name} is {_kind(value)}: give a network, as load_pretrained().")
    return value


def network(value: object, name: str = "model") -> nn.Module:
    """Return a network with parameters."""
    if next(module(value, name).parameters(), None) is None:
        raise ValueError(f"{name} is a {type(value).__name__} without parameters: give a network.")
    return value


def plain_weights(value: object, name: str = "model") -> nn.Module:
    """Return a network whose convolutions and linear layers have weights of their own."""
    for place, layer in module(value, name).named_modules():
        if not isinstance(layer, WEIGHTED):
            continue
        for tensor in ("weight", "bias"):
            if tensor not in layer._parameters:
                raise ValueError(
                    f"{place}.{tensor} is computed from other tensors: make it an ordinary "
                    f"parameter first, as with {_remedy(place, layer, tensor)}."
                )
        if nn.parameter.is_lazy(layer.weight):
            raise ValueError(f"{place} has no weights yet: show the network an image first.")
    return value


def digits(value: object, name: str = "digits") -> Digits:
    """Return what `load_mnist` returns, with images to train on and to validate on."""
    instance(value, Digits, name, "what load_mnist() returns")
    split(value.train, f"{name}.train")
    split(value.validation, f"{name}.validation")
    return value


def split(value: object, name: str = "split") -> Split:
    """Return images with labels: at least one, finite, of the types that networks take."""
    instance(value, Split, name, "images and labels as a Split, as digits.validation")
    if len(value.labels) == 0:
        raise ValueError(f"{name} is empty: give it some hundreds of images with their labels.")
    images(value.images, f"{name}.images")
    labels = value.labels
    if labels.dtype != torch.int64 or labels.dim() != 1 or int(labels.min()) < 0:
        raise ValueError(
            f"{name}.labels is a {labels.dtype} tensor of shape {tuple(labels.shape)} from "
            f"{labels.min()}: give int64 numbers from 0, one for each image."
        )
    return value


def calibration(value: object, what: str) -> Split:
    """Return images with labels for `what` to look at, before it changes a network."""
    if not isinstance(value, Split):
        raise TypeError(
            f"{what} looks at images: give it calibration=digits.train[:1000] (images and labels "
            f"as a Split), not {_kind(value)}."
        )
    return split(value, "calibration")


def images(value: object, name: str = "images") -> Tensor:
    """Return images N x channels x height x width: floating-point, finite."""
    tensor(value, name)
    if value.dim() != 4 or not value.is_floating_point():
        raise ValueError(
            f"{name} is a {value.dtype} tensor of shape {tuple(value.shape)}: give "
            "floating-point images N x channels x height x width, as digits.test.images."
        )
    return value


def tensor(value: object, name: str) -> Tensor:
    """Return a tensor of finite numbers, at least one."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {_kind(value)}: give a tensor.")
    if value.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(value.shape)}): give at least one number.")
    # The sum is fast to look at; of large numbers it alone may be infinite.
    if not (math.isfinite(value.detach().sum()) or value.isfinite().all()):
        raise ValueError(f"{name} holds NaN or infinity: give finite numbers.")
    return value


def finite(value: object, name: str) -> Tensor:
    """Return a floating-point tensor of finite numbers, detached; it may be empty."""
    if not instance(value, Tensor, name, "a tensor").is_floating_point():
        raise TypeError(f"{name} is a {value.dtype} tensor: give floating-point numbers.")
    if not value.isfinite().all():
        raise ValueError(
            f"{name} holds {int((~value.isfinite()).sum())} values that are NaN or infinite: they "
            "have no rank; train the network again with a smaller learning rate."
        )
    return value.detach()


def amount(value: object, name: str = "amount") -> float:
    """Return a fraction to remove, in [0, 1]."""
    return fraction(value, name, "the fraction to remove")


def fraction(value: object, name: str, meaning: str = "a fraction") -> float:
    """Return a number in [0, 1]; a percentage is recognised."""
    right = isinstance(value, Real) and not isinstance(value, bool)
    if not right:
        raise _wrong(value, name, f"give a number in [0, 1], {meaning}, as 0.5", right)
    if not 0 <= value <= 1:
        hint = f" (for {value}% write {value / 100:g})" if 1 < value <= 100 else ""
        raise _wrong(value, name, f"{meaning} lies in [0, 1]{hint}", right)
    return float(value)


def amounts(value: object, name: str = "amounts") -> list[float]:
    """Return fractions to remove, at least one, none twice."""
    wanted = "several fractions to remove, at least one, each once, as (0.5, 0.9)"
    found = several(value, name, amount, wanted)
    if len(set(found)) < len(found):
        raise ValueError(f"{name}={value!r}: give {wanted}.")
    return found


def layer_amounts(
    value: Mapping[str, float], known: Collection[str], name: str = "amount"
) -> dict[str, float]:
    """Return fractions to remove by layer; `known` are the layers that there are."""
    for layer in value:
        if layer not in known:
            raise ValueError(
                f"{name}: there is no prunable layer {layer!r}; choose from {', '.join(known)}."
            )
    return {layer: amount(share, f"{name}[{layer!r}]") for layer, share in value.items()}


def shares(value: object, known: Collection[str]) -> dict[str, float]:
    """Return a fraction to remove of each layer: the same of all, or of those that are named."""
    if isinstance(value, Mapping):
        return dict.fromkeys(known, 0.0) | layer_amounts(value, known)
    return dict.fromkeys(known, amount(value))


def whole(value: object, name: str, least: int = 1, most: int = MOST) -> int:
    """Return an integer of at least `least` and at most `most`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        wanted = f"give an integer from {least} to {most:,}"
        raise _wrong(value, name, wanted, number is not None)
    return number


def seed(value: object, name: str = "seed") -> int:
    """Return an integer that PyTorch's generators take as a seed."""
    return whole(value, name, 0, 2**63 - 1)


def number(value: object, name: str) -> float:
    """Return a finite number."""
    right_kind = isinstance(value, Real) and not isinstance(value, bool)
    if not right_kind or not math.isfinite(value):
        raise _wrong(value, name, "give a finite number", right_kind)
    return float(value)


def positive(value: object, name: str, zero: bool = False) -> float:
    """Return a finite number above 0, or with `zero` 0 itself."""
    right = isinstance(value, Real) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        allowed = "of 0 or more" if zero else "above 0"
        raise _wrong(value, name, f"give a {'finite ' * right}number {allowed}", right)
    return float(value)


def choice(value: object, name: str, known: Collection[str]) -> str:
    """Return one of the known words."""
    if not isinstance(value, str) or value not in known:
        wanted = f"choose {', '.join(map(repr, known))}"
        raise _wrong(value, name, wanted, isinstance(value, str))
    return value


def choices(value: object, name: str, known: Collection[str]) -> list[str]:
    """Return several of the known words, at least one."""
    wanted = f"some of {', '.join(map(repr, known))}"
    return several(value, name, lambda one, place: choice(one, place, known), wanted)


def path(value: object, name: str = "path") -> Path:
    """Return the path of a file: there, or possible to make."""
    usable = isinstance(value, (str, os.PathLike)) and str(value).strip()
    if not usable or "\0" in str(value):
        raise TypeError(f"{name}={_short(value)}: give the path of a file, as 'models/mine.pth'.")
    found = Path(value)
    if found.is_dir():
        raise IsADirectoryError(f"{found.resolve()} is a folder: give the path of a file in it.")
    below = next(place for place in found.absolute().parents if place.exists())
    if not below.is_dir():
        raise NotADirectoryError(f"{below} is a file: nothing can lie below it; give another path.")
    return found


def table(value: object, columns: Collection[str], name: str = "table") -> pd.DataFrame:
    """Return a table with at least these columns and a row."""
    instance(value, pd.DataFrame, name, "a table, as compare() returns")
    missing = [column for column in columns if column not in value]
    if missing:
        there = ", ".join(map(repr, value)) or "none"
        raise ValueError(f"{name} has no column {', '.join(map(repr, missing))}: it has {there}.")
    if value.empty:
        raise ValueError(f"{name} has no rows: there is nothing to work with.")
    return value


def numbers(value: object, columns: Collection[str], name: str = "table") -> pd.DataFrame:
    """Return a table in which each of these columns holds a finite number somewhere."""
    for column in columns:
        found = table(value, columns, name)[column]
        if not pd.api.types.is_numeric_dtype(found) or not found.abs().lt(math.inf).any():
            raise ValueError(
                f"{name}: the column {column!r} holds no finite number, so there is nothing to "
                "work with; give one that was measured."
            )
    return value


def shape(value: object, name: str = "image_shape") -> tuple[int, ...]:
    """Return the shape of one image."""
    return tuple(several(value, name, whole, "the shape of one image, as (1, 28, 28)"))


def named(value: object, name: str, example: str) -> Mapping:
    """Return a dictionary from names, with at least one entry; `example` is one in code."""
    if not instance(value, Mapping, name, f"a dictionary, as {example}"):
        raise ValueError(f"{name} is empty: give at least one entry, as {example}.")
    return value


def device(value: torch.device | str | None) -> torch.device:
    """Return where to compute: the CPU if nothing is said, a GPU when asked for."""
    try:
        found = torch.device("cpu" if value is None else value)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(
            f'device={_short(value)}: it cannot be used here; give "cpu", or "cuda" or "mps" on a '
            "machine with such a GPU, or leave it out."
        ) from error
    return found


def _remedy(place: str, layer: nn.Module, tensor: str) -> str:
    """Return the line of Python that makes a computed weight an ordinary parameter."""
    if parametrize.is_parametrized(layer, tensor):
        function = "parametrize.remove_parametrizations"
    elif f"{tensor}_mask" in layer._buffers:
        function = "prune.remove"
    else:
        function = f"remove_{'weight' if f'{tensor}_g' in layer._parameters else 'spectral'}_norm"
    return f'torch.nn.utils.{function}(model.get_submodule("{place}"), "{tensor}")'


def _wrong(value: object, name: str, wanted: str, right_kind: bool) -> Exception:
    return (ValueError if right_kind else TypeError)(f"{name}={_short(value)}: {wanted}.")


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
