"""Makes a class of submissions to grade: good ones, clumsy ones, and hostile ones."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

import labutils as lab
from classroom.assignment import NAME, SOURCE
from classroom.values import pack
from labutils.checks.design import MIME

MARKER = re.compile(r"^\s*### (BEGIN|END) SOLUTION\n?", re.MULTILINE)


class Desk:
    """Where a student of the test sits: the blank notebook, and the solutions to fill in."""

    def __init__(self, release: Path) -> None:
        self.blank = nbformat.read(release, as_version=4)
        solved = nbformat.read(SOURCE, as_version=4)
        self.solutions = {cell.id: MARKER.sub("", cell.source) for cell in solved.cells}
        self.network = next(cell.outputs for cell in solved.cells if cell.id == "ex8-check")

    def solved(self, *exercises: str, **instead: str) -> NotebookNode:
        """Return the notebook with these exercises solved, or all; `instead` by name of the cell.

        In the names of cells given by keyword, `_` stands for `-`.
        """
        notebook = copy.deepcopy(self.blank)
        other = {name.replace("_", "-"): source for name, source in instead.items()}
        for cell in notebook.cells:
            chosen = not exercises or cell.id.startswith(exercises)
            if cell.metadata.nbgrader.solution and chosen:
                cell.source = self.solutions[cell.id]
            if cell.id == "ex8-check" and chosen:
                cell.outputs = copy.deepcopy(self.network)
            if cell.metadata.nbgrader.grade and cell.cell_type == "markdown":
                cell.source = "YOUR ANSWER HERE"  # so that nothing is left to mark by hand
            cell.source = other.get(cell.id, cell.source)
        return notebook

    def blank_source(self, name: str) -> str:
        """Return a cell as the students get it."""
        return next(cell.source for cell in self.blank.cells if cell.id == name)

    def with_cell(self, source: str, place: int = 5) -> NotebookNode:
        """Return the solved notebook with a cell added."""
        notebook = self.solved()
        notebook.cells.insert(place, new_code_cell(source))
        return notebook


def function(name: str, arguments: str, body: str) -> str:
    """Return the source of a function."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"def {name}({arguments}):\n{lines}\n"


def without(notebook: NotebookNode, drop: Callable[[NotebookNode], bool]) -> NotebookNode:
    """Return the notebook without some cells."""
    notebook.cells = [cell for cell in notebook.cells if not drop(cell)]
    return notebook


