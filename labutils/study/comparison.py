"""Many networks in one table: methods x amounts x seeds, each measured once."""

import functools
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from torch import nn
from tqdm import tqdm

from labutils.base.digits import Digits, Split, load_mnist
from labutils.base.structure import fingerprint
from labutils.base.writing import only_writer
from labutils.cost.latency import cpu_threads
from labutils.study.measurement import BATCH, Measurement, measure
from labutils.study.plan import Method, Task, list_tasks, refuse_unsendable, with_images
from labutils.study.sweep import run_tasks
from labutils.study.tables import (
    append_row,
    load_comparison,
    save_comparison,
    with_change,
)

AMOUNTS = (0.3, 0.5, 0.7, 0.9)
KEY = ["method", "amount", "seed", "network", "part", "images", "batch"]
COLUMNS = [
    *("method", "amount", "seed", "network", "part", "images", "accuracy", "low", "high", "change"),
    *("sparsity", "removed", "widths", "parameters", "nonzero", "macs", "nonzero_macs"),
    *("bytes_dense", "bytes_file", "bytes_compressed", "batch", "latency", "latency_low"),
    *("latency_high", "speedup", "seconds", "error"),
]


class WrongResultError(TypeError):
    """A method returned something else than a network."""


class ChangedInputError(ValueError):
    """A method changed the network it was given."""


def compare(
    methods: Mapping[str, Method | nn.Module] | Sequence[Method] | None = None,
    amounts: Sequence[float] = AMOUNTS,
    networks: Mapping[int, nn.Module] | nn.Module | None = None,
    digits: Digits | None = None,
    *,
    part: str = "test",
    images: int | None = None,
    batch: int = BATCH,
    executor: Executor | int | None = None,
    path: str | os.PathLike | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune networks by several methods and amounts, and measure every one.

    Parameters
    ----------
    methods : functions of (model, amount) that return a new model, by name (or a sequence of
        functions, which have names); magnitude, structured and random by default. A finished
        network in place of a function is measured as it is.
    amounts : fractions in [0, 1]
    networks : the networks to prune, by seed; the five pretrained ones by default
    digits : what `load_mnist` returns; without it every worker reads the digits itself
    part, images : the split to measure on, "validation" where something is to be chosen, and
        how many of its images, from the first; all by default
    batch : images at a time when timed
    executor : where to compute. None: here; a number: so many processes; or an Executor, as
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
    network's parameters that are zero or gone), `widths`, `seconds` spent, and `error`: what
    went wrong, or nothing.

    Raises
    ------
    TypeError, ValueError
        Nothing to do, an unknown part, an amount outside [0, 1]; a method that returns no
        network or changes the one it was given.
    """
    tasks = list_tasks(methods, amounts, networks, batch)
    tasks = with_images(tasks, digits, part, images, executor)
    refuse_unsendable(tasks, executor)
    if path is None:
        return _table(_measure_all(tasks, {}, executor, None, progress))
    path = Path(path)
    with only_writer(path):
        known = _known_rows(path)
        table = _table(_measure_all(tasks, known, executor, path, progress))
        keys = {task.key for task in tasks}
        others = [row for key, row in known.items() if key not in keys]
        save_comparison(_table([*table.to_dict("records"), *others]), path)
    return table


def _measure_all(
    tasks: Sequence[Task],
    done: Mapping[tuple, dict],
    executor: Executor | int | None,
    path: Path | None,
    progress: bool,
) -> list[dict]:
    """Measure what is not done yet; return all rows, in the order of the tasks."""
    keys = [task.key for task in tasks]
    rows = {key: done[key] for key in keys if key in done and not done[key]["error"]}
    missing = [task for task, key in zip(tasks, keys, strict=True) if key not in rows]
    bar = tqdm(total=len(tasks), initial=len(rows), file=sys.stdout, ncols=80, disable=not progress)
    with bar:
        for place, result in run_tasks(measure_row, missing, executor):
            task = missing[place]
            if isinstance(result, (WrongResultError, ChangedInputError)):
                raise result
            if isinstance(result, Exception):
                result = _failed(task, result)
                bar.write(f"{task.method} at {task.amount:g}, seed {task.seed}: {result['error']}")
            rows[task.key] = result
            if path is not None:
                append_row(path, {column: result[column] for column in COLUMNS})
            bar.update()
    return [rows[key] for key in keys]


def measure_row(task: Task) -> dict[str, object]:
    """Prune and measure one network, wherever this runs."""
    split = task.split if task.split is not None else _read(task.part, task.images)
    started = time.perf_counter()
    with cpu_threads(task.threads):
        pruned = _apply(task)
        found = measure(pruned, split, reference=task.model, batch=task.batch)
    before = sum(parameter.numel() for parameter in task.model.parameters())
    widths = getattr(pruned, "widths", ())
    return {
        **_named(task),
        **asdict(found),
        "change": math.nan,  # known once the unpruned network is measured
        "removed": 1 - found.nonzero / before,
        "widths": "-".join(map(str, widths)),
        "seconds": time.perf_counter() - started,
        "error": "",
    }


def _apply(task: Task) -> nn.Module:
    """Return the pruned network, having watched what the method does."""
    if task.rule is None:
        return task.model
    if isinstance(task.rule, nn.Module):
        return task.rule
    before = fingerprint(task.model)
    pruned = task.rule(task.model, task.amount)
    if not isinstance(pruned, nn.Module):
        raise WrongResultError(
            f"The method {task.method!r} returned a {type(pruned).__name__}: it should return "
            "the pruned network. Is there a `return` at its end?"
        )
    if pruned is task.model or fingerprint(task.model) != before:
        raise ChangedInputError(
            f"The method {task.method!r} changed the network it was given, or returned that same "
            "one: it should work on a copy (copy.deepcopy(model)) and return the copy."
        )
    return pruned


def _failed(task: Task, error: Exception) -> dict[str, object]:
    """Return the row of a task that ended in an error."""
    numbers = [field.name for field in fields(Measurement) if field.name not in ("images", "batch")]
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return {
        **_named(task),
        **dict.fromkeys([*numbers, "change", "removed", "seconds"], math.nan),
        "images": task.images,
        "batch": task.batch,
        "widths": "",
        "error": message,
    }


def _named(task: Task) -> dict[str, object]:
    names = ("method", "amount", "seed", "network", "part")
    return dict(zip(names, task.key, strict=False))


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Make the table of rows, in the usual order of columns."""
    return with_change(pd.DataFrame(rows)[COLUMNS])


@functools.lru_cache(maxsize=2)
def _read(part: str, images: int) -> Split:
    """Read the digits, once in each process."""
    return getattr(load_mnist(), part)[:images]


def _known_rows(path: Path) -> dict[tuple, dict]:
    """Return the rows a file has, mending a last line that was cut off."""
    if not path.exists():
        return {}
    table = load_comparison(path)
    save_comparison(table, path)
    keys = table[KEY].itertuples(index=False, name=None)
    return dict(zip(keys, table.to_dict("records"), strict=True))
