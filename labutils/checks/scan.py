"""Exercise 4: which layer can spare how much, and what should each lose?"""

import functools
import math
from collections.abc import Callable

import torch
from torch import nn

from labutils.base.digits import Split, load_mnist
from labutils.base.files import load_pretrained
from labutils.base.layers import prunable_layers
from labutils.checks.verdict import Wrong, exercise, likely, show, show_keys, show_with_type
from labutils.fit.evaluation import evaluate
from labutils.prune.weights import prune_magnitude

ONE_IMAGE = 1.5  # images by which an accuracy may differ: arithmetic in another order


def _scan_cases() -> list[tuple]:
    return [scan_case(images=200, amounts=[0.5, 0.9, 0.98])]


@functools.cache
def _validation() -> Split:
    return load_mnist().validation


def scan_case(images: int, amounts: list[float], seed: int = 0, first: int = 0) -> tuple:
    """Return inputs for a scan: a pretrained network, amounts, and some validation images."""
    return load_pretrained(seed), amounts, _validation()[first : first + images]


@exercise(4, ("network", "amounts", "split"), _scan_cases)
def sensitivity_scan(
    result: object, network: nn.Module, amounts: list[float], split: Split
) -> None:
    """Judge accuracies by layer and amount, one layer pruned at a time."""
    layers = list(prunable_layers(network))
    if not isinstance(result, dict) or set(result) != set(layers):
        hint = ""
        if isinstance(result, dict) and set(result) < set(layers):
            hint = f"{', '.join(sorted(set(layers) - set(result)))} was not scanned"
        raise Wrong(f"a dict with the keys {layers}", show_keys(result), hint)
    for name, found in result.items():
        if not isinstance(found, list) or not all(type(a) in (int, float) for a in found):
            raise Wrong(f"a list of {len(amounts)} floats for {name}", *_no_floats(found))
        if len(found) != len(amounts):
            raise Wrong(f"{len(amounts)} accuracies for {name}", f"{len(found)}: {show(found)}")
    expected = _scan(network, amounts, split)
    flat = [a for name in layers for a in result[name]]
    wanted = [a for name in layers for a in expected[name]]
    if not _close(flat, wanted, split):
        name, place = next(
            (n, p) for n in layers for p in range(len(amounts))
            if not _close([result[n][p]], [expected[n][p]], split)
        )  # fmt: skip
        raise Wrong(
            f"{expected[name][place]:.4g} for {name} at {amounts[place]:g}",
            f"{result[name][place]:.4g}",
            _scan_mistake(flat, wanted, network, amounts, split),
        )


def _no_floats(found: object) -> tuple[str, str]:
    """Tell what came instead of a list of floats; a tensor looks like one."""
    if torch.is_tensor(found):
        return show_with_type(found), "make a list of it with .tolist()"
    if isinstance(found, list) and any(map(torch.is_tensor, found)):
        return f"a list of tensors: {show(found)}", "take the numbers out with .item()"
    return show(found), ""


def _scan(network: nn.Module, amounts: list[float], split: Split) -> dict[str, list[float]]:
    def accuracy(name: str, amount: float) -> float:
        return evaluate(prune_magnitude(network, {name: amount}), split).accuracy

    return {n: [accuracy(n, amount) for amount in amounts] for n in prunable_layers(network)}


def _scan_mistake(
    flat: list[float], wanted: list[float], network: nn.Module, amounts: list[float], split: Split
) -> str:
    """Name the mistake, by doing it: of those that come near, the one that comes nearest."""
    if _close([a / 100 for a in flat], wanted, split):
        return "that is in percent; a fraction lies in [0, 1]"
    dense = evaluate(network, split).accuracy
    layers, spoiled, pruned_on = prunable_layers(network), network, []
    together = [evaluate(prune_magnitude(network, a), split).accuracy for a in amounts]
    for name in layers:
        for amount in amounts:
            spoiled = prune_magnitude(spoiled, {name: amount})
            pruned_on.append(evaluate(spoiled, split).accuracy)
    mistakes = {
        "that is the error; the scan gives the accuracy": [1 - a for a in wanted],
        "that is the drop; the scan gives the accuracy that is left": [dense - a for a in wanted],
        "each pruning went on from the last one: start from the dense network every time":
            pruned_on,
        "all layers were pruned: prune_magnitude(network, {layer: amount}) takes one":
            together * len(layers),
        "the dense network was evaluated: prune_magnitude returns the pruned one":
            [dense] * len(wanted),
    }  # fmt: skip
    near = {text: found for text, found in mistakes.items() if _close(flat, found, split)}
    return min(near, key=lambda text: math.dist(flat, near[text]), default="")


def _close(one: list[float], other: list[float], split: Split) -> bool:
    return all(abs(a - b) <= ONE_IMAGE / len(split) for a, b in zip(one, other, strict=True))


def _choice_cases() -> list[tuple]:
    scan = {"conv1": [0.75, 0.5, 0.25], "fc1": [1.0, 0.96875, 0.875], "fc2": [0.9, 0.99, 0.2]}
    return [
        (scan, [0.25, 0.5, 0.75], 1.0, 0.0625),
        (scan, [0.25, 0.5, 0.75], 1.0, 0.125),
        (scan, [0.25, 0.5, 0.75], 1.0, 0.0),
    ]


@exercise(4, ("scan", "amounts", "dense_accuracy", "allowed_drop"), _choice_cases)
def choose_amounts(
    result: object,
    scan: dict[str, list[float]],
    amounts: list[float],
    dense_accuracy: float,
    allowed_drop: float,
) -> None:
    """Judge amounts by layer: the highest before the first that costs too much."""
    if not isinstance(result, dict) or set(result) != set(scan):
        raise Wrong(f"a dict with the keys {list(scan)}", show_keys(result))
    if not all(type(amount) in (int, float) for amount in result.values()):
        raise Wrong("a float for each layer", result)

    def choose(pick: Callable) -> list[float]:
        fits = {n: [dense_accuracy - a <= allowed_drop + 1e-9 for a in scan[n]] for n in scan}
        return [float(pick(fits[name], scan[name])) for name in scan]

    def before_the_first(fits: list[bool], _found: list[float]) -> float:
        count = fits.index(False) if False in fits else len(fits)
        return amounts[count - 1] if count else 0.0

    chosen = [float(result[name]) for name in scan]
    expected = choose(before_the_first)
    if torch.allclose(torch.tensor(chosen), torch.tensor(expected)):
        return

    def strictly_before(_fits: list[bool], found: list[float]) -> float:
        return before_the_first([dense_accuracy - a < allowed_drop for a in found], found)

    def last_that_fits(fits: list[bool], _found: list[float]) -> float:
        return max((a for a, fit in zip(amounts, fits, strict=True) if fit), default=0.0)

    raise Wrong(show(dict(zip(scan, expected, strict=True))), result, likely(chosen, {
        "a layer that fails at a smaller amount passed later by luck: stop at the first failure":
            lambda: choose(last_that_fits),
        "a loss of just allowed_drop is still allowed": lambda: choose(strictly_before),
        "that is the first amount that fails; the last one before it is asked for":
            lambda: choose(lambda f, _: amounts[f.index(False)] if False in f else amounts[-1]),
        "that is the position in the list; the amount itself is asked for": lambda: choose(
            lambda f, _: max((f.index(False) if False in f else len(f)) - 1, 0)),
        "where even the first amount costs too much, nothing goes: 0.0": lambda: choose(
            lambda f, found: before_the_first(f, found) or amounts[0]),
    }))  # fmt: skip
