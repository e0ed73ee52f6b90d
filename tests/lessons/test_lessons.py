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
def test_stored_notebook_is_clean_and_has_the_parts_of_every_lesson(path):
    notebook = nbformat.read(path, as_version=4)
    assert lessons.problems(notebook) == []
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    parts = ["| Time |", "| Builds on |", "> **Predict.**", "## Summary", "### Did you get it?"]
    parts += ["### For the curious", "### Next", "### References"]
    assert [part for part in parts if part not in text] == []
    assert text.count("<details>") == text.count("</details>") >= 3
    assert any(lessons.CHECKED in cell.metadata.get("tags", []) for cell in notebook.cells)


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


def shows(*arguments, **options):
    """Give the last cell this output."""
    return lambda notebook: notebook.cells[3].update(outputs=[new_output(*arguments, **options)])


def last_cell(**fields):
    return lambda notebook: notebook.cells[3].update(fields)


@pytest.mark.parametrize(
    ("problem", "spoil"),
    [
        ("cell two: its stored output is an error", shows("error", ename="E", evalue="e")),
        ("not run once each, in order", lambda n: n.cells[1].update(execution_count=3)),
        ("not run once each, in order", last_cell(execution_count=None)),
        ("cell one: its output is missing", lambda n: n.cells[1].update(outputs=[])),
        ("used twice", last_cell(id="one")),
        ("not in normal form", lambda n: n.metadata.update(widgets={})),
        ("cell two: it has more than 18 lines", last_cell(source="x = 3\n" * 19)),
        ("lines of more than 100 characters", last_cell(source=f"x = {'3' * 100}")),
        ("warnings", shows("stream", name="stderr", text="careful")),
        ("unknown tags nbval-check-ouput", last_cell(metadata={"tags": ["nbval-check-ouput"]})),
        ("to be compared, but has no", last_cell(metadata={"tags": [lessons.CHECKED]})),
        ("no description", shows("display_data", {"image/png": "iVBORw0KGgo="})),
        ("less text than code", lambda n: n.update(cells=[n.cells[1], n.cells[3]])),
    ],
)
def test_each_problem_is_found(good, problem, spoil):
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


@pytest.mark.slow
def test_storing_twice_changes_no_text(course):
    lessons.store([])
    stored = course.read_bytes()
    assert lessons.problems(nbformat.read(course, as_version=4)) == []
    lessons.store(["01_only"])
    assert course.read_bytes() == stored
    lessons.store([], force=True)
    assert course.read_bytes() != stored  # the time of day is another one


@pytest.mark.slow
def test_run_makes_pages_and_leaves_notebooks(course):
    before = course.read_bytes()
    lessons.run([])
    page = (course.parents[1] / "build" / "01_only.html").read_text()
    assert "That was two." in page
    assert course.read_bytes() == before


@pytest.mark.slow
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
