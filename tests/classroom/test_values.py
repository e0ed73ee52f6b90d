"""Values that leave a process that is not trusted, and come back as plain data."""

import base64
import contextlib
import json
import math
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import labutils as lab
from classroom import values
from classroom.values import DEEPEST, DTYPES, Foreign, Misfit, pack, unpack
from labutils.checks.plain import plain


def sent(value):
    """What arrives at the other end of a line of JSON."""
    return unpack(json.loads(json.dumps(pack(plain(value)))))


def same(one, other):
    """Whether two values are equal bit for bit, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return not one.numel() or torch.equal(bits(one), bits(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def bits(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8)


def same_network(one, other):
    return str(one) == str(other) and same(dict(one.state_dict()), dict(other.state_dict()))


# ---------------------------------------------------------------- there and back

WHOLE = st.integers(-(2**64) + 1, 2**64 - 1)
NESTED = st.recursive(
    st.one_of(st.none(), st.booleans(), WHOLE, st.floats(), st.text()),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.none(), st.text(), WHOLE), parts, max_size=4),
    ),
    max_leaves=12,
)


def depth(value):
    if not isinstance(value, (list, tuple, dict)):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@settings(deadline=None)
@given(NESTED.filter(lambda value: depth(value) <= DEEPEST))
def test_plain_values_come_back(value):
    assert same(sent(value), value)


@settings(deadline=None)
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
        torch.tensor(3.5),
        torch.tensor(True),
        torch.empty(0),
        torch.empty(3, 0, 2, dtype=torch.int64),
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
    found = sent(tensor)
    assert type(found) is Tensor
    assert not found.requires_grad
    assert same(found, tensor.detach().contiguous().as_subclass(Tensor))
    found.zero_()  # it may be written to


def test_numbers_of_numpy_come_back_as_numbers():
    assert same(sent([np.float64(0.5), np.int64(7), np.float32(0.25)]), [0.5, 7, 0.25])


def test_subclasses_come_back_as_the_plain_class():
    class Table(dict):
        pass

    class Word(str):
        __slots__ = ()

        def __eq__(self, other):
            return True

        __hash__ = str.__hash__

    found = sent(Table({Word("b"): Word("x"), "a": 2}))
    assert same(found, {"b": "x", "a": 2})
    assert same(unpack(pack(Word("b"))), "b")


def test_a_split_comes_back(few_digits):
    split = few_digits.validation[:20]
    found = sent(split)
    assert type(found) is lab.Split
    assert same([found.images, found.labels], [split.images, split.labels])


def test_the_digits_travel_by_their_name(few_digits, digits):
    assert pack(few_digits) == {"digits": "MNIST"}
    assert same(sent(few_digits).test.labels, digits.test.labels)


@settings(deadline=None, max_examples=20)
@given(st.tuples(*[st.integers(1, 20)] * 3))
def test_networks_of_any_widths_come_back(widths):
    for network in (lab.SimpleCNN(widths), lab.LeNet5(widths), lab.LeNet300(widths[:2])):
        found = sent(network)
        assert type(found) is type(network)
        assert found.widths == network.widths
        assert same_network(found, network)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(),
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False)),
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, (3, 5))), nn.BatchNorm2d(4), nn.PReLU(4)),
        nn.Sequential(nn.MaxPool2d((2, 3)), nn.AdaptiveAvgPool2d((2, None)), nn.Upsample((9, 9))),
        nn.Sequential(nn.ConstantPad2d((1, 2, 3, 4), 0.5), nn.GELU("tanh"), nn.Softmax(1)),
    ],
    ids=lambda network: "-".join(type(layer).__name__ for layer in network) or "empty",
)
def test_sequential_networks_come_back(network):
    found = sent(network)
    assert type(found) is nn.Sequential
    assert same(dict(found.state_dict()), dict(network.state_dict()))
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(found.eval()(images), network.eval()(images))
    assert same_network(sent(found), found)


def test_a_network_in_other_precision_comes_back_in_it(model):
    for dtype in (torch.float16, torch.float64):
        assert same_network(sent(model.to(dtype)), model)


def test_a_network_with_exchanged_layers_comes_back_with_them(model):
    model.relu1 = nn.Tanh()
    model.conv1 = nn.Conv2d(1, 16, 3, padding=1, padding_mode="circular")
    found, images = sent(model), torch.randn(2, 1, 28, 28)
    assert type(found) is nn.Sequential
    assert torch.equal(found.eval()(images), model.eval()(images))


# ---------------------------------------------------------------- what is of no kind


class Odd:
    pass


class Explosive:
    def __getattribute__(self, name):
        raise RuntimeError("do not touch")


class Numbered(int):
    def __int__(self):
        raise RuntimeError("do not touch")


class Network(nn.Module):
    pass


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Odd(), "Odd"),
        (Explosive(), "Explosive"),
        (Numbered(), "Numbered"),
        (Network(), "Network"),
        (nn.Linear(2, 3), "Linear"),
        (nn.Sequential(Network()), "Sequential with layers of unknown kinds"),
        (range(3), "range"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (1j, "complex"),
        (2**64, "int beyond 64 bits"),
        (-(10**5000), "int beyond 64 bits"),
        (np.zeros(3), "ndarray"),
        (torch.zeros(2, dtype=torch.complex64), "complex64 Tensor on cpu"),
        (torch.zeros(2, dtype=torch.uint16), "uint16 Tensor on cpu"),
        (torch.zeros(2, device="meta"), "float32 Tensor on meta"),
        (torch.eye(2).to_sparse(), "sparse_coo Tensor"),
        (torch.zeros(1).expand(10**12), "Tensor of 4,000,000,000,000 bytes"),
        (lab.SimpleCNN, "type"),
        (print, "builtin_function_or_method"),
    ],
    ids=range(20),
)
def test_other_values_come_back_as_the_name_of_their_kind(value, kind):
    assert sent(value) == Foreign(kind)
    assert sent((value, 1)) == (Foreign(kind), 1)
    assert sent({"answer": [value]}) == {"answer": [Foreign(kind)]}


def test_what_no_dict_should_have_as_its_key_becomes_the_name_of_its_kind():
    assert sent({(1, 2): 0, nn.ReLU(): 1, torch.ones(1): 2}) == {
        Foreign("tuple"): 0, Foreign("ReLU"): 1, Foreign("Tensor"): 2,
    }  # fmt: skip


def test_what_lies_too_deep_becomes_the_name_of_its_kind():
    value = 7
    for _ in range(10_000):
        value = [value]
    found = sent(value)
    for _ in range(DEEPEST):
        (found,) = found
    assert found == Foreign("list")
    looped = {}
    looped["again"] = looped
    assert "Foreign(kind='dict')" in str(sent(looped))


def test_foreign_values_travel_on():
    """As from the student's process, which reads its own answer before it is sent."""
    assert sent(sent(Odd())) == Foreign("Odd")
    assert sent(sent({Odd(): 1})) == {Foreign("Odd"): 1}


