"""Hostile submissions cost themselves only: graded by real nbgrader, in the real sandbox."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip("nbgrader", reason="the extra [teacher] is not installed")

from submissions import HOSTILE, NEVER, Class, hashes

from classroom import examine, sandbox
from classroom.apart import apart
from classroom.assignment import PROJECT, defined
from classroom.session import Session

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(sandbox.available()), reason=sandbox.available() or "there is one"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]
# Two seconds for what never ends, an hour for the rest, on a machine however slow.
LIMITS = '{"cell": 3600, "call": 3600, "start": 3600, "total": 36000}'


class Impatient(Session):
    """Waits for what says that it never ends for an 1,800th of the time."""

    endless: frozenset[str] = frozenset()

    def run(self, name, source):
        functions = set(defined(source)) if NEVER in source else set()
        if functions or NEVER not in source:
            self.endless |= functions
            return super().run(name, source)
        patience = self.limits
        try:
            # Nothing was lost so far, so that no other cell is run again under this limit.
            self.limits = replace(patience, cell=patience.cell / 1800)
            return super().run(name, source)
        finally:
            self.limits = patience

    def call(self, function, *arguments, seconds=None, **options):
        if function in self.endless:
            seconds = self.limits.call / 1800
        return super().call(function, *arguments, seconds=seconds, **options)


def outside() -> dict[str, str]:
    """Return what stands for every file of the project that a submission could have changed."""
    kept = ("labutils", "data", "models", "notebooks")
    found = {f"{name}/{path}": h for name in kept for path, h in hashes(PROJECT / name).items()}
    return {path: h for path, h in found.items() if "__pycache__" not in path}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    graded = Class(tmp_path_factory.mktemp("class"), HOSTILE, "--limits", LIMITS)
    graded.before = {**hashes(graded.submissions), **outside()}
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(examine, "Session", Impatient)
        graded.grade()
    return graded


@pytest.mark.parametrize("name", HOSTILE)
def test_it_gets_the_points_of_its_right_answers_and_is_remarked(graded, name):
    row, expected = graded.rows[name], HOSTILE[name]
    assert {title: row[title] for title in expected.points} == expected.points
    assert row["status"] == "done"
    assert [remark for remark in expected.remarks if remark not in row["remarks"]] == []
    page = graded.feedback(row["student"])
    assert [text for text in expected.told if text not in page] == []


def test_all_that_was_seen_of_the_outside_is_nothing(graded):
    assert len(re.findall(r"RuntimeError: \[\]\n", graded.feedback("spies"))) >= 6


def test_nothing_outside_the_sandboxes_changed(graded):
    assert {**hashes(graded.submissions), **outside()} == graded.before


@pytest.mark.parametrize(
    ("work", "seconds", "gives"),
    [
        (lambda: {"a": "ä"}, 3600, ({"a": "ä"}, "")),
        (lambda: time.sleep(3600), 0.2, (None, "took longer than 0.2 s")),
        (lambda: {"size": len(bytes(10**10))}, 3600, (None, "took more memory than there is")),
        (lambda: os._exit(0), 3600, (None, "took more memory than there is")),
    ],
)
def test_work_apart_costs_itself_alone(work, seconds, gives):
    assert apart(work, seconds, 10**9) == gives


TOGETHER = """import torch
from classroom.apart import apart
torch.set_num_threads(2)
total = lambda: {"total": torch.ones(2000, 2000).sum().item()}
there = total()  # with two threads, which a copy of this process will not have
print(apart(total, 60, 10**9) == (there, ""))
"""


def test_work_apart_ends_where_pytorch_used_several_threads_before():
    """As in `make handout`, where nobody set the number of threads."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", TOGETHER]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
