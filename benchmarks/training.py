"""How fast are training and evaluation, next to the usual way and to the arithmetic alone?

    python benchmarks/training.py            about ten minutes on two cores
    python benchmarks/training.py --quick    the ratios only, two minutes

Everything is measured in turn within one run, since times on one machine at two moments
compare badly; read the ratios, not the seconds. Each variant has a process of its own, as it
would have in a notebook: in a shared one, the memory one variant leaves behind for the
next decides as much as its code.
"""

import argparse
import contextlib
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

import labutils as lab
from labutils.base.digits import PIXEL_MEAN, PIXEL_STD

STEPS, BATCH = 86, 128  # a fifth of an epoch at a time
ROUNDS = 5
TRAINING, EVALUATION = "an epoch of training", "evaluating 10,000 images"


def seconds(action: Callable[[], None]) -> float:
    """Time one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def usual_loader(train: bool) -> DataLoader:
    """Make the loader of most tutorials: decode, ToTensor and Normalize image by image."""
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((PIXEL_MEAN,), (PIXEL_STD,))]
    )
    dataset = MNIST(lab.lab_home() / "data", train=train, transform=transform)
    if train:
        dataset = Subset(dataset, range(STEPS * BATCH))
    return DataLoader(dataset, batch_size=BATCH, shuffle=train)


def train_usually(loader: DataLoader) -> None:
    """Make the same steps as `lab.train`, with the usual loader and loop."""
    model = lab.SimpleCNN()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, STEPS)
    for images, labels in loader:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def evaluate_usually(model: nn.Module, loader: DataLoader) -> None:
    """Count right answers with the usual loader and loop."""
    with torch.no_grad():
        for images, labels in loader:
            (model(images).argmax(1) == labels).sum().item()


def multiply(macs: int, size: int = 1024) -> None:
    """Do (at least) so many multiply-accumulates as one large matrix product after another."""
    matrix = torch.ones(size, size)
    for _ in range(-(-macs // size**3)):
        matrix @ matrix


def report(name: str, times: dict[str, list[float]], scale: float) -> None:
    """Print medians, scaled to the whole, and the ratios to ours, round by round."""
    print(f"\n{name} (median of {ROUNDS} rounds in turn)")
    for variant, values in times.items():
        ratios = [theirs / ours for theirs, ours in zip(values, times["ours"], strict=True)]
        print(
            f"  {variant:22} {scale * statistics.median(values):6.2f} s,  "
            f"{statistics.median(ratios):.2f} times ours ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    ratios = [a / b for a, b in zip(times["ours"], times["arithmetic alone"], strict=True)]
    print(
        f"  ours: {statistics.median(ratios):.2f} times the arithmetic "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


@functools.cache
def variants(task: str) -> dict[str, Callable[[], None]]:
    """Prepare a part of an epoch, or an evaluation, in three ways."""
    macs = int(lab.layer_table(lab.SimpleCNN())["macs"].sum())
    digits, model = lab.load_mnist(), lab.load_pretrained()
    loader = usual_loader(train=task == TRAINING)
    if task == TRAINING:
        part = lab.Digits(digits.train[: STEPS * BATCH], digits.validation[:1], digits.test)
        return {
            "ours": lambda: lab.train(lab.SimpleCNN(), part, epochs=1, progress=False),
            "DataLoader, ToTensor": lambda: train_usually(loader),
            # Backward costs two products for each of the forward pass: hence 3 x.
            "arithmetic alone": lambda: multiply(3 * macs * STEPS * BATCH),
        }
    return {
        "ours": lambda: lab.evaluate(model, digits.test),
        "DataLoader, ToTensor": lambda: evaluate_usually(model, loader),
        "arithmetic alone": lambda: multiply(macs * len(digits.test)),
    }


def measure(task: str, variant: str) -> float:
    """Time one variant; runs in that variant's own process."""
    return seconds(variants(task)[variant])


def compare_speed(task: str, scale: float) -> None:
    """Measure the variants in turn, a process each, after one round to warm up."""
    names = ("ours", "DataLoader, ToTensor", "arithmetic alone")
    spawn = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)) for name in names
        }
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(1 + ROUNDS):
            for name, worker in workers.items():
                times[name].append(worker.submit(measure, task, name).result())
    report(task, {name: values[1:] for name, values in times.items()}, scale)


def accuracy_and_time(digits: lab.Digits) -> None:
    """Train for one, two and five epochs with five seeds: accuracy reached, seconds taken."""
    fastest = None
    for epochs in (1, 2, 5):
        accuracies, times = [], []
        for seed in range(5):
            torch.manual_seed(seed)
            model = lab.SimpleCNN()
            times.append(lab.train(model, digits, epochs, seed, progress=False).seconds)
            accuracies.append(lab.evaluate(model, digits.test).accuracy)
        mean = statistics.mean(accuracies)
        listed = " ".join(f"{accuracy:.2%}" for accuracy in accuracies)
        print(
            f"{epochs} epochs: mean test accuracy {mean:.3%} of {listed}; "
            f"{statistics.median(times):.1f} s"
        )
        if fastest is None and mean >= 0.99:
            fastest = (epochs, statistics.median(times))
    if fastest:
        print(f"99% test accuracy on average: {fastest[0]} epochs, {fastest[1]:.1f} s")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the ratios only")
    quick = parser.parse_args().quick
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    digits = lab.load_mnist()
    compare_speed(TRAINING, scale=len(digits.train) / (STEPS * BATCH))
    compare_speed(EVALUATION, scale=1)
    if not quick:
        print()
        accuracy_and_time(digits)


if __name__ == "__main__":
    main()
