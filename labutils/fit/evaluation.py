"""How is a network run, how often is it right, and how sure is that?"""

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split

Z_95 = 1.959963984540054  # the normal distribution holds 95 % within so many deviations
BATCH = 100  # activations of 100 images stay in the processor's cache; 1,000 take twice as long


@dataclass(frozen=True)
class Evaluation:
    """How a network did on one split.

    Attributes
    ----------
    accuracy : share of images it names correctly, in [0, 1]
    correct, total : the images behind that share
    loss : mean cross-entropy, in nats
    interval : Wilson's 95 % interval for the accuracy, (low, high)
    """

    accuracy: float
    correct: int
    total: int
    loss: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.accuracy:.2%} ({self.correct:,} of {self.total:,}; "
            f"95% interval {low:.2%} to {high:.2%})"
        )


def evaluate(model: nn.Module, split: Split, batch_size: int = BATCH) -> Evaluation:
    """Measure how often a network is right, where it is: on the CPU, or on its GPU.

    Parameters
    ----------
    model : gives logits N x classes for images; left as it was, mode included
    split : images and labels, at least one
    batch_size : images at a time; changes the time taken, not the answer

    Raises
    ------
    TypeError
        `model` is no network, `split` no Split.
    ValueError
        The split is empty, does not fit the network, or the outputs are not finite.
    """
    _check(model, split, batch_size)
    return judge(model, split, batch_size)


def judge(model: nn.Module, split: Split, batch_size: int = BATCH) -> Evaluation:
    """Do what `evaluate` does, where network and split have been checked."""
    correct, loss = 0, 0.0
    for logits, labels in answers(model, split, batch_size):
        correct += int((logits.argmax(1) == labels).sum())
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss += float(F.cross_entropy(precise, labels, reduction="sum"))
    total = len(split.labels)
    if not math.isfinite(loss):
        raise ValueError(
            f"The network's outputs on these {total:,} images are not finite numbers, so it "
            "has no accuracy: look for NaN or infinity in its weights or in the images."
        )
    return Evaluation(
        correct / total, correct, total, loss / total, wilson_interval(correct, total)
    )


@dataclass(frozen=True)
class PairedDifference:
    """What two networks made of the same images.

    Attributes
    ----------
    only_one, only_other : images that only the first, or only the second, reads correctly
    points, low, high : accuracy of the second minus that of the first, in percentage points,
        with its 95% interval
    """

    only_one: int
    only_other: int
    points: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves 0 out, so that these images can tell the two apart."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.points:+.2f} points (95% interval {self.low:+.2f} to {self.high:+.2f})"


def paired_difference(one: nn.Module, other: nn.Module, split: Split) -> PairedDifference:
    """Say how much better or worse the second network is than the first, on the same images.

    Images that both read correctly, or both wrongly, say nothing about the difference; what
    counts is those on which only one is right. If the two were equally good, each would be right
    on half of them. The interval is Wilson's for that share: it leaves 0 out just where the test
    of McNemar (1947) would say, with 95%, that the networks differ.

    Parameters
    ----------
    one, other : networks, as for `evaluate`
    split : the images both read
    """
    labels = given.split(split).labels
    first, second = (predict(model, split).argmax(1).eq(labels.cpu()) for model in (one, other))
    lost, won = int((first & ~second).sum()), int((second & ~first).sum())
    total, apart = len(labels), lost + won
    low, high = wilson_interval(won, apart) if apart else (0.5, 0.5)
    points = [100 * apart / total * (2 * share - 1) for share in (low, high)]
    return PairedDifference(lost, won, 100 * (won - lost) / total, *points)


