"""The pictures: pure functions from measurements to matplotlib figures, and `show`."""

import base64
import html
import io
from collections.abc import Callable, Sequence
from functools import wraps

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor, nn

from labutils.base.digits import PIXEL_MEAN, PIXEL_STD
from labutils.base.history import History
from labutils.base.layers import prunable_layers
from labutils.cost.macs import layer_table
from labutils.study.findings import pareto_front
from labutils.study.tables import UNPRUNED

# Okabe & Ito's colours, told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#777777"

STYLE = {
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY]),
}
DOTS_PER_INCH = 144  # drawn at twice the size shown, so that text stays sharp


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a drawing function in the lab's style, leaving matplotlib's own settings alone."""

    @wraps(draw)
    def draw_in_style(*arguments: object, **options: object) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*arguments, **options)

    return draw_in_style


def show(figure: Figure, alt: str) -> None:
    """Display a figure with a description for those who cannot see it, then close it.

    JupyterLab gives its own images no description, so the picture goes out as HTML with
    one, and as PNG for viewers that show no HTML.

    Parameters
    ----------
    alt : what the picture shows, in a sentence or two
    """
    if not alt.strip():
        raise ValueError("The figure needs a description: say in a sentence what it shows.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    pyplot.close(figure)
    png = buffer.getvalue()
    width = int.from_bytes(png[16:20], "big") // 2  # the PNG header says how wide it is
    data = base64.b64encode(png).decode()
    display(
        {
            "text/html": f'<img alt="{html.escape(alt)}" width="{width}" '
            f'style="max-width: 100%" src="data:image/png;base64,{data}">',
            "image/png": png,
            "text/plain": alt,
        },
        raw=True,
        metadata={"image/png": {"alt": alt, "width": width}},
    )


@styled
def digit_grid(
    images: Tensor,
    titles: Sequence[str] = (),
    columns: int = 10,
    highlight: Sequence[bool] = (),
) -> Figure:
    """Draw images N x 1 x 28 x 28 side by side, each under its title.

    Highlighted ones get a frame and a bold title, so that colour is not the only signal.
    """
    if len(images) == 0:
        raise ValueError("There is no image to draw.")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(0.95 * columns, (1.2 if titles else 0.95) * rows))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in axes:
        panel.set_axis_off()
    for position, (panel, image) in enumerate(zip(axes, images, strict=False)):
        draw_digit(panel, image)
        marked = position < len(highlight) and highlight[position]
        if position < len(titles):
            weight, colour = ("bold", RED) if marked else ("normal", "black")
            panel.set_title(titles[position], fontsize=9, fontweight=weight, color=colour, pad=3)
        if marked:
            frame = {"fill": False, "edgecolor": RED, "linewidth": 2}
            panel.add_patch(Rectangle((-0.5, -0.5), 28, 28, clip_on=False, **frame))
    figure.tight_layout(pad=0.3)
    return figure


def draw_digit(axes: Axes, image: Tensor) -> None:
    """Draw one normalised image 1 x 28 x 28 in its original greys, ink black on white."""
    pixels = image.reshape(28, 28) * PIXEL_STD + PIXEL_MEAN
    axes.imshow(1 - pixels.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)


@styled
def learning_curves(history: History) -> Figure:
    """Draw the training loss and the validation accuracy after each epoch, side by side."""
    if not history.loss:
        raise ValueError("The history holds no finished epoch: train for at least one.")
    epochs = range(1, len(history.loss) + 1)
    figure = Figure(figsize=(7.5, 2.8))
    left, right = figure.subplots(1, 2)
    left.plot(epochs, history.loss, marker="o", color=BLUE)
    left.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    right.plot(epochs, history.validation_accuracy, marker="s", color=ORANGE)
    right.set(xlabel="epoch", ylabel="validation accuracy")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.tight_layout()
    return figure


@styled
def network_diagram(model: nn.Module) -> Figure:
    """Draw a network: the shape behind each layer, and each layer's share of the cost.

    On top, a block for the image and for each layer's output, as high as its picture is
    wide, as thick as it has channels; below, bars with the layer's share of all parameters
    and of all multiply-accumulates (MACs).
    """
    table = layer_table(model)
    table = table[~table["kind"].isin(["ReLU", "Flatten", "Dropout"])]
    names, shapes = ["image", *table["layer"]], [(1, 28, 28), *table["output"]]
    figure = Figure(figsize=(1.25 * len(names), 4.4))
    top, parameters, macs = figure.subplots(
        3, 1, sharex=True, gridspec_kw={"height_ratios": [1.8, 1, 1]}
    )
    _draw_blocks(top, names, shapes)
    for axes, column, colour in ((parameters, "parameters", BLUE), (macs, "macs", ORANGE)):
        values = [0, *table[column]]
        bars = axes.bar(range(len(values)), values, width=0.6, color=colour)
        labels = [f"{v:,}\n{v / sum(values):.1%}" if v else "" for v in values]
        axes.bar_label(bars, labels, fontsize=8, padding=1)
        axes.set_ylim(0, 1.65 * max(values))
        axes.set_yticks([])
        axes.set_ylabel({"parameters": "parameters", "macs": "MACs per\nimage"}[column])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    macs.set_xticks(range(len(names)), names)
    figure.tight_layout(h_pad=0.4)
    return figure


def _draw_blocks(axes: Axes, names: list[str], shapes: list[tuple[int, ...]]) -> None:
    """Draw each output as a stack of sheets, or as a tall thin bar if it is a vector."""
    for x, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        colour = GREY if name == "image" else SKY
        if len(shape) == 3:
            channels, height, _ = shape
            side, sheets = 0.15 + 0.5 * height / 28, min(5, 1 + channels // 8)
        else:
            side, sheets = None, 1
        for sheet in range(sheets):
            shift = 0.035 * sheet
            if side is None:
                size = (0.12, 0.15 + 0.7 * min(1, shape[0] / 64))
            else:
                size = (side, 0.85 * side)  # square on the page
            corner = (x - size[0] / 2 + shift, 0.5 - size[1] / 2 + shift)
            axes.add_patch(Rectangle(corner, *size, facecolor=colour, edgecolor="white"))
        axes.text(x, -0.12, " x ".join(map(str, shape)), ha="center", fontsize=8)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(-0.2, 1.1))
    axes.set_axis_off()


@styled
def confidence_bars(logits: Tensor) -> Figure:
    """Draw the ten probabilities a network gives one image (softmax of its logits)."""
    figure = Figure(figsize=(4, 1.6))
    axes = figure.subplots()
    probabilities = torch.softmax(logits.flatten(), dim=0)
    axes.bar(range(len(probabilities)), probabilities.tolist(), color=BLUE)
    axes.set(xlabel="digit", ylabel="probability", ylim=(0, 1), xticks=range(10))
    figure.tight_layout()
    return figure


@styled
def tensors_side_by_side(tensors: dict[str, Tensor]) -> Figure:
    """Draw small matrices under their names, each number in its cell, zeros left pale."""
    figure = Figure(figsize=(2.6 * len(tensors), 2.7))
    panels = figure.subplots(1, len(tensors), squeeze=False)[0]
    reach = max(float(tensor.abs().max()) for tensor in tensors.values())
    for axes, (name, tensor) in zip(panels, tensors.items(), strict=True):
        values = tensor.float()
        axes.imshow(values.numpy(), cmap="PuOr", vmin=-1.3 * reach, vmax=1.3 * reach)
        for (row, column), value in np.ndenumerate(tensor.numpy()):
            text = f"{value + 0.0:g}" if tensor.is_floating_point() else f"{int(value)}"
            dark = abs(value) > 0.65 * reach
            colour = "#AAAAAA" if value == 0 else "white" if dark else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=10)
    figure.tight_layout()
    return figure


@styled
def weight_histograms(model: nn.Module) -> Figure:
    """Draw the weights of each layer by value, a panel a layer, on one scale of values."""
    layers = prunable_layers(model)
    weights = {name: layer.weight.detach().flatten().numpy() for name, layer in layers.items()}
    reach = max(float(np.quantile(np.abs(values), 0.999)) for values in weights.values())
    figure = Figure(figsize=(2.3 * len(layers), 2.3))
    panels = figure.subplots(1, len(layers), sharex=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, weights.items(), strict=True):
        axes.hist(values, bins=50, range=(-reach, reach), color=BLUE)
        axes.set_title(f"{name}: {values.size:,}", fontsize=10)
        axes.set_xlabel("value of the weight")
        axes.set_yticks([])
    panels[0].set_ylabel("weights")
    figure.tight_layout()
    return figure


MARKERS = ("o", "s", "^", "D", "v", "P")


@styled
def accuracy_bands(table: pd.DataFrame, dense: float, removed: str = "weights removed") -> Figure:
    """Draw accuracy against amount for each method: mean of the seeds, band from worst to best.

    Parameters
    ----------
    table : columns `method`, `amount`, `seed` and `accuracy`
    dense : accuracy of the unpruned networks, drawn as a line
    removed : what the amounts are fractions of
    """
    figure = Figure(figsize=(6.5, 3.4))
    axes = figure.subplots()
    _bands(axes, table, "amount", dense)
    _percent(axes, xlabel=removed, ylabel="accuracy")
    axes.legend(loc="lower left")
    figure.tight_layout()
    return figure


@styled
def accuracy_against(
    table: pd.DataFrame,
    costs: dict[str, str],
    dense: float | None = None,
    *,
    pareto: bool = False,
) -> Figure:
    """Draw accuracy against what networks cost, a panel for each kind of cost.

    Parameters
    ----------
    table : columns `method`, `amount`, `seed`, `accuracy`, and one for each cost
    costs : from column to what stands under the axis, with the unit
    dense : accuracy of the unpruned networks, drawn as a line; if not given, that of the rows
        whose method is "unpruned", which are drawn as a cross
    pareto : whether to ring the means that no other mean beats
    """
    unpruned = table[table["method"] == UNPRUNED]
    pruned = table[table["method"] != UNPRUNED]
    columns = min(2, len(costs))
    rows = -(-len(costs) // columns)
    figure = Figure(figsize=(4.3 * columns, 0.7 + 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (column, label) in zip(panels.flat, costs.items(), strict=False):
        _bands(axes, pruned, column, unpruned["accuracy"].mean() if dense is None else dense)
        if len(unpruned):
            at = unpruned[[column, "accuracy"]].mean()
            axes.plot(at[column], at["accuracy"], marker="X", ms=8, color=GREY, zorder=3)
        if pareto:
            means = table.groupby(["method", "amount"])[[column, "accuracy"]].mean()
            best = means[pareto_front(means, column)]
            ring = {"marker": "o", "ms": 12, "mfc": "none", "mec": "black", "linestyle": "none"}
            axes.plot(best[column], best["accuracy"], label="nothing beats it", **ring)
        axes.set(xlabel=label)
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    for axes in panels.flat[len(costs) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    lines, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=min(5, len(names)))
    return figure


def _bands(axes: Axes, table: pd.DataFrame, column: str, dense: float) -> None:
    """Draw mean and range of the seeds' accuracies, a line for each method."""
    axes.axhline(dense, color=GREY, linestyle="--", label="unpruned")
    for marker, (method, rows) in zip(MARKERS, table.groupby("method", sort=False), strict=False):
        amounts = rows.groupby("amount")
        found = amounts["accuracy"].agg(["mean", "min", "max"])
        x = amounts[column].mean() if column != "amount" else found.index
        (line,) = axes.plot(x, found["mean"], marker=marker, ms=5, label=method)
        axes.fill_between(x, found["min"], found["max"], color=line.get_color(), alpha=0.2)


