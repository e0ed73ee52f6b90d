"""Does removing filters save the time it saves in arithmetic?

    python benchmarks/structured.py

For SimpleCNN and LeNet5 at 30, 50 and 70% of the filters removed, at batch 256 and batch 1:
how many times fewer multiply-accumulates (MACs), how many times less time, measured in turn
with the dense network. At batch 256 the second should be at least 0.75 of the first; where it
is less, the layers that eat the difference are listed. And how long the surgery itself takes.

Each comparison is made in several fresh processes, since what a process did before decides
whether the system gives it new pages of memory for every large result, which takes as long as
the arithmetic.
"""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import torch
from torch import nn

import labutils as lab

AMOUNTS = (0.3, 0.5, 0.7)
AIM = 0.75
ROUNDS = {256: 40, 1: 300}
PROCESSES = 5


def networks(kind: str) -> dict[str, nn.Module]:
    """Return a network and what is left of it."""
    torch.manual_seed(0)
    dense = getattr(lab, kind)()
    return {"dense": dense, **{f"{a:.0%}": lab.prune_filters(dense, a) for a in AMOUNTS}}


def times(kind: str, batch: int) -> pd.Series:
    """Time them in turn; medians in milliseconds."""
    table = lab.latency(networks(kind), batch, threads=None, rounds=ROUNDS[batch])
    return table.set_index("model")["median"]


def layer_times(kind: str, batch: int) -> pd.DataFrame:
    """Time their layers in turn; medians in milliseconds, a row a layer."""
    return lab.layer_latency(networks(kind), batch, threads=None)


def in_fresh_processes(function: Callable, *arguments: object) -> list:
    """Call a function in several processes, one after the other, each a new one."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        return [pool.submit(function, *arguments).result() for _ in range(PROCESSES)]


def compare(kind: str, batch: int) -> None:
    """Print the ratios for one network."""
    found = pd.DataFrame(in_fresh_processes(times, kind, batch))
    layers = sum(in_fresh_processes(layer_times, kind, batch)) / PROCESSES if batch > 1 else None
    models = networks(kind)
    low, middle, high = found["dense"].quantile([0, 0.5, 1])
    print(f"\n{kind}, batch {batch}: dense takes {middle:.2f} ms ({low:.2f} to {high:.2f})")
    for name, model in list(models.items())[1:]:
        macs = lab.count_macs(models["dense"]) / lab.count_macs(model)
        low, middle, high = (found["dense"] / found[name]).quantile([0, 0.5, 1])
        aim = f" (aim {AIM})" if batch == 256 else ""
        print(
            f"  {name} of the filters removed {model.widths!s:16} MACs / {macs:5.2f}, time / "
            f"{middle:.2f} ({low:.2f} to {high:.2f}): {middle / macs:.2f} of it{aim}"
        )
        if layers is not None and middle < AIM * macs:
            explain(models["dense"], model, layers["dense"], layers[name])


def explain(dense: nn.Module, slim: nn.Module, before: pd.Series, after: pd.Series) -> None:
    """Print where the slim network spends its time, and what was saved there."""
    macs = [lab.layer_table(model).set_index("layer")["macs"] for model in (dense, slim)]
    for name in after.sort_values(ascending=False).index[:4]:
        ratio = f"MACs / {macs[0][name] / macs[1][name]:5.2f}" if macs[1][name] else "no MACs    "
        print(
            f"      {name:6} {after[name] / after.sum():4.0%} of the time left: {ratio}, "
            f"time / {before[name] / after[name]:.2f}"
        )


def surgery(digits: lab.Digits) -> None:
    """Print how long it takes to remove filters, by criterion, and to meet a budget."""
    model = lab.load_pretrained()
    options = {
        "l1": {"amount": 0.5},
        "l1, global": {"amount": 0.5, "scope": "global"},
        "activation": {
            "amount": 0.5, "criterion": "activation", "calibration": digits.train[:1000]
        },
        "l1, budget": {"budget": {"macs": 300_000}},
    }  # fmt: skip
    print("\nRemoving half of SimpleCNN's filters")
    for name, given in options.items():
        lab.prune_filters(model, **given)
        spent = []
        for _ in range(15):
            started = time.perf_counter()
            lab.prune_filters(model, **given)
            spent.append((time.perf_counter() - started) * 1e3)
        spread = f"({min(spent):.1f} to {max(spent):.1f})"
        print(f"  {name:12} median {statistics.median(spent):6.1f} ms {spread}")


def main() -> None:
    """Print the figures."""
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    for kind in ("SimpleCNN", "LeNet5"):
        for batch in ROUNDS:
            compare(kind, batch)
    surgery(lab.load_mnist())


if __name__ == "__main__":
    main()
