"""What is to be compared: from what was asked for to a list of rows to measure."""

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace

from torch import nn

from labutils.base.digits import Digits, Split, load_mnist
from labutils.base.files import load_pretrained
from labutils.base.layers import check_amount
from labutils.base.structure import fingerprint
from labutils.prune.filters import prune_filters
from labutils.prune.weights import prune_magnitude, prune_random
from labutils.study.tables import UNPRUNED

Method = Callable[[nn.Module, float], nn.Module]
METHODS: dict[str, Method] = {
    "magnitude": prune_magnitude,
    "structured": prune_filters,
    "random": prune_random,
}
SEEDS = range(5)
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """One row to measure.

    Attributes
    ----------
    rule : a function of (model, amount), a finished network, or None to leave all as it is
    split : the images; None where the worker reads so many of that part itself
    threads : for the arithmetic; None leaves them as they are
    """

    method: str
    rule: Method | nn.Module | None
    amount: float
    seed: int
    model: nn.Module
    part: str
    images: int
    batch: int
    split: Split | None = None
    threads: int | None = None

    @property
    def key(self) -> tuple:
        """What tells this row from all others, as in the columns `KEY`."""
        network = fingerprint(self.model)
        return self.method, self.amount, self.seed, network, self.part, self.images, self.batch


def list_tasks(
    methods: Mapping[str, Method | nn.Module] | Sequence[Method] | None,
    amounts: Sequence[float],
    networks: Mapping[int, nn.Module] | nn.Module | None,
    batch: int,
) -> list[Task]:
    """List the rows: the unpruned networks, then method by method, amount by amount."""
    rules, networks = check_methods(methods), check_networks(networks)
    amounts = check_amounts_once(amounts)
    if type(batch) is not int or batch < 1:
        raise ValueError(f"batch={batch!r}: give a whole number of at least 1.")

    def task(name: str, rule: Method | nn.Module | None, amount: float, seed: int) -> Task:
        return Task(name, rule, amount, seed, networks[seed], "", 0, batch)

    tasks = [task(UNPRUNED, None, 0.0, seed) for seed in networks]
    for name, rule in rules.items():
        if isinstance(rule, nn.Module):
            tasks.append(task(name, rule, 0.0, next(iter(networks))))
        else:
            tasks += [task(name, rule, amount, seed) for amount in amounts for seed in networks]
    return tasks


def with_images(
    tasks: Sequence[Task],
    digits: Digits | None,
    part: str,
    images: int | None,
    executor: Executor | int | None,
) -> list[Task]:
    """Say what the networks are measured on: here at hand, elsewhere read by the worker."""
    if part not in PARTS:
        raise ValueError(f"part={part!r}: choose {', '.join(PARTS)}.")
    if images is not None and (type(images) is not int or images < 1):
        raise ValueError(f"images={images!r}: give a whole number of at least 1.")
    elsewhere = executor is not None
    split = getattr(digits if digits is not None else load_mnist(), part)[:images]
    sent = None if elsewhere and digits is None else split
    threads = 1 if elsewhere else None  # workers that share cores must not share threads too
    return [
        replace(task, part=part, images=len(split), split=sent, threads=threads) for task in tasks
    ]


def check_methods(given: object) -> dict[str, Method | nn.Module]:
    """Return the methods by name, or say what is wrong with them."""
    if given is None:
        return dict(METHODS)
    if isinstance(given, Mapping):
        methods = dict(given)
    elif isinstance(given, Sequence) and not isinstance(given, str):
        methods = {getattr(rule, "__name__", str(rule)): rule for rule in given}
        if len(methods) < len(given):
            raise ValueError(
                "Two methods have the same name: give a dictionary from name to method."
            )
    else:
        raise TypeError(
            f"methods is a {type(given).__name__}: give a dictionary from name to a function of "
            "(model, amount), or a list of such functions."
        )
    if not methods:
        raise ValueError("methods is empty: give at least one, as {'magnitude': prune_magnitude}.")
    for name, rule in methods.items():
        if not callable(rule):
            raise TypeError(
                f"The method {name!r} is a {type(rule).__name__}: give a function of "
                "(model, amount)."
            )
    if UNPRUNED in methods:
        raise ValueError(f"{UNPRUNED!r} is the name of the rows without pruning: use another.")
    return methods


def check_amounts_once(given: Sequence[float]) -> list[float]:
    """Return the amounts, each once."""
    amounts = [check_amount(amount) for amount in given]
    if not amounts or len(set(amounts)) < len(amounts):
        raise ValueError(
            f"amounts={given!r}: give at least one fraction to remove, each once, as (0.5, 0.9)."
        )
    return amounts


def check_networks(given: Mapping[int, nn.Module] | nn.Module | None) -> dict[int, nn.Module]:
    """Return the networks by seed."""
    if given is None:
        return {seed: load_pretrained(seed) for seed in SEEDS}
    if not isinstance(given, (nn.Module, Mapping)):
        given = {0: given}  # named below
    networks = {0: given} if isinstance(given, nn.Module) else dict(given)
    wrong = [
        type(network).__name__
        for network in networks.values()
        if not isinstance(network, nn.Module)
    ]
    if not networks or wrong:
        raise TypeError(
            f"networks holds {', '.join(wrong) or 'nothing'}: give a network, or a dictionary "
            "from seed to network."
        )
    return networks


def refuse_unsendable(tasks: Sequence[Task], executor: Executor | int | None) -> None:
    """Refuse functions that another process could not find."""
    if executor is not None and not isinstance(executor, (int, Executor)):
        raise TypeError(
            f"executor is a {type(executor).__name__}: give None, a number of processes, or a "
            "concurrent.futures.Executor."
        )
    if isinstance(executor, int) and (executor is True or executor < 1):
        raise ValueError(f"executor={executor!r}: give at least one process.")
    if not isinstance(executor, (int, ProcessPoolExecutor)):
        return
    interactive = not hasattr(sys.modules["__main__"], "__file__")
    for rule in {task.method: task.rule for task in tasks}.values():
        try:
            pickle.dumps(rule)
            lost = interactive and getattr(rule, "__module__", "") == "__main__"
        except (pickle.PicklingError, AttributeError, TypeError):
            lost = True
        if lost:
            raise TypeError(
                f"{getattr(rule, '__name__', rule)} was defined in this notebook or inside a "
                "function, where other processes cannot find it: define it in a .py file and "
                "import it, compute here (executor=None), or use Dask, which sends functions whole."
            )
