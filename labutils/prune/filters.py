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
from labutils.prune.dependencies import Dependencies, read_dependencies, remove_units
from labutils.prune.readings import gram_matrix, readable_layers
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
    image_shape: tuple[int, ...] | None = None,
) -> nn.Module:
    """Return a smaller network: without the filters and neurons that count least.

    What depends on a removed filter goes with it: its bias, its BatchNorm statistics, its
    slice of the next layer's weights, the filters of other layers that its output is added to
    (see `channel_groups`). The last layer keeps all its outputs, every other layer at least
    one. The filters that stay keep their order and their weights.

    Parameters
    ----------
    model : any network, trained; left as it was
    amount : fraction of the filters to remove, in [0, 1]: of n, ``round(amount * n)`` go; or
        a dictionary from layer to fraction, layers not named staying whole. Layers whose filters
        go together count as one, under the name of the first.
    criterion : which filters count least, see `filter_scores`
    scope : ``"layer"`` removes the same share of each layer (Li et al. 2016); ``"global"``
        ranks the filters of all layers together, each by its score over its layer's mean
    budget : instead of an amount: what the network may cost at most, as ``{"macs": 300_000}``,
        ``{"bytes": 100_000}``, or both; as few filters go as that takes
    calibration, seed : for the criteria that ask for them
    image_shape : of one image; None tries 1 x 28 x 28, then what the first layer could read

    Raises
    ------
    TypeError, ValueError
        An amount outside [0, 1]; an unknown criterion, scope or layer; a budget that cannot
        be met; weights that are not finite; a network whose forward pass does not follow (the
        line is named).
    """
    given.choice(scope, "scope", ("layer", "global"))
    found = read_dependencies(model, image_shape)
    scores = _scores(model, found, criterion, calibration, seed)
    if budget is None:
        return _pruned(model, found, scores, scope, amount)
    if amount is not None:
        raise ValueError("Give either an amount or a budget: each decides how much goes.")
    again = partial(_pruned, model, found, scores, scope)
    return _within(budget, again, tuple(found.image.shape[1:]), sum(map(len, scores.values())))


def keep_filters(
    model: nn.Module,
    kept: Mapping[str, Iterable[int]],
    *,
    image_shape: tuple[int, ...] | None = None,
) -> nn.Module:
    """Return a smaller network that has only these filters of the layers named.

    Parameters
    ----------
    model : any network; left as it was
    kept : from layer to the indices of the filters that stay. Layers not named stay whole, but
        for filters that go together with those that go.
    image_shape : as for `prune_filters`

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> keep_filters(model, {"0": [0, 2]})
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=2, bias=True)
    )
    """
    found = read_dependencies(model, image_shape)
    if not isinstance(kept, Mapping):
        raise TypeError(
            f"kept={kept!r}: give the filters to keep by layer, as {{'conv1': [0, 2]}}."
        )
    layers = {n: units for group in found.groups.values() for n, units in group.filters.items()}
    given.layer_amounts(dict.fromkeys(kept, 0), layers, "kept")
    gone = set()
    for name, indices in kept.items():
        gone |= _units_gone(name, layers[name].tolist(), indices)
    for name, units in layers.items():
        if gone.issuperset(units.tolist()):
            raise ValueError(
                f"kept={kept!r:.60}: of {name}, which goes with them, nothing is left."
            )
    return remove_units(model, found, sorted(gone))


def filter_scores(
    model: nn.Module,
    criterion: Criterion = "l1",
    *,
    calibration: Split | None = None,
    seed: int = 0,
    image_shape: tuple[int, ...] | None = None,
) -> Scores:
    """Score every filter and neuron that can go; those with low scores go first.

    Filters of several layers that go together have one score, the sum of theirs.

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
    image_shape : as for `prune_filters`

    Returns
    -------
    From layer to its scores, one for each filter; from the first layer, where several go together.
    """
    return _scores(model, read_dependencies(model, image_shape), criterion, calibration, seed)


