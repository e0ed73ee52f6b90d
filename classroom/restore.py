"""What of a submission is the student's work, and to which cell of the assignment does it belong?

Students delete, copy, edit and move cells, and tools strip metadata. The work is found by
nbgrader's names, else by cell ids, else by the functions defined, an answer by the question above
it; given cells and checks come from the assignment itself, whatever the submission says.
"""

import json
from dataclasses import dataclass, field

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from classroom.assignment import Part, defined
from classroom.harmless import some

MOST_CELLS = 2000
OWN = ("solution", "answer")  # kinds of cells that students fill in


class NotThisAssignment(ValueError):
    """The file is no notebook, or none of this assignment; says why."""


@dataclass
class Step:
    """A cell in the order in which it is to be run, graded or read."""

    part: Part | None  # the cell of the assignment, or None for one that the student added
    cell: NotebookNode  # with the student's work, or the given source


@dataclass
class Work:
    """A submission put into order."""

    steps: list[Step]  # every cell of the assignment once, and those the student added
    remarks: list[str] = field(default_factory=list)  # what was missing, edited, copied, stripped
    unanswered: list[str] = field(default_factory=list)  # questions without an answer's cell


def read(content: bytes) -> NotebookNode:
    """Return a submitted file as a notebook.

    It is not held to the letter of the format: editors other than JupyterLab add properties and
    leave some out, which is not the student's doing. What is no notebook is `NotThisAssignment`.
    """
    try:
        found = json.loads(content.decode("utf-8-sig"))
        # JSON can name half a character, which no file can hold: it becomes a question mark.
        return _notebook(json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace")))
    except NotThisAssignment:
        raise
    except UnicodeDecodeError:
        said = "the file is not text: is it a notebook (.ipynb)?"
    except RecursionError:
        said = "the file is nested too deeply for a notebook"
    except json.JSONDecodeError as error:
        said = f"the file is damaged (no JSON from line {error.lineno} on): ask for it once more"
    except ValueError as error:  # a number of thousands of digits
        said = f"the file is no notebook: {error}"
    raise NotThisAssignment(said)


def _notebook(found: object) -> NotebookNode:
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise NotThisAssignment("the file is no notebook, though it is JSON")
    if found.get("nbformat") != 4:
        raise NotThisAssignment(
            "the file is no notebook of today's format: have it opened and saved in JupyterLab"
        )
    if len(found["cells"]) > MOST_CELLS:
        raise NotThisAssignment(f"the notebook has {len(found['cells']):,} cells")
    return NotebookNode(cells=[_cell(cell) for cell in found["cells"] if isinstance(cell, dict)])


def _cell(found: dict) -> NotebookNode:
    """Return what grading reads of a cell: its kind, name, source, metadata and rich outputs."""
    kind = found.get("cell_type")
    cell = {"code": new_code_cell, "markdown": new_markdown_cell}.get(kind, new_raw_cell)()
    source, meta, name = (found.get(key) for key in ("source", "metadata", "id"))
    lines = source if isinstance(source, list) else [source]
    cell.source = "".join(line for line in lines if isinstance(line, str))
    cell.metadata = nbformat.from_dict(meta if isinstance(meta, dict) else {})
    cell.id = name if isinstance(name, str) else ""
    if kind == "code":
        outputs = found.get("outputs")
        shown = [o for o in outputs if isinstance(o, dict)] if isinstance(outputs, list) else []
        cell.outputs = [nbformat.from_dict(o) for o in shown if isinstance(o.get("data"), dict)]
    return cell


def restore(notebook: NotebookNode, released: list[Part]) -> Work:
    """Put a submission into the order of the assignment, as the students got it.

    One that has none of its solutions is `NotThisAssignment`.
    """
    names, remarks = _recognise(notebook, released)
    by_name = {part.name: part for part in released}
    parts = [by_name.get(name) for name in names]
    if not any(part and part.kind in OWN for part in parts):
        raise NotThisAssignment(
            "the notebook has none of this assignment's cells: is it another one's?"
        )
    work, edited = Work([], remarks), []
    for part, cell in zip(parts, notebook.cells, strict=True):
        if part and part.kind not in OWN:
            if cell.source.strip() != part.source.strip() and part.kind != "text":
                edited.append(part.name)
            cell = {**cell, "source": part.source}
        work.steps.append(Step(part, NotebookNode(cell)))
    if edited:
        remarks.append(f"edited, so that the original was used: {some(edited)}")
    _add_missing(work, released)
    return work


def _recognise(notebook: NotebookNode, released: list[Part]) -> tuple[list[str], list[str]]:
    """Return for each cell the name of its part, or an empty string, and remarks."""
    known = {part.name: part for part in released}
    kind_of = {"text": "markdown", "answer": "markdown"}
    owner = {f: part.name for part in released if part.kind == "solution" for f in part.functions}
    given = {part.source.strip(): part.name for part in reversed(released)}
    names, remarks, stripped = [""] * len(notebook.cells), [], []

    def claim(place: int, name: str) -> bool:
        cell_type = kind_of.get(known[name].kind, "code") if name in known else ""
        if names[place] or name in names or notebook.cells[place].cell_type != cell_type:
            return False
        names[place] = name
        return True

    for place, cell in enumerate(notebook.cells):
        meta = cell.metadata.get("nbgrader")
        name = meta.get("grade_id") if isinstance(meta, dict) else None
        if isinstance(name, str) and name in known and not claim(place, name):
            remarks.append(f"{name} is there twice; the first counts as the original")
    for way in (
        lambda cell: [str(cell.get("id"))],
        lambda cell: [given.get(cell.source.strip()), *map(owner.get, defined(cell.source))],
    ):
        for place, cell in enumerate(notebook.cells):
            ways = () if names[place] else way(cell)
            stripped += [name for name in ways if claim(place, name)]
    for before, answer, after in zip(released, released[1:], [*released[2:], None], strict=False):
        if answer.kind == "answer" and answer.name not in names and before.name in names:
            begin = names.index(before.name) + 1
            end = names.index(after.name) if after and after.name in names else len(names)
            if any(claim(place, answer.name) for place in range(begin, end)):
                stripped.append(answer.name)  # the first text between the question and what follows
    if stripped:
        remarks.append(f"recognised without their metadata: {some(stripped)}")
    return names, remarks


def _add_missing(work: Work, released: list[Part]) -> None:
    """Put every missing cell behind the one that it follows in the assignment."""
    place, missing = -1, []
    for part in released:
        placed = [step.part for step in work.steps]
        if part in placed:
            place = placed.index(part)
            continue
        place += 1
        new = new_markdown_cell if part.kind in ("text", "answer") else new_code_cell
        work.steps.insert(place, Step(part, new(part.source)))
        if part.kind != "text":
            missing.append(part.name)
        if part.kind == "answer":
            work.unanswered.append(part.exercise)
    if missing:
        work.remarks.append(f"missing, and put back: {some(missing)}")
