"""The explorer: sliders in front of a `Study`, answering at once and exactly a little later."""

import asyncio
import contextlib
from collections.abc import Iterator

import ipywidgets
from torch import nn

from labutils.base.digits import Digits
from labutils.look import panels
from labutils.look.views import FilterStudy, Setting, Study

PARTS = ("validation", "test")
CALIBRATION = 1_000  # training images for the rules that look at images
SCOPE_LABELS = {
    "all layers together": "global",
    "the same share of each layer": "layer",
    "a share of its own for each layer": "own",
}


def pruning_explorer(
    model: nn.Module, digits: Digits, part: str = "test", remove: str = "weights"
) -> "PruningExplorer":
    """Make a slider that prunes a network and shows at once what that does.

    Parameters
    ----------
    model : the trained network; left as it was
    digits : what `load_mnist` returns
    part : "test" to look at a finished network, "validation" where a choice is to be made
    remove : "weights" sets single weights to zero, "filters" takes filters and neurons out

    Returns
    -------
    A widget; as the last line of a cell it is displayed. ``.amount``, ``.scope``, ``.method``
    and ``.layer_amounts`` are its controls, ``.view`` is what it shows.

    Each move is answered from a sample of 1,000 images; the exact figure follows. Moving on
    drops whatever is not finished.
    """
    if part not in PARTS:
        raise ValueError(f'part={part!r}: choose "validation" or "test".')
    if remove not in ("weights", "filters"):
        raise ValueError(f'remove={remove!r}: choose "weights" or "filters".')
    split = getattr(digits, part)
    if remove == "filters":
        return PruningExplorer(FilterStudy(model, split, digits.train[:CALIBRATION]))
    return PruningExplorer(Study(model, split))


class PruningExplorer(ipywidgets.VBox):
    """The widget of `pruning_explorer`."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.task: asyncio.Task | None = None
        self.held = False
        wide = {"description_width": "90px"}
        self.amount = ipywidgets.IntSlider(
            0, 0, 99, description="amount (%)", style=wide, layout={"width": "min(100%, 560px)"}
        )
        self.scope = ipywidgets.Dropdown(
            options=SCOPE_LABELS,
            value=study.start.scope,
            description="scope",
            style=wide,
            layout={"width": "min(100%, 360px)"},
        )
        self.method = ipywidgets.Dropdown(
            options=list(study.methods), description="method", style=wide, layout={"width": "240px"}
        )
        self.reset = ipywidgets.Button(description="Reset", layout={"width": "90px"})
        self.layer_amounts = {
            name: ipywidgets.IntSlider(0, 0, 99, description=f"{name} (%)") for name in study.layers
        }
        self.page = ipywidgets.HTML()
        self.page.add_class("lab-explorer-page")
        for control in (self.amount, self.scope, self.method, *self.layer_amounts.values()):
            control.observe(self._moved, "value")
        self.reset.on_click(self._reset)
        choices = ipywidgets.HBox(
            [self.scope, self.method, self.reset], layout={"flex_flow": "row wrap"}
        )
        self.layer_box = ipywidgets.HBox(
            list(self.layer_amounts.values()), layout={"flex_flow": "row wrap", "display": "none"}
        )
        study.sketch(self.setting)
        self._answer()
        super().__init__([self.amount, choices, self.layer_box, self.page])

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """Give Jupyter the widget and, for print and viewers without widgets, a picture of it."""
        bundle = super()._repr_mimebundle_(**options)
        still = panels.snapshot(self.view, self.study.examples)
        bundle["text/html"] = f"{still}<p><em>Run this cell to get the slider.</em></p>"
        bundle["text/plain"] = "A slider over the amount of pruning: run this cell to get it."
        return bundle

    @property
    def setting(self) -> Setting:
        """Where the controls stand."""
        if self.scope.value != "own":
            return Setting(self.amount.value / 100, self.scope.value, self.method.value)
        shares = ((name, slider.value / 100) for name, slider in self.layer_amounts.items())
        return Setting(0.0, "own", self.method.value, tuple(shares))

    def finish(self) -> None:
        """Do what is left to do in the background, now."""
        self._cancel()
        for _ in self._rest():
            pass

    def _moved(self, change: dict) -> None:
        if self.held:
            return
        own = self.scope.value == "own"
        if change["owner"] is self.scope and own:
            with self._hold():  # begin with the shares the rule before gave each layer
                for name, share in self.view.layers.items():
                    self.layer_amounts[name].value = round(100 * share)
        self.layer_box.layout.display = "" if own else "none"
        self.amount.disabled = own
        self._answer()

    def _reset(self, _button: ipywidgets.Button) -> None:
        with self._hold():
            for slider in (self.amount, *self.layer_amounts.values()):
                slider.value = 0
            self.method.value = self.study.start.method
            self.scope.value = self.study.start.scope
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
        self._cancel()
        try:
            self._show()
        except Exception as error:  # shown where the reader looks, and raised for the tests
            self.page.value = panels.problem(error)
            raise
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # outside a notebook nobody waits; `finish` does the rest
        self.task = loop.create_task(self._work())

    def _show(self) -> None:
        self.view = self.study.look(self.setting)
        self.page.value = panels.page(self.view, self.study.examples)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
            self.task = None

    async def _work(self) -> None:
        """Work in the kernel's pauses, so that every move of the slider comes first."""
        try:
            for _ in self._rest():
                await asyncio.sleep(0.001)
        except Exception as error:  # there is no cell any more to raise it in
            self.page.value = panels.problem(error)

    def _rest(self) -> Iterator[None]:
        """Work out the exact figure, then the points of the curve, showing each."""
        setting = self.setting
        for wanted in (setting, *self.study.curve_settings(setting)):
            if wanted not in self.study.known:
                yield from self.study.exact(wanted)
                if wanted == setting:
                    self.study.measure(setting)
                self._show()
