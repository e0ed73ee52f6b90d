import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import labutils as lab
from labutils.prune.weights import lamp_scores

AMOUNTS = st.one_of(st.sampled_from([0, 1, 0.0, 0.5, 1.0]), st.floats(0, 1))


def small_network(seed=0):
    """A student's own network: BatchNorm, groups, no bias, a layer in a layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(6, 4, 3, groups=2), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(4 * 24 * 24, 10),
    )


def has_defined_answer(weights, amount):
    """Whether the largest weight to go is really smaller than the smallest one to stay."""
    ranked = torch.cat([weight.detach().abs().flatten() for weight in weights]).sort().values
    removed = round(amount * len(ranked))
    return removed in (0, len(ranked)) or ranked[removed - 1] < ranked[removed]


def masks(model):
    return {name: layer.weight != 0 for name, layer in lab.prunable_layers(model).items()}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 1e-30, -3.0]), max_size=40),
    AMOUNTS,
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_mask_is_exact_and_breaks_ties_by_position(values, amount, dtype):
    weight = torch.tensor(values, dtype=dtype)
    mask = lab.magnitude_mask(weight, amount)
    assert mask.dtype == torch.bool
    assert (~mask).sum() == round(amount * len(values))
    # The definition, spelled out: sort by magnitude, largest first, then by position.
    order = sorted(range(len(values)), key=lambda i: (-weight[i].abs().item(), i))
    stay = order[: len(values) - round(amount * len(values))]
    assert sorted(mask.nonzero().flatten().tolist()) == sorted(stay)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0, 2), (5, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("amount", [0, 0.3, 0.5, 1])
def test_mask_keeps_the_shape(shape, amount):
    mask = lab.magnitude_mask(torch.randn(shape), amount)
    assert mask.shape == torch.Size(shape)
    assert (~mask).sum() == round(amount * mask.numel())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), AMOUNTS)
def test_layer_scope_is_torchs_l1_unstructured(seed, amount):
    model = small_network(seed)
    ours = masks(lab.prune_magnitude(model, amount, scope="layer"))
    for name, layer in lab.prunable_layers(model).items():
        assume(has_defined_answer([layer.weight], amount))
        theirs = prune.L1Unstructured(round(amount * layer.weight.numel()))
        expected = theirs.compute_mask(layer.weight, torch.ones_like(layer.weight)).bool()
        assert torch.equal(ours[name], expected), name


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), AMOUNTS)
def test_global_scope_is_torchs_global_unstructured(seed, amount):
    model = small_network(seed)
    theirs = copy.deepcopy(model)
    ours = masks(lab.prune_magnitude(model, amount))
    layers = lab.prunable_layers(theirs)
    assume(has_defined_answer([layer.weight for layer in layers.values()], amount))
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=float(amount)
    )
    for name, layer in layers.items():
        assert torch.equal(ours[name], layer.weight_mask.bool()), name


@pytest.mark.parametrize("network", [lab.SimpleCNN, lab.LeNet300, lab.LeNet5, small_network])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("function", [lab.prune_magnitude, lab.prune_random])
def test_only_weights_go_and_the_input_stays(network, scope, function):
    torch.manual_seed(0)
    model = network()
    before = copy.deepcopy(model.state_dict())
    total = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    for amount in (0, 0.1, 0.5, 0.99, 1):
        pruned = function(model, amount, scope)
        assert type(pruned) is type(model)
        assert pruned.state_dict().keys() == before.keys()
        gone = sum(int((~mask).sum()) for mask in masks(pruned).values())
        if scope == "global":
            assert gone == round(amount * total)
        else:
            assert [int((~mask).sum()) for mask in masks(pruned).values()] == [
                round(amount * mask.numel()) for mask in masks(pruned).values()
            ]
        assert lab.sparsity(pruned) == pytest.approx(gone / total)
        for name, weight in pruned.state_dict().items():
            kept = weight != 0 if name in {f"{n}.weight" for n in masks(pruned)} else ...
            assert torch.equal(weight[kept], before[name][kept]), name
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_result_is_an_ordinary_network(model, tmp_path):
    pruned = copy.deepcopy(lab.prune_magnitude(model, 0.9))
    lab.save_model(pruned, tmp_path / "pruned.pth")
    assert lab.sparsity(lab.load_model(tmp_path / "pruned.pth")) == pytest.approx(0.9, abs=1e-5)
    assert all(parameter.requires_grad for parameter in pruned.parameters())
    again = lab.prune_magnitude(pruned, 0.5)  # what is gone counts as smallest
    assert torch.equal(again.fc1.weight, pruned.fc1.weight)


def test_amounts_layer_by_layer(model):
    pruned = lab.prune_magnitude(model, {"fc1": 0.9, "conv2": 0.25})
    shares = {name: 1 - mask.float().mean().item() for name, mask in masks(pruned).items()}
    assert shares == pytest.approx({"conv1": 0, "conv2": 0.25, "fc1": 0.9, "fc2": 0}, abs=1e-4)
    pruned = lab.prune_magnitude(model, 0.5, scope={"conv1": 0})
    shares = {name: 1 - mask.float().mean().item() for name, mask in masks(pruned).items()}
    assert shares == pytest.approx({"conv1": 0, "conv2": 0.5, "fc1": 0.5, "fc2": 0.5}, abs=1e-4)
    same = lab.prune_magnitude(model, scope={"fc1": 0.9, "conv2": 0.25})
    assert torch.equal(same.fc1.weight, lab.prune_magnitude(model, {"fc1": 0.9}).fc1.weight)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_output_layer_can_be_protected(model, scope):
    pruned = lab.prune_magnitude(model, 1, scope, protect_output=True)
    assert torch.equal(pruned.fc2.weight, model.fc2.weight)
    assert not pruned.fc1.weight.any()
    assert not lab.prune_magnitude(model, 1, scope).fc2.weight.any()


def test_random_is_decided_by_its_seed(model):
    first, same, other = (lab.prune_random(model, 0.5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.fc1.weight, same.fc1.weight)
    assert not torch.equal(first.fc1.weight, other.fc1.weight)
    state = torch.get_rng_state()
    lab.prune_random(model, 0.5)
    assert torch.equal(torch.get_rng_state(), state)


def test_shared_weight_counts_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    pruned = lab.prune_magnitude(model, 0.5)
    assert pruned[0].weight is pruned[2].weight
    assert lab.sparsity(pruned) == 0.5


@pytest.mark.parametrize("amount", [-0.1, 1.1, 30, float("nan"), float("inf")])
def test_amount_outside(model, amount):
    for scope in ("global", "layer"):
        with pytest.raises(ValueError, match=r"amount=.*lies in \[0, 1\]"):
            lab.prune_magnitude(model, amount, scope)
    with pytest.raises(ValueError, match=r"amount for fc1=.*lies in \[0, 1\]"):
        lab.prune_magnitude(model, {"fc1": amount})


def test_percent_gets_a_hint(model):
    with pytest.raises(ValueError, match=r"for 30% write 0\.3"):
        lab.prune_magnitude(model, 30)


@pytest.mark.parametrize("amount", ["0.5", None, [0.5], True, torch.tensor([0.5])])
def test_amount_that_is_no_number(model, amount):
    with pytest.raises(TypeError, match=r"amount=.*number in \[0, 1\]"):
        lab.prune_magnitude(model, amount)


def test_unknown_scope_and_layer(model):
    with pytest.raises(ValueError, match=r"scope='all': choose \"global\", \"layer\""):
        lab.prune_magnitude(model, 0.5, "all")
    for call in ({"amount": {"fc9": 0.5}}, {"amount": 0, "scope": {"fc9": 0.5}}):
        with pytest.raises(ValueError, match=r"'fc9': choose from conv1, conv2, fc1, fc2"):
            lab.prune_magnitude(model, **call)


def test_nothing_to_prune():
    with pytest.raises(ValueError, match="Sequential has no convolution and no linear layer"):
        lab.prune_magnitude(nn.Sequential(nn.ReLU()), 0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_have_no_rank(model, value):
    model.conv2.weight.data[1, 2, 0, 0] = value
    before = model.conv2.weight.detach().clone()
    for scope in ("global", "layer"):
        with pytest.raises(ValueError, match=r"conv2\.weight holds 1 values that are NaN"):
            lab.prune_magnitude(model, 0.5, scope)
    assert torch.equal(model.conv2.weight.nan_to_num(7), before.nan_to_num(7))


def test_networks_held_by_torch_prune_are_refused(model):
    prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r'prune\.remove\(model\.fc1, "weight"\)'):
        lab.prune_magnitude(model, 0.5)
    prune.remove(model.fc1, "weight")
    assert lab.sparsity(lab.prune_magnitude(model, 0.5)) == pytest.approx(0.5, abs=1e-5)


def test_half_precision(model):
    pruned = lab.prune_magnitude(model.half(), 0.5)
    assert pruned.fc1.weight.dtype == torch.float16
    total = sum(mask.numel() for mask in masks(pruned).values())
    assert sum(int((~mask).sum()) for mask in masks(pruned).values()) == round(total / 2)


def test_sensitivity_prunes_one_layer_at_a_time(model, digits):
    split = digits.validation[:500]
    table = lab.sensitivity(model, split, amounts=(0, 0.9), progress=False)
    assert list(table.columns) == ["layer", "amount", "accuracy", "low", "high"]
    assert list(table["layer"]) == ["conv1", "conv1", "conv2", "conv2", "fc1", "fc1", "fc2", "fc2"]
    dense = lab.evaluate(model, split).accuracy
    assert (table[table["amount"] == 0]["accuracy"] == dense).all()
    row = table[(table["layer"] == "conv1") & (table["amount"] == 0.9)].iloc[0]
    pruned = copy.deepcopy(model)
    prune.l1_unstructured(pruned.conv1, "weight", amount=0.9)
    assert row["accuracy"] == lab.evaluate(pruned, split).accuracy
    assert row["low"] < row["accuracy"] < row["high"]
    with pytest.raises(ValueError, match="amounts is empty"):
        lab.sensitivity(model, split, amounts=())
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        lab.sensitivity(model, split, amounts=(0.5, 2))


def test_sensitivity_of_filters(model, digits):
    split = digits.validation[:300]
    table = lab.sensitivity(
        model, split, (0, 0.7), prune=lab.prune_filters, layers=model.counted, progress=False
    )
    assert list(table["layer"]) == ["conv1", "conv1", "conv2", "conv2", "fc1", "fc1"]
    slim = lab.prune_filters(model, {"conv2": 0.7})
    assert table["accuracy"][3] == lab.evaluate(slim, split).accuracy


def test_published_behaviour_of_the_pretrained_network(model, digits):
    """The figures every lesson builds on: a plateau, then a cliff; per layer breaks first."""
    accuracy = {
        (scope, amount): lab.evaluate(lab.prune_magnitude(model, amount, scope), digits.test)
        for scope in ("global", "layer")
        for amount in (0.5, 0.9)
    }
    assert accuracy["global", 0.5].accuracy > 0.985
    assert accuracy["global", 0.9].accuracy > accuracy["layer", 0.9].accuracy + 0.2


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30))
def test_lamp_scores_are_those_of_the_paper(values):
    """Lee et al. 2021, equation 4: the square, over the sum of squares that are no smaller."""
    weight = torch.tensor(values)
    squares = weight.double().square()
    order = sorted(range(len(values)), key=lambda i: -squares[i].item())  # stable, as sort is
    scores = lamp_scores(weight)
    for place, i in enumerate(order):
        total = squares[order[: place + 1]].sum()
        expected = squares[i] / total if total > 1e-300 else 0.0
        assert scores[i].item() == pytest.approx(float(expected), rel=1e-9)


def test_lamp_leaves_every_layer_something(model):
    with torch.no_grad():
        model.conv1.weight *= 1e-6  # a global ranking would empty this layer
    total = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    for amount in (0.5, 0.98, 0.9999):
        pruned = lab.prune_magnitude(model, amount, "lamp")
        layers = lab.prunable_layers(pruned).values()
        assert sum(int((layer.weight == 0).sum()) for layer in layers) == round(amount * total)
        assert all((layer.weight != 0).any() for layer in layers)
    assert not (lab.prune_magnitude(model, 0.5).conv1.weight != 0).any()


def test_lamp_keeps_the_largest_of_each_layer(model):
    pruned = lab.prune_magnitude(model, 0.9, scope="lamp")
    for name, layer in lab.prunable_layers(pruned).items():
        whole, gone = getattr(model, name).weight.abs(), layer.weight == 0
        assert whole[gone].max() <= whole[~gone].min()
