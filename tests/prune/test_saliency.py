import copy

import pytest
import torch
import torch.nn.functional as F
from labutils.prune.saliency import prune_snip, weight_saliency
from torch import nn

import labutils as lab


@pytest.fixture
def fresh():
    torch.manual_seed(0)
    return lab.SimpleCNN((3, 4, 8))


def test_score_is_what_the_loss_would_miss(fresh, few_digits):
    """To first order: without a small share of a weight, the loss changes by share x score."""
    images = few_digits.train[:50]
    fresh.double()
    images = lab.Split(images.images.double(), images.labels)
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
    for name, weight in fresh.state_dict().items():
        assert torch.equal(weight, before.state_dict()[name])
    assert all(parameter.grad is None for parameter in fresh.parameters())
    assert fresh.training


def test_dropout_does_not_make_it_random(few_digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Dropout(0.5), nn.Linear(20, 10))
    first, second = (weight_saliency(model, few_digits.train[:100]) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_wrong_images(fresh, few_digits):
    with pytest.raises(TypeError, match=r"calibration=digits\.train\[:1000\]"):
        prune_snip(fresh, 0.5, few_digits.train.images)
    with pytest.raises(ValueError, match="calibration is empty"):
        prune_snip(fresh, 0.5, few_digits.train[:0])
