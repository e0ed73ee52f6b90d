"""Magnitude pruning: the weights closest to zero become zero."""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from labutils.base import given
from labutils.base.digits import Split
from labutils.base.layers import prunable_layers
from labutils.fit.evaluation import evaluate

Amount = float | Mapping[str, float] | None
Scope = str | Mapping[str, float]
Together = tuple[dict[str, Tensor], float]  # weights ranked together, by layer, and what goes
SCOPES = ("global", "layer", "lamp")


def magnitude_mask(weight: Tensor, amount: float) -> Tensor:
    """Keep the largest weights.

    Parameters
    ----------
    weight : float tensor of any shape
    amount : fraction to remove, in [0, 1]; exactly ``round(amount * n)`` go

    Returns
    -------
    Boolean tensor like `weight`, True where a weight stays. Among equal magnitudes
    the later ones go first.

    >>> magnitude_mask(torch.tensor([3.0, -1.0, 2.0, 1.0]), 0.25)
    tensor([ True,  True,  True, False])
    """
    sizes = given.finite(weight, "weight").abs().flatten().cpu()
    gone = round(given.amount(amount) * len(sizes))
    keep = torch.ones(len(sizes), dtype=torch.bool)
    if gone:
        limit = sizes.kthvalue(gone).values  # ranked by size, the last one to go is so large
        keep = sizes > limit
        equals = (sizes == limit).nonzero().flatten()  # of these the first stay, by position
        keep[equals[: len(sizes) - gone - keep.sum()]] = True
    return keep.view(weight.shape).to(weight.device)


def prune_magnitude(
    model: nn.Module,
    amount: Amount = None,
    scope: Scope = "global",
    *,
    protect_output: bool = False,
) -> nn.Module:
    """Return a copy of a network with its smallest weights set to zero (Han et al. 2015).

    Parameters
    ----------
    model : any module with convolutions and linear layers; left as it was
    amount : fraction of the prunable weights to remove, in [0, 1] (biases and other
        parameters stay); or a dictionary from layer to fraction, layers not named staying whole
    scope : ``"global"`` ranks the weights of all layers together, ``"layer"`` removes the
        same share of each; ``"lamp"`` ranks all together by what each adds to its layer (Lee et
        al. 2021), which leaves every layer something even of a percent; a dictionary gives the
        layers it names a share of their own, all others get `amount`
    protect_output : whether the last layer stays whole

    Returns
    -------
    The new network. Weights of exactly 0.0 are the pruned ones; there are no masks beside them.

    Raises
    ------
    TypeError, ValueError
        An amount outside [0, 1], an unknown scope or layer, weights that are not finite,
        nothing to prune.
    """
    pruned, together = copied(model, amount, scope, SCOPES, protect_output)
    cut_lowest(together, scope, lambda _name, weight: weight.abs())
    return pruned


def prune_random(
    model: nn.Module,
    amount: Amount = None,
    scope: Scope = "global",
    *,
    seed: int = 0,
    protect_output: bool = False,
) -> nn.Module:
    """Return a copy of a network with random weights set to zero, a baseline for any rule.

    Parameters
    ----------
    model, amount, protect_output : as for `prune_magnitude`
    scope : ``"global"`` draws from all layers together, ``"layer"`` takes the same share of
        each; a dictionary gives the layers it names a share of their own
    seed : the same seed removes the same weights of the same network
    """
    generator = torch.Generator().manual_seed(given.seed(seed))
    pruned, together = copied(model, amount, scope, ("global", "layer"), protect_output)
    for weights, share in together:
        size = sum(weight.numel() for weight in weights.values())
        drawn = torch.rand(size, generator=generator, dtype=torch.float64)
        _cut(weights, magnitude_mask(drawn, share))
    return pruned


def prune_n_of_m(
    model: nn.Module, n: int = 2, m: int = 4, *, protect_output: bool = False
) -> nn.Module:
    """Return a copy of a network with at most n of every m neighbouring weights not zero.

    Neighbours lie side by side in a row of a layer's matrix (of a convolution: in a filter, as
    it is stored); the largest of them stay, of equals the first. If m does not divide a row, its
    last weights are fewer than m, and n of them stay as well (Mishra et al. 2021, for 2 of 4).

    Parameters
    ----------
    n, m : integers, 0 <= n <= m, m at least 1
    model, protect_output : as for `prune_magnitude`
    """
    m = given.whole(m, "m")
    n = given.whole(n, "n", 0, m)
    pruned, together = copied(model, 1.0, "layer", ("layer",), protect_output)
    for weights, _ in together:
        for weight in weights.values():
            for neighbours in weight.flatten(1).split(m, 1):
                order = neighbours.abs().argsort(dim=1, descending=True, stable=True)
                neighbours.scatter_(1, order[:, n:], 0)
    return pruned


