import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import interrupt, keeps_zeros, same, small, zeros
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import labutils as lab

AMOUNTS = (0.3, 0.6, 0.8)


@pytest.fixture(scope="module")
def trained(few_digits):
    torch.manual_seed(0)
    model = lab.SimpleCNN((4, 8, 16))
    lab.train(model, few_digits, 2, progress=False)
    return model


def run(model, digits, amounts=AMOUNTS, *arguments, **options):
    return lab.prune_iteratively(model, digits, amounts, *arguments, progress=False, **options)


def train_sparse(model, digits, *arguments, **options):
    return lab.train_sparse(model, digits, *arguments, progress=False, **options)


# A recovery after each step.


def test_magnitude(trained, few_digits):
    before = copy.deepcopy(trained)
    steps = run(trained, few_digits, watch=lambda step, loss: step == 100)
    assert same(before, trained)
    assert [step.amount for step in steps] == list(AMOUNTS)
    for step in steps:
        assert lab.sparsity(step.model) == pytest.approx(step.amount, abs=1e-3)
        assert len(step.history.loss) == 1
        assert step.accuracy == lab.evaluate(step.model, few_digits.validation).accuracy
        assert step.pruned.total == 500
    for earlier, later in itertools.pairwise(steps):
        assert keeps_zeros(zeros(earlier.model), later.model)
    assert steps[-1].pruned.accuracy < steps[-1].accuracy
    once = lab.prune_magnitude(trained, 0.8)  # other weights are left than after one step
    assert not torch.equal(once.fc1.weight == 0, steps[-1].model.fc1.weight == 0)


@pytest.mark.slow
def test_each_recovery_is_that_of_fine_tune_with_a_seed_of_its_own(trained, few_digits):
    expected = trained
    for seed, amount in enumerate(AMOUNTS[:2], start=5):
        expected = lab.prune_magnitude(expected, amount)
        lab.fine_tune(expected, few_digits, 1, 0.01, seed=seed, progress=False)
    found = run(trained, few_digits, AMOUNTS[:2], seed=5, learning_rate=0.01)
    assert same(found[-1].model, expected)


