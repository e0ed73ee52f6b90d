"""A guess before the answer: a field to give it in, later the distance to the truth."""

import functools
import json
import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import ipywidgets
from IPython.display import DisplayHandle, display

from labutils.base import given
from labutils.look.svg import line
from labutils.look.widgets import html_table

GUESSES: dict[str, "Guess"] = {}  # of this kernel, by question, in the order they were asked
NEAR = 0.02  # of the range: so close a guess counts as right
RUN = "<em>Run this cell to give your guess.</em>"  # where no field can be shown
LEFT = "<style>.lab-guess > .widget-label { text-align: left }</style>"
WIDTH, HEIGHT = 160, 16  # of a line in the summary, in pixels


def guess(
    question: str, answers: str | Sequence[str] = "%", low: float | None = None, high: float = 0
) -> "Guess":
    """Ask for a guess, in a field that is displayed at once; nobody has to give one.

    A guess stays when the cell is run again, and in the notebook that is saved with it: its
    output says what was guessed, and is read when the cell runs in another kernel.

    Parameters
    ----------
    question : in a few words, as "accuracy with half of the weights"; says which guess it is
    answers : the unit of a number, "" for none, or two or more words to choose from
    low, high : the ends of a slider for the number; for "%" it goes from 0 to 100. Without
        them the number is written

    Returns
    -------
    A `Guess`. ``guess.beside(truth)``, at the end of the text that gives the answer, is the
    guess beside the truth, or nothing where nobody guessed; `guesses` sums all up.

    Raises
    ------
    TypeError, ValueError
        The question is no text, there are fewer than two choices, `low` is not below `high`.
    """
    if not given.instance(question, str, "question", "a few words").strip():
        raise ValueError(f"question={question!r}: say in a few words what is to be guessed.")
    if isinstance(answers, str):
        if (low, answers) == (None, "%"):
            low, high = 0, 100
        if low is not None:
            low, high = given.number(low, "low"), given.number(high, "high")
            if not low < high:
                raise ValueError(f"low={low:g}, high={high:g}: a slider needs low below high.")
        asked = Guess(question, unit=answers, span=None if low is None else (low, high))
    else:
        choices = given.several(answers, "answers", _word, "two or more words to choose from")
        if len(set(choices)) < 2:
            raise ValueError(f"answers={choices!r}: give two or more words to choose from.")
        asked = Guess(question, choices=choices)
    asked.show(GUESSES.get(question))
    GUESSES[question] = asked
    return asked


def guesses() -> "Guesses":
    """Return all guesses of this notebook beside the truth, as a table; displayed by Jupyter."""
    return Guesses(asked for asked in GUESSES.values() if None not in (asked.value, asked.truth))


class Guess:
    """What `guess` returns.

    Attributes
    ----------
    value : what was guessed, a number or one of the choices; None as long as nothing was
    truth : what it turned out to be, once `beside` was told
    """

    def __init__(
        self,
        question: str,
        unit: str = "",
        span: tuple[float, float] | None = None,
        choices: Sequence[str] = (),
    ) -> None:
        self.question, self.unit, self.span, self.choices = question, unit, span, choices
        self.value: float | str | None = None
        self.truth: float | str | None = None
        self.line = DisplayHandle()  # what was guessed, in words
        style, layout = {"description_width": "initial"}, {"width": "min(100%, 420px)"}
        layout |= {"flex_flow": "column", "align_items": "stretch", "height": "auto"}  # name above
        blank = "" if unit == "%" else " "
        ends = f"{_number(span[0])} to {_number(span[1])}{blank}" if span else ""
        name = f"{question}, {ends}{unit}".strip(", ")
        kind, options = ipywidgets.Text, {"placeholder": "a number, as 1234.5"}
        if choices:
            kind, options = ipywidgets.ToggleButtons, {"options": choices, "value": None}
            style |= {"button_width": "auto"}
        elif span:
            kind = ipywidgets.FloatSlider
            step = 10 ** math.floor(math.log10((span[1] - span[0]) / 100))
            options = {"min": span[0], "max": span[1], "value": span[0], "step": step}
            options["readout"] = False  # it would show a number before there is a guess
            layout["height"] = "56px"  # of its name and of all of its handle
        self.field = kind(description=name, style=style, layout=layout, **options)
        self.field.add_class("lab-guess")

    def show(self, before: "Guess | None" = None) -> None:
        """Display the field, and below it what has been guessed: now, or when it was saved."""
        value = before.value if before else _saved().get(self.question)
        if self._allowed(value):
            self.value = value
            self.field.value = value if self.choices or self.span else _number(value)
        self.field.observe(self._moved, "value")
        left = ipywidgets.HTML(LEFT, layout={"display": "none"})  # holds for the page all the same
        kept = ipywidgets.VBox([left, self.field])._repr_mimebundle_()
        kept |= {"text/plain": self.question, "text/html": f"<p>{escape(self.question)}? {RUN}</p>"}
        display(kept, raw=True)
        self.line.display(**self._said())

    def beside(self, truth: float | str) -> str:
        """Return the guess beside the truth, in Markdown after an empty line; or nothing.

        Parameters
        ----------
        truth : a finite number of the unit asked for, or one of the choices
        """
        known = self.choices
        self.truth = given.choice(truth, "truth", known) if known else given.number(truth, "truth")
        if self.value is None:
            return ""
        return f"\n\n**Your guess** for *{self.question}*: {self.written(self.value)}. {self.apart}"

    def written(self, value: float | str, exactly: bool = False) -> str:
        """Return a value with its unit; exactly, or with three digits.

        >>> Guess("size", "kB").written(1234.56), Guess("share", "%").written(99.26)
        ('1,235 kB', '99.3%')
        """
        if self.choices:
            return str(value)
        blank = "" if self.unit in ("", "%") else " "
        return f"{f'{value:,.12g}' if exactly else _number(value)}{blank}{self.unit}"

    @property
    def right(self) -> bool:
        """Whether the guess is the truth, of numbers nearly."""
        if self.choices:
            return self.value == self.truth
        low, high = self.span or (0, abs(self.truth))
        return abs(self.value - self.truth) <= NEAR * (high - low)

    @property
    def apart(self) -> str:
        """In a sentence, how far the guess is from the truth."""
        if self.right:
            return f"Right: it is {self.written(self.truth)}."
        if self.choices:
            return f"It is {self.written(self.truth)}."
        distance = self.value - self.truth
        unit = "points" if self.unit == "%" else self.unit
        far = f"{_number(abs(distance))} {unit}".strip()
        word = "high" if distance > 0 else "low"
        return f"It is {self.written(self.truth)}: {far} too {word}."

    def _moved(self, change: dict) -> None:
        value = change["new"]
        if not (self.choices or self.span):
            value = _parsed(value)
        self.value = value if self._allowed(value) else None
        self.line.update(**self._said())

    def _allowed(self, value: object) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        low, high = self.span or (-math.inf, math.inf)
        return math.isfinite(value) and low <= value <= high

    def _said(self) -> dict:
        """Return what the notebook keeps of the guess, for `display`."""
        if self.value is not None:
            said = f"Your guess: {self.written(self.value, exactly=True)}"
            kept = {self.question: self.value}
        elif isinstance(self.field, ipywidgets.Text) and self.field.value.strip():
            said, kept = "This is not a number: write it as 1234.5", {}
        else:
            said, kept = "No guess yet.", {}
        html = f'<p aria-live="polite"><em>{escape(said)}</em></p>'
        metadata = {"guess": kept} if kept else None
        return {"obj": {"text/plain": said, "text/html": html}, "raw": True, "metadata": metadata}


