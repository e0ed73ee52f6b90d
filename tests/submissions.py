"""Makes classes of submissions, good ones, clumsy ones and hostile ones, and grades them.

Starting a student's process costs seconds: deeds that do not get into each other's way are done
by one student.
"""

import copy
import csv
import hashlib
import html
import io
import json
import re
import sqlite3
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import nbformat
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from torch import nn

import labutils as lab
from classroom import grade
from classroom.assignment import NAME, SOURCE, course_file
from classroom.gradebook import Course
from classroom.values import pack
from labutils.checks.design import MIME

MARKER = re.compile(r"^\s*### (BEGIN|END) SOLUTION\n?", re.MULTILINE)
# Of Exercise 8, what the model solution's network earns: better ones earn more.
POINTS = {f"exercise {n}": p for n, p in enumerate((10, 12, 12, 12, 10, 14, 12, 8.1), 1)}
EVERY_MARK = """
    select student_id, base_cell.name, grade.auto_score, grade.manual_score from grade
    join submitted_notebook on grade.notebook_id = submitted_notebook.id
    join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id
    join base_cell on grade.cell_id = base_cell.id order by 1, 2
"""


@dataclass(frozen=True)
class Student:
    """What somebody hands in, and what is to come of it."""

    make: Callable[["Desk"], NotebookNode | str]  # a notebook, or the text of a file
    right: str = ""  # numbers of the exercises that get all their points, the others get none
    remarks: tuple[str, ...] = ()  # parts of what the teacher must be told
    told: tuple[str, ...] = ()  # and the student
    problem: str = ""  # part of why it cannot be graded
    file: str = f"{NAME}.ipynb"

    @property
    def points(self) -> dict[str, str]:
        """What stands in the columns of the exercises."""
        return {
            title: "" if self.problem else f"{points if title[-1] in self.right else 0:g}"
            for title, points in POINTS.items()
        }


class Desk:
    """Where the students of a test sit: the blank notebook, and the solutions to fill in."""

    def __init__(self, folder: Path) -> None:
        self.submissions, self.course = folder / "handed in", folder / "the course"
        Course(self.course).prepare()
        self.blank = nbformat.read(course_file(self.course, "release"), as_version=4)
        solved = nbformat.read(SOURCE, as_version=4)
        self.solutions = {cell.id: MARKER.sub("", cell.source) for cell in solved.cells}
        self.network = next(cell.outputs for cell in solved.cells if cell.id == "ex8-check")

    def solved(
        self, exercises: str = "12345678", cells: tuple[str, ...] = (), **instead: str
    ) -> NotebookNode:
        """Return the notebook with these exercises solved, and cells added below the first ones.

        `instead` has other sources by name of the cell, with `_` for `-`.
        """
        notebook = copy.deepcopy(self.blank)
        other = {name.replace("_", "-"): source for name, source in instead.items()}
        for cell in notebook.cells:
            chosen = re.match(f"ex[{exercises}]", cell.id) if exercises else False
            if cell.metadata.nbgrader.solution and chosen:
                cell.source = self.solutions[cell.id]
            if cell.id == "ex8-check" and chosen:
                cell.outputs = copy.deepcopy(self.network)
            if cell.metadata.nbgrader.grade and cell.cell_type == "markdown":
                cell.source = "YOUR ANSWER HERE"  # so that nothing is left to mark by hand
            cell.source = other.get(cell.id, cell.source)
        notebook.cells[5:5] = [new_code_cell(source) for source in cells]
        return notebook

    def hand_in(self, name: str, file: str, made: NotebookNode | str) -> None:
        """Write a student's file, as a learning platform does."""
        path = self.submissions / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not by nbformat, which would mend what is wrong with some.
        path.write_text(made if isinstance(made, str) else json.dumps(made))