def predict(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Return the logits, N x classes on the CPU, for every image of a split."""
    _check(model, split, batch_size)
    return torch.cat([logits.cpu() for logits, _ in answers(model, split, batch_size)])


def answers(model: nn.Module, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and labels batch by batch, on the network's device and of its precision."""
    like = next((p for p in model.parameters() if p.is_floating_point()), split.images)
    least, most = int(split.labels.min()), int(split.labels.max())
    layers = reordered(model)
    # Inference mode is faster; but weights that a first image makes could never be trained.
    lazy = any(map(nn.parameter.is_lazy, model.parameters()))
    with evaluating(model), torch.no_grad() if lazy else torch.inference_mode():
        for start in range(0, len(split.labels), batch_size):
            images = split.images[start : start + batch_size].to(like)
            labels = split.labels[start : start + batch_size].to(like.device)
            try:
                logits = layers(channels_last(images))
            except (RuntimeError, ValueError, TypeError) as error:
                raise ValueError(
                    f"This {type(model).__name__} cannot take {images.dtype} images of shape "
                    f"{tuple(images.shape)}: {str(error).strip().splitlines()[0]}"
                ) from error
            is_tensor = isinstance(logits, Tensor)
            if not is_tensor or logits.dim() != 2 or len(logits) != len(labels):
                got = f"shape {tuple(logits.shape)}" if is_tensor else type(logits).__name__
                raise ValueError(
                    f"The network turned {len(labels)} images into outputs of {got}: "
                    "expected one row of logits for each image."
                )
            classes = logits.shape[1]
            if least < 0 or most >= classes:
                raise ValueError(
                    f"The labels go from {least} to {most}, but the network has {classes} "
                    f"outputs, for classes 0 to {classes - 1}: give a split that fits."
                )
            yield logits, labels


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a `with` block, then back as it was."""
    training = list(filter(attrgetter("training"), model.modules()))
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def reordered(model: nn.Module) -> nn.Module:
    """Return the same layers in an order that gives the same sooner: pooling before its ReLU.

    The largest of the values cut off at zero is the largest value cut off at zero, for
    gradients too; and pooling leaves the ReLU a quarter of the work. A network that is no plain
    chain, or in which somebody watches a layer, comes back as it is.
    """
    if type(model).forward is not nn.Sequential.forward:
        return model
    for layer in model.modules():
        before, after = layer._forward_pre_hooks, layer._forward_hooks
        if before or after or layer._backward_pre_hooks or layer._backward_hooks:
            return model
    layers = list(model)
    for i in range(len(layers) - 1):
        pools = isinstance(layers[i + 1], nn.MaxPool2d) and not layers[i + 1].return_indices
        if isinstance(layers[i], nn.ReLU) and pools:
            layers[i], layers[i + 1] = layers[i + 1], layers[i]
    return nn.Sequential(*layers)


def channels_last(images: Tensor) -> Tensor:
    """Mark images N x C x H x W as channels-last, in which pooling on a CPU is fast.

    Only the strides change, and every layer behind follows them; the values, the shape
    and the network stay as they are. Other tensors, and other devices, pass unchanged.
    """
    if images.dim() != 4 or images.device.type != "cpu":
        return images
    if images.shape[1] != 1:
        return images.contiguous(memory_format=torch.channels_last)
    # With one channel both layouts are the same bytes; PyTorch looks at the strides.
    height, width = images.shape[2:]
    return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Give the 95% interval for a share that was counted: Wilson 1927, as (low, high).

    Unlike the share plus or minus two standard errors, it never leaves [0, 1] and is
    still right near 0 and 1, where accuracies on MNIST lie.

    >>> [round(bound, 4) for bound in wilson_interval(9900, 10000)]
    [0.9879, 0.9918]
    """
    total = given.whole(total, "total", 1, sys.maxsize)
    correct = given.whole(correct, "correct", 0, total)
    share, weight = correct / total, Z_95 * Z_95 / total
    centre = share + weight / 2
    spread = math.sqrt(share * (1 - share) * weight + weight * weight / 4)
    # At the ends the bound is exactly 0 or 1; rounding must not move it.
    low = (centre - spread) / (1 + weight) if correct > 0 else 0.0
    high = (centre + spread) / (1 + weight) if correct < total else 1.0
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Give mean and 95% interval of something measured on a few seeds: (mean, low, high).

    With the differences between two methods, seed by seed, the interval tells whether one is
    better than the other: where it holds 0, these seeds cannot tell. Student 1908.

    Parameters
    ----------
    values : two or more finite numbers, one for each seed; as from a normal distribution

    >>> [round(value, 2) for value in mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])]
    [3.0, 1.04, 4.96]
    """
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.ndim != 1 or len(numbers) < 2 or not np.isfinite(numbers).all():
        raise ValueError(
            f"An interval needs at least two finite numbers, one for each seed, not {values!r}."
        )
    from scipy.special import stdtrit  # here: it takes a tenth of the package's start

    mean = float(numbers.mean())
    t = stdtrit(len(numbers) - 1, 0.975)
    reach = float(t * numbers.std(ddof=1) / math.sqrt(len(numbers)))
    return mean, mean - reach, mean + reach


def _check(model: nn.Module, split: Split, batch_size: int) -> None:
    given.module(model)
    given.split(split)
    given.whole(batch_size, "batch_size")
