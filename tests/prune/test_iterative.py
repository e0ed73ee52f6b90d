import copy
import itertools
import json
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

import labutils as lab
from labutils.prune import steps as iterative

AMOUNTS = (0.3, 0.6, 0.8)


@pytest.fixture(scope="module")
def small(few_digits):
    torch.manual_seed(0)
    model = lab.SimpleCNN((4, 8, 16))
    lab.train(model, few_digits, 2, progress=False)
    return model


def run(model, digits, amounts=AMOUNTS, **options):
    return lab.prune_iteratively(model, digits, amounts, progress=False, **options)


def same(first, second):
    return all(
        torch.equal(tensor, second.state_dict()[name])
        for name, tensor in first.state_dict().items()
    )


@pytest.fixture
def counted(monkeypatch):
    """How often something was fine-tuned."""
    calls = []

    def counting(model, *arguments, **options):
        calls.append(options["seed"])
        return lab.fine_tune(model, *arguments, **options)

    monkeypatch.setattr(iterative, "fine_tune", counting)
    return calls


def test_magnitude(small, few_digits):
    before = copy.deepcopy(small)
    steps = run(small, few_digits)
    assert same(before, small)
    assert [step.amount for step in steps] == list(AMOUNTS)
    for step in steps:
        assert lab.sparsity(step.model) == pytest.approx(step.amount, abs=1e-3)
        assert len(step.history.loss) == 1
        assert step.accuracy == lab.evaluate(step.model, few_digits.validation).accuracy
        assert step.pruned.total == 500
    for earlier, later in itertools.pairwise(steps):
        for name, layer in lab.prunable_layers(earlier.model).items():
            assert (getattr(later.model, name).weight[layer.weight == 0] == 0).all()
    assert steps[-1].pruned.accuracy < steps[-1].accuracy
    once = lab.prune_magnitude(small, 0.8)  # other weights are left than after one step
    assert not torch.equal(once.fc1.weight == 0, steps[-1].model.fc1.weight == 0)


def test_filters_are_counted_from_the_original(small, few_digits):
    steps = run(small, few_digits, (0.25, 0.5, 0.75), method="filters", epochs_each=0)
    assert [step.model.widths for step in steps] == [(3, 6, 12), (2, 4, 8), (1, 2, 4)]
    assert steps[-1].accuracy == steps[-1].pruned.accuracy
    scored = {"criterion": "taylor", "calibration": few_digits.train[:100]}
    steps = run(small, few_digits, (0.25, 0.5), method="filters", options=scored, epochs_each=0)
    assert steps[-1].model.widths == (2, 4, 8)


