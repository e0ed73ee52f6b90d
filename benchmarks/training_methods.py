"""More ways to a small network that train, for `labutils.compare`: what only a study needs.

As in `labutils.study.methods`: network and amount in, network out; ``digits`` are MNIST if not
given; other options are set with `functools.partial`; a stop is raised.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import labutils as lab
from labutils.base import given
from labutils.fit.evaluation import BATCH, evaluating
from labutils.study.methods import finished, seed_of


def prune_in_steps(
    model: nn.Module,
    amount: float,
    digits: lab.Digits | None = None,
    *,
    steps: int = 3,
    progress: bool = False,
    **iterating: object,
) -> nn.Module:
    """Prune and fine-tune several times; each step leaves the same share of what there was.

    Parameters
    ----------
    iterating : further arguments of `prune_iteratively`
    """
    amounts = lab.rising_amounts(amount, steps)
    digits = lab.load_mnist() if digits is None else digits
    last = lab.prune_iteratively(model, digits, amounts, progress=progress, **iterating)[-1]
    finished(last.history)
    return last.model


def prune_while_training(
    model: nn.Module,
    amount: float,
    digits: lab.Digits | None = None,
    *,
    distil: bool = False,
    progress: bool = False,
    **training: object,
) -> nn.Module:
    """Train the network on while its weights become fewer (Zhu & Gupta 2017).

    Parameters
    ----------
    distil : whether the unpruned network is the teacher of the pruned one
    training : further arguments of `train_sparse`
    """
    digits = lab.load_mnist() if digits is None else digits
    pruned = copy.deepcopy(model)
    if distil:
        training = {"teacher": model, **training}
    finished(lab.train_sparse(pruned, digits, amount, progress=progress, **training))
    return pruned


def prune_before_training(
    model: nn.Module,
    amount: float,
    digits: lab.Digits | None = None,
    *,
    calibration: int = 1_000,
    seed: int | None = None,
    progress: bool = False,
    **training: object,
) -> nn.Module:
    """Prune fresh weights by saliency, then train what is left: SNIP (Lee et al. 2019).

    Parameters
    ----------
    model : only its architecture is used, with weights of its own
    calibration : so many training images are used for the saliency
    seed : of the weights; if not given, one that follows from the network
    training : further arguments of `fine_tune`
    """
    digits = lab.load_mnist() if digits is None else digits
    seed = seed_of(model) if seed is None else seed
    fresh = lab.reinitialised(model, seed)
    pruned = prune_snip(fresh, amount, digits.train[:calibration])
    finished(lab.fine_tune(pruned, digits, seed=seed, progress=progress, **training))
    return pruned


def train_ticket(
    model: nn.Module,
    amount: float,
    digits: lab.Digits | None = None,
    *,
    epochs: int = 5,
    seed: int | None = None,
    learning_rate: float = 1e-2,
    progress: bool = False,
    **training: object,
) -> nn.Module:
    """Train fresh weights, prune them, set those left back to the start, train again.

    The lottery ticket (Frankle & Carbin 2019), found in one step.

    Parameters
    ----------
    model : only its architecture is used, with weights of its own
    seed : of the weights; if not given, one that follows from the network
    training : further arguments of `fine_tune`
    """
    digits = lab.load_mnist() if digits is None else digits
    seed = seed_of(model) if seed is None else seed
    start = lab.reinitialised(model, seed)
    trained = copy.deepcopy(start)
    options = {"seed": seed, "learning_rate": learning_rate, "progress": progress}
    finished(lab.train(trained, digits, epochs, **options))
    ticket = lab.rewind(lab.prune_magnitude(trained, amount), start)
    finished(lab.fine_tune(ticket, digits, epochs, **options, **training))
    return ticket


def weight_saliency(model: nn.Module, calibration: lab.Split) -> dict[str, Tensor]:
    """Score every weight by how much the loss would change, to first order, without it.

    That is the magnitude of weight times gradient, the gradient being that of the loss over
    the calibration images: SNIP's connection sensitivity (Lee et al. 2019), up to a factor.

    Returns
    -------
    From layer to the scores of its weights, shaped like them, zero or positive.
    """
    given.split(calibration, "calibration")
    copied = copy.deepcopy(model)
    layers = lab.prunable_layers(copied)
    weights = [layer.weight.requires_grad_() for layer in layers.values()]
    total = [torch.zeros_like(weight) for weight in weights]
    with evaluating(copied), torch.enable_grad():
        for start in range(0, len(calibration), BATCH):
            some = calibration[start : start + BATCH]
            loss = F.cross_entropy(copied(some.images), some.labels, reduction="sum")
            for so_far, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
                so_far += gradient / len(calibration)
    scores = ((w.detach() * g).abs() for w, g in zip(weights, total, strict=True))
    return dict(zip(layers, scores, strict=True))


def prune_snip(model: nn.Module, amount: float, calibration: lab.Split) -> nn.Module:
    """Return a copy of a network without the weights of least saliency (Lee et al. 2019).

    Meant for a network that has not been trained: what is left is trained afterwards, as
    `fine_tune` does, the zeros staying zero. Of equal scores the later ones go first.
    """
    scores = torch.cat([score.flatten() for score in weight_saliency(model, calibration).values()])
    gone = ~lab.magnitude_mask(scores, amount)
    pruned = copy.deepcopy(model)
    layers = list(lab.prunable_layers(pruned).values())
    sizes = [layer.weight.numel() for layer in layers]
    for layer, out in zip(layers, gone.split(sizes), strict=True):
        layer.weight.data.masked_fill_(out.view_as(layer.weight), 0)
    return pruned