class Guesses(list):
    """The guesses that were given and answered, as a table."""

    def __repr__(self) -> str:
        right = sum(asked.right for asked in self)
        said = f"{right} of {len(self)} guesses were right, or nearly."
        return said if self else "No guess was given here."

    def _repr_html_(self) -> str:
        """Return a line for each guess: what was guessed, what is true, and how far apart."""
        titles = ("question", "guess", "truth", "o guess, | truth")
        rows = [
            (
                escape(asked.question),
                *(escape(asked.written(value)) for value in (asked.value, asked.truth)),
                _drawn(asked),
            )
            for asked in self
        ]
        return f"<p>{escape(repr(self))}</p>" + (html_table(titles, rows) if rows else "")


def _drawn(asked: Guess) -> str:
    """Draw a guess (a ring) and the truth (a stroke) on the range; of choices, a word."""
    if asked.choices:
        return "right" if asked.right else "another"
    values = (asked.value, asked.truth)
    low, high = asked.span or (min(0, *values), max(0, *values) or 1)
    guessed, true = (6 + (WIDTH - 12) * (value - low) / (high - low) for value in values)
    middle = HEIGHT / 2
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" style="min-width: {WIDTH}px" role="img" '
        f'aria-label="{escape(asked.apart)}">'
        + line(6, middle, WIDTH - 6, middle, "currentColor", "1 3")
        + line(true, 1, true, HEIGHT - 1, "#0072B2", "", 3)
        + f'<circle cx="{guessed:.1f}" cy="{middle}" r="5" fill="none" stroke="#D55E00" '
        'stroke-width="2"/></svg>'
    )


def _number(value: float) -> str:
    """Write a number with three digits, or all before the point.

    >>> _number(426381.0), _number(0.01234), _number(7)
    ('426,381', '0.0123', '7')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _parsed(text: str) -> float | None:
    """Read a number as people write it: a comma parts thousands only where it can.

    >>> _parsed("426,381"), _parsed("0,5"), _parsed("97 %"), _parsed("many")
    (426381.0, 0.5, 97.0, None)
    """
    bare = text.strip().rstrip("%").replace(" ", "").replace("_", "")
    head, *groups = bare.split(",")
    if groups and head.lstrip("+-") != "0" and all(len(g.split(".")[0]) == 3 for g in groups):
        bare = bare.replace(",", "")
    try:
        return float(bare.replace(",", "."))
    except ValueError:
        return None


def _word(value: object, name: str) -> str:
    return given.instance(value, str, name, "a word")


@functools.cache  # the guesses of this kernel are known without it
def _saved() -> dict[str, float | str]:
    """Return the guesses that the running notebook held when it was last saved."""
    try:
        notebook = json.loads(Path(os.environ["JPY_SESSION_NAME"]).read_text(encoding="utf-8"))
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
        kept = [output.get("metadata", {}).get("guess", {}) for output in outputs]
        return {question: value for part in kept for question, value in part.items()}
    except (KeyError, OSError, ValueError, TypeError, AttributeError):
        return {}  # no notebook, or none that can be read: nothing was guessed
