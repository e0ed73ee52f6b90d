"""The explorer in a notebook: what the controls say, as Python reads and sets it."""

import copy
import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import anywidget
import torch
import traitlets
from torch import nn

from labutils.base import given
from labutils.base.digits import Digits, Split
from labutils.base.layers import prunable_layers
from labutils.base.structure import fingerprint
from labutils.cost.sizes import dense_bytes, sparse_bytes
from labutils.fit.evaluation import Evaluation, evaluate
from labutils.page.data import packed
from labutils.page.page import AMOUNTS, CALIBRATION, STYLE, front_end, still
from labutils.prune.filters import filter_scores, prune_filters
from labutils.prune.weights import prune_magnitude, prune_random, sparsity


def pruning_explorer(
    model: nn.Module,
    digits: Digits,
    part: str = "test",
    remove: str = "weights",
    goal: float | None = None,
    beside: Mapping[str, Mapping[float, float]] | None = None,
    predict: bool = False,
) -> "PruningExplorer":
    """Make a slider that prunes a network and shows at once what that does.

    The network itself is in the page and computes there: no move waits for Python.

    Parameters
    ----------
    model : the trained network, a chain of convolutions, ReLU, max-pooling, Flatten and linear
        layers; left as it was
    digits : what `load_mnist` returns
    part : "test" to look at a finished network, "validation" where a choice is to be made
    remove : "weights" sets single weights to zero, "filters" takes filters and neurons out
    goal : the least share of the weights that is to go, or the most MACs that are to be left; with
        it the page says whether that is met, and keeps the best shares of one's own that meet it
    beside : what takes too long for a slider, drawn beside its curve: accuracies in [0, 1] by the
        amount removed, by name, as ``{"repaired": {0.9: 0.99, 0.95: 0.98}}``
    predict : whether the curve is hidden until the reader has placed its cliff

    Returns
    -------
    A widget; as the last line of a cell it is displayed. ``.amount`` (in percent), ``.scope``,
    ``.method`` and ``.layer_amounts`` are its controls, each with a ``.value`` to read and set;
    ``.network`` is the network pruned so, ``.view`` what there is to say of it, ``.best`` the
    setting of the best shares of one's own.
    """
    given.network(model)
    part = given.choice(part, "part", ("validation", "test"))
    remove = given.choice(remove, "remove", ("weights", "filters"))
    split = given.split(getattr(given.digits(digits), part), f"digits.{part}")
    curves = {} if beside is None else given.named(beside, "beside", '{"repaired": {0.9: 0.99}}')
    for name, curve in curves.items():
        where = f"beside[{name!r}]"
        for pair in given.named(curve, where, "{0.9: 0.99}").items():
            for value in pair:
                given.fraction(value, f"a number in {where}")
    options = {"remove": remove, "predict": bool(predict), "beside": {
        name: [{"amount": 100 * a, "accuracy": curve[a]} for a in sorted(curve)]
        for name, curve in curves.items()
    }}  # fmt: skip
    if remove == "filters":
        filter_scores(model)  # refuses a network that has none to remove
    if goal is not None:
        options["goal"] = _goal(model, split, remove, goal)
    return PruningExplorer(model, digits, part, options)


def _goal(model: nn.Module, split: Split, remove: str, goal: float) -> dict:
    """Say a goal in words, and what the rule that asks nobody reaches with it met."""
    if remove == "filters":
        most = given.whole(goal, "goal")
        slim = prune_filters(model, budget={"macs": most}, image_shape=split.images.shape[1:])
        words, rule = f"at most {most:,} MACs", "the same share of each layer (l1)"
        limit = {"most": most}
    else:
        least = given.fraction(goal, "goal")
        slim = prune_magnitude(model, least)
        words, rule = f"at least {least:.0%} of the weights gone", "one threshold for all layers"
        limit = {"least": least}
    return {
        "aim": words,
        "rival": f"{rule}, just so: {evaluate(slim, split).accuracy:.2%}",
        **limit,
    }


@dataclass(frozen=True)
class View:
    """What there is to say of the network where the controls stand, on all images.

    Attributes
    ----------
    evaluation, dense : of the pruned and of the unpruned network
    removed : share of the weights (or filters) that is gone
    nonzero, parameters : parameters that are there and not zero, biases included; all of them
    bytes_pruned, bytes_dense : size of the tensors, without zeros where weights go; as they were
    """

    evaluation: Evaluation
    dense: Evaluation
    removed: float
    nonzero: int
    parameters: int
    bytes_pruned: int
    bytes_dense: int


class Control(traitlets.HasTraits):
    """A control of the page: ``value`` is where it stands."""

    def __init__(self, kind: traitlets.TraitType) -> None:
        super().__init__()
        self.add_traits(value=kind)