@pytest.mark.parametrize("count", [7, 10, 64])
def test_filters_are_counted_from_the_original(few_digits, count):
    """At every amount as many are left as if they had been removed at once."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, count), nn.ReLU(), nn.Linear(count, 10))
    amounts = [i / 20 for i in range(1, 20)]
    steps = run(model, few_digits, amounts, 0, "filters")
    left = [step.model[1].out_features for step in steps]
    assert left == [lab.prune_filters(model, amount)[1].out_features for amount in amounts]
    assert steps[-1].accuracy == steps[-1].pruned.accuracy


def test_a_watch_ends_an_epoch_and_an_interruption_ends_all(trained, few_digits):
    ended = run(trained, few_digits, watch=lambda step, loss: step == 2)
    assert [step.history.interrupted for step in ended] == [False] * 3
    calls = []

    def stop_in_the_second_step(step, loss):
        calls.append(step)
        if len(calls) == 25:
            interrupt()

    stopped = run(trained, few_digits, watch=stop_in_the_second_step)
    assert [step.history.interrupted for step in stopped] == [False, True]
    assert lab.sparsity(stopped[-1].model) == pytest.approx(0.6, abs=1e-3)


def test_what_only_iterating_refuses(trained, few_digits):
    for amounts, message in (((0.5, 0.3), "larger than the one before"), ((0.5, 0.5), "each once")):
        with pytest.raises(ValueError, match=message):
            run(trained, few_digits, amounts)
    with pytest.raises(TypeError, match="warmup"):
        run(trained, few_digits, warmup=3)


# Pruning while training.


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["global", "layer", "lamp"])
def test_sparse_training_follows_the_cubic_schedule(few_digits, scope):
    torch.manual_seed(0)
    model = lab.SimpleCNN((4, 8, 16))
    total = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    seen, gone = {}, []

    def watch(step, loss):
        seen[step] = lab.sparsity(model)
        gone.append(torch.cat([zero.flatten() for zero in zeros(model).values()]))

    history = train_sparse(model, few_digits, 0.95, 1, 3, epochs=4, scope=scope, watch=watch)
    assert seen[19] == 0
    for step in range(20, 81):
        expected = lab.cubic_amount((step // 10 * 10 - 20) / 40, 0.95)
        assert seen[step] == pytest.approx(expected, abs=4 / total)
    assert all((earlier <= later).all() for earlier, later in itertools.pairwise(gone))
    assert history.sparsity == [seen[20], seen[40], seen[60], seen[80]]
    assert history.sparsity[-1] == pytest.approx(0.95, abs=4 / total)
    assert len(history.validation_accuracy) == 4


def test_sparse_training_goes_on_from_the_zeros_there_are(few_digits):
    model = small(amount=0.5)
    before = zeros(model)
    history = train_sparse(model, few_digits, 0.8, epochs=2)
    assert keeps_zeros(before, model)
    assert 0.5 <= history.sparsity[0] <= history.sparsity[1] == pytest.approx(0.8, abs=0.001)
    with pytest.raises(ValueError, match=r"final_amount=0.5: the network has 80.0% zeros already"):
        train_sparse(model, few_digits, 0.5)


def test_sparse_training_all_at_once(few_digits):
    model, seen = small(amount=0), []
    watch = {"watch": lambda step, loss: seen.append(lab.sparsity(model))}
    train_sparse(model, few_digits, 0.9, 0.5, 0.5, epochs=1, **watch)
    assert seen[8] == 0
    assert seen[9] == pytest.approx(0.9, abs=0.001)
    model = small(amount=0)  # no time at all: pruned all the same
    train_sparse(model, few_digits, 0.9, epochs=0)
    assert same(model, lab.prune_magnitude(small(amount=0), 0.9))


def test_interrupt_right_after_a_step_leaves_the_zeros(few_digits):
    model, calls, gone = small(amount=0), [], []

    def stop(*_arguments):
        calls.append(0)
        if len(calls) == 37:
            gone.append(lab.sparsity(model))
            interrupt()

    kept = []  # where zeros were after each step
    hook = register_optimizer_step_post_hook(stop)
    history = train_sparse(
        model, few_digits, 0.9, epochs=3, watch=lambda *_: kept.append(zeros(model)) and None
    )
    hook.remove()
    assert history.interrupted
    assert gone[0] < 0.5  # the step had moved them
    assert keeps_zeros(kept[-1], model)


def test_refused_before_anything_is_trained(few_digits):
    model = small(amount=0)
    for options, message in (
        ({"start": 2, "end": 1}, r"start=2, end=1.*: .* 0 <= start <= end <= 5"),
        ({"start": 0, "end": 6}, "end=6"),
        ({"teacher": "me"}, "teacher is a str"),
        ({"watch": 3}, "watch=3"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            train_sparse(model, few_digits, 0.5, **options)
    assert same(small(amount=0), model)


# Amounts.


@settings(max_examples=50)
@given(*[st.floats(0, 1)] * 4)
def test_amount_rises_from_the_first_to_the_last(a, b, x, y):
    initial, final = sorted((a, b))
    amounts = [lab.cubic_amount(share, final, initial) for share in (0, *sorted((x, y)), 1)]
    assert amounts[0] == pytest.approx(initial)
    assert amounts[-1] == final
    assert all(b >= a - 1e-12 for a, b in itertools.pairwise(amounts))


def test_amount_is_that_of_the_paper():
    # Zhu & Gupta 2017, equation 1: s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3
    n, s_i, s_f = 40, 0.2, 0.95
    for t in range(n + 1):
        paper = s_f + (s_i - s_f) * math.pow(1 - t / n, 3)
        assert lab.cubic_amount(t / n, s_f, s_i) == pytest.approx(paper)
    assert lab.cubic_amount(-1, s_f, s_i) == pytest.approx(s_i)
    assert lab.cubic_amount(2, s_f, s_i) == s_f


def test_steps_leave_equal_shares():
    assert lab.rising_amounts(0.875, 3) == pytest.approx([0.5, 0.75, 0.875])
    assert lab.rising_amounts(0, 3) == [0]
    assert lab.rising_amounts(1, 3) == [1]
    with pytest.raises(ValueError, match="steps=1000000000"):
        lab.rising_amounts(0.5, 10**9)
