"""Structured pruning: whole filters and neurons are taken out, and the tensors shrink."""

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.cost.macs import count_macs
from labutils.cost.sizes import dense_bytes
from labutils.prune.dependencies import Channels, cut, read_chain
from labutils.prune.readings import gram_matrix
from labutils.prune.surgeon import greedy_errors, inverse

Scores = dict[str, Tensor]
Criterion = str | Callable[[str, nn.Module], Tensor]
BY_IMAGES = ("activation", "taylor", "obs")
AT_A_TIME = 100  # calibration images
DAMPING = 0.01  # of the inverse that "obs" takes, in mean squared inputs


def prune_filters(
    model: nn.Module,
    amount: float | Mapping[str, float] | None = None,
    criterion: Criterion = "l1",
    scope: str = "layer",
    *,
    budget: Mapping[str, float] | None = None,
    calibration: Split | None = None,
    seed: int = 0,
    image_shape: tuple[int, ...] = (1, 28, 28),
) -> nn.Module:
    """Return a smaller network: without the filters and neurons that count least.

    What depends on a removed filter goes with it: its bias, its BatchNorm statistics, its
    slice of the next layer's weights. The last layer keeps all its outputs, every other
    layer at least one. The filters that stay keep their order and their weights.

    Parameters
    ----------
    model : a chain of layers (nn.Sequential), trained; left as it was
    amount : fraction of the filters to remove, in [0, 1]: of n, ``round(amount * n)`` go; or
        a dictionary from layer to fraction, layers not named staying whole
    criterion : which filters count least, see `filter_scores`
    scope : ``"layer"`` removes the same share of each layer (Li et al. 2016); ``"global"``
        ranks the filters of all layers together, each by its score over its layer's mean
    budget : instead of an amount: what the network may cost at most, as ``{"macs": 300_000}``,
        ``{"bytes": 100_000}``, or both; as few filters go as that takes
    calibration, seed : for the criteria that ask for them
    image_shape : of one image, to count MACs

    Raises
    ------
    TypeError, ValueError
        An amount outside [0, 1]; an unknown criterion, scope or layer; a budget that cannot
        be met; weights that are not finite; a network that is no chain (the layer is named).
    """
    given.choice(scope, "scope", ("layer", "global"))
    found = filter_scores(model, criterion, calibration=calibration, seed=seed)
    scores = {name: score.cpu().double() for name, score in found.items()}
    if budget is not None:
        if amount is not None:
            raise ValueError("Give either an amount or a budget: each decides how much goes.")
        again = partial(prune_filters, model, criterion=lambda n, _: scores[n], scope=scope)
        return _within(budget, again, image_shape, filters=sum(map(len, scores.values())))
    chains = read_chain(model)
    ranked = {name: _best_first(scores[name], chains[name].blocks) for name in chains}
    if scope == "global" and not isinstance(amount, Mapping):
        left = _left_globally(scores, ranked, given.amount(amount))
    else:
        slots = {name: order.shape[1] for name, order in ranked.items()}
        shares = given.shares(amount, chains)
        left = {name: max(1, slots[name] - round(shares[name] * slots[name])) for name in slots}
    slim = copy.deepcopy(model)
    for name, channels in chains.items():
        keep = ranked[name][:, : left[name]].flatten().sort().values
        cut(slim, channels, keep)
    return slim


def keep_filters(model: nn.Module, kept: Mapping[str, Iterable[int]]) -> nn.Module:
    """Return a smaller network that has only these filters of the layers named.

    Parameters
    ----------
    model : a chain of layers; left as it was
    kept : from layer to the indices of the filters that stay; layers not named stay whole

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> keep_filters(model, {"0": [0, 2]})
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=2, bias=True)
    )
    """
    chains = read_chain(model)
    if not isinstance(kept, Mapping):
        raise TypeError(
            f"kept={kept!r}: give the filters to keep by layer, as {{'conv1': [0, 2]}}."
        )
    given.layer_amounts(dict.fromkeys(kept, 0), chains, "kept")
    chosen = {name: _check_kept(chains[name], indices) for name, indices in kept.items()}
    slim = copy.deepcopy(model)
    for name, keep in chosen.items():
        cut(slim, chains[name], keep)
    return slim


