"""Many networks in one table: methods x amounts x seeds, each measured once."""

import contextlib
import functools
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import asdict

import pandas as pd
from torch import nn
from tqdm import tqdm

from labutils.base import given
from labutils.base.digits import Digits, load_mnist
from labutils.base.structure import fingerprint
from labutils.base.writing import only_writer
from labutils.cost.latency import cpu_threads
from labutils.study import plan, tables
from labutils.study.measurement import TIMED_IMAGES, measure
from labutils.study.plan import Method, Task

AMOUNTS = (0.3, 0.5, 0.7, 0.9)
THREADS = 1  # of a worker: those on the same cores get in each other's way, forked ones hang


class MethodError(TypeError, ValueError):
    """A method returned something else than a network, or changed the one it was given."""


def compare(
    methods: Mapping[str, Method | nn.Module] | Sequence[Method] | None = None,
    amounts: Sequence[float] = AMOUNTS,
    networks: Mapping[int, nn.Module] | nn.Module | None = None,
    digits: Digits | None = None,
    *,
    part: str = "test",
    images: int | None = None,
    batch: int = TIMED_IMAGES,
    executor: futures.Executor | None = None,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune networks by several methods and amounts, and measure every one.

    Parameters
    ----------
    methods : functions of (model, amount) that return a new model, by name (or a sequence of
        functions, which have names); magnitude, structured and random by default. One with an
        argument `digits` that is not set gets the digits of this comparison. A finished
        network in place of a function is measured as it is.
    amounts : fractions in [0, 1]
    networks : the networks to prune, by seed; the five pretrained ones by default
    digits : what `load_mnist` returns, by default; others are sent to the workers
    part, images : the split to measure on, "validation" where something is to be chosen, and
        how many of its images, from the first; all by default
    batch : images at a time when timed
    executor : where to compute: None for here, or any `concurrent.futures.Executor`, as
        ``ProcessPoolExecutor(2, mp_context=get_context("spawn"))``, or
        ``distributed.Client.get_executor()`` for a Dask cluster. Times are comparable only
        where workers do not share cores.
    path : a CSV file that gets each row as soon as it is measured. Rows it already has are
        not measured again: after an interruption, the same call goes on. (A method is known by
        its name: after changing its code, use another name or another file.)

    Returns
    -------
    A row for each network, the unpruned ones first: `method`, `amount`, `seed`, `network` (a
    fingerprint of the unpruned weights), `part`, the attributes of `Measurement`, `change` (of
    the accuracy, in points, against the unpruned network), `removed` (share of the unpruned
    network's parameters that are zero or gone), `widths`, `seconds` spent, `error`: what went
    wrong, or nothing, and `digits` (a fingerprint of the images and labels).

    Raises
    ------
    TypeError, ValueError
        Nothing to do, an unknown split, an amount outside [0, 1]; a method that returns no
        network or changes the one it was given.
    RuntimeError
        A worker died, or another program writes into the file.
    """
    rules, networks = plan.check_methods(methods), plan.check_networks(networks)
    amounts, batch = given.amounts(amounts), given.whole(batch, "batch")
    if executor is not None and not isinstance(executor, futures.Executor):
        raise TypeError(
            f"executor is a {type(executor).__name__}: give None, or a concurrent.futures.Executor,"
            ' as ProcessPoolExecutor(2, mp_context=get_context("spawn")).'
        )
    columns, *data = plan.choose_images(digits, part, images, sent=executor is not None)
    tasks = plan.list_tasks(rules, amounts, networks, {**columns, "batch": batch}, *data)
    path = None if path is None else given.path(path)
    with contextlib.nullcontext() if path is None else only_writer(path):
        known = {} if path is None else tables.known_rows(path)
        rows = {task.key: known.pop(task.key, {"error": "not measured"}) for task in tasks}
        missing = [task for task in tasks if rows[task.key]["error"]]
        bar = tqdm(total=len(tasks), file=sys.stdout, ncols=80, disable=not progress)
        with bar, contextlib.closing(measure_rows(missing, executor)) as measured:
            bar.update(len(tasks) - len(missing))
            for task, row in measured:
                rows[task.key] = row
                if path is not None:
                    tables.append_row(path, row)
                if row["error"]:
                    bar.write("{method} at {amount:g}, seed {seed}: {error}".format(**row))
                bar.update()
        if path is not None:
            tables.save_comparison(tables.as_table([*rows.values(), *known.values()]), path)
    return tables.as_table(rows.values())


def measure_rows(
    tasks: Sequence[Task], executor: futures.Executor | None
) -> Iterator[tuple[Task, dict[str, object]]]:
    """Yield each task with its row as soon as that is measured, here or elsewhere."""
    if executor is None:
        yield from ((task, measure_row(task)) for task in tasks)
        return
    running = {}
    try:
        for task in tasks:
            running[executor.submit(measure_row, task, THREADS)] = task
        for future in futures.as_completed(running):
            yield running[future], future.result()
    except MethodError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"The executor could not measure a row ({type(error).__name__}: {error}): a worker was "
            "killed or ran out of memory, or it could not find a function of yours, which must be "
            "imported from a .py file. Where path= was given, the rows measured so far are in the "
            "file, and the same call with a new executor goes on."
        ) from error
    finally:
        for future in running:
            future.cancel()


def measure_row(task: Task, threads: int | None = None) -> dict[str, object]:
    """Prune and measure one network, wherever this runs; an error makes a row that tells it."""
    columns = task.columns
    row = {**dict.fromkeys(tables.COLUMNS, math.nan), **columns, "widths": "", "error": ""}
    started = time.perf_counter()
    try:
        with cpu_threads(threads):
            split = task.split or getattr(published(), columns["part"])[: columns["images"]]
            pruned = apply(task)
            row |= asdict(measure(pruned, split, reference=task.model, batch=columns["batch"]))
    except MethodError:
        raise
    except Exception as error:
        return row | {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    before = sum(parameter.numel() for parameter in task.model.parameters())
    row["removed"] = 1 - row["nonzero"] / before
    row["widths"] = "-".join(map(str, getattr(pruned, "widths", ())))
    row["seconds"] = time.perf_counter() - started
    return row


def apply(task: Task) -> nn.Module:
    """Return the pruned network, having watched what the method does."""
    rule, model, name = task.rule, task.model, task.columns["method"]
    if isinstance(rule, nn.Module):
        return rule
    options = {"digits": task.digits or published()} if plan.takes_digits(rule) else {}
    pruned = rule(model, task.columns["amount"], **options)
    changed = pruned is model or fingerprint(model) != task.columns["network"]
    if changed or not isinstance(pruned, nn.Module):
        did = "changed or returned its own network" if changed else f"returned {pruned!r:.60}"
        raise MethodError(
            f"The method {name!r} {did}: it should prune a copy (copy.deepcopy(model)) and "
            "return that."
        )
    history = getattr(pruned, "history", None)  # the model's own where nothing was trained
    if getattr(history, "interrupted", False) and history != getattr(model, "history", None):
        raise KeyboardInterrupt  # half a training is no result
    return pruned


@functools.lru_cache(maxsize=1)
def published() -> Digits:
    """Read the digits, once in each process."""
    return load_mnist()
