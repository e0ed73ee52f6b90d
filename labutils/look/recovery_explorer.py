"""Watch a pruned network recover: choose how, press run, and the curves draw themselves."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

import ipywidgets
from torch import nn

from labutils.base.digits import Digits
from labutils.fit.evaluation import Evaluation, evaluate
from labutils.fit.training import BATCH_SIZE, SCHEDULES, recovery_steps, steps_of
from labutils.look.panels import problem
from labutils.look.svg import (
    HEIGHT,
    INNER_HEIGHT,
    INNER_WIDTH,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    as_image,
    curve,
    line,
    picture,
    text,
)
from labutils.prune.filters import prune_filters
from labutils.prune.weights import prune_magnitude, prune_random

METHODS: dict[str, Callable[[nn.Module, float], nn.Module]] = {
    "weights": prune_magnitude,
    "filters": prune_filters,
    "weights by lot": prune_random,
}
SAMPLE = 1_000  # validation images the curve is measured on
EVERY = 10  # steps between two points of it
SHOWN = 4  # runs
LOOKS = (("#0072B2", ""), ("#D55E00", "6 3"), ("#009E73", "2 3"), ("#CC79A7", "8 3 2 3"))


@dataclass
class Run:
    """One recovery, as far as it is.

    Attributes
    ----------
    label : what was chosen
    total : how many steps it takes
    done : how many of them are taken
    points : (step, accuracy on the sample, mean loss of the steps since the point before)
    result : on all validation images, once it has ended
    """

    label: str
    total: int
    done: int = 0
    points: list[tuple[int, float, float | None]] = field(default_factory=list)
    result: Evaluation | None = None

    @property
    def ended(self) -> str:
        """Say how it ended."""
        if self.result is None:
            return "running"
        return "done" if self.done == self.total else f"stopped at {self.done}"


def recover(model: nn.Module, digits: Digits, run: Run, schedule: str) -> Iterator[Run]:
    """Train a pruned network step by step, adding points to its run; yield it after each step."""
    sample = digits.validation[:SAMPLE]
    epochs = run.total // steps_of(digits, 1, BATCH_SIZE)
    losses: list[float] = []
    run.points.append((0, evaluate(model, sample).accuracy, None))
    yield run
    steps = recovery_steps(model, digits, epochs, schedule)
    for loss in steps:
        run.done += 1
        losses.append(loss)
        if run.done % EVERY == 0 or run.done == run.total:
            now = evaluate(model, sample).accuracy
            run.points.append((run.done, now, sum(losses) / len(losses)))
            losses.clear()
        yield run


def recovery_explorer(model: nn.Module, digits: Digits) -> "RecoveryExplorer":
    """Make controls that prune a network, train it on, and draw its recovery as it happens.

    Parameters
    ----------
    model : the trained network; left as it was
    digits : what `load_mnist` returns; `train` is trained on, curves are of `validation`

    Returns
    -------
    A widget; ``.amount`` (in percent), ``.method``, ``.schedule`` and ``.epochs`` are its controls,
    ``.start()`` and ``.stop()`` its buttons, ``.runs`` what it shows. ``.finish()`` waits.
    """
    if not isinstance(digits, Digits):
        raise TypeError(f"digits must be what load_mnist() returns, not a {type(digits).__name__}.")
    return RecoveryExplorer(model, digits)


class RecoveryExplorer(ipywidgets.VBox):
    """The widget of `recovery_explorer`."""

    def __init__(self, model: nn.Module, digits: Digits) -> None:
        self.model, self.digits = model, digits
        self.dense = evaluate(model, digits.validation)
        self.runs: list[Run] = []
        self.work: Iterator[Run] | None = None
        self.task: asyncio.Task | None = None
        wide = {"description_width": "90px"}
        self.amount = ipywidgets.IntSlider(
            90, 50, 99, description="amount (%)", style=wide, layout={"width": "min(100%, 460px)"}
        )
        self.epochs = ipywidgets.IntSlider(
            1, 1, 5, description="epochs", style=wide, layout={"width": "min(100%, 300px)"}
        )
        self.method = ipywidgets.Dropdown(options=list(METHODS), description="remove", style=wide)
        self.schedule = ipywidgets.Dropdown(
            options=list(SCHEDULES), value="one_cycle", description="schedule", style=wide
        )
        narrow = {"layout": {"width": "80px"}}
        self.run = ipywidgets.Button(description="Run", button_style="primary", **narrow)
        self.halt = ipywidgets.Button(description="Stop", disabled=True, **narrow)
        self.page = ipywidgets.HTML()
        self.page.add_class("lab-recovery-page")
        self.run.on_click(lambda _button: self.start())
        self.halt.on_click(lambda _button: self.stop())
        rows = ([self.amount, self.epochs], [self.method, self.schedule, self.run, self.halt])
        boxes = [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        self._show()
        super().__init__([*boxes, self.page])

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """Give Jupyter the widget and, for print and viewers without widgets, a picture of it."""
        bundle = super()._repr_mimebundle_(**options)
        images = "".join(as_image(drawn) for drawn in pictures(self.runs, self.dense.accuracy))
        still = f"{table(self.runs, self.dense)}<div>{images}</div>"
        bundle["text/html"] = f"{still}<p><em>Run this cell to get the buttons.</em></p>"
        bundle["text/plain"] = "Controls for a recovery: run this cell to get them."
        return bundle

    def start(self) -> None:
        """Prune as the controls say and begin to recover; what was running is stopped."""
        self.stop()
        try:
            pruned = METHODS[self.method.value](self.model, self.amount.value / 100)
            total = steps_of(self.digits, self.epochs.value, BATCH_SIZE)
            label = f"{self.amount.value}% of {self.method.value}, {self.schedule.value}"
            self.recovering = pruned
            self.runs = [*self.runs, Run(label, total)][-SHOWN:]
            self.work = recover(pruned, self.digits, self.runs[-1], self.schedule.value)
            next(self.work)
        except Exception as error:  # shown where the reader looks, and raised for the tests
            self._fail(error)
            raise
        self.run.disabled, self.halt.disabled = True, False
        self._show()
        try:
            self.task = asyncio.get_running_loop().create_task(self._go_on())
        except RuntimeError:
            self.task = None  # outside a notebook nobody waits; `finish` does the rest

    def stop(self) -> None:
        """End the recovery where it is, and measure what was reached."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
        if self.work is not None:
            self._end()

    def finish(self) -> None:
        """Do what is left of the recovery, now."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
        if self.work is not None:
            for _ in self.work:
                pass
            self._end()

    async def _go_on(self) -> None:
        """Take one step after the other in the kernel's pauses, so that buttons answer."""
        try:
            for run in self.work:
                if run.done == run.points[-1][0]:
                    self._show()
                await asyncio.sleep(0.001)
            self._end()
        except Exception as error:  # there is no cell any more to raise it in
            self._fail(error)

    def _end(self) -> None:
        self.work = None
        self.runs[-1].result = evaluate(self.recovering, self.digits.validation)
        self.run.disabled, self.halt.disabled = False, True
        self._show()

    def _fail(self, error: Exception) -> None:
        self.work = None
        self.runs = [run for run in self.runs if run.result is not None]
        self.run.disabled, self.halt.disabled = False, True
        self.page.value = problem(error)

    def _show(self) -> None:
        drawn = "".join(pictures(self.runs, self.dense.accuracy))
        self.page.value = (
            '<div class="lab-recovery" style="color: var(--jp-ui-font-color1, black)">'
            f"{table(self.runs, self.dense)}"
            f'<div style="display: flex; flex-wrap: wrap; gap: 8px">{drawn}</div></div>'
        )


