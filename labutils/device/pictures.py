"""The pictures of lesson 06: instructions by layer, and when a sparse format pays."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from labutils.device.quantization import LAYERS
from labutils.look.figures import BLUE, GREEN, GREY, MARKERS, ORANGE, PURPLE, SKY, styled

HATCHES = ("", "//", "..", "xx")
LINES = {"csr": ("-", "o"), "gaps": ("--", "s"), "bitmask": (":", "^")}


@styled
def instruction_bars(table: pd.DataFrame) -> Figure:
    """Draw the instructions of each variant by layer, beside its bytes of weights.

    Parameters
    ----------
    table : what `firmware_table` returns
    """
    figure = Figure(figsize=(8, 0.9 + 0.38 * len(table)), layout="constrained")
    work, flash = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names, left = table["variant"].tolist(), 0.0
    colours = (SKY, BLUE, ORANGE, GREEN)
    for layer, colour, hatch in zip(LAYERS, colours, HATCHES, strict=True):
        width = table[layer] / 1e6
        work.barh(
            names, width, left=left, color=colour, hatch=hatch, edgecolor="white", label=layer
        )
        left = left + width
    flash.barh(names, table["weights"] / 1e3, color=GREY)
    for place, size in enumerate(table["weights"]):
        flash.text(size / 1e3, place, f" {size / 1e3:.1f}", va="center", fontsize=8)
    work.invert_yaxis()
    work.set_xlabel("million instructions for one image")
    flash.set_xlabel("weights in flash, kB")
    flash.margins(x=0.2)
    figure.legend(loc="outside lower center", ncols=len(LAYERS))
    return figure


@styled
def break_even_curves(table: pd.DataFrame) -> Figure:
    """Draw bytes and instructions of each layer and format against density, as shares of dense.

    Parameters
    ----------
    table : what `format_table` returns
    """
    layers, kinds = list(dict.fromkeys(table["layer"])), {"bytes": "flash", "instructions": "time"}
    figure = Figure(figsize=(8, 2.9 * len(layers)), layout="constrained")
    grid = figure.subplots(len(layers), 2, sharex=True, squeeze=False)
    colours = dict(zip(LINES, (BLUE, ORANGE, PURPLE), strict=True))
    for row, layer in zip(grid, layers, strict=True):
        of_layer = table[table["layer"] == layer].sort_values("density")
        dense = of_layer[of_layer["format"] == "dense"].set_index("density")
        for axes, (column, word) in zip(row, kinds.items(), strict=True):
            for kind, (line, marker) in LINES.items():
                found = of_layer[of_layer["format"] == kind].set_index("density")
                share = found[column] / dense[column]
                axes.plot(
                    share.index, share, line, marker=marker, markersize=4, color=colours[kind],
                    label=kind,
                )  # fmt: skip
            axes.axhline(1, color=GREY, linewidth=1, label="dense")
            axes.set_title(f"{layer}: {word}", fontsize=10)
            axes.set_ylabel(f"{column}, share of dense")
            axes.xaxis.set_major_formatter(PercentFormatter(1))
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.set_ylim(0, None)
    for axes in grid[-1]:
        axes.set_xlabel("density: weights that stay")
    lines, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names))
    return figure


@styled
def search_points(trials: pd.DataFrame, chosen: Mapping[str, pd.Series]) -> Figure:
    """Draw validation accuracy against bytes for every network tried, and circle the chosen ones.

    Parameters
    ----------
    trials : columns `bytes`, `validation` and `widths`, as in models/smallest/search.csv
    chosen : rows of it, by what they are called
    """
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (widths, rows) in enumerate(trials.groupby("widths", sort=False)):
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(rows["bytes"] / 1e3, rows["validation"], marker, label=f"widths {widths}")
    for name, row in chosen.items():
        place = (row["bytes"] / 1e3, row["validation"])
        axes.plot(*place, "o", markersize=14, markerfacecolor="none", color=GREY)
        axes.annotate(name, place, xytext=(8, -14), textcoords="offset points", fontsize=9)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set(xlabel="weights in flash, kB", ylabel="validation accuracy, int8")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
