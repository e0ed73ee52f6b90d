"""Magnitude pruning: the weights closest to zero become zero."""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from labutils.data import Split
from labutils.metrics import evaluate

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
        same share of each; a dictionary gives the layers it names a share of their own, all
        others get `amount`
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
    return _prune(model, amount, scope, protect_output, lambda weight: weight.abs())


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

    def lots(weight: Tensor) -> Tensor:
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        return drawn.to(weight.device)

    return _prune(model, amount, scope, protect_output, lots)


def sensitivity(
    model: nn.Module,
    split: Split,
    amounts: Sequence[float] = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95),
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune one layer at a time and measure what that costs.

    Parameters
    ----------
    split : the validation images, if a choice is to follow from it
    amounts : fractions of the layer's weights, each in [0, 1]

    Returns
    -------
    Table with the columns `layer`, `amount`, `accuracy`, `low` and `high` (its 95% interval),
    a row for each layer and amount.
    """
    layers = prunable_layers(model)
    if len(amounts) == 0:
        raise ValueError("amounts is empty: give at least one fraction, as (0.5, 0.9).")
    tasks = [(layer, check_amount(amount)) for layer in layers for amount in amounts]
    rows = []
    for layer, amount in tqdm(tasks, "sensitivity", file=sys.stdout, disable=not progress):
        found = evaluate(prune_magnitude(model, {layer: amount}), split)
        rows.append((layer, amount, found.accuracy, *found.interval))
    return pd.DataFrame(rows, columns=["layer", "amount", "accuracy", "low", "high"])


def prunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers by name, in order, each weight once."""
    layers: dict[str, nn.Module] = {}
    weights: set[int] = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        if "weight" not in layer._parameters:
            raise ValueError(
                f"{name}.weight is computed from other tensors (by torch.nn.utils.prune or a "
                "parametrization): make it permanent first, as with "
                f'torch.nn.utils.prune.remove(model.{name}, "weight").'
            )
        if id(layer.weight) not in weights:
            weights.add(id(layer.weight))
            layers[name] = layer
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no convolution and no linear layer: nothing to prune."
        )
    return layers


def sparsity(model: nn.Module) -> float:
    """Return the share of the prunable weights that are zero, in [0, 1]."""
    weights = [layer.weight for layer in prunable_layers(model).values()]
    total = sum(weight.numel() for weight in weights)
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / max(total, 1)


def check_amount(amount: float, name: str = "amount") -> float:
    """Return the amount as a float, or say what is wrong with it."""
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise TypeError(
            f"{name}={amount!r}: give a number in [0, 1], the fraction to remove, as 0.5."
        )
    if not 0 <= amount <= 1:
        hint = f" (for {amount}% write {amount / 100:g})" if 1 < amount <= 100 else ""
        raise ValueError(f"{name}={amount!r}: the fraction to remove lies in [0, 1]{hint}.")
    return float(amount)


def _prune(
    model: nn.Module,
    amount: Amount,
    scope: Scope,
    protect_output: bool,
    score: Callable[[Tensor], Tensor],
) -> nn.Module:
    """Copy the network, score its weights, and zero those with the lowest scores."""
    names = list(prunable_layers(model))
    shares = _shares(amount, scope, names)
    pruned = copy.deepcopy(model)
    layers = prunable_layers(pruned)
    if protect_output:
        layers.pop(names[-1])
    with torch.no_grad():
        scores = {name: score(_finite(name, layer)) for name, layer in layers.items()}
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
        return {**dict.fromkeys(names, others), **_named(scope, names)}
    if scope not in ("global", "layer"):
        raise ValueError(
            f'scope={scope!r}: choose "global", "layer", or a dictionary from layer to fraction '
            f"with the layers {', '.join(names)}."
        )
    if isinstance(amount, Mapping):
        return {**dict.fromkeys(names, 0.0), **_named(amount, names)}
    share = check_amount(amount)
    return dict.fromkeys(names, share) if scope == "layer" else None


def _named(shares: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """Check the names and fractions of a dictionary."""
    unknown = [name for name in shares if name not in names]
    if unknown:
        raise ValueError(
            f"There is no prunable layer {', '.join(map(repr, unknown))}: "
            f"choose from {', '.join(names)}."
        )
    return {name: check_amount(share, f"the amount for {name}") for name, share in shares.items()}


def _finite(name: str, layer: nn.Module) -> Tensor:
    """Return a layer's weights, refusing NaN and infinity, which have no rank."""
    weight = layer.weight
    if not weight.isfinite().all():
        wrong = int((~weight.isfinite()).sum())
        raise ValueError(
            f"{name}.weight holds {wrong} values that are NaN or infinite: they have no "
            "magnitude to rank by; train the network again with a smaller learning rate."
        )
    return weight
