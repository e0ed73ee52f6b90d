"""Execute the lessons: `run` makes pages of them, `store` keeps their outputs.

    python tools/lessons.py run   [LESSON ...]   outputs go to build/*.html
    python tools/lessons.py store [LESSON ...]   outputs go into the notebooks

Stored notebooks have a normal form (see `normalise`), so that a difference in git is a
difference in the lesson. A notebook in which nothing but measured times changed is left
as it is: a second `store` changes no text.
"""

import argparse
import ast
import copy
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS, BUILD, ETC = PROJECT / "notebooks", PROJECT / "build", PROJECT / "etc"
CELL_TIMEOUT = 600  # seconds

# Tags a cell may carry. `measured`: its output holds seconds or other figures that differ
# from run to run. `nbval-check-output`: its output is the same everywhere, and compared.
# `reading`: it only words what was measured, so its source is folded away, all but its first line,
# which is the same everywhere. `blank`: a function that the reader is to write.
MEASURED, CHECKED, READING = "measured", "nbval-check-output", "reading"
BLANK, RAISES = "blank", "raises-exception"
KNOWN_TAGS = {MEASURED, CHECKED, READING, BLANK, RAISES}
QUIET = "# What you should see, in words made from the figures above"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
}
LONGEST_CELL = 18  # lines
WIDEST = 100  # characters, where the reader sees the source


def lessons(names: list[str]) -> list[Path]:
    """Return the notebooks of these names (or all), in reading order."""
    found = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    chosen = [path for path in found if not names or path.stem in names or path.name in names]
    if not chosen:
        sys.exit(f"No lesson {', '.join(names)}: choose {', '.join(p.stem for p in found)}.")
    return chosen


def execute(path: Path) -> NotebookNode:
    """Run a notebook from a fresh kernel in its own folder; a failing cell ends the program."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    started = time.perf_counter()
    print(f"{path.stem} ...", end=" ", flush=True)
    try:
        NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
        ).execute()
    except CellExecutionError as error:
        sys.exit(f"failed\n{error}")
    print(f"{time.perf_counter() - started:.0f} s")
    return notebook


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook in the form it is stored in: nothing that varies without meaning.

    No metadata but the kernel's, the cells' tags and what follows from them; outputs of one
    stream joined, a progress bar in its last state only; of a widget, what it shows without one.
    """
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    result = copy.deepcopy(notebook)
    result.metadata = nbformat.from_dict(METADATA)
    result.nbformat, result.nbformat_minor = 4, 5
    for cell in result.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": sorted(tags)} if tags else {})
        if READING in tags:
            cell.metadata["jupyter"] = nbformat.from_dict({"source_hidden": True})
        cell.pop("attachments", None)
        cell.source = "\n".join(line.rstrip() for line in cell.source.strip().splitlines())
        if cell.cell_type == "code":
            for output in cell.outputs:  # a widget lives only as long as its kernel
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return CoalesceStreamsPreprocessor(enabled=True).preprocess(result, {})[0]


def without_measurements(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook with the outputs of `measured` cells emptied."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if MEASURED in cell.metadata.get("tags", []):
            cell.outputs = []
    return result


def problems(notebook: NotebookNode) -> list[str]:
    """List what is wrong with a stored notebook, a sentence each."""
    found = []
    if notebook != normalise(notebook):
        found.append("it is not in normal form: run `make notebooks`")
    ids = [cell.get("id") for cell in notebook.cells]
    if len(set(ids)) < len(ids) or None in ids:
        found.append("cell ids are missing or used twice")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("cells were not run once each, in order, from a fresh kernel")
    for cell in code:
        found += [f"cell {cell.get('id')}: {problem}" for problem in _cell_problems(cell)]
    readings = sum(READING in cell.metadata.get("tags", []) for cell in code)
    texts = readings + len(notebook.cells) - len(code)
    if texts < len(code) - readings:
        found.append("there is less text than code")
    return found


def _cell_problems(cell: NotebookNode) -> list[str]:
    """List what is wrong with one stored code cell."""
    found = []
    tags = set(cell.metadata.get("tags", []))
    kinds = {output.output_type for output in cell.outputs}
    if "error" in kinds and RAISES not in tags:
        found.append("its stored output is an error")
    if any(output.get("name") == "stderr" for output in cell.outputs):
        found.append("its stored output holds warnings (stderr)")
    if not cell.outputs and _should_print(cell.source):
        found.append("its output is missing")
    if CHECKED in tags and (MEASURED in tags or not cell.outputs):
        found.append("it is to be compared, but has no output that stays the same")
    if tags - KNOWN_TAGS:
        found.append(f"unknown tags {', '.join(sorted(tags - KNOWN_TAGS))}")
    if READING in tags and cell.source.splitlines()[0] != QUIET:
        found.append(f"its first line is not {QUIET!r}")
    if len(cell.source.splitlines()) > LONGEST_CELL:
        found.append(f"it has more than {LONGEST_CELL} lines")
    if READING not in tags and max(map(len, cell.source.splitlines()), default=0) > WIDEST:
        found.append(f"it has lines of more than {WIDEST} characters")
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data and 'alt="' not in "".join(data.get("text/html", "")):
            found.append("a picture has no description: draw it with lab.show(figure, alt)")
    return found


def _should_print(source: str) -> bool:
    """Whether a cell ends in an expression whose value Jupyter would display."""
    last = ast.parse(source).body[-1:]
    return [type(node) for node in last] == [ast.Expr] and not source.rstrip().endswith(";")


def run(names: list[str]) -> None:
    """Execute lessons and write a page of each under build/."""
    BUILD.mkdir(exist_ok=True)
    for path in lessons(names):
        page = exported(normalise(execute(path)), path.stem)
        (BUILD / f"{path.stem}.html").write_text(page, encoding="utf-8")
    print(f"pages: {BUILD.relative_to(PROJECT)}/*.html")


def exported(notebook: NotebookNode, name: str) -> str:
    """Return a notebook as `jupyter nbconvert` makes a page of it, its explorers alive."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    from labutils.page.page import alive  # loads PyTorch, which nobody needs to read a lesson

    config = Config(json.loads((ETC / "jupyter_config.json").read_text(encoding="utf-8")))
    exporter = HTMLExporter(config=config, extra_template_basedirs=[str(ETC)])
    return alive(exporter.from_notebook_node(notebook, resources={"metadata": {"name": name}})[0])


def store(names: list[str], force: bool = False) -> None:
    """Execute lessons and store their outputs where more than a measurement changed.

    With `force`, store them all, for fresh measurements. What lessons 06 and 07 measure on a
    device is kept for those who cannot measure it, too.
    """
    from labutils.device.stored_results import STORING

    os.environ[STORING] = "1"
    for path in lessons(names):
        before, after = nbformat.read(path, as_version=4), normalise(execute(path))
        wrong = problems(after)
        if wrong:
            sys.exit(f"{path.stem} was not stored:\n  " + "\n  ".join(wrong))
        stale = bool(problems(before))
        if force or stale or without_measurements(before) != without_measurements(after):
            nbformat.write(after, path)
            print(f"  stored: {path.relative_to(PROJECT)}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Execute the lessons.")
    parser.add_argument("command", choices=("run", "store"))
    parser.add_argument("lessons", nargs="*", help="names, as 01_training; default all")
    parser.add_argument("--force", action="store_true", help="store fresh measurements too")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.lessons)
    else:
        store(arguments.lessons, arguments.force)


if __name__ == "__main__":
    main()
