import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labutils as lab
from labutils.device import quantization, quantize_int8


def by_hand(network, image):
    """The network in plain Python integers, one multiplication after the other."""
    height, channels = 28, 1
    values = {(0, y, x): int(image[0, y, x]) for y in range(28) for x in range(28)}
    for layer in network.layers[:2]:
        pooled = {}
        for f in range(len(layer.weight)):
            for y in range(height // 2 * 2):
                for x in range(height // 2 * 2):
                    found = int(layer.bias[f])
                    for c in range(channels):
                        for i in range(3):
                            for j in range(3):
                                pixel = values.get((c, y + i - 1, x + j - 1), 0)
                                found += int(layer.weight[f, c, i, j]) * pixel
                    place = (f, y // 2, x // 2)
                    pooled[place] = max(pooled.get(place, 0), scaled(layer, f, found))
        values, height, channels = pooled, height // 2, len(layer.weight)
    flat = [values[c, y, x] for c in range(channels) for y in range(7) for x in range(7)]
    hidden, last = network.layers[2:]
    flat = [scaled(hidden, o, total(hidden, o, flat)) for o in range(len(hidden.weight))]
    return [total(last, o, flat) for o in range(10)]


def total(layer, o, values):
    products = (int(w) * v for w, v in zip(layer.weight[o], values, strict=True))
    return int(layer.bias[o]) + sum(products)


def scaled(layer, o, value):
    multiplier = int(layer.multiplier[o if len(layer.multiplier) > 1 else 0])
    shift = layer.shift
    return min(127, max(0, (value * multiplier + 2 ** (shift - 1)) >> shift))


@pytest.mark.parametrize("per_channel", [True, False])
def test_reference_is_exact(model, digits, calibration, per_channel):
    slim = lab.prune_filters(model, {"conv1": 0.8, "conv2": 0.9, "fc1": 0.9})
    network = quantize_int8(slim, calibration, per_channel=per_channel)
    images = network.integers(digits.test.images[:3])
    assert network.sums(images).tolist() == [by_hand(network, image) for image in images]


def test_wide_layers_are_exact_too(model, digits, calibration):
    """Sums beyond what float32 counts exactly."""
    extreme = copy.deepcopy(model)
    torch.nn.init.constant_(extreme.fc1.weight, 0.01)
    network = quantize_int8(extreme, calibration)
    layer = network.layers[2]
    inputs = torch.randint(100, 128, (5, 1568), dtype=torch.int8)
    expected = [[total(layer, o, row) for o in range(2)] for row in inputs.tolist()]
    assert max(max(row) for row in expected) > 2**24
    assert layer.sums(inputs)[:, :2].flatten(1).tolist() == expected


@pytest.mark.parametrize(("seed", "per_channel"), [*((s, True) for s in range(5)), (0, False)])
def test_accuracy_hardly_changes(digits, calibration, seed, per_channel):
    model = lab.load_pretrained(seed)
    network = quantize_int8(model, calibration, per_channel=per_channel)
    whole, real = lab.evaluate(network, digits.validation), lab.evaluate(model, digits.validation)
    assert abs(whole.accuracy - real.accuracy) < 0.002
    logits = lab.predict(network, digits.validation[:200])
    exact = lab.predict(model, digits.validation[:200])
    assert (logits - exact).abs().mean() < 0.03 * exact.abs().mean()


def test_zeros_stay_zero_and_nothing_else_changes(model, calibration):
    pruned = lab.prune_magnitude(model, 0.9)
    before = copy.deepcopy(pruned.state_dict())
    network = quantize_int8(pruned, calibration)
    for layer in network.layers:
        gone = getattr(pruned, layer.name).weight == 0
        assert (layer.weight[gone] == 0).all()
        assert layer.weight.dtype == torch.int8
        assert layer.bias.dtype == torch.int32
        assert layer.weight.abs().max() == 127
    assert all(torch.equal(tensor, before[name]) for name, tensor in pruned.state_dict().items())
    assert network.widths == (16, 32, 64)


def test_layers_without_any_weight(model, digits, calibration):
    network = quantize_int8(lab.prune_magnitude(model, 1), calibration)
    logits = network(digits.test.images[:5])
    expected = lab.prune_magnitude(model, 1)(digits.test.images[:5])
    torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.05)


@given(st.floats(1e-9, 1e3))
def test_fixed_point_is_close_and_fits(ratio):
    multiplier, shift = quantization.fixed_point(torch.tensor([ratio], dtype=torch.float64))
    assert 2**30 <= int(multiplier) < 2**31
    assert int(multiplier) / 2.0**shift == pytest.approx(ratio, rel=2**-30)


def test_fixed_point_of_the_absurd_stays_computable():
    for absurd in ([1e-30], [1e-15, 1.0], [1e12], [1e30, 1e-3]):
        multiplier, shift = quantization.fixed_point(torch.tensor(absurd, dtype=torch.float64))
        assert 0 <= multiplier.min() <= multiplier.max() < 2**31
        assert 1 <= shift <= 62
