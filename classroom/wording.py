"""How are many names told in one line?"""

from collections.abc import Iterable

MOST = 5


def some(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> some(["ada", "bob"]), some("abcdefg")
    ('ada, bob', 'a, b, c, d, e and 2 more')
    """
    names = list(names)
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")
