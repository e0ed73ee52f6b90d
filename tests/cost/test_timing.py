import pytest
import torch

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


@pytest.mark.parametrize("option", ["batch", "threads", "rounds"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "1"])
def test_wrong_numbers(model, option, value):
    with pytest.raises(ValueError, match=rf"{option}=.*whole number"):
        lab.latency({"model": model}, **{option: value})


def test_no_network():
    with pytest.raises(ValueError, match="no network to time"):
        lab.latency({})


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
    assert len(seen["conv2"]) == 1 + 3 + 2  # to get the next layer's input, to warm up, to time
    assert set(seen["fc1"]) == {(3, 1568)}
