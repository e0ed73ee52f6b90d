import copy
import inspect
import itertools
import subprocess
import sys
import textwrap
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torch.optim
from torch import nn
from torch.nn.utils import prune

import labutils as lab
from labutils.fit import recovery

OPTIMIZERS = [
    kind
    for name, kind in sorted(vars(torch.optim).items())
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)
    # Made for sparse gradients only, which these networks do not have.
    if name not in ("Optimizer", "SparseAdam")
]


@pytest.fixture
def pruned(model):
    return lab.prune_magnitude(model, 0.9)


def small(seed=0, amount=0.6):
    torch.manual_seed(seed)
    return lab.prune_magnitude(lab.SimpleCNN((2, 3, 8)), amount)


def zeros(model):
    return {name: layer.weight == 0 for name, layer in lab.prunable_layers(model).items()}


def same(first, second):
    return all(
        torch.equal(tensor, second.state_dict()[name])
        for name, tensor in first.state_dict().items()
    )


def make(kind, model):
    """Make an optimizer with everything that could move a zero: momentum and weight decay."""
    wanted = {"momentum": 0.9, "weight_decay": 0.1, "lr": 0.01}
    options = {k: v for k, v in wanted.items() if k in inspect.signature(kind).parameters}
    matrices = kind.__name__ == "Muon"  # which takes nothing else
    return kind([p for p in model.parameters() if p.dim() == 2 or not matrices], **options)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_zeros_stay_zero_for_every_optimizer(few_digits, kind):
    model = small()
    before = copy.deepcopy(model)
    short = lab.Digits(few_digits.train[:640], few_digits.validation, None)
    lab.fine_tune(model, short, 2, optimizer=make(kind, model), progress=False)
    after = zeros(model)
    assert all(torch.equal(zero, after[name]) for name, zero in zeros(before).items())
    assert not torch.equal(model.fc1.weight, before.fc1.weight)
    assert not (model.fc1.weight == 0).logical_and(model.fc1.weight.signbit()).any()


def test_without_care_momentum_revives_what_was_pruned(few_digits):
    """What happens to zeros in plain PyTorch: the reason for all this."""
    model = small()
    count = lab.sparsity(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    F.cross_entropy(model(few_digits.train.images[:64]), few_digits.train.labels[:64]).backward()
    optimizer.step()
    assert lab.sparsity(model) < count / 2


def test_same_as_training_with_the_masks_of_pytorch(few_digits):
    """torch.nn.utils.prune keeps a mask beside each weight; we keep none, and get the same.

    In float64, since training makes much of the last bit of a float32.
    """
    exact = lab.Digits(
        *(
            lab.Split(split.images.double(), split.labels)
            for split in (few_digits.train, few_digits.validation, few_digits.test)
        )
    )
    ours, theirs = small().double(), small().double()
    for layer in lab.prunable_layers(theirs).values():
        prune.custom_from_mask(layer, "weight", (layer.weight != 0).float())
    made = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.01)
    lab.fine_tune(
        ours, exact, 2, schedule="constant", optimizer=made, batch_size=100, progress=False
    )
    optimizer, order = made(theirs.parameters()), torch.Generator().manual_seed(0)
    images, labels = exact.train.images, exact.train.labels
    for _ in range(2):
        for chosen in torch.randperm(len(labels), generator=order).split(100):
            optimizer.zero_grad()
            F.cross_entropy(theirs(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    for layer in (theirs.conv1, theirs.conv2, theirs.fc1, theirs.fc2):
        prune.remove(layer, "weight")
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-9, atol=1e-12)


def test_biases_move_even_from_zero(few_digits):
    model = small()
    nn.init.zeros_(model.fc2.bias)
    lab.fine_tune(model, few_digits, 1, progress=False)
    assert (model.fc2.bias != 0).all()


def test_recovers(model, digits, pruned):
    part = lab.Digits(digits.train[:12800], digits.validation, None)
    before = lab.evaluate(pruned, digits.validation).accuracy
    history = lab.fine_tune(pruned, part, epochs=1, progress=False)
    assert before < 0.97
    assert history.validation_accuracy[-1] > 0.98
    assert lab.sparsity(pruned) == pytest.approx(0.9, abs=1e-4)
    assert pruned.history is history
    assert not pruned.training


def test_same_seed_same_weights(few_digits):
    models = [small(), small(), small()]
    state = torch.get_rng_state()
    for seed, model in zip((0, 0, 1), models, strict=True):
        lab.fine_tune(model, few_digits, 1, seed=seed, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "rewind"])
def test_zero_epochs_change_nothing(few_digits, model, pruned, schedule):
    before = copy.deepcopy(pruned)
    history = lab.fine_tune(pruned, few_digits, 0, schedule=schedule)
    assert history.loss == []
    assert same(before, pruned)