class PruningExplorer(anywidget.AnyWidget):
    """The widget of `pruning_explorer`."""

    _esm = front_end("widget.js")
    _css = STYLE
    data = traitlets.Dict().tag(sync=True)
    options = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    best = traitlets.Dict(None, allow_none=True).tag(sync=True)

    def __init__(self, model: nn.Module, digits: Digits, part: str, options: dict) -> None:
        self.model, self.split, self.part = model, getattr(digits, part), part
        self.calibration, self.held = digits.train[:CALIBRATION], False
        data = packed(model, self.split, calibration=self.calibration)
        self.filters = options["remove"] == "filters"
        scopes = ("layer", "global", "own") if self.filters else ("global", "layer", "own")
        names = list(prunable_layers(model))
        percent = partial(traitlets.Int, 0, min=0, max=100)
        self.amount, self.scope = Control(percent()), Control(traitlets.Enum(scopes, scopes[0]))
        methods = list(data["methods"][options["remove"]])
        self.method = Control(traitlets.Enum(methods, methods[0]))
        self.layer_amounts = {name: Control(percent()) for name in names}
        if self.filters:
            self.layer_amounts.popitem()  # the last layer keeps its ten
        super().__init__(data=data, options=options)
        self._tell()
        for control in (self.amount, self.scope, self.method, *self.layer_amounts.values()):
            control.observe(self._tell, "value")
        self.observe(self._hear, "state")
        self.on_msg(lambda _widget, message, _buffers: self.send({"heard": message.get("said")}))

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse `explorer.amount = 30`, which would lose the control."""
        if isinstance(getattr(self, name, None), Control):
            raise AttributeError(f"{name} is a control: explorer.{name}.value = {value!r} sets it.")
        super().__setattr__(name, value)

    @property
    def network(self) -> nn.Module:
        """The network pruned as the controls say, and without the filters that were silenced."""
        amounts = {name: control.value / 100 for name, control in self.layer_amounts.items()}
        own = self.scope.value == "own"
        amount, scope = (amounts, "layer") if own else (self.amount.value / 100, self.scope.value)
        whole = copy.deepcopy(self.model)
        if self.filters:
            found = filter_scores(whole, self.method.value, calibration=self.calibration)
            return prune_filters(self._silenced(whole), amount, lambda n, _: found[n], scope)
        prune = prune_random if self.method.value == "random" else prune_magnitude
        return self._silenced(prune(whole, amount, scope))

    @property
    def view(self) -> View:
        """What there is to say of that network, of all images; takes as long as they take."""
        slim = self.network
        left, were = (sum(filter_counts(m)) for m in (slim, self.model))
        return View(
            evaluation=evaluate(slim, self.split),
            dense=evaluate(self.model, self.split),
            removed=1 - left / were if self.filters else sparsity(slim),
            nonzero=sum(int(tensor.count_nonzero()) for tensor in slim.parameters()),
            parameters=sum(tensor.numel() for tensor in self.model.parameters()),
            bytes_pruned=dense_bytes(slim) if self.filters else sparse_bytes(slim),
            bytes_dense=dense_bytes(self.model),
        )

    def _silenced(self, model: nn.Module) -> nn.Module:
        """Set the filters that were clicked to zero, in place."""
        with torch.no_grad():
            for layer, number in (text.rsplit(":", 1) for text in self.state["off"]):
                for parameter in model.get_submodule(layer).parameters():
                    parameter[int(number)] = 0
        return model

    def _tell(self, _change: object = None) -> None:
        """Say to the page where the controls stand."""
        if self.held:
            return
        shares = [control.value for control in self.layer_amounts.values()]
        self.state = {
            "remove": self.options["remove"],
            "method": self.method.value,
            "scope": self.scope.value,
            "amount": self.amount.value,
            "shares": [*shares, 0] if self.filters else shares,
            "off": self.state.get("off", []),
        }

    def _hear(self, change: dict) -> None:
        """Put the controls where the page says they stand."""
        said, self.held = change["new"], True
        try:
            for name in ("amount", "scope", "method"):
                getattr(self, name).value = said[name]
            for control, share in zip(self.layer_amounts.values(), said["shares"], strict=False):
                control.value = share
        finally:
            self.held = False

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        """Give Jupyter the widget and, for print and viewers without widgets, a picture of it."""
        bundle, metadata = super()._repr_mimebundle_(**options)
        bundle["text/html"] = self.still()
        bundle["text/plain"] = "Sliders over the amount of pruning: run this cell to get them."
        return bundle, metadata

    def still(self) -> str:
        """Return the page for print, exact figures in it; and for `alive`, what to show."""
        view, said = self.view, self.state
        what, kept = ("filters", "are left") if self.filters else ("weights", "are not zero")
        few, prune = self.split[:1000], prune_filters if self.filters else prune_magnitude
        found = {a: evaluate(prune(self.model, a), few).accuracy for a in AMOUNTS}
        curves = {f"{len(few):,} images": found} | {
            name: {point["amount"] / 100: point["accuracy"] for point in points}
            for name, points in self.options["beside"].items()
        }
        mark = {"network": fingerprint(self.model), "part": self.part, "options": self.options}
        text = html.escape(json.dumps(mark | {"state": said}))
        return (
            f"<div data-explorer='{text}'><p>{view.removed:.1%} of the {what} removed "
            f"({said['scope']}, {said['method']}): <b>{view.evaluation}</b>, unpruned "
            f"{view.dense.accuracy:.2%}. {view.nonzero:,} of {view.parameters:,} parameters "
            f"{kept}; {view.bytes_pruned:,} of {view.bytes_dense:,} bytes.</p>{still(curves)}"
            "<p><em>Run this cell to get the controls.</em></p></div>"
        )


def filter_counts(model: nn.Module) -> list[int]:
    """Return how many filters each layer has, but for the last."""
    return [len(layer.weight) for layer in prunable_layers(model).values()][:-1]
