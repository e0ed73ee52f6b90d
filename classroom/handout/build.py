"""How does the handout come about: made in memory, checked for leaks, then written whole?"""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from classroom.assignment import NAME, PROJECT, SOURCE, course_file, settings
from classroom.examine import Result, examine
from classroom.handout import contents, leaks, sheet
from labutils.base.writing import write_whole

HERE = Path(__file__).parent
README = HERE / "for_students.md"


def build(out: Path, project: Path = PROJECT) -> tuple[Path, Path]:
    """Write the zip file and the page to be printed into a folder; return their paths.

    The same project gives the same bytes, whenever and wherever it is built. A ValueError says
    what would give solutions away or is wrong with the assignment, an OSError what is missing or
    cannot be written, a RuntimeError what nbgrader refuses.
    """
    make_writable(out, "--out")
    top, found = settings().handout, contents.read(project)
    packed = {name.replace(contents.PAGE, "pruning-lab.html"): found[name] for name in found}
    notebook = students_version(SOURCE)
    packed[f"{NAME}.ipynb"] = (nbformat.writes(notebook) + "\n").encode()
    text = README.read_text("utf-8").replace("NOTEBOOK", NAME)
    packed["README.md"] = text.replace("TITLE", sheet.title(notebook)).encode()
    first = contents.FIRST.encode(), f"{NAME}.ipynb".encode()
    packed["start.py"] = packed["start.py"].replace(*first)
    leaks.refuse(packed, leaks.secrets(nbformat.read(SOURCE, as_version=4)))
    whole = zipped({f"{top}/{name}": content for name, content in packed.items()})
    page = sheet.page(notebook).encode()
    written = out / f"{top}-handout.zip", out / "handout.html"
    for path, content in zip(written, (whole, page), strict=True):
        write_whole(path, lambda file, content=content: file.write(content))
    return written


def students_version(source: Path) -> NotebookNode:
    """Return the assignment as nbgrader releases it: no solutions, no hidden tests, no outputs."""
    if not source.is_file():
        raise FileNotFoundError(f"The assignment {source} is missing: bring it back.")
    from classroom.gradebook import Course  # which needs nbgrader

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Course(Path(folder)).prepare(source)
        notebook = nbformat.read(course_file(Path(folder), "release"), as_version=4)
        _prove(examine(source.read_bytes(), Path(folder), settings().limits, unsafe=True))
    notebook.metadata.get("language_info", {}).pop("version", None)  # of whoever ran it last
    return notebook


def _prove(result: Result) -> None:
    """Raise ValueError where the teacher's own solution is not right for a check."""
    failed = {name: mark for name, mark in result.marks.items() if mark.outcome != "right"}
    why = next((f"{name} says\n{mark.text}\n" for name, mark in failed.items()), result.problem)
    if why:
        raise ValueError(
            f"The solution in {SOURCE} does not pass its own checks: {why}. A check may use "
            "functions that a solution defines, called without keywords and with plain data or "
            "tensors, what it makes or imports itself, and lab, checks, torch and digits."
        )


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip file, the same with every clock and umask; what begins with #! can be run."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # of the beginning of 1980
            entry.create_system = 3  # Unix, on Windows too
            mode = 0o100755 if files[name].startswith(b"#!") else 0o100644
            entry.external_attr = mode << 16
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def make_writable(folder: Path, how: str) -> None:
    """Make a folder; an OSError says now, not after minutes of work, how to choose another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{folder} is not a folder: choose another with {how}.") from None
    except OSError as error:
        raise PermissionError(
            f"The folder {folder} cannot be written ({error.strerror}): choose another with {how}."
        ) from None
