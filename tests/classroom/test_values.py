"""Values that leave a process that is not trusted, and come back as plain data."""

import base64
import contextlib
import json
import math
import re
import tracemalloc
import zlib

import pytest
import torch
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import labutils as lab
from classroom import values
from classroom.values import pack, unpack
from labutils.checks.plain import DEEPEST, DTYPES, Foreign, Misfit, plain

few_examples = settings(deadline=None, max_examples=50)


def sent(value):
    """What arrives at the other end of a line of JSON."""
    return unpack(json.loads(json.dumps(pack(value))))


def same(one, other):
    """Whether two values are equal bit for bit, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        bits = [tensor.contiguous().view(-1).view(torch.uint8) for tensor in (one, other)]
        return alike and torch.equal(*bits)
    if isinstance(one, nn.Module):
        return str(one) == str(other) and same(dict(one.state_dict()), dict(other.state_dict()))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


# ---------------------------------------------------------------- there and back

INTEGERS = st.integers(-(2**64) + 1, 2**64 - 1)
NESTED = st.recursive(
    st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(), st.text()),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.none(), st.text(), INTEGERS), parts, max_size=4),
    ),
    max_leaves=12,
)


def depth(value):
    if not isinstance(value, (list, tuple, dict)):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@few_examples
@given(NESTED.filter(lambda value: depth(value) <= DEEPEST))
def test_plain_values_come_back(value):
    assert same(plain(value), value)
    assert same(sent(value), value)


@few_examples
@given(
    st.sampled_from(list(DTYPES.values())),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 2**32),
)
def test_tensors_of_every_type_and_shape_come_back(dtype, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    count = math.prod(shape) * dtype.itemsize
    content = torch.randint(2 if dtype == torch.bool else 256, (count,), generator=generator)
    tensor = content.to(torch.uint8).view(dtype).view(shape)  # NaN and infinity among them
    assert same(sent(tensor), tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([math.nan, math.inf, -0.0]),
        torch.arange(12.0).view(3, 4).t(),
        torch.arange(12)[::3],
        torch.ones(1).expand(5, 5),
        torch.ones(3, requires_grad=True),
        nn.Parameter(torch.ones(2, 2)),
    ],
    ids=lambda tensor: f"{type(tensor).__name__} of {tuple(tensor.shape)}",
)
def test_odd_tensors_come_back_as_plain_ones(tensor):
    expected = tensor.detach().contiguous().as_subclass(Tensor)
    assert same(plain(tensor), expected)
    for found in (sent(tensor), sent(plain(tensor))):
        assert same(found, expected)
        assert not found.requires_grad
        found.zero_()  # it may be written to


def test_a_split_comes_back_and_digits_travel_by_their_name(few_digits, digits):
    split = few_digits.validation[:20]
    found = sent((split, 1))[0]
    assert type(found) is lab.Split
    assert same([found.images, found.labels], [split.images, split.labels])
    assert pack(few_digits) == {"digits": "MNIST"}
    assert same(sent(few_digits).test.labels, digits.test.labels)


@settings(deadline=None, max_examples=10)
@given(st.tuples(*[st.integers(1, 20)] * 3))
def test_networks_of_any_widths_come_back(widths):
    for network in (lab.SimpleCNN(widths), lab.LeNet5(widths), lab.LeNet300(widths[:2])):
        found = sent(plain(network))
        assert found.widths == network.widths
        assert same(found, network)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(),
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False)),
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, (3, 5))), nn.BatchNorm2d(4), nn.PReLU(4)),
        nn.Sequential(nn.MaxPool2d((2, 3)), nn.AdaptiveAvgPool2d((2, None)), nn.Upsample((9, 9))),
        nn.Sequential(nn.ConstantPad2d((1, 2, 3, 4), 0.5), nn.GELU("tanh"), nn.Softmax(1)),
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double(),
    ],
    ids=range(6),
)
def test_sequential_networks_come_back(network):
    found = sent(network)
    assert type(found) is nn.Sequential
    assert same(dict(found.state_dict()), dict(network.state_dict()))
    images = torch.randn(2, 1, 28, 28).to(next(network.parameters(), torch.zeros(0)).dtype)
    assert torch.equal(found.eval()(images), network.eval()(images))
    assert same(sent(plain(found)), found)


def test_a_network_with_exchanged_layers_comes_back_with_them(model):
    model.relu1 = nn.Tanh()
    model.conv1 = nn.Conv2d(1, 16, 3, padding=1, padding_mode="circular")
    found, images = sent(model), torch.randn(2, 1, 28, 28)
    assert type(found) is nn.Sequential
    assert torch.equal(found.eval()(images), model.eval()(images))


# ---------------------------------------------------------------- what is of no kind


@pytest.mark.parametrize("kind", HOSTILE)
def test_answers_of_no_kind_come_back_as_the_same_names_of_kinds(kind):
    """So that a check says of them in the grading what it says in the notebook."""
    found = plain(HOSTILE[kind][0]())
    assert same(sent(found), found)
    alone = isinstance(found, Foreign)
    assert alone == HOSTILE[kind][1].startswith("an object of type ")
    if alone:
        assert plain({"answer": [HOSTILE[kind][0]()]}) == {"answer": [found]}


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (3,), (), (0, 1, 3, 3), None])
def test_a_network_whose_tensors_are_not_of_its_layers_is_a_misfit(model, shape):
    if shape is None:
        prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    else:
        model.conv1.weight = nn.Parameter(torch.zeros(shape))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for found in (plain(model), sent(model), sent(plain(model))):
        assert found == Misfit("SimpleCNN", shapes)
    assert ("fc1.weight_orig" in shapes) == (shape is None)


# ---------------------------------------------------------------- what was never packed


def coded(content):
    return base64.b64encode(zlib.compress(content)).decode()


FOUR = coded(bytes(4))


def tensor_of(dtype="float32", shape=(1,), text=FOUR):
    return {"tensor": [dtype, list(shape) if isinstance(shape, tuple) else shape, text]}


def network_of(architecture, state=(), **structure):
    return {"network": [{"architecture": architecture, **structure}, list(state)]}


def in_lists(value, levels):
    for _ in range(levels):
        value = {"list": [value]}
    return value


def in_keys(levels):
    value = "key"
    for _ in range(levels):
        value = {"dict": [[value, 0]]}
    return value


ONE, FOUR_BOOLS = tensor_of()["tensor"], tensor_of("bool", (4,))["tensor"]
BOMB = coded(bytes(20_000_000))  # 20 kB that become 20 MB
PARTS = "its parts are not those of any kind"
KEY = "the key of a dict is neither a word nor a number"
DEEP, SHAPE = "it is nested too deeply", "a tensor has an impossible shape"
TOO_MUCH, FEW = "its tensors take more than 200,000,000 bytes", "not enough values to unpack"
NO_PACKED_VALUE = {
    "a bare list": ([1, 2], "a list does not name one kind"),
    "no key": ({}, "a dict does not name one kind"),
    "unknown kind": ({"program": "rm"}, "there is no kind 'program'"),
    "long kind": ({"x" * 10_000: 1}, "there is no kind 'xxx"),
    "endless number": (10**400, "an integer has more than 64 bits"),
    "too deep": (in_lists(1, DEEPEST + 2), DEEP),
    "5,000 lists deep": (in_lists(1, 5000), DEEP),
    "5,000 keys deep": (in_keys(5000), KEY),
    "list of nothing": ({"list": None}, PARTS),
    "tensor as a key": ({"dict": [[tensor_of(), 1]]}, KEY),
    "dict of triples": ({"dict": [[1, 2, 3]]}, "too many values to unpack"),
    "dict of numbers": ({"dict": [1]}, PARTS),
    "foreign, deep": ({"foreign": in_lists(1, 5000)}, "a dict is no name"),
    "tensor of two": ({"tensor": ["float32", [1]]}, FEW),
    "unknown dtype": (tensor_of("float7"), "there is no dtype 'float7'"),
    "dtype of torch": (tensor_of("nn"), "there is no dtype 'nn'"),
    "dtype in a list": (tensor_of(["float32"]), PARTS),
    "negative shape": (tensor_of(shape=(-1,)), SHAPE),
    "fractional shape": (tensor_of(shape=(1.0,)), SHAPE),
    "shape of truth": (tensor_of(shape=(True,)), SHAPE),
    "shape of a number": (tensor_of(shape=1), PARTS),
    "claimed size": (tensor_of(shape=(10**15,)), TOO_MUCH),
    "absurd size": (tensor_of(shape=(10**18,) * 9), TOO_MUCH),
    "absurd and empty": (tensor_of(shape=(0, 10**18, 10**18), text=coded(b"")), PARTS),
    "too few bytes": (tensor_of(shape=(2,)), "a tensor of 8 bytes came with more or fewer"),
    "too many bytes": (tensor_of("bool"), "a tensor of 1 bytes came with more or fewer"),
    "bomb": (tensor_of(text=BOMB), "a tensor of 4 bytes came with more or fewer"),
    "no base64": (tensor_of(text="###"), "a tensor cannot be read: "),
    "base64 of another alphabet": (tensor_of(text="\u00e9"), "string argument should contain"),
    "base64 of a number": (tensor_of(text=7), PARTS),
    "no zlib": (tensor_of(text="AAAA"), "a tensor cannot be read: Error"),
    "cut short": (tensor_of(shape=(9,), text=coded(bytes(range(36)))[:-12]), "of 36 bytes"),
    "split of one": ({"split": [ONE]}, PARTS),
    "split that disagrees": ({"split": [ONE, FOUR_BOOLS]}, "1 images but 4 labels"),
    "network of nothing": ({"network": None}, PARTS),
    "network in one part": ({"network": [{}]}, FEW),
    "network without architecture": ({"network": [{}, []]}, PARTS),
    "architecture of 5,000 lists": (network_of(in_lists(1, 5000)), "a dict is no name"),
    "tensor without a name": (network_of("SimpleCNN", [[7, ["bool", [], FOUR]]]), "is no name"),
    "tensor of a bomb": (
        network_of("SimpleCNN", [["fc1.bias", ["float32", [1], BOMB]]], widths=[1, 1, 1]),
        "came with more or fewer",
    ),
    "misfit of nothing": ({"misfit": ["SimpleCNN"]}, FEW),
    "misfit of negatives": ({"misfit": ["SimpleCNN", [["a", [-1]]]]}, SHAPE),
}


class Spending(TorchDispatchMode):
    """Notes the bytes of the largest tensor that PyTorch makes in memory."""

    largest = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        if isinstance(made, Tensor) and not made.is_meta:
            self.largest = max(self.largest, made.numel() * made.element_size())
        return made


with Spending(), contextlib.suppress(RuntimeError):
    torch.empty([0, 10**18, 10**18])  # the first error under a mode loads much of PyTorch


def spent(packed):
    """What reading gave or raised, and the bytes it took on the way."""
    tracemalloc.start()
    try:
        with Spending() as spending:
            try:
                found = unpack(packed)
            except ValueError as error:
                found = error
        return found, spending.largest + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", NO_PACKED_VALUE)
def test_what_was_never_packed_is_refused_in_one_sentence_and_without_memory(kind):
    packed, reason = NO_PACKED_VALUE[kind]
    found, taken = spent(packed)
    assert isinstance(found, ValueError)
    assert re.fullmatch(r"This is no packed value: .*[^.]\.", str(found))
    assert str(found).count("This is no packed value") == 1
    assert reason in str(found)
    assert len(str(found)) < 200
    assert taken < 5_000_000


LINEAR = {"in_features": 30_000, "out_features": 30_000}  # 3.6 GB


def layer_of(kind, *options):
    return network_of("Sequential", layers=[["0", kind, *options]])


@pytest.mark.parametrize(
    "packed",
    [
        network_of("SimpleCNN", widths=[10**9] * 3),
        network_of("LeNet300", widths=[100_000, 100_000]),
        network_of("LeNet5", widths=[-1, 2, 3]),
        network_of("SimpleCNN", widths=[1, 1]),
        network_of("SimpleCNN"),
        network_of("ResNet50", widths=[1]),
        network_of("x" * 10_000),
        layer_of("Linear", LINEAR),
        layer_of("Linear", {**LINEAR, "device": "cpu"}),
        layer_of("Sequential", {"layers": [["0", "Linear", {**LINEAR, "device": "cpu"}]]}),
        layer_of("LazyLinear", {"out_features": 3}),
        layer_of("__import__", {}),
        network_of("Sequential", layers=7),
        network_of("Sequential", [["0.weight", ["int64", [2, 2], coded(bytes(32))]]],
                   layers=[["0", "Linear", {"in_features": 2, "out_features": 2}]]),
    ],
    ids=range(14),
)  # fmt: skip
def test_an_impossible_network_is_a_misfit_and_takes_no_memory(packed):
    found, taken = spent(packed)
    assert isinstance(found, Misfit)
    assert len(found.kind) <= 60
    assert taken < 5_000_000


def test_layers_5000_deep_are_a_misfit():
    layers = [["0", "ReLU", {}]]
    for _ in range(5000):
        layers = [["0", "Sequential", {"layers": layers}]]
    assert unpack(network_of("Sequential", layers=layers)) == Misfit("Sequential", {})


def test_tensors_may_be_large_but_not_together(monkeypatch):
    monkeypatch.setattr(values, "LARGEST", 40_000_000)
    bomb = tensor_of("uint8", (20_000_000,), BOMB)
    one, other = unpack({"list": [bomb, bomb]})
    assert one.numel() + other.numel() == 40_000_000
    with pytest.raises(ValueError, match="its tensors take more than 40,000,000 bytes"):
        unpack({"list": [bomb, bomb, tensor_of()]})


KINDS = ["list", "tuple", "dict", "tensor", "network", "split", "foreign", "misfit"]
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.dictionaries(st.sampled_from(KINDS), parts, max_size=2),
    ),
    max_leaves=10,
)


@few_examples
@given(JUNK)
def test_junk_is_read_or_refused_but_never_anything_else(packed):
    with contextlib.suppress(ValueError):
        value = unpack(packed)
        assert same(sent(value), value)
