import copy
import functools

import pytest
import torch
import torch.export
import torch_pruning
from branches import permute
from chains import chains
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from other_device import PretendedGPU, moved, same_tensors
from torch import nn

import labutils as lab
from labutils.prune.dependencies import read_dependencies

AMOUNTS = st.one_of(st.sampled_from([0, 1, 0.0, 0.5, 1.0]), st.floats(0, 1))
NETWORKS = [lab.SimpleCNN, lab.LeNet300, lab.LeNet5]


def draw_kept(data, chain):
    """Some filters to keep of each layer; of grouped convolutions the same of each block."""
    kept = {}
    for name, (_, _, blocks) in chain.ends.items():
        count = len(chain.model.get_submodule(name).weight)
        size = count // blocks
        slots = data.draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True))
        kept[name] = [block * size + slot for block in range(blocks) for slot in slots]
    return kept


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(chains(), st.data())
def test_slim_network_is_the_network_with_those_outputs_masked(chain, data):
    assume(chain.ends)
    kept = draw_kept(data, chain)
    slim = lab.keep_filters(chain.model, kept)
    expected = chain.masked(kept)(chain.images())
    assert torch.allclose(slim(chain.images()), expected, atol=1e-5, rtol=1e-5)
    for name, indices in kept.items():
        before, after = (m.get_submodule(name) for m in (chain.model, slim))
        assert len(after.weight) == len(indices)
        if before.weight.shape[1] == after.weight.shape[1]:
            assert torch.equal(after.weight, before.weight[sorted(indices)])  # in their order


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(chains(), st.data())
def test_permuting_filters_changes_no_output(chain, data):
    assume(chain.ends)
    permuted = copy.deepcopy(chain.model)
    found = read_dependencies(permuted)
    for group in found.groups.values():
        order = data.draw(st.permutations(group.units))
        permute(permuted, found, dict(zip(group.units, order, strict=True)))
    expected = chain.model(chain.images())
    assert torch.allclose(permuted(chain.images()), expected, atol=1e-5, rtol=1e-5)
    # And the same filters go, wherever they stand.
    slim, again = (lab.prune_filters(network, 0.5, "l2") for network in (chain.model, permuted))
    assert torch.allclose(again(chain.images()), slim(chain.images()), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=40)
