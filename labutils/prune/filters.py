"""Structured pruning: whole filters and neurons are taken out, and the tensors shrink."""

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labutils.base.digits import Split, check_calibration
from labutils.base.layers import check_amount, check_amounts, finite_weight, prunable_layers
from labutils.cost.macs import count_macs
from labutils.cost.sizes import dense_bytes
from labutils.fit.evaluation import BATCH, evaluating
from labutils.prune.dependencies import Channels, cut, read_chain

Scores = dict[str, Tensor]
Criterion = str | Callable[[str, nn.Module], Tensor]
BUDGETS = ("macs", "bytes")
HALVINGS = 24  # of the interval [0, 1] in which an amount is sought: to one in 16 million


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

    What belongs to a removed filter goes with it: its bias, its BatchNorm statistics, its
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
    chains = _prunable_chains(model)
    if scope not in ("layer", "global"):
        raise ValueError(f'scope={scope!r}: choose "layer" or "global".')
    ranking = Ranking(chains, _scores(model, chains, criterion, calibration, seed))

    def pruned(share: float) -> nn.Module:
        keep = ranking.globally(share) if scope == "global" else ranking.by_layer(share)
        return _cut_all(model, chains, keep)

    if budget is not None:
        if amount is not None:
            raise ValueError("Give either an amount or a budget: each decides how much goes.")
        return _within(_check_budget(budget), pruned, image_shape)
    if isinstance(amount, Mapping):
        return _cut_all(model, chains, ranking.by_layer(check_amounts(amount, list(chains))))
    return pruned(check_amount(amount))


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
    chains = _prunable_chains(model)
    check_amounts(dict.fromkeys(kept, 0), list(chains))
    return _cut_all(model, chains, {n: _check_kept(chains[n], kept[n]) for n in kept})


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
        - ``"random"``: by lot, the baseline that any rule should beat,
        - a function of a layer's name and the layer that returns a score for each filter
    calibration : training images (with labels), some hundreds; for "activation" and "taylor"
    seed : decides the lot of "random"

    Returns
    -------
    From layer to its scores, one for each filter.
    """
    return _scores(model, _prunable_chains(model), criterion, calibration, seed)


class Ranking:
    """Which filters go for a given amount.

    The unit that goes is a *slot*: one filter, or in grouped convolutions one filter of each
    block, from the best of every block to the worst.
    """

    def __init__(self, chains: dict[str, Channels], scores: Scores) -> None:
        self.order: dict[str, Tensor] = {}  # blocks x slots, indices of filters
        self.value: dict[str, Tensor] = {}  # of each slot, as a multiple of the layer's mean
        for name, channels in chains.items():
            blocks = scores[name].double().cpu().view(channels.blocks, -1)
            best_first = blocks.argsort(dim=1, descending=True, stable=True)
            starts = torch.arange(len(blocks))[:, None] * blocks.shape[1]
            self.order[name] = best_first + starts
            self.value[name] = blocks.gather(1, best_first).mean(0) / (blocks.abs().mean() or 1)

    def by_layer(self, amount: float | Mapping[str, float]) -> dict[str, Tensor]:
        """Remove the same share of each layer, or a share of its own (0 if not named)."""
        keep = {}
        for name, order in self.order.items():
            share = amount.get(name, 0.0) if isinstance(amount, Mapping) else amount
            slots = order.shape[1]
            keep[name] = self._first(name, max(1, slots - round(share * slots)))
        return keep

    def globally(self, amount: float) -> dict[str, Tensor]:
        """Remove the lowest slots wherever they are, but the first slot of no layer."""
        names = list(self.order)
        wanted = round(amount * sum(order.numel() for order in self.order.values()))
        layer = torch.cat([torch.full((len(v) - 1,), i) for i, v in enumerate(self.value.values())])
        value = torch.cat([value[1:] for value in self.value.values()])
        keep = {name: order.shape[1] for name, order in self.order.items()}
        # Of equals the later one goes first, so that each layer loses its slots from the end.
        for i in layer.flip(0)[value.flip(0).argsort(stable=True)].tolist():
            wanted -= len(self.order[names[i]])
            if wanted < 0:
                break
            keep[names[i]] -= 1
        return {name: self._first(name, count) for name, count in keep.items()}

    def _first(self, name: str, slots: int) -> Tensor:
        return self.order[name][:, :slots].flatten().sort().values


def _prunable_chains(model: nn.Module) -> dict[str, Channels]:
    """Read the chain, refusing networks from which nothing can be taken."""
    prunable_layers(model)  # refuses weights that are computed from other tensors
    chains = read_chain(model)
    if not chains:
        raise ValueError(
            f"This {type(model).__name__} has one layer with weights, or none: the last layer "
            "keeps all its outputs, so there is no filter to remove."
        )
    return chains


def _cut_all(
    model: nn.Module, chains: dict[str, Channels], keep: Mapping[str, Tensor]
) -> nn.Module:
    """Copy the network and cut every layer from which filters go."""
    slim = copy.deepcopy(model)
    for name, kept in keep.items():
        if len(kept) < chains[name].count:
            cut(slim, chains[name], kept)
    return slim


def _within(
    budget: Mapping[str, float], pruned: Callable[[float], nn.Module], image_shape: tuple[int, ...]
) -> nn.Module:
    """Find the network with the fewest filters gone that costs no more than the budget."""

    def cost(network: nn.Module) -> dict[str, int]:
        return {"macs": count_macs(network, image_shape), "bytes": dense_bytes(network)}

    def fits(network: nn.Module) -> bool:
        found = cost(network)
        return all(found[name] <= limit for name, limit in budget.items())

    best = pruned(0.0)
    if fits(best):
        return best
    best = pruned(1.0)
    if not fits(best):
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


def _scores(
    model: nn.Module,
    chains: dict[str, Channels],
    criterion: Criterion,
    calibration: Split | None,
    seed: int,
) -> Scores:
    """Score the filters of every layer, and check the scores."""
    layers = {name: model.get_submodule(name) for name in chains}
    weights = {name: finite_weight(name, layer).detach() for name, layer in layers.items()}
    if not isinstance(criterion, str) and callable(criterion):
        given = {name: criterion(name, layer) for name, layer in layers.items()}
        return {name: _check_scores(name, layers[name], found) for name, found in given.items()}
    if criterion == "random":
        lots = torch.Generator().manual_seed(seed)
        count = {name: len(weight) for name, weight in weights.items()}
        return {n: torch.rand(c, generator=lots, dtype=torch.float64) for n, c in count.items()}
    if not isinstance(criterion, str) or criterion not in {*BY_WEIGHT, *BY_OUTPUT}:
        known = ", ".join(f'"{name}"' for name in (*BY_WEIGHT, *BY_OUTPUT, "random"))
        raise ValueError(
            f"criterion={criterion!r}: choose {known}, or give a function of a layer's name and "
            "the layer that returns a score for each filter."
        )
    if criterion in BY_WEIGHT:
        return {name: BY_WEIGHT[criterion](weight.flatten(1)) for name, weight in weights.items()}
    check_calibration(f'criterion="{criterion}"', calibration)
    return _over_calibration(model, chains, calibration, BY_OUTPUT[criterion])


# From a layer's weights, filters x weights of a filter, to a score for each filter.
BY_WEIGHT: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda weight: weight.abs().sum(1),
    "l2": lambda weight: weight.square().sum(1).sqrt(),
}

# From what the next layer gets, images x filters x values, and the gradient of the loss
# there, to a score for each image and filter.
BY_OUTPUT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "activation": lambda output, gradient: output.abs().mean(2),
    "taylor": lambda output, gradient: (output * gradient).mean(2).abs(),
}


def _over_calibration(
    model: nn.Module,
    chains: dict[str, Channels],
    calibration: Split,
    measure: Callable[[Tensor, Tensor], Tensor],
) -> Scores:
    """Average a measure of what each layer hands on over the calibration images."""
    read: dict[str, Tensor] = {}

    def note(name: str) -> Callable:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read[name] = inputs[0]

        return hook

    device = next(model.parameters()).device
    scores = {name: torch.zeros(channels.count) for name, channels in chains.items()}
    hooks = [
        model.get_submodule(channels.reader.layer).register_forward_pre_hook(note(name))
        for name, channels in chains.items()
    ]
    try:
        with evaluating(model), torch.enable_grad():
            for start in range(0, len(calibration), BATCH):
                part = calibration[start : start + BATCH]
                images = part.images.to(device).requires_grad_()  # so that gradients reach back
                loss = F.cross_entropy(model(images), part.labels.to(device), reduction="sum")
                gradients = torch.autograd.grad(loss, list(read.values()))
                for (name, output), gradient in zip(read.items(), gradients, strict=True):
                    shape = (len(part), chains[name].count, -1)
                    found = measure(output.detach().reshape(shape), gradient.reshape(shape))
                    scores[name] += found.sum(0).cpu() / len(calibration)
    finally:
        for hook in hooks:
            hook.remove()
    return scores


def _check_scores(name: str, layer: nn.Module, scores: Tensor) -> Tensor:
    """Refuse what a function of the reader's returned if it is not a score for each filter."""
    scores = torch.as_tensor(scores).detach()
    if scores.shape != layer.weight.shape[:1] or not scores.isfinite().all():
        raise ValueError(
            f"The criterion gave {tuple(scores.shape)} scores for {name}: it should return "
            f"{len(layer.weight)} finite numbers, one for each filter."
        )
    return scores


