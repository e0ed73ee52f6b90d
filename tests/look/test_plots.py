import matplotlib as mpl
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

import labutils as lab
from labutils.base.history import History
from labutils.look import figures as plots


@pytest.fixture
def shown(monkeypatch):
    """What `show` hands to Jupyter, as (data, metadata)."""
    outputs = []
    monkeypatch.setattr(
        plots, "display", lambda data, raw, metadata: outputs.append((data, metadata))
    )
    return outputs


def test_show_describes_the_picture(shown):
    lab.show(Figure(figsize=(2, 1)), 'Bars <of> "five" layers.')
    ((data, metadata),) = shown
    assert data["image/png"].startswith(b"\x89PNG")
    assert 'alt="Bars &lt;of&gt; &quot;five&quot; layers."' in data["text/html"]
    assert metadata["image/png"]["alt"] == 'Bars <of> "five" layers.'
    assert metadata["image/png"]["width"] == pytest.approx(2 * 72, abs=20)


def test_show_wants_a_description_and_closes_the_figure(shown):
    figure, _ = pyplot.subplots()
    with pytest.raises(ValueError, match="needs a description"):
        lab.show(figure, " ")
    lab.show(figure, "Empty axes.")
    assert len(shown) == 1
    assert pyplot.get_fignums() == []


def test_digit_grid_marks_without_colour_alone(digits):
    figure = lab.digit_grid(
        digits.test.images[:5], list("abcde"), columns=3, highlight=[False, True]
    )
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == list("abcde")
    assert [axes.title.get_fontweight() for axes in drawn] == ["normal", "bold"] + ["normal"] * 3
    assert [len(axes.patches) for axes in drawn] == [0, 1, 0, 0, 0]
    ink = drawn[0].images[0].get_array()
    assert ink[0, 0] == pytest.approx(1, abs=1e-6)  # paper is white
    with pytest.raises(ValueError, match="no image"):
        lab.digit_grid(digits.test.images[:0])


def test_learning_curves_show_the_history():
    history = History(0, 2, loss=[0.5, 0.25], validation_accuracy=[0.9, 0.95])
    left, right = lab.learning_curves(history).axes
    assert left.lines[0].get_ydata().tolist() == [0.5, 0.25]
    assert right.lines[0].get_ydata().tolist() == [0.9, 0.95]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in (left, right))
    with pytest.raises(ValueError, match="no finished epoch"):
        lab.learning_curves(History(0, 2))


@pytest.mark.parametrize(
    "network", [lab.SimpleCNN(), lab.SimpleCNN((1, 1, 1)), lab.LeNet300(), lab.LeNet5()]
)
def test_network_diagram_states_the_cost(network):
    figure = lab.network_diagram(network)
    table = lab.layer_table(network)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for column in ("parameters", "macs"):
        total = table[column].sum()
        for value in table[column][table[column] > 0]:
            assert f"{value:,}\n{value / total:.1%}" in texts


def test_confidence_bars_are_probabilities():
    (axes,) = lab.confidence_bars(torch.arange(10.0)).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == pytest.approx(1)
    assert heights == sorted(heights)


def test_style_does_not_leak():
    before = dict(mpl.rcParams)
    lab.confidence_bars(torch.zeros(10))
    assert dict(mpl.rcParams) == before


def test_tensors_side_by_side_write_each_number():
    weight = torch.tensor([[0.5, -0.25], [-0.0, 1.0]])
    figure = lab.tensors_side_by_side({"weights": weight, "mask": (weight != 0).int()})
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["0.5", "-0.25", "0", "1"]
    assert [text.get_text() for text in right.texts] == ["1", "1", "0", "1"]
    assert [left.get_title(), right.get_title()] == ["weights", "mask"]


def test_weight_histograms_count_every_weight(model):
    for axes, (name, layer) in zip(
        lab.weight_histograms(model).axes, lab.prunable_layers(model).items(), strict=True
    ):
        assert axes.get_title() == f"{name}: {layer.weight.numel():,}"
        drawn = sum(bar.get_height() for bar in axes.patches)
        assert 0.99 * layer.weight.numel() <= drawn <= layer.weight.numel()