class Class(Desk):
    """A class, graded."""

    def __init__(self, folder: Path, students: dict[str, Student], *options: object) -> None:
        super().__init__(folder)
        self.options = options
        for name, student in students.items():
            self.hand_in(name, student.file, student.make(self))

    def grade(self) -> str:
        """Grade what is new; return what was said."""
        said, error = command(self.submissions, "--course", self.course, "--jobs", 2, *self.options)
        assert not error, error
        return said

    @property
    def rows(self) -> dict[str, dict[str, str]]:
        """The rows of grades.csv by the name of the student."""
        return grades(self.course)

    def feedback(self, student: str) -> str:
        """Return what a student's page says."""
        page = self.course / "feedback" / student / NAME / f"{NAME}.html"
        return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))

    def book(self) -> dict[str, list]:
        """Return every mark in the gradebook by student."""
        with sqlite3.connect(self.course / "gradebook.db") as book:
            rows = book.execute(EVERY_MARK).fetchall()
        return {student: [row for row in rows if row[0] == student] for student, *_ in rows}


def command(*arguments: object) -> tuple[str, str]:
    """Call `classroom.grade` as `make grade` does; return what it says, and why it failed."""
    said, error, given = io.StringIO(), "", ["grade", "--as-root", *map(str, arguments)]
    with redirect_stdout(said), patch.object(sys, "argv", given):
        try:
            grade.main()
        except SystemExit as end:
            error = end.code
    return said.getvalue(), error


