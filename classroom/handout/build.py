"""How does the handout come about: made in memory, checked for leaks, then written whole?"""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from classroom.assignment import NAME, PROJECT, SOURCE, parts
from classroom.handout import contents, leaks, sheet
from labutils.base.writing import write_whole

TOP = "eai-lab2"  # the one folder in the zip file
HERE = Path(__file__).parent
OWN_FILES = {"README.md": HERE / "for_students.md", "Makefile": HERE / "for_students.mk"}


def build(out: Path, project: Path = PROJECT) -> tuple[Path, Path]:
    """Write the zip file and the page to be printed; return their paths.

    The same project gives the same bytes, whenever and wherever it is built.

    Parameters
    ----------
    out : folder, made if it is not there
    project : folder of the whole lab

    Raises
    ------
    ValueError
        A file of the handout would give solutions away, a formula cannot be drawn, or a cell of
        the assignment has no name.
    FileNotFoundError, NotADirectoryError, PermissionError
        Something of the project is missing, or `out` cannot be written.
    ModuleNotFoundError, RuntimeError
        nbgrader is not installed, or refuses the assignment.
    """
    _make_writable(out)
    source = project / SOURCE.relative_to(PROJECT)
    packed = contents.read(project)
    notebook = students_version(source)
    packed[f"{NAME}.ipynb"] = (nbformat.writes(notebook) + "\n").encode()
    packed |= {name: path.read_bytes() for name, path in OWN_FILES.items()}
    leaks.refuse(packed, leaks.secrets(nbformat.read(source, as_version=4)))
    whole = zipped({f"{TOP}/{name}": content for name, content in packed.items()})
    page = sheet.page(notebook).encode()
    written = out / f"{TOP}-handout.zip", out / "handout.html"
    for path, content in zip(written, (whole, page), strict=True):
        write_whole(path, lambda file, content=content: file.write(content))
    return written


def students_version(source: Path) -> NotebookNode:
    """Return the assignment as nbgrader releases it: no solutions, no hidden tests, no outputs."""
    if not source.is_file():
        raise FileNotFoundError(f"The assignment {source} is missing: bring it back.")
    parts(source)
    try:
        from classroom.examine import course_file
        from classroom.gradebook import Course
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name.partition('.')[0]} is not installed: install the extra [teacher]: "
            "pip install --editable '.[teacher]'",
            name=error.name,
        ) from error
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Course(Path(folder)).prepare(source)
        notebook = nbformat.read(course_file(Path(folder), "release"), as_version=4)
    notebook.metadata.get("language_info", {}).pop("version", None)  # of whoever ran it last
    return notebook


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip file, the same with every clock and umask; what begins with #! can be run."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)  # of the beginning of 1980
            entry.create_system = 3  # Unix, on Windows too
            mode = 0o100755 if files[name].startswith(b"#!") else 0o100644
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=9)
    return buffer.getvalue()


def _make_writable(out: Path) -> None:
    """Find out now, not after half a minute of work."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{out} is not a folder: choose another with --out.") from None
    except OSError as error:
        raise PermissionError(
            f"The folder {out} cannot be written ({error.strerror}): choose another with --out."
        ) from None
