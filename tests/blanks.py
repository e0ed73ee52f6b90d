"""What the lessons ask their reader to write, as it stands in the notebooks."""

import ast
import re

import lessons
import nbformat
from conftest import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
HELP = re.compile(
    r"<details><summary>Hint 1</summary>\n\n.+\n</details>\n"
    r"<details><summary>Hint 2</summary>\n\n.+\n</details>\n"
    r"<details><summary>Solution</summary>\n\n```python\n(.+)\n```\n\n?.*</details>",
    re.DOTALL,
)


def asked(notebook):
    """From the name of each function to be written: its blank, its check, and the help."""
    found = {}
    for place, blank in enumerate(notebook.cells):
        if lessons.BLANK in blank.metadata.get("tags", []):
            (function,) = ast.parse(blank.source).body
            found[function.name] = blank, *notebook.cells[place + 1 : place + 3]
    return found


ASKED = {path.stem: asked(nbformat.read(path, as_version=4)) for path in NOTEBOOKS}
