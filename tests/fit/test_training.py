import copy
import inspect
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import interrupt, keeps_zeros, same, small, zeros
from torch import nn
from torch.nn.utils import prune
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.optim.optimizer import register_optimizer_step_post_hook

import labutils as lab
from labutils.fit.training import epochs_before, loss_with

OPTIMIZERS = [
    kind
    for name, kind in sorted(vars(torch.optim).items())
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)
    # Made for sparse gradients only, and one that asks for the loss several times a step.
    if name not in ("Optimizer", "SparseAdam", "LBFGS")
]


@pytest.fixture
def pruned(model):
    return lab.prune_magnitude(model, 0.9)


def fresh():
    torch.manual_seed(7)
    return lab.SimpleCNN((4, 8, 16))


def train(model, digits, epochs=1, seed=0, **options):
    return lab.train(model, digits, epochs, seed, progress=False, **options)


def fine_tune(model, digits, epochs=1, *arguments, **options):
    return lab.fine_tune(model, digits, epochs, *arguments, progress=False, **options)


def rates_used(model, digits, *arguments, **options):
    """The learning rate that each step of a recovery took."""
    seen = []

    def note(optimizer, *_arguments):
        seen.append(optimizer.param_groups[0]["lr"])

    hook = register_optimizer_step_post_hook(note)
    fine_tune(model, digits, *arguments, **options)
    hook.remove()
    return seen


def at_most(digits, count):
    return lab.Digits(digits.train[:count], digits.validation, None)


# Training.


def test_learns(few_digits):
    model = fresh()
    history = train(model, lab.Digits(few_digits.train, few_digits.validation, None), 3)
    assert history.validation_accuracy[-1] > 0.8
    assert history.loss == sorted(history.loss, reverse=True)
    assert len(history.loss) == len(history.validation_accuracy) == history.epochs == 3
    assert history.seconds > 0
    assert not history.interrupted
    assert model.history is history
    assert not model.training
    found = lab.evaluate(model, few_digits.validation).accuracy
    assert found == history.validation_accuracy[-1]


def test_weights_are_those_of_the_loop_of_every_tutorial(few_digits):
    """In float64, since training makes much of the last bit of a float32."""
    digits = lab.Digits(few_digits.train[:1000], few_digits.validation[:50], None)
    ours, theirs = fresh().double(), fresh().double()
    train(ours, digits, 2, seed=3)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.01)
    scheduler = OneCycleLR(optimizer, 0.01, 2 * 8)
    order, images = torch.Generator().manual_seed(3), digits.train.images.double()
    for _ in range(2):
        for chosen in torch.randperm(1000, generator=order).split(128):
            loss = F.cross_entropy(theirs(images[chosen]), digits.train.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("fit", [train, fine_tune])
def test_same_seed_same_weights_and_global_state_untouched(few_digits, fit):
    models = [small(), small(), small()]
    state = torch.get_rng_state()
    for seed, model in zip((0, 0, 1), models, strict=True):
        fit(model, few_digits, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_seed_decides_dropout_too(few_digits):
    weights = []
    for disturbance in (1, 2):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
        torch.manual_seed(disturbance)
        train(model, few_digits)
        weights.append(model[2].weight)
    assert torch.equal(*weights)


def test_bar_shows_loss_validation_and_remaining_time(few_digits, capsys):
    history = lab.train(fresh(), few_digits, epochs=2)
    last = capsys.readouterr().out.rsplit("\r", 1)[1]
    assert "epoch 2/2: 100%" in last
    assert f"loss={history.loss[-1]:.3f}" in last
    assert f"validation={history.validation_accuracy[-1]:.2%}" in last
    assert "00:00 left" in last


@pytest.mark.parametrize("fit", [train, fine_tune])
def test_loss_that_is_not_finite_stops_at_once(few_digits, fit):
    model = small()
    with pytest.raises(FloatingPointError, match=r"loss became nan in epoch 1.*learning_rate"):
        fit(model, few_digits, learning_rate=1e30)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert not model.training


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_other_precisions_train_on_the_same_images(few_digits, kind):
    model = fresh().to(kind)
    assert train(model, few_digits, 2).validation_accuracy[-1] > 0.6
    assert model.fc1.weight.dtype == kind


def test_weights_made_by_the_first_images_are_trained_too(few_digits):
    models = []
    for looked_at in (False, True):
        torch.manual_seed(0)
        models.append(nn.Sequential(nn.Flatten(), nn.LazyLinear(10)))
        if looked_at:
            torch.manual_seed(0)
            lab.evaluate(models[-1], few_digits.test)
        assert train(models[-1], few_digits).validation_accuracy[-1] > 0.7
    assert same(*models)


# What cannot be.


@pytest.mark.parametrize("fit", [train, fine_tune])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 2**70}, "epochs=.*: give an integer"),
        ({"device": "gpu"}, 'device=\'gpu\': .*"cpu", or "cuda"'),
        ({"model": nn.Sequential(nn.Flatten())}, "without parameters"),
        ({"model": nn.Linear(784, 10)}, r"Linear cannot take torch.float32 images of shape"),
    ],
)
def test_wrong_arguments(few_digits, fit, options, message):
    model = small()
    with pytest.raises((TypeError, ValueError), match=message):
        fit(**{"model": model, "digits": few_digits, **options})
    assert fit(model, few_digits, 0).loss == []
    assert same(model, small())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trained_epochs": "five"}, "trained_epochs='five'"),
        ({"watch": 3}, "watch=3: give a function"),
        ({"optimizer": lambda parameters: []}, "what it makes is a list: give a function that"),
        ({"optimizer": torch.optim.SGD(small().parameters(), lr=1)}, "optimizer is a SGD: give a"),
        (
            {"optimizer": lambda _: torch.optim.SGD(small().parameters(), lr=1)},
            "other tensors than",
        ),
        ({"schedule": "rewind", "trained_epochs": 0}, "cannot go back 20 steps in a training of 0"),
    ],
)
def test_wrong_ways_to_recover(few_digits, options, message):
    model = small()
    with pytest.raises((TypeError, ValueError), match=message):
        fine_tune(model, few_digits, **options)
    assert same(model, small())


