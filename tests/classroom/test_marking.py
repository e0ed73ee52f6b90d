"""A teacher marks answers in nbgrader's formgrader: a real JupyterLab, a real browser."""

import re

import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

import nbformat
from browser import server
from submissions import HTML

from classroom.assignment import NAME, SOURCE, course_file, parts
from classroom.examine import Mark
from classroom.gradebook import Course
from classroom.restore import restore

pytestmark = pytest.mark.browser
ANSWER = "Zeros are stored like other numbers."


def course(folder):
    """Make a course with one submission, whose author wants to do more than to answer."""
    course = Course(folder)
    course.prepare()
    released = parts(course_file(course.folder, "release"))
    notebook = nbformat.read(SOURCE, as_version=4)
    next(cell for cell in notebook.cells if cell.id == "q1-answer").source = f"{ANSWER} {HTML}"
    right = {p.name: Mark("right", p.points, "right") for p in released if p.kind == "check"}
    course.record("mallory", restore(notebook, released), right)


@pytest.fixture(scope="module")
def page(browser):
    with server(course) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(address)  # logs in
        page.goto(f"{address.split('/lab?')[0]}/formgrader/gradebook/{NAME}/{NAME}")
        page.get_by_role("link", name="Submission #1").click()
        page.get_by_text(ANSWER).wait_for()
        yield page


def test_the_marking_scheme_stands_above_the_answer(page):
    scheme = page.get_by_text("Marking scheme.").first.bounding_box()
    answer = page.get_by_text(ANSWER).bounding_box()
    assert 0 < answer["y"] - scheme["y"] < 300


def test_the_teachers_session_is_not_the_students(page):
    assert page.get_by_text("script>window.hacked = true").count() > 0  # read, not run
    assert page.evaluate("window.hacked") is None
    assert page.get_by_role("link", name=re.compile("look|ads.example")).count() == 0
