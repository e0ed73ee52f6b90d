"""The explorer as Python sees it; tests/browser drives it in JupyterLab."""

import html
import json
import re

import pytest
import torch
import traitlets
from torch import nn

import labutils as lab
from labutils.page import page


@pytest.fixture
def few(digits):
    return lab.Digits(digits.train[:100], digits.validation[:300], digits.test[:300])


@pytest.fixture
def explorer(model, few):
    return lab.pruning_explorer(model, few)


def same(network, other):
    return all(map(torch.equal, network.state_dict().values(), other.state_dict().values()))


def test_the_network_is_pruned_as_the_controls_say(explorer, model):
    explorer.amount.value = 90
    assert same(explorer.network, lab.prune_magnitude(model, 0.9))
    explorer.scope.value = "layer"
    assert same(explorer.network, lab.prune_magnitude(model, 0.9, "layer"))
    explorer.method.value = "random"
    assert same(explorer.network, lab.prune_random(model, 0.9, "layer"))
    explorer.scope.value = "own"
    explorer.layer_amounts["fc1"].value = 40
    assert same(explorer.network, lab.prune_random(model, {"fc1": 0.4}))
    assert explorer.state == {
        "remove": "weights",
        "method": "random",
        "scope": "own",
        "amount": 90,
        "shares": [0, 0, 40, 0],
        "off": [],
    }


@pytest.mark.parametrize("method", ["l1", "l2", "activation", "taylor", "random"])
def test_the_same_with_filters(model, few, method):
    explorer = lab.pruning_explorer(model, few, "validation", "filters")
    explorer.method.value = method
    explorer.amount.value = 40
    expected = lab.prune_filters(model, 0.4, method, scope="layer", calibration=few.train)
    assert same(explorer.network, expected)
    assert list(explorer.layer_amounts) == ["conv1", "conv2", "fc1"]  # the last keeps its ten
    view = explorer.view
    assert view.removed == pytest.approx(1 - sum(expected.widths) / sum(model.widths))
    assert (
        view.bytes_pruned == 4 * view.nonzero == 4 * sum(p.numel() for p in expected.parameters())
    )
    assert view.evaluation == lab.evaluate(expected, few.validation)


def test_what_the_page_says_moves_the_controls(explorer, model):
    heard = []
    explorer.amount.observe(lambda change: heard.append(change["new"]), "value")
    explorer.state = explorer.state | {"amount": 70, "scope": "layer", "off": ["conv1:3", "fc1:9"]}
    assert (explorer.amount.value, explorer.scope.value, heard) == (70, "layer", [70])
    silenced = lab.prune_magnitude(model, 0.7, "layer")
    for layer, number in ((silenced.conv1, 3), (silenced.fc1, 9)):
        layer.weight.data[number], layer.bias.data[number] = 0, 0
    assert same(explorer.network, silenced)
    assert explorer.view.removed == lab.sparsity(silenced)
    explorer.amount.value = 80  # what was silenced stays so
    assert explorer.state["off"] == ["conv1:3", "fc1:9"]


@pytest.mark.parametrize(
    ("control", "value"), [("amount", 101), ("amount", "much"), ("scope", "each"), ("method", "l1")]
)
def test_controls_refuse_what_is_not_on_them(explorer, control, value):
    with pytest.raises(traitlets.TraitError):
        getattr(explorer, control).value = value
    assert explorer.state["amount"] == 0


def test_a_forgotten_value_is_no_new_control(explorer):
    with pytest.raises(AttributeError, match=r"explorer.amount.value = 30 sets it"):
        explorer.amount = 30
    explorer.amount.value = 30
    assert explorer.state["amount"] == 30


def test_goal(model, few):
    for remove, goal, rival in (
        ("weights", 0.9, lab.prune_magnitude(model, 0.9)),
        ("filters", 400_000, lab.prune_filters(model, budget={"macs": 400_000})),
    ):
        said = lab.pruning_explorer(model, few, remove=remove, goal=goal).options["goal"]
        assert f"just so: {lab.evaluate(rival, few.test).accuracy:.2%}" in said["rival"]
        assert goal in (said.get("least"), said.get("most"))


def test_picture_for_print_and_what_brings_it_to_life(few, digits):
    explorer = lab.pruning_explorer(
        lab.load_pretrained(3), few, "validation", beside={"tuned": {0.9: 1, 0.5: 0.99}}
    )
    explorer.amount.value = 80
    bundle = explorer._repr_mimebundle_()[0]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    still = bundle["text/html"]
    assert f"<b>{explorer.view.evaluation}</b>" in still
    assert "tuned: 99.0% with 50% removed, 100.0% with 90% removed." in still
    (mark,) = re.findall(page.MARK, still)
    assert json.loads(html.unescape(mark))["state"]["amount"] == 80
    living = page.alive(f"<body>{still}</body>")
    assert living.index('"steps"') < living.index("</body>")
    untold = still.replace("&quot;network&quot;: &quot;", "&quot;network&quot;: &quot;other")
    assert '"steps"' not in page.alive(f"<body>{untold}</body>")
    assert page.alive("<body></body>") == "<body></body>"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part": "train"}, "part"),
        ({"remove": "layers"}, "remove"),
        ({"goal": 1.5}, "goal"),
        ({"goal": 0.5, "remove": "filters"}, "goal"),
        ({"beside": {"repaired": {0.9: 99}}}, "beside"),
        ({"beside": [0.9]}, "beside"),
    ],
)
def test_bad_options(model, few, options, said):
    with pytest.raises((TypeError, ValueError), match=said):
        lab.pruning_explorer(model, few, **options)


def test_nothing_to_look_at(model, few):
    with pytest.raises(TypeError, match=r"digits.test is None: give images"):
        lab.pruning_explorer(model, lab.Digits(few.train, few.validation, None))
    with pytest.raises(ValueError, match="nothing to prune"):
        lab.pruning_explorer(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784)), few)
