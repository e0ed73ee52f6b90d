"""How long does a network take for a batch of images?"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from labutils.fit.evaluation import evaluating


def latency(
    models: Mapping[str, nn.Module | Callable[[Tensor], Tensor]],
    batch: int = 1,
    threads: int | None = 1,
    *,
    rounds: int = 50,
    image_shape: tuple[int, ...] = (1, 28, 28),
) -> pd.DataFrame:
    """Time several networks in turn, so that a busy moment of the machine hits them all.

    Parameters
    ----------
    models : networks (or functions of a batch) by name
    batch : images at a time, N x `image_shape`
    threads : CPU threads, set back afterwards; None leaves them as they are
    rounds : how often each one is timed, after three rounds of warming up

    Returns
    -------
    Table with a row for each network: `model`, `batch`, `threads`, and in milliseconds for
    the whole batch the `median` and the quartiles `low` and `high`.

    Raises
    ------
    ValueError
        There is no network, or batch, threads or rounds are below 1.
    """
    for name, value in (("batch", batch), ("threads", threads), ("rounds", rounds)):
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{name}={value!r}: give a whole number of at least 1.")
    if not models:
        raise ValueError("There is no network to time: give a dictionary from name to network.")
    images = torch.randn(batch, *image_shape, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {name: [] for name in models}
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        used = stack.enter_context(cpu_threads(threads))
        for model in models.values():
            if isinstance(model, nn.Module):
                stack.enter_context(evaluating(model))
        order, chance = list(models.items()), random.Random(0)
        for round_ in range(-3, rounds):
            chance.shuffle(order)  # so that none always finds the cache another one left
            for name, model in order:
                started = time.perf_counter()
                model(images)
                if round_ >= 0:
                    times[name].append((time.perf_counter() - started) * 1e3)
    table = pd.DataFrame(times).quantile([0.25, 0.5, 0.75]).T
    table = table.set_axis(["low", "median", "high"], axis="columns")
    table = table.rename_axis("model").reset_index()
    return table.assign(batch=batch, threads=used)[
        ["model", "batch", "threads", "median", "low", "high"]
    ]


def layer_latency(
    models: Mapping[str, nn.Sequential],
    batch: int = 1,
    threads: int | None = 1,
    *,
    rounds: int = 30,
    image_shape: tuple[int, ...] = (1, 28, 28),
) -> pd.DataFrame:
    """Time the layers of several networks of the same structure, the networks in turn.

    Parameters
    ----------
    As for `latency`.

    Returns
    -------
    Table with a row for each layer and a column for each network: the median in
    milliseconds for the whole batch.
    """
    stages: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {}
    with torch.inference_mode():
        for name, model in models.items():
            values = torch.randn(batch, *image_shape, generator=torch.Generator().manual_seed(0))
            with evaluating(model):
                for layer_name, layer in model.named_children():
                    stages.setdefault(layer_name, {})[name] = _with_input(layer, values)
                    values = layer(values)
    medians = {
        layer: latency(calls, batch, threads, rounds=rounds).set_index("model")["median"]
        for layer, calls in stages.items()
    }
    return pd.DataFrame(medians).T.rename_axis("layer")


def _with_input(layer: nn.Module, values: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function of anything that gives a layer always the same input."""
    return lambda _images: layer(values)


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[int]:
    """Use so many threads for a `with` block; give the number in use."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
