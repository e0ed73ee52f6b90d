"""What does waiting cost: PyTorch's threads as it has them, and as labutils has them wait?

    python benchmarks/waiting.py                  a minute on two cores that do nothing else
    python benchmarks/waiting.py OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=100000    other ways, too

Evaluates 10,000 images with two threads, and with one for comparison, on a machine that is idle
and beside two processes that compute without end. Each way has a process of its own; all are
measured in turn, in each of the rounds, since times at two moments compare badly.
"""

import functools
import importlib
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

ROUNDS, BUSY = 9, 2
# What is imported first, how many threads compute, and a variable to set: labutils changes nothing
# once PyTorch is there.
WAYS = {
    "as PyTorch has it": ("torch", 2, ""),
    "as labutils sets it": ("labutils", 2, ""),
    "one thread": ("torch", 1, ""),
    **{setting: ("torch", 2, setting) for setting in sys.argv[1:] if "=" in setting},
}


@functools.cache
def prepare(first: str, threads: int, setting: str) -> Callable[[], object]:
    """Load what an evaluation needs."""
    if setting:
        name, _, os.environ[name] = setting.partition("=")
    importlib.import_module(first)
    import torch

    import labutils as lab

    torch.set_num_threads(threads)
    model, test = lab.load_pretrained(), lab.load_mnist().test
    lab.evaluate(model, test)  # the first is slower
    return lambda: lab.evaluate(model, test)


def seconds(*way: str | int) -> float:
    """Time one evaluation; runs in the process of its way."""
    evaluate = prepare(*way)
    started = time.perf_counter()
    evaluate()
    return time.perf_counter() - started


def compute() -> None:
    """Keep a processor busy."""
    while True:
        pass


def main() -> None:
    """Measure and print."""
    spawn = multiprocessing.get_context("spawn")
    times: dict[tuple[str, str], list[float]] = {
        (state, way): [] for state in ("idle", "busy") for way in WAYS
    }
    with ExitStack() as stack:
        workers = {way: stack.enter_context(ProcessPoolExecutor(1, spawn)) for way in WAYS}
        for way, worker in workers.items():
            worker.submit(seconds, *WAYS[way]).result()
        for state in ("idle", "busy") * ROUNDS:
            others = [
                spawn.Process(target=compute, daemon=True) for _ in range(BUSY * (state == "busy"))
            ]
            for other in others:
                other.start()
            time.sleep(len(others))  # until they have started
            for way, worker in workers.items():
                times[state, way].append(worker.submit(seconds, *WAYS[way]).result())
            for other in others:
                other.terminate()
    print(f"Seconds to evaluate 10,000 images, median of {ROUNDS} rounds (least to most)")
    for (state, way), found in times.items():
        median, least, most = statistics.median(found), min(found), max(found)
        print(f"  {state}, {way:23} {median:6.2f} ({least:.2f} to {most:.2f})")


if __name__ == "__main__":
    main()
