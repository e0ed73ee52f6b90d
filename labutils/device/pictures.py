"""The pictures of lesson 06: instructions by layer, and when a sparse format pays."""

import itertools
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from labutils.base import given
from labutils.device.packing import FORMATS
from labutils.device.smallest import CANDIDATE
from labutils.device.tables import check_formats_table
from labutils.fit.evaluation import mean_interval
from labutils.look import figures

# What is drawn: column, unit, and what it is called.
MEASURED = (
    ("bytes", 1e3, "weights in flash, kB"),
    ("instructions", 1e6, "million instructions"),
)


@figures.styled
def instruction_bars(table: pd.DataFrame) -> Figure:
    """Draw the instructions of each variant by layer, beside its bytes of weights.

    Parameters
    ----------
    table : what `firmware_table` returns
    """
    given.table(table, ["variant", "fits"])
    layers = list(table.columns[list(table).index("fits") + 1 :])
    given.numbers(table, ["weights"])
    given.numbers(table.fillna(dict.fromkeys(layers, 0)), layers)  # some lack the others' layers
    figure = Figure(figsize=(8, 0.9 + 0.38 * len(table)))
    work, flash = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names, left = table["variant"].tolist(), 0.0
    colours = (figures.SKY, figures.BLUE, figures.ORANGE, figures.GREEN)
    looks = itertools.cycle(zip(colours, ("", "//", "..", "xx"), strict=True))
    for layer, (colour, hatch) in zip(layers, looks, strict=False):
        width = table[layer].fillna(0) / 1e6
        look = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        work.barh(names, width, left=left, label=layer, **look)
        left = left + width
    flash.barh(names, table["weights"] / 1e3, color=figures.GREY)
    for place, size in enumerate(table["weights"]):
        flash.text(size / 1e3, place, f" {size / 1e3:.1f}", va="center", fontsize=8)
    work.invert_yaxis()
    work.set_xlabel("million instructions for one image")
    flash.set_xlabel("weights in flash, kB")
    flash.margins(x=0.2)
    figures.legend_below(figure)
    return figure


@figures.styled
def break_even_curves(table: pd.DataFrame) -> Figure:
    """Draw bytes and instructions of each layer and format against density, as shares of dense.

    Parameters
    ----------
    table : what `format_table` returns
    """
    layers = list(dict.fromkeys(check_formats_table(table)["layer"]))
    kinds, sparse = {"bytes": "flash", "instructions": "time"}, FORMATS[1:]
    figure = Figure(figsize=(8, 2.9 * len(layers)))
    grid = figure.subplots(len(layers), 2, sharex=True, squeeze=False)
    for row, layer in zip(grid, layers, strict=True):
        of_layer = table[table["layer"] == layer].sort_values("density")
        dense = of_layer[of_layer["format"] == "dense"].set_index("density")
        for axes, (column, word) in zip(row, kinds.items(), strict=True):
            for look, kind in zip(figures.looks(sparse), sparse, strict=True):
                found = of_layer[of_layer["format"] == kind].set_index("density")
                share = found[column] / dense[column]
                axes.plot(share.index, share, ms=4, label=kind, **look)
            axes.axhline(1, color=figures.GREY, linewidth=1, label="dense")
            axes.set_title(f"{layer}: {word}", fontsize=10)
            axes.set_ylabel(f"{column}, share of dense")
            figures.percent(axes.xaxis, decimals=0)
            figures.percent(axes.yaxis, decimals=0)
            axes.set_ylim(0, None)
    for axes in grid[-1]:
        axes.set_xlabel("density: weights that stay")
    figures.legend_below(figure)
    return figure


@figures.styled
def search_points(trials: pd.DataFrame, chosen: Mapping[str, pd.Series]) -> Figure:
    """Draw validation accuracy against bytes and instructions, a point for each candidate.

    A bar is the 95% interval of a candidate's mean over its seeds, where it has several; the
    numbers beside the points are the bits of the weights, t for ternary.

    Parameters
    ----------
    trials : as `read_trials` returns them
    chosen : of the candidates, as `choose` returns them, by what they are called; circled
    """
    given.table(trials, CANDIDATE, "trials")
    given.numbers(trials, ["bytes", "instructions", "validation"], "trials")
    given.named(chosen, "chosen", "{'best': device.choose(trials, 99.0)}")
    figure = Figure(figsize=(8, 3.6))
    panels = figure.subplots(1, 2, sharey=True)
    ways = dict(list(trials.groupby("made", sort=False)))
    for axes, (column, unit, label) in zip(panels, MEASURED, strict=True):
        for look, (way, rows) in zip(figures.looks(ways), ways.items(), strict=True):
            for number, (key, seeds) in enumerate(rows.groupby(CANDIDATE, sort=False)):
                x, y = seeds[column].mean() / unit, seeds["validation"].mean()
                _, low, high = mean_interval(seeds["validation"]) if len(seeds) > 1 else (y, y, y)
                dots = {**look, "linestyle": "none", "label": way if number == 0 else None}
                axes.errorbar(x, y, [[y - low], [high - y]], capsize=2, **dots)
                axes.annotate(
                    str(key[CANDIDATE.index("bits")])[0],
                    (x, y),
                    xytext=(4, 4),
                    textcoords="offset points",
                    fontsize=8,
                )
                if any(tuple(row[CANDIDATE]) == key for row in chosen.values()):
                    circle = {"markersize": 14, "markerfacecolor": "none", "color": figures.GREY}
                    axes.plot(x, y, "o", **circle)
        axes.set(xlabel=label, xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="x", which="both", labelsize=8)
        figures.percent(axes.yaxis, decimals=1)
    panels[0].set_ylabel("validation accuracy")
    figures.legend_below(figure, columns=3)
    return figure
