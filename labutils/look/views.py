"""What an explorer shows for one setting of its controls: pure functions, no widgets."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from labutils.base.digits import Split
from labutils.base.layers import prunable_layers
from labutils.cost.latency import latency
from labutils.cost.macs import count_macs, layer_table
from labutils.cost.sizes import dense_bytes, sparse_bytes
from labutils.fit.evaluation import Evaluation, evaluate, predict, wilson_interval
from labutils.prune.filters import filter_scores, prune_filters
from labutils.prune.weights import prune_magnitude, prune_random, sparsity

SAMPLE = 1_000  # images in the first answer
PART = 1_000  # images between two looks at whether the answer is still wanted
BINS = 61
EXAMPLES = 12
TIMED = {1: 10, 64: 5}  # images at once, and how often they are timed
CURVE = (*(step / 20 for step in range(20)), 0.97, 0.99)


@dataclass(frozen=True)
class Setting:
    """Where the controls stand.

    Attributes
    ----------
    amount : fraction to remove, in [0, 1]
    scope : "global", "layer", or "own" for a fraction of its own for each layer
    method : one of the `methods` of the views
    layers : those fractions by layer, for the scope "own"
    """

    amount: float = 0.0
    scope: str = "global"
    method: str = "magnitude"
    layers: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Histogram:
    """The weights by value: how many stay and how many go in each of the bins.

    `cut` is the smallest magnitude that stays where one threshold decides, else None.
    """

    edges: np.ndarray
    kept: np.ndarray
    removed: np.ndarray
    cut: float | None


@dataclass(frozen=True)
class Slimming:
    """What became of a network from which filters were taken.

    Attributes
    ----------
    widths : of each layer, how many filters are left and how many there were
    sides : of each layer, the side of the pictures it puts out, in pixels (0 for numbers)
    macs, macs_dense : multiply-accumulates for an image, now and before
    times : from images at once to milliseconds for them, now and before, as far as measured
    """

    widths: Mapping[str, tuple[int, int]]
    sides: Mapping[str, int]
    macs: int
    macs_dense: int
    times: Mapping[int, tuple[float, float]]


@dataclass(frozen=True)
class View:
    """Everything the explorer shows for one setting.

    Attributes
    ----------
    evaluation, dense : accuracy of the pruned and of the unpruned network, on the same images
    exact : whether these are all images, or a sample for an estimate
    removed, layers : share of the weights (or filters) that is gone, in all and by layer
    nonzero : parameters that are there and not zero, biases included
    parameters : of the unpruned network
    bytes_dense : size of the tensors of the unpruned network
    bytes_pruned : of the pruned one, stored without its zeros where weights go
    detail : what became of the weights, or of the layers
    answers : the digits read on the example images
    curve : (amount, accuracy) pairs known or estimated so far, in order of amount
    curve_scope : the scope of that curve
    goal : what is to be reached and how far one is, in words; empty without a goal
    beside : further curves, amounts and accuracies by name
    """

    setting: Setting
    evaluation: Evaluation
    exact: bool
    dense: Evaluation
    removed: float
    layers: Mapping[str, float]
    nonzero: int
    parameters: int
    bytes_dense: int
    bytes_pruned: int
    detail: Histogram | Slimming
    answers: tuple[int, ...]
    curve: tuple[tuple[float, float], ...]
    curve_scope: str
    goal: str = ""
    beside: Mapping[str, Mapping[float, float]] = field(default_factory=dict)


class Views:
    """A network and the images it is judged by: what stays while the slider moves.

    Attributes
    ----------
    methods, scopes : the rules there are, the first to begin with
    known : exact evaluations so far
    estimates : evaluations on the sample, for the curve until its points are known
    """

    methods: Sequence[str] = ("magnitude", "random")
    scopes: Sequence[str] = ("global", "layer", "own")

    def __init__(self, model: nn.Module, split: Split) -> None:
        self.model, self.split = model, split
        self.known: dict[Setting, Evaluation] = {}
        self.estimates: dict[Setting, Evaluation] = {}
        step = max(1, len(split) // SAMPLE)
        self.sample = Split(split.images[::step].contiguous(), split.labels[::step].contiguous())
        self.dense = evaluate(model, split)
        self.dense_estimate = evaluate(model, self.sample)
        self.parameters = sum(tensor.numel() for tensor in model.parameters())
        self.examples = self._examples()
        self.start = Setting(0.0, self.scopes[0], self.methods[0])
        self.known[self.start] = self.dense
        self._prepare()

    @property
    def layers(self) -> list[str]:
        """The layers that can be given an amount of their own."""
        return list(prunable_layers(self.model))

    def prune(self, setting: Setting) -> nn.Module:
        """Return the network pruned as the controls say."""
        if setting.scope == "own":
            return self._prune(setting.method, dict(setting.layers), "layer")
        return self._prune(setting.method, setting.amount, setting.scope)

    def look(self, setting: Setting) -> View:
        """Answer at once: the accuracy from what is known, or else from the sample."""
        pruned = self.prune(setting)
        known = self.known.get(setting)
        removed, layers = self._shares(pruned)
        return View(
            setting=setting,
            evaluation=known or evaluate(pruned, self.sample),
            exact=known is not None,
            dense=self.dense if known else self.dense_estimate,
            removed=removed,
            layers=layers,
            nonzero=sum(int(tensor.count_nonzero()) for tensor in pruned.parameters()),
            parameters=self.parameters,
            bytes_dense=dense_bytes(self.model),
            bytes_pruned=self._bytes(pruned),
            detail=self._detail(setting, pruned),
            answers=tuple(predict(pruned, self.examples).argmax(1).tolist()),
            curve=self.curve(setting),
            curve_scope=self.curve_settings(setting)[0].scope,
        )

    def exact(self, setting: Setting) -> Iterator[None]:
        """Evaluate on all images, pausing after each part; the result ends up in `known`."""
        if setting in self.known:
            return
        pruned = self.prune(setting)
        correct, loss = 0, 0.0
        for start in range(0, len(self.split), PART):
            part = evaluate(pruned, self.split[start : start + PART])
            correct, loss = correct + part.correct, loss + part.loss * part.total
            yield
        total = len(self.split)
        self.known[setting] = Evaluation(
            correct / total, correct, total, loss / total, wilson_interval(correct, total)
        )

    def measure(self, setting: Setting) -> None:
        """Take what takes longer than a first answer may; here there is nothing."""

    def curve_settings(self, setting: Setting) -> list[Setting]:
        """Return the settings of the curve drawn beside this one: same rule, all amounts."""
        scope = self.start.scope if setting.scope == "own" else setting.scope
        return [replace(setting, amount=a, scope=scope, layers=()) for a in CURVE]

    def sketch(self, setting: Setting) -> None:
        """Estimate that curve from the sample, so that there is one from the beginning."""
        for point in self.curve_settings(setting):
            self.estimates[point] = evaluate(self.prune(point), self.sample)

    def curve(self, setting: Setting) -> tuple[tuple[float, float], ...]:
        """Return the points known of that curve, or else estimated."""
        found = {**self.estimates, **self.known}
        points = self.curve_settings(setting)
        return tuple((point.amount, found[point].accuracy) for point in points if point in found)

    def _examples(self) -> Split:
        """Choose digits the network reads correctly, from the shakiest to the surest."""
        logits = predict(self.model, self.sample)
        right = (logits.argmax(1) == self.sample.labels).nonzero().flatten()
        if len(right) == 0:
            return self.sample[: min(EXAMPLES, len(self.sample))]
        best = logits[right].topk(2, dim=1).values
        ranked = right[(best[:, 0] - best[:, 1]).argsort()]
        shares = torch.linspace(0, 1, min(EXAMPLES, len(ranked))) ** 2
        return self.sample[ranked[(shares * (len(ranked) - 1)).round().long()]]

    # What is different where filters go and not weights:

    aim, rule = "at least {:.0%} of the weights gone", "one threshold for all layers"

    def meets(self, view: View, goal: float) -> bool:
        """Whether as much is gone as the goal says."""
        return view.removed >= goal

    def rival(self, goal: float) -> Evaluation:
        """Say what the rule that asks nobody reaches with the goal met."""
        return evaluate(prune_magnitude(self.model, goal), self.split)

    def _prepare(self) -> None:
        """Work out once what every view needs."""
        self.weights = self._weights(self.model)
        reach = max(float(np.quantile(np.abs(self.weights), 0.999)), 1e-9)
        self.edges = np.linspace(-reach, reach, BINS + 1)
        self.bins = np.clip(np.digitize(self.weights, self.edges) - 1, 0, BINS - 1)
        self.counts = np.bincount(self.bins, minlength=BINS)

    def _prune(self, method: str, amount: float | dict[str, float], scope: str) -> nn.Module:
        rule = prune_random if method == "random" else prune_magnitude
        return rule(self.model, amount, scope)

    def _shares(self, pruned: nn.Module) -> tuple[float, dict[str, float]]:
        """Return the share removed, in all and by layer."""
        return sparsity(pruned), {
            name: 1 - int(layer.weight.count_nonzero()) / max(1, layer.weight.numel())
            for name, layer in prunable_layers(pruned).items()
        }

    def _bytes(self, pruned: nn.Module) -> int:
        return sparse_bytes(pruned)

    def _detail(self, setting: Setting, pruned: nn.Module) -> Histogram | Slimming:
        stay = self._weights(pruned) != 0
        removed = np.bincount(self.bins[(self.weights != 0) & ~stay], minlength=BINS)
        cut = None
        if setting.scope == "global" and setting.method == "magnitude" and stay.any():
            cut = float(np.abs(self.weights[stay]).min()) if setting.amount > 0 else None
        return Histogram(self.edges, self.counts - removed, removed, cut)

    def _weights(self, model: nn.Module) -> np.ndarray:
        layers = prunable_layers(model).values()
        return torch.cat([layer.weight.detach().flatten() for layer in layers]).cpu().numpy()


class FilterViews(Views):
    """The same for whole filters: the network gets smaller, and is timed.

    Attributes
    ----------
    calibration : training images for the rules that look at images
    """

    methods = ("l1", "l2", "activation", "taylor", "random")
    scopes = ("layer", "global", "own")
    aim, rule = "at most {:,} MACs", "the same share of each layer"

    def meets(self, view: View, goal: float) -> bool:
        """Whether the network needs no more MACs than the goal says."""
        return view.detail.macs <= goal

    def rival(self, goal: float) -> Evaluation:
        """Say what the rule that asks nobody reaches with the goal met."""
        shape = tuple(self.split.images.shape[1:])
        slim = prune_filters(self.model, budget={"macs": goal}, image_shape=shape)
        return evaluate(slim, self.split)

    def __init__(self, model: nn.Module, split: Split, calibration: Split) -> None:
        self.calibration = calibration
        super().__init__(model, split)

    @property
    def layers(self) -> list[str]:
        """The layers that can be given an amount of their own: all but the last."""
        return list(self.widths)

    def measure(self, setting: Setting) -> None:
        """Time the network on many images too."""
        for batch in TIMED:
            self._time(setting, self.prune(setting), batch)

    def _prepare(self) -> None:
        self.scores: dict[str, dict[str, torch.Tensor]] = {}
        self.times: dict[tuple[Setting, int], tuple[float, float]] = {}
        found = filter_scores(self.model)
        self.widths = {name: len(scores) for name, scores in found.items()}
        outputs = layer_table(self.model, self.split.images.shape[1:]).set_index("layer")["output"]
        self.sides = {n: outputs[n][-1] if len(outputs[n]) > 1 else 0 for n in self.widths}
        self.macs = self._macs(self.model)

    def _prune(self, method: str, amount: float | dict[str, float], scope: str) -> nn.Module:
        if method not in self.scores:
            self.scores[method] = filter_scores(self.model, method, calibration=self.calibration)
        scores = self.scores[method]
        return prune_filters(self.model, amount, lambda name, _: scores[name], scope)

    def _shares(self, pruned: nn.Module) -> tuple[float, dict[str, float]]:
        left = self._widths(pruned)
        gone = {name: 1 - left[name] / width for name, width in self.widths.items()}
        return 1 - sum(left.values()) / sum(self.widths.values()), gone

    def _bytes(self, pruned: nn.Module) -> int:
        return dense_bytes(pruned)

    def _detail(self, setting: Setting, pruned: nn.Module) -> Histogram | Slimming:
        self._time(setting, pruned, 1)
        left = self._widths(pruned)
        return Slimming(
            widths={name: (left[name], width) for name, width in self.widths.items()},
            sides=self.sides,
            macs=self._macs(pruned),
            macs_dense=self.macs,
            times={b: self.times[setting, b] for b in TIMED if (setting, b) in self.times},
        )

    def _time(self, setting: Setting, pruned: nn.Module, batch: int) -> None:
        """Time the network and the unpruned one in turn, on one thread, once a setting."""
        if (setting, batch) in self.times:
            return
        shape = tuple(self.split.images.shape[1:])
        pair = {"pruned": pruned, "unpruned": self.model}
        table = latency(pair, batch, rounds=TIMED[batch], image_shape=shape)
        self.times[setting, batch] = tuple(table["median"])

    def _macs(self, model: nn.Module) -> int:
        return count_macs(model, tuple(self.split.images.shape[1:]))

    def _widths(self, model: nn.Module) -> dict[str, int]:
        return {name: len(model.get_submodule(name).weight) for name in self.widths}


def label_bytes(count: float) -> str:
    """Write bytes as kB or MB of 1,000.

    >>> label_bytes(423464)
    '423.5 kB'
    """
    power = min(2, int(math.log10(max(count, 1)) / 3))
    return f"{count / 1000**power:,.{min(power, 1)}f} {('B', 'kB', 'MB')[power]}"
