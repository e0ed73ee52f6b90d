"""How often is a network right, and how sure is that?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base.digits import Split
from labutils.base.networks import evaluating
from labutils.fit.layout import fast_forward

Z_95 = 1.959963984540054  # the normal distribution holds 95 % within so many deviations
# Student's t distribution with 1, 2, ... degrees of freedom holds 95 % within so many.
T_95 = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004),
    *(2.262157, 2.228139, 2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905),
    *(2.109816, 2.100922, 2.093024),
)
BATCH = 100  # activations of 100 images stay in the processor's cache; 1,000 take twice as long


@dataclass(frozen=True)
class Evaluation:
    """How a network did on one split.

    Attributes
    ----------
    accuracy : share of images it names rightly, in [0, 1]
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
    """Measure how often a network is right.

    Parameters
    ----------
    model : gives logits N x classes for images; left as it was, mode included
    split : images and labels, at least one
    batch_size : images at a time; changes the time taken, not the answer

    Raises
    ------
    TypeError
        `split` is not a Split.
    ValueError
        The split is empty, the outputs do not fit it, or are not finite.
    """
    correct, loss = 0, 0.0
    for logits, labels in _answers(model, split, batch_size):
        correct += int((logits.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    total = len(split)
    if not math.isfinite(loss):
        raise ValueError(
            f"The network's outputs on these {total:,} images are not finite numbers, so it "
            "has no accuracy: look for NaN or infinity in its weights or in the images."
        )
    return Evaluation(
        correct / total, correct, total, loss / total, wilson_interval(correct, total)
    )


def predict(model: nn.Module, split: Split, batch_size: int = BATCH) -> Tensor:
    """Return the logits, N x classes on the CPU, for every image of a split."""
    return torch.cat([logits.cpu() for logits, _ in _answers(model, split, batch_size)])


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Give the interval for a share that was counted: Wilson 1927, as (low, high).

    Unlike the share plus or minus two standard errors, it never leaves [0, 1] and is
    still right near 0 and 1, where accuracies on MNIST lie.

    >>> [round(bound, 4) for bound in wilson_interval(9900, 10000)]
    [0.9879, 0.9918]
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(
            f"{correct} right out of {total}: give counts with 0 <= correct <= total, total > 0."
        )
    share, weight = correct / total, z * z / total
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
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or len(numbers) < 2 or not np.isfinite(numbers).all():
        raise ValueError(
            f"An interval needs at least two finite numbers, one for each seed, not {values!r}."
        )
    t = T_95[len(numbers) - 2] if len(numbers) - 2 < len(T_95) else Z_95
    mean = float(numbers.mean())
    reach = float(t * numbers.std(ddof=1) / math.sqrt(len(numbers)))
    return mean, mean - reach, mean + reach


def _answers(model: nn.Module, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and labels batch by batch, on the network's device."""
    if not isinstance(split, Split):
        raise TypeError(
            f"Give images and labels as a Split, as digits.test, not a {type(split).__name__}."
        )
    if len(split) == 0:
        raise ValueError("The split is empty: there is nothing to evaluate on.")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    forward = fast_forward(model)
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(split), batch_size):
            labels = split.labels[start : start + batch_size].to(device)
            logits = forward(split.images[start : start + batch_size].to(device))
            if logits.dim() != 2 or logits.shape[0] != len(labels):
                raise ValueError(
                    f"The network turned {len(labels)} images into outputs of shape "
                    f"{tuple(logits.shape)}: expected one row of logits for each image."
                )
            yield logits, labels
