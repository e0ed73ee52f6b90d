"""Fit a network to the digits."""

import math
import sys
import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from labutils._layout import fast_forward
from labutils.data import Digits
from labutils.metrics import evaluate

BAR = "{desc}{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left{postfix}"
SHOW_EVERY = 20  # steps between two updates of the figures beside the progress bar


@dataclass
class History:
    """What happened during a training.

    Attributes
    ----------
    seed, epochs : what was asked for
    loss : mean training loss of each finished epoch, in nats
    validation_accuracy : after each finished epoch, in [0, 1]
    seconds : time taken, evaluation included
    interrupted : whether it was stopped before its last epoch
    """

    seed: int
    epochs: int
    loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


def best_device() -> torch.device:
    """Return the GPU if there is one (CUDA, or Apple's MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def train(
    model: nn.Module,
    digits: Digits,
    epochs: int = 5,
    seed: int = 0,
    *,
    learning_rate: float = 1e-2,
    batch_size: int = 128,
    weight_decay: float = 0.01,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> History:
    """Train a network in place: AdamW, one cycle of the learning rate, cross-entropy.

    The rate climbs to `learning_rate` in the first 30 % of the steps and falls to nearly
    zero by the last (Smith & Topin 2018). The same weights at the start and the same seed
    give the same weights at the end on the same machine; PyTorch's global random state is
    left alone. Interrupting (the square button, Ctrl-C) ends the training early, with the
    weights of the last step.

    Parameters
    ----------
    model : gives logits N x 10; comes back on its own device, in evaluation mode, its
        history in ``model.history``
    digits : trains on `train`, watches `validation`, never reads `test`
    epochs : passes over the training images; 0 leaves the network as it is
    seed : decides the order of the images (and of dropout, if the network has any)
    learning_rate : the highest rate of the cycle; 0.01 was best for SimpleCNN on the
        validation images, networks without convolutions like a fifth of that
    device : where to compute; by default a GPU if there is one
    progress : whether to show a bar with loss, validation accuracy and remaining time

    Raises
    ------
    FloatingPointError
        The loss is not a finite number any more; the weights are those before that step.
    """
    _check(model, digits, epochs, batch_size, learning_rate)
    home = next(model.parameters()).device
    device = torch.device(device) if device is not None else best_device()
    history = model.history = History(seed, epochs)
    started = time.perf_counter()
    forked = [device] if device.type == "cuda" else []  # fork_rng minds the CPU's state anyway
    try:
        with torch.random.fork_rng(devices=forked):
            torch.manual_seed(seed)
            model.to(device)
            _run_epochs(model, digits, history, learning_rate, batch_size, weight_decay, progress)
    except KeyboardInterrupt:
        history.interrupted = True
        print(
            f"Interrupted after {len(history.loss)} of {epochs} epochs: "
            "the network keeps the weights of its last step."
        )
    finally:
        model.to(home).eval()
        history.seconds = time.perf_counter() - started
    return history


def _run_epochs(
    model: nn.Module,
    digits: Digits,
    history: History,
    learning_rate: float,
    batch_size: int,
    weight_decay: float,
    progress: bool,
) -> None:
    """Go over the training images epoch by epoch, filling in the history."""
    device = next(model.parameters()).device
    images, labels = digits.train.images.to(device), digits.train.labels.to(device)
    forward = fast_forward(model)
    order = torch.Generator().manual_seed(history.seed)
    steps = history.epochs * math.ceil(len(labels) / batch_size)
    if steps == 0:
        return
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    with tqdm(total=steps, file=sys.stdout, disable=not progress, bar_format=BAR) as bar:
        for epoch in range(1, history.epochs + 1):
            model.train()
            bar.set_description(f"epoch {epoch}/{history.epochs}")
            total = 0.0
            for chosen in torch.randperm(len(labels), generator=order).split(batch_size):
                chosen = chosen.to(device)
                logits = forward(images[chosen])
                loss = F.cross_entropy(logits, labels[chosen])
                value = loss.item()
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"The loss became {value} in epoch {epoch} (learning rate "
                        f"{schedule.get_last_lr()[0]:.2g}): try a learning_rate ten times "
                        "smaller, on a network trained anew, and look for NaN in the images."
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += value * len(chosen)
                bar.update()
                if bar.n % SHOW_EVERY == 0:
                    bar.set_postfix(_figures(value, history), refresh=False)
            history.loss.append(total / len(labels))
            history.validation_accuracy.append(evaluate(model, digits.validation).accuracy)
            bar.set_postfix(_figures(history.loss[-1], history))


def _figures(loss: float, history: History) -> dict[str, str]:
    """Format what stands beside the progress bar."""
    figures = {"loss": f"{loss:.3f}"}
    if history.validation_accuracy:
        figures["validation"] = f"{history.validation_accuracy[-1]:.2%}"
    return figures


def _check(
    model: nn.Module, digits: Digits, epochs: int, batch_size: int, learning_rate: float
) -> None:
    """Refuse arguments that could only fail later, or silently."""
    if next(model.parameters(), None) is None:
        raise ValueError("The network has no parameters: there is nothing to train.")
    if not isinstance(digits, Digits):
        raise TypeError(
            "digits must be what load_mnist() returns (training and validation images), not "
            f"a {type(digits).__name__}."
        )
    for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1)):
        if type(value) is not int or value < least:
            raise ValueError(f"{name}={value!r}: give a whole number of at least {least}.")
    if not (isinstance(learning_rate, (int, float)) and 0 < learning_rate < math.inf):
        raise ValueError(f"learning_rate={learning_rate!r}: give a positive number, as 0.01.")
