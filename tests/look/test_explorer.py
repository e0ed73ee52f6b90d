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


def test_moving_the_slider_shows_an_estimate_then_the_exact_figures(explorer, model, few):
    study = explorer.views
    for percent in (30, 99, 90):
        explorer.amount.value = percent
        pruned = lab.prune_magnitude(model, percent / 100)
        assert explorer.view.removed == lab.sparsity(pruned)
        estimate = lab.evaluate(pruned, study.sample)
        assert explorer.view.evaluation == estimate
        assert f">{estimate.accuracy:.2%}<" in explorer.page.value
    assert [amount for amount, _ in explorer.view.curve] == list(CURVE)  # from the beginning
    assert dict(explorer.view.curve)[0.9] == estimate.accuracy
    assert not explorer.view.exact
    assert explorer.view.dense == lab.evaluate(model, study.sample)  # of the same images
    explorer.finish()
    assert explorer.view.dense == lab.evaluate(model, few.test)
    assert explorer.view.exact
    found, expected = explorer.view.evaluation, lab.evaluate(pruned, few.test)
    assert (found.correct, found.interval) == (expected.correct, expected.interval)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert list(study.exact(explorer.setting)) == []  # known by now
    assert f"all {len(few.test):,} images" in explorer.page.value
    settings = study.curve_settings(explorer.setting)
    assert explorer.view.curve == tuple((s.amount, study.known[s].accuracy) for s in settings)
    bundle = explorer._repr_mimebundle_()  # for print
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert f"{explorer.view.evaluation.accuracy:.2%}" in bundle["text/html"]
    assert "Run this cell" in bundle["text/html"]


def test_scope_and_method_and_reset(explorer, model):
    explorer.amount.value = 70
    explorer.scope.value = "layer"
    assert explorer.view.layers["conv1"] == pytest.approx(0.7, abs=0.01)
    explorer.method.value = "random"
    assert explorer.view.setting == Setting(0.7, "layer", "random")
    assert explorer.view.removed == lab.sparsity(lab.prune_random(model, 0.7, "layer"))
    assert explorer.view.curve == ()  # another rule: its points follow in the background
    before = explorer.view.layers
    assert explorer.layer_box.layout.display == "none"
    explorer.scope.value = "own"  # starts from the rule before
    assert explorer.layer_box.layout.display == ""
    assert explorer.amount.layout.display == "none"
    assert explorer.view.layers == pytest.approx(before, abs=0.01)
    explorer.layer_amounts["fc1"].value = 20
    assert explorer.view.layers["fc1"] == pytest.approx(0.2, abs=1e-4)
    explorer.reset.click()
    assert explorer.setting == Setting()
    assert explorer.view.removed == 0
    assert explorer.amount.layout.display == ""
    assert explorer.layer_box.layout.display == "none"


@pytest.mark.slow
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


def test_errors_show_in_the_widget(explorer, monkeypatch):
    def fail(setting):
        raise RuntimeError("the disk is <full>")

    async def move():
        explorer.amount.value = 60
        await explorer.task

    said = widgets.problem(RuntimeError("the disk is <full>"))
    assert 'role="alert"' in said
    assert "&lt;full&gt;" in said
    with monkeypatch.context() as patch:
        patch.setattr(explorer.views, "exact", fail)
        asyncio.run(move())  # in the background, where nobody could catch it
        assert explorer.page.value == said
    monkeypatch.setattr(explorer.views, "look", fail)
    with pytest.raises(RuntimeError, match="the disk"):
        explorer.amount.value = 50
    assert explorer.page.value == said


def test_nothing_to_prune_or_to_look_at(model, few):
    nothing = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784))
    with pytest.raises(ValueError, match="nothing to prune"):
        lab.pruning_explorer(nothing, few)
    with pytest.raises(TypeError, match=r"digits.test is None: give images"):
        lab.pruning_explorer(model, lab.Digits(few.train, few.validation, None))


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


def test_picture_for_print_has_the_exact_figure(explorer):
    explorer.amount.value = 80
    assert not explorer.view.exact
    assert f"all {len(explorer.views.split):,} images" in explorer.still()
    assert explorer.view.exact


def test_what_takes_too_long_for_a_slider_is_drawn_beside_its_curve(model, few):
    curves = {"repaired": {0.99: 0.5, 0.9: 0.975}, "tuned": {0.9: 1}}
    explorer = lab.pruning_explorer(model, few, "validation", beside=curves)
    for page in (explorer.page.value, explorer.still()):
        assert "repaired: 97.5% at 90%, 50.0% at 99%. tuned: 100.0% at 90%." in page
    assert explorer.page.value.count("<polyline") == 3
    assert ">dashed: repaired, tuned<" in explorer.page.value


@pytest.mark.parametrize(
    ("remove", "goal", "rule", "met", "missed"),
    [
        ("weights", 0.9, lambda m: lab.prune_magnitude(m, 0.9), {"fc1": 95}, {"fc1": 40}),
        (
            "filters",
            400_000,
            lambda m: lab.prune_filters(m, budget={"macs": 400_000}),
            {"conv1": 40, "conv2": 60},
            {"conv1": 0, "conv2": 0},
        ),
    ],
)
def test_goal_and_the_best_so_far(model, few, remove, goal, rule, met, missed):
    explorer = lab.pruning_explorer(model, few, "validation", remove, goal)
    assert ": not met; " in explorer.view.goal
    explorer.scope.value = "own"
    for name, percent in met.items():
        explorer.layer_amounts[name].value = percent
    assert "your best: none yet" in explorer.view.goal  # an estimate is no result
    explorer.finish()
    best = explorer.view.evaluation.accuracy
    rival = lab.evaluate(rule(model), few.validation).accuracy
    for said in (": met; ", f"just so: {rival:.2%}; ", f"your best: {best:.2%} (", *met):
        assert said in explorer.view.goal
    shares = explorer.view.goal.partition("your best")[2]
    assert f'data-figure="goal">{explorer.view.goal}' in explorer.page.value
    for name, percent in missed.items():
        explorer.layer_amounts[name].value = percent
    explorer.finish()
    assert explorer.view.evaluation.accuracy > best
    assert ": not met; " in explorer.view.goal
    assert explorer.view.goal.endswith(shares)  # they are kept, whatever came after
    explorer.reset.click()
    assert explorer.view.goal.endswith(shares)


def test_half_of_the_filters_is_what_prune_filters_leaves(model, few):
    explorer = lab.pruning_explorer(model, few, part="validation", remove="filters")
    explorer.amount.value = 50
    explorer.finish()
    assert explorer.view.exact
    assert explorer.view.evaluation == lab.evaluate(lab.prune_filters(model, 0.5), few.validation)
