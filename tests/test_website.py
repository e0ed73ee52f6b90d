"""What tools/website.py lays out for Sphinx; tests/browser/test_site.py looks at the pages."""

import ast
import os
import re

import lessons
import nbformat
import pytest
import website

import labutils as lab
from labutils import checks, device

FIRST = lessons.lessons([])[0]
ADDRESS = "https://github.com/name/lab"


@pytest.fixture
def published(monkeypatch):
    monkeypatch.setattr(website, "project", lambda: {"urls": {"Repository": ADDRESS}})


def source(name):
    return next(make for path, _, make in website.pages() if path == name)()


def test_while_it_is_published_nowhere_no_lesson_leads_there(monkeypatch):
    monkeypatch.setattr(website, "project", dict)
    assert website.repository() == ""
    assert not [name for name, _, _ in website.pages() if "elsewhere" in name]
    assert "colab" not in source(f"notebooks/{FIRST.name}").lower()


def test_once_it_is_published_each_lesson_can_be_opened_elsewhere(published):
    text = source(f"notebooks/{FIRST.name}")
    for service in (
        "colab.research.google.com/github/name/lab/",
        "kaggle.com",
        "mybinder.org/v2/gh/name/lab/",
    ):
        assert service in text
    copy = nbformat.reads(source(f"_extra/elsewhere/{FIRST.name}"), as_version=4)
    nbformat.validate(copy)
    assert f"git+{ADDRESS}" in copy.cells[0].source
    assert copy.cells[1:] == nbformat.read(FIRST, as_version=4).cells
    code = re.sub(r"%pip install", "raise SystemExit  #", copy.cells[0].source)
    exec(compile(ast.parse(code), "cell", "exec"), {})  # where the lab is, nothing is installed


def test_readings_are_shown_without_their_source():
    path = lessons.lessons(["02_magnitude_pruning"])[0]
    cells = website.for_page(nbformat.read(path, as_version=4), path.name).cells
    tagged = [cell.metadata.get("tags", []) for cell in cells]
    assert any(lessons.READING in tags for tags in tagged)
    assert all(("remove-input" in tags) == (lessons.READING in tags) for tags in tagged)


def test_every_public_name_is_described_and_its_program_shown():
    text = source("api.md")
    rooms = {"labutils": lab, "labutils.device": device, "labutils.checks": checks}
    for name, module in website.offered().items():
        room, _, last = name.rpartition(".")
        assert getattr(rooms[room], last).__module__ == module
        assert re.search(rf"^\.\. auto(class|function):: {name}$", text, re.MULTILINE)
        assert website.shown(name) == module.replace(".", "/") + ".py.html"
    assert "labutils.prune_magnitude" in website.offered()
    assert "labutils.device.quantize_int8" in website.offered()
    assert "labutils.checks.magnitude_mask" in website.offered()


def test_only_what_changed_is_written_again(tmp_path):
    target, origin = tmp_path / "target", tmp_path / "origin"
    origin.touch()
    assert not website.is_newer(target, [origin])
    website.write(target, "text")
    stamp = origin.stat().st_mtime
    for offset, newer in ((-10, True), (10, False)):
        os.utime(origin, (stamp + offset, stamp + offset))
        assert website.is_newer(target, [origin]) == newer
