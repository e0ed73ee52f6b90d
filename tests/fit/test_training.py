import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import labutils as lab


def trained(few_digits, seed=0, epochs=1, **options):
    torch.manual_seed(7)
    model = lab.SimpleCNN((4, 8, 16))
    return model, lab.train(model, few_digits, epochs, seed, progress=False, **options)


def test_learns(few_digits):
    model, history = trained(few_digits, epochs=3)
    assert history.validation_accuracy[-1] > 0.8
    assert history.loss == sorted(history.loss, reverse=True)
    assert len(history.loss) == len(history.validation_accuracy) == history.epochs == 3
    assert history.seconds > 0
    assert not history.interrupted
    assert model.history is history
    assert not model.training
    found = lab.evaluate(model, few_digits.validation).accuracy
    assert found == history.validation_accuracy[-1]


def test_same_seed_same_weights_and_global_state_untouched(few_digits):
    first, _ = trained(few_digits)
    state = torch.get_rng_state()
    second, _ = trained(few_digits)
    torch.manual_seed(7)
    lab.SimpleCNN((4, 8, 16))
    assert torch.equal(torch.get_rng_state(), state)
    other, _ = trained(few_digits, seed=1)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name
    assert not torch.equal(first.fc1.weight, other.fc1.weight)


def test_seed_decides_dropout_too(few_digits):
    weights = []
    for disturbance in (1, 2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
        torch.manual_seed(disturbance)
        lab.train(model, few_digits, epochs=1, progress=False)
        weights.append(model[2].weight)
    assert torch.equal(*weights)


def test_zero_epochs_change_nothing(few_digits):
    model = lab.SimpleCNN()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    history = lab.train(model, few_digits, epochs=0)
    assert history.loss == []
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_test_images_are_never_read(few_digits):
    hidden = lab.Digits(few_digits.train, few_digits.validation, None)
    torch.manual_seed(0)
    lab.train(lab.SimpleCNN((2, 2, 4)), hidden, epochs=1, progress=False)


def test_bar_shows_loss_validation_and_remaining_time(few_digits, capsys):
    torch.manual_seed(0)
    history = lab.train(lab.SimpleCNN((4, 8, 16)), few_digits, epochs=2)
    last = capsys.readouterr().out.rsplit("\r", 1)[1]
    assert "epoch 2/2: 100%" in last
    assert f"loss={history.loss[-1]:.3f}" in last
    assert f"validation={history.validation_accuracy[-1]:.2%}" in last
    assert "00:00 left" in last


def test_loss_that_is_not_finite_stops_at_once(few_digits):
    images = few_digits.train.images.clone()
    images[::128] = float("inf")  # one in each batch, wherever the order puts it
    broken = lab.Digits(lab.Split(images, few_digits.train.labels), few_digits.validation, None)
    torch.manual_seed(0)
    model = lab.SimpleCNN((2, 2, 4))
    with pytest.raises(FloatingPointError, match=r"loss became nan in epoch 1.*learning_rate"):
        lab.train(model, broken, epochs=1, progress=False)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert not model.training


@pytest.mark.parametrize("option", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [-1, 1.5, "5", None, True])
def test_wrong_numbers(few_digits, option, value):
    with pytest.raises(ValueError, match=rf"{option}=.*whole number"):
        lab.train(lab.SimpleCNN(), few_digits, **{option: value})


@pytest.mark.parametrize("value", [0, -1e-3, float("nan"), float("inf"), "fast"])
def test_wrong_rates(few_digits, value):
    with pytest.raises(ValueError, match=r"learning_rate=.*positive number"):
        lab.train(lab.SimpleCNN(), few_digits, learning_rate=value)


def test_wrong_objects(few_digits):
    with pytest.raises(TypeError, match="model is a str: give a network"):
        lab.train("SimpleCNN", few_digits)
    with pytest.raises(ValueError, match="nothing to train"):
        lab.train(nn.Sequential(nn.Flatten()), few_digits)
    with pytest.raises(TypeError, match=r"digits.*load_mnist\(\).*Split"):
        lab.train(lab.SimpleCNN(), few_digits.train)


def test_interrupt_leaves_a_usable_network():
    """A real interrupt, as from the square button, in a process of its own."""
    code = """
        import os, signal, threading, torch, labutils as lab
        digits = lab.load_mnist()
        torch.manual_seed(0)
        model = lab.SimpleCNN()
        before = model.fc1.weight.clone()
        threading.Timer(6, os.kill, (os.getpid(), signal.SIGINT)).start()
        history = lab.train(model, digits, epochs=50, progress=False)
        assert history.interrupted and len(history.loss) < 50
        assert not model.training and not torch.equal(before, model.fc1.weight)
        print(lab.evaluate(model, digits.validation).accuracy)
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    message, accuracy = process.stdout.splitlines()
    assert message.startswith("Interrupted after ")
    assert float(accuracy) > 0.5
