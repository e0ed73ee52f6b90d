import inspect

import pytest
import torch
from chains import chains
from hypothesis import given, settings
from torch import nn

import labutils as lab
from labutils.base.structure import LAYERS, SOMEWHERE, build, describe


@settings(deadline=None, max_examples=20)
@given(chains())
def test_any_chain_comes_back_from_a_file(tmp_path_factory, chain):
    path = tmp_path_factory.mktemp("chain") / "network.pth"
    loaded = lab.load_model(lab.save_model(chain.model, path))
    assert str(loaded) == str(chain.model)
    assert torch.equal(loaded(chain.images()), chain.model(chain.images()))
    assert not loaded.training


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("relu1", nn.LeakyReLU(0.3)),
        ("pool1", nn.AvgPool2d(2)),
        ("fc1", nn.Sequential(nn.Linear(5 * 49, 7), nn.Linear(7, 6))),
        ("fc2", lab.LeNet300((1, 1))[1:0]),
    ],
    ids=["activation", "pooling", "two for one", "nothing"],
)
def test_exchanged_layers_come_back_from_a_file(tmp_path, name, layer):
    network = lab.SimpleCNN((4, 5, 6))
    setattr(network, name, layer)
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for whole in (network, nn.Sequential(network, nn.Softmax(1))):
        loaded = lab.load_model(lab.save_model(whole, tmp_path / "exchanged.pth"))
        assert torch.equal(loaded(images), whole(images))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, (3, 5), stride=2, padding="valid", dilation=2, groups=2, bias=False),
        nn.Conv2d(4, 6, 3, padding="same", padding_mode="circular"),
        nn.MaxPool2d(3, stride=1, padding=1, dilation=2, ceil_mode=True),
        nn.BatchNorm2d(3, eps=1e-3, momentum=None, affine=False, track_running_stats=False),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.GELU("tanh"),
        nn.PReLU(5),
        nn.ConstantPad2d((1, 2, 3, 4), 0.5),
        nn.AdaptiveAvgPool2d((2, None)),
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.Sequential(), nn.LogSoftmax(1)),
    ],
    ids=str,
)
def test_options_other_than_the_usual_ones_come_back(layer):
    again = build(describe(nn.Sequential(layer)))[0]
    assert str(again) == str(layer)
    public = {k: v for k, v in vars(layer).items() if not k.startswith("_") and k != "training"}
    assert {k: vars(again)[k] for k in public} == public


@pytest.mark.parametrize("kind", LAYERS.values(), ids=LAYERS)
def test_each_kind_of_layer_can_be_described(kind):
    wanted = inspect.signature(kind.__init__).parameters.values()
    plain = [p for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    needed = {p.name: 2 for p in plain if p.default is p.empty}
    structure = describe(nn.Sequential(kind(**needed)))
    assert type(build(structure)[0]) is kind
    assert not set(structure["layers"][0][2]) & SOMEWHERE


@pytest.mark.parametrize(
    "layers",
    [
        [["0", "Module", {}]],
        [["0", "Linear", {"in_features": -2, "out_features": 2}]],
        [["0", "Linear", {"in_features": 2, "out_features": 2, "device": "cpu"}]],
        [["a.b", "ReLU", {}]],
        [["0"]],
        7,
    ],
)
def test_layers_that_cannot_be_are_refused(tmp_path, layers):
    content = {"format": "eai-pruning-lab network", "version": 1, "architecture": "Sequential"}
    torch.save({**content, "layers": layers, "state": {}, "history": None}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"odd\.pth contradicts itself"):
        lab.load_model(tmp_path / "odd.pth")
