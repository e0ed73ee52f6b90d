"""What is to be compared: from what was asked for to a list of rows to measure."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from labutils.base import given
from labutils.base.digits import Digits, Split, load_mnist
from labutils.base.files import load_pretrained
from labutils.base.structure import fingerprint
from labutils.prune.filters import prune_filters
from labutils.prune.weights import prune_magnitude, prune_random
from labutils.study.tables import KEY, PUBLISHED, UNPRUNED

Method = Callable[..., nn.Module]
Rules = Mapping[str, Method | nn.Module]
USUAL: Rules = {"magnitude": prune_magnitude, "structured": prune_filters, "random": prune_random}


class Task(NamedTuple):
    """A row to measure: its columns so far, a method or a finished network, the unpruned one.

    Split and digits (for a method that takes them) are None where a worker reads them itself.
    """

    columns: dict[str, object]
    rule: Method | nn.Module
    model: nn.Module
    split: Split | None
    digits: Digits | None

    @property
    def key(self) -> tuple:
        """The values of the columns `KEY`."""
        return tuple(self.columns[column] for column in KEY)


def list_tasks(
    rules: Rules,
    amounts: Sequence[float],
    networks: Mapping[int, nn.Module],
    columns: Mapping[str, object],
    split: Split | None,
    digits: Digits | None,
) -> list[Task]:
    """List the rows: the unpruned networks, then method by method, amount by amount."""
    names = {seed: fingerprint(model) for seed, model in networks.items()}
    cells = [(UNPRUNED, model, 0.0, seed) for seed, model in networks.items()]
    for name, rule in rules.items():
        if isinstance(rule, nn.Module):  # finished, whatever the amount
            cells.append((name, rule, 0.0, next(iter(networks))))
        else:
            cells += [(name, rule, amount, seed) for amount in amounts for seed in networks]
    tasks = []
    for name, rule, amount, seed in cells:
        own = {"method": name, "amount": amount, "seed": seed, "network": names[seed]}
        taken = digits if takes_digits(rule) else None
        tasks.append(Task({**own, **columns}, rule, networks[seed], split, taken))
    return tasks


def takes_digits(rule: object) -> bool:
    """Tell whether a method has an argument `digits` that is not set."""
    try:
        argument = inspect.signature(rule).parameters["digits"]
    except (KeyError, TypeError, ValueError):
        return False
    return argument.default is None or argument.default is argument.empty


def check_methods(methods: object) -> Rules:
    """Return the methods by name, or say what is wrong with them."""
    if methods is None:
        return USUAL
    if isinstance(methods, Sequence) and not isinstance(methods, str):
        rules = {getattr(rule, "__name__", str(rule)): rule for rule in methods}
        if len(rules) < len(methods):
            raise ValueError("Two methods have the same name: give a dictionary by name.")
        methods = rules
    given.named(methods, "methods", "{'magnitude': prune_magnitude}")
    for name, rule in methods.items():
        if not isinstance(name, str) or name in ("", UNPRUNED):
            raise ValueError(f"A method has the name {name!r}: give it another one, in letters.")
        if isinstance(rule, nn.Module):
            given.network(rule, f"The method {name!r}")
        elif not callable(rule):
            raise TypeError(
                f"The method {name!r} is a {type(rule).__name__}: give a function of "
                "(model, amount)."
            )
    return methods


def check_networks(networks: object) -> dict[int, nn.Module]:
    """Return the networks by seed, or say what is wrong with them."""
    if networks is None:
        return {seed: load_pretrained(seed) for seed in range(5)}
    if not isinstance(networks, Mapping):
        return {0: given.network(networks, "networks")}
    return {
        given.seed(seed, "a seed in networks"): given.network(network, f"networks[{seed}]")
        for seed, network in given.named(networks, "networks", "{0: load_pretrained(0)}").items()
    }


def choose_images(
    digits: Digits | None, part: str, images: int | None, sent: bool
) -> tuple[dict[str, object], Split | None, Digits | None]:
    """Return the columns that name what is measured on, the images, and the digits they are of.

    Where they would be sent to workers that can read them themselves, there is nothing to send.
    """
    given.choice(part, "part", ("train", "validation", "test"))
    known = PUBLISHED if digits is None else digits_fingerprint(given.digits(digits))
    digits = digits or load_mnist()
    split = getattr(digits, part)[: None if images is None else given.whole(images, "images")]
    given.split(split, f"digits.{part}")
    columns = {"part": part, "images": len(split), "digits": known}
    if sent and known == PUBLISHED:
        return columns, None, None
    if sent:  # a slice would be sent with all it was cut from
        split = Split(split.images.clone(), split.labels.clone())
    return columns, split, digits


def digits_fingerprint(digits: Digits) -> str:
    """Return twelve characters that stand for all images and labels."""
    digest = hashlib.sha256()
    for split in (digits.train, digits.validation, digits.test):
        for tensor in (split.images, split.labels):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]