@pytest.mark.parametrize("count", [7, 10, 13, 64])
def test_filters_of_every_width(few_digits, count):
    """At every amount as many are left as if they had been removed at once."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, count), nn.ReLU(), nn.Linear(count, 10))
    amounts = [i / 20 for i in range(1, 20)]
    steps = run(model, few_digits, amounts, method="filters", epochs_each=0)
    left = [step.model[1].out_features for step in steps]
    assert left == [lab.prune_filters(model, amount)[1].out_features for amount in amounts]


def test_method_of_the_readers_own(small, few_digits):
    def by_lot(network, amount):
        return lab.prune_random(network, amount, seed=1)

    steps = run(small, few_digits, (0.2, 0.4), method=by_lot, epochs_each=0)
    assert lab.sparsity(steps[-1].model) == pytest.approx(0.4, abs=1e-3)


def test_weights_are_rewound(small, few_digits):
    start = lab.reinitialised(small, 5)
    steps = run(small, few_digits, rewind_to=start, epochs_each=0)
    layer = steps[-1].model.fc1
    stays = layer.weight != 0
    assert torch.equal(layer.weight[stays], start.fc1.weight[stays])
    with pytest.raises(ValueError, match="the same network at two times"):
        run(small, few_digits, rewind_to=lab.SimpleCNN())


def test_goes_on_where_it_was_interrupted(small, few_digits, tmp_path, counted, monkeypatch):
    whole = run(small, few_digits, learning_rate=0.01)
    assert counted == [0, 1, 2]
    stopped = {"path": tmp_path / "run", "learning_rate": 0.01}

    def interrupted_in_the_second(step, loss):
        return len(counted) == 5 and step == 3

    first = run(small, few_digits, watch=interrupted_in_the_second, **stopped)
    assert len(first) == 2
    assert first[-1].history.interrupted
    counted.clear()
    steps = run(small, few_digits, **stopped)
    assert counted == [1, 2]
    assert same(steps[-1].model, whole[-1].model)
    assert [step.accuracy for step in steps] == [step.accuracy for step in whole]
    counted.clear()
    further = run(small, few_digits, (*AMOUNTS, 0.9), **stopped)
    assert counted == [3]
    assert same(further[2].model, whole[2].model)
    assert run(small, few_digits, AMOUNTS[:1], **stopped)[-1].amount == 0.3
    assert len(json.loads((tmp_path / "run" / "plan.json").read_text())["amounts"]) == 4


def test_refuses_the_folder_of_another_run(small, few_digits, tmp_path):
    run(small, few_digits, (0.5,), epochs_each=0, path=tmp_path / "run")
    for changed, options in {
        "amounts": {"amounts": (0.6,)},
        "epochs_each": {"epochs_each": 1},
        "images": {"digits": lab.Digits(few_digits.test, few_digits.validation, None)},
        "learning_rate": {"learning_rate": 0.1},
        "method": {"method": "filters"},
        "network": {"model": lab.SimpleCNN()},
        "seed": {"seed": 1},
    }.items():
        usual = {"model": small, "digits": few_digits, "amounts": (0.5,), "epochs_each": 0}
        with pytest.raises(ValueError, match=rf"steps of another run \({changed} differ\)"):
            lab.prune_iteratively(**{**usual, **options}, path=tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files"):
        run(small, few_digits, path=tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file: give a folder"):
        run(small, few_digits, path=tmp_path / "file")
    (tmp_path / "run" / "plan.json").write_text('{"amounts": [0.')
    with pytest.raises(ValueError, match=r"plan\.json is damaged"):
        run(small, few_digits, path=tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        run(small, few_digits, path=tmp_path / "nowhere" / "run")


@pytest.mark.parametrize(
    "wrong", [{"epochs_each": -1}, {"schedule": "linear"}, {"warmup": 3}, {"learning_rate": 0}]
)
def test_nothing_is_written_for_wrong_arguments(small, few_digits, tmp_path, wrong):
    with pytest.raises((ValueError, TypeError)):
        run(small, few_digits, path=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_one_program_at_a_time(small, few_digits, tmp_path):
    code = (
        "import sys; from pathlib import Path; from labutils.base.writing import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "in\n"
    with pytest.raises(RuntimeError, match="Another program is pruning networks into"):
        run(small, few_digits, path=tmp_path / "run")
    other.communicate("\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("amounts", [(), (0.5, 0.3), (0.5, 0.5), (0.9, 0.95, 0.1)])
def test_amounts_that_do_not_rise(small, few_digits, amounts):
    with pytest.raises(ValueError, match="each larger than the one before"):
        run(small, few_digits, amounts)


def test_wrong_arguments(small, few_digits):
    with pytest.raises(ValueError, match="method='random': choose 'magnitude', 'filters'"):
        run(small, few_digits, method="random")
    with pytest.raises(TypeError, match=r"optimizer: each step trains a new network"):
        run(small, few_digits, optimizer=torch.optim.SGD(small.parameters(), lr=1))
    run(small, few_digits, optimizer=partial(torch.optim.SGD, lr=0.1))
    with pytest.raises(ValueError, match="fraction to remove"):
        run(small, few_digits, (0.5, 1.5))
    with pytest.raises(TypeError, match=r"digits must be what load_mnist\(\) returns"):
        run(small, few_digits.train)
    with pytest.raises(TypeError, match="warmup"):
        run(small, few_digits, warmup=3)
