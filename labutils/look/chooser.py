"""Which of the measured networks fit my limits? Sliders in front of a table."""

import math
from html import escape

import ipywidgets
import pandas as pd

from labutils.base import given
from labutils.look.widgets import Controls, control, html_table
from labutils.study.findings import paired_latency
from labutils.study.tables import UNPRUNED

SHOWN = 8  # networks listed
COLUMNS = {
    "method": "{}",
    "amount": "{:.0%}",
    "accuracy": "{:.2%}",
    "kB": "{:.1f}",
    "ms": "{:.2f}",
    "MACs": "{:,.0f}",  # integers, but floats in a table with failed rows
    "parameters": "{:,.0f}",
}


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
    return NetworkChooser(table)


def qualify(
    table: pd.DataFrame, kilobytes: float, milliseconds: float, accuracy: float
) -> pd.DataFrame:
    """Return the networks within the limits, the most accurate first, of equals the smallest.

    Kilobytes are those of a file without zeros, indices counted; milliseconds, as
    `paired_latency` has them, for the batch that was timed; the accuracy lies in [0, 1].
    """
    found = _measured(table)
    fits = found["kB"] <= given.positive(kilobytes, "kilobytes", zero=True)
    fits &= found["ms"] <= given.positive(milliseconds, "milliseconds", zero=True)
    fits &= found["accuracy"] >= given.fraction(accuracy, "accuracy", "the least accuracy")
    ranked = found[fits].sort_values(["accuracy", "kB"], ascending=[False, True], kind="stable")
    return ranked.reset_index(drop=True)


def _measured(table: pd.DataFrame) -> pd.DataFrame:
    """Return what is shown of the networks that were measured."""
    given.table(table, ("method", "amount", "error", "latency", "speedup", "macs", "parameters"))
    given.numbers(table, ("accuracy", "bytes_compressed"))
    measured = table[table["error"] == ""]
    if measured.empty:
        raise ValueError("The table has no measured network: nothing to choose from.")
    size, ms = measured["bytes_compressed"] / 1000, paired_latency(measured)
    return measured.assign(kB=size, ms=ms, MACs=measured["macs"])[[*COLUMNS]]


class NetworkChooser(Controls):
    """The widget of `network_chooser`."""

    what = "Sliders for limits"

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__("lab-chooser-page")
        self.table, networks = table, _measured(table)
        self.kilobytes = _limit("at most (kB)", networks["kB"].max(), 1)
        self.milliseconds = _limit("at most (ms)", networks["ms"].max(), 0.1)
        self.accuracy = _limit("at least (%)", 100, 0.1)
        self.accuracy.value = 90
        limits = (self.kilobytes, self.milliseconds, self.accuracy)
        for limit in limits:
            limit.observe(self._moved, "value")
        self.children = (*limits, self.page)
        self._moved()

    def _moved(self, _change: object = None) -> None:
        limits = (self.kilobytes.value, self.milliseconds.value, self.accuracy.value / 100)
        self.found = qualify(self.table, *limits)
        self.page.value = list_page(self.found, len(self.table))


def list_page(found: pd.DataFrame, total: int) -> str:
    """Return the list as HTML: how many qualify, and the first of them."""
    head = f'<p aria-live="polite"><b data-figure="qualify">{len(found)}</b> of {total} networks '
    if found.empty:
        return f"{head}qualify. Loosen a limit.</p>"
    head += f"qualify; the best {SHOWN}:</p>" if len(found) > SHOWN else "qualify:</p>"
    shown = found.head(SHOWN)
    cells = pd.DataFrame({name: shown[name].map(form.format) for name, form in COLUMNS.items()})
    cells["amount"] = cells["amount"].where(shown["method"] != UNPRUNED, "")
    return head + html_table(COLUMNS, cells.map(escape).to_numpy())


def _limit(name: str, largest: float, step: float) -> ipywidgets.FloatSlider:
    """Return a slider from 0 up to the largest value there is, rounded up to a step."""
    top, form = math.ceil(largest / step) * step, ".0f" if step >= 1 else ".1f"
    span = {"max": top, "value": top, "step": step}
    return control(ipywidgets.FloatSlider, name, readout_format=form, **span)