@given(chains(plain=True), st.data())
def test_same_surgery_as_torch_pruning(chain, data):
    """And the same answers as with zeros: with ReLU alone, zero weights and bias are a mask."""
    assume(chain.ends)
    kept = draw_kept(data, chain)
    theirs, zeroed = copy.deepcopy(chain.model), copy.deepcopy(chain.model)
    for name, indices in kept.items():
        layer = theirs.get_submodule(name)
        gone = sorted(set(range(len(layer.weight))) - set(indices))
        if not gone:
            continue
        for parameter in zeroed.get_submodule(name).parameters():
            parameter.data[gone] = 0
        graph = torch_pruning.DependencyGraph().build_dependency(theirs, chain.images(1))
        function = (
            torch_pruning.prune_linear_out_channels
            if isinstance(layer, nn.Linear)
            else torch_pruning.prune_conv_out_channels
        )
        graph.get_pruning_group(layer, function, idxs=gone).prune()
    ours = lab.keep_filters(chain.model, kept)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert same_tensors(ours, theirs)
    assert torch.equal(ours(chain.images()), theirs(chain.images()))
    assert torch.allclose(ours(chain.images()), zeroed(chain.images()), atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("amount", [0.25, 0.5, 0.9])
def test_same_filters_stay_as_with_torch_pruning(network, norm, amount):
    torch.manual_seed(0)
    model = network()
    ours = lab.prune_filters(model, amount, f"l{norm}")
    theirs = copy.deepcopy(model)
    *layers, output = lab.prunable_layers(theirs).values()
    widths = [len(layer.weight) for layer in layers]
    # Torch-Pruning keeps int(width * (1 - ratio)): ask for what rounds to our number.
    ratios = [(round(amount * width) - 0.5) / width for width in widths]
    torch_pruning.pruner.MagnitudePruner(
        theirs,
        torch.zeros(1, 1, 28, 28),
        importance=torch_pruning.importance.MagnitudeImportance(
            p=norm, group_reduction="first", normalizer=None
        ),
        pruning_ratio_dict=dict(zip(layers, ratios, strict=True)),
        ignored_layers=[output],
    ).step()
    assert same_tensors(ours, theirs)


@pytest.mark.parametrize("network", NETWORKS)
@given(amount=AMOUNTS)
@settings(deadline=None, max_examples=10)
def test_layer_scope_removes_exactly_so_many_of_each_layer(network, amount):
    torch.manual_seed(0)
    model = network()
    before, full = copy.deepcopy(model), network().widths
    slim = lab.prune_filters(model, amount)
    assert slim.widths == tuple(max(1, width - round(amount * width)) for width in full)
    assert type(slim) is network
    assert slim(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    # The definition, spelled out for the first layer: largest sum of magnitudes stays.
    name = model.counted[0]
    weight = model.get_submodule(name).weight
    order = sorted(range(full[0]), key=lambda i: -weight[i].abs().sum().item())
    kept = sorted(order[: slim.widths[0]])
    assert torch.equal(slim.get_submodule(name).weight, weight[kept])
    assert same_tensors(model, before)
    if slim.widths == full:
        images = torch.randn(5, 1, 28, 28)
        assert torch.equal(slim(images), model(images))
        assert slim is not model


def naive_global(model, amount, scores):
    """Remove the filter with the lowest score over its layer's mean, one after the other."""
    left = {name: list(range(len(values))) for name, values in scores.items()}
    relative = {name: (values / values.mean()).tolist() for name, values in scores.items()}
    for _ in range(round(amount * sum(map(len, left.values())))):
        several = [(name, i) for name, stay in left.items() for i in stay if len(stay) > 1]
        if several:
            name, i = min(several, key=lambda one: relative[one[0]][one[1]])
            left[name].remove(i)
    return left


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("amount", [0, 0.01, 0.62, 1])
def test_global_scope_ranks_all_layers_together(network, amount):
    torch.manual_seed(1)
    model = network(tuple(max(3, width // 5) for width in network().widths))
    model.get_submodule(model.counted[0]).weight.data[:2] *= 0.01  # two that must go first
    expected = naive_global(model, amount, lab.filter_scores(model))
    slim = lab.prune_filters(model, amount, scope="global")
    assert slim.widths == tuple(len(stay) for stay in expected.values())
    assert same_tensors(slim, lab.keep_filters(model, expected))


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(chains(), AMOUNTS, st.sampled_from(["layer", "global"]))
def test_random_chains_keep_their_answers_and_never_lose_a_layer(chain, amount, scope):
    assume(chain.ends)
    images = chain.images()
    before = chain.model(images)
    slim = lab.prune_filters(chain.model, amount, "random", scope)
    assert slim(images).shape == before.shape
    assert torch.equal(chain.model(images), before)
    for name, (_, _, blocks) in chain.ends.items():
        size = len(chain.model.get_submodule(name).weight) // blocks
        left = len(slim.get_submodule(name).weight)
        assert left >= blocks
        if scope == "layer":
            assert left == blocks * max(1, size - round(amount * size))
    if amount == 0:
        assert torch.equal(slim(images), before)
    # Prune again, train on, load: it is an ordinary network.
    again = lab.prune_filters(slim, 0.5, "l2").train()
    again(images).square().sum().backward()
    torch.optim.SGD(again.parameters(), 0.1).step()
    fresh = copy.deepcopy(again.eval())
    fresh.load_state_dict(again.state_dict())
    assert torch.equal(fresh(images), again(images))


@pytest.mark.slow
def test_result_is_an_ordinary_network(model, few_digits, tmp_path):
    model.conv1.weight.requires_grad_(False)
    slim = lab.prune_filters(model.train(), {"conv2": 0.5, "fc1": 0.25})
    assert slim.widths == (16, 16, 48)
    assert slim.training
    assert [p.requires_grad for p in (slim.conv1.weight, slim.conv2.weight)] == [False, True]
    lab.save_model(slim.eval(), tmp_path / "slim.pth")
    loaded = lab.load_model(tmp_path / "slim.pth")
    images = few_digits.test.images[:20]
    assert torch.equal(loaded(images), slim(images))
    assert isinstance(loaded, lab.SimpleCNN)
    again = lab.prune_filters(loaded, 0.5)
    assert again.widths == (8, 8, 24)
    before = lab.evaluate(again, few_digits.validation).accuracy
    lab.train(again, few_digits, epochs=2, progress=False)
    assert lab.evaluate(again, few_digits.validation).accuracy > before
    exported = torch.export.export(again, (images,)).module()
    assert torch.allclose(exported(images), again(images), atol=1e-5)
    zeroed = lab.prune_magnitude(again, 0.5)
    assert lab.count_macs(zeroed) == lab.count_macs(again)
    assert lab.count_macs(zeroed, nonzero=True) < lab.count_macs(again)


@functools.cache
def every_width(scope):
    """All widths that a rule leaves of the pretrained network, from the widest."""
    model = lab.load_pretrained(0)
    found = {lab.prune_filters(model, a / 500, scope=scope).widths for a in range(501)}
    return sorted(found, reverse=True)


def costs(network):
    tensors = network.state_dict().values()
    return {"macs": lab.count_macs(network), "bytes": sum(t.nbytes for t in tensors)}


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("cost", ["macs", "bytes"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
def test_budget_is_met_with_as_few_filters_gone_as_that_takes(model, scope, cost, share):
    limit = share * costs(model)[cost]
    slim = lab.prune_filters(model, budget={cost: limit}, scope=scope)
    assert costs(slim)[cost] <= limit
    # The next larger network of the same rule costs more.
    widths = every_width(scope)
    if scope == "layer":
        larger = [widths[widths.index(slim.widths) - 1]]
    else:
        larger = [w for w in widths if sum(w) == sum(slim.widths) + 1]
    assert all(costs(lab.SimpleCNN(w))[cost] > limit for w in larger)


def test_budget_for_both_generous_and_impossible(model):
    slim = lab.prune_filters(model, budget={"macs": 500_000, "bytes": 60_000})
    assert costs(slim)["macs"] <= 500_000
    assert costs(slim)["bytes"] <= 60_000
    assert lab.prune_filters(model, budget={"macs": 10**9}).widths == model.widths
    smallest = lab.prune_filters(model, 1.0)
    assert smallest.widths == (1, 1, 1)
    least = f"{lab.count_macs(smallest):,} macs"
    with pytest.raises(ValueError, match=rf"budget of 100 macs cannot be met.*{least}"):
        lab.prune_filters(model, budget={"macs": 100})
    with pytest.raises(ValueError, match="either an amount or a budget"):
        lab.prune_filters(model, 0.5, budget={"macs": 100})


def test_activation_criterion_is_the_mean_of_what_the_next_layer_gets(model, digits):
    calibration = digits.train[:250]
    scores = lab.filter_scores(model, "activation", calibration=calibration)
    with torch.inference_mode():
        first = model[:3](calibration.images)
        assert torch.allclose(scores["conv1"], first.abs().mean((0, 2, 3)), rtol=1e-4)
        third = model[:9](calibration.images)
        assert torch.allclose(scores["fc1"], third.abs().mean(0), rtol=1e-4)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_taylor_criterion_by_hand(model, digits):
    calibration = digits.train[:120]
    scores = lab.filter_scores(model, "taylor", calibration=calibration)
    expected = torch.zeros(32)
    for image, label in zip(calibration.images, calibration.labels, strict=True):
        output = model[:6](image[None]).detach().requires_grad_()
        nn.functional.cross_entropy(model[6:](output), label[None]).backward()
        expected += (output * output.grad).mean((0, 2, 3)).abs().detach() / len(calibration)
    assert torch.allclose(scores["conv2"], expected, rtol=1e-3, atol=1e-7)
    assert all(parameter.grad is None for parameter in model[:6].parameters())
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # frozen networks have a gradient at their outputs too
    frozen = lab.filter_scores(model, "taylor", calibration=calibration)
    assert torch.allclose(frozen["fc1"], scores["fc1"])


def test_random_and_own_criteria_and_ties(model):
    one, same, other = (lab.prune_filters(model, 0.5, "random", seed=seed) for seed in (1, 1, 2))
    assert same_tensors(one, same)
    assert not same_tensors(one, other)
    slim = lab.prune_filters(model, 0.5, lambda name, layer: torch.arange(len(layer.weight)))
    assert torch.equal(slim.conv1.weight, model.conv1.weight[8:])
    slim = lab.prune_filters(model, 0.5, lambda _, layer: torch.ones(len(layer.weight)), "global")
    assert slim.widths == (16, 32, 8)  # of equals the later ones go first
    for wrong in ([1.0], None, torch.ones(3), torch.full((16,), float("nan"))):
        with pytest.raises(ValueError, match=r"scores for conv1 are .* 16 finite numbers"):
            lab.prune_filters(model, 0.5, lambda name, layer, wrong=wrong: wrong)


def chain(*layers):
    return nn.Sequential(nn.Conv2d(1, 4, 3), *layers)


class Asks(nn.Module):
    """Behind a convolution with 8 filters: a forward pass that counts on them in some way."""

    def __init__(self, between):
        super().__init__()
        self.conv, self.last, self.between = nn.Conv2d(1, 8, 3), nn.Linear(8, 3), between

    def forward(self, images):
        return self.last(self.between(self.conv(images)).mean((2, 3)))


def no_number(values):
    raise KeyError("nothing")


NUMBER = r"hold a number of channels or features\? Let it ask, as with flatten\(1\)"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (chain(nn.Flatten(), nn.LazyLinear(3)), "2 has no weights yet: show the network an image"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), r"no filter to remove: .*the network's"),
        (Asks(lambda v: v.softmax(1)), r"no filter .* \(softmax, the network's answer\)"),
        (
            Asks(lambda v: v.reshape(-1, 8, 26, 26)),
            rf"fails in line \d+, .*8, 26.*: shape.*{NUMBER}",
        ),
        (Asks(lambda v: v / v.shape[1]), rf"answers something else than it should.*{NUMBER}"),
        (Asks(no_number), r"\(1, 28, 28\) does not fit this Asks: it fails in line \d+, \"raise"),
        (
            nn.Sequential(nn.Linear(28, 6), nn.Flatten(), nn.Linear(167, 5)),
            r"image_shape=\(1, 28, 28\) does not fit this Sequential: it fails: .*167",
        ),
    ],
)
def test_what_cannot_follow_is_named_and_refused(network, message):
    with pytest.raises(ValueError, match=message):
        lab.prune_filters(network, 0.5)


def test_anything_may_stand_before_the_first_and_behind_the_last_layer():
    model = nn.Sequential(nn.GroupNorm(1, 1), chain(nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10)))
    model.append(nn.LogSoftmax(1)).append(nn.Unflatten(1, (2, 5)))
    slim = lab.prune_filters(model, 0.5)
    assert slim(torch.zeros(1, 1, 28, 28)).shape == (1, 2, 5)


def test_what_cannot_be_said_of_any_argument_alone(model, digits):
    few = digits.train[:3]
    with pytest.raises(ValueError, match="'fc2'; choose from conv1, conv2, fc1"):
        lab.prune_filters(model, {"fc2": 0.5})
    with pytest.raises(TypeError, match=r"'activation' looks at images.*not None"):
        lab.prune_filters(model, 0.5, "activation")
    for images, labels, message in (
        (few.images[:0], few.labels[:0], "calibration is empty: give it some hundreds"),
        (few.images * float("nan"), few.labels, "calibration.images holds NaN"),
        (few.images[..., 1:], few.labels, "calibration does not fit the network"),
        (few.images, few.labels + 10, "calibration does not fit the network"),
    ):
        with pytest.raises(ValueError, match=message):
            lab.filter_scores(model, "taylor", calibration=lab.Split(images, labels))
    with pytest.raises(ValueError, match=r"image_shape=\(3, 28, 28\) does not fit this SimpleCNN"):
        lab.prune_filters(model, budget={"macs": 10}, image_shape=(3, 28, 28))
    model.conv2.weight.data[3, 2, 1] = float("inf")
    with pytest.raises(ValueError, match=r"conv2\.weight holds 3 values that are NaN or infinite"):
        lab.prune_filters(model, 0.5)


@pytest.mark.parametrize("criterion", ["l1", "l2", "activation", "taylor", "random"])
def test_other_precisions_and_devices(model, digits, criterion):
    options = {"criterion": criterion, "calibration": digits.train[:50]}
    model = model.half().float()  # what half precision knows
    expected = lab.prune_filters(model, 0.5, **options)
    for dtype in (torch.float16, torch.float64):
        slim = lab.prune_filters(copy.deepcopy(model).to(dtype), 0.5, **options)
        assert {tensor.dtype for tensor in slim.state_dict().values()} == {dtype}
        assert same_tensors(slim.float(), expected)
    with PretendedGPU():
        there = lab.prune_filters(moved(model), 0.5, **options)
        ranked = lab.prune_filters(moved(model), 0.5, scope="global", **options)
    assert same_tensors(there, expected)
    assert same_tensors(ranked, lab.prune_filters(model, 0.5, scope="global", **options))
    within = lab.prune_filters(model.half(), budget={"macs": 500_000, "bytes": 10**6})
    assert lab.count_macs(within) <= 500_000


def test_filters_to_keep(model):
    assert lab.keep_filters(model, {"conv1": torch.tensor([2, 0])}).widths == (2, 32, 64)
    for kept in ([], [0, 0]):
        with pytest.raises(ValueError, match=r"kept\['conv1'\]=.*: keep at least one .*each once"):
            lab.keep_filters(model, {"conv1": kept})
    grouped = chain(nn.Conv2d(4, 4, 3, groups=2))
    assert lab.keep_filters(grouped, {"0": [3, 1]})[1].in_channels == 2
    together = r"kept\['0'\]=\[0, 1\].*with those that go together.*: \[0, 1, 2, 3\]"
    with pytest.raises(ValueError, match=together):
        lab.keep_filters(grouped, {"0": [0, 1]})
