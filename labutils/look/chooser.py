"""Which of the measured networks fit my limits? Sliders in front of a table."""

import math
from collections.abc import Iterable
from html import escape

import ipywidgets
import pandas as pd

from labutils.look.panels import problem
from labutils.study.findings import paired_latency
from labutils.study.tables import UNPRUNED

SHOWN = 8  # networks listed
COLUMNS = {
    "method": "{}",
    "amount": "{:.0%}",
    "accuracy": "{:.2%}",
    "kB": "{:.1f}",
    "ms": "{:.2f}",
    "MACs": "{:,.0f}",  # whole numbers, but floats in a table with failed rows
    "parameters": "{:,.0f}",
}


def qualify(
    table: pd.DataFrame, kilobytes: float, milliseconds: float, accuracy: float
) -> pd.DataFrame:
    """Return the networks within the limits, the most accurate first, of equals the smallest.

    Parameters
    ----------
    table : what `compare` returns
    kilobytes : at most so large in a file without zeros, indices counted
    milliseconds : at most so long for the batch they were timed with, see `paired_latency`
    accuracy : at least so accurate, in [0, 1]

    Returns
    -------
    Table with the columns `method`, `amount`, `accuracy`, `kB`, `ms`, `MACs`, `parameters`.
    """
    measured = table[table["error"] == ""]
    found = measured.assign(
        kB=measured["bytes_compressed"] / 1000, ms=paired_latency(measured), MACs=measured["macs"]
    )
    fits = (
        (found["kB"] <= kilobytes) & (found["ms"] <= milliseconds) & (found["accuracy"] >= accuracy)
    )
    ranked = found[fits].sort_values(["accuracy", "kB"], ascending=[False, True], kind="stable")
    return ranked[list(COLUMNS)].reset_index(drop=True)


def network_chooser(table: pd.DataFrame) -> "NetworkChooser":
    """Make sliders for limits that list the networks of a comparison within them.

    Parameters
    ----------
    table : what `compare` returns, one row at least; of one network, on validation images

    Returns
    -------
    A widget; ``.kilobytes``, ``.milliseconds`` and ``.accuracy`` (in percent) are its
    controls, ``.found`` is what it lists.
    """
    if not (table["error"] == "").any():
        raise ValueError("The table has no measured network: nothing to choose from.")
    return NetworkChooser(table)


class NetworkChooser(ipywidgets.VBox):
    """The widget of `network_chooser`."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.kilobytes = _limit("at most (kB)", table["bytes_compressed"].max() / 1000, 1)
        self.milliseconds = _limit("at most (ms)", paired_latency(table).max(), 0.1)
        self.accuracy = _limit("at least (%)", 100, 0.1)
        self.accuracy.value = 90
        self.page = ipywidgets.HTML()
        self.page.add_class("lab-chooser-page")
        for control in (self.kilobytes, self.milliseconds, self.accuracy):
            control.observe(self._moved, "value")
        self._moved()
        super().__init__([self.kilobytes, self.milliseconds, self.accuracy, self.page])

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """Give Jupyter the widget and, for print and viewers without widgets, its list."""
        bundle = super()._repr_mimebundle_(**options)
        bundle["text/html"] = f"{self.page.value}<p><em>Run this cell to get the sliders.</em></p>"
        bundle["text/plain"] = "Sliders for limits: run this cell to get them."
        return bundle

    def _moved(self, _change: object = None) -> None:
        try:
            limits = (self.kilobytes.value, self.milliseconds.value, self.accuracy.value / 100)
            self.found = qualify(self.table, *limits)
            self.page.value = list_page(self.found, len(self.table))
        except Exception as error:  # shown where the reader looks, and raised for the tests
            self.page.value = problem(error)
            raise


def list_page(found: pd.DataFrame, total: int) -> str:
    """Return the list as HTML: how many qualify, and the first of them."""
    head = (
        f'<p aria-live="polite"><b data-figure="qualify">{len(found)}</b> of {total} networks '
        "qualify" + (f"; the best {SHOWN}:" if len(found) > SHOWN else ":" if len(found) else ".")
    )
    if found.empty:
        return f"{head} Loosen a limit.</p>"
    shown = found.head(SHOWN)
    cells = pd.DataFrame({name: shown[name].map(form.format) for name, form in COLUMNS.items()})
    cells["amount"] = cells["amount"].where(shown["method"] != UNPRUNED, "")
    rows = "".join(f"<tr>{_cells('td', row)}</tr>" for row in cells.to_numpy())
    return (
        f'{head}</p><table style="border-collapse: collapse; line-height: 1.6"><thead><tr>'
        f"{_cells('th', COLUMNS)}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cells(tag: str, texts: Iterable[str]) -> str:
    style = "text-align: right; padding: 0 10px"
    return "".join(f'<{tag} style="{style}">{escape(text)}</{tag}>' for text in texts)


def _limit(description: str, largest: float, step: float) -> ipywidgets.FloatSlider:
    """Make a slider from 0 up to the largest value there is, rounded up to a step."""
    top = math.ceil(largest / step) * step
    return ipywidgets.FloatSlider(
        top,
        min=0,
        max=top,
        step=step,
        description=description,
        readout_format=".0f" if step >= 1 else ".1f",
        style={"description_width": "90px"},
        layout={"width": "min(100%, 560px)"},
    )