# Zeros.


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_zeros_stay_zero_for_every_optimizer(few_digits, kind):
    """With everything that could move a zero: momentum and weight decay."""

    def make(parameters):
        wanted = {"momentum": 0.9, "weight_decay": 0.1, "lr": 0.01}
        options = {k: v for k, v in wanted.items() if k in inspect.signature(kind).parameters}
        matrices = kind.__name__ == "Muon"  # which takes nothing else
        return kind([p for p in parameters if p.dim() == 2 or not matrices], **options)

    model = small()
    fine_tune(model, at_most(few_digits, 640), 2, optimizer=make)
    assert keeps_zeros(zeros(small()), model)
    assert not torch.equal(model.fc1.weight, small().fc1.weight)
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
    """torch.nn.utils.prune keeps a mask beside each weight; we keep none, and get the same."""
    digits = at_most(few_digits, 1000)
    ours, theirs = small().double(), small().double()
    for layer in lab.prunable_layers(theirs).values():
        prune.custom_from_mask(layer, "weight", (layer.weight != 0).float())
    made = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.01)
    fine_tune(ours, digits, 2, schedule="constant", optimizer=made, batch_size=100)
    optimizer, order = made(theirs.parameters()), torch.Generator().manual_seed(0)
    images, labels = digits.train.images.double(), digits.train.labels
    for _ in range(2):
        for chosen in torch.randperm(len(labels), generator=order).split(100):
            optimizer.zero_grad()
            F.cross_entropy(theirs(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    for layer in (theirs.conv1, theirs.conv2, theirs.fc1, theirs.fc2):
        prune.remove(layer, "weight")
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-9, atol=1e-12)


def test_recovers(digits, pruned):
    before = lab.evaluate(pruned, digits.validation).accuracy
    nn.init.zeros_(pruned.fc2.bias)
    history = fine_tune(pruned, at_most(digits, 6400))
    assert before < 0.97
    assert history.validation_accuracy[-1] > 0.97
    assert lab.sparsity(pruned) == pytest.approx(0.9, abs=1e-4)
    assert (pruned.fc2.bias != 0).all()  # biases move even from zero
    assert pruned.history is history
    assert not pruned.training


def test_teacher(few_digits, model):
    """The loss is Hinton's: soft answers at a temperature, and the labels."""
    logits, labels = torch.randn(6, 10), torch.arange(6)
    chosen = torch.tensor([5, 0, 7, 9, 1, 2])
    found = loss_with(model, few_digits)(logits, labels, chosen)
    with torch.no_grad():
        soft = (model(few_digits.train.images[chosen]) / 4).softmax(1)
    distance = (soft * (soft.log() - (logits / 4).log_softmax(1))).sum(1).mean()
    expected = 0.9 * 16 * distance + 0.1 * F.cross_entropy(logits, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    fine_tune(small(), few_digits, teacher=model)
    assert same(model, lab.load_pretrained(0))
    more = nn.Sequential(nn.Flatten(), nn.Linear(784, 12))
    with pytest.raises(ValueError, match="teacher has 12 outputs, the network 10"):
        fine_tune(small(), few_digits, teacher=more)


# Stops.


def test_watch_sees_every_step_and_can_stop(few_digits, capsys):
    losses = []

    def watch(step, loss):
        losses.append(loss)
        assert step == len(losses)
        return step == 25

    history = lab.fine_tune(small(), few_digits, 3, watch=watch)
    assert len(losses) == 25
    assert not history.interrupted  # it ended as it was asked to
    assert len(history.loss) == len(history.validation_accuracy) == 1
    assert history.loss[0] == pytest.approx(sum(losses[:20]) / 20)
    assert "epoch 2/3" in capsys.readouterr().out.rsplit("\r", 1)[1]


@pytest.mark.parametrize("fit", [train, fine_tune])
def test_interrupt_right_after_a_step_leaves_a_usable_network(few_digits, fit, capsys):
    model, calls = small(), []

    def stop_in_the_second_epoch(*_arguments):
        calls.append(0)
        if len(calls) == 30:
            interrupt()

    hook = register_optimizer_step_post_hook(stop_in_the_second_epoch)
    history = fit(model, few_digits, 3)
    hook.remove()
    assert history.interrupted
    assert len(history.loss) == 1
    assert capsys.readouterr().out.startswith("Interrupted after 1 of 3 epochs: the network keeps")
    assert not model.training
    assert not same(model, small())
    assert fit is train or keeps_zeros(zeros(small()), model)
    assert lab.evaluate(model, few_digits.validation).accuracy > 0.15


# Learning rates.


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


@pytest.mark.parametrize("steps", [2, 3, 430])
def test_schedules_are_those_of_pytorch(steps):
    one_cycle = rates_of(lambda optimizer, n: OneCycleLR(optimizer, 1.0, n), steps)
    cosine = rates_of(lambda optimizer, n: CosineAnnealingLR(optimizer, n), steps)
    assert lab.learning_rates("one_cycle", steps) == pytest.approx(one_cycle, abs=1e-12)
    assert lab.learning_rates("cosine", steps) == pytest.approx(cosine, abs=1e-9)
    assert lab.learning_rates("constant", steps) == [1.0] * steps


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(0, 200))
def test_rates_are_shares_and_rewinding_repeats_the_end(steps, more):
    for schedule in ("constant", "cosine", "one_cycle"):
        rates = lab.learning_rates(schedule, steps)
        assert len(rates) == steps
        assert all(0 < rate <= 1 for rate in rates)
    whole = lab.learning_rates("one_cycle", steps + more)
    assert lab.learning_rates("rewind", steps, steps + more) == whole[more:]


@pytest.mark.parametrize(
    ("options", "first", "schedule"),
    [
        ({}, 0.005, "one_cycle"),
        ({"schedule": "cosine"}, 0.005, "cosine"),
        ({"learning_rate": 0.1, "optimizer": torch.optim.SGD, "schedule": "cosine"}, 0.1, "cosine"),
        ({"optimizer": partial(torch.optim.SGD, lr=0.3)}, 0.3, "one_cycle"),
        ({"schedule": "rewind", "trained_epochs": 1}, 0.01, "one_cycle"),
    ],
)
def test_rate_follows_the_schedule(few_digits, options, first, schedule):
    seen = rates_used(small(), few_digits, 1, **options)
    assert seen == pytest.approx([first * rate for rate in lab.learning_rates(schedule, 20)])


def test_rewinding_knows_how_long_the_network_was_trained(few_digits, pruned):
    assert epochs_before(pruned) == 5
    stop = {"watch": lambda step, loss: step == 3}
    seen = rates_used(pruned, few_digits, 2, schedule="rewind", **stop)
    whole = lab.learning_rates("one_cycle", 5 * 20)
    assert seen == pytest.approx([0.01 * rate for rate in whole[60:63]])
    assert pruned.history.trained_epochs == 5  # so that it can be rewound again
    with pytest.raises(ValueError, match=r"cannot go back 120 steps in a training of 100"):
        fine_tune(pruned, few_digits, 6, schedule="rewind")
    fine_tune(pruned, few_digits, 6, schedule="rewind", trained_epochs=6, **stop)


def test_rewinding_knows_that_the_training_was_cut_short(few_digits):
    model, calls = fresh(), []
    hook = register_optimizer_step_post_hook(
        lambda *_arguments: calls.append(0) or (len(calls) == 50 and interrupt())
    )
    train(model, few_digits, 5)
    hook.remove()
    assert epochs_before(model) == 2  # of five that were asked for
    seen = rates_used(copy.deepcopy(model), few_digits, 1, schedule="rewind")
    assert seen == pytest.approx([0.01 * r for r in lab.learning_rates("rewind", 20, 40)])
    with pytest.raises(ValueError, match=r"cannot go back 60 steps in a training of 40"):
        fine_tune(model, few_digits, 3, schedule="rewind")


def test_bar_says_whose_it_is(few_digits, capsys):
    lab.train(small(), few_digits, 1, progress="LeNet, seed 3")
    lab.prune_iteratively(small(), few_digits, (0.5, 0.75), 1)
    lab.train(small(), few_digits, 1, progress=True)
    bars = [text.split("%|")[0] for text in capsys.readouterr().out.split("\r") if "100%|" in text]
    heads = list(dict.fromkeys(bar.rpartition(":")[0].strip() for bar in bars))
    wanted = ["LeNet, seed 3, ", "50.0% of the weights, ", "75.0% of the weights, ", ""]
    assert heads == [f"{label}epoch 1/1" for label in wanted]
