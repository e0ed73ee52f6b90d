import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot

import labutils as lab
from labutils.base.history import History
from labutils.look import figures

COLUMNS = ["method", "amount", "seed", "accuracy", "kB"]


def table(*rows):
    return pd.DataFrame(list(rows), columns=COLUMNS)


THREE = table(*(("a", 0.5, seed, 0.8 + 0.1 * seed, 10 * seed) for seed in range(3)))


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_show_describes_the_picture_and_closes_it(monkeypatch):
    outputs = []
    monkeypatch.setattr(figures, "display", lambda data, raw, metadata: outputs.append(data))
    figure, _ = pyplot.subplots(figsize=(2, 1))
    with pytest.raises(ValueError, match="needs a description"):
        lab.show(figure, " ")
    lab.show(figure, 'Bars <of> "five" layers.')
    (data,) = outputs
    assert data["image/png"].startswith(b"\x89PNG")
    assert 'alt="Bars &lt;of&gt; &quot;five&quot; layers."' in data["text/html"]
    width = int(data["text/html"].split('width="')[1].split('"')[0])
    assert width == pytest.approx(2 * 72, abs=20)
    assert pyplot.get_fignums() == []


def test_digit_grid(digits):
    figure = lab.digit_grid(digits.test.images[:5], list("abcd"), columns=3)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == [*"abcd", ""]
    assert len(figure.axes) == 6
    assert not any(axes.axison for axes in figure.axes)
    ink = drawn[0].images[0].get_array()
    assert ink[0, 0] == pytest.approx(1, abs=1e-6)  # paper is white


def test_learning_curves_show_the_history():
    history = History(0, 2, loss=[0.5, 0.25], validation_accuracy=[0.9, 0.95])
    left, right = lab.learning_curves(history).axes
    assert left.lines[0].get_ydata().tolist() == [0.5, 0.25]
    assert right.lines[0].get_ydata().tolist() == [0.9, 0.95]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in (left, right))


@pytest.mark.parametrize("network", [lab.SimpleCNN((1, 1, 1)), lab.LeNet300(), lab.LeNet5()])
def test_network_diagram_states_the_cost(network):
    figure = lab.network_diagram(network)
    found = lab.layer_table(network)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for column in ("parameters", "macs"):
        total = found[column].sum()
        for value in found[column][found[column] > 0]:
            assert f"{value:,}\n{value / total:.1%}" in texts


def test_confidence_bars_are_probabilities_and_the_style_does_not_leak():
    before = dict(mpl.rcParams)
    (axes,) = lab.confidence_bars(torch.arange(10.0)).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == pytest.approx(1)
    assert heights == sorted(heights)
    assert dict(mpl.rcParams) == before


