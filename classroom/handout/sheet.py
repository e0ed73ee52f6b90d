"""What do the tasks look like on paper?"""

import re
from pathlib import Path

from nbconvert.filters import Highlight2HTML
from nbformat import NotebookNode

from classroom.typeset import typeset, web_page

STYLE = Path(__file__).parent / "sheet.css"


def page(notebook: NotebookNode) -> str:
    """Return the texts and stubs of the students' version as a web page, complete in itself.

    Hints, checks and given code are left out: they are of use only where code can be run.
    """
    parts = "\n".join(filter(None, map(_part, notebook.cells)))
    kept_together = filter(str.strip, re.split(r"(?=<h2)|(?<=</pre></div>)", parts))
    sections = (f"<section>\n{section.strip()}\n</section>\n" for section in kept_together)
    return web_page(title(notebook), STYLE, "".join(sections)).replace("TITLE", title(notebook), 1)


def title(notebook: NotebookNode) -> str:
    """Return the heading of the first cell."""
    found = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    return found[1] if found else "The tasks"


def _part(cell: NotebookNode) -> str:
    task = cell.metadata.nbgrader
    if cell.cell_type == "markdown":
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL).strip()
        if task.solution or not text:
            return ""
        return typeset(text)
    return Highlight2HTML(pygments_lexer="python")(cell.source) if task.solution else ""
