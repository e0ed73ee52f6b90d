"""Exercise 7: does a pruned network learn, and do its zeros stay zero?"""

import copy
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base.layers import prunable_layers
from labutils.base.networks import SimpleCNN
from labutils.checks.plain import Foreign, Misfit
from labutils.checks.sizes import with_zeros
from labutils.checks.verdict import Wrong, exercise, held_by_torch, likely, same

Batches = list[tuple[Tensor, Tensor]]
SGD = partial(torch.optim.SGD, momentum=0.9)


def tuning_case(
    seed: int, steps: int = 4, learning_rate: float = 0.02, share: float = 0.5
) -> tuple:
    """Return a small sparse network, batches of eight noisy images, and a learning rate."""
    generator = torch.Generator().manual_seed(seed)
    network = with_zeros((2, 3, 4), seed, share)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter /= 1 if parameter.dim() == 1 else math.sqrt(parameter[0].numel())

    def batch() -> tuple[Tensor, Tensor]:
        images = torch.randn(8, 1, 28, 28, generator=generator)
        return images, torch.randint(10, (8,), generator=generator)

    return network, [batch() for _ in range(steps)], learning_rate


@exercise(
    7,
    lambda: [tuning_case(seed=0), tuning_case(seed=1, steps=6, learning_rate=0.05)],
    ("fine_tune", "train_sparse", "train", "recovery_steps", "training_steps"),
)
def tune(result: object, network: SimpleCNN, batches: Batches, learning_rate: float) -> None:
    """Judge a network trained on by SGD with momentum, what is zero staying zero."""
    if not isinstance(result, nn.Module):
        hint = "" if isinstance(result, (Foreign, Misfit)) else "return the network, not its loss"
        raise Wrong("the network after training", result, held_by_torch(result) or hint)
    if type(result) is not SimpleCNN or result.widths != network.widths:
        raise Wrong(f"a SimpleCNN(widths={network.widths})", result)
    pairs = zip(prunable_layers(network).values(), prunable_layers(result).values(), strict=True)
    revived = sum(int(((old.weight == 0) & (new.weight != 0)).sum()) for old, new in pairs)
    if revived:
        got = f"{revived} {'weight was' if revived == 1 else 'weights were'} revived"
        hint = "multiply each weight by its mask after every step"
        if same(result, _train(network, batches, learning_rate, mask="first step")):
            hint = "the zeros were set once, and momentum revived them: set them after every step"
        raise Wrong("every weight that was zero is zero", got, hint)
    expected = _train(network, batches, learning_rate)
    if not same(result, expected):
        pairs = zip(result.parameters(), expected.parameters(), strict=True)
        most = max(float((one - other).detach().abs().max()) for one, other in pairs)
        hint = _mistake(result, network, batches, learning_rate)
        wanted = "the weights after these steps of SGD with momentum"
        raise Wrong(wanted, f"weights that differ by up to {most:.2g}", hint)


def _mistake(result: nn.Module, network: SimpleCNN, batches: Batches, rate: float) -> str:
    """Name the mistake, by making it."""
    mistakes = {
        "nothing was learned: the network is as it was": {"batches": []},
        "without momentum: torch.optim.SGD(..., momentum=0.9), made once, before all batches":
            {"make": torch.optim.SGD},
        "that is Adam: torch.optim.SGD with momentum 0.9 is asked for": {"make": torch.optim.Adam},
        "learning_rate was not used: torch.optim.SGD(..., lr=learning_rate)":
            {"make": lambda parameters, _: SGD(parameters)},
        "cross_entropy takes the logits as they are: no softmax before it":
            {"loss": lambda logits, labels: F.cross_entropy(logits.softmax(1), labels)},
        "the gradients add up: optimizer.zero_grad() before each backward()": {"clear": False},
        "the zeros were set once, at the end: in between, revived weights took part. Set them "
        "after every step": {"mask": "end"},
        "the biases did not learn: give the optimizer all of network.parameters()":
            {"only_weights": True},
        "only the first batch was used": {"batches": batches[:1]},
        "biases that were zero stayed zero: only weights have masks": {"mask": "biases too"},
    }  # fmt: skip
    train = partial(_train, network, learning_rate=rate)
    wrongly = {text: {"batches": batches, **wrong} for text, wrong in mistakes.items()}
    return likely(result, {text: partial(train, **wrong) for text, wrong in wrongly.items()})


def _train(
    network: SimpleCNN,
    batches: Batches,
    learning_rate: float,
    *,
    make: Callable = SGD,
    loss: Callable = F.cross_entropy,
    mask: str = "every step",
    clear: bool = True,
    only_weights: bool = False,
) -> SimpleCNN:
    """Train a copy: correctly, or with one of the usual mistakes."""
    tuned = copy.deepcopy(network)
    held = [p for p in tuned.parameters() if p.dim() > 1 or mask == "biases too"]
    stay = [(parameter != 0).float() for parameter in held]
    learning = [p for p in tuned.parameters() if p.dim() > 1 or not only_weights]
    optimizer = make(learning, learning_rate)
    for step, (images, labels) in enumerate(batches):
        if clear:
            tuned.zero_grad()
        loss(tuned(images), labels).backward()
        optimizer.step()
        now = {"first step": step == 0, "end": step == len(batches) - 1}.get(mask, True)
        with torch.no_grad():
            for parameter, kept in zip(held, stay, strict=True):
                parameter *= kept if now else 1
    return tuned
