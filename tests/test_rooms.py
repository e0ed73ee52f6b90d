"""The house keeps its order: imports run one way, and a call passes few files."""

import ast
import sys
from pathlib import Path

import pytest
import torch

import labutils as lab

LAB = Path(lab.__file__).parent
ROOMS = ("base", "fit", "cost", "prune", "study", "look")  # each may import those before it
ASIDE = ("device", "checks", "practice", "page")  # may import all rooms; practice: checks too


def imported(file: Path) -> set[str]:
    """The rooms a module imports from."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        modules |= {name.split(".")[1] for name in names if name.startswith("labutils.")}
    return modules & {*ROOMS, *ASIDE}


@pytest.mark.parametrize("room", [*ROOMS, *ASIDE])
def test_imports_run_one_way(room):
    allowed = {*ROOMS, room} if room in ASIDE else {*ROOMS[: ROOMS.index(room) + 1]}
    allowed |= {"checks"} if room == "practice" else set()
    files = list((LAB / room).glob("*.py"))
    assert len(files) > 1
    for file in files:
        assert imported(file) <= allowed, file.name


def test_public_names_are_few():
    public = [name for name, value in vars(lab).items() if callable(value) and name[0] != "_"]
    assert len(public) <= 78


def passed(call) -> tuple[set[str], int]:
    """The files of labutils that a call passes, and how deep they call each other."""
    files, depth, deepest = set(), 0, 0

    def note(frame, event, _argument):
        nonlocal depth, deepest
        inside = frame.f_code.co_filename.startswith(str(LAB))
        inside &= frame.f_code.co_name[0] != "<"  # comprehensions, a call before Python 3.12
        if inside and event in ("call", "return"):
            files.add(Path(frame.f_code.co_filename).name)
            depth += 1 if event == "call" else -1
            deepest = max(deepest, depth)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files, deepest


@pytest.mark.parametrize(
    "call",
    [
        lambda net, few: lab.train(net, few, epochs=1, progress=False),
        lambda net, few: lab.fine_tune(net, few, epochs=1, progress=False),
        lambda net, few: lab.evaluate(net, few.test),
        lambda net, few: lab.prune_magnitude(net, 0.5),
        lambda net, few: lab.prune_filters(net, 0.5),
    ],
    ids=["train", "fine_tune", "evaluate", "prune_magnitude", "prune_filters"],
)
def test_a_reader_passes_few_files(call):
    split = lab.Split(torch.randn(200, 1, 28, 28), torch.arange(200) % 10)
    net = lab.SimpleCNN((2, 2, 2))
    few = lab.Digits(split, split, split)
    files, depth = passed(lambda: call(net, few))
    assert len(files) <= 3, files
    assert depth <= 5
