"""Filters are removed from branches too, and what is left answers what it should."""

import copy

import pytest
import torch
import torch_pruning
from branches import NETWORKS, make, permute, silenced
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import labutils as lab
from labutils.base.layers import SAME_FOR_EVERY_CHANNEL
from labutils.device.runtime import export_onnx
from labutils.prune.dependencies import read_dependencies, remove_units

# Torch-Pruning warns of bare parameters, counts on one filter a channel behind pixel_shuffle, and
# takes numbers beside flattened pictures for pixels: none of these networks then runs.
NOT_THEIRS = {"Shuffled", "Bare", "Padded", "Shared", "Hourglass", "Flat"}


def close(one, other):
    scale = float(other.detach().abs().max())
    return torch.allclose(one, other, atol=1e-9 * scale, rtol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_slim_network_is_the_whole_one_with_those_channels_silenced(name, data):
    model, images = make(name)
    found = read_dependencies(model, images.shape[1:])
    gone = []
    for group in found.groups.values():
        kept = {next(u for u in units.tolist() if u) for units in group.filters.values()}
        free = sorted({*group.units} - kept)
        gone += data.draw(st.lists(st.sampled_from(free), unique=True)) if free else []
    slim = remove_units(model, found, gone)
    assert close(slim(images), silenced(model, found, gone)(images))
    lost = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in slim.parameters())
    assert (lost > 0) == bool(gone)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "Padded"])