def _scores(
    model: nn.Module,
    found: Dependencies,
    criterion: Criterion,
    calibration: Split | None,
    seed: int,
) -> Scores:
    """Score the units of each group; those of several layers are added up."""
    if calibration is not None or criterion in BY_IMAGES:
        given.calibration(calibration, f"criterion={criterion!r}")
    if not callable(criterion):
        given.choice(criterion, "criterion", ("l1", "l2", "random", *BY_IMAGES))
    generator = torch.Generator().manual_seed(given.seed(seed))
    by_unit = torch.zeros(1 + max(max(group.units) for group in found.groups.values()))
    layers = dict(model.named_modules())
    for group in found.groups.values():
        for name, units in group.filters.items():
            weight = f"{name}.weight" if f"{name}.weight" in found.sides else name
            filters = given.finite(model.get_parameter(weight), weight)
            # As single precision: half has too few digits to add up in.
            filters = filters.movedim(found.sides[weight][1], 0).flatten(1).float()
            if callable(criterion):
                score = _check_scores(name, units, criterion(name, layers.get(name, filters)))
            elif criterion == "random":
                score = torch.rand(len(units), generator=generator, dtype=torch.float64)
            else:
                score = filters.abs().sum(1) if criterion == "l1" else filters.square().sum(1)
            by_unit.index_add_(0, units, score.cpu().float())
    if criterion == "l2":
        by_unit = by_unit.sqrt()
    elif criterion == "obs":
        by_unit = _by_errors(model, found, calibration, torch.zeros_like(by_unit))
    elif criterion in BY_IMAGES:
        by_unit = _by_images(model, found, criterion, calibration, torch.zeros_like(by_unit))
    return {name: by_unit[group.units] for name, group in found.groups.items()}


def _pruned(
    model: nn.Module,
    found: Dependencies,
    scores: Scores,
    scope: str,
    amount: float | Mapping[str, float] | None,
) -> nn.Module:
    """Return a network without the units that have the lowest scores."""
    ranked: dict[str, list[tuple[float, int]]] = {}  # units with their scores; the last go first
    least: dict[str, int] = {}
    for name, group in found.groups.items():
        order = scores[name].double().argsort(descending=True, stable=True).tolist()
        best = [group.units[place] for place in order]
        # No layer of the group may end up empty, so the best unit of each stays.
        own = [{*units.tolist()} for units in group.filters.values()]
        first = {next(unit for unit in best if unit in units) for units in own}
        values = dict(zip(group.units, scores[name].tolist(), strict=True))
        best.sort(key=lambda unit: unit not in first)
        ranked[name], least[name] = [(values[unit], unit) for unit in best], len(first)
    if scope == "global" and not isinstance(amount, Mapping):
        left = _left_globally(ranked, least, given.amount(amount))
    else:
        shares = given.shares(amount, found.groups)
        left = {n: max(least[n], len(u) - round(shares[n] * len(u))) for n, u in ranked.items()}
    gone = [unit for name, units in ranked.items() for _, unit in units[left[name] :]]
    return remove_units(model, found, gone)


