"""Training with the rounding in it, and the file that keeps what came of it."""

import copy
import json

import pytest
import torch
from torch import nn

import labutils as lab
from labutils import device
from labutils.device.few_bits import Rounded
from labutils.device.quantization import RANGES


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(7)),
        *(nn.Flatten(), nn.Linear(8, 10)),
    )


@pytest.fixture(scope="module")
def trained(few_digits):
    model = small()
    lab.train(model, few_digits, 8, learning_rate=0.02, progress=False)
    return model


def test_rounding_is_that_of_pytorch():
    """Forward, and the gradients of values and step, as PyTorch's own learned quantization.

    It has another opinion of values that are beyond the last integer and round to it.
    """
    torch.manual_seed(0)
    values, step = torch.randn(200), torch.tensor([0.3], requires_grad=True)
    values = values[(values.abs() < 7 * 0.3) | (values.abs() > 7.5 * 0.3)].requires_grad_()
    assert (values.abs() > 7.5 * 0.3).any()
    wanted = torch._fake_quantize_learnable_per_tensor_affine(
        values, step, torch.zeros(1), -7, 7, 1.0
    )
    weights = torch.randn(len(values))
    grads = torch.autograd.grad((wanted * weights).sum(), (values, step))
    rounded = Rounded(torch.tensor(0.3), -7, 7)
    found = rounded(values)
    torch.testing.assert_close(found, wanted)
    mine = torch.autograd.grad((found * weights).sum(), (values, rounded.size))
    torch.testing.assert_close(mine[0], grads[0])
    torch.testing.assert_close(mine[1], grads[1][0] * 0.3)  # of the step's logarithm


@pytest.mark.parametrize("bits", RANGES)
def test_what_was_trained_is_what_is_written(trained, few_digits, bits):
    before = copy.deepcopy(trained.state_dict())
    network = device.train_int8(trained, few_digits, 2, bits, progress=False)
    again = device.train_int8(trained, few_digits, 2, bits, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
    weights = [layer.weight for layer in network.layers if layer.weight is not None]
    low, high = RANGES[bits]
    assert all(low <= weight.min() <= weight.max() <= high for weight in weights)
    for one, other in zip(network.layers, again.layers, strict=True):
        assert one.weight is None or torch.equal(one.weight, other.weight)
    said = network.history.validation_accuracy[-1]
    found = lab.evaluate(network, few_digits.validation).accuracy
    assert found == pytest.approx(said, abs=0.02)
    assert found > 0.4
    assert max(layer.multiplier.max() for layer in network.layers[:-1]) < 256


def test_negative_factors_of_batch_norms(trained, few_digits):
    """Turned before they are learned: without any training, what there was comes out."""
    turned = copy.deepcopy(trained)
    with torch.no_grad():
        for norm in (turned[1], turned[5]):
            norm.weight[::2] *= -1
            norm.bias += 0.3
    network = device.train_int8(turned, few_digits, 0, 8, progress=False)
    images = few_digits.validation.images
    with torch.inference_mode():
        wanted = turned(images)
    assert (network(images) - wanted).abs().mean() < 0.05 * wanted.abs().mean()


def test_zeros_stay_zero(few_digits):
    model = lab.prune_magnitude(lab.SimpleCNN((4, 4, 8)), 0.8)
    network = device.train_int8(model, few_digits, 1, 4, progress=False)
    for layer in network.layers:
        gone = getattr(model, layer.name).weight == 0
        assert (layer.weight[gone] == 0).all()
        assert layer.weight.any()


def test_a_file_brings_everything_back(trained, few_digits, tmp_path):
    network = device.train_int8(trained, few_digits, 0, {"0": 4, "9": "ternary"}, progress=False)
    path = device.save_int8(network, tmp_path / "small.json")
    back = device.load_int8(path)
    images = few_digits.test.images
    assert torch.equal(back(images), network(images))
    assert device.Firmware(back).constants() == device.Firmware(network).constants()
    assert [layer.bits for layer in back.layers if layer.weight is not None] == [4, 8, "ternary"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-20], "cut short"),
        (lambda text: "[]", "not one of save_int8"),
        (lambda text: text.replace('"version":1', '"version":2'), "format version 2"),
        (lambda text: text.replace('"weight":[[[[', '"weight":[[[[9,'), "contradicts itself"),
        (lambda text: text.replace('"shift":', '"shifts":'), "contradicts itself"),
        (lambda text: text.replace('"bits":4', '"bits":2'), "beyond -2 to 1"),
        (lambda text: text.replace('"bits":4', '"bits":5'), "contradicts itself"),
    ],
)
def test_damaged_files_are_refused(trained, calibration, tmp_path, change, said):
    path = device.save_int8(device.quantize_int8(trained, calibration, bits=4), tmp_path / "a.json")
    text = path.read_text()
    changed = change(text)
    assert changed != text
    path.write_text(changed)
    with pytest.raises(ValueError, match=said):
        device.load_int8(path)
    assert json.loads(text)["format"] == "eai-pruning-lab int8 network"
