import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import labutils as lab
from labutils.look import panels
from labutils.look.views import (
    BINS,
    CURVE,
    EXAMPLES,
    TIMED,
    FilterViews,
    Setting,
    Views,
    label_bytes,
)


@pytest.fixture(scope="module")
def study(digits):
    return Views(lab.load_pretrained(0), digits.validation)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(),
        Setting(0.9),
        Setting(0.5, "layer"),
        Setting(0.7, "global", "random"),
        Setting(0.0, "own", "magnitude", (("fc1", 0.9), ("conv1", 0.25))),
    ],
)
def test_view_is_what_the_functions_give(study, setting):
    view = study.look(setting)
    pruned = study.prune(setting)
    assert view.removed == lab.sparsity(pruned)
    assert view.nonzero == sum(int(p.count_nonzero()) for p in pruned.parameters())
    assert view.parameters == 105_866
    assert view.bytes_dense == 105_866 * 4
    assert view.bytes_pruned == lab.sparse_bytes(pruned)
    assert view.layers == {
        name: 1 - int(layer.weight.count_nonzero()) / layer.weight.numel()
        for name, layer in lab.prunable_layers(pruned).items()
    }
    assert list(view.answers) == lab.predict(pruned, study.examples).argmax(1).tolist()
    histogram = view.detail
    assert len(histogram.kept) == len(histogram.removed) == BINS
    assert histogram.kept.sum() + histogram.removed.sum() == 105_744
    assert histogram.removed.sum() == round(view.removed * 105_744)
    assert min(histogram.kept.min(), histogram.removed.min()) >= 0
    if setting == Setting(0.9):
        weights = torch.cat([w.weight.flatten() for w in lab.prunable_layers(pruned).values()])
        assert histogram.cut == weights[weights != 0].abs().min()


def test_curve_is_the_rules_own(study):
    settings = study.curve_settings(Setting(0.3, "layer"))
    assert [(s.amount, s.scope) for s in settings] == [(amount, "layer") for amount in CURVE]
    own = Setting(0, "own", "random", (("fc1", 0.9),))
    assert {(s.scope, s.method) for s in study.curve_settings(own)} == {("global", "random")}


def test_examples_are_read_correctly_from_shaky_to_sure(study):
    logits = lab.predict(study.model, study.examples)
    assert len(study.examples) == EXAMPLES
    assert torch.equal(logits.argmax(1), study.examples.labels)
    best = logits.topk(2, dim=1).values
    margins = best[:, 0] - best[:, 1]
    assert (margins.diff() >= 0).all()


def test_page_states_the_figures_and_describes_its_pictures(study):
    view = study.look(Setting(0.95))
    page = panels.page(view, study.examples)
    assert f'data-figure="accuracy">{view.evaluation.accuracy:.2%}<' in page
    assert f'data-figure="nonzero">{view.nonzero:,}<' in page
    assert f'data-figure="sparsity">{view.removed:.1%}<' in page
    assert page.count('role="img" aria-label="') == 3
    flipped = sum(a != int(b) for a, b in zip(view.answers, study.examples.labels, strict=True))
    assert flipped > 0
    assert page.count('data-flipped="1"') == flipped
    assert page.count("→") == flipped  # marked by more than the frame's colour
    still = panels.snapshot(view, study.examples)
    assert "<svg" not in still
    assert still.count('<img alt="') == 3 + len(study.examples)


@given(st.floats(1, 1e9))
def test_bytes_are_written_in_powers_of_a_thousand(count):
    number, unit = label_bytes(count).split()
    scale = {"B": 1, "kB": 1e3, "MB": 1e6}[unit]
    assert float(number.replace(",", "")) * scale == pytest.approx(count, rel=0.06, abs=0.5)


@pytest.fixture(scope="module")
def filters(digits):
    return FilterViews(lab.load_pretrained(0), digits.validation, digits.train[:200])


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        (Setting(0.5, "layer", "l1"), {"amount": 0.5}),
        (Setting(0.6, "global", "l2"), {"amount": 0.6, "criterion": "l2", "scope": "global"}),
        (Setting(0.3, "layer", "random"), {"amount": 0.3, "criterion": "random"}),
        (Setting(0.7, "layer", "activation"), {"amount": 0.7, "criterion": "activation"}),
        (
            Setting(0.0, "own", "l1", (("conv1", 0.25), ("fc1", 0.9))),
            {"amount": {"conv1": 0.25, "fc1": 0.9}},
        ),
    ],
)
def test_view_of_filters_is_what_the_functions_give(filters, setting, options):
    view = filters.look(setting)
    slim = lab.prune_filters(filters.model, calibration=filters.calibration, **options)
    full = filters.model.widths
    assert [left for left, _ in view.detail.widths.values()] == list(slim.widths)
    assert [whole for _, whole in view.detail.widths.values()] == list(full)
    assert view.removed == pytest.approx(1 - sum(slim.widths) / sum(full))
    assert list(view.layers) == ["conv1", "conv2", "fc1"]
    assert view.nonzero == sum(p.numel() for p in slim.parameters())
    assert view.bytes_pruned == 4 * view.nonzero
    assert view.bytes_dense == 4 * view.parameters == 4 * 105_866
    assert view.detail.macs == lab.count_macs(slim)
    assert view.detail.macs_dense == lab.count_macs(filters.model)
    assert view.detail.sides == {"conv1": 28, "conv2": 14, "fc1": 0}
    assert list(view.answers) == lab.predict(slim, filters.examples).argmax(1).tolist()
    if not view.exact:
        assert view.evaluation == lab.evaluate(slim, filters.sample)


def test_times_are_taken_once_and_shown_with_the_rest(filters):
    setting = Setting(0.5, "layer", "l1")
    first = filters.look(setting).detail.times
    assert list(first) == [1]
    filters.measure(setting)
    view = filters.look(setting)
    times = view.detail.times
    assert list(times) == list(TIMED)
    assert times[1] == first[1]
    assert all(now > 0 and before > 0 for now, before in times.values())
    page = panels.page(view, filters.examples)
    assert 'data-figure="widths">8, 16, 32<' in page
    assert f'data-figure="macs">{view.detail.macs:,}<' in page
    assert 'data-figure="time64"' in page
    assert 'aria-label="Filters left: conv1 8 of 16, conv2 16 of 32, fc1 32 of 64."' in page
    assert page.count("<svg") == 3
    assert "Accuracy (layer, l1)" in page


def test_small_splits_hopeless_networks_and_those_without_pictures(digits):
    hopeless = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.constant_(hopeless[1].weight, 0.0)
    nn.init.constant_(hopeless[1].bias, -1.0)
    study = Views(hopeless, digits.test[1:6])
    view = study.look(Setting(0.5))
    assert view.removed == 1
    assert panels.page(view, study.examples).count("<svg") == 3
    study = FilterViews(lab.LeNet300(), digits.test[:20], digits.train[:10])
    view = study.look(Setting(1.0, "layer", "l1"))
    assert [left for left, _ in view.detail.widths.values()] == [1, 1]
    assert panels.page(view, study.examples).count("<svg") == 3