def test_tensors_side_by_side_write_each_number():
    weight = torch.tensor([[0.5, -0.25], [-0.0, 1.0]])
    left, right = lab.tensors_side_by_side({"weights": weight, "mask": (weight != 0).int()}).axes
    assert [text.get_text() for text in left.texts] == ["0.5", "-0.25", "0", "1"]
    assert [text.get_text() for text in right.texts] == ["1", "1", "0", "1"]
    assert [left.get_title(), right.get_title()] == ["weights", "mask"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_weight_histograms_count_every_weight(model, dtype):
    panels = lab.weight_histograms(model.to(dtype)).axes
    for axes, (name, layer) in zip(panels, lab.prunable_layers(model).items(), strict=True):
        assert axes.get_title() == f"{name}: {layer.weight.numel():,}"
        drawn = sum(bar.get_height() for bar in axes.patches)
        assert 0.99 * layer.weight.numel() <= drawn <= layer.weight.numel()


def test_accuracy_bands_are_mean_worst_and_best():
    (axes,) = lab.accuracy_bands(THREE, dense=0.99).axes
    assert lines(axes)["a"].get_ydata().tolist() == pytest.approx([0.9])
    assert set(lines(axes)["unpruned"].get_ydata()) == {0.99}
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().intervaly.tolist() == [0.8, 1.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["unpruned", "a"]


def test_sensitivity_curves_have_a_line_for_each_layer():
    rows = [(layer, a, 1 - a, 0.9 - a, 1.0) for layer in ("conv1", "fc1") for a in (0.1, 0.5)]
    scan = pd.DataFrame(rows, columns=["layer", "amount", "accuracy", "low", "high"])
    (axes,) = lab.sensitivity_curves(scan, dense=0.99).axes
    for name in ("conv1", "fc1"):
        assert list(lines(axes)[name].get_xdata()) == [0.1, 0.5]
        assert list(lines(axes)[name].get_ydata()) == [0.9, 0.5]
    assert len({line.get_marker() for line in axes.lines}) == 3  # told apart without colour
    assert axes.collections[0].get_paths()[0].get_extents().intervaly.tolist() == [0.4, 1.0]


def test_accuracy_against_costs_at_the_mean_cost_of_each_amount():
    found = THREE.assign(ms=2.0)
    figure = lab.accuracy_against(found, {"kB": "size, kB", "ms": "time, ms"}, dense=0.99)
    left, right = figure.axes
    assert [axes.get_xlabel() for axes in (left, right)] == ["size, kB", "time, ms"]
    for axes, cost in ((left, 10), (right, 2)):
        assert lines(axes)["a"].get_xdata().tolist() == [cost]
        assert lines(axes)["a"].get_ydata().tolist() == pytest.approx([0.9])
        assert axes.get_xlim()[0] == 0
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["unpruned", "a"]


def test_accuracy_against_rings_the_means_nothing_beats():
    rows = (("unpruned", 0.0, 0, 0.99, 100), ("a", 0.5, 0, 0.98, 50), ("a", 0.9, 0, 0.50, 10))
    found = table(*rows, ("b", 0.5, 0, 0.40, 60)).assign(ms=1, macs=1)
    costs = dict.fromkeys(["kB", "ms", "macs"], "cost")
    figure = lab.accuracy_against(found, costs, pareto=True)
    drawn = lines(figure.axes[0])
    ringed = zip(*drawn["nothing beats it"].get_data(), strict=True)
    assert set(ringed) == {(100, 0.99), (50, 0.98), (10, 0.50)}
    assert set(drawn["unpruned"].get_ydata()) == {0.99}  # taken from the table
    assert drawn["b"].get_marker() != drawn["a"].get_marker()
    assert len(figure.axes) == 4  # a grid of two by two, the last one empty
    assert not figure.axes[3].axison


def test_filter_responses_draw_each_filter_over_its_feature_map(model, digits):
    weight, maps = model.conv1.weight.detach(), torch.rand(16, 28, 28)
    figure = lab.filter_responses(weight, digits.test.images[0], maps)
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(drawn) == 1 + 2 * 16
    filters = {tuple(one.flatten().tolist()) for one in weight}
    assert filters == {tuple(picture.flatten()) for picture in drawn if picture.size == 9}
    assert (drawn[-1] == maps[15].numpy()).all()


def test_score_bars_mark_those_that_would_go(model):
    scores = lab.filter_scores(model)
    for axes, values in zip(lab.score_bars(scores, 0.25).axes, scores.values(), strict=True):
        heights = [bar.get_height() for bar in axes.patches]
        assert heights == pytest.approx(sorted(values.tolist(), reverse=True))
        hatched = [bar.get_height() for bar in axes.patches if bar.get_hatch()]
        assert hatched == heights[-len(values) // 4 :]


def test_step_curves_have_a_panel_for_each_figure():
    runs = {
        "at once": pd.DataFrame({"step": [0, 10], "sparsity": [0.9, 0.9], "accuracy": [0.5, 0.9]}),
        "later": pd.DataFrame({"step": [0, 20], "sparsity": [0.0, 0.9], "accuracy": [0.9, 0.8]}),
    }
    figure = lab.step_curves(runs, {"sparsity": "zeros", "accuracy": "accuracy"}, dense=0.99)
    top, bottom = figure.axes
    assert [line.get_label() for line in top.lines] == ["at once", "later"]
    assert [list(line.get_ydata()) for line in bottom.lines[:2]] == [[0.5, 0.9], [0.9, 0.8]]
    assert list(bottom.lines[2].get_ydata()) == [0.99, 0.99]
    assert len({line.get_marker() for line in bottom.lines}) == 3
    assert bottom.get_xlabel() == "steps"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["at once", "later", "unpruned"]


def dots_of(axes):
    return [line for line in axes.lines if line.get_marker() not in ("None", None)]


def test_seed_dots_show_every_network_and_the_means():
    rows = itertools.product(("one", "two"), (0.5, 0.98), range(3))
    found = table(*((method, a, seed, 0.9 + 0.01 * seed, 0) for method, a, seed in rows))
    (axes,) = lab.seed_dots(found, dense=0.99).axes
    dots, bars = dots_of(axes), [line for line in axes.lines if line.get_linestyle() == "-"]
    assert len(dots) == len(bars) == 4
    assert all(list(line.get_ydata()) == pytest.approx([0.9, 0.91, 0.92]) for line in dots)
    assert all(list(line.get_ydata()) == pytest.approx([0.91, 0.91]) for line in bars)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50%", "98%"]
    assert len({line.get_xdata()[0] for line in dots}) == 4


def many(count):
    """A table of so many methods (or layers), and each plot that draws a line for each of them."""
    names = [f"line {number}" for number in range(count)]
    found = table(*((name, amount, 0, 0.9, 10) for name in names for amount in (0.5, 0.9)))
    scan = found.rename(columns={"method": "layer"}).assign(low=0.8, high=1.0)
    run = pd.DataFrame({"step": [0, 1], "loss": [1, 2]})
    return {
        "bands": lambda: lab.accuracy_bands(found, 0.99),
        "against": lambda: lab.accuracy_against(found, {"kB": "size"}),
        "sensitivity": lambda: lab.sensitivity_curves(scan, 0.99),
        "steps": lambda: lab.step_curves(dict.fromkeys(names, run), {"loss": "loss"}),
        "dots": lambda: lab.seed_dots(found),
    }


@pytest.mark.parametrize("plot", ["bands", "against", "sensitivity", "steps", "dots"])
def test_up_to_24_lines_are_drawn_and_told_apart(plot):
    (axes,) = many(24)[plot]().axes
    drawn = {name: line for name, line in lines(axes).items() if name.startswith("line ")}
    assert len(drawn) == 24
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn.values()}
    assert len(looks) == 24
    if plot == "dots":
        places = sorted(line.get_xdata()[0] for line in dots_of(axes))
        assert np.diff(places).min() > 0.03  # no column over another one
    with pytest.raises(ValueError, match="25 lines cannot be told apart in one picture: draw 24"):
        many(25)[plot]()


IMAGES = torch.zeros(2, 1, 28, 28)


@pytest.mark.parametrize(
    ("plot", "arguments", "said"),
    [
        (lab.digit_grid, (IMAGES.repeat(1, 3, 1, 1),), r"\(2, 3, 28, 28\): give N x 1 x height"),
        (lab.digit_grid, (IMAGES, list("abc")), "a title for each image at most"),
        (lab.learning_curves, (History(0, 2),), "no finished epoch"),
        (lab.accuracy_bands, (THREE, 99), "dense=99: .*for 99% write 0.99"),
    ],
)
def test_nothing_blank_is_drawn(plot, arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        plot(*arguments)