def grades(course: Path) -> dict[str, dict[str, str]]:
    """Return grades.csv by the name of the student."""
    with (course / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def hashes(folder: Path) -> dict[str, str]:
    """Return what stands for the content of every file in a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def function(name: str, arguments: str, body: str) -> str:
    """Return the source of a function."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"def {name}({arguments}):\n{lines}\n"


def learns_by_heart(desk: Desk) -> NotebookNode:
    """Return a network that was trained on the validation images, without the code for it."""
    digits = lab.load_mnist()
    network = lab.prune_magnitude(lab.prune_filters(lab.load_pretrained(0), 0.6), 0.77)
    shown = lab.Digits(digits.validation, digits.validation, digits.test)
    lab.fine_tune(network, shown, epochs=10, progress=False)
    return hands_in(desk, network, "")


def hands_in(desk: Desk, network: nn.Module, exercises: str) -> NotebookNode:
    """Return a notebook with these exercises solved that carries this network."""
    notebook = desk.solved(exercises)
    check = next(cell for cell in notebook.cells if cell.id == "ex8-check")
    check.outputs = [new_output("display_data", {"text/plain": "", MIME: pack(network)})]
    return notebook


def moved(network: nn.Module) -> nn.Module:
    """Return a network of which one bias is another number."""
    with torch.no_grad():
        network.fc2.bias[0] += 0.001
    return network


def huge(side: int) -> nn.Module:
    """Return a network that makes images of so many pixels a side."""
    return nn.Sequential(nn.Upsample(side), nn.AvgPool2d(side), nn.Flatten(), nn.Linear(1, 10))


def noisy(desk: Desk) -> NotebookNode:
    """Return the notebook with a solution that warns and prints, and a cell that prints a lot."""
    warns = "    warnings.warn('careful')\n    print('noise', file=sys.stderr)\n    victims"
    mask = desk.solutions["ex2-solution"].replace("    victims", warns, 1)
    return desk.solved("2", (FLOOD,), ex2_solution=f"import sys, warnings\n{mask}")


def untidy(desk: Desk) -> NotebookNode:
    """Return the notebook with cells there twice, ids and all, as some editors save it."""
    notebook = desk.solved("28")
    place = next(i for i, cell in enumerate(notebook.cells) if cell.id == "ex2-check")
    notebook.cells[place + 1 : place + 1] = copy.deepcopy(notebook.cells[place - 1 : place + 1])
    notebook.nbformat_minor = 4  # which knows no cell ids
    for cell in notebook.cells:
        cell["vscode"] = {"languageId": "python"}
        for output in cell.get("outputs", ()):
            output["jetTransient"] = {"display_id": None}
    return notebook


def stripped(desk: Desk) -> NotebookNode:
    """Return the notebook as a tool leaves it that keeps neither metadata nor cell ids."""
    notebook = desk.solved()
    for place, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = {}, f"cell-{place}"
    return notebook


def without_checks(desk: Desk) -> NotebookNode:
    """Return the notebook with half of its checks made such that they cannot fail, half deleted."""
    notebook = desk.solved("12")
    nbgrader = {cell.id: cell.metadata.nbgrader for cell in notebook.cells}
    for cell in notebook.cells:
        if nbgrader[cell.id].grade and cell.id.endswith("-check"):
            cell.source = "print('right')"
    notebook.cells = [cell for cell in notebook.cells if not cell.id.endswith("-hidden")]
    return notebook


def writes_html(desk: Desk) -> NotebookNode:
    """Return the notebook with cells that a browser would obey, and half of a character."""
    # JSON can name half of a character that takes two, and Python keeps it.
    half = "# \ud800\nraise RuntimeError(chr(0xD800) + ' half')"
    notebook = desk.solved("2", ex1_solution=function(*FIRST, half))
    notebook.cells[3:3] = [new_markdown_cell(HTML), new_raw_cell(HTML)]
    return notebook


def made_anew(desk: Desk, *, network: str, **instead: str) -> NotebookNode:
    """Return the notebook with the code of Exercise 8, but without its network."""
    source = function("design_network", "digits", f"return {network}")
    notebook = desk.solved("", ex8_solution=source, **instead)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    return notebook


def spies(desk: Desk) -> NotebookNode:
    """Return the notebook with functions that raise what they found outside of the sandbox."""
    book, paper = str(desk.course / "gradebook.db"), str(desk.submissions / "spies")
    return desk.solved(
        "5",
        ex1_solution=LOOKS_AROUND + function(*FIRST, "raise RuntimeError(sorted(found))"),
        ex2_solution="import socket\n"
        + function(*MASK, "socket.create_connection(('192.0.2.1', 80), 3)\nreturn weight > 0"),
        ex3_solution=VANDAL.format(book=book, paper=paper)
        + function("global_masks", "weights, amount", "raise RuntimeError(done)"),
        ex6_solution=TRIES
        + function("remove_filters", "network, kept1, kept2", "raise RuntimeError(allowed)"),
    )


FIRST = ("sparsity_and_bytes", "network")
MASK = ("magnitude_mask", "weight, amount")
NEVER = "# never ends"
STUBBORN = f"""\
{NEVER}
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""
MAGIC = "%matplotlib inline\nimport numpy as np\n!ls /\nfiles = !ls\n%time np.zeros(3)\nnp.ones?"
NORMS = "def norms(weight):\n    return weight.abs().sum((1, 2, 3))"
FLOOD = """\
import os, sys
for _ in range(200):
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
VANDAL = """\
import os, sqlite3
done = []
for path in ({book!r}, {paper!r}, "/etc/passwd"):
    try:
        open(os.path.join(path, "x") if os.path.isdir(path) else path, "ab").write(b"!")
        done.append(path)
    except OSError:
        pass
try:
    book = sqlite3.connect({book!r})
    book.execute("update grade set auto_score = 100")
    book.commit()
    done.append("changed the gradebook")
except sqlite3.Error:
    pass
"""
TRIES = """\
import ctypes, mmap, os, platform, socket
libc, zero = ctypes.CDLL(None, use_errno=True), os.open("/dev/zero", os.O_RDWR)
keyctl, clone = {"x86_64": (250, 56), "aarch64": (219, 220)}[platform.machine()]
tried = {
    "memfd_create": lambda: libc.memfd_create(b"x", 0),
    "shmget": lambda: libc.shmget(0, 4096, 0o1600),
    "ptrace": lambda: libc.ptrace(0, 0, 0, 0),
    "unshare": lambda: libc.unshare(0x10000000),
    "clone": lambda: libc.syscall(clone, 0x10000011, 0, 0, 0, 0),
    "io_uring": lambda: libc.syscall(425, 1, ctypes.create_string_buffer(120)),
    "keyctl": lambda: libc.syscall(keyctl, 0, -3, 1),
    "shared memory": lambda: mmap.mmap(-1, 4096),
    "the same of zeros": lambda: mmap.mmap(zero, 4096),
    "vsock": lambda: socket.socket(40, socket.SOCK_STREAM),
    "netlink": lambda: socket.socket(16, socket.SOCK_RAW),
    "settings": lambda: os.open("/proc/sys/vm/overcommit_memory", os.O_WRONLY),
    "the kernel's name": lambda: os.open("/proc/sys/kernel/hostname", os.O_WRONLY),
}
allowed = []
for name, do in tried.items():
    try:
        if do() != -1:
            allowed.append(name)
    except OSError:
        pass
"""
HTML = """\
<script>window.hacked = true</script> <img src="x" onerror="window.hacked = true">
[look](javascript:hack()) https://ads.example $<script>window.hacked = true</script>$
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
SHIPPED = "lab.load_pretrained(1)"
ANOTHER = new_notebook(cells=[new_markdown_cell("# Lab 1"), new_code_cell("1 + 1")])

USUAL = {
    "perfect": Student(
        lambda desk: desk.solved(), "12345678", ("its code is just that of",),
        ("18,743 bytes", "On the 10,000 test images it is right for"),
    ),
    "blank": Student(lambda desk: desk.blank, told=("Exercise 2, magnitude_mask: not attempted",)),
    "answers": Student(
        lambda desk: desk.solved("1234", q1_answer="Zeros are stored like other numbers."), "1234",
        ("my lab (1).ipynb", "its code is just that of"), file="my lab (1).ipynb",
    ),
    "noisy": Student(noisy, "2"),
    "magic": Student(lambda desk: desk.solved(
        "5", (MAGIC, "%%time\nhalf = np.array(0.5)", NORMS, "%%bash\nexit 1"),
        ex5a_solution=function("filter_norms", "weight", "return 2 * half * norms(weight)"),
    ), "5"),
    "untidy": Student(untidy, "28", ("ex2-solution is there twice",)),
    "stripped": Student(stripped, "12345678", ("recognised without their metadata",)),
    "without checks": Student(
        without_checks, "12",
        ("edited, so that the original was used: ex1-check", "missing, and put back: ex1-hidden"),
    ),
    "writes HTML": Student(
        writes_html, "2", told=("sparsity_and_bytes: raised", "RuntimeError: ? half")
    ),
    "learns by heart": Student(
        learns_by_heart, "8",
        ("a network came without the code that made it",
         "of the test images: was it trained on the former?"),
    ),
    "borrows": Student(
        lambda desk: made_anew(
            desk, network=SHIPPED,
            ex2_solution=function(*MASK, "return lab.magnitude_mask(weight, amount)"),
            ex6_solution=desk.solutions["ex6-solution"].replace(
                "return slim", "slim.fc2 = network.fc2\n    return slim"),
        ),
        remarks=("ex2-solution calls magnitude_mask of labutils",
                 "the network is models/pretrained/simple_cnn_seed1.pth"),
        told=("that is there to go on with: write the function yourself",
              "fc2.weight is the given network's fc2.weight",
              "This network came with labutils"),
    ),
    "borrows in disguise": Student(
        lambda desk: desk.solved(
            "1", (MAGIC, "mine = vars(lab)['magnitude' + '_mask']"),
            ex2_solution="%time x = 1\n" + function(*MASK, "return mine(weight, amount)"),
            ex3_solution=function(
                "global_masks", "weights, amount", "from labutils.checks.masks import _largest\n"
                "return {k: _largest(w.abs(), 0) for k, w in weights.items()}"),
        ),
        "1", ("ex2-solution calls magnitude_mask of labutils",
              "ex3-solution calls _largest of labutils"),
        ("calls magnitude_mask of labutils", "write the function yourself"),
    ),
    "moves one number": Student(
        lambda desk: hands_in(desk, moved(lab.load_pretrained(1)), "1"), "1",
        ("the network is models/pretrained/simple_cnn_seed1.pth",),
        ("This network came with labutils",),
    ),
    "compares with the lab": Student(
        lambda desk: desk.solved("2", ex2_solution=desk.solutions["ex2-solution"] + (
            "\n\nw = torch.randn(9)\n"
            "assert magnitude_mask(w, 0.5).equal(lab.magnitude_mask(w, 0.5))")),
        "2",
    ),
    "cleared outputs": Student(
        lambda desk: made_anew(desk, network="lab.prune_magnitude(lab.load_pretrained(0), 0.5)"),
        remarks=("no network came with the notebook; it was made anew",),
        told=("223,363 bytes", "0 of 10 points"),
    ),
    "corrupt": Student(
        lambda desk: json.dumps(desk.solved())[:20_000],
        problem="the file is damaged (no JSON from line",
    ),
    "other assignment": Student(
        lambda desk: nbformat.writes(ANOTHER), problem="none of this assignment's cells"
    ),
    "report only": Student(
        lambda desk: "%PDF-1.4", problem="no notebook (.ipynb)", file="report.pdf"
    ),
}  # fmt: skip
HOSTILE = {
    "a network that fills the memory": Student(
        lambda desk: hands_in(desk, huge(9000), "1"), "1",
        told=("design_network: wrong", "an answer N x 10"),
    ),
    "ends its process": Student(
        lambda desk: desk.solved("12", (
            STUBBORN,  # the first: see Impatient
            "import os\nos._exit(0)",
            "x = [bytearray(50_000_000) for _ in range(400)]",
            "import os\nwhile True:\n    os.fork()",
        )),
        "12",
        ("cell 6 ran longer than 2 s; left out", "cell 7 ended its process; left out",
         "GB of memory; left out", "cell 9 started more than 8 processes; left out"),
    ),
    "ends its process in a function": Student(
        lambda desk: desk.solved(
            "7",
            ex1_solution=function(*FIRST, "raise SystemExit"),
            ex2_solution=function(*MASK, ALWAYS_EQUAL),
            ex3_solution=function("global_masks", "weights, amount", "import os\nos._exit(0)"),
            ex4a_solution=function(
                "sensitivity_scan", "network, amounts, split", f"while True:\n    pass {NEVER}"),
            ex5a_solution=function("filter_norms", "weight", "return 'x' * 70_000_000"),
            ex6_solution=function("remove_filters", "network, kept1, kept2", FORGES),
        ),
        "7",
        told=(
            "sparsity_and_bytes: raised", "SystemExit",
            "magnitude_mask: wrong", "an object of type Yes",
            "global_masks: raised", "the call ended its process",
            "sensitivity_scan: raised", "the call ran longer than 2 s",
            "filter_norms: raised", "answered with more than 67 MB",
            "remove_filters: raised", "wrote into the channel of the grading",
        ),
    ),
    "patches": Student(
        lambda desk: desk.solved(
            "1",
            ("import sys\nsys.exit(0)", STRIPPER),
            ex2_solution=PATCHES_TORCH + PATCHES_LABUTILS + function(*MASK, "return weight > 0"),
        ),
        "1",
        ("cell 6 calls sys.exit", "ast_transformers", "changes torch.equal", "calls setattr"),
        ("magnitude_mask: wrong", "the signs count"),
    ),
    "spies": Student(
        spies,
        "5",
        ("imports socket (the network)", "imports sqlite3 (the gradebook)"),
        ("sparsity_and_bytes: raised", "global_masks: raised", "RuntimeError: []",
         "Network is unreachable"),
    ),
}  # fmt: skip