def test_shuffling_the_channels_of_a_group_changes_nothing(name):
    model, images = make(name)
    found, expected = read_dependencies(model, images.shape[1:]), model(images)
    for group in found.groups.values():
        permute(model, found, dict(zip(group.units, group.units[::-1], strict=True)))
    assert close(model(images), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_slim_networks_are_saved_and_loaded(name, tmp_path):
    model, images = make(name)
    slim = lab.prune_filters(model.float(), 0.5, image_shape=images.shape[1:])
    lab.save_model(slim, tmp_path / "slim.pth")
    loaded = lab.load_model(tmp_path / "slim.pth", into=make(name)[0].float())
    assert torch.equal(loaded(images.float()), slim(images.float()))
    assert str(loaded) == str(slim)


GROUPS = {
    "Residual": ["stem", "a", "b shortcut"],
    "Padded": ["stem b", "a"],
    "Dense": ["stem", "a", "b"],
    "Inverted": ["stem down", "up excite", "squeeze"],
    "Shuffled": ["stem b", "a", "c"],
    "Grouped": ["stem c", "a", "b"],
    "Normed": ["stem c", "a"],
    "Hourglass": ["stem", "down", "up", "last", "wide"],
    "Shared": ["stem b", "a"],
    "Bare": ["stem", "weights.0", "weights.1"],
    "Attention": ["up"],
    "Encoder": ["layer.linear1"],
    "Flat": ["stem", "a", "small", "last"],
    "signal": ["0", "4"],
    "volume": ["0", "4"],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_those_that_a_reader_would_find(name):
    model, images = make(name)
    found = read_dependencies(model, images.shape[1:])
    assert [" ".join(group.filters) for group in found.groups.values()] == GROUPS[name]


@pytest.mark.parametrize("name", sorted({*NETWORKS} - NOT_THEIRS))
def test_as_many_parameters_are_left_as_with_torch_pruning(name):
    model, images = make(name)
    found = read_dependencies(model, images.shape[1:])
    for group in found.groups.values():
        layer, units = next(iter(group.filters.items()))
        if len(group.units) == 1:
            continue
        gone = [group.units[1]]
        ours, theirs = remove_units(model, found, gone), copy.deepcopy(model)
        graph = torch_pruning.DependencyGraph().build_dependency(theirs, images[:1])
        module = theirs.get_submodule(layer)
        kind = "linear" if isinstance(module, nn.Linear) else "conv"
        prune = getattr(torch_pruning, f"prune_{kind}_out_channels")
        filters = (units == gone[0]).nonzero().flatten().tolist()
        graph.get_pruning_group(module, prune, idxs=filters).prune()
        counts = [sum(p.numel() for p in net.parameters()) for net in (ours, theirs)]
        assert counts[0] == counts[1], layer


def test_table_says_what_one_filter_saves_and_is_right():
    torch.manual_seed(0)
    for model, shape in ((lab.ResidualCNN(), (1, 28, 28)), (lab.SeparableCNN(), (1, 20, 24))):
        table = lab.channel_groups(model, shape)
        for row in table.itertuples():
            slim = lab.prune_filters(model, {row.group: 1 / row.filters}, image_shape=shape)
            counts = [sum(p.numel() for p in net.parameters()) for net in (model, slim)]
            assert counts[0] - counts[1] == row.parameters
            macs = [lab.count_macs(net, shape) for net in (model, slim)]
            assert macs[0] - macs[1] == row.macs
    assert table["layers"][0] == ("conv", "depthwise1")
    attention, images = make("Encoder")
    assert lab.channel_groups(attention.float(), images.shape[1:])["filters"].tolist() == [20]


def test_picture_shows_groups_by_colour_and_letter():
    axes = lab.groups_diagram(lab.ResidualCNN()).axes[0]
    assert [text.get_text() for text in axes.texts] == list("AABCDD")
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] == colours[2] != colours[1]
    assert len(axes.lines) == 2  # arcs
    assert [bar.get_height() for bar in axes.patches] == [16, 16, 16, 32, 32, 32, 10]


@pytest.mark.parametrize("network", [lab.ResidualCNN, lab.SeparableCNN])
def test_a_slim_branched_network_is_an_ordinary_one(network, few_digits, tmp_path):
    torch.manual_seed(0)
    model = network()
    lab.train(model, few_digits, epochs=1, progress=False)
    half = lab.prune_filters(model, budget={"macs": lab.count_macs(model) / 2})
    assert lab.count_macs(half) <= lab.count_macs(model) / 2
    repaired = lab.repair(half, model, few_digits.train[:200])
    lab.save_model(repaired, tmp_path / "slim.pth")
    loaded, images = lab.load_model(tmp_path / "slim.pth"), few_digits.test.images[:50]
    assert isinstance(loaded, network)
    assert loaded.widths == half.widths
    assert torch.equal(loaded(images), repaired.eval()(images))
    export_onnx(loaded, tmp_path / "slim.onnx")  # which compares the logits
    for criterion in ("activation", "taylor", "obs"):
        scores = lab.filter_scores(model, criterion, calibration=few_digits.train[:100])
        assert [*scores] == [*lab.channel_groups(model)["group"]]
        assert all(score.isfinite().all() for score in scores.values())
    shapes = {
        name: p.shape
        for name, p in lab.prune_filters(
            model, 0.5, "obs", calibration=few_digits.train[:100]
        ).named_parameters()
    }
    assert shapes == {name: p.shape for name, p in lab.prune_filters(model, 0.5).named_parameters()}


def test_scores_of_a_group_add_up_and_what_is_read_is_what_reaches_the_readers(few_digits):
    torch.manual_seed(0)
    model = lab.ResidualCNN().eval()
    block, calibration = model.block1, few_digits.train[:60]
    expected = sum(w.abs().sum((1, 2, 3)) for w in (model.conv.weight, block.conv2.weight))
    assert torch.allclose(lab.filter_scores(model)["conv"], expected)
    with torch.no_grad():
        start = torch.relu(model.norm(model.conv(calibration.images)))
        after = block(start)
        # block1.conv1 reads the first, block2.conv1 and its shortcut the second.
        expected = start.mean((0, 2, 3)) + 2 * after.mean((0, 2, 3))
    found = lab.filter_scores(model, "activation", calibration=calibration)["conv"]
    assert torch.allclose(found, expected, rtol=1e-4)


def test_filters_to_keep_of_layers_that_go_together():
    model = lab.ResidualCNN()
    slim = lab.keep_filters(model, {"conv": range(12), "block1.conv2": range(2, 16)})
    assert slim.widths == (10, 16, 32, 32)
    assert torch.equal(slim.conv.weight, model.conv.weight[2:12])
    with pytest.raises(ValueError, match=r"of conv, which goes with them, nothing is left"):
        lab.keep_filters(model, {"conv": [0, 1], "block1.conv2": [2, 3]})


def test_a_rule_of_ones_own_sees_layers_or_bare_parameters():
    model, images = make("Bare")
    seen = {}

    def rule(name, layer):
        seen[name] = layer
        return torch.arange(float(len(getattr(layer, "weight", layer))))

    slim = lab.prune_filters(model, 0.5, rule, image_shape=images.shape[1:])
    assert [*seen] == ["stem", "weights.0", "weights.1"]
    assert torch.equal(slim.stem.weight, model.stem.weight[4:])


def test_no_layer_of_a_group_ends_up_empty():
    model, images = make("Padded")  # where some filters of b are added to those of the stem
    for criterion in ("l1", "l2"):
        slim = lab.prune_filters(model, 1.0, criterion, image_shape=images.shape[1:])
        assert min(len(p) for p in slim.parameters()) >= 1
        assert slim(images).shape == (4, 5)


OPTIONS = {
    nn.Threshold: (0.1, 0.0), nn.LPPool2d: (2, 2), nn.AdaptiveMaxPool2d: (3,), nn.MaxPool2d: (2,),
    nn.AvgPool2d: (2,), nn.AdaptiveAvgPool2d: (3,), nn.Upsample: (None, 2),
    nn.ConstantPad2d: (1, 3.0), nn.ZeroPad2d: (1,), nn.ReflectionPad2d: (1,),
    nn.ReplicationPad2d: (1,),
}  # fmt: skip
COPIED = {nn.CircularPad2d}  # into a tensor made anew: the channels that reach it stay


@pytest.mark.parametrize("kind", sorted({*SAME_FOR_EVERY_CHANNEL} - COPIED, key=str))
def test_layers_that_treat_each_channel_by_itself_let_channels_go(kind):
    layer = kind(*OPTIONS.get(kind, ()))
    model = nn.Sequential(nn.Conv2d(1, 8, 3), layer, nn.AdaptiveAvgPool2d(2), nn.Flatten())
    model.append(nn.Linear(32, 3))
    assert len(lab.prune_filters(model, 0.5)[0].weight) == 4


class Tokens(nn.Module):
    """Reads whole numbers, and answers with a dictionary."""

    def __init__(self):
        super().__init__()
        self.words, self.inner, self.last = nn.Embedding(10, 8), nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, tokens):
        values = self.inner(self.words(tokens.long()).mean(1)).relu()
        return {"logits": self.last(values), "more": [None, 3, torch.zeros_like(tokens)]}


def test_whatever_the_network_reads_and_answers():
    slim = lab.prune_filters(Tokens(), 0.5, image_shape=(5,))
    assert (slim.inner.out_features, slim.last.in_features) == (6, 6)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3))
    assert lab.prune_filters(model, 0.5)[1].num_features == 4  # or PyTorch would warn
