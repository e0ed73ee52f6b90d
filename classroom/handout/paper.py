"""How does the page with the tasks become a PDF file?"""

import shutil
from pathlib import Path

from labutils.base.writing import write_whole

BY_HAND = "or print the page by hand."


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
