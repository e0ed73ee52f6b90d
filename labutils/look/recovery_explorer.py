"""Watch a pruned network recover: choose how, press run, and the curves draw themselves."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

import ipywidgets
from torch import nn

from labutils.base import given
from labutils.base.digits import Digits
from labutils.fit.evaluation import Evaluation, evaluate
from labutils.fit.training import BATCH_SIZE, SCHEDULES, recovery_steps
from labutils.look import svg
from labutils.look.widgets import Controls, control, html_table
from labutils.prune.filters import prune_filters
from labutils.prune.weights import prune_magnitude, prune_random

METHODS = {
    "weights": prune_magnitude,
    "filters": prune_filters,
    "random weights": prune_random,
}
SAMPLE = 1_000  # validation images the curve is measured on
EVERY = 10  # steps between two points of it
SHOWN = 4  # runs
LOOKS = (("#0072B2", ""), ("#D55E00", "6 3"), ("#009E73", "2 3"), ("#CC79A7", "8 3 2 3"))


@dataclass
class Run:
    """One recovery, as far as it is."""

    label: str  # what was chosen
    network: nn.Module
    total: int  # steps it takes
    look: tuple[str, str]  # colour and dashes of its line
    pruned: Evaluation  # on all validation images, before the first step
    done: int = 0
    # Step, accuracy on the sample, and mean loss of the steps since the point before.
    points: list[tuple[int, float, float | None]] = field(default_factory=list)
    result: Evaluation | None = None  # on all validation images, once it has ended


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
    return RecoveryExplorer(given.network(model), given.digits(digits))


class RecoveryExplorer(Controls):
    """The widget of `recovery_explorer`."""

    what = "Controls for a recovery"

    def __init__(self, model: nn.Module, digits: Digits) -> None:
        super().__init__("lab-recovery-page")
        self.model, self.digits = model, digits
        self.dense = evaluate(model, digits.validation)
        self.runs: list[Run] = []
        slider, choice, button = ipywidgets.IntSlider, ipywidgets.Dropdown, ipywidgets.Button
        self.amount = control(slider, "amount (%)", 460, value=90, min=50, max=99)
        self.epochs = control(slider, "epochs", 300, value=1, min=1, max=5)
        self.method = control(choice, "remove", 300, options=list(METHODS))
        self.schedule = control(choice, "schedule", 300, options=SCHEDULES, value="one_cycle")
        narrow = {"layout": {"width": "80px"}}
        self.run = button(description="Run", button_style="primary", **narrow)
        self.halt = button(description="Stop", **narrow)
        self.run.on_click(lambda _button: self.start())
        self.halt.on_click(lambda _button: self.stop())
        rows = ([self.amount, self.epochs], [self.method, self.schedule, self.run, self.halt])
        boxes = [ipywidgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        self.children = (*boxes, self.page)
        self._show()

    def still(self) -> str:
        """Return the page for print."""
        images = "".join(map(svg.as_image, pictures(self.runs, self.dense.accuracy)))
        return f"{table(self.runs, self.dense)}<div>{images}</div>"

    def start(self) -> None:
        """Prune as the controls say and begin to recover; what was running is stopped."""
        self.stop()
        amount, method, schedule = self.amount.value, self.method.value, self.schedule.value
        with self.errors_shown():
            network = METHODS[method](self.model, amount / 100)
            losses = recovery_steps(network, self.digits, self.epochs.value, schedule)
            total = self.epochs.value * math.ceil(len(self.digits.train) / BATCH_SIZE)
            label, pruned = (
                f"{amount}% of {method}, {schedule}",
                evaluate(network, self.digits.validation),
            )
            self.runs = self.runs[-SHOWN + 1 :]
            look = next(look for look in LOOKS if look not in [run.look for run in self.runs])
            run = Run(label, network, total, look, pruned)
            run.points.append((0, self._accuracy(run), None))
        self.runs = [*self.runs, run]
        self._show(running=True)
        self.work_through(self._recover(run, losses))

    def stop(self) -> None:
        """End the recovery where it is, and measure what was reached."""
        if self.steps is not None:
            self.cancel()
            self._end()

    def fail(self, error: Exception) -> None:
        """Show an error, and forget what was running."""
        self.steps = None
        self.runs = [run for run in self.runs if run.result is not None]
        self._show()
        super().fail(error)

    def _recover(self, run: Run, losses: Iterator[float]) -> Iterator[None]:
        """Take the steps of a fine-tuning, drawing a point every ten."""
        since: list[float] = []
        for loss in losses:
            run.done += 1
            since.append(loss)
            if run.done % EVERY == 0 or run.done == run.total:
                run.points.append((run.done, self._accuracy(run), sum(since) / len(since)))
                since.clear()
                self._show(running=True)
            yield
        self._end()

    def _accuracy(self, run: Run) -> float:
        return evaluate(run.network, self.digits.validation[:SAMPLE]).accuracy

    def _end(self) -> None:
        self.steps = None
        self.runs[-1].result = evaluate(self.runs[-1].network, self.digits.validation)
        self._show()

    def _show(self, running: bool = False) -> None:
        self.run.disabled, self.halt.disabled = running, not running
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
    rows = []
    for run in runs:
        result = f"running: {run.points[-1][1]:.1%} of {SAMPLE:,}"
        if run.result is not None:
            low, high = run.result.interval
            result = f"{run.result.accuracy:.2%} ({low:.2%} to {high:.2%})"
        rows.append(
            (
                f'<svg width="40" height="8">{svg.line(0, 4, 40, 4, *run.look, 3)}</svg>',
                escape(run.label),
                f"{run.pruned.accuracy:.2%}",
                f'<span data-figure="steps">{run.done} of {run.total}</span>',
                f'<span data-figure="result">{result}</span>',
            )
        )
    images = f"of {dense.total:,} images"
    titles = ("line", "removed, schedule", f"pruned, {images}", "steps", f"recovered, {images}")
    return head + html_table(titles, rows, "run")


def pictures(runs: Sequence[Run], dense: float) -> tuple[str, str]:
    """Draw accuracy and loss against the steps, a line for each run."""
    points = [point for run in runs for point in run.points]
    lowest = int(10 * min([*(accuracy for _, accuracy, _ in points), dense, 0.95])) / 10
    highest = max([loss for *_, loss in points if loss is not None], default=0.1)
    return (
        _curves(runs, 1, (lowest, 1.0), "{:.0%}", "Accuracy, 1,000 validation images", dense),
        _curves(runs, 2, (0.0, highest), "{:.2f}", "Training loss (nats)"),
    )


def _curves(
    runs: Sequence[Run],
    column: int,
    span: tuple[float, float],
    form: str,
    title: str,
    dense: float | None = None,
) -> str:
    """Draw a column of the runs' points; the span is that of the vertical axis."""
    (low, high), steps = span, max((run.total for run in runs), default=100)
    left, right = svg.LEFT, svg.WIDTH - svg.RIGHT

    def x(step: int) -> float:
        return left + svg.INNER_WIDTH * step / steps

    def y(value: float) -> float:
        return svg.TOP + svg.INNER_HEIGHT * (high - value) / (high - low)

    marks = [
        svg.text(left, svg.HEIGHT - 18, "0", "start"),
        svg.text(right, svg.HEIGHT - 18, f"{steps}", "end"),
        svg.text(x(steps / 2), svg.HEIGHT - 4, "steps after pruning"),
    ]
    for value in (low, (low + high) / 2, high):
        marks.append(svg.line(left, y(value), right, y(value), "currentColor", "1 4"))
        marks.append(svg.text(left - 4, y(value) + 4, form.format(value), "end"))
    if dense is not None:
        marks.append(svg.line(left, y(dense), right, y(dense), "#777777", "5 4"))
    for run in runs:
        points = [
            (x(point[0]), y(point[column])) for point in run.points if point[column] is not None
        ]
        marks.append(svg.curve(points, *run.look))
    now = ", ".join(f"{run.label}: {run.points[-1][1]:.1%}" for run in runs)
    return svg.picture(title, f"{title}, by steps. {now or 'No run yet'}.", marks)
