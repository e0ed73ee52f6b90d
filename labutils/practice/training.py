"""Lesson 01: what is the loss, what is a step, and which of two networks is better?"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.practice.turn import turn


def _scores() -> list[tuple]:
    drawn = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    return [
        (torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, 0.0]]), torch.tensor([2, 1])),
        (torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0])),
        (drawn, torch.tensor([3, 0, 9, 9, 4])),
    ]


def _right_ones(table: Tensor, labels: Tensor) -> Tensor:
    return table[torch.arange(len(labels)), labels]


@turn(_scores, {
    "a sum, where a mean is asked for: divide by the number of images":
        lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum").item(),
    "one loss for each image: take their mean":
        lambda logits, labels: F.cross_entropy(logits, labels, reduction="none").tolist(),
    "the sign: a loss is the *minus* logarithm":
        lambda logits, labels: -F.cross_entropy(logits, labels).item(),
    "the mean of the probabilities, without the logarithm":
        lambda logits, labels: _right_ones(logits.softmax(1), labels).mean().item(),
    "minus the logits themselves: make probabilities of them first":
        lambda logits, labels: -_right_ones(logits, labels).mean().item(),
    "softmax over the images: each image's probabilities sum to 1, so dim=1":
        lambda logits, labels: -_right_ones(logits.log_softmax(0), labels).mean().item(),
    "the logarithm of the mean: take the logarithms first, then their mean":
        lambda logits, labels: -_right_ones(logits.softmax(1), labels).mean().log().item(),
    "the logarithms of all classes: only that of the label counts":
        lambda logits, labels: -logits.log_softmax(1).mean().item(),
})  # fmt: skip
def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Return the mean cross-entropy loss of some images, in nats."""
    return F.cross_entropy(logits, labels).item()


class WithGradients(nn.Sequential):
    """A network as an earlier step leaves it: its copies hold gradients, here of 1."""

    def __deepcopy__(self, memo: dict) -> "WithGradients":
        """Give the copy gradients: PyTorch copies parameters without them."""
        copied = WithGradients(*copy.deepcopy([*self], memo))
        for parameter in copied.parameters():
            parameter.grad = torch.ones_like(parameter)
        return copied


def _networks() -> list[tuple]:
    first, second = nn.Sequential(nn.Linear(2, 2)), WithGradients(nn.Linear(2, 2))
    values = {"0.weight": torch.tensor([[1.0, -1.0], [0.0, 2.0]]), "0.bias": torch.ones(2)}
    first.load_state_dict({name: 0 * value for name, value in values.items()})
    second.load_state_dict(values)
    images = torch.tensor([[1.0, 2.0], [0.0, 1.0], [-1.0, 3.0]])
    return [
        (first, torch.tensor([[1.0, 0.0]]), torch.tensor([0]), 0.5),
        (second, images, torch.tensor([0, 1, 0]), 0.1),
    ]


def _step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    forget: bool = True,
    softmax: bool = False,
) -> None:
    if forget:
        network.zero_grad()
    logits = network(images)
    loss = F.cross_entropy(logits.softmax(1) if softmax else logits, labels)
    loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= learning_rate * parameter.grad


@turn(_networks, {
    "uphill: a parameter goes against its gradient, so subtract":
        lambda network, images, labels, rate: _step(network, images, labels, -rate),
    "the gradients of an earlier step count too: forget them before loss.backward()":
        lambda *given: _step(*given, forget=False),
    "the learning rate is missing: the step is learning_rate * parameter.grad":
        lambda network, images, labels, _: _step(network, images, labels, 1),
    "no parameter has changed: `parameter = ...` only names a new tensor, `-=` changes the old one":
        lambda *_: None,
    "a softmax before cross_entropy, which takes the logits themselves":
        lambda *given: _step(*given, softmax=True),
}, in_place=True)  # fmt: skip
def take_step(network: nn.Module, images: Tensor, labels: Tensor, learning_rate: float) -> None:
    """Change all parameters of a network by one step down the loss of some images."""
    _step(network, images, labels, learning_rate)


def _answers() -> list[tuple]:
    rows = [
        ([7, 0, 2, 4, 5, 9], [7, 0, 1, 9, 6, 8], [7, 0, 2, 4, 6, 3]),
        ([3, 5, 8, 8, 1, 4, 2], [3, 6, 9, 5, 1, 9, 2], [3, 6, 8, 7, 0, 4, 2]),
    ]
    return [tuple(map(torch.tensor, row)) for row in rows]


def _sums(*pair: Tensor) -> tuple[float, float]:
    return tuple(part.sum().item() for part in pair)


def _only(one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    return (one == labels) & (other != labels)


@turn(_answers, {
    "the other way round: first those that only the first network reads":
        lambda one, other, labels: disagreements.right(other, one, labels),
    "what each misreads: count what it reads correctly and the other misreads":
        lambda one, other, labels: _sums(one != labels, other != labels),
    "all that each reads correctly: count only those that the other misreads":
        lambda one, other, labels: _sums(one == labels, other == labels),
    "where both misread, but differently, neither is right":
        lambda one, other, labels: _sums(
            (one != other) & (other != labels), (one != other) & (one != labels)
        ),
    "shares, where counts are asked for: .sum(), not .mean()":
        lambda one, other, labels: _sums(
            _only(one, other, labels) / len(labels), _only(other, one, labels) / len(labels)
        ),
})  # fmt: skip
def disagreements(one: Tensor, other: Tensor, labels: Tensor) -> tuple[int, int]:
    """Return how many images only the first network reads correctly, and only the second."""
    return _sums(_only(one, other, labels), _only(other, one, labels))