@styled
def filter_responses(weight: Tensor, image: Tensor, responses: Tensor) -> Figure:
    """Draw a first layer's filters over what they make of one image.

    Parameters
    ----------
    weight : filters x 1 x height x width
    image : the image, 1 x 28 x 28
    responses : what the filters put out for it, filters x height x width
    """
    count = len(weight)
    figure = Figure(figsize=(0.62 * (count + 1), 1.7))
    panels = figure.subplots(2, count + 1)
    for axes in panels.flat:
        axes.set_axis_off()
    draw_digit(panels[1, 0], image)
    panels[1, 0].set_title("image", fontsize=8, pad=2)
    reach = float(weight.abs().max())
    for i in range(count):
        panels[0, i + 1].imshow(weight[i, 0].numpy(), cmap="PuOr", vmin=-reach, vmax=reach)
        panels[0, i + 1].set_title(str(i), fontsize=8, pad=2)
        panels[1, i + 1].imshow(responses[i].numpy(), cmap="Greys", vmin=0)
    figure.tight_layout(pad=0.3)
    return figure


@styled
def score_bars(scores: dict[str, Tensor], amount: float = 0.0) -> Figure:
    """Draw the scores of each layer's filters, largest first; those that would go are hollow.

    Parameters
    ----------
    scores : what `filter_scores` returns
    amount : fraction of each layer's filters to mark
    """
    figure = Figure(figsize=(2.9 * len(scores), 2.3))
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (name, values) in zip(panels, scores.items(), strict=True):
        ranked = values.sort(descending=True).values.numpy()
        stay = len(ranked) - round(amount * len(ranked))
        axes.bar(range(stay), ranked[:stay], color=BLUE)
        axes.bar(
            range(stay, len(ranked)), ranked[stay:], color="white", edgecolor=ORANGE, hatch="///"
        )
        axes.set(xlabel=f"filters of {name}, by score", ylim=(0, None), xticks=[])
    panels[0].set_ylabel("score")
    figure.tight_layout()
    return figure


@styled
def sensitivity_curves(table: pd.DataFrame, dense: float) -> Figure:
    """Draw what `sensitivity` returns: accuracy with one layer pruned, a line a layer."""
    figure = Figure(figsize=(6.5, 3.2))
    axes = figure.subplots()
    axes.axhline(dense, color=GREY, linestyle="--", label="unpruned")
    for marker, (layer, rows) in zip(MARKERS, table.groupby("layer", sort=False), strict=False):
        (line,) = axes.plot(rows["amount"], rows["accuracy"], marker=marker, ms=5, label=layer)
        axes.fill_between(
            rows["amount"], rows["low"], rows["high"], color=line.get_color(), alpha=0.2
        )
    _percent(axes, xlabel="removed from this layer alone", ylabel="accuracy")
    axes.legend(loc="lower left")
    figure.tight_layout()
    return figure


def _percent(axes: Axes, **labels: str) -> None:
    """Write both axes as percent."""
    axes.set(**labels)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