def test_rate_follows_the_schedule_and_is_set_back(few_digits):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    seen = []

    def watch(step, loss):
        seen.append(optimizer.param_groups[0]["lr"])

    options = {"optimizer": optimizer, "watch": watch, "progress": False}
    lab.fine_tune(model, few_digits, 1, 0.1, "cosine", **options)
    assert seen[:-1] == pytest.approx([0.1 * r for r in lab.learning_rates("cosine", 20)[1:]])
    assert optimizer.param_groups[0]["lr"] == 0.3
    seen.clear()
    lab.fine_tune(model, few_digits, 1, schedule="constant", **options)
    assert seen == [0.3] * 20  # its own rate, as none was given


def test_rewinding_knows_how_long_the_network_was_trained(few_digits, pruned):
    assert pruned.history.trained_epochs == 5
    seen = []
    optimizer = torch.optim.SGD(pruned.parameters(), lr=0.01)

    def watch(step, loss):
        seen.append(optimizer.param_groups[0]["lr"])
        return step == 3

    options = {"schedule": "rewind", "optimizer": optimizer, "watch": watch, "progress": False}
    lab.fine_tune(pruned, few_digits, 2, **options)
    whole = lab.learning_rates("one_cycle", 5 * 20)
    assert seen == pytest.approx([0.01 * rate for rate in whole[61:64]])
    assert pruned.history.trained_epochs == 5  # so that it can be rewound again
    with pytest.raises(ValueError, match=r"cannot go back 120 steps in a training of 100"):
        lab.fine_tune(pruned, few_digits, 6, schedule="rewind")
    lab.fine_tune(pruned, few_digits, 6, schedule="rewind", trained_epochs=6, **{"watch": watch})


def test_usual_rates(few_digits, pruned):
    seen = {}

    class Noted(torch.optim.AdamW):
        def __init__(self, parameters, lr, **options):
            seen["rate"] = lr
            super().__init__(parameters, lr, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Noted)
        for schedule, rate in {"cosine": 0.005, "rewind": 0.01}.items():
            options = {"schedule": schedule, "watch": lambda step, loss: True, "progress": False}
            lab.fine_tune(pruned, few_digits, 1, **options)
            assert seen["rate"] == rate


def test_watch_sees_every_step_and_can_stop(few_digits, capsys):
    model, losses = small(), []

    def watch(step, loss):
        losses.append(loss)
        assert step == len(losses)
        return step == 25

    history = lab.fine_tune(model, few_digits, 3, watch=watch)
    assert len(losses) == 25
    assert history.interrupted
    assert len(history.loss) == len(history.validation_accuracy) == 1
    assert history.loss[0] == pytest.approx(sum(losses[:20]) / 20)
    assert "epoch 2/3" in capsys.readouterr().out.rsplit("\r", 1)[1]


def test_loss_that_is_not_finite_stops_at_once(few_digits):
    images = few_digits.train.images.clone()
    images[::128] = float("inf")
    broken = lab.Digits(lab.Split(images, few_digits.train.labels), few_digits.validation, None)
    model = small()
    with pytest.raises(FloatingPointError, match=r"loss became nan in epoch 1.*learning_rate"):
        lab.fine_tune(model, broken, progress=False)
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_interrupt_leaves_a_network_with_its_zeros():
    """A real interrupt, as from the square button, in a process of its own."""
    code = """
        import os, signal, threading, labutils as lab
        digits = lab.load_mnist()
        model = lab.prune_magnitude(lab.load_pretrained(), 0.9)
        count = lab.sparsity(model)
        threading.Timer(5, os.kill, (os.getpid(), signal.SIGINT)).start()
        history = lab.fine_tune(model, digits, 50, progress=False)
        assert history.interrupted and lab.sparsity(model) == count
        print(lab.evaluate(model, digits.validation).accuracy)
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.run(run, capture_output=True, text=True, check=True)
    message, accuracy = process.stdout.splitlines()
    assert message.startswith("Interrupted after ")
    assert float(accuracy) > 0.9


def test_teacher(few_digits, model):
    """The loss is Hinton's: soft answers at a temperature, and the labels."""
    logits, labels = torch.randn(6, 10), torch.arange(6)
    chosen = torch.tensor([5, 0, 7, 9, 1, 2])
    found = recovery._loss(model, few_digits)(logits, labels, chosen)
    with torch.no_grad():
        answers = (model(few_digits.train.images[chosen]) / 4).softmax(1)
    soft = (answers * (answers.log() - (logits / 4).log_softmax(1))).sum(1).mean()
    expected = 0.9 * 16 * soft + 0.1 * F.cross_entropy(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    learner = small(amount=0.0)
    lab.fine_tune(learner, few_digits, 1, teacher=model, progress=False)
    assert same(model, lab.load_pretrained(0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schedule": "linear"}, ValueError, "schedule='linear': choose \"constant\""),
        ({"epochs": -1}, ValueError, "epochs=-1: give a whole number"),
        ({"learning_rate": 0}, ValueError, "learning_rate=0: give a positive number"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan"),
        ({"trained_epochs": "five"}, ValueError, "trained_epochs='five'"),
        ({"optimizer": "sgd"}, TypeError, "optimizer is a str: give one of torch.optim"),
        ({"teacher": "the dense one"}, TypeError, "teacher is a str"),
    ],
)
def test_wrong_arguments(few_digits, pruned, options, error, message):
    before = copy.deepcopy(pruned)
    with pytest.raises(error, match=message):
        lab.fine_tune(pruned, few_digits, **options)
    assert same(before, pruned)


def test_optimizer_made_from_the_parameters(few_digits):
    one, other = small(), small()
    made = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    lab.fine_tune(one, few_digits, 1, optimizer=made, progress=False)
    lab.fine_tune(other, few_digits, 1, optimizer=made(other.parameters()), progress=False)
    assert same(one, other)
    with pytest.raises(TypeError, match="optimizer is a list"):
        lab.fine_tune(one, few_digits, optimizer=lambda parameters: [])


def test_optimizer_of_another_network(few_digits, model, pruned):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"8 of the 8 tensors.*from that one's parameters"):
        lab.fine_tune(pruned, few_digits, optimizer=optimizer)


