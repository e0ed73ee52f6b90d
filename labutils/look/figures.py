"""The pictures: pure functions from measurements to matplotlib figures, and `show`."""

import base64
import html
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from itertools import pairwise, zip_longest

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor, nn

from labutils.base import given
from labutils.base.history import History
from labutils.base.layers import prunable_layers
from labutils.cost.macs import layer_table
from labutils.prune.groups import channel_groups
from labutils.study.findings import pareto_front
from labutils.study.tables import UNPRUNED

# Okabe & Ito's colours, told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")

STYLE = {
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "figure.constrained_layout.use": True,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
}
DOTS_PER_INCH = 144  # drawn at twice the size shown, so that text stays sharp


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a drawing function in the lab's style, leaving matplotlib's own settings alone."""

    @wraps(draw)
    def draw_in_style(*arguments: object, **options: object) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*arguments, **options)

    return draw_in_style


def _panels(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: object
) -> tuple[Figure, list[Axes]]:
    """Return a figure, in inches, and its panels row by row."""
    figure = Figure(figsize=(width, height))
    return figure, [*figure.subplots(rows, columns, squeeze=False, **options).flat]


def show(figure: Figure, alt: str) -> None:
    """Display a figure with a description for those who cannot see it, then close it.

    JupyterLab gives its own images no description, so the picture goes out as HTML with
    one, and as PNG for viewers that show no HTML.

    Parameters
    ----------
    alt : what the picture shows, in a sentence or two
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure is a {type(figure).__name__}: give what a plot returned.")
    if not isinstance(alt, str) or not alt.strip():
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
def digit_grid(images: Tensor, titles: Sequence[str] = (), columns: int = 10) -> Figure:
    """Draw images N x 1 x 28 x 28 side by side, each under its title (there may be fewer)."""
    images = _shaped(given.images(images), "images", "N", 1, "height", "width")
    if isinstance(titles, str) or not isinstance(titles, Sequence) or len(titles) > len(images):
        raise TypeError(f"titles={titles!r:.60}: give a list, a title for each image at most.")
    columns = min(given.whole(columns, "columns"), len(images))
    rows = -(-len(images) // columns)
    figure, panels = _panels(0.95 * columns, (1.2 if titles else 0.95) * rows, rows, columns)
    for axes, image, title in zip_longest(panels, images, titles):
        axes.set_axis_off()
        if image is not None:
            _draw_digit(axes, image)
            axes.set_title(title or "", fontsize=9, pad=3)
    return figure


def _shaped(value: Tensor, name: str, *shape: int | str) -> Tensor:
    """Return finite numbers, on the CPU, of a shape in which words stand for any length."""
    found = given.tensor(value, name).shape
    pairs = zip(found, shape, strict=False)
    if len(found) != len(shape) or any(isinstance(w, int) and w != f for f, w in pairs):
        wanted = " x ".join(map(str, shape))
        raise ValueError(f"{name} has the shape {tuple(found)}: give {wanted}.")
    return value.detach().float().cpu()


def _draw_digit(axes: Axes, image: Tensor) -> None:
    """Draw one image 1 x height x width: its lowest value white, its highest black."""
    low, high = image.aminmax()
    axes.imshow(1 - ((image[0] - low) / (high - low or 1)).numpy(), cmap="gray", vmin=0, vmax=1)


@styled
def learning_curves(history: History) -> Figure:
    """Draw the training loss and the validation accuracy after each epoch, side by side."""
    if not isinstance(history, History):
        raise TypeError(f"history is a {type(history).__name__}: give what train() returns.")
    if not history.loss:
        raise ValueError("The history holds no finished epoch: train for at least one.")
    epochs = range(1, len(history.loss) + 1)
    figure, (left, right) = _panels(7.5, 2.8, 1, 2)
    left.plot(epochs, history.loss, marker="o", color=BLUE)
    left.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    right.plot(epochs, history.validation_accuracy, marker="s", color=ORANGE)
    right.set(xlabel="epoch", ylabel="validation accuracy")
    percent(right.yaxis, decimals=1)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@styled
def network_diagram(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> Figure:
    """Draw a network: the shape behind each layer, and each layer's share of the cost.

    On top, a block for the image and for each layer's output, as high as its picture is
    wide, as thick as it has channels; below, bars with the layer's share of all parameters
    and of all multiply-accumulates (MACs).
    """
    table = layer_table(given.network(model), image_shape)
    table = table[~table["kind"].isin(["ReLU", "Flatten", "Dropout"])]
    names, shapes = ["image", *table["layer"]], [tuple(image_shape), *table["output"]]
    figure, (top, parameters, macs) = _panels(
        1.25 * len(names), 4.4, 3, sharex=True, height_ratios=[1.8, 1, 1]
    )
    _draw_blocks(top, names, shapes)
    for axes, cost, colour, label in (
        (parameters, table["parameters"], BLUE, "parameters"),
        (macs, table["macs"], ORANGE, "MACs per\nimage"),
    ):
        values = [0, *cost]
        bars = axes.bar(range(len(values)), values, width=0.6, color=colour)
        labels = [f"{v:,}\n{v / sum(values):.1%}" if v else "" for v in values]
        axes.bar_label(bars, labels, fontsize=8, padding=1)
        axes.set(ylabel=label, ylim=(0, 1.65 * max(values)), yticks=[])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
    macs.set_xticks(range(len(names)), names)
    return figure


@styled
def groups_diagram(model: nn.Module, image_shape: tuple[int, ...] = (1, 28, 28)) -> Figure:
    """Draw which layers lose filters together, see `channel_groups`.

    A bar for each layer with filters, as high as it has many; layers of a group have its colour,
    pattern and letter, and arcs between them.
    """
    groups = channel_groups(model, image_shape)
    macs = layer_table(model, image_shape).drop_duplicates("layer").set_index("layer")["macs"]
    names = [name for name, cost in macs.items() if cost]
    figure, (axes,) = _panels(max(5.0, 0.62 * len(names)), 3.4)
    heights = [len(model.get_submodule(name).weight) for name in names]
    bars = axes.bar(names, heights, width=0.7, color="white", edgecolor=GREY)
    top = max(heights)
    for number, (layers, look) in enumerate(
        zip(groups["layers"], looks(groups["group"]), strict=True)
    ):
        places = [names.index(layer) for layer in layers if layer in names]
        for place in places:
            bars[place].set(color=look["color"], hatch=("", "//", "..", "xx")[number // 6 % 4])
            bars[place].set_edgecolor("white")
            letter = chr(ord("A") + number) if number < 26 else str(number + 1)
            axes.text(place, heights[place], letter, ha="center", va="bottom", fontweight="bold")
        for left, right in pairwise(places):
            xs = np.linspace(left, right, 40)
            rise = np.sin(np.linspace(0, np.pi, 40)) * 0.12 * top * (right - left) ** 0.5
            ends = np.linspace(heights[left], heights[right], 40) + 0.13 * top
            axes.plot(xs, ends + rise, color=look["color"], linewidth=1.5)
    axes.set(ylabel="filters or neurons", xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.55 * top))
    axes.grid(visible=False)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    return figure


def _draw_blocks(axes: Axes, names: list[str], shapes: list[tuple[int, ...]]) -> None:
    """Draw each output as a stack of sheets, or as a tall thin bar if it is a vector."""
    for x, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        if len(shape) == 3:  # a picture, square on the page
            side = 0.15 + 0.5 * shape[1] / max(each[1] for each in shapes if len(each) == 3)
            width, height, sheets = side, 0.85 * side, min(5, 1 + shape[0] // 8)
        else:
            width, height, sheets = 0.12, 0.15 + 0.7 * min(1, shape[0] / 64), 1
        colour = GREY if name == "image" else SKY
        for shift in (0.035 * sheet for sheet in range(sheets)):
            corner = (x - width / 2 + shift, 0.5 - height / 2 + shift)
            axes.add_patch(Rectangle(corner, width, height, facecolor=colour, edgecolor="white"))
        axes.text(x, -0.12, " x ".join(map(str, shape)), ha="center", fontsize=8)
    axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(-0.2, 1.1))
    axes.set_axis_off()


@styled
def confidence_bars(logits: Tensor) -> Figure:
    """Draw the ten probabilities a network gives one image (softmax of its logits)."""
    logits = _shaped(given.tensor(logits, "logits").squeeze(0), "logits", "classes of one image")
    figure, (axes,) = _panels(4, 1.6)
    axes.bar(range(len(logits)), torch.softmax(logits, dim=0).tolist(), color=BLUE)
    axes.set(xlabel="class", ylabel="probability", ylim=(0, 1), xticks=range(len(logits)))
    return figure


@styled
def tensors_side_by_side(tensors: dict[str, Tensor]) -> Figure:
    """Draw small matrices under their names, each number in its cell, zeros left pale."""
    given.named(tensors, "tensors", "{'weights': weight}")
    matrices = [
        _shaped(tensor, f"tensors[{name!r}]", "rows", "columns") for name, tensor in tensors.items()
    ]
    reach = max(float(matrix.abs().max()) for matrix in matrices) or 1.0
    figure, panels = _panels(2.6 * len(tensors), 2.7, 1, len(tensors))
    for axes, matrix, name in zip(panels, matrices, tensors, strict=True):
        axes.imshow(matrix.numpy(), cmap="PuOr", vmin=-1.3 * reach, vmax=1.3 * reach)
        for (row, column), value in np.ndenumerate(matrix.numpy()):
            text = f"{value + 0.0:g}" if tensors[name].is_floating_point() else f"{int(value)}"
            colour = "white" if abs(value) > 0.65 * reach else "black" if value else "#AAAAAA"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=10)
    return figure


@styled
def weight_histograms(model: nn.Module) -> Figure:
    """Draw the weights of each layer by value, a panel a layer, on one scale of values."""
    weights = {
        name: given.tensor(layer.weight, f"{name}.weight").detach().float().flatten().cpu().numpy()
        for name, layer in prunable_layers(given.network(model)).items()
    }
    reach = max(float(np.quantile(np.abs(values), 0.999)) for values in weights.values()) or 1.0
    figure, panels = _panels(2.3 * len(weights), 2.3, 1, len(weights), sharex=True)
    for axes, (name, values) in zip(panels, weights.items(), strict=True):
        axes.hist(values, bins=50, range=(-reach, reach), color=BLUE)
        axes.set_title(f"{name}: {values.size:,}", fontsize=10)
        axes.set(xlabel="value of the weight", yticks=[])
    panels[0].set_ylabel("weights")
    return figure


@styled
def accuracy_bands(table: pd.DataFrame, dense: float, removed: str = "weights removed") -> Figure:
    """Draw accuracy against amount for each method: mean of the seeds, band from worst to best.

    Parameters
    ----------
    table : columns `method`, `amount` and `accuracy`, a row for each seed; 24 methods at most
    dense : accuracy of the unpruned networks, drawn as a line
    removed : what the amounts are fractions of
    """
    given.numbers(given.table(table, ["method"]), ["amount", "accuracy"])
    return _against_amount(_by_method(table, "amount"), dense, removed)


@styled
def sensitivity_curves(table: pd.DataFrame, dense: float) -> Figure:
    """Draw what `sensitivity` returns: accuracy with one layer pruned, a line a layer (to 24)."""
    bands = ["accuracy", "low", "high"]
    given.numbers(given.table(table, ["layer"]), ["amount", *bands])
    by_layer = table.set_index("amount").groupby("layer", sort=False)
    curves = {layer: rows[bands] for layer, rows in by_layer}
    return _against_amount(curves, dense, "removed from this layer alone")


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
    table : columns `method`, `amount` and `accuracy`, a row for each seed, and one for each cost;
        24 methods at most
    costs : from column to what stands under the axis, with the unit
    dense : accuracy of the unpruned networks, drawn as a line; if not given, that of the rows
        whose method is "unpruned", which are drawn as a cross
    pareto : whether to ring the means that no other mean beats
    """
    given.table(table, ["method", "amount"])
    given.numbers(table, ["accuracy", *given.named(costs, "costs", '{"kB": "size, kB"}')])
    unpruned = table[table["method"] == UNPRUNED]
    pruned = table[table["method"] != UNPRUNED]
    if dense is None and len(unpruned):
        dense = float(unpruned["accuracy"].mean())
    columns = min(2, len(costs))
    rows = -(-len(costs) // columns)
    figure, panels = _panels(4.3 * columns, 0.7 + 2.9 * rows, rows, columns, sharey=True)
    for axes, (column, label) in zip(panels, costs.items(), strict=False):
        _draw_bands(axes, _by_method(pruned, column), dense)
        if len(unpruned):
            at = unpruned[[column, "accuracy"]].mean()
            axes.plot(at[column], at["accuracy"], marker="X", ms=8, color=GREY, zorder=3)
        if pareto:
            means = table.groupby(["method", "amount"])[[column, "accuracy"]].mean()
            best = means[pareto_front(means, column)]
            ring = {"ms": 12, "mfc": "none", "mec": "black", "label": "nothing beats it"}
            axes.plot(best[column], best["accuracy"], "o", **ring)
        axes.set(xlabel=label)
        axes.set_xlim(left=0)
        percent(axes.yaxis)
    for axes in panels[len(costs) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("accuracy")
    legend_below(figure)
    return figure


def _by_method(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Return for each method, amount by amount, the mean of a column and what the seeds reach."""
    curves = {}
    for method, rows in table.groupby("method", sort=False):
        amounts = rows.groupby("amount")
        found = amounts["accuracy"].agg(["mean", "min", "max"])
        found.index = amounts[column].mean() if column != "amount" else found.index
        curves[method] = found
    return curves


def _against_amount(curves: Mapping[str, pd.DataFrame], dense: float, removed: str) -> Figure:
    """Draw bands over the amount that was removed."""
    figure, (axes,) = _panels(6.5, 3.4)
    _draw_bands(axes, curves, dense)
    axes.set(xlabel=removed, ylabel="accuracy")
    percent(axes.xaxis, decimals=0)
    percent(axes.yaxis)
    axes.legend(loc="lower left", ncols=1 + len(curves) // 10)
    return figure


def _draw_bands(axes: Axes, curves: Mapping[str, pd.DataFrame], dense: float | None) -> None:
    """Draw a line with a band for each of the tables: x is the index, then come y, low and high."""
    _draw_dense(axes, dense)
    for look, (name, found) in zip(looks(curves), curves.items(), strict=True):
        y, low, high = (found[column] for column in found)
        axes.plot(found.index, y, ms=5, label=name, **look)
        axes.fill_between(found.index, low, high, color=look["color"], alpha=0.2)


def _draw_dense(axes: Axes, dense: float | None) -> None:
    """Draw the accuracy of the unpruned network, if it is known, as a line."""
    if dense is not None:
        dense = given.fraction(dense, "dense", "the accuracy of the unpruned network")
        axes.axhline(dense, color=GREY, linewidth=1, linestyle="--", label="unpruned")


def looks(names: Collection[str]) -> list[dict[str, str]]:
    """Return how to draw each of up to 24 lines: no two have both marker and dashes in common."""
    count, most = len(COLOURS), len(MARKERS) * len(DASHES)
    if len(names) > most:
        raise ValueError(
            f"{len(names)} lines cannot be told apart in one picture: draw {most} at most, as "
            "those of some methods or layers."
        )
    return [
        {
            "color": COLOURS[number % count],
            "marker": MARKERS[(number + number // count) % count],
            "linestyle": DASHES[number // count],
        }
        for number in range(len(names))
    ]


def percent(axis: Axis, decimals: int | None = None) -> None:
    """Write the numbers along an axis as percent."""
    axis.set_major_formatter(PercentFormatter(1, decimals=decimals))


def legend_below(figure: Figure, columns: int = 5) -> None:
    """Put one legend below all panels, each name once."""
    shown = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        shown.update(zip(names, handles, strict=True))
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=min(columns, len(shown)))


@styled
def filter_responses(weight: Tensor, image: Tensor, responses: Tensor) -> Figure:
    """Draw a first layer's filters over their feature maps of one image.

    Parameters
    ----------
    weight : filters x 1 x height x width
    image : the image, 1 x 28 x 28
    responses : its feature maps, filters x height x width
    """
    weight = _shaped(weight, "weight", "filters", 1, "height", "width")
    image = _shaped(image, "image", 1, "height", "width")
    responses = _shaped(responses, "responses", len(weight), "height", "width")
    count = len(weight) + 1
    figure, panels = _panels(0.62 * count, 1.7, 2, count)
    for axes in panels:
        axes.set_axis_off()
    _draw_digit(panels[count], image)
    panels[count].set_title("image", fontsize=8, pad=2)
    reach = float(weight.abs().max()) or 1.0
    for i, (filter, response) in enumerate(zip(weight, responses, strict=True)):
        above, below = panels[i + 1], panels[count + i + 1]
        above.imshow(filter[0].numpy(), cmap="PuOr", vmin=-reach, vmax=reach)
        above.set_title(str(i), fontsize=8, pad=2)
        below.imshow(response.numpy(), cmap="Greys", vmin=0)
    return figure


@styled
def score_bars(scores: dict[str, Tensor], amount: float = 0.0) -> Figure:
    """Draw the scores of each layer's filters, largest first; those that would go are hollow.

    Parameters
    ----------
    scores : what `filter_scores` returns
    amount : fraction of each layer's filters to mark
    """
    amount = given.amount(amount)
    given.named(scores, "scores", "filter_scores() returns it")
    figure, panels = _panels(2.9 * len(scores), 2.3, 1, len(scores))
    for axes, (name, values) in zip(panels, scores.items(), strict=True):
        values = _shaped(values, f"scores[{name!r}]", "filters")
        ranked = values.sort(descending=True).values.numpy()
        stay = len(ranked) - round(amount * len(ranked))
        axes.bar(range(stay), ranked[:stay], color=BLUE)
        hollow = {"color": "white", "edgecolor": ORANGE, "hatch": "///"}
        axes.bar(range(stay, len(ranked)), ranked[stay:], **hollow)
        axes.set(xlabel=f"filters of {name}, by score", ylim=(0, None), xticks=[])
    panels[0].set_ylabel("score")
    return figure


@styled
def step_curves(
    runs: Mapping[str, pd.DataFrame], panels: Mapping[str, str], dense: float | None = None
) -> Figure:
    """Draw what changed from step to step, panels under each other with the steps in common.

    Parameters
    ----------
    runs : tables with the column `step` and one for each panel, by the name in the legend; 24 at
        most
    panels : from column to what stands beside the axis, with the unit
    dense : accuracy of the unpruned network, drawn as a line in the panel of `accuracy`
    """
    given.named(panels, "panels", "{'accuracy': 'accuracy'}")
    for name, run in given.named(runs, "runs", "{'90% pruned': table}").items():
        given.numbers(run, ["step", *panels], f"runs[{name!r}]")
    figure, rows = _panels(6.5, 0.8 + 1.9 * len(panels), len(panels), sharex=True)
    for axes, (column, label) in zip(rows, panels.items(), strict=True):
        for look, (name, run) in zip(looks(runs), runs.items(), strict=True):
            axes.plot(run["step"], run[column], label=name, ms=4, markevery=0.15, **look)
        if column == "accuracy":
            _draw_dense(axes, dense)
        if column in ("accuracy", "sparsity"):
            percent(axes.yaxis)
        axes.set_ylabel(label)
    rows[-1].set_xlabel("steps")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure)
    return figure


@styled
def seed_dots(table: pd.DataFrame, dense: float | None = None) -> Figure:
    """Draw the accuracy of every network, in columns by amount and method, their means as bars.

    Parameters
    ----------
    table : columns `method`, `amount`, `accuracy`, a row for each seed; 24 methods at most
    dense : mean accuracy of the unpruned networks, drawn as a line
    """
    given.numbers(given.table(table, ["method"]), ["amount", "accuracy"])
    methods, amounts = list(dict.fromkeys(table["method"])), sorted(table["amount"].unique())
    drawn = dict(zip(methods, looks(methods), strict=True))
    step = min(0.24, 0.9 / len(methods))  # between two columns; there is 1 between two amounts
    figure, (axes,) = _panels(7, 3.2)
    for (method, amount), rows in table.groupby(["method", "amount"], sort=False):
        x = amounts.index(amount) + step * (methods.index(method) - (len(methods) - 1) / 2)
        mean, look = rows["accuracy"].mean(), drawn[method]
        bar = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 2}
        axes.plot([x - 0.4 * step, x + 0.4 * step], [mean, mean], **bar)
        dots = {**look, "linestyle": "none", "ms": 5, "alpha": 0.6}
        axes.plot([x] * len(rows), rows["accuracy"], label=method, **dots)
    _draw_dense(axes, dense)
    axes.set_xticks(range(len(amounts)), [f"{amount:.0%}" for amount in amounts])
    axes.set(xlabel="removed", ylabel="accuracy")
    percent(axes.yaxis)
    axes.grid(axis="x", visible=False)
    legend_below(figure)
    return figure
