"""The pictures of recovery: what changes from step to step, and seed by seed."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from labutils.look.figures import BLUE, GREEN, GREY, MARKERS, ORANGE, PURPLE, RED, SKY, styled

PERCENT = ("accuracy", "sparsity")
DASHES = ("-", "--", ":", "-.")
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)


@styled
def step_curves(
    runs: Mapping[str, pd.DataFrame], panels: Mapping[str, str], dense: float | None = None
) -> Figure:
    """Draw what changed from step to step, panels under each other with the steps in common.

    Parameters
    ----------
    runs : tables with the column `step` and one for each panel, by the name in the legend
    panels : from column to what stands beside the axis, with the unit
    dense : accuracy of the unpruned network, drawn as a line in the panel of `accuracy`
    """
    figure = Figure(figsize=(6.5, 0.8 + 1.9 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (column, label) in zip(rows, panels.items(), strict=True):
        for number, (name, run) in enumerate(runs.items()):
            axes.plot(run["step"], run[column], DASHES[number % len(DASHES)], label=name)
        if column == "accuracy" and dense is not None:
            axes.axhline(dense, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="unpruned")
        if column in PERCENT:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_ylabel(label)
    rows[-1].set_xlabel("steps")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    shown = {}
    for axes in rows:
        lines, names = axes.get_legend_handles_labels()
        shown.update(zip(names, lines, strict=True))
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=4)
    return figure


@styled
def seed_dots(table: pd.DataFrame, dense: float | None = None) -> Figure:
    """Draw the accuracy of every network, in columns by amount and method, their means as bars.

    Parameters
    ----------
    table : columns `method`, `amount`, `accuracy`, a row for each seed
    dense : mean accuracy of the unpruned networks, drawn as a line
    """
    methods, amounts = list(dict.fromkeys(table["method"])), sorted(table["amount"].unique())
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    for (method, amount), rows in table.groupby(["method", "amount"], sort=False):
        number = methods.index(method)
        x = amounts.index(amount) + 0.24 * (number - (len(methods) - 1) / 2)
        mean = rows["accuracy"].mean()
        axes.plot([x - 0.09, x + 0.09], [mean, mean], color=COLOURS[number], linewidth=2)
        axes.plot(
            [x] * len(rows),
            rows["accuracy"],
            MARKERS[number],
            ms=5,
            color=COLOURS[number],
            alpha=0.6,
            label=method if amount == amounts[0] else None,
        )
    if dense is not None:
        axes.axhline(dense, color=GREY, linewidth=1, linestyle="--", label="unpruned")
    axes.set_xticks(range(len(amounts)), [f"{amount:.0%}" for amount in amounts])
    axes.set(xlabel="removed", ylabel="accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside lower center", ncols=4)
    return figure
