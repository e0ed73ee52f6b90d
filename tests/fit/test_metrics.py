import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import nn
from torch.nn.utils import prune

import labutils as lab


@settings(deadline=None)
@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_scipys(counts):
    correct, total = counts
    low, high = lab.wilson_interval(correct, total)
    expected = binomtest(correct, total).proportion_ci(method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= correct / total <= high <= 1


@pytest.mark.parametrize("counts", [(1, 0), (-1, 5), (6, 5)])
def test_wilson_interval_of_impossible_counts(counts):
    with pytest.raises(ValueError, match="0 <= correct <= total"):
        lab.wilson_interval(*counts)


def test_evaluate_is_the_plain_loop(model, digits):
    split = digits.test[:1234]
    with torch.no_grad():
        logits = model(split.images)
    found = lab.evaluate(model, split, batch_size=100)
    assert found.correct == (logits.argmax(1) == split.labels).sum()
    assert found.total == 1234
    assert found.accuracy == found.correct / 1234
    assert found.loss == pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-4)
    assert found.interval == lab.wilson_interval(found.correct, 1234)
    assert str(found).startswith(f"{found.accuracy:.2%} ({found.correct:,} of 1,234")
    assert torch.allclose(lab.predict(model, split), logits, atol=1e-4)


def test_evaluate_leaves_network_and_images_alone(digits):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(784, 10)).train()
    model[1].eval()
    images, weight = digits.test.images[:50].clone(), model[2].weight.clone()
    first, second = (lab.evaluate(model, digits.test[:50]) for _ in range(2))
    assert first == second  # dropout was off
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert torch.equal(images, digits.test.images[:50])
    assert torch.equal(weight, model[2].weight)


def test_evaluate_takes_networks_pruned_by_torch(model, digits):
    expected = lab.evaluate(model, digits.test[:500])
    prune.l1_unstructured(model.conv2, "weight", amount=0)
    assert lab.evaluate(model, digits.test[:500]) == expected


def test_evaluate_refuses_what_has_no_answer(model, digits):
    with pytest.raises(ValueError, match="empty"):
        lab.evaluate(model, digits.test[:0])
    with pytest.raises(TypeError, match=r"as digits\.test, not a Digits"):
        lab.evaluate(model, digits)
    with pytest.raises(ValueError, match=r"outputs of shape \(100, 16, 28, 28\)"):
        lab.evaluate(model[:1], digits.test)
    model.fc2.bias.data[3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        lab.evaluate(model, digits.test[:100])


def test_layer_table_by_hand():
    table = lab.layer_table(lab.SimpleCNN()).set_index("layer")
    assert table.loc["conv1", "macs"] == 28 * 28 * 16 * 9
    assert table.loc["conv2", "macs"] == 14 * 14 * 32 * 16 * 9
    assert table.loc["fc1", "macs"] == 1568 * 64
    assert table.loc["fc2", "macs"] == 64 * 10
    assert table.loc["relu1", "macs"] == 0
    assert table["parameters"].sum() == 105_866
    assert table.loc["pool2", "output"] == (32, 7, 7)


@pytest.mark.parametrize("network", [lab.SimpleCNN, lab.LeNet300, lab.LeNet5])
def test_layer_table_agrees_with_torchs_counter(network):
    from torch.utils.flop_counter import FlopCounterMode

    model = network()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 28, 28))
    assert lab.layer_table(model)["macs"].sum() * 2 == counter.get_total_flops()


def test_layer_table_counts_groups_and_strides():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, groups=2), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, 4, 9, 9))
    assert lab.layer_table(model, (4, 9, 9))["macs"].tolist() == [8 * 16 * 2 * 9, 0, 128 * 3]


@pytest.mark.parametrize(
    ("network", "macs"),
    [
        (lab.SimpleCNN, 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 + 32 * 49 * 64 + 64 * 10),
        (lab.LeNet300, 784 * 300 + 300 * 100 + 100 * 10),
        (lab.LeNet5, 24 * 24 * 20 * 25 + 8 * 8 * 50 * 20 * 25 + 800 * 500 + 500 * 10),
    ],
)
def test_macs_by_hand_and_by_torchs_counter(network, macs):
    from torch.utils.flop_counter import FlopCounterMode

    for amount in (0, 0.5, 0.9):
        model = lab.prune_filters(network(), amount)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 1, 28, 28))
        assert lab.count_macs(model) * 2 == counter.get_total_flops()
        assert lab.count_macs(model) == lab.layer_table(model)["macs"].sum()
    assert lab.count_macs(network()) == macs


def test_macs_with_a_weight_that_is_not_zero():
    model = lab.SimpleCNN()
    zeros = lab.prune_magnitude(model, {"conv2": 0.75, "fc1": 0.5})
    assert lab.count_macs(zeros) == lab.count_macs(model)
    assert lab.count_macs(zeros, nonzero=True) == (
        28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 // 4 + 32 * 49 * 64 // 2 + 64 * 10
    )


def test_macs_of_other_pictures():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, groups=1), nn.ReLU())
    assert lab.count_macs(model, (3, 33, 17)) == 16 * 8 * 8 * 27


@pytest.mark.parametrize("count", [2, 3, 5, 10, 20, 500])
def test_interval_of_a_mean_is_students(count):
    from scipy import stats

    values = torch.randn(count, generator=torch.Generator().manual_seed(count)).double().numpy()
    mean, low, high = lab.mean_interval(values)
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(expected, rel=2e-2 if count > 20 else 1e-5)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [[1.0, 2.0], [3.0, 4.0]]])
def test_no_interval_without_numbers(values):
    with pytest.raises(ValueError, match="at least two finite numbers, one for each seed"):
        lab.mean_interval(values)
