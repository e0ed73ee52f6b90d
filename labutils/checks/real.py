"""Exercise 4: what do a student's two functions say of the pretrained network?"""

import contextlib
from collections.abc import Callable

from labutils.checks.scan import choose_amounts, scan_case, sensitivity_scan
from labutils.fit.evaluation import evaluate
from labutils.prune.weights import prune_magnitude, sparsity

DROP = 0.005  # of accuracy, allowed for each layer


def real_scan(scan: Callable, choose: Callable) -> None:
    """Print what two right functions say of the pretrained network, on 1,000 images.

    Before they are right, print what is missing; where the grading asks, do nothing.
    """
    if hasattr(type(scan), "attempt_elsewhere"):
        return
    network, amounts, split = scan_case(1_000, [0.5, 0.7, 0.8, 0.9, 0.95, 0.98])
    try:
        with contextlib.redirect_stdout(None):
            sensitivity_scan.examine(scan, [scan_case(100, [0.9])])
            choose_amounts.examine(choose)
        dense, found = evaluate(network, split).accuracy, scan(network, amounts, split)
        choice = choose(found, amounts, dense, DROP)
        pruned = prune_magnitude(network, choice)
    except Exception:  # whatever a student's function raises: the notebook goes on
        print("Once both functions are right, they scan the pretrained network here.")
        return
    print(f"One layer pruned, accuracy ({dense:.1%} before):")
    for name, shown in {"removed": amounts, **found}.items():
        print(f"{name:>10}" + "".join(f"{value:8.1%}" for value in shown))
    told = ", ".join(f"{amount:.0%} of {name}" for name, amount in choice.items())
    print(f"With {100 * DROP:g} points allowed, you take {told}.")
    left = evaluate(pruned, split).accuracy
    print(f"All at once, {sparsity(pruned):.0%} of the weights are gone, and {left:.1%} is right.")
