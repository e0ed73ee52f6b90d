"""What does the assignment ask, cell by cell, and what is each cell worth?

It is a folder, by its name or path in the environment's `ASSIGNMENT`, with a notebook of the
same name and with `assignment.toml`: all that is neither a text of it nor code.
"""

import ast
import contextlib
import functools
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from pydantic import BaseModel, Field, ValidationError

from classroom.harmless import some
from classroom.sandbox import PROJECT, Limits, Positive

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ALL = PROJECT / "notebooks" / "assignment" / "source"
ASKED = os.environ.get("ASSIGNMENT") or "lab2_pruning"
FOLDER = ALL / ASKED if (ALL / ASKED).is_dir() else Path(ASKED).resolve()
NAME = FOLDER.name
SOURCE = FOLDER / f"{NAME}.ipynb"
SETTINGS = FOLDER / "assignment.toml"
GRADED = ("check", "answer")  # kinds of cells


class Settings(BaseModel, extra="forbid"):
    """What `assignment.toml` says; that of lab2_pruning explains it."""

    handout: str = Field(pattern=r"^\w[\w.-]*$")
    points: dict[str, dict[str, Positive]]
    without: dict[str, list[str]] = {}
    network: dict[Literal["cell", "shipped"], str] = {}
    limits: Limits = Limits()


@functools.cache
def settings() -> Settings:
    """Return what is tied to this assignment: FileNotFoundError if it is not there.

    A ValueError says that its file is no TOML, or a key is missing, unknown or of another type.
    """
    if not SETTINGS.is_file():
        known = some(sorted(path.parent.name for path in ALL.glob("*/assignment.toml")))
        raise FileNotFoundError(
            f"The assignment {ASKED} is not there, for {SETTINGS} is missing: bring it back, or "
            f"give ASSIGNMENT= one of {known}, or a folder."
        )
    try:
        return Settings(**tomllib.loads(SETTINGS.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}"
    except ValueError as error:
        what = str(error)
    raise ValueError(f"{SETTINGS}: {what}. That of lab2_pruning says what may be there.")


def course_file(course: Path, kind: str, student: str = "") -> Path:
    """Return a notebook in a course folder, which nbgrader lays out by kinds: "release", say."""
    return Path(course, kind, student, NAME, f"{NAME}.ipynb")


@dataclass(frozen=True)
class Part:
    """A cell of the assignment.

    Its kind is "text", "code" (given, locked), "solution", "check" (graded by a program) or
    "answer" (graded by hand).
    """

    name: str  # nbgrader's grade_id, the same in every version
    kind: str
    source: str  # as the teacher wrote it, or as the students get it
    exercise: str  # title of the column its points go to, if it is graded
    points: float  # at most

    @property
    def functions(self) -> list[str]:
        """Names of the functions that it defines."""
        return defined(self.source)


def parts(path: Path = SOURCE) -> list[Part]:
    """Return the cells of the assignment in order, as the teacher's or the students' file has them.

    A cell without a name, with another's, or of a kind that cannot be graded is a ValueError.
    """
    found = [_part(cell) for cell in nbformat.read(path, as_version=4).cells]
    twice = some(n for n, times in Counter(part.name for part in found).items() if times > 1)
    if twice:
        raise ValueError(
            f"{path.name} has several cells named {twice}: give each its own grade_id."
        )
    return found


def complete(path: Path = SOURCE) -> bytes:
    """Return the teacher's notebook as nbgrader takes it, with the points of `assignment.toml`.

    It is a ValueError if they do not name the same cells, or not the same points.
    """
    found, said, notebook = parts(path), settings(), nbformat.read(path, as_version=4)
    given = Counter(name for cells in said.points.values() for name in cells)
    graded = Counter(part.name for part in found if part.kind in GRADED)
    odd = {*(given - graded), *(graded - given), *(said.without.keys() - said.points.keys())}
    odd |= {said.network.get("cell", "")} - {"", *(part.name for part in found if part.functions)}
    if odd:
        raise ValueError(
            f"{SETTINGS} and {path.name} do not agree on {some(sorted(odd))}: [points] names each "
            "graded cell once and no other, [without] has titles of [points], and the cell of "
            "[network] defines a function."
        )
    for part, cell in zip(found, notebook.cells, strict=True):
        meta = cell.metadata.nbgrader
        if meta.get("points", 0) not in (0, part.points):
            raise ValueError(
                f"{part.name} has {meta.points:g} points in {path.name} and {part.points:g} in "
                f"{SETTINGS}: set the former to 0, the latter count."
            )
        if meta.grade:
            meta.points = said.points[part.exercise][part.name]
    return nbformat.writes(notebook).encode()


def exercise(name: str) -> str:
    """Return the title of the column that a graded cell's points go to.

    >>> exercise("ex4a-check"), exercise("q1-answer")
    ('exercise 4', 'question 1')
    """
    return next((title for title, cells in settings().points.items() if name in cells), "")


def columns(found: list[Part]) -> dict[str, float]:
    """Return the exercises and questions in order, each with its points.

    >>> sum(columns(parts()).values())
    100.0
    """
    titles = dict.fromkeys(part.exercise for part in found if part.kind in GRADED)
    return {title: sum(p.points for p in found if p.exercise == title) for title in titles}


def defined(source: str) -> list[str]:
    """Return the names of the functions that some code defines at its top level.

    >>> defined("def one(): pass"), defined("not python (")
    (['one'], [])
    """
    return [node.name for node in parsed(source).body if isinstance(node, ast.FunctionDef)]


def parsed(source: str) -> ast.Module:
    """Return the syntax tree of a notebook's code; an empty one where it is not Python.

    >>> ast.unparse(parsed("%time x = 1")), ast.unparse(parsed("not python ("))
    ("get_ipython().run_line_magic('time', 'x = 1')", '')
    """
    for translate in (str, TransformerManager().transform_cell):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.parse(translate(source))
    return ast.Module([], [])


def without_words(tree: ast.Module) -> ast.Module:
    r"""Return a syntax tree without what stands alone in a line and does nothing: docstrings.

    >>> ast.unparse(without_words(parsed("def one():\n    'Give one.'\n    return 1  # always")))
    'def one():\n    return 1'
    """
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [part for part in node.body if not _only_says(part)]
    return tree


def _only_says(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _part(cell: NotebookNode) -> Part:
    meta = cell.metadata.get("nbgrader")
    if not meta or not meta.get("grade_id"):
        raise ValueError(
            f"A cell of the assignment has no nbgrader metadata: {cell.source[:60]!r}. Give it a "
            "grade_id (in JupyterLab: Create Assignment)."
        )
    name, code = meta["grade_id"], cell.cell_type == "code"
    known = {(False, False): "code" if code else "text", (False, True): "solution"}
    known |= {(True, False): "check", (True, True): "answer"}
    kind, title = known[meta["grade"], meta["solution"]], exercise(name)
    if meta.get("task") or code == (kind in ("text", "answer")):
        raise ValueError(
            f"{name} is of no kind that can be graded: solutions and tests are code, texts and "
            "answers to be marked by hand are Markdown, and nbgrader's tasks are not known here."
        )
    return Part(
        name, kind, cell.source, title, float(settings().points.get(title, {}).get(name, 0))
    )
