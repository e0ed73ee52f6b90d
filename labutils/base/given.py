"""Is what a function was given possible? Every public function asks here first.

Each check returns what it was given (numbers as plain `int` or `float`), or raises a
`TypeError` or `ValueError` that says in one sentence what was given, what is allowed, and what
to do. `name` is how the caller calls the argument.
"""

import math
import operator
import os
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from labutils.base.digits import Digits, Split

SEEDS = 2**63  # what PyTorch's generators take


def network(value: object, name: str = "model") -> nn.Module:
    """Return a network with parameters."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"{name} is {_kind(value)}: give a network, as load_pretrained().")
    if next(value.parameters(), None) is None:
        raise ValueError(f"{name} is a {type(value).__name__} without parameters: give a network.")
    return value


def digits(value: object, name: str = "digits") -> Digits:
    """Return what `load_mnist` returns, with images to train on and to validate on."""
    if not isinstance(value, Digits):
        raise TypeError(f"{name} is {_kind(value)}: give what load_mnist() returns.")
    split(value.train, f"{name}.train")
    split(value.validation, f"{name}.validation")
    return value


def split(value: object, name: str = "split") -> Split:
    """Return images with labels: at least one, finite, of the types that networks take."""
    if not isinstance(value, Split):
        raise TypeError(
            f"{name} is {_kind(value)}: give images and labels as a Split, as digits.validation."
        )
    if len(value) == 0:
        raise ValueError(f"{name} is empty: give at least one image with its label.")
    images(value.images, f"{name}.images")
    if value.labels.dtype != torch.int64 or value.labels.dim() != 1:
        raise TypeError(
            f"{name}.labels is a {value.labels.dtype} tensor of shape "
            f"{tuple(value.labels.shape)}: give int64 numbers, one for each image."
        )
    if int(value.labels.min()) < 0:
        raise ValueError(f"{name}.labels holds {int(value.labels.min())}: give 0 or more.")
    return value


def calibration(value: object, what: str) -> Split:
    """Return images with labels for `what` to look at, before it changes a network."""
    if not isinstance(value, Split):
        raise TypeError(
            f"{what} looks at images: give it calibration=digits.train[:1000] (images and labels "
            f"as a Split), not {type(value).__name__}."
        )
    if len(value) == 0:
        raise ValueError("calibration is empty: give it some hundreds of training images.")
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
    if not math.isfinite(float(value.float().sum())):  # one pass, no tensor of its size
        raise ValueError(f"{name} holds NaN or infinity: give finite numbers.")
    return value


def amount(value: object, name: str = "amount") -> float:
    """Return a fraction to remove, in [0, 1]."""
    return fraction(value, name, "the fraction to remove")


def fraction(value: object, name: str, meaning: str = "a fraction") -> float:
    """Return a number in [0, 1]; a percentage is recognised."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r}: give a number in [0, 1], {meaning}, as 0.5.")
    if not 0 <= value <= 1:
        hint = f" (for {value}% write {value / 100:g})" if 1 < value <= 100 else ""
        raise ValueError(f"{name}={value!r}: {meaning} lies in [0, 1]{hint}.")
    return float(value)


def amounts(value: object, name: str = "amounts") -> list[float]:
    """Return fractions to remove, at least one, none twice."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise TypeError(f"{name}={value!r}: give several fractions to remove, as (0.5, 0.9).")
    found = [amount(one, f"{name}[{place}]") for place, one in enumerate(value)]
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"{name}={value!r}: give at least one fraction to remove, each once, as (0.5, 0.9)."
        )
    return found


def layer_amounts(
    value: Mapping[str, float], known: Collection[str], name: str = "amount"
) -> dict[str, float]:
    """Return fractions to remove by layer; `known` are the layers that there are."""
    unknown = [layer for layer in value if layer not in known]
    if unknown:
        raise ValueError(
            f"{name}: there is no prunable layer {', '.join(map(repr, unknown))}; "
            f"choose from {', '.join(known)}."
        )
    return {layer: amount(share, f"{name}[{layer!r}]") for layer, share in value.items()}


def whole(value: object, name: str, least: int = 1, most: float = math.inf) -> int:
    """Return a whole number of at least `least` and at most `most`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not least <= number <= most:
        kind = TypeError if number is None or isinstance(value, bool) else ValueError
        allowed = f"of at least {least}" if most == math.inf else f"from {least} to {most:,}"
        raise kind(f"{name}={_short(value)}: give a whole number {allowed}.")
    return number


def seed(value: object, name: str = "seed") -> int:
    """Return a whole number that PyTorch's generators take as a seed."""
    return whole(value, name, 0, SEEDS - 1)


def positive(value: object, name: str, zero: bool = False) -> float:
    """Return a finite number above 0, or with `zero` 0 itself."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={_short(value)}: give a number, as 0.01.")
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        allowed = "of 0 or more" if zero else "above 0"
        raise ValueError(f"{name}={value!r}: give a finite number {allowed}.")
    return float(value)


def choice(value: object, name: str, known: Collection[str]) -> str:
    """Return one of the known words."""
    if not isinstance(value, str) or value not in known:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"{name}={_short(value)}: choose {', '.join(map(repr, known))}.")
    return value


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
    if not isinstance(value, pd.DataFrame):
        raise TypeError(f"{name} is {_kind(value)}: give a table, as compare() returns.")
    missing = [column for column in columns if column not in value]
    if missing:
        raise ValueError(
            f"{name} has no column {', '.join(map(repr, missing))}: it has "
            f"{', '.join(map(repr, value)) or 'none'}."
        )
    if value.empty:
        raise ValueError(f"{name} has no rows: there is nothing to work with.")
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


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
