"""Magnitude pruning: the weights closest to zero become zero."""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from labutils.base.digits import Split
from labutils.base.layers import check_amount, check_amounts, finite_weight, prunable_layers
from labutils.fit.evaluation import evaluate

Amount = float | Mapping[str, float] | None
Scope = str | Mapping[str, float]


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
    return _keep_largest(weight.detach().abs(), check_amount(amount))


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
        same share of each; ``"lamp"`` ranks all together by `lamp_scores`, which leaves every
        layer something even of a percent; a dictionary gives the layers it names a share of
        their own, all others get `amount`
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
    if isinstance(scope, str) and scope == "lamp":
        return prune_by(model, lambda _, w: lamp_scores(w), amount, "global", protect_output)
    return prune_by(model, lambda _, weight: weight.abs(), amount, scope, protect_output)


def lamp_scores(weight: Tensor) -> Tensor:
    """Score weights for a ranking across layers: layer-adaptive magnitude (Lee et al. 2021).

    The square of a weight, over the sum of the squares of all weights of its layer that are
    no smaller: what it adds to those that would be left if the layer were pruned up to it.
    Within a layer the order is that of the magnitudes; the largest weight of each layer scores 1.

    >>> lamp_scores(torch.tensor([3.0, -1.0, 2.0])).tolist() == [1, 1 / 14, 4 / 13]
    True
    """
    squares = weight.detach().flatten().double().square()
    ranked, order = squares.sort(descending=True, stable=True)
    scores = torch.empty_like(squares)
    scores[order] = ranked / ranked.cumsum(0).clamp_min(torch.finfo(ranked.dtype).tiny)
    return scores.view(weight.shape)


def prune_random(
    model: nn.Module,
    amount: Amount = None,
    scope: Scope = "global",
    *,
    seed: int = 0,
    protect_output: bool = False,
) -> nn.Module:
    """Return a copy of a network with weights set to zero by lot; otherwise as above.

    Parameters
    ----------
    seed : decides the lot; the same seed removes the same weights of the same network
    """
    generator = torch.Generator().manual_seed(seed)

    def lots(name: str, weight: Tensor) -> Tensor:
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        return drawn.to(weight.device)

    return prune_by(model, lots, amount, scope, protect_output)


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
    layers = list(prunable_layers(model)) if layers is None else layers
    if len(amounts) == 0:
        raise ValueError("amounts is empty: give at least one fraction, as (0.5, 0.9).")
    tasks = [(layer, check_amount(amount)) for layer in layers for amount in amounts]
    rows = []
    for layer, amount in tqdm(tasks, "sensitivity", file=sys.stdout, disable=not progress):
        found = evaluate(prune(model, {layer: amount}), split)
        rows.append((layer, amount, found.accuracy, *found.interval))
    return pd.DataFrame(rows, columns=["layer", "amount", "accuracy", "low", "high"])


def sparsity(model: nn.Module) -> float:
    """Return the share of the prunable weights that are zero, in [0, 1]."""
    weights = [layer.weight for layer in prunable_layers(model).values()]
    total = sum(weight.numel() for weight in weights)
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / max(total, 1)


def prune_by(
    model: nn.Module,
    score: Callable[[str, Tensor], Tensor],
    amount: Amount,
    scope: Scope = "global",
    protect_output: bool = False,
) -> nn.Module:
    """Copy the network, score its weights, and zero those with the lowest scores.

    Parameters
    ----------
    score : from a layer's name and weights to a score for each, the first to go being lowest
    """
    names = list(prunable_layers(model))
    shares = _shares(amount, scope, names)
    pruned = copy.deepcopy(model)
    layers = prunable_layers(pruned)
    if protect_output:
        layers.pop(names[-1])
    with torch.no_grad():
        scores = {n: score(n, finite_weight(n, layer)) for n, layer in layers.items()}
        if shares is not None:
            masks = [_keep_largest(scores[name], shares[name]) for name in layers]
        else:
            flat = [values.flatten() for values in scores.values()]
            together = torch.cat(flat) if flat else torch.empty(0)
            masks = _keep_largest(together, check_amount(amount)).split([len(f) for f in flat])
        for layer, mask in zip(layers.values(), masks, strict=True):
            layer.weight.masked_fill_(~mask.view_as(layer.weight), 0)
    return pruned


def _keep_largest(scores: Tensor, amount: float) -> Tensor:
    """Mark all but the ``round(amount * n)`` lowest scores; of equal ones the first stay."""
    flat = scores.flatten()
    flat = flat.float() if flat.element_size() < 4 else flat  # exact, and kthvalue knows it
    removed = round(amount * flat.numel())
    if removed == 0:  # kthvalue has no answer for none
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = flat.kthvalue(removed).values
    stay, ties = flat > threshold, flat == threshold
    room = flat.numel() - removed - stay.sum()
    stay |= ties & (ties.cumsum(0) <= room)
    return stay.view(scores.shape)


def _shares(amount: Amount, scope: Scope, names: list[str]) -> dict[str, float] | None:
    """Return each layer's share to remove, or None where all layers are ranked together."""
    if isinstance(scope, Mapping):
        others = check_amount(amount if amount is not None else 0)
        return {**dict.fromkeys(names, others), **check_amounts(scope, names)}
    if scope not in ("global", "layer"):
        raise ValueError(
            f'scope={scope!r}: choose "global", "layer" (by magnitude also "lamp"), or a '
            f"dictionary from layer to fraction with the layers {', '.join(names)}."
        )
    if isinstance(amount, Mapping):
        return {**dict.fromkeys(names, 0.0), **check_amounts(amount, names)}
    share = check_amount(amount)
    return dict.fromkeys(names, share) if scope == "layer" else None
