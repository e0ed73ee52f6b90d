import copy
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from other_device import PretendedGPU, moved, same_tensors
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm

import labutils as lab
from labutils.prune.weights import _lamp_scores

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


def shares(model):
    return {name: 1 - mask.float().mean().item() for name, mask in masks(model).items()}


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


def test_mask_keeps_the_shape():
    for shape in ((0,), (1,), (3, 0, 2), (2, 3, 4, 5)):
        assert lab.magnitude_mask(torch.randn(shape), 0.3).shape == torch.Size(shape)


@pytest.mark.parametrize("scope", ["global", "layer"])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), amount=AMOUNTS)
def test_masks_are_those_of_torch(scope, seed, amount):
    model = small_network(seed)
    theirs = copy.deepcopy(model)
    ours = masks(lab.prune_magnitude(model, amount, scope))
    layers = lab.prunable_layers(theirs)
    weights = [layer.weight for layer in layers.values()]
    if scope == "global":
        assume(has_defined_answer(weights, amount))
        parameters = [(layer, "weight") for layer in layers.values()]
        prune.global_unstructured(parameters, prune.L1Unstructured, amount=float(amount))
    else:
        assume(all(has_defined_answer([weight], amount) for weight in weights))
        for layer in layers.values():
            prune.l1_unstructured(layer, "weight", round(amount * layer.weight.numel()))
    for name, layer in layers.items():
        assert torch.equal(ours[name], layer.weight != 0), name  # a fresh weight may be 0, too


@pytest.mark.parametrize("network", [lab.SimpleCNN, lab.LeNet300, small_network])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("function", [lab.prune_magnitude, lab.prune_random])
def test_only_weights_go_and_the_input_stays(network, scope, function):
    torch.manual_seed(0)
    model = network()
    before = copy.deepcopy(model.state_dict())
    sizes = {name: layer.weight.numel() for name, layer in lab.prunable_layers(model).items()}
    for amount in (0, 0.1, 0.99, 1):
        pruned = function(model, amount, scope)
        assert type(pruned) is type(model)
        assert pruned.state_dict().keys() == before.keys()
        gone = {name: int((~mask).sum()) for name, mask in masks(pruned).items()}
        if scope == "global":
            assert sum(gone.values()) == round(amount * sum(sizes.values()))
        else:
            assert gone == {name: round(amount * size) for name, size in sizes.items()}
        assert lab.sparsity(pruned) == pytest.approx(sum(gone.values()) / sum(sizes.values()))
        for name, weight in pruned.state_dict().items():
            kept = weight != 0 if name.removesuffix(".weight") in sizes else ...
            assert torch.equal(weight[kept], before[name][kept]), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_result_is_an_ordinary_network(model, tmp_path):
    pruned = copy.deepcopy(lab.prune_magnitude(model, 0.9))
    lab.save_model(pruned, tmp_path / "pruned.pth")
    assert lab.sparsity(lab.load_model(tmp_path / "pruned.pth")) == pytest.approx(0.9, abs=1e-5)
    assert all(parameter.requires_grad for parameter in pruned.parameters())
    again = lab.prune_magnitude(pruned, 0.5)  # what is gone counts as smallest
    assert torch.equal(again.fc1.weight, pruned.fc1.weight)


def test_amounts_layer_by_layer(model):
    pruned = lab.prune_magnitude(model, {"fc1": 0.9, "conv2": 0.25})
    expected = {"conv1": 0, "conv2": 0.25, "fc1": 0.9, "fc2": 0}
    assert shares(pruned) == pytest.approx(expected, abs=1e-4)
    assert same_tensors(pruned, lab.prune_magnitude(model, scope={"fc1": 0.9, "conv2": 0.25}))
    spared = lab.prune_magnitude(model, 0.5, scope={"conv1": 0})
    assert shares(spared) == pytest.approx(dict.fromkeys(expected, 0.5) | {"conv1": 0}, abs=1e-4)
    for arguments in (({"fc9": 0.5},), (0, {"fc9": 0.5})):
        with pytest.raises(ValueError, match="'fc9'; choose from conv1, conv2, fc1, fc2"):
            lab.prune_magnitude(model, *arguments)
    with pytest.raises(ValueError, match=r"amount=30: .*for 30% write 0\.3"):
        lab.prune_magnitude(model, 30)


@pytest.mark.parametrize("scope", ["global", "layer", "lamp"])
def test_output_layer_can_be_protected(model, scope):
    pruned = lab.prune_magnitude(model, 1, scope, protect_output=True)
    assert torch.equal(pruned.fc2.weight, model.fc2.weight)
    assert not pruned.fc1.weight.any()
    assert not lab.prune_magnitude(model, 1, scope).fc2.weight.any()
    alone = lab.prune_magnitude(nn.Linear(3, 2), 1, scope, protect_output=True)
    assert alone.weight.all()


def test_random_is_decided_by_its_seed(model):
    state = torch.get_rng_state()
    first, same, other = (lab.prune_random(model, 0.5, seed=seed) for seed in (1, 1, 2))
    assert same_tensors(first, same)
    assert not same_tensors(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="scope='lamp': choose 'global', 'layer'"):
        lab.prune_random(model, 0.5, "lamp")


