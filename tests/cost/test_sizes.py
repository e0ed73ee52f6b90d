import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import labutils as lab
from labutils.cost import sizes as module
from labutils.cost.sizes import ENCODINGS


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2000),
    st.floats(0, 1),
    st.integers(0, 99),
    st.sampled_from(["<u1", "<u2", "<u4", "<u8"]),
)
@pytest.mark.parametrize("kind", ENCODINGS)
def test_each_encoding_gives_back_every_bit(kind, count, density, seed, word):
    random = np.random.default_rng(seed)
    words = random.integers(0, 256, count).astype(word) * (random.random(count) < density)
    encode, decode = ENCODINGS[kind]
    assert np.array_equal(decode(encode(words.astype(word)), count, np.dtype(word)), words)


@pytest.mark.parametrize("zeros", [0, 1, 254, 255, 256, 509, 510, 511, 100_000])
def test_gaps_of_any_length(zeros):
    words = np.array([0] * zeros + [7] + [0] * zeros + [9, 0], dtype="<u4")
    encode, decode = ENCODINGS["gaps"]
    assert np.array_equal(decode(encode(words), len(words), words.dtype), words)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
)
def test_file_gives_back_types_shapes_and_special_values(dtype):
    model = nn.Linear(1, 1)
    special = torch.tensor([0.0, -0.0, 1.5, float("nan"), float("-inf")])
    tensors = (special, torch.ones(()), torch.zeros(0, 3), torch.eye(7)[:, ::2])
    for number, tensor in enumerate(tensors):
        model.register_buffer(f"tensor{number}", tensor.to(dtype))
    found = lab.model_bytes(model)  # which compares every bit itself
    assert found.dense == 8 + (5 + 1 + 28) * dtype.itemsize
    restored = module._unpack(module._pack(model.state_dict())[0])
    for name, tensor in model.state_dict().items():
        assert (restored[name].dtype, restored[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(restored[name].view(-1).view(torch.uint8), bits(tensor))


def bits(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8)


def test_a_file_that_comes_back_changed_is_no_answer(model, monkeypatch):
    encode, decode = ENCODINGS["bitmask"]
    wrong = {"bitmask": (encode, lambda *content: decode(*content) ^ 1)}
    monkeypatch.setattr(module, "ENCODINGS", wrong)
    with pytest.raises(RuntimeError, match=r"conv1\.weight came back changed"):
        lab.model_bytes(model)


def test_quick_count_is_never_below_the_measured_file(model):
    for amount in (0.5, 0.9, 0.99):
        pruned = lab.prune_magnitude(model, amount)
        measured = lab.model_bytes(pruned).compressed
        assert measured <= lab.sparse_bytes(pruned) + 400  # the header of names and shapes
        assert lab.sparse_bytes(pruned) < 1.1 * measured + 400


def test_zeros_shrink_only_the_compressed_file(model):
    dense = lab.model_bytes(model)
    assert dense.dense == 105_866 * 4
    assert dense.dense < dense.file < dense.dense + 5_000
    assert dense.compressed <= dense.dense + 1_000  # nothing to leave out
    pruned = lab.model_bytes(lab.prune_magnitude(model, 0.9))
    assert (pruned.dense, pruned.file) == (dense.dense, dense.file)
    # 10% of the values at 4 bytes each, and something for their places.
    assert 0.1 * dense.dense < pruned.compressed < 0.14 * dense.dense
    assert {pruned.best, *pruned.encoding.values()} <= set(ENCODINGS)
    for layer in lab.prunable_layers(model).values():
        prune.l1_unstructured(layer, "weight", amount=0.9)
    assert lab.model_bytes(model).file > 1.95 * dense.file  # PyTorch's masks double it