def test_a_network_held_by_torch_prune_is_a_misfit(model):
    prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    found = sent(model)
    assert isinstance(found, Misfit)
    assert found.kind == "SimpleCNN"
    assert found.shapes["fc1.weight_orig"] == found.shapes["fc1.weight_mask"] == (64, 1568)
    assert "fc1.weight" not in found.shapes
    assert sent(found) == found


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (3,), (), (0, 1, 3, 3)])
def test_a_network_whose_tensors_are_not_of_its_layers_is_a_misfit(model, shape):
    model.conv1.weight = nn.Parameter(torch.zeros(shape))
    found = sent(model)
    assert isinstance(found, Misfit)
    assert found.shapes == {
        name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
    }


# ---------------------------------------------------------------- what was never packed


def coded(content):
    return base64.b64encode(zlib.compress(content)).decode()


FOUR = coded(bytes(4))


def tensor_of(dtype="float32", shape=(1,), text=FOUR):
    return {"tensor": [dtype, list(shape) if isinstance(shape, tuple) else shape, text]}


def network_of(architecture, state=(), **structure):
    return {"network": [{"architecture": architecture, **structure}, list(state)]}


def in_lists(value, levels, kind="list"):
    for _ in range(levels):
        value = {kind: [value]}
    return value


def in_keys(levels):
    value = "key"
    for _ in range(levels):
        value = {"dict": [[value, 0]]}
    return value