def test_shared_weight_counts_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    pruned = lab.prune_magnitude(model, 0.5)
    assert pruned[0].weight is pruned[2].weight
    assert lab.sparsity(pruned) == 0.5


@pytest.mark.parametrize("scope", ["global", "layer", "lamp"])
def test_weights_that_have_no_rank(model, scope):
    for value in (math.nan, math.inf):
        model.conv2.weight.data[1, 2, 0, 0] = value
        before = model.conv2.weight.detach().clone()
        with pytest.raises(ValueError, match=r"conv2\.weight holds 1 values that are NaN"):
            lab.prune_magnitude(model, 0.5, scope)
        assert torch.equal(model.conv2.weight.nan_to_num(7), before.nan_to_num(7))
    model.conv2.weight.data[1, 2] = torch.finfo(torch.float32).max  # whose sum is infinite
    assert lab.prune_magnitude(model, 0.5, scope).conv2.weight[1, 2].any()
    with pytest.raises(ValueError, match="BatchNorm1d has no convolution and no linear layer"):
        lab.prune_magnitude(nn.BatchNorm1d(3), 0.5, scope)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "hold",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
        lambda layer: prune.random_unstructured(layer, "bias", amount=1),
        nn.utils.weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
        parametrizations.orthogonal,
    ],
)
def test_computed_weights_are_refused_with_advice_that_works(hold):
    model = nn.Sequential(
        nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2)
    )
    hold(model[1][0])
    before = model(torch.eye(4))
    for refuses in (lab.prune_magnitude, lab.prune_filters):
        with pytest.raises(ValueError, match=r"^1\.0\.(weight|bias) is computed from") as caught:
            refuses(model, 0.5)
    exec(str(caught.value).split("as with ")[1].rstrip("."), {"torch": torch, "model": model})
    assert torch.allclose(model(torch.eye(4)), before)
    assert lab.sparsity(lab.prune_magnitude(model, 1)) == 1
    assert lab.prune_filters(model, {"1.0": 0.5})[1][0].out_features == 1


@pytest.mark.parametrize("scope", ["global", "lamp"])
def test_other_precisions_and_devices(model, scope):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        pruned = lab.prune_magnitude(copy.deepcopy(model).to(dtype), 0.5, scope)
        assert pruned.fc1.weight.dtype == dtype
        assert lab.sparsity(pruned) == pytest.approx(0.5, abs=1e-5)
    with PretendedGPU():
        there = lab.prune_magnitude(moved(model), 0.5, scope)
        drawn = lab.prune_random(moved(model), 0.5)
    assert same_tensors(there, lab.prune_magnitude(model, 0.5, scope))
    assert same_tensors(drawn, lab.prune_random(model, 0.5))


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
    options = {"prune": lab.prune_filters, "layers": model.counted, "progress": False}
    table = lab.sensitivity(model, split, (0, 0.7), **options)
    assert list(table["layer"]) == ["conv1", "conv1", "conv2", "conv2", "fc1", "fc1"]
    slim = lab.prune_filters(model, {"conv2": 0.7})
    assert table["accuracy"][3] == lab.evaluate(slim, split).accuracy


@pytest.mark.slow
def test_published_behaviour_of_the_pretrained_network(model, digits):
    """The figures every lesson builds on: a plateau, then a cliff; per layer breaks first."""
    accuracy = {
        (scope, amount): lab.evaluate(lab.prune_magnitude(model, amount, scope), digits.test)
        for scope, amount in (("global", 0.5), ("global", 0.9), ("layer", 0.9))
    }
    assert accuracy["global", 0.5].accuracy > 0.985
    assert accuracy["global", 0.9].accuracy > accuracy["layer", 0.9].accuracy + 0.2


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30))
def test_lamp_scores_are_those_of_the_paper(values):
    """Lee et al. 2021, equation 4: the square, over the sum of squares that are no smaller."""
    weight = torch.tensor(values)
    squares = weight.double().square()
    order = sorted(range(len(values)), key=lambda i: -squares[i].item())  # stable, as sort is
    scores = _lamp_scores(weight)
    for place, i in enumerate(order):
        total = squares[order[: place + 1]].sum()
        expected = squares[i] / total if total > 1e-300 else 0.0
        assert scores[i].item() == pytest.approx(float(expected), rel=1e-9)


def test_lamp_leaves_every_layer_its_largest(model):
    with torch.no_grad():
        model.conv1.weight *= 1e-6  # a global ranking would empty this layer
    total = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    for amount in (0.5, 0.98, 0.9999):
        left = masks(lab.prune_magnitude(model, amount, "lamp"))
        assert sum(int((~mask).sum()) for mask in left.values()) == round(amount * total)
        for name, layer in lab.prunable_layers(model).items():
            size = layer.weight.abs()
            assert size[~left[name]].max() <= size[left[name]].min()
    assert not lab.prune_magnitude(model, 0.5).conv1.weight.any()
