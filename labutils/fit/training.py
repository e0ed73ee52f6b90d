"""Fit a network to the digits."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from tqdm import tqdm

from labutils.base.digits import Digits
from labutils.base.history import History
from labutils.fit.evaluation import evaluate
from labutils.fit.layout import fast_forward

BAR = "{desc}{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left{postfix}"
BATCH_SIZE = 128  # images in a step, where nothing else is asked for
SHOW_EVERY = 20  # steps between two updates of the figures beside the progress bar


def cross_entropy(logits: Tensor, labels: Tensor, _chosen: Tensor) -> Tensor:
    """Return the usual loss, in nats."""
    return F.cross_entropy(logits, labels)


@dataclass(frozen=True)
class Recipe:
    """How one step of a training changes the weights.

    Attributes
    ----------
    optimizer, scheduler : the rule, and what moves its learning rate after every step
    loss : from logits, labels, and the places of these images among the training images
    on_gradients : called when the gradients are there, before they are used
    after_step : called with the number of steps done
    """

    optimizer: Optimizer
    scheduler: LRScheduler
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] = cross_entropy
    on_gradients: Callable[[], None] = lambda: None
    after_step: Callable[[int], None] = lambda step: None


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
    batch_size: int = BATCH_SIZE,
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
    check_training(model, digits, epochs, batch_size, learning_rate)

    def prepare(steps: int) -> Recipe:
        optimizer = adamw(model, learning_rate, weight_decay)
        return Recipe(optimizer, OneCycleLR(optimizer, learning_rate, steps))

    return fit(
        model,
        digits,
        History(seed, epochs),
        prepare,
        batch_size=batch_size,
        device=device,
        progress=progress,
    )


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> Optimizer:
    """Return the optimizer used where none is given."""
    return torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )


def fit(
    model: nn.Module,
    digits: Digits,
    history: History,
    prepare: Callable[[int], Recipe],
    *,
    batch_size: int,
    device: torch.device | str | None = None,
    progress: bool = True,
    watch: Callable[[int, float], bool | None] | None = None,
) -> History:
    """Take all steps of a training; fill in and return its history.

    Parameters
    ----------
    prepare : gives the recipe for so many steps, with the network where it is computed
    watch : called after each step with its number, from 1, and its loss; True ends the training
    """
    home = next(model.parameters()).device
    device = torch.device(device) if device is not None else best_device()
    model.history = history
    started = time.perf_counter()
    forked = [device] if device.type == "cuda" else []  # fork_rng minds the CPU's state anyway
    try:
        with torch.random.fork_rng(devices=forked):
            torch.manual_seed(history.seed)
            model.to(device)
            steps = training_steps(model, digits, history, prepare, batch_size)
            _take(steps, digits, history, batch_size, progress, watch)
    except KeyboardInterrupt:
        history.interrupted = True
        print(
            f"Interrupted after {len(history.loss)} of {history.epochs} epochs: "
            "the network keeps the weights of its last step."
        )
    finally:
        model.to(home).eval()
        history.seconds = time.perf_counter() - started
    return history


def training_steps(
    model: nn.Module,
    digits: Digits,
    history: History,
    prepare: Callable[[int], Recipe],
    batch_size: int,
) -> Iterator[float]:
    """Go over the training images epoch by epoch; yield the loss of each step once it is taken."""
    device = next(model.parameters()).device
    images, labels = digits.train.images.to(device), digits.train.labels.to(device)
    forward = fast_forward(model)
    order = torch.Generator().manual_seed(history.seed)
    steps = steps_of(digits, history.epochs, batch_size)
    if steps == 0:
        return
    recipe, done = prepare(steps), 0
    for _ in range(history.epochs):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(labels), generator=order).split(batch_size):
            chosen = chosen.to(device)
            value = _step(recipe, forward, images, labels, chosen, len(history.loss) + 1)
            done += 1
            recipe.scheduler.step()
            recipe.after_step(done)
            total += value * len(chosen)
            yield value
        history.loss.append(total / len(labels))
        history.validation_accuracy.append(evaluate(model, digits.validation).accuracy)


def steps_of(digits: Digits, epochs: int, batch_size: int) -> int:
    """Return how many steps so many epochs take."""
    return epochs * math.ceil(len(digits.train) / batch_size)


def _step(
    recipe: Recipe,
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    chosen: Tensor,
    epoch: int,
) -> float:
    """Change the weights once, by the chosen images; return the loss before."""
    values: list[float] = []

    def closure() -> Tensor:  # as a function, since some optimizers (LBFGS) ask several times
        loss = recipe.loss(forward(images[chosen]), labels[chosen], chosen)
        values.append(loss.item())
        if not math.isfinite(values[-1]):
            raise FloatingPointError(
                f"The loss became {values[-1]} in epoch {epoch} (learning rate "
                f"{recipe.scheduler.get_last_lr()[0]:.2g}): try a learning_rate ten times "
                "smaller, on a network trained anew, and look for NaN in the images."
            )
        recipe.optimizer.zero_grad()
        loss.backward()
        recipe.on_gradients()
        return loss

    recipe.optimizer.step(closure)
    return values[0]


def _take(
    steps: Iterator[float],
    digits: Digits,
    history: History,
    batch_size: int,
    progress: bool,
    watch: Callable[[int, float], bool | None] | None,
) -> None:
    """Take the steps one by one, showing how far they are."""
    total = steps_of(digits, history.epochs, batch_size)
    if total == 0:
        return
    with tqdm(total=total, file=sys.stdout, disable=not progress, bar_format=BAR) as bar:
        for done, value in enumerate(steps, start=1):
            if (done - 1) % (total // history.epochs) == 0:
                bar.set_description(f"epoch {len(history.loss) + 1}/{history.epochs}")
            bar.update()
            if done % SHOW_EVERY == 0:
                bar.set_postfix(_figures(value, history), refresh=False)
            if watch is not None and watch(done, value) and done < total:
                history.interrupted = True
                break
        if history.loss:
            bar.set_postfix(_figures(history.loss[-1], history))


def _figures(loss: float, history: History) -> dict[str, str]:
    """Format what stands beside the progress bar."""
    figures = {"loss": f"{loss:.3f}"}
    if history.validation_accuracy:
        figures["validation"] = f"{history.validation_accuracy[-1]:.2%}"
    return figures


def check_training(
    model: nn.Module, digits: Digits, epochs: int, batch_size: int, learning_rate: float
) -> None:
    """Refuse arguments that could only fail later, or silently."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a network, as SimpleCNN().")
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
