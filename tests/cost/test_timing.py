import copy

import pytest
import torch
from other_device import THERE, PretendedGPU, moved
from torch import nn

import labutils as lab


def test_networks_are_timed_in_turn_and_threads_set_back(model):
    calls, threads = [], torch.get_num_threads()

    def first(images):
        calls.append(("first", tuple(images.shape), torch.get_num_threads()))

    def second(images):
        calls.append(("second", tuple(images.shape), torch.get_num_threads()))

    table = lab.latency({"a": first, "b": second, "c": model}, batch=3, threads=1, rounds=4)
    assert {call[1:] for call in calls} == {((3, 1, 28, 28), 1)}
    rounds = [tuple(call[0] for call in calls[i : i + 2]) for i in range(0, len(calls), 2)]
    assert len(rounds) == 7
    # Once each a round, and neither always behind the other.
    assert set(rounds) == {("first", "second"), ("second", "first")}
    assert torch.get_num_threads() == threads
    assert list(table["model"]) == ["a", "b", "c"]
    assert (table["batch"] == 3).all()
    assert (table["threads"] == 1).all()
    assert ((table["low"] <= table["median"]) & (table["median"] <= table["high"])).all()
    assert (table["median"] > 0).all()


def test_mode_and_threads_come_back_after_an_error(model):
    threads = torch.get_num_threads()
    model.train()

    def fail(images):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        lab.latency({"model": model, "broken": fail}, threads=1, rounds=1)
    assert torch.get_num_threads() == threads
    assert model.training


@pytest.mark.parametrize("function", [lab.latency, lab.layer_latency])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions_and_devices(model, monkeypatch, function, dtype):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    networks = {"other": copy.deepcopy(model).to(dtype), "single": model}
    assert (function(networks, rounds=1).select_dtypes("float") > 0).all(axis=None)
    assert not waited
    with PretendedGPU():  # which must have finished before the clock stops
        function({"there": moved(model)}, rounds=1)
    assert set(waited) == {THERE}


def test_layers_are_timed_on_the_input_they_have_in_the_network(model):
    seen = {}
    for name, layer in model.named_children():
        layer.register_forward_hook(
            lambda _, inputs, __, name=name: seen.setdefault(name, []).append(inputs[0].shape)
        )
    slim = lab.prune_filters(lab.load_pretrained(), 0.5)
    table = lab.layer_latency({"dense": model, "slim": slim}, batch=3, rounds=2)
    assert list(table.index) == [name for name, _ in model.named_children()]
    assert list(table.columns) == ["dense", "slim"]
    assert (table.to_numpy() > 0).all()
    assert set(seen["conv2"]) == {(3, 16, 14, 14)}
    # To see that images fit, to get the next layer's input, to warm up, to time.
    assert len(seen["conv2"]) == 1 + 1 + 3 + 2
    assert set(seen["fc1"]) == {(3, 1568)}


def test_timing_layers_changes_no_statistics():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    before = copy.deepcopy(model.state_dict())
    lab.layer_latency({"model": model}, rounds=1)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("function", [lab.latency, lab.layer_latency])
def test_wrong_arguments(model, function):
    with pytest.raises(ValueError, match=r"image_shape=\(3, 28, 28\) does not fit this SimpleCNN"):
        function({"model": model}, image_shape=(3, 28, 28))
    with pytest.raises(ValueError, match="threads=1000000000: give an integer from 1 to 1,024"):
        function({"model": model}, threads=10**9)


def test_layers_of_networks_that_have_others(model):
    for other in (lab.LeNet300(), lambda images: images):
        with pytest.raises(ValueError, match=r"chains .* whose layers have the same names"):
            lab.layer_latency({"model": model, "other": other})
