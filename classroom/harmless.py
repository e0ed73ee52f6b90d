"""How does what a student wrote stay mere text, and short, wherever a teacher looks at it?

A terminal obeys control characters, a spreadsheet computes what begins like a formula, and a
browser runs scripts: in nbgrader's formgrader with all the rights of the teacher who is logged in.
"""

import re
from collections.abc import Iterable

MOST = 5  # names in one line
JOINER = "\u2060"  # takes no room and joins no words: nobody sees it
_FORMULA = re.compile(r"""(?:^|[;,|\t\r\n"'])\s*(?=[=+@-])""")  # what precedes one
# What opens a tag, a link, an image, or the definition of a link's address; and what an address
# has that Markdown makes a link of by itself.
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|\](?=[(\[:])|:(?=//)|\b(?i:www)(?=\.)|@(?=\w)")


def printable(text: str) -> str:
    r"""Return text that a terminal prints and does not obey.

    Bytes of a file's name that are not UTF-8 are read as Latin-1.

    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    text = re.sub("[\udc80-\udcff]", lambda byte: chr(ord(byte[0]) - 0xDC00), text)
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def spreadsheet_cell(text: str) -> str:
    """Return text in which no spreadsheet takes a part for a formula, whatever parts its cells.

    >>> spreadsheet_cell("=1+1"), spreadsheet_cell("1+1"), spreadsheet_cell("Ada; =1+1")
    ("'=1+1", '1+1', "Ada; '=1+1")
    """
    marked = _FORMULA.sub(r"\g<0>'", text)
    return f"'{marked}" if text[:1] in ("\t", "\r") else marked


def markdown(text: str) -> str:
    r"""Return Markdown without HTML, links and images; it looks as it did, in code too.

    >>> print(ascii(markdown("<b>a</b> < b, `x[0](1)`, http://x.y")))
    '<\u2060b>a<\u2060/b> < b, `x[0]\u2060(1)`, http:\u2060//x.y'
    """
    return _MARKUP.sub(lambda opening: opening[0] + JOINER, text)


def shorter(text: str, most: int) -> str:
    """Return text of at most so many characters, and a word on what is left out.

    >>> shorter("abcdef", 4), shorter("abcd", 4)
    ('abcd… (2 more characters)', 'abcd')
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def some(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> some(["ada", "bob"]), some("abcdefg")
    ('ada, bob', 'a, b, c, d, e and 2 more')
    """
    names = list(names)
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")
