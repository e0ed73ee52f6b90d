import asyncio

import pytest
from torch import nn

import labutils as lab
from labutils.look import views, widgets
from labutils.look.views import CURVE, Setting


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    """An estimate from fewer images than there are, from few enough to be quick."""
    monkeypatch.setattr(views, "SAMPLE", 200)
    monkeypatch.setattr(views, "PART", 200)


@pytest.fixture
def few(digits):
    return lab.Digits(digits.train[:10], digits.validation[:800], digits.test[:800])


@pytest.fixture
def explorer(model, few):
    return lab.pruning_explorer(model, few)


def test_moving_the_slider_shows_the_new_figures(explorer, model):
    for percent in (30, 90, 99):
        explorer.amount.value = percent
        pruned = lab.prune_magnitude(model, percent / 100)
        assert explorer.view.removed == lab.sparsity(pruned)
        expected = lab.evaluate(pruned, explorer.views.sample)
        assert explorer.view.evaluation == expected
        assert f">{expected.accuracy:.2%}<" in explorer.page.value


def test_exact_figure_and_curve_follow(explorer, model, few):
    explorer.amount.value = 90
    assert not explorer.view.exact
    explorer.finish()
    assert explorer.view.exact
    expected = lab.evaluate(lab.prune_magnitude(model, 0.9), few.test)
    assert explorer.view.evaluation.correct == expected.correct
    assert f"all {len(few.test):,} images" in explorer.page.value
    study = explorer.views
    settings = study.curve_settings(explorer.setting)
    assert [s.amount for s in settings] == list(CURVE)
    assert explorer.view.curve == tuple((s.amount, study.known[s].accuracy) for s in settings)


def test_curve_is_estimated_from_the_beginning(explorer, model):
    assert [amount for amount, _ in explorer.view.curve] == list(CURVE)
    estimate = lab.evaluate(lab.prune_magnitude(model, 0.9), explorer.views.sample)
    assert dict(explorer.view.curve)[0.9] == estimate.accuracy
    explorer.method.value = "random"  # another rule: its points follow in the background
    assert explorer.view.curve == ()


def test_scope_and_method(explorer, model):
    explorer.amount.value = 70
    explorer.scope.value = "layer"
    assert explorer.view.layers["conv1"] == pytest.approx(0.7, abs=0.01)
    explorer.method.value = "random"
    assert explorer.view.setting == Setting(0.7, "layer", "random")
    assert explorer.view.removed == lab.sparsity(lab.prune_random(model, 0.7, "layer"))


def test_own_share_for_each_layer_starts_from_the_rule_before(explorer, model):
    explorer.amount.value = 90
    before = explorer.view.layers
    assert explorer.layer_box.layout.display == "none"
    explorer.scope.value = "own"
    assert explorer.layer_box.layout.display == ""
    assert explorer.amount.disabled
    assert explorer.view.layers == pytest.approx(before, abs=0.01)
    explorer.layer_amounts["fc1"].value = 20
    assert explorer.view.layers["fc1"] == pytest.approx(0.2, abs=1e-4)


def test_reset(explorer):
    explorer.amount.value = 90
    explorer.method.value = "random"
    explorer.scope.value = "own"
    explorer.reset.click()
    assert explorer.setting == Setting()
    assert explorer.view.removed == 0
    assert not explorer.amount.disabled
    assert explorer.layer_box.layout.display == "none"


def test_dragging_never_queues_and_the_last_position_wins(explorer, monkeypatch):
    """As in the kernel: moves arrive while the exact figure is being worked out."""
    started = []
    exact = explorer.views.exact

    def noted(setting):
        started.append(setting.amount)
        return exact(setting)

    monkeypatch.setattr(explorer.views, "exact", noted)

    async def drag():
        for percent in range(1, 100, 7):
            explorer.amount.value = percent
            await asyncio.sleep(0)  # the slider moves on before any part is done
        last = explorer.amount.value / 100
        while not explorer.view.exact:
            await asyncio.sleep(0.01)
        assert explorer.view.setting.amount == last
        # No abandoned position went on: each began at most its first part.
        others = [amount for amount in explorer.views.known if amount.amount not in (0, last)]
        assert others == []
        await explorer.task
        assert all(s in explorer.views.known for s in explorer.views.curve_settings(Setting()))
        assert explorer.view.setting.amount == last

    asyncio.run(drag())
    assert started[-1] != 1


def test_error_shows_in_the_widget_and_is_raised(explorer, monkeypatch):
    def fail(setting):
        raise RuntimeError("the disk is <full>")

    monkeypatch.setattr(explorer.views, "look", fail)
    with pytest.raises(RuntimeError, match="the disk"):
        explorer.amount.value = 50
    assert explorer.page.value == widgets.problem(RuntimeError("the disk is <full>"))


def test_error_in_the_background_shows_in_the_widget(explorer, monkeypatch):
    def fail(setting):
        raise RuntimeError("too late to raise")
        yield

    monkeypatch.setattr(explorer.views, "exact", fail)

    async def move():
        explorer.amount.value = 50
        await explorer.task

    asyncio.run(move())
    assert "too late to raise" in explorer.page.value


def test_picture_for_print(explorer):
    explorer.amount.value = 90
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert f"{explorer.view.evaluation.accuracy:.2%}" in bundle["text/html"]
    assert "Run this cell" in bundle["text/html"]


def test_bad_input(model, few):
    nothing = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784))
    for arguments, said in (
        ((model, few, "train"), "part='train': choose 'validation', 'test'"),
        ((model, few, "test", "layers"), "remove='layers': choose 'weights', 'filters'"),
        ((nothing, few), "nothing to prune"),
        ((None, few), "model is None: give a network"),
        ((model, few.test), "digits is a Split: give what load_mnist"),
        ((model, lab.Digits(few.train, few.validation, None)), "digits.test is None: give images"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            lab.pruning_explorer(*arguments)


def test_explorer_of_filters(model, few):
    explorer = lab.pruning_explorer(model, few, part="validation", remove="filters")
    assert explorer.setting == Setting(0.0, "layer", "l1")
    explorer.amount.value = 50
    assert explorer.view.detail.widths == {"conv1": (8, 16), "conv2": (16, 32), "fc1": (32, 64)}
    explorer.method.value = "taylor"
    explorer.scope.value = "own"
    assert list(explorer.layer_amounts) == ["conv1", "conv2", "fc1"]
    assert explorer.layer_amounts["conv2"].value == 50
    explorer.layer_amounts["conv1"].value = 0
    assert explorer.view.detail.widths["conv1"] == (16, 16)
    explorer.reset.click()
    assert explorer.setting == Setting(0.0, "layer", "l1")
    explorer.amount.value = 70
    assert list(explorer.view.detail.times) == [1]
    explorer.finish()
    assert explorer.view.exact
    assert list(explorer.view.detail.times) == [1, 64]
    slim = lab.prune_filters(model, 0.7)
    assert explorer.view.evaluation.correct == lab.evaluate(slim, few.validation).correct
