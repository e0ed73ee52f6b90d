"""What is a network worth, and what does it cost? All of it, measured, in one record."""

from dataclasses import dataclass

from torch import nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.cost.latency import latency
from labutils.cost.macs import count_macs
from labutils.cost.sizes import model_bytes
from labutils.fit.evaluation import evaluate
from labutils.prune.weights import sparsity

TIMED_IMAGES, ROUNDS = 64, 15  # images at a time when timed, and how often


@dataclass(frozen=True)
class Measurement:
    """What `measure` found.

    Attributes
    ----------
    accuracy, low, high : share of images named correctly, and its 95% interval, in [0, 1]
    images : how many there were
    sparsity : share of zeros among the weights, in [0, 1]
    parameters, nonzero : weights and biases, and those that are not zero
    macs, nonzero_macs : multiply-accumulates for one image that a dense kernel executes, and
        those among them with a weight that is not zero
    bytes_dense, bytes_file, bytes_compressed : the tensors in memory, the ordinary file, a file
        without zeros (indices counted, really written), as in `Sizes`
    latency, latency_low, latency_high : median and quartiles, in milliseconds for `batch`
        images on one thread
    speedup : how many times faster than the reference timed in turn with it (1.0 without one)
    batch : images at a time when timed
    """

    accuracy: float
    low: float
    high: float
    images: int
    sparsity: float
    parameters: int
    nonzero: int
    macs: int
    nonzero_macs: int
    bytes_dense: int
    bytes_file: int
    bytes_compressed: int
    latency: float
    latency_low: float
    latency_high: float
    speedup: float
    batch: int


def measure(
    model: nn.Module, split: Split, *, reference: nn.Module | None = None, batch: int = TIMED_IMAGES
) -> Measurement:
    """Measure a network where it is: accuracy, zeros, operations, bytes and time.

    Parameters
    ----------
    split : images and labels, at least one
    reference : a network to time in turn with it, as the unpruned one
    batch : images at a time when timed

    >>> from labutils.base.digits import load_mnist
    >>> from labutils.base.files import load_pretrained
    >>> measure(load_pretrained(), load_mnist().test[:100]).parameters
    105866
    """
    found, sizes = evaluate(given.network(model), split), model_bytes(model)
    shape = tuple(split.images.shape[1:])
    timed = {"model": model} if reference is None else {"model": model, "reference": reference}
    times = latency(timed, batch, rounds=ROUNDS, image_shape=shape).set_index("model")
    parameters = [parameter.detach() for parameter in model.parameters()]
    return Measurement(
        accuracy=found.accuracy,
        low=found.interval[0],
        high=found.interval[1],
        images=found.total,
        sparsity=sparsity(model),
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzero=sum(int(parameter.count_nonzero()) for parameter in parameters),
        macs=count_macs(model, shape),
        nonzero_macs=count_macs(model, shape, nonzero=True),
        bytes_dense=sizes.dense,
        bytes_file=sizes.file,
        bytes_compressed=sizes.compressed,
        latency=float(times.loc["model", "median"]),
        latency_low=float(times.loc["model", "low"]),
        latency_high=float(times.loc["model", "high"]),
        speedup=float(times["median"].iloc[-1] / times["median"].iloc[0]),
        batch=batch,
    )
