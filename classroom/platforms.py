"""What does a learning platform's list of the class say, and what goes back to the platform?

Moodle's grading worksheet or list of participants, and Canvas's gradebook: each is CSV in its own
way. What is not a grade goes back as it came, byte for byte.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from classroom.collect import platform
from classroom.harmless import printable, some

_NUMBER = ("identifier", "id")  # headings in small letters: Moodle's "Participant 12345", Canvas's
_NAMES = ("full name", "student", "username", "sis login id")
_FIRST, _LAST = ("first name", "firstname"), ("last name", "lastname", "surname")
_GRADE = re.compile(r"Grade|.+ \(\d+\)")  # as Moodle and Canvas head it


@dataclass(frozen=True)
class Listed:
    """A student as the list has them."""

    row: int
    number: str  # the platform's, or an empty text
    name: str
    called: frozenset[str]  # what a submission's name may be, as `_key` has it


class ClassList:
    """A class, read from a file; `column` names that of the grades, where several could be it.

    A FileNotFoundError or ValueError says what is wrong with the file.
    """

    def __init__(self, path: Path, column: str = "") -> None:
        self.path = path
        if not path.is_file():
            raise FileNotFoundError(f"CLASS={path} is no file: give the list that you downloaded.")
        try:
            self._rows = list(_rows(path.read_bytes().decode()))
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not in UTF-8: download it again.") from None
        self._headings = [_value(*cell) for cell in self._rows[0]]
        self._places = {h.casefold(): place for place, h in enumerate(self._headings)}
        self._numbered = any(heading in self._places for heading in _NUMBER)
        self.listed = list(self._students())
        if not self.listed:
            raise ValueError(
                f"{path} lists nobody: give Moodle's grading worksheet or participants, or "
                f"Canvas's gradebook, in English; here are {some(self._headings)}."
            )
        fit = [h for h in self._headings if (h == column if column else _GRADE.fullmatch(h))]
        if len(fit) > 1 or (column and not fit):
            raise ValueError(
                f"{path} has {len(fit)} columns for the grades ({some(fit or self._headings)}): "
                "name one, as ARGS=\"--column 'Lab 2 (123)'\"."
            )
        self._grade = self._headings.index(fit[0]) if fit else None

    def match(
        self, students: Mapping[str, tuple[str, str]]
    ) -> tuple[dict[str, Listed], dict[str, str], list[Listed]]:
        """Return who in the list is whom, why others are nobody there, and who is left over.

        `students` are numbers and names by identifier.
        """
        found, why, doubtful = {}, {}, set()
        for student, (number, name) in students.items():
            by_number, key = number and self._numbered, _key(name)
            fit = [s for s in self.listed if (s.number == number if by_number else key in s.called)]
            doubtful.update(fit)
            if len(fit) != 1:
                many = f"{len(fit)} times" if fit else "not"
                why[student] = f"{name} {number}".strip() + f" is {many} in the class list"
            elif by_number and not _agree(fit[0].called, key):
                why[student] = f"{number} is {fit[0].name} in the class list, and {name} here"
            else:
                found[student] = fit[0]
        times = Counter(found.values())
        for student, one in found.items():
            if times[one] > 1:
                why[student] = f"others, too, are {one.name} of the class list by their name"
        found = {student: one for student, one in found.items() if student not in why}
        return found, why, [one for one in self.listed if one not in doubtful]

    def filled(self, grades: Mapping[Listed, str]) -> bytes | None:
        """Return the file with these grades; None where it has no column for them."""
        if self._grade is None:
            return None
        rows = [list(row) for row in self._rows]
        for one, grade in grades.items():
            before, end = rows[one.row][self._grade]
            rows[one.row][self._grade] = (f'"{grade}"' if before[:1] == '"' else grade), end
        return "".join(text + end for row in rows for text, end in row).encode()

    def _students(self) -> Iterator[Listed]:
        for place, row in enumerate(self._rows[1:], 1):
            if not "".join(text for text, _ in row):
                continue
            if len(row) != len(self._headings):
                raise ValueError(
                    f"{self.path} has {len(row)} cells in row {place + 1} and "
                    f"{len(self._headings)} headings: download it again."
                )
            number = re.search(r"\d*$", next(self._cells(row, _NUMBER), ""))[0]
            first, last = (next(self._cells(row, names), "") for names in (_FIRST, _LAST))
            names = [*self._cells(row, _NAMES), *filter(None, [f"{first} {last}".strip()])]
            # Canvas has rows that are no student's, as that of the points possible.
            if number or (names and not self._numbered):
                turned = [" ".join(reversed(name.split(","))) for name in names]
                called = frozenset(filter(None, map(_key, [*names, *turned])))
                yield Listed(place, number, printable((names or [""])[-1 if first else 0]), called)

    def _cells(self, row: list[tuple[str, str]], headings: tuple[str, ...]) -> Iterator[str]:
        places = (self._places[heading] for heading in headings if heading in self._places)
        return filter(None, (_value(*row[place]) for place in places))


def feedback_name(student: str, number: str, handed_in_as: str) -> str:
    """Return the path of a student's feedback in the zip file that the platform takes back.

    >>> feedback_name("Ann-Lee-7", "7", "class/Ann Lee_7_assignsubmission_file_/lab.ipynb")
    'Ann Lee_7_assignsubmission_file_/feedback.html'
    >>> feedback_name("leeann-7", "7", "leeann_7_89_lab.ipynb")
    'leeann_7_89_feedback.html'
    """
    for part in handed_in_as.split("/"):
        named = platform(part)
        if named and named.groupdict().get("number") == number:
            own = part[: named.start("file")]
            return f"{own}{'/' * ('_assignsubmission_' in own)}feedback.html"
    return f"{student}/feedback.html"


def _rows(text: str) -> Iterator[list[tuple[str, str]]]:
    """Take CSV apart: cells as they are written, each with what ends it; together, the text."""
    parts = max(",;\t", key=text.partition("\n")[0].count)
    cell = rf'("(?:[^"]|"")*"(?=[{parts}\r\n]|\Z)|[^{parts}\r\n]*)({parts}|\r\n|\r|\n|\Z)'
    row = []
    for written, end in re.findall(cell, text):
        row.append((written, end))
        if end != parts:
            yield row
            row = []


def _value(written: str, _end: str = "") -> str:
    text = written.removeprefix("\ufeff")
    return (text[1:-1].replace('""', '"') if text[:1] == '"' else text).strip()


def _key(name: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def _agree(called: frozenset[str], key: str) -> bool:
    """Whether a name may be meant: Moodle puts a group's before it, or none if marking is blind."""
    return not called or key == "participant" or any(n in key or key in n for n in called)
