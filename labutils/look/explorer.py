"""The explorer: sliders in front of `Views`, answering at once and exactly a little later."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import ipywidgets
from torch import nn

from labutils.base import given
from labutils.base.digits import Digits
from labutils.look import panels
from labutils.look.views import FilterViews, Setting, View, Views
from labutils.look.widgets import Controls, control

PARTS = ("validation", "test")
CALIBRATION = 1_000  # training images for the rules that look at images
SCOPE_LABELS = {
    "all layers together": "global",
    "the same share of each layer": "layer",
    "a share of its own for each layer": "own",
}


def pruning_explorer(
    model: nn.Module,
    digits: Digits,
    part: str = "test",
    remove: str = "weights",
    goal: float | None = None,
    beside: Mapping[str, Mapping[float, float]] | None = None,
) -> "PruningExplorer":
    """Make a slider that prunes a network and shows at once what that does.

    Parameters
    ----------
    model : the trained network; left as it was
    digits : what `load_mnist` returns
    part : "test" to look at a finished network, "validation" where a choice is to be made
    remove : "weights" sets single weights to zero, "filters" takes filters and neurons out
    goal : the least share of the weights that is to go, or the most MACs that are to be left; with
        it the page says whether that is met, and keeps the best shares of one's own that meet it
    beside : what takes too long for a slider, drawn beside its curve: accuracies in [0, 1] by the
        amount removed, by name, as ``{"repaired": {0.9: 0.99, 0.95: 0.98}}``

    Returns
    -------
    A widget; as the last line of a cell it is displayed. ``.amount``, ``.scope``, ``.method``
    and ``.layer_amounts`` are its controls, ``.view`` is what it shows, ``.best`` the best view.

    Each move is answered from a sample of 1,000 images; the exact figure follows. Moving on
    drops whatever is not finished.
    """
    given.network(model)
    part = given.choice(part, "part", PARTS)
    remove = given.choice(remove, "remove", ("weights", "filters"))
    split = given.split(getattr(given.digits(digits), part), f"digits.{part}")
    filters = remove == "filters"
    if goal is not None:
        goal = given.whole(goal, "goal") if filters else given.fraction(goal, "goal")
    curves = {} if beside is None else given.named(beside, "beside", '{"repaired": {0.9: 0.99}}')
    for name, curve in curves.items():
        where = f"beside[{name!r}]"
        for pair in given.named(curve, where, "{0.9: 0.99}").items():
            for value in pair:
                given.fraction(value, f"a number in {where}")
    views = (
        FilterViews(model, split, digits.train[:CALIBRATION]) if filters else Views(model, split)
    )
    return PruningExplorer(views, goal, curves)


class PruningExplorer(Controls):
    """The widget of `pruning_explorer`."""

    what = "Sliders over the amount of pruning"

    def __init__(self, views: Views, goal: float | None, beside: Mapping) -> None:
        super().__init__("lab-explorer-page")
        self.views, self.goal, self.beside = views, goal, beside
        self.rival = None if goal is None else views.rival(goal)
        self.best: View | None = None  # of shares chosen by hand that meet the goal
        self.held = False
        self.amount = control(ipywidgets.IntSlider, "amount (%)", max=99)
        self.scope = control(
            ipywidgets.Dropdown, "scope", 360, options=SCOPE_LABELS, value=views.start.scope
        )
        self.method = control(ipywidgets.Dropdown, "method", 240, options=list(views.methods))
        self.reset = ipywidgets.Button(description="Reset", layout={"width": "90px"})
        self.layer_amounts = {
            name: ipywidgets.IntSlider(0, 0, 99, description=f"{name} (%)") for name in views.layers
        }
        for moved in (self.amount, self.scope, self.method, *self.layer_amounts.values()):
            moved.observe(self._moved, "value")
        self.reset.on_click(self._reset)
        choices = ipywidgets.HBox(
            [self.scope, self.method, self.reset], layout={"flex_flow": "row wrap"}
        )
        self.layer_box = ipywidgets.HBox(
            list(self.layer_amounts.values()), layout={"flex_flow": "row wrap", "display": "none"}
        )
        views.sketch(self.setting)
        self._answer()
        self.children = (self.amount, choices, self.layer_box, self.page)

    def still(self) -> str:
        """Return the page for print, with the exact figure."""
        for _ in self.steps or ():
            if self.view.exact:
                break  # the curve's points follow in the pauses, as ever
        return panels.snapshot(self.view, self.views.examples)

    @property
    def setting(self) -> Setting:
        """Where the controls stand."""
        if self.scope.value != "own":
            return Setting(self.amount.value / 100, self.scope.value, self.method.value)
        shares = ((name, slider.value / 100) for name, slider in self.layer_amounts.items())
        return Setting(0.0, "own", self.method.value, tuple(shares))

    def _moved(self, change: dict) -> None:
        if self.held:
            return
        own = self.scope.value == "own"
        if change["owner"] is self.scope and own:
            with self._hold():  # begin with the shares the rule before gave each layer
                for name, share in self.view.layers.items():
                    self.layer_amounts[name].value = round(100 * share)
        self.layer_box.layout.display = "" if own else "none"
        self.amount.layout.display = "none" if own else ""
        self._answer()

    def _reset(self, _button: ipywidgets.Button) -> None:
        with self._hold():
            for slider in (self.amount, *self.layer_amounts.values()):
                slider.value = 0
            self.method.value = self.views.start.method
            self.scope.value = self.views.start.scope
        self._moved({"owner": self.reset})

    @contextlib.contextmanager
    def _hold(self) -> Iterator[None]:
        """Set several controls as one move."""
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def _answer(self) -> None:
        """Show the first answer, then have the exact one worked out in the background."""
        self.cancel()
        with self.errors_shown():
            self._show()
        self.work_through(self._rest())

    def _show(self) -> None:
        self.view = replace(self.views.look(self.setting), beside=self.beside)
        if self.goal is not None:
            self.view = replace(self.view, goal=self._progress(self.view))
        self.page.value = panels.page(self.view, self.views.examples)

    def _progress(self, view: View) -> str:
        """Say whether the goal is met, what the rule reaches, and what one's own best is."""
        met = self.views.meets(view, self.goal)
        if met and view.exact and view.setting.scope == "own":
            self.best = max(self.best or view, view, key=lambda seen: seen.evaluation.accuracy)
        mine = "none yet (shares of your own count)"
        if self.best:
            setting = self.best.setting
            shares = ", ".join(f"{name} {share:.2f}" for name, share in setting.layers)
            mine = f"{self.best.evaluation.accuracy:.2%} ({setting.method}; {shares})"
        return (
            f"{self.views.aim.format(self.goal)}: {'met' if met else 'not met'}; {self.views.rule} "
            f"({self.views.start.method}), just so: {self.rival.accuracy:.2%}; your best: {mine}"
        )

    def _rest(self) -> Iterator[None]:
        """Work out the exact figure, then the points of the curve, showing each."""
        setting = self.setting
        for wanted in (setting, *self.views.curve_settings(setting)):
            if wanted not in self.views.known:
                yield from self.views.exact(wanted)
                if wanted == setting:
                    self.views.measure(setting)
                self._show()
