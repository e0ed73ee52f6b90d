import asyncio
import copy
import re

import pytest
import torch

import labutils as lab
from labutils.fit.training import SCHEDULES
from labutils.look.recovery_explorer import METHODS


@pytest.fixture
def tiny(digits):
    """An epoch of 20 steps."""
    return lab.Digits(digits.train[:2560], digits.validation[:1500], None)


@pytest.fixture
def explorer(model, tiny):
    return lab.recovery_explorer(model, tiny)


def same(first, second):
    return all(
        torch.equal(tensor, second.state_dict()[name])
        for name, tensor in first.state_dict().items()
    )


def test_a_run_is_a_fine_tuning(explorer, model, tiny):
    assert "press Run" in explorer.page.value
    explorer.start()
    expected = lab.prune_magnitude(model, 0.9)
    begun = lab.evaluate(expected, tiny.validation[:1000]).accuracy
    assert explorer.runs[-1].points[0] == (0, begun, None)
    explorer.finish()
    run = explorer.runs[-1]
    assert [step for step, _, _ in run.points] == [0, 10, 20]
    history = lab.fine_tune(expected, tiny, 1, progress=False)
    assert same(expected, run.network)
    assert run.result == lab.evaluate(expected, tiny.validation)
    assert history.loss[0] == pytest.approx((run.points[1][2] + run.points[2][2]) / 2)
    assert same(model, lab.load_pretrained(0))
    bundle = explorer._repr_mimebundle_()  # for print
    assert bundle["text/html"].count("<img alt=") == 2
    assert "90% of weights, one_cycle" in bundle["text/html"]
    assert "run this cell" in bundle["text/plain"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "schedule"),
    [*((m, "one_cycle") for m in METHODS), *(("weights", s) for s in SCHEDULES)],
)
def test_every_choice(explorer, method, schedule):
    explorer.method.value, explorer.schedule.value = method, schedule
    explorer.amount.value = 93
    explorer.start()
    explorer.finish()
    run = explorer.runs[-1]
    assert run.label == f"93% of {method}, {schedule}"
    assert run.points[-1][0] == run.total == 20
    assert run.result.accuracy > run.points[0][1]
    assert f"{run.result.accuracy:.2%}" in explorer.page.value


def test_stopping_keeps_what_was_reached(explorer):
    explorer.stop()  # nothing to stop
    explorer.epochs.value = 3
    explorer.start()
    for _ in range(12):
        next(explorer.steps)
    assert explorer.run.disabled
    assert not explorer.halt.disabled
    explorer.stop()
    run = explorer.runs[-1]
    assert (run.done, run.total) == (12, 60)
    assert run.result == lab.evaluate(run.network, explorer.digits.validation)
    row = explorer.page.value.split("<tr")[2]
    assert "12 of 60" in row
    # One accuracy after pruning and one after the steps, both of all images.
    assert re.findall(r"\d+\.\d+%", row.split("(")[0]) == [
        f"{run.pruned.accuracy:.2%}",
        f"{run.result.accuracy:.2%}",
    ]
    assert explorer.halt.disabled
    assert not explorer.run.disabled


@pytest.mark.slow
def test_in_a_notebook_it_runs_in_the_pauses_until_it_is_stopped(explorer):
    async def look_in_between():
        explorer.run.click()
        seen = set()
        while explorer.steps is not None:
            seen.add(explorer.runs[-1].points[-1][0])
            await asyncio.sleep(0)
        return seen

    async def stop_soon():
        explorer.run.click()
        while explorer.runs[-1].points[-1][0] < 10:
            await asyncio.sleep(0)
        explorer.halt.click()
        await asyncio.sleep(0.05)

    assert asyncio.run(look_in_between()) >= {0, 10}
    assert explorer.runs[-1].done == 20
    asyncio.run(stop_soon())
    assert 10 <= explorer.runs[-1].done < 20
    assert f"{explorer.runs[-1].done} of 20" in explorer.page.value
    assert explorer.steps is None


def test_the_last_four_runs_stay(explorer):
    looks = {}
    for amount in (60, 70, 80, 90, 95):
        explorer.amount.value = amount
        explorer.start()
        explorer.stop()
        for run in explorer.runs:  # each keeps its colour and its dashes
            assert looks.setdefault(run.label, run.look) == run.look
    assert len({run.look for run in explorer.runs}) == 4
    assert [run.label[:3] for run in explorer.runs] == ["70%", "80%", "90%", "95%"]
    assert explorer.page.value.count("<polyline") == 8
    assert explorer.page.value.count("data-run") == 4


def test_errors_show_where_the_reader_looks(model, tiny):
    broken = copy.deepcopy(model)
    explorer = lab.recovery_explorer(broken, tiny)

    async def break_it():
        explorer.run.click()
        with torch.no_grad():
            explorer.runs[-1].network.fc2.bias.fill_(float("nan"))
        await explorer.task

    asyncio.run(break_it())  # there is no cell to raise it in; what was reached is not a result
    assert "FloatingPointError" in explorer.page.value
    assert explorer.runs == []
    assert explorer.halt.disabled
    with torch.no_grad():
        broken.fc1.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"fc1.weight holds 1 values"):
        explorer.start()
    assert 'role="alert"' in explorer.page.value
    assert not explorer.run.disabled
    assert explorer.runs == []
