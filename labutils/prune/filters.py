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

Scores = dict[str, Tensor]
Criterion = str | Callable[[str, nn.Module], Tensor]
BY_WEIGHTS, BY_IMAGES = ("l1", "l2", "random"), ("activation", "taylor")
HALVINGS = 24  # of the interval [0, 1] in which an amount is sought: to one in 16 million
AT_A_TIME = 100  # calibration images


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
    given.shape(image_shape)
    found = filter_scores(model, criterion, calibration=calibration, seed=seed)
    scores = {name: score.cpu().double() for name, score in found.items()}
    if budget is not None:
        if amount is not None:
            raise ValueError("Give either an amount or a budget: each decides how much goes.")
        again = partial(prune_filters, model, criterion=lambda n, _: scores[n], scope=scope)
        return _within(budget, again, image_shape)
    chains = read_chain(model)
    ranked = {name: _best_first(scores[name], chains[name].blocks) for name in chains}
    if scope == "global" and not isinstance(amount, Mapping):
        left = _left_globally(scores, ranked, given.amount(amount))
    else:
        left = _left_by_layer(ranked, given.shares(amount, chains))
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
        - ``"random"``: the baseline that any rule should beat,
        - a function of a layer's name and the layer that returns a score for each filter
    calibration : training images (with labels), some hundreds; for "activation" and "taylor"
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
    # Half precision has too few digits to add up in.
    weights = {
        name: given.finite(layer.weight, f"{name}.weight").to(_at_least_single(layer))
        for name, layer in layers.items()
    }
    if callable(criterion):
        return {n: _check_scores(n, layer, criterion(n, layer)) for n, layer in layers.items()}
    given.choice(criterion, "criterion", (*BY_WEIGHTS, *BY_IMAGES))
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


def _left_by_layer(ranked: dict[str, Tensor], shares: dict[str, float]) -> dict[str, int]:
    """Say how many slots stay of each layer that loses a share of them, at least one."""
    slots = {name: order.shape[1] for name, order in ranked.items()}
    return {name: max(1, slots[name] - round(shares[name] * slots[name])) for name in ranked}


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
    budget: Mapping[str, float], pruned: Callable[[float], nn.Module], image_shape: tuple[int, ...]
) -> nn.Module:
    """Find the network with the fewest filters gone that costs no more than the budget."""
    if not isinstance(budget, Mapping) or not budget or not set(budget) <= {"macs", "bytes"}:
        raise ValueError(
            f"budget={budget!r}: give the most it may cost, as {{'macs': 300_000}} (for one "
            "image), {'bytes': 100_000} (of its tensors), or both."
        )
    for name, limit in budget.items():
        given.positive(limit, f"budget[{name!r}]")

    def cost(network: nn.Module) -> dict[str, int]:
        return {"macs": count_macs(network, image_shape), "bytes": dense_bytes(network)}

    def fits(network: nn.Module) -> bool:
        found = cost(network)
        return all(found[name] <= limit for name, limit in budget.items())

    if fits(best := pruned(0.0)):
        return best
    if not fits(best := pruned(1.0)):
        least = cost(best)
        asked = " and ".join(f"{limit:,} {name}" for name, limit in budget.items())
        can = " and ".join(f"{least[name]:,} {name}" for name in budget)
        raise ValueError(
            f"The budget of {asked} cannot be met: with one filter left in each layer (or in "
            f"each group of it) the network still takes {can}."
        )
    too_little, enough = 0.0, 1.0
    for _ in range(HALVINGS):
        amount = (too_little + enough) / 2
        if fits(network := pruned(amount)):
            enough, best = amount, network
        else:
            too_little = amount
    return best


def _scores_by_images(
    model: nn.Module, chains: dict[str, Channels], criterion: str, calibration: Split
) -> Scores:
    """Average over the images what the next layer gets, or what the loss would be without it."""
    probe = copy.deepcopy(model).eval().to(_at_least_single(model))
    first = next(probe.parameters())
    read: dict[str, Tensor] = {}

    def note(name: str, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read[name] = inputs[0]

    for name, channels in chains.items():
        reader = probe.get_submodule(channels.reader.layer)
        reader.register_forward_pre_hook(partial(note, name))
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


def _at_least_single(module: nn.Module) -> torch.dtype:
    return torch.promote_types(next(module.parameters()).dtype, torch.float32)


def _check_scores(name: str, layer: nn.Module, scores: object) -> Tensor:
    """Refuse what a function of the reader's returned if it is not a score for each filter."""
    try:
        found = given.finite(torch.as_tensor(scores).double(), "the scores")
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.shape != layer.weight.shape[:1]:
        raise ValueError(
            f"The criterion's scores for {name} are {scores!r}: it should return "
            f"{len(layer.weight)} finite numbers, one for each filter."
        )
    return found


def _check_kept(channels: Channels, kept: Iterable[int]) -> Tensor:
    """Return the indices of the filters that stay in rising order, or say what is wrong."""
    try:
        indices = sorted(operator.index(index) for index in kept)
    except TypeError as error:
        raise TypeError(
            f"The filters to keep of {channels.layer} are given by their numbers, as [0, 2], not "
            f"{kept!r}."
        ) from error
    if not indices or len({*indices}) < len(indices) or {*indices} - {*range(channels.count)}:
        raise ValueError(
            f"The filters to keep of {channels.layer} are {indices}: name at least one of "
            f"0 to {channels.count - 1}, each once."
        )
    found, size = torch.tensor(indices), channels.count // channels.blocks
    if len((found // size).bincount(minlength=channels.blocks).unique()) > 1:
        raise ValueError(
            f"{channels.layer} is tied to a grouped convolution: keep as many filters in each "
            f"block of {size}, since its groups have to stay equal."
        )
    return found