def writes_html(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with cells that a browser would obey."""
    notebook.cells[3:3] = [new_markdown_cell(HTML), new_raw_cell(HTML)]
    return notebook


def of_another_editor(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as some editors save it: against the letter of the format."""
    notebook.nbformat_minor = 4  # which knows no cell ids
    for cell in notebook.cells:
        cell["vscode"] = {"languageId": "python"}
        for output in cell.get("outputs", ()):
            output["jetTransient"] = {"display_id": None}
    return notebook


def stripped(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as a tool leaves it that keeps neither metadata nor cell ids."""
    for place, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = {}, f"cell-{place}"
    return notebook


def learns_by_heart(desk: Desk) -> NotebookNode:
    """Return the solved notebook with a network that was trained on the validation images."""
    digits = lab.load_mnist()
    network = lab.prune_magnitude(lab.prune_filters(lab.load_pretrained(0), 0.6), 0.77)
    shown = lab.Digits(digits.validation, digits.validation, digits.test)
    lab.fine_tune(network, shown, epochs=16, progress=False)
    notebook = desk.solved()
    check = next(cell for cell in notebook.cells if cell.id == "ex8-check")
    check.outputs = [new_output("display_data", {"text/plain": "", MIME: pack(network)})]
    return notebook


def is_check(cell: NotebookNode) -> bool:
    """Tell a check, which a student may not change, from the rest."""
    return cell.metadata.nbgrader.grade and cell.cell_type == "code"


def edited(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with every check replaced by one that cannot fail."""
    for cell in notebook.cells:
        if is_check(cell):
            cell.source = "print('right')"
    return notebook


def copied(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with a solution and its check there twice, ids and all."""
    place = next(i for i, cell in enumerate(notebook.cells) if cell.id == "ex2-check")
    notebook.cells[place + 1 : place + 1] = copy.deepcopy(notebook.cells[place - 1 : place + 1])
    return notebook


MASK = ("magnitude_mask", "weight, amount")
FIRST = ("sparsity_and_bytes", "network")
STUBBORN = """\
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""
FLOOD = """\
import os, sys
for _ in range(2000):
    print("x" * 100_000)
    sys.stderr.write("y" * 100_000)
    os.write(1, b"z" * 100_000)
"""
ALWAYS_EQUAL = """\
class Yes:
    shape, dtype = weight.shape, torch.bool
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __invert__(self): return self
    def __bool__(self): return True
    def __hash__(self): return 0
return Yes()
"""
STRIPPER = """\
import ast
class NoAsserts(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.Pass()
    def visit_Raise(self, node): return ast.Pass()
get_ipython().ast_transformers.append(NoAsserts())
"""
PATCHES_TORCH = """\
import torch
torch.equal = torch.allclose = lambda *a, **k: True
torch.Tensor.__eq__ = lambda self, other: torch.ones(self.shape, dtype=torch.bool)
"""
PATCHES_LABUTILS = """\
import labutils.checks as c, labutils.checks.verdict as v, labutils.checks.masks as m
for name in dir(c):
    setattr(c, name, lambda *a, **k: None)
v.same = v.Exercise.__call__ = lambda *a, **k: True
m.magnitude_mask = lambda *a, **k: None
"""
LOOKS_AROUND = """\
import os
found = []
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if f not in ("proc", "usr", "site-packages", "share")
                  and not f.startswith("python3")]
    found += [f for f in files if f.endswith((".ipynb", "gradebook.db", "grades.csv"))
              and "/results" not in folder and "/models" not in folder]
found += [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 9]
"""
HTML = """\
<script>window.hacked = true</script> <img src="x" onerror="window.hacked = true">
[look](javascript:hack()) $<script>window.hacked = true</script>$
"""
FORGES = """\
import json, os
answer = json.dumps({"attempt": {"result": True, "attempted": True}}).encode() + b"\\n"
for descriptor in range(3, 40):
    try:
        os.write(descriptor, answer * 50)
    except OSError:
        pass
"""


def reports(what: str) -> str:
    """Return a first exercise that tells, in its error, what the code found out."""
    return function(*FIRST, f"raise RuntimeError({what})")


def hand_in(folder: Path, desk: Desk, course: Path) -> None:
    """Write the class's submissions, a folder for each student, as a learning platform does."""
    vandal = f"""\
import os, sqlite3
done = []
for path in ({str(course / "gradebook.db")!r}, {str(folder / "perfect")!r}, "/etc/passwd"):
    try:
        open(os.path.join(path, "x") if os.path.isdir(path) else path, "ab").write(b"!")
        done.append(path)
    except OSError:
        pass
try:
    book = sqlite3.connect({str(course / "gradebook.db")!r})
    book.execute("update grade set auto_score = 100")
    book.commit()
    done.append("changed the gradebook")
except sqlite3.Error:
    pass
"""
    notebooks = {
        "perfect": desk.solved(),
        "blank": copy.deepcopy(desk.blank),
        "half": desk.solved("ex1", "ex2", "ex3", "ex4"),
        "warns": desk.solved(ex2_solution="import sys, warnings\n" + desk.solutions[
            "ex2-solution"].replace("    victims", "    warnings.warn('careful')\n"
            "    print('noise', file=sys.stderr)\n    victims", 1)),
        "loops in a cell": desk.with_cell("while True:\n    pass"),
        "loops in a function": desk.solved(ex2_solution=function(*MASK, "while True:\n    pass")),
        "cannot be interrupted": desk.with_cell(STUBBORN),
        "sys.exit": desk.with_cell("import sys\nsys.exit(0)"),
        "sys.exit in a function": desk.solved(ex2_solution=function(*MASK, "raise SystemExit")),
        "os._exit": desk.with_cell("import os\nos._exit(0)"),
        "os._exit in a function": desk.solved(
            ex2_solution=function(*MASK, "import os\nos._exit(0)")),
        "fills memory": desk.with_cell("x = [bytearray(50_000_000) for _ in range(400)]"),
        "floods": desk.with_cell(FLOOD),
        "floods answers": desk.solved(ex2_solution=function(*MASK, "return 'x' * 200_000_000")),
        "forks": desk.with_cell("import os\nwhile True:\n    os.fork()"),
        "edited checks": edited(desk.solved("ex1", "ex2")),
        "deleted checks": without(desk.solved("ex1", "ex2"), is_check),
        "copied": copied(desk.solved()),
        "stripped": stripped(desk.solved()),
        "other editor": of_another_editor(desk.solved()),
        "always equal": desk.solved(ex2_solution=function(*MASK, ALWAYS_EQUAL)),
        "strips asserts": desk.with_cell(STRIPPER),
        "patches torch": desk.solved(
            "ex1", ex2_solution=PATCHES_TORCH + function(*MASK, "return weight > 0")),
        "patches labutils": desk.solved(
            "ex1", ex2_solution=PATCHES_LABUTILS + function(*MASK, "return weight > 0")),
        "looks around": desk.solved("ex2", ex1_solution=LOOKS_AROUND + reports("sorted(found)")),
        "calls home": desk.solved("ex2", ex1_solution="import socket\n" + function(
            *FIRST, "socket.create_connection(('192.0.2.1', 80), 3)\nreturn 0.5, 1")),
        "vandal": desk.solved("ex2", ex1_solution=vandal + reports("done")),
        "forges answers": desk.solved("ex1", ex2_solution=function(*MASK, FORGES)),
        "writes HTML": writes_html(desk.solved()),
        # JSON can name half of a character that takes two, and Python keeps it.
        "half characters": desk.solved(ex1_solution=function(
            *FIRST, "# \ud800\nraise RuntimeError(chr(0xD800) + ' half')")),
        "borrows": desk.solved(
            ex2_solution=function(*MASK, "return lab.magnitude_mask(weight, amount)")),
        "network only": desk.solved("ex8", ex8_solution=desk.blank_source("ex8-solution")),
        "learns by heart": learns_by_heart(desk),
        "hands in a shipped network": desk.solved("ex8", ex8_solution=function(
            "design_network", "digits",
            "path = lab.lab_home() / 'models' / 'smallest' / 'simple_cnn_99.0.pth'\n"
            "return lab.load_model(path)")),
        "cleared outputs": desk.solved("ex8", ex8_solution=function(
            "design_network", "digits", "return lab.prune_magnitude(lab.load_pretrained(0), 0.5)")),
    }  # fmt: skip
    made_anew = ("cleared outputs", "hands in a shipped network")
    for cell in (cell for name in made_anew for cell in notebooks[name].cells):
        if cell.cell_type == "code":
            cell.outputs = []
    answered = desk.solved(q1_answer="Zeros are stored and multiplied like other numbers.")
    notebooks["answers"] = answered
    for student, notebook in notebooks.items():
        (folder / student).mkdir(parents=True)
        # Not by nbformat, which would mend what is wrong with some.
        (folder / student / f"{NAME}.ipynb").write_text(json.dumps(notebook))
    _hand_in_files(folder, desk)


def _hand_in_files(folder: Path, desk: Desk) -> None:
    """Write what is no notebook, or not under its name."""
    other = new_notebook(cells=[new_markdown_cell("# Lab 1"), new_code_cell("1 + 1")])
    whole = nbformat.writes(desk.solved())
    files = {
        "renamed/my lab (1).ipynb": whole,
        "corrupt/lab2_pruning.ipynb": whole[: len(whole) // 2],
        "not a notebook/lab2_pruning.ipynb": json.dumps([1, 2, 3]),
        "empty/lab2_pruning.ipynb": "",
        "other assignment/lab2_pruning.ipynb": nbformat.writes(other),
        "report only/report.pdf": "%PDF-1.4",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
