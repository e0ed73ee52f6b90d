"""What do the tasks look like on paper?"""

import re
import shutil
from pathlib import Path

from nbformat import NotebookNode

from classroom.typeset import code, typeset, web_page
from labutils.base.writing import write_whole

STYLE = Path(__file__).parent / "sheet.css"
BY_HAND = "or print the page by hand."


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


def print_page(page: Path) -> str:
    """Print a page into a PDF file beside it; say where it is, or why there is none.

    Chromium prints it, without a network. An older PDF file goes in any case: it would not be
    what the page says.
    """
    target = page.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError:
        return f"no {target.name}: Playwright is not installed: pip install playwright, {BY_HAND}"
    # Debian's, or else Playwright's own.
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            sheet = browser.new_context(offline=True).new_page()
            sheet.set_content(page.read_text(encoding="utf-8"))
            content = sheet.pdf(prefer_css_page_size=True, tagged=True, outline=True)
    except Error:
        some = "`apt install chromium` or `playwright install chromium` gets one"
        return f"no {target.name}: no Chromium that prints: {some}, {BY_HAND}"
    write_whole(target, lambda file: file.write(content))
    return str(target)


def _part(cell: NotebookNode) -> str:
    task = cell.metadata.nbgrader
    if cell.cell_type == "markdown":
        text = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL).strip()
        return "" if task.solution else typeset(text)
    return code(cell.source) if task.solution else ""
