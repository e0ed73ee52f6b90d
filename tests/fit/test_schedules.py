import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

import labutils as lab


def rates_of(make_scheduler, steps):
    """What a scheduler of PyTorch does to a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = make_scheduler(optimizer, steps)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return found


@pytest.mark.parametrize("steps", [2, 3, 10, 430])
def test_schedules_are_those_of_pytorch(steps):
    one_cycle = rates_of(lambda optimizer, n: OneCycleLR(optimizer, 1.0, n), steps)
    cosine = rates_of(lambda optimizer, n: CosineAnnealingLR(optimizer, n), steps)
    assert lab.learning_rates("one_cycle", steps) == pytest.approx(one_cycle, abs=1e-12)
    assert lab.learning_rates("cosine", steps) == pytest.approx(cosine, abs=1e-9)
    assert lab.learning_rates("constant", steps) == [1.0] * steps


@given(st.integers(1, 300), st.integers(0, 300))
def test_rewinding_repeats_the_end_of_the_training(steps, more):
    whole = lab.learning_rates("one_cycle", steps + more)
    assert lab.learning_rates("rewind", steps, steps + more) == whole[more:]


@given(st.sampled_from(["constant", "cosine", "one_cycle"]), st.integers(0, 200))
def test_rates_are_shares_of_the_highest(schedule, steps):
    rates = lab.learning_rates(schedule, steps)
    assert len(rates) == steps
    assert all(0 < rate <= 1 for rate in rates)


def test_unknown_schedule_and_rewinding_too_far():
    with pytest.raises(ValueError, match=r"schedule='linear': choose \"constant\", \"cosine\""):
        lab.learning_rates("linear", 10)
    with pytest.raises(ValueError, match=r"cannot go back 10 steps in a training of 9"):
        lab.learning_rates("rewind", 10, 9)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_amount_rises_from_the_first_to_the_last(a, b, x, y):
    initial, final = sorted((a, b))
    earlier, later = sorted((x, y))
    amounts = [lab.cubic_amount(share, final, initial) for share in (0, earlier, later, 1)]
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
