import copy

import pytest
import torch
from small_networks import same

import labutils as lab


def test_rewind_takes_the_early_weights_and_the_late_zeros(model):
    pruned, early = lab.prune_magnitude(model, 0.9), lab.reinitialised(model, seed=0)
    kept = copy.deepcopy(early)
    ticket = lab.rewind(pruned, early)
    assert same(early, kept)
    for name, layer in lab.prunable_layers(ticket).items():
        gone = getattr(pruned, name).weight == 0
        assert (layer.weight[gone] == 0).all()
        assert torch.equal(layer.weight[~gone], getattr(early, name).weight[~gone])
        assert torch.equal(layer.bias, getattr(early, name).bias)


def test_rewind_refuses_another_network(model):
    with pytest.raises(ValueError, match="the same network at two times"):
        lab.rewind(lab.prune_filters(model, 0.5), model)


@pytest.mark.parametrize("kind", [lab.SimpleCNN, lab.LeNet300, lab.LeNet5])
def test_reinitialised_is_like_just_made(kind):
    torch.manual_seed(3)
    made = kind()
    state = torch.get_rng_state()
    again = lab.reinitialised(made, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(made, again)
    assert not same(made, lab.reinitialised(made, seed=4))


def test_reinitialised_keeps_the_shape_and_forgets_the_past(model):
    slim = lab.reinitialised(lab.prune_filters(model, 0.5), 0)
    assert slim.widths == (8, 16, 32)
    assert not hasattr(slim, "history")
    assert model.history.epochs == 5
