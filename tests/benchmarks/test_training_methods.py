import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from small_networks import interrupt, same
from torch import nn
from training_methods import (
    prune_before_training,
    prune_in_steps,
    prune_snip,
    prune_while_training,
    train_ticket,
    weight_saliency,
)

import labutils as lab

METHODS = {
    "in steps": partial(prune_in_steps, steps=2),
    "filters in steps": partial(prune_in_steps, steps=2, method="filters"),
    "while training": partial(prune_while_training, epochs=1, distil=True),
    "before training": partial(prune_before_training, epochs=1),
    "ticket": partial(train_ticket, epochs=1),
}


@pytest.fixture
def fresh():
    torch.manual_seed(0)
    return lab.SimpleCNN((3, 4, 8))


def few(digits):
    return lab.Digits(digits.train[:640], digits.validation, digits.test)


@pytest.mark.slow
def test_all_join_a_comparison(few_digits, fresh):
    digits = few(few_digits)
    methods = {name: partial(method, digits=digits) for name, method in METHODS.items()}
    table = lab.compare(methods, (0.5,), fresh, digits, progress=False).set_index("method")
    assert table["error"].eq("").all()
    weights = [name for name in METHODS if name != "filters in steps"]
    assert table.loc[weights, "sparsity"].sub(0.5).abs().max() < 1e-3
    assert table.loc["filters in steps", "removed"] > 0.5
    assert table["accuracy"].nunique() > 3  # no two do the same


@pytest.mark.parametrize("name", METHODS)
def test_the_papers_networks_too(name, few_digits):
    for model in (lab.LeNet300((30, 20)), lab.LeNet5((4, 6, 20))):
        small = METHODS[name](model, 0.5, few(few_digits))
        if name == "filters in steps":
            assert small.widths == tuple(width // 2 for width in model.widths)
        else:
            assert lab.sparsity(small) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_stop_is_raised_not_returned(method, few_digits, fresh):
    def stop(step, loss):
        if step == 2:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        method(fresh, 0.5, few(few_digits), watch=stop)


def test_ticket_is_the_start_with_the_zeros_of_the_end(few_digits, fresh):
    digits = few(few_digits)
    trained = lab.reinitialised(fresh, 7)
    lab.train(trained, digits, 1, 7, learning_rate=0.01, progress=False)
    expected = lab.rewind(lab.prune_magnitude(trained, 0.8), lab.reinitialised(fresh, 7))
    lab.fine_tune(expected, digits, 1, 0.01, seed=7, progress=False)
    assert same(train_ticket(fresh, 0.8, digits, epochs=1, seed=7), expected)


# SNIP.


def test_score_is_what_the_loss_would_miss(fresh, few_digits):
    """To first order: without a small share of a weight, the loss changes by share x score."""
    images = lab.Split(few_digits.train.images[:50].double(), few_digits.train.labels[:50])
    fresh.double()
    scores = weight_saliency(fresh, images)

    def loss(model):
        return F.cross_entropy(model(images.images), images.labels).item()

    for name, index in (("conv1", (1, 0, 2, 2)), ("fc1", (3, 100)), ("fc2", (9, 4))):
        share, changed = 1e-5, copy.deepcopy(fresh)
        with torch.no_grad():
            getattr(changed, name).weight[index] *= 1 - share
        change = abs(loss(changed) - loss(fresh)) / share
        assert change == pytest.approx(scores[name][index].item(), rel=1e-2, abs=1e-9)


def test_scores_do_not_depend_on_how_images_are_grouped(fresh, few_digits):
    whole = weight_saliency(fresh, few_digits.train[:250])  # three batches
    loss = F.cross_entropy(fresh(few_digits.train.images[:250]), few_digits.train.labels[:250])
    loss.backward()
    for name, layer in lab.prunable_layers(fresh).items():
        torch.testing.assert_close(whole[name], (layer.weight * layer.weight.grad).abs().detach())


@pytest.mark.parametrize("amount", [0, 0.5, 0.98, 1])
def test_prunes_the_lowest_and_leaves_the_rest(fresh, few_digits, amount):
    before = copy.deepcopy(fresh)
    scores = weight_saliency(fresh, few_digits.train[:100])
    pruned = prune_snip(fresh, amount, few_digits.train[:100])
    flat = torch.cat([score.flatten() for score in scores.values()])
    gone = torch.cat([(la.weight == 0).flatten() for la in lab.prunable_layers(pruned).values()])
    assert gone.sum() == round(amount * len(flat))
    if 0 < amount < 1:
        assert flat[gone].max() <= flat[~gone].min()
    for name, layer in lab.prunable_layers(pruned).items():
        stays = layer.weight != 0
        assert torch.equal(layer.weight[stays], getattr(before, name).weight[stays])
    assert same(fresh, before)
    assert all(parameter.grad is None for parameter in fresh.parameters())
    assert fresh.training


def test_dropout_does_not_make_it_random(few_digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Dropout(0.5), nn.Linear(20, 10))
    first, second = (weight_saliency(model, few_digits.train[:100]) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ValueError, match="calibration is empty"):
        prune_snip(model, 0.5, few_digits.train[:0])
