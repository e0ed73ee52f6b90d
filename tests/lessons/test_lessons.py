"""The stored notebooks, and the program that runs and stores them."""

import subprocess
import sys

import lessons
import nbformat
import pytest
from conftest import PROJECT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebook_is_clean(path):
    assert lessons.problems(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_lesson_has_the_parts_of_every_lesson(path):
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for part in ("| Time |", "| Builds on |", "## Summary", "### Did you get it?"):
        assert part in text, part
    for part in ("> **Predict.**", "### For the curious", "### Next", "### References"):
        assert part in text, part
    assert text.count("<details>") == text.count("</details>") >= 3
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    assert any(lessons.CHECKED in cell_tags for cell_tags in tags)


@pytest.fixture
def good():
    shown = new_output("execute_result", {"text/plain": "2"}, execution_count=1)
    cells = [
        new_markdown_cell("# Title", id="title"),
        new_code_cell("1 + 1", id="one", execution_count=1, outputs=[shown]),
        new_markdown_cell("That was two.", id="text"),
        new_code_cell("x = 3", id="two", execution_count=2),
    ]
    return lessons.normalise(new_notebook(cells=cells))


def test_good_notebook_has_no_problems(good):
    assert lessons.problems(good) == []


def spoil_error(notebook):
    notebook.cells[3].outputs = [new_output("error", ename="E", evalue="e", traceback=[])]


def spoil_order(notebook):
    notebook.cells[1].execution_count, notebook.cells[3].execution_count = 2, 1


def spoil_gap(notebook):
    notebook.cells[3].execution_count = None


def spoil_output(notebook):
    notebook.cells[1].outputs = []


def spoil_ids(notebook):
    notebook.cells[3]["id"] = "one"


def spoil_metadata(notebook):
    notebook.metadata["widgets"] = {}


def spoil_length(notebook):
    notebook.cells[3].source = "x = 3\n" * 19


def spoil_stderr(notebook):
    notebook.cells[3].outputs = [new_output("stream", name="stderr", text="careful")]


def spoil_tag(notebook):
    notebook.cells[3].metadata = {"tags": ["nbval-check-ouput"]}


def spoil_picture(notebook):
    notebook.cells[3].outputs = [new_output("display_data", {"image/png": "iVBORw0KGgo="})]


def spoil_text(notebook):
    del notebook.cells[2], notebook.cells[0]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_error, "cell two: its stored output is an error"),
        (spoil_order, "not run once each, in order"),
        (spoil_gap, "not run once each, in order"),
        (spoil_output, "cell one: its output is missing"),
        (spoil_ids, "used twice"),
        (spoil_metadata, "not in normal form"),
        (spoil_length, "cell two: it has more than 18 lines"),
        (spoil_stderr, "warnings"),
        (spoil_tag, "unknown tags nbval-check-ouput"),
        (spoil_picture, "no description"),
        (spoil_text, "less text than code"),
    ],
)
def test_each_problem_is_found(good, spoil, problem):
    spoil(good)
    found = lessons.problems(good)
    assert any(problem in sentence for sentence in found), found


def test_normal_form_keeps_the_end_of_a_progress_bar(good):
    bar = [
        new_output("stream", name="stdout", text="first\n\r 10%"),
        new_output("stream", name="stdout", text="\r100%\nlast\n"),
    ]
    good.cells[3].outputs = bar
    (stream,) = lessons.normalise(good).cells[3].outputs
    assert stream.text == "first\n100%\nlast\n"
    assert lessons.normalise(lessons.normalise(good)) == lessons.normalise(good)


@pytest.fixture
def course(tmp_path, monkeypatch, good):
    """A course of one lesson, with a measured figure, not run yet."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(lessons, "PROJECT", tmp_path)
    monkeypatch.setattr(lessons, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(lessons, "BUILD", tmp_path / "build")
    good.cells[3].source = "import time\ntime.time()"
    good.cells[3].metadata = {"tags": ["measured"]}
    path = tmp_path / "notebooks" / "01_only.ipynb"
    nbformat.write(good, path)
    return path


def test_storing_twice_changes_no_text(course):
    lessons.store([])
    stored = course.read_bytes()
    assert lessons.problems(nbformat.read(course, as_version=4)) == []
    lessons.store(["01_only"])
    assert course.read_bytes() == stored
    lessons.store([], force=True)
    assert course.read_bytes() != stored  # the time of day is another one


def test_run_makes_pages_and_leaves_notebooks(course):
    before = course.read_bytes()
    lessons.run([])
    page = (course.parents[1] / "build" / "01_only.html").read_text()
    assert "That was two." in page
    assert course.read_bytes() == before


def test_failing_lesson_is_named_and_not_stored(course):
    notebook = nbformat.read(course, as_version=4)
    notebook.cells[1].source = "1 / 0"
    nbformat.write(notebook, course)
    before = course.read_bytes()
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        lessons.store([])
    assert course.read_bytes() == before


def test_unknown_lesson_is_refused_with_the_list():
    with pytest.raises(SystemExit, match=r"No lesson 09_nothing: choose 00_start_here, 01_tr"):
        lessons.lessons(["09_nothing"])


def test_network_is_really_cut_for_the_notebooks():
    """`make test` runs the notebooks through this program; it must cut, and keep loopback."""
    code = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), 5)\n"
        "try: socket.create_connection(('192.0.2.1', 80), 5)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    command = [sys.executable, PROJECT / "tools" / "offline.py", "--strict", sys.executable]
    process = subprocess.run([*command, "-c", code], capture_output=True, text=True)
    if "nothing was run" in process.stderr:
        pytest.skip(process.stderr.strip())
    assert process.stdout.strip() == "Network is unreachable", process.stderr