def filter_scores(
    model: nn.Module,
    criterion: Criterion = "l1",
    *,
    calibration: Split | None = None,
    seed: int = 0,
) -> Scores:
    """Score every filter and neuron that can go; those with low scores go first.

    Parameters
    ----------
    criterion : one of

        - ``"l1"``: sum of the magnitudes of the filter's weights (Li et al. 2016),
        - ``"l2"``: square root of the sum of their squares,
        - ``"activation"``: mean magnitude of what the next layer gets from the filter, over
          the calibration images,
        - ``"taylor"``: how much the loss on the calibration images would change, to first
          order, without what the next layer gets from it (Molchanov et al. 2017),
        - ``"obs"``: the squared error of what the next layer answers that would remain without
          the filter, and without those that went before it, once `repair` has done what it can
          (optimal brain surgeon, for whole channels as in Kurtic et al. 2023),
        - ``"random"``: the baseline that any rule should beat,
        - a function of a layer's name and the layer that returns a tensor, a score for each
          filter
    calibration : training images, some hundreds; for "activation", "obs" and (with its labels)
        "taylor"
    seed : of "random"

    Returns
    -------
    From layer to its scores, one for each filter.
    """
    generator = torch.Generator().manual_seed(given.seed(seed))
    if calibration is not None or criterion in BY_IMAGES:
        given.calibration(calibration, f"criterion={criterion!r}")
    chains = read_chain(model)
    layers = {name: model.get_submodule(name) for name in chains}
    # As single precision: half has too few digits to add up in.
    weights = {n: given.finite(layer.weight, f"{n}.weight").float() for n, layer in layers.items()}
    if callable(criterion):
        return {n: _check_scores(n, layer, criterion(n, layer)) for n, layer in layers.items()}
    given.choice(criterion, "criterion", ("l1", "l2", "random", *BY_IMAGES))
    if criterion == "obs":
        return {name: _scores_by_errors(model, chains[name], calibration) for name in chains}
    if criterion == "l1":
        return {name: weight.flatten(1).abs().sum(1) for name, weight in weights.items()}
    if criterion == "l2":
        return {name: weight.flatten(1).square().sum(1).sqrt() for name, weight in weights.items()}
    if criterion == "random":
        draw = partial(torch.rand, generator=generator, dtype=torch.float64)
        return {name: draw(len(weight)) for name, weight in weights.items()}
    return _scores_by_images(model, chains, criterion, calibration)


def _best_first(scores: Tensor, blocks: int) -> Tensor:
    """Rank the filters of each block of a layer: their indices, blocks x filters of a block.

    Grouped convolutions have several blocks, which must stay equal: what goes is a *slot*, one
    filter of each. Of equals the later ones go first.
    """
    by_block = scores.view(blocks, -1)
    starts = torch.arange(0, len(scores), by_block.shape[1])
    return by_block.argsort(dim=1, descending=True, stable=True) + starts[:, None]


def _left_globally(scores: Scores, ranked: dict[str, Tensor], amount: float) -> dict[str, int]:
    """Say how many slots stay if the lowest go wherever they are, but the first of no layer."""
    slots = []
    for name, order in ranked.items():
        values = scores[name][order].mean(0) / (scores[name].abs().mean() or 1)
        slots += [(value, name) for value in values[1:].tolist()]
    left = {name: order.shape[1] for name, order in ranked.items()}
    wanted = round(amount * sum(map(len, scores.values())))
    # Of equals the later one goes first, so that each layer loses its slots from the end.
    for _, name in sorted(reversed(slots), key=operator.itemgetter(0)):
        wanted -= len(ranked[name])
        if wanted < 0:
            break
        left[name] -= 1
    return left