def truncated(text):
    return base64.b64encode(base64.b64decode(text)[:-6]).decode()


BOMB = coded(bytes(20_000_000))  # 20 kB that become 20 MB
NO_PACKED_VALUE = {
    "a bare list": ([1, 2], "a list does not name one kind"),
    "two keys": ({"list": [], "tuple": []}, "a dict does not name one kind"),
    "no key": ({}, "a dict does not name one kind"),
    "a tuple": ((1,), "a tuple does not name one kind"),
    "bytes": (b"x", "a bytes does not name one kind"),
    "unknown kind": ({"program": "rm"}, "there is no kind 'program'"),
    "long kind": ({"x" * 10_000: 1}, "there is no kind 'xxx"),
    "endless number": (10**400, "a whole number has more than 64 bits"),
    "too deep": (in_lists(1, DEEPEST + 2), "it is nested too deeply"),
    "5,000 lists deep": (in_lists(1, 5000), "it is nested too deeply"),
    "5,000 tuples deep": (in_lists(1, 5000, "tuple"), "it is nested too deeply"),
    "5,000 keys deep": (in_keys(5000), "the key of a dict is neither a word nor a number"),
    "list of nothing": ({"list": None}, "its parts are not those of any kind"),
    "list of a number": ({"list": 7}, "its parts are not those of any kind"),
    "list as a key": (
        {"dict": [[{"list": []}, 1]]},
        "the key of a dict is neither a word nor a number",
    ),
    "tensor as a key": (
        {"dict": [[tensor_of(), 1]]},
        "the key of a dict is neither a word nor a number",
    ),
    "dict of triples": ({"dict": [[1, 2, 3]]}, "too many values to unpack"),
    "dict of numbers": ({"dict": [1]}, "its parts are not those of any kind"),
    "foreign of a list": ({"foreign": [[]]}, "a list is no name"),
    "foreign, deep": ({"foreign": in_lists(1, 5000)}, "a dict is no name"),
    "tensor of two": ({"tensor": ["float32", [1]]}, "not enough values to unpack"),
    "unknown dtype": (tensor_of("float7"), "there is no dtype 'float7'"),
    "dtype of torch": (tensor_of("nn"), "there is no dtype 'nn'"),
    "dtype in a list": (tensor_of(["float32"]), "its parts are not those of any kind"),
    "negative shape": (tensor_of(shape=(-1,)), "a tensor has an impossible shape"),
    "fractional shape": (tensor_of(shape=(1.0,)), "a tensor has an impossible shape"),
    "shape of truth": (tensor_of(shape=(True,)), "a tensor has an impossible shape"),
    "shape in words": (tensor_of(shape="1"), "a tensor has an impossible shape"),
    "shape of a number": (tensor_of(shape=1), "its parts are not those of any kind"),
    "claimed size": (tensor_of(shape=(10**15,)), "its tensors take more than 200,000,000 bytes"),
    "absurd size": (tensor_of(shape=(10**18,) * 9), "its tensors take more than"),
    "absurd and empty": (tensor_of(shape=(0, 10**18, 10**18), text=coded(b"")), "its parts"),
    "too few bytes": (tensor_of(shape=(2,)), "a tensor of 8 bytes came with more or fewer"),
    "too many bytes": (tensor_of("bool"), "a tensor of 1 bytes came with more or fewer"),
    "bomb": (tensor_of(text=BOMB), "a tensor of 4 bytes came with more or fewer"),
    "no base64": (tensor_of(text="###"), "a tensor cannot be read: "),
    "base64 of another alphabet": (tensor_of(text="\u00e9"), "string argument should contain"),
    "base64 of a number": (tensor_of(text=7), "its parts are not those of any kind"),
    "no zlib": (tensor_of(text="AAAA"), "a tensor cannot be read: Error"),
    "cut short": (tensor_of(shape=(9,), text=truncated(coded(bytes(range(36))))), "a tensor of 36"),
    "split of one": ({"split": [tensor_of()["tensor"]]}, "its parts are not those of any kind"),
    "split that disagrees": (
        {"split": [tensor_of()["tensor"], tensor_of("bool", (4,))["tensor"]]},
        "1 images but 4 labels",
    ),
    "split of numbers": (
        {"split": [tensor_of(shape=())["tensor"]] * 2},
        "its parts are not those of any kind",
    ),
    "network of nothing": ({"network": None}, "its parts are not those of any kind"),
    "network in one part": ({"network": [{}]}, "not enough values to unpack"),
    "network without architecture": ({"network": [{}, []]}, "its parts are not those of any kind"),
    "architecture of 5,000 lists": (network_of(in_lists(1, 5000)), "a dict is no name"),
    "tensor without a name": (network_of("SimpleCNN", [[7, ["bool", [], FOUR]]]), "is no name"),
    "tensor of a bomb": (
        network_of("SimpleCNN", [["fc1.bias", ["float32", [1], BOMB]]], widths=[1, 1, 1]),
        "came with more or fewer",
    ),
    "misfit of nothing": ({"misfit": ["SimpleCNN"]}, "not enough values to unpack"),
    "misfit of negatives": ({"misfit": ["SimpleCNN", [["a", [-1]]]]}, "an impossible shape"),
}


