import copy

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn
from torch.nn.utils import prune

import labutils as lab
from labutils.fit.evaluation import channels_last, reordered


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


def test_evaluate_leaves_network_and_images_alone(few_digits):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(784, 10)).train()
    model[1].eval()
    split = few_digits.test[:50]
    images, weight = split.images.clone(), model[2].weight.clone()
    first, second = (lab.evaluate(model, split) for _ in range(2))
    assert first == second  # dropout was off
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert torch.equal(images, split.images)
    assert torch.equal(weight, model[2].weight)


def test_evaluate_takes_networks_pruned_by_torch_and_every_precision(model, few_digits):
    expected = lab.evaluate(model, few_digits.test)
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        other = copy.deepcopy(model).to(kind)
        assert abs(lab.evaluate(other, few_digits.test).correct - expected.correct) <= 2
        assert lab.predict(other, few_digits.test).dtype == kind
    prune.l1_unstructured(model.conv2, "weight", amount=0)
    assert lab.evaluate(model, few_digits.test) == expected


def test_splits_and_networks_that_do_not_fit(model, few_digits):
    images, labels = few_digits.test.images, few_digits.test.labels
    large, wrong = torch.zeros(2, 1, 32, 32), r"SimpleCNN cannot take .* images of shape \(2, "
    for split, message in (
        (few_digits, "split is a Digits: give images and labels as a Split"),
        (lab.Split(large, labels[:2]), wrong + r"1, 32, 32\)"),
        (lab.Split(large.expand(2, 3, 32, 32), labels[:2]), wrong + r"3, 32, 32\)"),
        (lab.Split(images, labels + 1), "labels go from 1 to 10, but the network has 10 outputs"),
    ):
        for judge in (lab.evaluate, lab.predict):
            with pytest.raises((TypeError, ValueError), match=message):
                judge(model, split)
    with pytest.raises(ValueError, match=r"outputs of shape \(100, 16, 28, 28\)"):
        lab.evaluate(model[:1], few_digits.test)
    model.fc2.bias.data[3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        lab.evaluate(model, few_digits.test)


# The same network, computed sooner.


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (5, 3, 4, 6), (0, 1, 28, 28), (5, 784)])
def test_channels_last_keeps_the_values(shape):
    images = torch.randn(shape)
    marked = channels_last(images)
    assert torch.equal(marked, images)
    if len(shape) == 4 and shape[0]:
        out = nn.Conv2d(shape[1], 6, 3, padding=1)(marked)
        assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("network", [lab.SimpleCNN, lab.LeNet5, lab.LeNet300])
def test_same_outputs_and_gradients(network):
    torch.manual_seed(0)
    plain = network()
    fast = copy.deepcopy(plain)
    images, labels = torch.randn(32, 1, 28, 28), torch.randint(10, (32,))
    F.cross_entropy(plain(images), labels).backward()
    logits = reordered(fast)(channels_last(images))
    F.cross_entropy(logits, labels).backward()
    assert torch.allclose(logits, plain(images), atol=1e-5)
    for name, parameter in plain.named_parameters():
        assert torch.allclose(fast.get_parameter(name).grad, parameter.grad, atol=1e-5), name


def test_pooling_goes_first_unless_somebody_looks():
    class Doubled(nn.Sequential):
        def forward(self, values):
            return 2 * super().forward(values)

    kinds = [type(layer) for layer in reordered(lab.SimpleCNN())][:3]
    assert kinds == [nn.Conv2d, nn.MaxPool2d, nn.ReLU]
    own = Doubled(nn.ReLU(), nn.MaxPool2d(2))
    assert reordered(own) is own
    for watched in ("relu1", ""):
        model = lab.SimpleCNN()
        model.get_submodule(watched).register_forward_hook(lambda *arguments: None)
        assert reordered(model) is model


# Intervals.


def test_wilson_interval_is_scipys():
    for total in (1, 2, 3, 10, 97, 5_000, 10_000, 20_000):
        for correct in sorted({0, 1, total // 3, total // 2, total - 1, total}):
            low, high = lab.wilson_interval(correct, total)
            expected = stats.binomtest(correct, total).proportion_ci(method="wilson")
            assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
            assert 0 <= low <= correct / total <= high <= 1


@pytest.mark.parametrize("count", [2, 5, 500])
def test_interval_of_a_mean_is_students(count):
    values = torch.randn(count, generator=torch.Generator().manual_seed(count)).double().numpy()
    mean, low, high = lab.mean_interval(values)
    assert mean == pytest.approx(values.mean())
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, rel=1e-9)


class Row(nn.Module):
    """A network that says what stands in one row of the image."""

    def __init__(self, row):
        super().__init__()
        self.row = row

    def forward(self, images):
        return images[:, 0, self.row]


@pytest.mark.parametrize(
    ("lost", "won", "both"),
    [(0, 0, 9), (3, 0, 50), (4, 0, 50), (30, 20, 50), (90, 60, 3), (5, 15, 0)],
)
def test_paired_difference_is_mcnemars_test(lost, won, both):
    right = [(1, 0)] * lost + [(0, 1)] * won + [(1, 1)] * both + [(0, 0)] * 7
    images = torch.zeros(len(right), 1, 2, 10)
    images[:, 0, :, 4] = torch.tensor(right).float()  # the label is 4; other answers are 0
    split = lab.Split(images, torch.full((len(right),), 4))
    found = lab.paired_difference(Row(0), Row(1), split)
    assert (found.only_one, found.only_other) == (lost, won)
    accuracies = [lab.evaluate(Row(row), split).accuracy for row in range(2)]
    assert found.points == pytest.approx(100 * (accuracies[1] - accuracies[0]))
    assert found.low <= found.points <= found.high
    statistic = (lost - won) ** 2 / max(1, lost + won)
    assert found.certain == (statistic > stats.chi2.ppf(0.95, 1))
    turned = lab.paired_difference(Row(1), Row(0), split)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert str(found).startswith(f"{found.points:+.2f} points (95% interval {found.low:+.2f} to ")