def _within(
    budget: Mapping[str, float],
    pruned: Callable[[float], nn.Module],
    image_shape: tuple[int, ...],
    filters: int,
) -> nn.Module:
    """Find the network with the fewest filters gone that costs no more than the budget."""
    costs = {"macs": partial(count_macs, image_shape=image_shape), "bytes": dense_bytes}
    for name, limit in given.named(budget, "budget", "{'macs': 300_000}").items():
        given.choice(name, "a name in budget", costs)
        given.positive(limit, f"budget[{name!r}]")

    def fits(network: nn.Module) -> bool:
        return all(costs[name](network) <= limit for name, limit in budget.items())

    if fits(best := pruned(0.0)):
        return best
    if not fits(best := pruned(1.0)):
        asked = " and ".join(f"{limit:,} {name}" for name, limit in budget.items())
        least = " and ".join(f"{costs[name](best):,} {name}" for name in budget)
        raise ValueError(
            f"The budget of {asked} cannot be met: with one filter left in each layer (or in "
            f"each group of it) the network still takes {least}."
        )
    too_little, enough = 0.0, 1.0
    # Two amounts at which a filter goes, (2i + 1) / 2n and (2j + 1) / 2m, are 1 / 2nm apart.
    while enough - too_little > 1 / (4 * filters**2):
        amount = (too_little + enough) / 2
        if fits(network := pruned(amount)):
            enough, best = amount, network
        else:
            too_little = amount
    return best


@torch.enable_grad()
def _scores_by_images(
    model: nn.Module, chains: dict[str, Channels], criterion: str, calibration: Split
) -> Scores:
    """Average over the images what the next layer gets, or what the loss would be without it."""
    probe = copy.deepcopy(model).eval().float()
    first = next(probe.parameters())
    read: dict[str, Tensor] = {}
    for name, channels in chains.items():
        probe.get_submodule(channels.reader.layer).register_forward_pre_hook(
            lambda _layer, inputs, name=name: read.update({name: inputs[0]})
        )
    scores = {name: torch.zeros(channels.count) for name, channels in chains.items()}
    for start in range(0, len(calibration), AT_A_TIME):
        part = calibration[start : start + AT_A_TIME]
        images = part.images.to(first).requires_grad_()  # so that gradients reach back
        try:
            loss = F.cross_entropy(probe(images), part.labels.to(first.device), reduction="sum")
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"The calibration does not fit the network: {error}") from error
        gradients = torch.autograd.grad(loss, list(read.values()))
        for (name, values), gradient in zip(read.items(), gradients, strict=True):
            shape = (len(part), chains[name].count, -1)  # images x filters x values
            values, gradient = values.detach().reshape(shape), gradient.reshape(shape)
            if criterion == "activation":
                found = values.abs().mean(2)
            else:
                found = (values * gradient).mean(2).abs()
            scores[name] += found.sum(0).cpu() / len(calibration)
    return {name: given.finite(found, f"the score of {name}") for name, found in scores.items()}


@torch.no_grad()
def _scores_by_errors(model: nn.Module, channels: Channels, calibration: Split) -> Tensor:
    """Score each channel by the error that is left when the layer that reads it does without."""
    name, copies = channels.reader.layer, channels.reader.copies
    layer = model.get_submodule(name)
    grams = gram_matrix(model, name, calibration.images)
    weights = layer.weight.cpu().double().flatten(1).unflatten(0, (len(grams), -1))
    size = copies * (layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1)
    found = zip(weights, inverse(grams, DAMPING), strict=True)
    return torch.cat([greedy_errors(*group, size) for group in found])


def _check_scores(name: str, layer: nn.Module, scores: object) -> Tensor:
    """Refuse what a function of the reader's returned if it is not a score for each filter."""
    fits = isinstance(scores, Tensor) and scores.shape == layer.weight.shape[:1]
    if not fits or not scores.isfinite().all():
        raise ValueError(
            f"The criterion's scores for {name} are {scores!r:.60}: it should return a tensor of "
            f"{len(layer.weight)} finite numbers, one for each filter."
        )
    return scores.detach()


def _check_kept(channels: Channels, kept: Iterable[int]) -> Tensor:
    """Return the indices of the filters that stay in rising order, or say what is wrong."""
    name = f"kept[{channels.layer!r}]"
    if not isinstance(kept, Iterable):
        raise TypeError(f"{name}={kept!r}: give the numbers of the filters to keep, as [0, 2].")
    indices = sorted(given.whole(index, name, 0, channels.count - 1) for index in kept)
    found, size = torch.tensor(indices, dtype=torch.int64), channels.count // channels.blocks
    in_blocks = (found // size).bincount(minlength=channels.blocks)
    if not indices or len({*indices}) < len(indices) or len(in_blocks.unique()) > 1:
        tied = f", as many in each block of {size}" if channels.blocks > 1 else ""
        raise ValueError(f"{name}={indices}: keep at least one filter, each once{tied}.")
    return found