def test_accuracy_bands_are_mean_worst_and_best():
    rows = [("a", 0.5, seed, accuracy) for seed, accuracy in enumerate((0.8, 0.9, 1.0))]
    table = pd.DataFrame(rows, columns=["method", "amount", "seed", "accuracy"])
    (axes,) = lab.accuracy_bands(table, dense=0.99).axes
    labels = {line.get_label(): line for line in axes.lines}
    assert labels["a"].get_ydata().tolist() == pytest.approx([0.9])
    assert set(labels["unpruned"].get_ydata()) == {0.99}
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().intervaly.tolist() == [0.8, 1.0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["unpruned", "a"]


def test_sensitivity_curves_have_a_line_for_each_layer():
    rows = [(layer, a, 1 - a, 0.9 - a, 1.0) for layer in ("conv1", "fc1") for a in (0.1, 0.5)]
    table = pd.DataFrame(rows, columns=["layer", "amount", "accuracy", "low", "high"])
    (axes,) = lab.sensitivity_curves(table, dense=0.99).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines["conv1"] == lines["fc1"] == [0.9, 0.5]
    assert len({line.get_marker() for line in axes.lines}) == 3  # told apart without colour


def test_accuracy_against_costs_at_the_mean_cost_of_each_amount():
    rows = [
        ("a", 0.5, seed, accuracy, 10 * seed, 2.0) for seed, accuracy in enumerate((0.8, 0.9, 1.0))
    ]
    columns = ["method", "amount", "seed", "accuracy", "kB", "ms"]
    table = pd.DataFrame(rows, columns=columns)
    figure = lab.accuracy_against(table, {"kB": "size, kB", "ms": "time, ms"}, dense=0.99)
    left, right = figure.axes
    assert [axes.get_xlabel() for axes in (left, right)] == ["size, kB", "time, ms"]
    for axes, cost in ((left, 10), (right, 2)):
        line = {line.get_label(): line for line in axes.lines}["a"]
        assert line.get_xdata().tolist() == [cost]
        assert line.get_ydata().tolist() == pytest.approx([0.9])
        assert axes.get_xlim()[0] == 0
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["unpruned", "a"]


def test_filter_responses_draw_each_filter_over_its_answer(model, digits):
    image = digits.test.images[0]
    answers = torch.rand(16, 28, 28)
    figure = lab.filter_responses(model.conv1.weight.detach(), image, answers)
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(drawn) == 1 + 2 * 16
    filters = {tuple(weight.flatten().tolist()) for weight in model.conv1.weight.detach()}
    assert filters == {tuple(picture.flatten()) for picture in drawn if picture.size == 9}
    assert (drawn[-1] == answers[15].numpy()).all()


def test_score_bars_mark_those_that_would_go(model):
    scores = lab.filter_scores(model)
    for axes, values in zip(lab.score_bars(scores, 0.25).axes, scores.values(), strict=True):
        heights = [bar.get_height() for bar in axes.patches]
        assert heights == pytest.approx(sorted(values.tolist(), reverse=True))
        hatched = [bar for bar in axes.patches if bar.get_hatch()]
        assert len(hatched) == len(values) // 4
        assert max(bar.get_height() for bar in hatched) == pytest.approx(
            heights[len(heights) - len(hatched)]
        )


def test_accuracy_against_rings_the_means_nothing_beats():
    rows = [
        ("unpruned", 0.0, 0, 0.99, 100),
        ("a", 0.5, 0, 0.98, 50),
        ("a", 0.9, 0, 0.50, 10),
        ("b", 0.5, 0, 0.40, 60),
    ]
    table = pd.DataFrame(rows, columns=["method", "amount", "seed", "accuracy", "kB"])
    costs = dict.fromkeys(["kB", "accuracy", "seed"], "cost")
    figure = lab.accuracy_against(table, costs, pareto=True)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    ringed = zip(*lines["nothing beats it"].get_data(), strict=True)
    assert set(ringed) == {(100, 0.99), (50, 0.98), (10, 0.50)}
    assert set(lines["unpruned"].get_ydata()) == {0.99}  # taken from the table
    assert "a" in lines
    assert lines["b"].get_marker() != lines["a"].get_marker()
    assert len(figure.axes) == 4  # a grid of two by two, the last one empty
    assert not figure.axes[3].axison
