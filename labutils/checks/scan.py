"""Exercise 4: which layer can spare how much, and what should each lose?"""

import functools
import math
from collections.abc import Iterable

import torch
from torch import nn

from labutils.base.digits import Split, load_mnist
from labutils.base.files import load_pretrained
from labutils.base.layers import prunable_layers
from labutils.checks.plain import Foreign
from labutils.checks.verdict import Wrong, exercise, likely, show, show_keys, show_with_type
from labutils.fit.evaluation import evaluate
from labutils.prune.weights import prune_magnitude

Floats = list[float]
Scan = dict[str, Floats]
ONE_IMAGE = 1.5  # images by which an accuracy may differ: arithmetic in another order
_validation = functools.cache(lambda: load_mnist().validation)


def scan_case(images: int, amounts: list[float], seed: int = 0, first: int = 0) -> tuple:
    """Return inputs for a scan: a pretrained network, amounts, and some validation images."""
    return load_pretrained(seed), amounts, _validation()[first : first + images]


@exercise(4, lambda: [scan_case(images=200, amounts=[0.5, 0.9, 0.98])], ("sensitivity",))
def sensitivity_scan(result: object, network: nn.Module, amounts: Floats, split: Split) -> None:
    """Judge accuracies by layer and amount, one layer pruned at a time."""
    layers = list(prunable_layers(network))
    if not isinstance(result, dict) or set(result) != set(layers):
        missing = isinstance(result, dict) and set(result) < set(layers)
        hint = f"{', '.join(sorted(set(layers) - set(result)))} was not scanned" if missing else ""
        raise Wrong(f"a dict with the keys {layers}", show_keys(result), hint)
    for name, found in result.items():
        if not isinstance(found, (list, tuple)) or {type(a) for a in found} - {int, float}:
            raise Wrong(f"a list of {len(amounts)} floats for {name}", *_no_floats(found))
        if len(found) != len(amounts):
            raise Wrong(f"{len(amounts)} accuracies for {name}", f"{len(found)}: {show(found)}")
    places = [(name, amount) for name in layers for amount in amounts]
    found = [accuracy for name in layers for accuracy in result[name]]
    expected = _measure((prune_magnitude(network, dict([place])) for place in places), split)
    for (name, amount), one, other in zip(places, found, expected, strict=True):
        if not _close([one], [other], split):
            hint = _scan_mistake(found, expected, network, places, split)
            raise Wrong(f"{other:.4g} for {name} at {amount:g}", f"{one:.4g}", hint)


def _no_floats(found: object) -> tuple[str, str]:
    """Tell what came instead of a list of floats; a tensor looks like one."""
    if torch.is_tensor(found) or found == Foreign("ndarray"):
        return show_with_type(found), "make a list of it with .tolist()"
    parts = found if isinstance(found, (list, tuple)) else ()
    if any(map(torch.is_tensor, parts)):
        return f"a list of tensors: {show(found)}", "take the numbers out with .item()"
    whole = Foreign("Evaluation") in parts
    return show(found), "lab.evaluate returns more than that: take its .accuracy" if whole else ""


def _measure(networks: Iterable[nn.Module], split: Split) -> list[float]:
    return [evaluate(network, split).accuracy for network in networks]


def _scan_mistake(
    found: Floats, expected: Floats, network: nn.Module, places: list, split: Split
) -> str:
    """Name the mistake, by doing it: of those that come near, the one that comes nearest."""
    if _close([accuracy / 100 for accuracy in found], expected, split):
        return "that is in percent; a fraction lies in [0, 1]"
    (dense,), spoiled = _measure([network], split), [network]
    for place in places:
        spoiled.append(prune_magnitude(spoiled[-1], dict([place])))
    amounts = sorted({amount for _, amount in places})
    of_all = _measure((prune_magnitude(network, amount) for amount in amounts), split)
    mistakes = {
        "that is the error; the scan gives the accuracy": [1 - a for a in expected],
        "that is the drop; the scan gives the accuracy that is left": [dense - a for a in expected],
        "each pruning went on from the last one: start from the dense network every time":
            _measure(spoiled[1:], split),
        "all layers were pruned: prune_magnitude(network, {layer: amount}) takes one":
            [of_all[amounts.index(amount)] for _, amount in places],
        "the dense network was evaluated: prune_magnitude returns the pruned one":
            [dense] * len(places),
    }  # fmt: skip
    near = {text: made for text, made in mistakes.items() if _close(found, made, split)}
    return min(near, key=lambda text: math.dist(found, near[text]), default="")


def _close(one: list[float], other: list[float], split: Split) -> bool:
    return all(abs(a - b) <= ONE_IMAGE / len(split) for a, b in zip(one, other, strict=True))


def _choice_cases() -> list[tuple]:
    scan = {"conv1": [0.75, 0.5, 0.25], "fc1": [1.0, 0.96875, 0.875], "fc2": [0.9, 0.99, 0.2]}
    low = ({"fc1": [0.3125, 0.25]}, [0.5, 0.75], 0.5, 0.25)
    return [*((scan, [0.25, 0.5, 0.75], 1.0, drop) for drop in (0.0625, 0.125, 0.0)), low]


@exercise(4, _choice_cases)
def choose_amounts(
    result: object, scan: Scan, amounts: Floats, dense_accuracy: float, allowed_drop: float
) -> None:
    """Judge amounts by layer: the highest before the first that costs too much."""
    if not isinstance(result, dict) or set(result) != set(scan):
        raise Wrong(f"a dict with the keys {list(scan)}", show_keys(result))
    if not all(type(amount) in (int, float) for amount in result.values()):
        tensors = any(map(torch.is_tensor, result.values()))
        hint = "take the numbers out with .item()" if tensors else ""
        raise Wrong("a float for each layer", result, hint)
    drops = [[dense_accuracy - accuracy for accuracy in scan[name]] for name in scan]

    def passed(allowed: float) -> list[int]:
        """Count, for each layer, the amounts before the first that costs too much."""
        return [[*(drop > allowed for drop in found), True].index(True) for found in drops]

    def chosen(counts: list[int], nothing: float = 0.0) -> list[float]:
        return [float(amounts[count - 1]) if count else nothing for count in counts]

    def lucky(found: list[float]) -> int:
        return max((i for i, d in enumerate(found, 1) if d <= allowed_drop + 1e-9), default=0)

    counts, got = passed(allowed_drop + 1e-9), [float(result[name]) for name in scan]
    if not torch.allclose(torch.tensor(got), torch.tensor(chosen(counts))):
        expected = show(dict(zip(scan, chosen(counts), strict=True)))
        raise Wrong(expected, result, likely(got, {
            "a layer that fails at a smaller amount passed later by luck: stop at the first "
            "failure": lambda: chosen([lucky(found) for found in drops]),
            "allowed_drop is no share of the dense accuracy: it is subtracted":
                lambda: chosen(passed(allowed_drop * dense_accuracy)),
            "a loss of just allowed_drop is still allowed":
                lambda: chosen(passed(allowed_drop - 1e-9)),
            "that is the first amount that fails; the last one before it is asked for":
                lambda: chosen([min(count + 1, len(amounts)) for count in counts]),
            "that is the position in the list; the amount itself is asked for":
                lambda: [float(max(count - 1, 0)) for count in counts],
            "where even the first amount costs too much, nothing goes: 0.0":
                lambda: chosen(counts, nothing=float(amounts[0])),
        }))  # fmt: skip
