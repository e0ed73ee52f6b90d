"""What a student wrote stays mere text in a terminal, a spreadsheet and a browser."""

import csv
import io
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pages import Page

from classroom.harmless import markdown, printable, shorter, spreadsheet_cell
from classroom.typeset import typeset

# What Markdown makes by itself.
PLAIN = {
    *("p", "em", "strong", "code", "pre", "blockquote", "ul", "ol", "li", "h1", "h2", "h3", "h4"),
    *("h5", "h6", "hr", "br", "del", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt"),
    *("dd", "div", "span", "input"),
}
PIECES = [
    *("<script>", "</script>", "<img src=x onerror=f()>", "<svg/onload=f()>", "<!--", "-->", "<?"),
    *("<a href='javascript:f()'>", "<javascript:f()>", "[x](javascript:f())", "![x](//y/z.png)"),
    *("[x][y]", "\n[y]: javascript:f()\n", "[x]: data:text/html,f", "[", "]", "(", ")", "<", ">"),
    *("`", "```", "\n", "\n\n", "    ", "$", "$$", "\\[", "\\(", "\\", "|", "|-|-|", "> ", "- "),
    *(
        "&lt;",
        "&#60;",
        "&#x5b;",
        "*",
        "**",
        "_",
        "~~",
        "# ",
        ": ",
        "x",
        "\u2060",
        "http://x.y",
        "www.x.y",
    ),
    *("\\begin{a}", "\\end{a}", "[ ] ", "'", '"', "="),
]


def odd(content: str) -> set[str]:
    """Return what is in a page that Markdown does not make of mere text, but links to headings."""
    page = Page(content)
    elsewhere = {a for a in page.addresses if not a.startswith("#")}
    return page.tags - PLAIN - {"a"} | page.handlers | elsewhere


def formgrader(text: str) -> str:
    """Return Markdown as nbgrader's formgrader shows it."""
    return MarkdownWithMath(renderer=IPythonRenderer(escape=False)).render(text)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("[x](javascript:f())")
@example("[x][y]\n\n[y]: javascript:f()")
@example("![x][y]\n\n[y]: //z/w.png")
@example("<script>f()</script>")
@example("$<img src=x onerror=f()>$")
def test_no_markdown_does_more_than_show_text(text: str) -> None:
    assert odd(formgrader(markdown(text))) == set()
    assert odd(typeset(markdown(text), draw=False)) == set()


@pytest.mark.parametrize(
    "text",
    [
        *("<script>f()</script>", "<img src=x onerror=f()>", "[x](javascript:f())"),
        *("http://x.y", "<http://x.y>", "[x](http://x.y)", "![x](http://x.y)"),
    ],
)
def test_as_it_was_written_it_would(text: str) -> None:
    assert odd(formgrader(text))
    assert odd(formgrader(markdown(text))) == odd(typeset(markdown(text))) == set()


@given(st.text())
def test_it_looks_as_it_did(text: str) -> None:
    assert markdown(text).replace("\u2060", "") == text.replace("\u2060", "")


@given(st.text(st.characters()) | st.text(st.sampled_from("\x1b\x07\n\r\t\udce9a=+@-")))
def test_a_terminal_prints_it_in_one_line(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


@given(st.text(st.sampled_from("a1=+-@;,|\t\r\n\"' ")), st.sampled_from(",;\t|"))
@example("a;=1+1", ";")
@example('a";=1', ";")
@example("\t=1", ",")
def test_a_spreadsheet_computes_nothing(text: str, separator: str) -> None:
    """However the spreadsheet parts the line that the module csv wrote."""
    line = io.StringIO()
    csv.writer(line).writerow(["Ada", spreadsheet_cell(text), "5"])
    cells = re.split(f'[{re.escape(separator)}\r\n"]', line.getvalue())
    assert [cell for cell in cells if cell.strip()[:1] in tuple("=+-@")] == []


def test_other_text_is_left_alone() -> None:
    assert spreadsheet_cell("Ada = 1") == "Ada = 1"
    assert markdown("1 < 2, x[0] and *y*") == "1 < 2, x[0] and *y*"
    assert shorter("abc", 0) == "… (3 more characters)"