def sensitivity(
    model: nn.Module,
    split: Split,
    amounts: Sequence[float] = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    *,
    prune: Callable[[nn.Module, dict[str, float]], nn.Module] = prune_magnitude,
    layers: Sequence[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune one layer at a time and measure what that costs.

    Parameters
    ----------
    split : the validation images, if a choice is to follow from it
    amounts : fractions to remove of the layer, each in [0, 1]
    prune : how, as `prune_filters`: a function of the network and {layer: amount}
    layers : which layers; all with weights if not given

    Returns
    -------
    Table with the columns `layer`, `amount`, `accuracy`, `low` and `high` (its 95% interval),
    a row for each layer and amount.
    """
    known = list(prunable_layers(model))
    names = known if layers is None else given.choices(layers, "layers", known)
    tasks = [(name, amount) for name in names for amount in given.amounts(amounts)]
    given.split(split)
    rows = []
    for name, amount in tqdm(tasks, "sensitivity", file=sys.stdout, disable=not progress):
        found = evaluate(prune(model, {name: amount}), split)
        rows.append((name, amount, found.accuracy, *found.interval))
    return pd.DataFrame(rows, columns=["layer", "amount", "accuracy", "low", "high"])


def sparsity(model: nn.Module) -> float:
    """Return the share of the prunable weights that are zero, in [0, 1]."""
    weights = [layer.weight for layer in prunable_layers(model).values()]
    total = sum(weight.numel() for weight in weights)
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / max(total, 1)


def cut_lowest(
    together: list[Together], scope: Scope, score: Callable[[str, Tensor], Tensor]
) -> None:
    """Set the weights of the lowest scores to zero, in place.

    Parameters
    ----------
    together : what `copied` returned
    score : of a layer's name and weight, a number of 0 or more for each
    """
    for weights, share in together:
        scores = [score(name, weight).flatten() for name, weight in weights.items()]
        if scope == "lamp":
            scores = [_lamp_scores(layer) for layer in scores]
        _cut(weights, magnitude_mask(torch.cat(scores), share))  # ranked by score and position


def copied(
    model: nn.Module, amount: Amount, scope: Scope, scopes: tuple[str, ...], protect_output: bool
) -> tuple[nn.Module, list[Together]]:
    """Copy a network; say which of its weights are ranked together, and what share of them goes."""
    layers = prunable_layers(model)
    if isinstance(scope, Mapping):
        shares = given.shares(0 if amount is None else amount, layers)
        shares |= given.layer_amounts(scope, layers, "scope")
    else:
        given.choice(scope, "scope", scopes)
        shares = given.shares(amount, layers)
    if protect_output:
        shares.popitem()
    for name in shares:
        given.finite(layers[name].weight, f"{name}.weight")
    pruned = copy.deepcopy(model)
    weights = {name: pruned.get_submodule(name).weight.detach() for name in shares}
    if scope in ("global", "lamp") and not isinstance(amount, Mapping) and weights:
        return pruned, [(weights, amount)]
    return pruned, [({name: weights[name]}, share) for name, share in shares.items()]


def _cut(weights: dict[str, Tensor], keep: Tensor) -> None:
    """Set weights to zero, in place, where the mask of all of them together says so."""
    masks = keep.split([weight.numel() for weight in weights.values()])
    for weight, mask in zip(weights.values(), masks, strict=True):
        weight.masked_fill_(~mask.view(weight.shape).to(weight.device), 0)


def _lamp_scores(scores: Tensor) -> Tensor:
    """Make scores comparable across layers, as in layer-adaptive magnitude (Lee et al. 2021).

    Each one's square, over the sum of the squares of its layer's scores that are no smaller.

    >>> _lamp_scores(torch.tensor([3.0, -1.0, 2.0])).tolist() == [1, 1 / 14, 4 / 13]
    True
    """
    squares = scores.cpu().double().square()  # on the CPU: not every GPU has doubles
    ranked, order = squares.sort(descending=True, stable=True)
    scores = torch.empty_like(squares)
    scores[order] = ranked / ranked.cumsum(0).clamp_min(torch.finfo(ranked.dtype).tiny)
    return scores
