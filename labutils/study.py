"""What an explorer shows for one setting of its controls: pure functions, no widgets."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from labutils.data import Split
from labutils.layers import prunable_layers
from labutils.magnitude import prune_magnitude, prune_random, sparsity
from labutils.metrics import Evaluation, evaluate, predict, wilson_interval
from labutils.sizes import dense_bytes, sparse_bytes

METHODS = {"magnitude": prune_magnitude, "random": prune_random}
SCOPES = ("global", "layer", "own")
SAMPLE = 1_000  # images in the first answer
PART = 1_000  # images between two looks at whether the answer is still wanted
BINS = 61
EXAMPLES = 12
CURVE = (*(step / 20 for step in range(20)), 0.97, 0.99)


@dataclass(frozen=True)
class Setting:
    """Where the controls stand.

    Attributes
    ----------
    amount : fraction of the weights to remove, in [0, 1]
    scope : "global", "layer", or "own" for a fraction of its own for each layer
    method : "magnitude" or "random"
    layers : those fractions by layer, for the scope "own"
    """

    amount: float = 0.0
    scope: str = "global"
    method: str = "magnitude"
    layers: tuple[tuple[str, float], ...] = ()

    def prune(self, model: nn.Module) -> nn.Module:
        """Return the network pruned as the controls say."""
        for name, value, known in (
            ("method", self.method, tuple(METHODS)),
            ("scope", self.scope, SCOPES),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r}: choose from {', '.join(known)}.")
        if self.scope == "own":
            return METHODS[self.method](model, dict(self.layers))
        return METHODS[self.method](model, self.amount, self.scope)


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
class View:
    """Everything the explorer shows for one setting.

    Attributes
    ----------
    evaluation, dense : accuracy of the pruned and of the unpruned network
    exact : whether `evaluation` is of all images, or an estimate from the sample
    sparsity, layers : share of zero weights, in all and by layer
    nonzero, parameters : counts with biases
    bytes_dense, bytes_sparse : size of the tensors, and of the same stored without zeros
    answers : the digits read on the example images
    curve : (amount, accuracy) pairs known or estimated so far, in order of amount
    """

    setting: Setting
    evaluation: Evaluation
    exact: bool
    dense: Evaluation
    sparsity: float
    layers: Mapping[str, float]
    nonzero: int
    parameters: int
    bytes_dense: int
    bytes_sparse: int
    histogram: Histogram
    answers: tuple[int, ...]
    curve: tuple[tuple[float, float], ...] = ()


@dataclass
class Study:
    """A network and the images it is judged by: what stays while the slider moves.

    Attributes
    ----------
    known : exact evaluations so far
    estimates : evaluations on the sample, for the curve until its points are known
    """

    model: nn.Module
    split: Split
    known: dict[Setting, Evaluation] = field(default_factory=dict)
    estimates: dict[Setting, Evaluation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        step = max(1, len(self.split) // SAMPLE)
        self.sample = Split(
            self.split.images[::step].contiguous(), self.split.labels[::step].contiguous()
        )
        self.dense = evaluate(self.model, self.split)
        self.known[Setting()] = self.dense
        self.weights = self._weights(self.model)
        reach = max(float(np.quantile(np.abs(self.weights), 0.999)), 1e-9)
        self.edges = np.linspace(-reach, reach, BINS + 1)
        self.bins = np.clip(np.digitize(self.weights, self.edges) - 1, 0, BINS - 1)
        self.counts = np.bincount(self.bins, minlength=BINS)
        self.examples = self._examples()

    def look(self, setting: Setting) -> View:
        """Answer at once: the accuracy from what is known, or else from the sample."""
        pruned = setting.prune(self.model)
        known = self.known.get(setting)
        state = list(pruned.parameters())
        return View(
            setting=setting,
            evaluation=known or evaluate(pruned, self.sample),
            exact=known is not None,
            dense=self.dense,
            sparsity=sparsity(pruned),
            layers={
                name: 1 - int(layer.weight.count_nonzero()) / max(1, layer.weight.numel())
                for name, layer in prunable_layers(pruned).items()
            },
            nonzero=sum(int(tensor.count_nonzero()) for tensor in state),
            parameters=sum(tensor.numel() for tensor in state),
            bytes_dense=dense_bytes(self.model),
            bytes_sparse=sparse_bytes(pruned),
            histogram=self._histogram(setting, pruned),
            answers=tuple(predict(pruned, self.examples).argmax(1).tolist()),
            curve=self.curve(setting),
        )

    def exact(self, setting: Setting) -> Iterator[None]:
        """Evaluate on all images, pausing after each part; the result ends up in `known`."""
        if setting in self.known:
            return
        pruned = setting.prune(self.model)
        correct, loss = 0, 0.0
        for start in range(0, len(self.split), PART):
            part = evaluate(pruned, self.split[start : start + PART])
            correct, loss = correct + part.correct, loss + part.loss * part.total
            yield
        total = len(self.split)
        self.known[setting] = Evaluation(
            correct / total, correct, total, loss / total, wilson_interval(correct, total)
        )

    def curve_settings(self, setting: Setting) -> list[Setting]:
        """Return the settings of the curve drawn beside this one: same rule, all amounts."""
        scope = "global" if setting.scope == "own" else setting.scope
        return [replace(setting, amount=a, scope=scope, layers=()) for a in CURVE]

    def sketch(self, setting: Setting) -> None:
        """Estimate that curve from the sample, so that there is one from the beginning."""
        for point in self.curve_settings(setting):
            self.estimates[point] = evaluate(point.prune(self.model), self.sample)

    def curve(self, setting: Setting) -> tuple[tuple[float, float], ...]:
        """Return the points known of that curve, or else estimated."""
        found = {**self.estimates, **self.known}
        points = self.curve_settings(setting)
        return tuple((point.amount, found[point].accuracy) for point in points if point in found)

    def _weights(self, model: nn.Module) -> np.ndarray:
        layers = prunable_layers(model).values()
        return torch.cat([layer.weight.detach().flatten() for layer in layers]).cpu().numpy()

    def _histogram(self, setting: Setting, pruned: nn.Module) -> Histogram:
        stay = self._weights(pruned) != 0
        removed = np.bincount(self.bins[(self.weights != 0) & ~stay], minlength=BINS)
        cut = None
        if setting.scope == "global" and setting.method == "magnitude" and stay.any():
            cut = float(np.abs(self.weights[stay]).min()) if setting.amount > 0 else None
        return Histogram(self.edges, self.counts - removed, removed, cut)

    def _examples(self) -> Split:
        """Choose digits the network reads rightly, from the shakiest to the surest."""
        logits = predict(self.model, self.sample)
        right = (logits.argmax(1) == self.sample.labels).nonzero().flatten()
        if len(right) == 0:
            return self.sample[: min(EXAMPLES, len(self.sample))]
        best = logits[right].topk(2, dim=1).values
        ranked = right[(best[:, 0] - best[:, 1]).argsort()]
        shares = torch.linspace(0, 1, min(EXAMPLES, len(ranked))) ** 2
        return self.sample[ranked[(shares * (len(ranked) - 1)).round().long()]]


def label_bytes(count: float) -> str:
    """Write bytes as kB or MB of 1,000.

    >>> label_bytes(423464)
    '423.5 kB'
    """
    power = min(2, int(math.log10(max(count, 1)) / 3))
    return f"{count / 1000**power:,.{min(power, 1)}f} {('B', 'kB', 'MB')[power]}"