def _check_kept(channels: Channels, kept: Iterable[int]) -> Tensor:
    """Return the indices of the filters that stay in rising order, or say what is wrong."""
    try:
        indices = sorted(operator.index(index) for index in kept)
    except TypeError as error:
        raise TypeError(
            f"The filters to keep of {channels.layer} are given by their numbers, as [0, 2], not "
            f"{kept!r}."
        ) from error
    if (
        not indices
        or len(set(indices)) < len(indices)
        or not (0 <= indices[0] <= indices[-1] < channels.count)
    ):
        raise ValueError(
            f"The filters to keep of {channels.layer} are {indices}: name at least one of "
            f"0 to {channels.count - 1}, each once."
        )
    size = channels.count // channels.blocks
    found = torch.tensor(indices)
    if len((found // size).bincount(minlength=channels.blocks).unique()) > 1:
        raise ValueError(
            f"{channels.layer} is tied to a grouped convolution: keep as many filters in each "
            f"block of {size}, since its groups have to stay equal."
        )
    return found


def _check_budget(budget: Mapping[str, float]) -> Mapping[str, float]:
    """Return the budget, or say what is wrong with it."""
    good = isinstance(budget, Mapping) and budget and set(budget) <= set(BUDGETS)
    if not good or not all(
        isinstance(limit, Real) and not isinstance(limit, bool) and limit > 0
        for limit in budget.values()
    ):
        raise ValueError(
            f"budget={budget!r}: give the most it may cost, as {{'macs': 300_000}} (for one "
            "image), {'bytes': 100_000} (of its tensors), or both, as positive numbers."
        )
    return budget
