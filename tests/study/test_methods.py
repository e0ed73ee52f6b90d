from functools import partial

import pytest
import torch
from small_networks import interrupt, same, small

import labutils as lab

METHODS = {
    "tuned": partial(lab.prune_and_tune, epochs=1),
    "tuned filters": partial(lab.prune_and_tune, prune=lab.prune_filters, epochs=1, distil=True),
    "rate rewound": partial(lab.prune_and_tune, epochs=1, schedule="rewind", trained_epochs=2),
    "from scratch": partial(lab.train_from_scratch, epochs=1),
    "fresh weights": partial(lab.train_from_scratch, prune=lab.prune_magnitude, epochs=1),
}


def few(digits):
    return lab.Digits(digits.train[:640], digits.validation, digits.test)


@pytest.mark.slow
def test_all_join_a_comparison(few_digits):
    digits = few(few_digits)
    methods = {name: partial(method, digits=digits) for name, method in METHODS.items()}
    torch.manual_seed(0)
    table = lab.compare(methods, (0.5,), lab.SimpleCNN(), digits, progress=False)
    table = table.set_index("method")
    assert table["error"].eq("").all()
    filters = ["tuned filters", "from scratch"]
    weights = [name for name in METHODS if name not in filters]
    assert table.loc[weights, "sparsity"].sub(0.5).abs().max() < 1e-4
    assert table.loc[filters, "removed"].min() > 0.5
    assert table["accuracy"].nunique() > 3  # no two do the same


@pytest.mark.parametrize("name", METHODS)
def test_the_papers_networks_too(name, few_digits):
    for model in (lab.LeNet300((30, 20)), lab.LeNet5((4, 6, 20))):
        small = METHODS[name](model, 0.5, few(few_digits))
        if name in ("tuned filters", "from scratch"):
            assert small.widths == tuple(width // 2 for width in model.widths)
        else:
            assert lab.sparsity(small) == pytest.approx(0.5, abs=1e-4)


def test_tuned_is_pruned_and_fine_tuned(model, few_digits):
    digits = few(few_digits)
    found = lab.prune_and_tune(model, 0.9, digits, epochs=1, learning_rate=0.01, distil=True)
    expected = lab.prune_magnitude(model, 0.9)
    lab.fine_tune(expected, digits, 1, 0.01, teacher=model, progress=False)
    assert same(found, expected)
    assert same(model, lab.load_pretrained(0))


def test_fresh_weights_follow_from_the_network(few_digits):
    first, second = (lab.load_pretrained(seed) for seed in (0, 1))
    method = partial(lab.train_from_scratch, amount=0.5, digits=few_digits, epochs=0)
    fresh = method(first)
    assert fresh.widths == (8, 16, 32)
    assert same(fresh, method(first))
    assert not same(fresh, method(second))
    assert same(method(first, seed=3), method(second, seed=3))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_stop_is_raised_not_returned(method, few_digits):
    def stop(step, loss):
        if step == 2:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        method(small(amount=0), 0.5, few(few_digits), watch=stop)
    # While a watch that has seen enough is no stop.
    method(small(amount=0), 0.5, few(few_digits), watch=lambda step, loss: step == 2)


def test_what_prune_and_training_cannot_be(few_digits):
    for options, message in (
        ({"prune": lambda model, amount: None}, "what prune returned is None"),
        ({"epoch": 1}, "epoch"),
    ):
        with pytest.raises(TypeError, match=message):
            lab.prune_and_tune(small(amount=0), 0.5, few_digits, **options)
