import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import labutils as lab
from labutils.cost.sizes import ENCODINGS, load_compressed, save_compressed


def bits(tensor):
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist())


@settings(deadline=None)
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
def test_file_gives_back_types_shapes_and_special_values(tmp_path, dtype):
    special = torch.tensor([0.0, -0.0, 1.5, float("nan"), float("-inf")]).to(dtype)
    state = {
        "special": special,
        "scalar": torch.ones((), dtype=dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
        "matrix": torch.eye(7).to(dtype)[:, ::2],
    }
    path = tmp_path / "network.eai"
    assert set(save_compressed(state, path)) == set(state)
    restored = load_compressed(path)
    for name, tensor in state.items():
        assert restored[name].dtype == dtype
        assert restored[name].shape == tensor.shape
        assert bits(restored[name]) == bits(tensor)


def test_sizes_of_a_dense_network(model):
    sizes = lab.model_bytes(model)
    assert sizes.dense == 105_866 * 4
    assert sizes.dense < sizes.file < sizes.dense + 5_000
    assert sizes.compressed <= sizes.dense + 1_000  # nothing to leave out


def test_zeros_shrink_only_the_compressed_file(model):
    dense = lab.model_bytes(model)
    pruned = lab.model_bytes(lab.prune_magnitude(model, 0.9))
    assert (pruned.dense, pruned.file) == (dense.dense, dense.file)
    # 10% of the values at 4 bytes each, and something for their places.
    assert 0.1 * dense.dense < pruned.compressed < 0.14 * dense.dense
    assert set(pruned.encoding.values()) <= set(ENCODINGS)
    assert pruned.best in ENCODINGS


def test_torchs_masks_double_the_file(model):
    dense = lab.model_bytes(model).file
    for layer in lab.prunable_layers(model).values():
        prune.l1_unstructured(layer, "weight", amount=0.9)
    assert lab.model_bytes(model).file > 1.95 * dense


def test_quick_count_is_never_below_the_measured_file(model):
    for amount in (0.5, 0.9, 0.99):
        pruned = lab.prune_magnitude(model, amount)
        measured = lab.model_bytes(pruned).compressed
        assert measured <= lab.sparse_bytes(pruned) + 400  # the header of names and shapes
        assert lab.sparse_bytes(pruned) < 1.1 * measured + 400


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.99])
def test_truncated_file(tmp_path, model, share):
    path = tmp_path / "network.eai"
    save_compressed(lab.prune_magnitude(model, 0.9).state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"network\.eai is not a whole file"):
        load_compressed(path)


def test_foreign_file(tmp_path, model):
    path = tmp_path / "foreign.eai"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match="does not begin as one"):
        load_compressed(path)
    with pytest.raises(ValueError, match="nothing to store"):
        lab.model_bytes(nn.ReLU())


def test_folder_that_is_not_there(tmp_path, model):
    with pytest.raises(FileNotFoundError, match=r"nowhere is not there"):
        save_compressed(model.state_dict(), tmp_path / "nowhere" / "network.eai")
    save_compressed(model.state_dict(), tmp_path / "network.eai")
    assert [path.name for path in tmp_path.iterdir()] == ["network.eai"]