def _left_globally(
    ranked: dict[str, list[tuple[float, int]]], least: dict[str, int], amount: float
) -> dict[str, int]:
    """Say how many units stay if the lowest go wherever they are, but the first of no layer."""
    lowest = []
    for name, units in ranked.items():
        mean = sum(abs(value) for value, _ in units) / len(units) or 1
        lowest += [(value / mean, name) for value, _ in units[least[name] :]]
    left = {name: len(units) for name, units in ranked.items()}
    wanted = round(amount * sum(left.values()))
    # Of equals the later one goes first, so that each layer loses its units from the end.
    for _, name in sorted(reversed(lowest), key=operator.itemgetter(0))[:wanted]:
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
def _by_images(
    model: nn.Module, found: Dependencies, criterion: str, calibration: Split, by_unit: Tensor
) -> Tensor:
    """Average over the images what is read of each unit, or what the loss would be without it."""
    probe = copy.deepcopy(model).eval().float()
    first, read = next(probe.parameters()), {}
    readers = _readers(model, found)
    for name in readers:
        probe.get_submodule(name).register_forward_pre_hook(
            lambda _layer, inputs, name=name: read.update({name: inputs[0]})
        )
    for start in range(0, len(calibration), AT_A_TIME):
        part = calibration[start : start + AT_A_TIME]
        images = part.images.to(first).requires_grad_()  # so that gradients reach back
        try:
            loss = F.cross_entropy(probe(images), part.labels.to(first.device), reduction="sum")
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"The calibration does not fit the network: {error}") from error
        gradients = torch.autograd.grad(loss, list(read.values()))
        effect = torch.zeros(len(part), len(by_unit))
        for (name, values), gradient in zip(read.items(), gradients, strict=True):
            values = values.detach()
            counted = values.abs() if criterion == "activation" else values * gradient
            side = -1 if isinstance(probe.get_submodule(name), nn.Linear) else 1
            by_channel = counted.movedim(side, 1).reshape(len(part), len(readers[name]), -1).mean(2)
            often = readers[name].bincount()[readers[name]]  # as pixels behind Flatten
            effect.index_add_(1, readers[name], by_channel.cpu() / often)
        by_unit += effect.abs().sum(0) / len(calibration)
    return given.finite(by_unit, "what the next layers read")


@torch.no_grad()
def _by_errors(
    model: nn.Module, found: Dependencies, calibration: Split, by_unit: Tensor
) -> Tensor:
    """Add up the errors that are left when the layers that read a unit do without."""
    layers = readable_layers(model)
    for name, units in _readers(model, found).items():
        weight = layers[name].weight
        grams = gram_matrix(model, name, calibration.images)
        weights = weight.cpu().double().flatten(1).unflatten(0, (len(grams), -1))
        numbers, runs = units.unique_consecutive(return_counts=True)
        if len(runs.unique()) > 1:
            numbers, runs = units, torch.ones(1, dtype=torch.int64)
        size = int(runs[0]) * weight[0, 0].numel()  # columns that go together
        pairs = zip(weights, inverse(grams, DAMPING), strict=True)
        errors = torch.cat([greedy_errors(*pair, size) for pair in pairs])
        by_unit.index_add_(0, numbers, errors.float())
    return by_unit


def _readers(model: nn.Module, found: Dependencies) -> dict[str, Tensor]:
    """Return the layers that read units that can go: the unit of each channel they read."""
    readers, layers = {}, dict(model.named_modules())
    for weight, (reads, _) in found.sides.items():
        name, units = weight.removesuffix(".weight"), found.units[weight][reads]
        if name in layers and units.any():
            readers[name] = units.repeat(getattr(layers[name], "groups", 1))
    return readers


def _check_scores(name: str, units: Tensor, scores: object) -> Tensor:
    """Refuse what a function of the reader's returned if it is not a score for each filter."""
    fits = isinstance(scores, Tensor) and scores.shape == units.shape
    if not fits or not scores.isfinite().all():
        raise ValueError(
            f"The criterion's scores for {name} are {scores!r:.60}: it should return a tensor of "
            f"{len(units)} finite numbers, one for each filter."
        )
    return scores.detach()


def _units_gone(layer: str, units: list[int], kept: Iterable[int]) -> set[int]:
    """Return the units of a layer that do not stay, or say what is wrong with those that do."""
    name = f"kept[{layer!r}]"
    if not isinstance(kept, Iterable):
        raise TypeError(f"{name}={kept!r}: give the numbers of the filters to keep, as [0, 2].")
    indices = sorted(given.whole(index, name, 0, len(units) - 1) for index in kept)
    stay = {units[index] for index in indices}
    together = [index for index, unit in enumerate(units) if unit in stay | {0}]
    if not indices or indices != together:
        more = f", with those that go together or have to stay: {together}" if indices else ""
        raise ValueError(f"{name}={indices}: keep at least one filter, each once{more}.")
    return {*units} - stay - {0}
