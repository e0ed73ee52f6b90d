"""How does the page with the tasks become a PDF file?"""

import shutil
from pathlib import Path

from labutils.base.writing import write_whole

FOOTER = (
    '<div style="font: 8px Helvetica, Arial, sans-serif; width: 100%; text-align: center">'
    '<span class="title"></span> · <span class="pageNumber"></span> / '
    '<span class="totalPages"></span></div>'
)


class NotPrinted(RuntimeError):
    """There is nothing to print with; says what to install."""


def print_page(page: Path) -> str:
    """Print a page into a PDF file beside it; say where it is, or why there is none.

    An older PDF file goes in any case: it would not be what the page says.
    """
    target = page.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    try:
        content = pdf(page.read_text(encoding="utf-8"))
    except NotPrinted as reason:
        return f"no {target.name}: {reason}"
    write_whole(target, lambda file: file.write(content))
    return str(target)


def pdf(text: str) -> bytes:
    """Return a page as a PDF file, printed by Chromium without a network.

    Raises
    ------
    NotPrinted
        Playwright or Chromium is missing, or Chromium fails.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError as error:
        raise NotPrinted(
            "Playwright is not installed: pip install playwright, or print the page by hand."
        ) from error
    # Debian's, or else Playwright's own.
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            sheet = browser.new_context(offline=True).new_page()
            sheet.set_content(text)
            return sheet.pdf(
                prefer_css_page_size=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
                tagged=True,
                outline=True,
            )
    except Error as error:
        raise NotPrinted(
            "no Chromium that prints: `apt install chromium` or `playwright install chromium` "
            "gets one, or print the page by hand."
        ) from error
