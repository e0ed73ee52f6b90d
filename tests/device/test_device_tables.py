"""What networks cost on a device, in tables and pictures."""

import copy

import pandas as pd
import pytest
import torch

import labutils as lab
from labutils import device


@pytest.fixture(scope="module")
def variants(quantized, calibration):
    model = lab.load_pretrained()
    slim = device.quantize_int8(lab.prune_filters(model, 0.5), calibration)
    return {
        "float": device.Variant(model),
        "int8": device.Variant(quantized),
        "slim": device.Variant(slim, device.smallest_formats(slim)),
    }


@pytest.fixture(scope="module")
def costs(variants, digits):
    return device.firmware_table(variants, digits.test[:500])


@pytest.fixture(scope="module")
def formats(digits):
    model = lab.load_pretrained()
    return device.format_table(model, digits.train[:100], densities=(0.2, 0.6, 1), progress=False)


def test_a_row_for_each_variant(costs, variants, digits):
    assert list(costs["variant"]) == list(variants)
    for name, (network, _) in variants.items():
        row = costs.set_index("variant").loc[name]
        assert row["accuracy"] == lab.evaluate(network, digits.test[:500]).accuracy
        assert row["low"] < row["accuracy"] <= row["high"]
        layers = row[["conv1", "conv2", "fc1", "fc2"]].sum()
        assert layers == pytest.approx(row["instructions"], abs=50)
        assert row["ms"] == pytest.approx(row["instructions"] / 64e3)  # the micro:bit has 64 MHz
        assert row["fits"]
    assert costs["weights"].is_monotonic_decreasing
    assert costs["flash"].is_monotonic_decreasing


def test_half_and_double_networks(digits):
    """What runs is float32; the image may be of any kind."""
    model, test = lab.load_pretrained(), digits.test[:100]
    for dtype in (torch.float16, torch.float64):
        of_kind = copy.deepcopy(model).to(dtype)
        found = device.Firmware(of_kind).logits(test.images[:1])
        torch.testing.assert_close(found, lab.predict(model, test[:1]), atol=0.02, rtol=0.01)
        quantized = device.quantize_int8(of_kind, digits.train[:100])
        assert lab.evaluate(quantized, test).correct >= 98
        assert device.smallest_formats(of_kind)["fc1"] == "dense"


def test_formats_break_even_where_arithmetic_says(formats):
    """A weight takes 3 bytes as CSR, 2 with gaps; a bitmask an eighth of a byte a place."""
    assert len(formats) == 2 * 3 * 4
    limits = device.break_even(formats).set_index(["layer", "format"])
    assert limits.loc[("fc1", "csr"), "bytes"] == pytest.approx(1 / 3, abs=0.01)
    assert limits.loc[("fc1", "gaps"), "bytes"] == pytest.approx(1 / 2, abs=0.01)
    assert limits.loc[("fc1", "bitmask"), "bytes"] == pytest.approx(7 / 8, abs=0.01)
    # Two products an instruction are hard to beat one by one.
    assert ((limits["instructions"] > 0) & (limits["instructions"] < 0.6)).all()


def test_break_even_of_made_up_figures():
    rows = [
        {"layer": "fc1", "density": d, "format": f, "bytes": b, "instructions": i}
        for d, f, b, i in (
            (0.0, "dense", 100, 10), (1.0, "dense", 100, 10),
            (0.0, "csr", 0, 0), (1.0, "csr", 400, 9),
            (0.0, "gaps", 200, 20), (1.0, "gaps", 200, 20),
            (0.0, "bitmask", 50, 0), (1.0, "bitmask", 150, 20),
        )
    ]  # fmt: skip
    found = device.break_even(pd.DataFrame(rows)).set_index("format")
    assert found["bytes"].to_dict() == {"csr": 0.25, "gaps": 0.0, "bitmask": 0.5}
    assert found["instructions"].to_dict() == {"csr": 1.0, "gaps": 0.0, "bitmask": 0.5}


def test_pictures_show_what_the_table_says(costs, formats):
    figure = device.instruction_bars(costs)
    work, flash = figure.axes
    assert [label.get_text() for label in work.get_yticklabels()] == list(costs["variant"])
    reached = max(bar.get_x() + bar.get_width() for bar in work.patches)
    assert reached == pytest.approx(costs["instructions"].max() / 1e6, rel=0.01)
    assert flash.patches[0].get_width() == pytest.approx(costs["weights"].iloc[0] / 1e3)
    panels = device.break_even_curves(formats).axes
    assert [axes.get_title() for axes in panels] == [
        "conv2: flash", "conv2: time", "fc1: flash", "fc1: time"
    ]  # fmt: skip
    csr = next(line for line in panels[2].lines if line.get_label() == "csr")
    assert csr.get_ydata()[-1] == pytest.approx(3 * csr.get_xdata()[-1], abs=0.01)


def test_the_search_in_a_picture():
    """A point for each candidate, a bar where there are several seeds, a circle where chosen."""
    trials = pd.DataFrame(
        {
            "made": ["designed", "designed", "pruned"],
            **{"widths": ["a", "a", "b"], "kept": 0, "epochs": "1 1"},
            "bits": ["ternary 4", "ternary 4", "8"],
            **{"bytes": [2e3, 4e3, 2e3], "instructions": [1e6, 1e6, 5e6]},
            "validation": [0.99, 0.994, 0.98],
        }
    )
    flash, time = device.search_points(trials, {"best": device.choose(trials, 99.0)}).axes
    for axes, places in ((flash, (3, 2)), (time, (1, 5))):
        found = [bars.lines[0] for bars in axes.containers]
        assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in found] == [
            (places[0], pytest.approx(0.992)),
            (places[1], 0.98),
        ]
        assert [note.get_text() for note in axes.texts] == ["t", "8"]
        (circle,) = (line for line in axes.lines if line.get_markersize() == 14)
        assert circle.get_xdata()[0] == places[0]