class Spending(TorchDispatchMode):
    """Notes the bytes of the largest tensor that PyTorch makes in memory."""

    largest = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        if isinstance(made, Tensor) and not made.is_meta:
            self.largest = max(self.largest, made.numel() * made.element_size())
        return made


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
def test_what_was_never_packed_is_refused_in_one_sentence(kind):
    packed, reason = NO_PACKED_VALUE[kind]
    with pytest.raises(ValueError, match=f"^This is no packed value: .*({reason})") as caught:
        unpack(packed)
    said = str(caught.value)
    assert said.count("This is no packed value") == 1
    assert said.endswith(".")
    assert not said.endswith("..")
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.parametrize("kind", NO_PACKED_VALUE)
def test_refusing_takes_no_memory(kind):
    found, taken = spent(NO_PACKED_VALUE[kind][0])
    assert isinstance(found, ValueError)
    assert taken < 5_000_000


LINEAR = {"in_features": 30_000, "out_features": 30_000}  # 3.6 GB


@pytest.mark.parametrize(
    "packed",
    [
        network_of("SimpleCNN", widths=[10**9] * 3),
        network_of("SimpleCNN", widths=[10**30] * 3),
        network_of("LeNet300", widths=[100_000, 100_000]),
        network_of("LeNet5", widths=[-1, 2, 3]),
        network_of("SimpleCNN", widths=[1, 1]),
        network_of("SimpleCNN", widths=None),
        network_of("SimpleCNN"),
        network_of("ResNet50", widths=[1]),
        network_of("Sequential", layers=[["0", "Linear", LINEAR]]),
        network_of("Sequential", layers=[["0", "Linear", {**LINEAR, "device": "cpu"}]]),
        network_of("Sequential", layers=[["0", "Linear", {**LINEAR, "dtype": None}]]),
        network_of(
            "Sequential",
            layers=[
                ["0", "Sequential", {"layers": [["0", "Linear", {**LINEAR, "device": "cpu"}]]}]
            ],
        ),
        network_of("Sequential", layers=[["0", "LazyLinear", {"out_features": 3}]]),
        network_of("Sequential", layers=[["0", "__import__", {}]]),
        network_of("Sequential", layers=[["0", "ReLU"]]),
        network_of("Sequential", layers=7),
        network_of("Sequential", [["0.weight", ["int64", [2, 2], coded(bytes(32))]]],
                   layers=[["0", "Linear", {"in_features": 2, "out_features": 2}]]),
    ],
    ids=range(17),
)  # fmt: skip
def test_an_impossible_network_is_a_misfit_and_takes_no_memory(packed):
    found, taken = spent(packed)
    assert isinstance(found, Misfit)
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


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["list", "tuple", "dict", "tensor", "network", "split", "foreign", "misfit"]
            ),
            parts,
            max_size=2,
        ),
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(JUNK)
def test_junk_is_read_or_refused_but_never_anything_else(packed):
    with contextlib.suppress(ValueError):
        value = unpack(packed)
        assert same(sent(value), value)
