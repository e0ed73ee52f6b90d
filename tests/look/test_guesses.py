import json

import pytest

import labutils as lab
from labutils.look import guesses


@pytest.fixture(autouse=True)
def new_kernel(monkeypatch):
    monkeypatch.setattr(guesses, "GUESSES", {})
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    guesses._saved.cache_clear()
    yield
    guesses._saved.cache_clear()


@pytest.fixture
def said(monkeypatch):
    """What the line below each field says, and what the notebook keeps beside it."""
    lines = {}

    def note(handle, obj, raw, metadata=None):
        assert raw
        lines[handle.display_id] = (obj["text/plain"], metadata)

    for method in ("display", "update"):
        monkeypatch.setattr(guesses.DisplayHandle, method, note)
    return lambda guess: lines[guess.line.display_id]


def test_nobody_has_to_guess(said):
    guess = lab.guess("accuracy with half")
    assert said(guess) == ("No guess yet.", None)
    assert guess.beside(99.2) == ""
    assert repr(lab.guesses()) == "No guess was given here."
    assert "<table" not in lab.guesses()._repr_html_()


@pytest.mark.parametrize(
    ("answers", "moved", "truth", "line", "answer"),
    [
        ({}, 97, 99.26, "97%", "97%. It is 99.3%: 2.26 points too low."),
        ({}, 98, 99.26, "98%", "98%. Right: it is 99.3%."),
        ({"answers": "kB"}, "426,381", 427_000.0, "426,381 kB", "Right: it is 427,000 kB."),
        ({"answers": ""}, "100.416", 100, "100.416", "100. Right: it is 100."),
        ({"answers": "times"}, "3,5", 2, "3.5 times", "It is 2 times: 1.5 times too high."),
        ({"answers": ""}, "-1", 4, "-1", "-1. It is 4: 5 too low."),
        ({"answers": "steps", "low": 0, "high": 300}, 30, 33, "30 steps", "Right: it is 33 steps."),
        ({"answers": ["conv1", "fc1"]}, "fc1", "fc1", "fc1", "fc1. Right: it is fc1."),
        ({"answers": ["conv1", "fc1"]}, "conv1", "fc1", "conv1", "conv1. It is fc1."),
    ],
)
def test_guess_is_kept_and_stands_beside_the_truth(said, answers, moved, truth, line, answer):
    guess = lab.guess("the question", **answers)
    guess.field.value = moved
    assert said(guess) == (f"Your guess: {line}", {"guess": {"the question": guess.value}})
    assert guess.beside(truth).startswith("\n\n**Your guess** for *the question*: ")
    assert guess.beside(truth).endswith(answer)
    html = lab.guesses()._repr_html_()
    assert "the question" in html
    assert html.startswith(f"<p>{int('Right' in answer)} of 1 guesses were right, or nearly.")


def test_table_shows_the_answered_ones_in_order(said):
    first, second, _ = (lab.guess(f"question {i} <b>", "%") for i in range(3))
    for guess, value in ((second, 20), (first, 50)):
        guess.field.value = value
        guess.beside(51)
    html = lab.guesses()._repr_html_()
    assert html.index("question 0 &lt;b&gt;") < html.index("question 1 &lt;b&gt;")
    assert "question 2" not in html
    assert html.count("<svg") == 2
    assert repr(lab.guesses()) == "1 of 2 guesses were right, or nearly."


def test_what_is_no_number_is_no_guess(said):
    guess = lab.guess("size", "kB")
    guess.field.value = "12"
    for text in ("many", "nan", "inf", "1.2.3"):
        guess.field.value = text
        assert guess.value is None
        assert said(guess) == ("This is not a number: write it as 1234.5", None)
    guess.field.value = ""
    assert said(guess) == ("No guess yet.", None)


@pytest.mark.parametrize("truth", [None, "many", float("nan"), True])
def test_truth_must_be_one(truth):
    with pytest.raises((TypeError, ValueError), match=r"^truth=.*: give a finite number\.$"):
        lab.guess("size", "kB").beside(truth)
    with pytest.raises((TypeError, ValueError), match=r"^truth=.*: choose 'a', 'b'\.$"):
        lab.guess("which", ["a", "b"]).beside(truth)


def test_cell_run_again_keeps_the_guess(said):
    lab.guess("share").field.value = 40
    again = lab.guess("share")
    assert (again.value, again.field.value) == (40, 40)
    assert said(again)[0] == "Your guess: 40%"
    other = lab.guess("share", ["a", "b"])  # the cell was changed: 40 is no answer any more
    assert other.value is None


def saved(path, kept):
    outputs = [{"metadata": {}}, {"metadata": {"guess": kept}}, {}]
    cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": outputs}]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")


def test_new_kernel_reads_the_guess_from_the_saved_notebook(said, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "lesson.ipynb"))
    kept = {"share": 33.0, "which": "b", "size": 7, "far": 900.0, "odd": {"a": 1}, "true": True}
    saved(tmp_path / "lesson.ipynb", kept)
    assert lab.guess("share").value == 33
    assert lab.guess("which", ["a", "b"]).field.value == "b"
    assert lab.guess("size", "kB").field.value == "7"
    for question in ("far", "odd", "true", "unknown"):
        assert lab.guess(question).value is None


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"cells": 3}', '{"cells": [[]]}'])
def test_notebook_that_cannot_be_read_holds_no_guess(tmp_path, monkeypatch, content):
    path = tmp_path / "lesson.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    if content is not None:
        path.write_text(content)
    assert lab.guess("share").value is None
