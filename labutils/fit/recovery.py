"""Train a pruned network on, what is zero staying zero; or prune it while it trains."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from labutils.base.digits import Digits
from labutils.base.history import History
from labutils.base.layers import check_amount, prunable_layers
from labutils.fit.evaluation import predict
from labutils.fit.schedules import cubic_amount, learning_rates
from labutils.fit.training import (
    BATCH_SIZE,
    Recipe,
    adamw,
    check_training,
    cross_entropy,
    fit,
    steps_of,
    training_steps,
)
from labutils.prune.weights import prune_magnitude, sparsity

Watch = Callable[[int, float], bool | None]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
RATE = 5e-3  # the highest learning rate of a recovery, where none is given
TRAINED_RATE = 1e-2  # the same for a training, to which rewinding goes back
TEMPERATURE, TEACHER_SHARE = 4.0, 0.9
EVERY = 10  # steps between two prunings while training


def fine_tune(
    model: nn.Module,
    digits: Digits,
    epochs: int = 3,
    learning_rate: float | None = None,
    schedule: str = "one_cycle",
    seed: int = 0,
    *,
    optimizer: Optimizer | MakeOptimizer | None = None,
    teacher: nn.Module | None = None,
    trained_epochs: int | None = None,
    batch_size: int = BATCH_SIZE,
    weight_decay: float = 0.01,
    device: torch.device | str | None = None,
    progress: bool = True,
    watch: Watch | None = None,
) -> History:
    """Train a pruned network on, in place: weights that are zero at the start stay zero.

    The weights of convolutions and linear layers are meant; biases move freely. Everything
    else, interruptions included, is as with `train`.

    Parameters
    ----------
    model : the pruned network. One with filters removed has no zeros to keep
    epochs : passes over the training images; 0 leaves the network as it is
    learning_rate : the highest rate of the schedule; if not given 0.005 (for "rewind" 0.01, as
        in `train`), or that of the optimizer given. SimpleCNN bears 0.01, networks without
        convolutions a fifth of that
    schedule : "constant", "cosine", "one_cycle" or "rewind", see `learning_rates`
    optimizer : any of torch.optim, made from this network's parameters, or a function that
        makes it from them, as ``partial(torch.optim.SGD, lr=0.1)``; AdamW if not given
    teacher : a network whose answers are learned beside the labels, as the unpruned one
        (distillation: 90% of the loss, at temperature 4; Hinton et al. 2015)
    trained_epochs : how long the network was trained before it was pruned, for "rewind"; by
        default what its history says
    watch : called after each step with its number, from 1, and its loss; True ends the training

    Raises
    ------
    TypeError, ValueError
        An unknown schedule, an optimizer over another network's parameters, a wrong number.
    FloatingPointError
        The loss is not a finite number any more; the weights are those before that step.
    """
    if optimizer is None:
        learning_rate = usual_rate(schedule) if learning_rate is None else learning_rate
    else:
        optimizer = _own_optimizer(optimizer, model)
    check_training(
        model, digits, epochs, batch_size, RATE if learning_rate is None else learning_rate
    )
    _check_teacher(teacher)
    if trained_epochs is None:
        trained_epochs = _trained_epochs(model)
    if type(trained_epochs) is not int or trained_epochs < 0:
        raise ValueError(f"trained_epochs={trained_epochs!r}: give a whole number, 0 or more.")
    counts = [steps_of(digits, n, batch_size) for n in (epochs, trained_epochs)]
    rates = learning_rates(schedule, *counts)

    def prepare(_steps: int) -> Recipe:
        used = optimizer or adamw(model, learning_rate, weight_decay)
        return _keeping_zeros(model, used, rates, _loss(teacher, digits))

    with _rate_set(optimizer, learning_rate):
        return fit(
            model,
            digits,
            History(seed, epochs, trained_epochs=trained_epochs),
            prepare,
            batch_size=batch_size,
            device=device,
            progress=progress,
            watch=watch,
        )


def usual_rate(schedule: str) -> float:
    """Return the highest learning rate of a schedule where none is given."""
    return TRAINED_RATE if schedule == "rewind" else RATE


def recovery_steps(
    model: nn.Module,
    digits: Digits,
    epochs: int,
    schedule: str,
    batch_size: int = BATCH_SIZE,
) -> Iterator[float]:
    """Fine-tune a network step by step, yielding each loss: for those who look in between.

    What `fine_tune` does, without its bar and without minding interruptions or random state.
    """
    history = History(0, epochs, trained_epochs=_trained_epochs(model))
    counts = [steps_of(digits, n, batch_size) for n in (epochs, history.trained_epochs)]
    rates = learning_rates(schedule, *counts)

    def prepare(_steps: int) -> Recipe:
        optimizer = adamw(model, usual_rate(schedule), weight_decay=0.01)
        return _keeping_zeros(model, optimizer, rates, cross_entropy)

    return training_steps(model, digits, history, prepare, batch_size)


def train_sparse(
    model: nn.Module,
    digits: Digits,
    final_amount: float,
    start: float = 0.0,
    end: float | None = None,
    *,
    epochs: int = 5,
    seed: int = 0,
    scope: str = "global",
    learning_rate: float = 1e-2,
    schedule: str = "one_cycle",
    teacher: nn.Module | None = None,
    batch_size: int = BATCH_SIZE,
    weight_decay: float = 0.01,
    device: torch.device | str | None = None,
    progress: bool = True,
    watch: Watch | None = None,
) -> History:
    """Train a network in place and prune it meanwhile, more and more, by magnitude.

    Every 10 steps the smallest weights become zero and stay so, as many as the cubic schedule
    of Zhu & Gupta (2017) asks for, see `cubic_amount`. Everything else is as with `fine_tune`.

    Parameters
    ----------
    model : fresh, or trained already; one with zeros goes on from its sparsity
    final_amount : fraction of the weights that are zero in the end
    start, end : between which epochs pruning goes on, as 0.5 for the middle of the first; by
        default from the beginning until two thirds of the epochs are over
    scope : as for `prune_magnitude`

    Returns
    -------
    The history; its `sparsity` says how much was zero after each epoch.

    Raises
    ------
    TypeError, ValueError
        An amount outside [0, 1] or below the sparsity there is, an end before the start.
    """
    check_training(model, digits, epochs, batch_size, learning_rate)
    _check_teacher(teacher)
    end = epochs * 2 / 3 if end is None else end
    _check_span(start, end, epochs)
    initial = sparsity(model)
    if check_amount(final_amount, "final_amount") < initial:
        raise ValueError(
            f"final_amount={final_amount!r}: the network has {initial:.1%} zeros already, and "
            "zeros stay zero; give a larger amount."
        )
    rates = learning_rates(schedule, steps_of(digits, epochs, batch_size))
    steps_an_epoch = steps_of(digits, 1, batch_size)
    first, last = round(start * steps_an_epoch), max(1, round(end * steps_an_epoch))
    due = {*range(max(first, EVERY), last, EVERY), last}
    prune_magnitude(model, final_amount, scope)  # refuses early what cannot be done
    history = History(seed, epochs, trained_epochs=_trained_epochs(model))

    def prepare(_steps: int) -> Recipe:
        zeros = Zeros(model)
        used = adamw(model, learning_rate, weight_decay)

        def after_step(step: int) -> None:
            if step in due:
                share = (step - first) / (last - first) if step < last else 1.0
                amount = cubic_amount(share, final_amount, initial)
                zeros.take(prune_magnitude(model, amount, scope))
            zeros.restore()
            if step % steps_an_epoch == 0:
                history.sparsity.append(sparsity(model))

        follow = _follow(used, rates)
        return Recipe(used, follow, _loss(teacher, digits), zeros.clear_gradients, after_step)

    return fit(
        model,
        digits,
        history,
        prepare,
        batch_size=batch_size,
        device=device,
        progress=progress,
        watch=watch,
    )


def rewind(pruned: nn.Module, earlier: nn.Module) -> nn.Module:
    """Return a copy of a network as it was earlier, without the weights that went since.

    With the weights from before the training it is the lottery ticket of Frankle & Carbin
    (2019); with those from early in it, that of their later paper (2020).

    Parameters
    ----------
    pruned : says by its zeros which weights are missing
    earlier : the same network at an earlier time
    """
    copied = copy.deepcopy(earlier)
    layers, gone = prunable_layers(copied), prunable_layers(pruned)
    shapes = [{n: tuple(layer.weight.shape) for n, layer in of.items()} for of in (layers, gone)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"The earlier network has the weights {shapes[0]}, the pruned one {shapes[1]}: "
            "rewinding needs the same network at two times, with zeros, not with filters removed."
        )
    with torch.no_grad():
        for name, layer in gone.items():
            layers[name].weight.masked_fill_(layer.weight == 0, 0)
    return copied


def reinitialised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a copy of a network with fresh random weights, as if it had just been made.

    >>> from labutils.base.networks import LeNet300
    >>> fresh = reinitialised(LeNet300(), seed=3)
    >>> _ = torch.manual_seed(3)
    >>> bool((fresh.fc1.weight == LeNet300().fc1.weight).all())
    True
    """
    fresh = copy.deepcopy(model)
    fresh.__dict__.pop("history", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in fresh.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    return fresh


class Zeros:
    """Which weights of a network are zero, and what keeps them so."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = [layer.weight for layer in prunable_layers(model).values()]
        self.take(model)

    def take(self, pruned: nn.Module) -> None:
        """From now on keep those zero that are zero in this network."""
        self.masks = [layer.weight.detach() == 0 for layer in prunable_layers(pruned).values()]

    def clear_gradients(self) -> None:
        """Let no gradient reach what is gone: LBFGS would step along it within one step."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            if weight.grad is not None:
                weight.grad.masked_fill_(mask, 0)

    def restore(self) -> None:
        """Undo what momentum, weight decay or the optimizer's own mixing did to the zeros."""
        with torch.no_grad():
            for weight, mask in zip(self.weights, self.masks, strict=True):
                weight.masked_fill_(mask, 0)


def _trained_epochs(model: nn.Module) -> int:
    """Return what the network's history says about the time before it was pruned."""
    return getattr(getattr(model, "history", None), "trained_epochs", 0)


def _keeping_zeros(
    model: nn.Module,
    optimizer: Optimizer,
    rates: list[float],
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Recipe:
    """Return how to train with zeros that stay."""
    zeros = Zeros(model)
    return Recipe(
        optimizer,
        _follow(optimizer, rates),
        loss,
        on_gradients=zeros.clear_gradients,
        after_step=lambda step: zeros.restore(),
    )


def _follow(optimizer: Optimizer, rates: list[float]) -> LambdaLR:
    """Make the learning rate follow a list, staying where it is at its end."""
    return LambdaLR(optimizer, lambda step: rates[min(step, len(rates) - 1)])


@contextlib.contextmanager
def _rate_set(optimizer: Optimizer | None, learning_rate: float | None) -> Iterator[None]:
    """Set the learning rate of an optimizer that was given; afterwards it is as it was."""
    groups = optimizer.param_groups if optimizer is not None else []
    before = [group["lr"] for group in groups]
    try:
        for group in groups:
            group["lr"] = group["lr"] if learning_rate is None else learning_rate
            group.pop("initial_lr", None)  # what an earlier schedule took for the highest
        yield
    finally:
        for group, rate in zip(groups, before, strict=True):
            group["lr"] = rate


def _loss(teacher: nn.Module | None, digits: Digits) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the loss to train with: the labels', or mostly the difference from a teacher."""
    if teacher is None:
        return cross_entropy
    answers = F.softmax(predict(teacher, digits.train) / TEMPERATURE, dim=1)

    def loss(logits: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        wanted = answers[chosen.cpu()].to(logits.device)
        given = F.log_softmax(logits / TEMPERATURE, dim=1)
        # The square makes up for gradients that shrink with the temperature.
        distance = TEMPERATURE**2 * F.kl_div(given, wanted, reduction="batchmean")
        hard = F.cross_entropy(logits, labels)
        return TEACHER_SHARE * distance + (1 - TEACHER_SHARE) * hard

    return loss


def _own_optimizer(optimizer: Optimizer | MakeOptimizer, model: nn.Module) -> Optimizer:
    """Return the optimizer, refusing what would train another network, or nothing."""
    if callable(optimizer) and not isinstance(optimizer, Optimizer):
        optimizer = optimizer(model.parameters())
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}: give one of torch.optim, made from this "
            "network's parameters, as torch.optim.SGD(model.parameters(), lr=0.01)."
        )
    own = {id(parameter) for parameter in model.parameters()}
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    foreign = sum(id(parameter) not in own for parameter in moved)
    if foreign:
        raise ValueError(
            f"{foreign} of the {len(moved)} tensors this optimizer moves are not the network's: "
            "pruning returns a new network, so make the optimizer from that one's parameters()."
        )
    return optimizer


def _check_teacher(teacher: nn.Module | None) -> None:
    if teacher is not None and not isinstance(teacher, nn.Module):
        raise TypeError(
            f"teacher is a {type(teacher).__name__}: give a trained network, as the unpruned one."
        )


def _check_span(start: float, end: float, epochs: int) -> None:
    """Refuse times that do not follow each other."""
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name}={value!r}: give a number of epochs, as 1.5.")
    if not 0 <= start <= end <= epochs:
        raise ValueError(
            f"start={start!r}, end={end!r}: pruning goes on from start to end, in epochs, with "
            f"0 <= start <= end <= {epochs} (the epochs of the training)."
        )
