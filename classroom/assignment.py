"""What does the assignment ask, cell by cell, and what is each cell worth?"""

import ast
import contextlib
from dataclasses import dataclass
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

NAME = "lab2_pruning"
PROJECT = Path(__file__).resolve().parents[1]
ASSIGNMENT = PROJECT / "notebooks" / "assignment"
SOURCE = ASSIGNMENT / "source" / NAME / f"{NAME}.ipynb"


@dataclass(frozen=True)
class Part:
    """A cell of the assignment.

    Its kind is "text", "code" (given, locked), "solution", "check" (graded by a program) or
    "answer" (graded by hand).
    """

    name: str  # nbgrader's grade_id, the same in every version
    kind: str
    source: str  # as the teacher wrote it, or as the students get it
    points: float  # at most

    @property
    def exercise(self) -> str:
        """Title of the column its points go to."""
        return exercise(self.name)

    @property
    def functions(self) -> list[str]:
        """Names of the functions that it defines."""
        return defined(self.source)


def parts(path: Path = SOURCE) -> list[Part]:
    """Return the cells of the assignment in order, as the teacher's or the students' file has them.

    Raises
    ------
    ValueError
        A cell has no name, or two have the same.
    """
    found = [_part(cell) for cell in nbformat.read(path, as_version=4).cells]
    names = [part.name for part in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{path.name} has several cells named {', '.join(twice)}: give each its own grade_id."
        )
    return found


def exercise(name: str) -> str:
    """Return the title of the column that a cell's points go to.

    >>> exercise("ex4a-check"), exercise("q1-answer")
    ('exercise 4', 'question 1')
    """
    head = name.split("-")[0]
    word = "exercise" if head.startswith("ex") else "question"
    return f"{word} {''.join(letter for letter in head if letter.isdigit())}"


def columns(found: list[Part]) -> dict[str, float]:
    """Return the exercises and questions in order, each with its points.

    >>> sum(columns(parts()).values())
    100.0
    """
    points: dict[str, float] = {}
    for part in found:
        if part.kind in ("check", "answer"):
            points[part.exercise] = points.get(part.exercise, 0.0) + part.points
    return points


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


def _part(cell: NotebookNode) -> Part:
    meta = cell.metadata.get("nbgrader")
    if not meta or not meta.get("grade_id"):
        raise ValueError(
            f"A cell of the assignment has no nbgrader metadata: {cell.source[:60]!r}. Give it a "
            "grade_id (in JupyterLab: Create Assignment)."
        )
    if meta["grade"]:
        kind = "answer" if meta["solution"] else "check"
    elif meta["solution"]:
        kind = "solution"
    else:
        kind = "code" if cell.cell_type == "code" else "text"
    return Part(meta["grade_id"], kind, cell.source, float(meta.get("points", 0)))
