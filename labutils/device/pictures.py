"""The pictures of lesson 06: instructions by layer, and when a sparse format pays."""

import itertools
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from labutils.base import given
from labutils.device.packing import FORMATS
from labutils.device.tables import check_formats_table
from labutils.look import figures


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
    """Draw validation accuracy against bytes for every network tried, and circle the chosen ones.

    Parameters
    ----------
    trials : columns `bytes`, `validation` and `widths`, as in models/smallest/search.csv
    chosen : rows of it, by what they are called
    """
    given.table(trials, ["widths"], "trials")
    given.numbers(trials, ["bytes", "validation"], "trials")
    given.named(chosen, "chosen", "{'best': trials.iloc[0]}")
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.subplots()
    by_widths = dict(list(trials.groupby("widths", sort=False)))
    for look, (widths, rows) in zip(figures.looks(by_widths), by_widths.items(), strict=True):
        dots = {**look, "linestyle": "none", "label": f"widths {widths}"}
        axes.plot(rows["bytes"] / 1e3, rows["validation"], **dots)
    for name, row in chosen.items():
        place = (row["bytes"] / 1e3, row["validation"])
        axes.plot(*place, "o", markersize=14, markerfacecolor="none", color=figures.GREY)
        axes.annotate(name, place, xytext=(8, -14), textcoords="offset points", fontsize=9)
    figures.percent(axes.yaxis, decimals=1)
    axes.set(xlabel="weights in flash, kB", ylabel="validation accuracy, int8")
    figures.legend_below(figure, columns=3)
    return figure
