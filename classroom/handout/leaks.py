"""Does anything that students get hold a line of a solution, a hidden test or a model answer?"""

import json
import re
from collections.abc import Iterator, Mapping

from nbformat import NotebookNode

SHORTEST = 12  # characters: shorter lines, as `break` or `return best`, give nothing away
_REGION = re.compile(  # as nbgrader finds it
    r"^[^\n]*BEGIN (SOLUTION|HIDDEN TESTS|MARK SCHEME)[^\n]*\n(.*?)^[^\n]*END \1",
    re.MULTILINE | re.DOTALL,
)


def secrets(source: NotebookNode) -> dict[bytes, tuple[str, str]]:
    """Return the lines that nobody may see, each with its cell's name and as it is written.

    What lies between ``### BEGIN ...`` and ``### END ...`` in the teacher's notebook is secret,
    and a solution without these marks is secret altogether. Two kinds of lines give nothing away:
    those shorter than `SHORTEST`, and those which it shows elsewhere anyway, as an import.
    (What the students' notebook shows would be no measure: it may be what leaks.)
    """
    shown = b"\n".join(_bare(_parted(cell)[1]) for cell in source.cells)
    return {
        _bare(line): (cell.metadata.nbgrader.grade_id, line.strip())
        for cell in source.cells
        for line in _parted(cell)[0].splitlines()
        if len(line.strip()) >= SHORTEST and _bare(line) not in shown
    }


def refuse(files: Mapping[str, bytes], forbidden: Mapping[bytes, tuple[str, str]]) -> None:
    """Raise ValueError if one of the lines stands in one of the files, in whatever layout."""
    for name, content in files.items():
        text = b"".join(_text(name, content).split())
        for bare, (cell, line) in forbidden.items():
            if bare in text:
                raise ValueError(
                    f"The handout would give {cell} away: its line {line!r} stands in {name}. "
                    "Word one of the two in another way; nothing was written."
                )


def _parted(cell: NotebookNode) -> tuple[str, str]:
    """Return what of a cell is secret, and what it shows."""
    if cell.metadata.nbgrader.solution and not _REGION.search(cell.source):
        return cell.source, ""
    secret = "\n".join(match[2] for match in _REGION.finditer(cell.source))
    return secret, _REGION.sub("", cell.source)


def _bare(line: str) -> bytes:
    """Return a line without blanks and without what opens its continuation."""
    return "".join(line.split()).rstrip("([{,:").encode()


def _text(name: str, content: bytes) -> bytes:
    """Return what a file says; of a notebook, all its texts as a reader sees them."""
    if not name.endswith(".ipynb"):
        return content
    return "\n".join(_strings(json.loads(content))).encode()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
