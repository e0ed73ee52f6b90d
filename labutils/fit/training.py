"""Fit a network to the digits: fresh (`train`) or pruned (`fine_tune`), by the same loop."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from tqdm import tqdm

from labutils.base import given
from labutils.base.digits import Digits
from labutils.base.history import History
from labutils.fit.evaluation import BATCH, answers, channels_last, judge, reordered

Watch = Callable[[int, float], bool | None]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

BAR = "{desc}{percentage:3.0f}%|{bar:20}| {elapsed} gone, {remaining} left{postfix}"
BATCH_SIZE = 128  # images in a step, where nothing else is asked for
SHOW_EVERY = 20  # steps between two updates of the figures beside the progress bar
RATE = 5e-3  # the highest learning rate of a recovery, where none is given
TRAINED_RATE = 1e-2  # the same for a training, to which rewinding goes back
TEMPERATURE, TEACHER_SHARE = 4.0, 0.9
SCHEDULES = ("constant", "cosine", "one_cycle", "rewind")


def cross_entropy(logits: Tensor, labels: Tensor, _chosen: Tensor) -> Tensor:
    """Return the usual loss, in nats."""
    return F.cross_entropy(logits, labels)


def training_steps(
    model: nn.Module,
    digits: Digits,
    history: History,
    optimizer: Optimizer,
    scheduler: LRScheduler,
    batch_size: int = BATCH_SIZE,
    loss_of: Loss = cross_entropy,
    after_step: Callable[[int], None] = lambda step: None,
) -> Iterator[float]:
    """Go over the training images epoch by epoch; yield the loss of each step once it is taken.

    Parameters
    ----------
    history : says for how many epochs, and the seed of the order; is filled in
    scheduler : moves the learning rate after every step
    loss_of : from logits, labels, and the places of these images among the training images
    after_step : called with the number of steps taken, from 1
    """
    like, step = next(model.parameters()), 0
    images, labels = digits.train.images.to(like), digits.train.labels.to(like.device)
    forward = reordered(model)  # the same network, sooner
    order = torch.Generator().manual_seed(history.seed)
    for _ in range(history.epochs):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(labels), generator=order).split(batch_size):
            chosen = chosen.to(like.device)
            step += 1
            logits = forward(channels_last(images[chosen]))
            loss = finite(loss_of(logits, labels[chosen], chosen), history, scheduler)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            after_step(step)
            scheduler.step()
            total += loss.item() * len(chosen)
            yield loss.item()
        history.loss.append(total / len(labels))
        history.validation_accuracy.append(judge(model, digits.validation).accuracy)


def train(
    model: nn.Module,
    digits: Digits,
    epochs: int = 5,
    seed: int = 0,
    *,
    learning_rate: float = TRAINED_RATE,
    batch_size: int = BATCH_SIZE,
    weight_decay: float = 0.01,
    device: torch.device | str | None = None,
    progress: bool | str = True,
) -> History:
    """Train a network in place: AdamW, one cycle of the learning rate, cross-entropy.

    The rate climbs to `learning_rate` in the first 30 % of the steps and falls to nearly
    zero by the last, while AdamW's first beta goes from 0.95 to 0.85 and back (Smith & Topin
    2018). The same weights at the start and the same seed give the same weights at the end on
    the same machine; PyTorch's global random state is left alone. Interrupting (the square
    button, Ctrl-C) ends the training early, with the weights of the last step.

    Parameters
    ----------
    model : gives logits N x 10; comes back on its own device, in evaluation mode, its
        history in ``model.history``
    digits : trains on `train`, watches `validation`, never reads `test`
    epochs : passes over the training images; 0 leaves the network as it is
    seed : decides the order of the images (and of dropout, if the network has any)
    learning_rate : the highest rate of the cycle; 0.01 was best for SimpleCNN on the
        validation images, networks without convolutions like a fifth of that
    device : where to compute, as "cuda"; by default where the network is
    progress : whether to show a bar with loss, validation accuracy and remaining time; a text
        stands before it, as "90%, cosine"

    Raises
    ------
    TypeError, ValueError
        Arguments that cannot be, images that do not fit the network.
    FloatingPointError
        The loss is not a finite number any more; the weights are those before that step.
    """
    given.network(model)
    given.digits(digits)
    check_settings(epochs, seed, batch_size, weight_decay, learning_rate)
    history, steps = History(seed, epochs), steps_of(digits, epochs, batch_size)
    optimizer = adamw(model, learning_rate, weight_decay)
    scheduler = OneCycleLR(optimizer, learning_rate, max(1, steps))
    with under_way(model, digits, history, batch_size, device, progress) as seen:
        for loss in training_steps(model, digits, history, optimizer, scheduler, batch_size):
            seen(loss)
    return history


def fine_tune(
    model: nn.Module,
    digits: Digits,
    epochs: int = 3,
    learning_rate: float | None = None,
    schedule: str = "one_cycle",
    seed: int = 0,
    *,
    optimizer: MakeOptimizer | None = None,
    teacher: nn.Module | None = None,
    trained_epochs: int | None = None,
    batch_size: int = BATCH_SIZE,
    weight_decay: float = 0.01,
    device: torch.device | str | None = None,
    progress: bool | str = True,
    watch: Watch | None = None,
) -> History:
    """Train a pruned network on, in place: weights that are zero at the start stay zero.

    Weights are parameters of two or more dimensions, as those of convolutions and linear layers;
    biases move freely. Only the learning rate follows the schedule, AdamW's betas stay (those
    of `train` move). Everything else, interruptions included, is as with `train`.

    Parameters
    ----------
    model : the pruned network. One with filters removed has no zeros to keep
    epochs : passes over the training images; 0 leaves the network as it is
    learning_rate : the highest rate of the schedule; if not given 0.005 (for "rewind" 0.01, as
        in `train`), or that of the optimizer given. SimpleCNN bears 0.01, networks without
        convolutions a fifth of that
    schedule : "constant", "cosine", "one_cycle" or "rewind", see `learning_rates`
    optimizer : a function that makes one of torch.optim from the network's parameters, as
        ``functools.partial(torch.optim.SGD, lr=0.1)``; AdamW if not given
    teacher : a network whose answers are learned beside the labels, as the unpruned one
        (distillation: 90% of the loss, at temperature 4; Hinton et al. 2015)
    trained_epochs : how long the network was trained before it was pruned, for "rewind"; by
        default what its history says
    watch : called after each step with its number, from 1, and its loss; True ends the training

    Raises
    ------
    TypeError, ValueError
        An unknown schedule, an optimizer that is none, a wrong number.
    FloatingPointError
        The loss is not a finite number any more; the weights are those before that step.
    """
    given.network(model)
    given.digits(digits)
    usual = TRAINED_RATE if schedule == "rewind" else RATE
    rate = usual if learning_rate is None else learning_rate
    check_settings(epochs, seed, batch_size, weight_decay, rate)
    if teacher is not None:
        given.module(teacher, "teacher")
    if trained_epochs is None:
        trained_epochs = epochs_before(model)
    given.whole(trained_epochs, "trained_epochs", 0)
    counts = [steps_of(digits, n, batch_size) for n in (epochs, trained_epochs)]
    rates = learning_rates(schedule, *counts)
    if optimizer is None:
        used = adamw(model, rate, weight_decay)
    else:
        wanted = "a function that makes one of torch.optim, as partial(torch.optim.SGD, lr=0.1)"
        make = given.instance(optimizer, Callable, "optimizer", wanted)
        used = given.instance(make(model.parameters()), Optimizer, "what it makes", wanted)
        own = set(map(id, model.parameters()))
        if not own >= {id(weight) for group in used.param_groups for weight in group["params"]}:
            raise ValueError("optimizer moves other tensors than those its function was given.")
        if learning_rate is not None:
            for group in used.param_groups:
                group["lr"] = learning_rate
    scheduler = following(used, rates)
    history = History(seed, epochs, trained_epochs=trained_epochs)
    with under_way(model, digits, history, batch_size, device, progress, watch) as seen:
        keep, loss_of = kept_zeros(model), loss_with(teacher, digits)
        steps = training_steps(model, digits, history, used, scheduler, batch_size, loss_of, keep)
        try:
            for loss in steps:
                if seen(loss):
                    break
        finally:  # a stop may have come between a step and what follows it
            keep()
    return history


def recovery_steps(model: nn.Module, digits: Digits, epochs: int, schedule: str) -> Iterator[float]:
    """Fine-tune a network step by step, yielding each loss: for those who look in between.

    What `fine_tune` does, without its bar and without minding interruptions or random state.
    """
    before = epochs_before(model)
    counts = [steps_of(digits, n, BATCH_SIZE) for n in (epochs, before)]
    rate = TRAINED_RATE if schedule == "rewind" else RATE
    optimizer = adamw(model, rate, weight_decay=0.01)
    scheduler = following(optimizer, learning_rates(schedule, *counts))
    history = History(0, epochs, trained_epochs=before)
    keep = kept_zeros(model)
    return training_steps(model, digits, history, optimizer, scheduler, after_step=keep)


def learning_rates(schedule: str, steps: int, trained_steps: int = 0) -> list[float]:
    """Return the learning rate of each step, as a share of the highest.

    Parameters
    ----------
    schedule : ``"constant"``; ``"cosine"``, from the highest rate down to zero along half a
        cosine (Loshchilov & Hutter 2017); ``"one_cycle"``, which rises for 30% of the steps,
        then falls, as `train` does (Smith & Topin 2018); ``"rewind"``, the last `steps` of the
        one cycle that the network was trained with (Renda et al. 2020)
    steps : how many there are
    trained_steps : only for "rewind": how many steps that training had

    >>> [round(rate, 2) for rate in learning_rates("cosine", 4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    given.choice(schedule, "schedule", SCHEDULES)
    given.whole(steps, "steps", 0)
    given.whole(trained_steps, "trained_steps", 0)
    if schedule == "constant":
        return [1.0] * steps
    if schedule == "cosine":
        return [_glide(1.0, 0.0, step / steps) for step in range(steps)]
    if schedule == "one_cycle":
        return [_one_cycle(step, steps) for step in range(steps)]
    if trained_steps < steps:
        raise ValueError(
            f'schedule="rewind" cannot go back {steps} steps in a training of {trained_steps}: '
            "take no more epochs than the network was trained for (trained_epochs, if its history "
            "does not say), or another schedule."
        )
    return [_one_cycle(step, trained_steps) for step in range(trained_steps - steps, trained_steps)]


def _glide(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _one_cycle(step: int, steps: int) -> float:
    """Rise from 1/25 of the highest rate in 30% of the steps, then fall to nearly zero."""
    top = 0.3 * steps - 1
    if step <= top:
        return _glide(1 / 25, 1.0, step / top)
    return _glide(1.0, 1 / 25e4, (step - top) / (steps - 1 - top))


def steps_of(digits: Digits, epochs: int, batch_size: int) -> int:
    """Return how many steps so many epochs take."""
    return int(epochs) * math.ceil(len(digits.train.labels) / int(batch_size))


def epochs_before(model: nn.Module) -> int:
    """Return for how many epochs a network was trained before it was pruned, by its history."""
    history = getattr(model, "history", None)
    if history is None:
        return 0
    return len(history.loss) if history.trained_epochs is None else history.trained_epochs


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> Optimizer:
    """Return the optimizer used where none is given."""
    return torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )


def following(optimizer: Optimizer, rates: list[float]) -> LRScheduler:
    """Make the learning rate follow a list, staying where it is at its end."""
    return LambdaLR(optimizer, lambda step: rates[min(step, len(rates) - 1)] if rates else 1.0)


def kept_zeros(model: nn.Module) -> Callable[..., None]:
    """Return a function that sets to zero again what is zero now, whatever moved it."""
    zeros = [(weight, weight.detach() == 0) for weight in model.parameters() if weight.dim() > 1]

    def keep(_step: int = 0) -> None:
        with torch.no_grad():
            for weight, zero in zeros:
                weight.masked_fill_(zero, 0)

    return keep


def loss_with(teacher: nn.Module | None, digits: Digits) -> Loss:
    """Return the loss to train with: the labels', or mostly the difference from a teacher."""
    if teacher is None:
        return cross_entropy
    logits = torch.cat([logits for logits, _ in answers(teacher, digits.train, BATCH)])
    soft = F.softmax(logits / TEMPERATURE, dim=1)

    def loss(logits: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        wanted = soft[chosen.to(soft.device)].to(logits)
        if wanted.shape != logits.shape:
            raise ValueError(
                f"The teacher has {wanted.shape[1]} outputs, the network {logits.shape[1]}: give "
                "a teacher for the same classes."
            )
        found = F.log_softmax(logits / TEMPERATURE, dim=1)
        # The square makes up for gradients that shrink with the temperature.
        distance = TEMPERATURE**2 * F.kl_div(found, wanted, reduction="batchmean")
        hard = F.cross_entropy(logits, labels)
        return TEACHER_SHARE * distance + (1 - TEACHER_SHARE) * hard

    return loss


def finite(loss: Tensor, history: History, scheduler: LRScheduler) -> Tensor:
    """Return the loss, or stop before it can ruin the weights."""
    if not math.isfinite(loss.item()):
        raise FloatingPointError(
            f"The loss became {loss.item()} in epoch {len(history.loss) + 1} (learning rate "
            f"{scheduler.get_last_lr()[0]:.2g}): try a learning_rate ten times smaller, on a "
            "network trained anew, and look for NaN in the weights."
        )
    return loss


@contextlib.contextmanager
def under_way(
    model: nn.Module,
    digits: Digits,
    history: History,
    batch_size: int,
    device: torch.device | str | None,
    progress: bool | str,
    watch: Watch | None = None,
) -> Iterator[Callable[[float], bool]]:
    """Have a network where it is computed, with randomness of its own, for a `with` block.

    Gives a function that shows the loss of each step, and says whether `watch` has seen enough.
    An interruption ends the block, not the program.
    """
    home, started = next(model.parameters()).device, time.perf_counter()
    device = given.device(home if device is None else device)
    if watch is not None and not callable(watch):
        raise TypeError(f"watch={watch!r}: give a function of a step's number and its loss.")
    total = steps_of(digits, history.epochs, batch_size)
    bar = tqdm(total=total, file=sys.stdout, disable=not (progress and total), bar_format=BAR)
    label, taken = f"{progress}, " if isinstance(progress, str) else "", 0

    def show(loss: float) -> None:
        figures = {"loss": f"{loss:.3f}"}
        if history.loss:
            figures["validation"] = f"{history.validation_accuracy[-1]:.2%}"
        bar.set_postfix(figures, refresh=False)  # closing the bar shows the last ones

    def seen(loss: float) -> bool:
        nonlocal taken
        taken += 1
        bar.set_description(f"{label}epoch {len(history.loss) + 1}/{history.epochs}", refresh=False)
        if taken % SHOW_EVERY == 0:
            show(loss)
        bar.update()
        return watch is not None and bool(watch(taken, loss))

    forked = [device] if device.type == "cuda" else []  # fork_rng minds the CPU's state anyway
    try:
        with torch.random.fork_rng(devices=forked), bar:
            torch.manual_seed(history.seed)
            next(answers(model.to(device), digits.train, 2))  # refuses images that do not fit
            model.history = history
            yield seen
            if history.loss:
                show(history.loss[-1])
    except KeyboardInterrupt:
        history.interrupted = True
        print(
            f"Interrupted after {len(history.loss)} of {history.epochs} epochs: "
            "the network keeps the weights of its last step."
        )
    finally:
        model.to(home).eval()
        history.seconds = time.perf_counter() - started


def check_settings(
    epochs: int, seed: int, batch_size: int, weight_decay: float, learning_rate: float
) -> None:
    """Refuse numbers that could only fail later, or silently."""
    given.whole(epochs, "epochs", 0)
    given.seed(seed)
    given.whole(batch_size, "batch_size")
    given.positive(weight_decay, "weight_decay", zero=True)
    given.positive(learning_rate, "learning_rate")
