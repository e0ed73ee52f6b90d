from functools import partial

import pytest
import torch

import labutils as lab
from labutils.study.methods import (
    prune_before_training,
    prune_in_steps,
    prune_while_training,
    train_ticket,
)

RECIPES = {
    "tuned": partial(lab.prune_and_tune, epochs=1),
    "tuned filters": partial(lab.prune_and_tune, prune=lab.prune_filters, epochs=1, distil=True),
    "learning rate rewound": partial(
        lab.prune_and_tune, epochs=1, schedule="rewind", trained_epochs=2
    ),
    "in steps": partial(prune_in_steps, steps=2),
    "filters in steps": partial(prune_in_steps, steps=2, method="filters"),
    "while training": partial(prune_while_training, epochs=1),
    "before training": partial(prune_before_training, epochs=1),
    "from scratch": partial(lab.train_from_scratch, epochs=1),
    "fresh weights": partial(lab.train_from_scratch, prune=lab.prune_magnitude, epochs=1),
    "ticket": partial(train_ticket, epochs=1),
}


@pytest.mark.parametrize("kind", [lab.SimpleCNN, lab.LeNet300, lab.LeNet5])
def test_all_join_a_comparison(kind, few_digits):
    torch.manual_seed(0)
    part = lab.Digits(few_digits.train[:640], few_digits.validation, few_digits.test)
    methods = {name: partial(recipe, digits=part) for name, recipe in RECIPES.items()}
    table = lab.compare(methods, (0.5,), kind(), part, progress=False).set_index("method")
    assert table["error"].eq("").all()
    filters = ["tuned filters", "filters in steps", "from scratch"]
    weights = [name for name in RECIPES if name not in filters]
    assert table.loc[weights, "sparsity"].sub(0.5).abs().max() < 1e-4
    assert table.loc[filters, "removed"].min() > 0.5
    assert table["accuracy"].nunique() > 3  # no two do the same


def test_other_processes_can_be_sent_them(model):
    recipe = partial(lab.prune_and_tune, epochs=0)
    table = lab.compare({"tuned": recipe}, (0.5,), model, images=100, executor=1, progress=False)
    assert table["error"].eq("").all()


def test_fresh_weights_follow_from_the_network(few_digits):
    networks = {seed: lab.load_pretrained(seed) for seed in (0, 1)}
    fresh = {
        seed: lab.train_from_scratch(network, 0.5, few_digits, epochs=0)
        for seed, network in networks.items()
    }
    again = lab.train_from_scratch(networks[0], 0.5, few_digits, epochs=0)
    assert torch.equal(fresh[0].fc1.weight, again.fc1.weight)
    assert not torch.equal(fresh[0].fc1.weight, fresh[1].fc1.weight)
    with pytest.raises(ValueError, match=r"epochs=-1"):
        train_ticket(networks[0], 0.5, few_digits, epochs=-1)


def test_ticket_is_the_start_with_the_zeros_of_the_end(few_digits):
    torch.manual_seed(0)
    model = lab.SimpleCNN((4, 8, 16))
    # Trained for two epochs to find the mask, and then not at all.
    start = lab.reinitialised(model, 7)
    trained = lab.reinitialised(model, 7)
    lab.train(trained, few_digits, 2, 7, learning_rate=0.01, progress=False)
    expected = lab.rewind(lab.prune_magnitude(trained, 0.8), start)
    found = []
    train_ticket(
        model,
        0.8,
        few_digits,
        epochs=2,
        seed=7,
        learning_rate=0.01,
        watch=lambda step, loss: found.append(loss) or step == 1,
    )
    lab.fine_tune(expected, few_digits, 2, seed=7, progress=False, watch=lambda s, loss: True)
    first = []
    fresh = lab.rewind(lab.prune_magnitude(trained, 0.8), start)
    lab.fine_tune(
        fresh,
        few_digits,
        2,
        0.01,
        seed=7,
        progress=False,
        watch=lambda step, loss: first.append(loss) or True,
    )
    assert found == first


def test_steps_leave_equal_shares():
    assert lab.rising_amounts(0.875, 3) == pytest.approx([0.5, 0.75, 0.875])
    assert lab.rising_amounts(0, 3) == [0]
    assert lab.rising_amounts(1, 3) == [1]
    with pytest.raises(ValueError, match="steps=0"):
        lab.rising_amounts(0.5, 0)