def table(runs: Sequence[Run], dense: Evaluation) -> str:
    """Return the runs as an HTML table: where each began, where it is, how it ended."""
    head = f"<p>Unpruned: {dense.accuracy:.2%} of {dense.total:,} validation images.</p>"
    if not runs:
        return head + "<p>Choose an amount, then press Run.</p>"
    style = ' style="padding: 0 10px; text-align: right"'
    rows = "".join(
        f'<tr data-run="{i}"><td{style}><svg width="40" height="8">'
        f"{line(0, 4, 40, 4, *LOOKS[i % SHOWN], 3)}</svg></td><td{style}>{escape(run.label)}</td>"
        f'<td{style}>{run.points[0][1]:.1%}</td><td{style} data-figure="now">'
        f"{run.points[-1][1]:.1%}</td><td{style}>{run.done} of {run.total}</td>"
        f'<td{style} data-figure="result">{_result(run)}</td></tr>'
        for i, run in enumerate(runs)
    )
    names = ("", "removed, schedule", "pruned", "now", "steps", f"of all {dense.total:,}")
    titles = "".join(f"<th{style}>{name}</th>" for name in names)
    return (
        f'{head}<table style="line-height: 1.6"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _result(run: Run) -> str:
    if run.result is None:
        return run.ended
    low, high = run.result.interval
    note = "" if run.ended == "done" else f", {run.ended}"
    return f"{run.result.accuracy:.2%} ({low:.2%} to {high:.2%}){note}"


def pictures(runs: Sequence[Run], dense: float) -> tuple[str, str]:
    """Draw accuracy and loss against the steps, a line for each run."""
    steps = max((run.total for run in runs), default=100)
    accuracies = [accuracy for run in runs for _, accuracy, _ in run.points]
    losses = [loss for run in runs for _, _, loss in run.points if loss is not None]
    lowest = int(10 * min([*accuracies, dense, 0.95])) / 10
    highest = max([*losses, 0.1])
    now = ", ".join(f"{run.label}: {run.points[-1][1]:.1%}" for run in runs)
    return (
        _curves(
            runs, 1, steps, (lowest, 1.0), "Accuracy, 1,000 validation images", now, "{:.0%}", dense
        ),
        _curves(runs, 2, steps, (0.0, highest), "Training loss (nats)", now, "{:.2f}"),
    )


def _curves(
    runs: Sequence[Run],
    column: int,
    steps: int,
    span: tuple[float, float],
    title: str,
    alt: str,
    form: str,
    dense: float | None = None,
) -> str:
    low, high = span

    def x(step: int) -> float:
        return LEFT + INNER_WIDTH * step / steps

    def y(value: float) -> float:
        return TOP + INNER_HEIGHT * (high - value) / (high - low)

    marks = []
    for value in (low, (low + high) / 2, high):
        marks.append(line(LEFT, y(value), WIDTH - RIGHT, y(value), "currentColor", "1 4"))
        marks.append(text(LEFT - 4, y(value) + 4, form.format(value), "end"))
    if dense is not None:
        marks.append(line(LEFT, y(dense), WIDTH - RIGHT, y(dense), "#777777", "5 4"))
    for (colour, dashes), run in zip(LOOKS, runs, strict=False):
        known = [point for point in run.points if point[column] is not None]
        marks.append(curve(((x(p[0]), y(p[column])) for p in known), colour, dashes))
    marks += [
        text(LEFT, HEIGHT - 18, "0", "start"),
        text(WIDTH - RIGHT, HEIGHT - 18, f"{steps}", "end"),
        text(LEFT + INNER_WIDTH / 2, HEIGHT - 4, "steps after pruning"),
    ]
    return picture(title, f"{title}, by steps. {alt or 'No run yet'}.", marks)
