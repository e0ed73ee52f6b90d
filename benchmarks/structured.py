"""Does removing filters save the time it saves in arithmetic?

    python benchmarks/structured.py

For SimpleCNN and LeNet5 at 30, 50 and 70% of the filters removed, at batch 256 and batch 1:
how many times fewer multiply-accumulates (MACs), how many times less time, measured in turn
with the dense network. At batch 256 the second should be at least 0.75 of the first; where it
is less, the layers that eat the difference are listed. And how long the surgery itself takes.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import labutils as lab

AMOUNTS = (0.3, 0.5, 0.7)
AIM = 0.75
ROUNDS = {256: 40, 1: 300}


def compare(network: type[nn.Module]) -> None:
    """Print the ratios for one network."""
    torch.manual_seed(0)
    dense = network()
    slim = {amount: lab.prune_filters(dense, amount) for amount in AMOUNTS}
    for batch in (256, 1):
        models = {"dense": dense, **{f"{amount:.0%}": model for amount, model in slim.items()}}
        table = lab.latency(models, batch, threads=None, rounds=ROUNDS[batch])
        times = table.set_index("model")["median"]
        print(f"\n{network.__name__}, batch {batch}: dense takes {times['dense']:.2f} ms")
        for amount, model in slim.items():
            macs = lab.count_macs(dense) / lab.count_macs(model)
            faster = times["dense"] / times[f"{amount:.0%}"]
            print(
                f"  {amount:.0%} of the filters removed {model.widths!s:16} MACs / {macs:5.2f}, "
                f"time / {faster:5.2f}: {faster / macs:.2f} of it (aim {AIM} at batch 256)"
            )
            if batch == 256 and faster < AIM * macs:
                explain(dense, model, batch)


def explain(dense: nn.Module, slim: nn.Module, batch: int) -> None:
    """Print where the slim network spends its time, and what was saved there."""
    images = torch.randn(batch, 1, 28, 28)
    before, after = by_layer([dense, slim], images)
    macs = [lab.layer_table(model).set_index("layer")["macs"] for model in (dense, slim)]
    total = sum(after.values())
    for name in sorted(after, key=after.get, reverse=True)[:4]:
        ratio = f"MACs / {macs[0][name] / macs[1][name]:5.2f}" if macs[1][name] else "no MACs    "
        print(
            f"      {name:6} {after[name] / total:4.0%} of the time left: {ratio}, "
            f"time / {before[name] / after[name]:.2f}"
        )


def by_layer(models: list[nn.Module], images: torch.Tensor) -> list[dict[str, float]]:
    """Time each layer on its own input, the networks in turn; medians in milliseconds."""
    times = [{name: [] for name, _ in model.named_children()} for model in models]
    with torch.inference_mode():
        for round_ in range(-3, 30):
            for model, found in zip(models, times, strict=True):
                values = images
                for name, layer in model.named_children():
                    elapsed, values = milliseconds(layer, values)
                    if round_ >= 0:
                        found[name].append(elapsed)
    return [{name: statistics.median(each) for name, each in found.items()} for found in times]


def milliseconds(function: Callable, *arguments: object) -> tuple[float, object]:
    """Time one call; return milliseconds and result."""
    started = time.perf_counter()
    result = function(*arguments)
    return (time.perf_counter() - started) * 1e3, result


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
        times = [
            milliseconds(lambda given=given: lab.prune_filters(model, **given))[0]
            for _ in range(15)
        ]
        spread = f"({min(times):.1f} to {max(times):.1f})"
        print(f"  {name:12} median {statistics.median(times):6.1f} ms {spread}")


def main() -> None:
    """Print the figures."""
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    compare(lab.SimpleCNN)
    compare(lab.LeNet5)
    surgery(lab.load_mnist())


if __name__ == "__main__":
    main()
