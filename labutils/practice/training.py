"""Lesson 01: what is the loss, what is a step, and which of two networks is better?"""

import torch
import torch.nn.functional as F
from torch import Tensor

from labutils.practice.turn import turn

Optimizer = torch.optim.Optimizer


def _scores() -> list[tuple]:
    drawn = 3 * torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    return [
        (torch.tensor([[2.0, 1.0, -1.0]]), torch.tensor([0])),
        (torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, 0.0]]), torch.tensor([2, 1])),
        (drawn, torch.tensor([3, 0, 9, 9, 4])),
    ]


def _right_ones(table: Tensor, labels: Tensor) -> Tensor:
    return table[torch.arange(len(labels)), labels]


@turn(_scores, {
    "a sum, where a mean is asked for: divide by the number of images":
        lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum").item(),
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
