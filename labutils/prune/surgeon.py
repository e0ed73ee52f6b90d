"""Which weights does a layer miss least, given what it reads?

A small weight of a strong input can matter more than a large one of an input that is never on,
or of one that another input can stand in for. What a layer reads is measured on images.
"""

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.prune.readings import gram_matrix, readable_layers
from labutils.prune.weights import SCOPES, Amount, Scope, copied, cut_lowest, magnitude_mask

BLOCK = 128  # columns whose weights are ranked together


def prune_wanda(
    model: nn.Module,
    amount: Amount,
    calibration: Split,
    scope: Scope = "lamp",
    *,
    protect_output: bool = False,
) -> nn.Module:
    """Return a copy of a network without the weights that move its answers least (Sun et al. 2024).

    The score of a weight is ``|w| * |x|``, with the norm of its input x over the images.

    Parameters
    ----------
    calibration : images that show what the layers read; labels are not read
    model, amount, scope, protect_output : as for `prune_magnitude`; the ranks are by these scores
    """
    grams = _grams(model, calibration)

    def score(name: str, weight: Tensor) -> Tensor:
        norms = grams[name].diagonal(dim1=1, dim2=2).sqrt()
        return _by_group(weight, norms) * norms[:, None]

    pruned, together = copied(model, amount, scope, SCOPES, protect_output)
    cut_lowest(together, scope, score)
    return pruned


@torch.no_grad()
def prune_obs(
    model: nn.Module,
    amount: Amount,
    calibration: Split,
    scope: Scope = "lamp",
    *,
    correct: bool = False,
    damping: float = 0.01,
    protect_output: bool = False,
) -> nn.Module:
    """Return a copy of a network without the weights that its layers can best make up for.

    Without the weight w of input q, and with all others of its row adapted to that, the squared
    error of the answers is ``w^2 / [H^-1]_qq``, H = X X^T of the inputs X (optimal brain surgeon,
    Hassibi and Stork 1993; layer by layer, Dong et al. 2017). The score is its square root.

    Parameters
    ----------
    correct : whether the weights that stay are adapted, column by column (SparseGPT, Frantar and
        Alistarh 2023). Of each layer as many go, but others: each time those whose error, once
        those before are corrected, is the smallest. `repair` adapts all of them at once.
    damping : added to the diagonal of H, in mean squared inputs; above 0
    model, amount, calibration, scope, protect_output : as for `prune_wanda`
    """
    grams = _grams(model, calibration)
    given.positive(damping, "damping")

    def score(name: str, weight: Tensor) -> Tensor:
        errors = inverse(grams[name], damping).diagonal(dim1=1, dim2=2).rsqrt()
        return _by_group(weight, errors) * errors[:, None]

    pruned, together = copied(model, amount, scope, SCOPES, protect_output)
    cut_lowest(together, scope, score)
    if correct:
        before = readable_layers(model)
        for name, layer in readable_layers(pruned).items():
            share = 1 - int(layer.weight.count_nonzero()) / layer.weight.numel()
            gram = gram_matrix(pruned, name, calibration.images)
            parts = zip(_by_group(before[name].weight, gram), inverse(gram, damping), strict=True)
            corrected = torch.cat([correct_columns(*part, share) for part in parts])
            layer.weight.copy_(corrected.view(layer.weight.shape).to(layer.weight))
    return pruned


def correct_columns(weights: Tensor, inverse: Tensor, share: float) -> Tensor:
    """Take a share of the weights out, column by column, and let those to the right make up for it.

    Algorithm 1 of Frantar and Alistarh (2023). Row c of the inverse's upper Cholesky factor holds
    what the column c and those behind it have of the inverse once all before it are fixed.

    Parameters
    ----------
    weights : rows x inputs, double
    inverse : of their Gram matrix, damped
    """
    weights, factor = weights.clone(), torch.linalg.cholesky(inverse, upper=True)
    for start in range(0, weights.shape[1], BLOCK):
        block = weights[:, start : start + BLOCK]
        keep = magnitude_mask(block / factor.diagonal()[start : start + BLOCK], share)
        for column, stays in enumerate(keep.mT, start):
            error = torch.where(stays, 0, weights[:, column]) / factor[column, column]
            weights[:, column:] -= error[:, None] * factor[column, column:]
            weights[~stays, column] = 0
    return weights


def greedy_errors(weights: Tensor, inverse: Tensor, size: int = 1) -> Tensor:
    """Take the inputs out one after the other, each time the one that then is missed least.

    Exact, since weights and inverse follow after each: rows by themselves as in optimal brain
    compression (Frantar and Alistarh 2022), all rows together for whole channels as in ZipLM
    (Kurtic et al. 2023).

    Parameters
    ----------
    weights : rows x inputs, double
    inverse : of their Gram matrix, damped
    size : how many neighbours go together

    Returns
    -------
    For each of the inputs / size: the squared error that it adds when it goes, or a larger one
    that went before. So they go in the order of these.
    """
    weights, inverse = weights.clone(), inverse.clone()
    left = torch.arange(len(inverse)).view(-1, size)
    numbers, errors, most = torch.arange(len(left)), torch.zeros(len(left)).double(), 0.0
    while len(left):
        own = inverse[left[:, :, None], left[:, None, :]]
        theirs = weights[:, left].movedim(1, 0)  # inputs / size x rows x size
        adds = (torch.linalg.solve(own, theirs.mT).mT * theirs).sum((1, 2))
        least = int(adds.argmin())
        most = max(most, float(adds[least]))
        errors[numbers[least]] = most
        gone = left[least]
        follows = torch.linalg.solve(own[least], inverse[gone])
        weights -= weights[:, gone] @ follows
        inverse -= inverse[:, gone] @ follows
        others = torch.arange(len(left)) != least
        left, numbers = left[others], numbers[others]
    return errors


def inverse(grams: Tensor, damping: float) -> Tensor:
    """Invert Gram matrices, groups x inputs x inputs, after adding to their diagonals.

    Parameters
    ----------
    damping : in means of the diagonal; a layer that reads nothing but zeros gets ones
    """
    diagonals = grams.diagonal(dim1=1, dim2=2)
    added = damping * diagonals.mean(1, keepdim=True)
    added = torch.where(added > 0, added, 1.0)
    return torch.linalg.inv(grams + added.expand_as(diagonals).diag_embed())


def _grams(model: nn.Module, calibration: Split) -> dict[str, Tensor]:
    images = given.calibration(calibration, "this rule").images
    return {name: gram_matrix(model, name, images) for name in readable_layers(model)}


def _by_group(weight: Tensor, groups: Tensor) -> Tensor:
    """Return weights as groups x rows x inputs of a group, double."""
    return weight.detach().cpu().double().flatten(1).unflatten(0, (len(groups), -1))
