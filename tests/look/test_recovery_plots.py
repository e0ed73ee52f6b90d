import pandas as pd
import pytest

import labutils as lab


def test_step_curves_have_a_panel_for_each_figure():
    runs = {
        "at once": pd.DataFrame({"step": [0, 10], "sparsity": [0.9, 0.9], "accuracy": [0.5, 0.9]}),
        "later": pd.DataFrame({"step": [0, 20], "sparsity": [0.0, 0.9], "accuracy": [0.9, 0.8]}),
    }
    panels = {"sparsity": "zeros", "accuracy": "accuracy"}
    figure = lab.step_curves(runs, panels, dense=0.99)
    top, bottom = figure.axes
    assert [line.get_label() for line in top.lines] == ["at once", "later"]
    assert [list(line.get_ydata()) for line in bottom.lines[:2]] == [[0.5, 0.9], [0.9, 0.8]]
    assert list(bottom.lines[2].get_ydata()) == [0.99, 0.99]
    assert [line.get_linestyle() for line in bottom.lines[:2]] == ["-", "--"]
    assert bottom.get_xlabel() == "steps"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["at once", "later", "unpruned"]


def test_seed_dots_show_every_network_and_the_means():
    table = pd.DataFrame(
        [
            (method, amount, seed, 0.9 + 0.01 * seed)
            for method in ("one", "two")
            for amount in (0.5, 0.98)
            for seed in range(3)
        ],
        columns=["method", "amount", "seed", "accuracy"],
    )
    (axes,) = lab.seed_dots(table, dense=0.99).axes
    dots = [line for line in axes.lines if line.get_marker() not in ("None", None)]
    bars = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert len(dots) == len(bars) == 4
    assert all(list(line.get_ydata()) == pytest.approx([0.9, 0.91, 0.92]) for line in dots)
    assert all(list(line.get_ydata()) == pytest.approx([0.91, 0.91]) for line in bars)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50%", "98%"]
    assert len({line.get_xdata()[0] for line in dots}) == 4
