"""How long does a network take for a batch of images?"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.cost.macs import fitting
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

    Each is timed where it is, on the CPU or on its GPU, and gets images of its precision.

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
    TypeError, ValueError
        There is no network, images of that shape do not fit it, or a number is below 1.
    """
    images = _images(models, batch, image_shape)
    given.whole(rounds, "rounds")
    times: dict[str, list[float]] = {name: [] for name in models}
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        used = stack.enter_context(cpu_threads(threads))
        inputs = dict.fromkeys(models, images)  # what functions get
        for name, model in models.items():
            if isinstance(model, nn.Module):
                stack.enter_context(evaluating(model))
                inputs[name] = fitting(model, images)
        order, chance = list(models.items()), random.Random(0)
        for round_ in range(-3, rounds):
            chance.shuffle(order)  # so that none always finds the cache another one left
            for name, model in order:
                started = time.perf_counter()
                output = model(inputs[name])
                if getattr(output, "is_cpu", True) is False:  # a GPU is still at it
                    torch.accelerator.synchronize(output.device)
                if round_ >= 0:
                    times[name].append((time.perf_counter() - started) * 1e3)
    table = pd.DataFrame(times).quantile([0.25, 0.5, 0.75]).T
    table = table.set_axis(["low", "median", "high"], axis="columns").rename_axis("model")
    table = table.reset_index().assign(batch=batch, threads=used)
    return table[["model", "batch", "threads", "median", "low", "high"]]


def layer_latency(
    models: Mapping[str, nn.Sequential],
    batch: int = 1,
    threads: int | None = 1,
    *,
    rounds: int = 30,
    image_shape: tuple[int, ...] = (1, 28, 28),
) -> pd.DataFrame:
    """Time the layers of several networks of the same structure, the networks in turn.

    Everything is as for `latency`, the networks being chains (nn.Sequential) of layers of the
    same names.

    Returns
    -------
    Table with a row for each layer and a column for each network: the median in
    milliseconds for the whole batch.
    """
    images = _images(models, batch, image_shape)
    chains = [model for model in models.values() if isinstance(model, nn.Sequential)]
    if len(chains) < len(models) or len({tuple(chain._modules) for chain in chains}) > 1:
        raise ValueError("models: give chains (nn.Sequential) whose layers have the same names.")
    medians = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for chain in chains:  # while its layers are timed: else BatchNorm would go on learning
            stack.enter_context(evaluating(chain))
        values = {name: fitting(chain, images) for name, chain in models.items()}
        for layer in chains[0]._modules:
            layers = {name: chain._modules[layer] for name, chain in models.items()}
            calls = {
                name: lambda _images, run=layers[name], value=values[name]: run(value)
                for name in models
            }
            table = latency(calls, batch, threads, rounds=rounds).set_index("model")
            medians[layer] = table["median"]
            values = {name: layers[name](values[name]) for name in models}
    return pd.DataFrame(medians).T.rename_axis("layer")


def _images(models: Mapping, batch: int, image_shape: tuple[int, ...]) -> Tensor:
    """Draw a batch of images, if there is a network to time with them."""
    for name, model in given.named(models, "models", "{'dense': model}").items():
        given.instance(model, Callable, f"models[{name!r}]", "a network")
    shape = (given.whole(batch, "batch"), *given.shape(image_shape))
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[int]:
    """Use so many threads for a `with` block; give the number in use."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(given.whole(count, "threads", 1, 1024))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