# Pruning while training.


@pytest.mark.parametrize("scope", ["global", "layer", "lamp"])
def test_sparse_training_follows_the_cubic_schedule(few_digits, scope):
    torch.manual_seed(0)
    model = lab.SimpleCNN((4, 8, 16))
    total = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    seen, gone = {}, []

    def watch(step, loss):
        seen[step] = lab.sparsity(model)
        gone.append(torch.cat([zero.flatten() for zero in zeros(model).values()]))

    history = lab.train_sparse(
        model, few_digits, 0.95, 1, 3, epochs=4, scope=scope, watch=watch, progress=False
    )
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
    start = lab.sparsity(model)
    history = lab.train_sparse(model, few_digits, 0.8, epochs=2, progress=False)
    assert start <= history.sparsity[0] <= history.sparsity[1] == pytest.approx(0.8, abs=0.001)
    with pytest.raises(ValueError, match=r"final_amount=0.5: the network has 80.0% zeros already"):
        lab.train_sparse(model, few_digits, 0.5)


def test_sparse_training_all_at_once(few_digits):
    model = small(amount=0)
    seen = []
    lab.train_sparse(
        model,
        few_digits,
        0.9,
        0.5,
        0.5,
        epochs=1,
        progress=False,
        watch=lambda step, loss: seen.append(lab.sparsity(model)),
    )
    assert seen[8] == 0
    assert seen[9] == pytest.approx(0.9, abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1.5,), ValueError, "final_amount=1.5"),
        ((0.5, 2, 1), ValueError, "start=2, end=1: .* 0 <= start <= end <= 5"),
        ((0.5, 0, 6), ValueError, "end=6"),
        ((0.5, "now", 1), TypeError, "start='now'"),
        ((0.5, float("nan"), 1), ValueError, "start=nan"),
    ],
)
def test_sparse_training_with_wrong_arguments(few_digits, arguments, error, message):
    model = small(amount=0)
    before = copy.deepcopy(model)
    with pytest.raises(error, match=message):
        lab.train_sparse(model, few_digits, *arguments)
    with pytest.raises(ValueError, match=r"scope='none'"):
        lab.train_sparse(model, few_digits, 0.5, scope="none")
    assert same(before, model)


# Weights set back.


def test_rewind_takes_the_early_weights_and_the_late_zeros(model, pruned):
    early = lab.reinitialised(model, seed=0)
    kept = copy.deepcopy(early)
    ticket = lab.rewind(pruned, early)
    assert same(early, kept)
    for name, layer in lab.prunable_layers(ticket).items():
        gone = getattr(pruned, name).weight == 0
        assert (layer.weight[gone] == 0).all()
        assert torch.equal(layer.weight[~gone], getattr(early, name).weight[~gone])
        assert torch.equal(layer.bias, getattr(early, name).bias)


def test_rewind_refuses_another_network(model):
    with pytest.raises(ValueError, match="the same network at two times"):
        lab.rewind(lab.prune_filters(model, 0.5), model)


@pytest.mark.parametrize("kind", [lab.SimpleCNN, lab.LeNet300, lab.LeNet5])
def test_reinitialised_is_like_just_made(kind):
    torch.manual_seed(3)
    made = kind()
    state = torch.get_rng_state()
    again = lab.reinitialised(made, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(made, again)
    assert not same(made, lab.reinitialised(made, seed=4))


def test_reinitialised_keeps_the_shape_and_forgets_the_past(model):
    slim = lab.reinitialised(lab.prune_filters(model, 0.5), 0)
    assert slim.widths == (8, 16, 32)
    assert not hasattr(slim, "history")
    assert model.history.epochs == 5
