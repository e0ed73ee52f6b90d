"""Which file did which student hand in?

Learning platforms lay out a class's work in different ways; `collect` reads them all, and
gives one `Submission` per student. What one student got wrong is that student's problem, never
an error for the class.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from classroom.harmless import printable, some
from classroom.incoming import OUTSIDE, File, files_in, load, unzipped

LARGEST_NOTEBOOK = 20_000_000  # bytes, unpacked

_MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)")
_BLACKBOARD = re.compile(
    r"(?P<course>.+)_(?P<name>[^_]+)_attempt_\d{4}(?:-\d\d){5}(?:_(?P<file>.+)|\.txt)"
)
_CANVAS = re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<number>\d+)_\d+_(?P<file>.+)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[-_ T](\d\d)[-:.](\d\d)[-:.](\d\d)")
_COPY = re.compile(r" ?\((\d{1,9})\)$|[-_](\d{1,9})$")  # how browsers and platforms number copies


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    `student` identifies them, the same in every run, and is safe as a folder's name: letters,
    digits, ``.``, ``_`` and ``-``, never empty, no leading dot. It ends with the platform's number
    of the student, where there is one: two may have one name, and come in different downloads.
    """

    student: str
    number: str  # the platform's, or an empty text
    name: str  # as the learning platform wrote it
    content: bytes | None  # of the notebook, None if there is none to be graded
    handed_in_as: str  # path, inside what was given, of the chosen file or of what was found
    problem: str | None  # why it cannot be graded, in one sentence
    notes: tuple[str, ...]  # what a teacher should know, a sentence each


def collect(submissions: Path, notebook: str = "lab2_pruning") -> list[Submission]:
    """Return what each student handed in, sorted by student.

    `submissions` is a folder or zip file, as it came from Moodle, Canvas, Blackboard or nbgrader
    or with a folder or a notebook per student, or one notebook; `notebook` is the assignment's
    name. A FileNotFoundError, PermissionError or ValueError says why nothing can be graded.
    """
    path = Path(submissions)
    with ExitStack() as stack:  # a zip file stays open until its notebooks are read
        students = _by_student(path, files_in(path, stack), notebook)
        found = [file for *_, files in students.values() for file in files]
        if not any(file.parts[-1] or file.problem for file in found):
            raise ValueError(
                f"{path} holds nothing to grade: give a folder or zip file with a folder or a "
                "notebook (.ipynb) for each student."
            )
        identifiers = _identifiers({key: known[:2] for key, known in students.items()})
        collected = [
            _submission(identifiers[key], *known, notebook) for key, known in students.items()
        ]
    return sorted(collected, key=lambda submission: submission.student)


def _is_work(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in (".ipynb", ".zip")


def platform(name: str) -> re.Match[str] | None:
    """Return what a platform says with the name of a file or folder; None if it made none."""
    matches = (pattern.fullmatch(name) for pattern in (_MOODLE, _BLACKBOARD, _CANVAS))
    return next(filter(None, matches), None)


def _named(name: str, notebook: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return suffix == ".ipynb" and notebook.lower() in (stem, _COPY.sub("", stem))


def _by_student(path: Path, files: list[File], notebook: str) -> dict[str, tuple]:
    """Return each student's name, number and files, by a key no two students share."""
    if not path.is_dir() and path.suffix.lower() == ".ipynb":
        return {path.stem: (path.stem, "", files)}
    files = [file for file in _unwrapped(files, notebook) if any(file.parts)]
    loose = [file.parts[0] for file in files if len(file.parts) == 1]
    flat = any(_is_work(name) and not platform(name) for name in loose)
    students: dict[str, tuple[str, str, list[File]]] = {}
    for file in files:
        first = file.parts[0]
        # Beside students' folders, a loose list of grades is nobody's work.
        if len(file.parts) > 1 or flat or _is_work(first) or platform(first):
            key, name, number, theirs = _label(file)
            students.setdefault(key, (name, number, []))[2].append(theirs)
    return students


def _unwrapped(files: list[File], notebook: str) -> list[File]:
    """Return the files as seen from inside the one folder that holds the class, if one does."""
    sound = [file.parts for file in files if any(file.parts) and file.problem != OUTSIDE]
    tops = {parts[0] for parts in sound if len(parts) > 1}
    loose = [parts[0] for parts in sound if len(parts) == 1]
    if len(tops) != 1 or any(_is_work(name) or platform(name) for name in loose):
        return files
    top = tops.pop()
    if not _is_class(top, [parts[1:] for parts in sound if any(parts[1:])], notebook):
        return files
    return [
        replace(file, parts=file.parts[file.parts[0] == top :])
        for file in files
        if file.parts[0] == top or file.problem
    ]


def _is_class(top: str, inside: list[tuple[str, ...]], notebook: str) -> bool:
    """Is a folder that lies there alone the class's? Otherwise it is the only student's."""
    names = {parts[0] for parts in inside}
    if platform(top) or any(platform(name) for name in names):
        return not platform(top)
    if any(_named(name, notebook) or name.lower() == notebook.lower() for name in names):
        return False
    work = [parts[0] for parts in inside if len(parts) == 1 and _is_work(parts[0])]
    return len(work) > 1 or (not work and any(len(parts) > 1 for parts in inside))


def _label(file: File) -> tuple[str, str, str, File]:
    """Return a student's key, name and number, and the file as theirs."""
    top, *below = file.parts
    known = platform(top)
    named = known.groupdict() if known else {}
    name = named.get("name") or (top if below else PurePosixPath(top).stem)
    number = named.get("number", "")
    key = f"{name}_{number or named['course']}" if known else name
    parts = ([named["file"]] if named.get("file") else []) + below or [top]
    late = ("the platform marked it as late",) if named.get("late") else ()
    # Only platforms' names and folders are trusted to say when: a backup has a date, too.
    dated = file.parts[1:-1] if _is_work(file.parts[-1]) else ()
    dated = file.parts if "_attempt_" in file.parts[-1] else dated
    found = _MOMENT.search("/".join(dated))
    moment = "{} {}:{}:{}".format(*found.groups()) if found else ""
    theirs = replace(file, parts=tuple(parts), moment=moment, notes=late + file.notes)
    return key, name, number, theirs


def _identifiers(names: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return an identifier for each key, different even where case does not count."""
    plain = {key: "-".join(filter(None, (_identifier(n), i))) for key, (n, i) in names.items()}
    found = plain
    for length in (8, 16, 64):
        times = Counter(map(str.lower, found.values()))
        found = {
            key: f"{plain[key]}-{_digest(key)[:length]}" if times[old.lower()] > 1 else old
            for key, old in found.items()
        }
    return found


def _identifier(name: str) -> str:
    spelled = unicodedata.normalize("NFKD", printable(name))
    letters = "".join(letter for letter in spelled if not unicodedata.combining(letter))
    identifier = re.sub("[^A-Za-z0-9._-]+", "-", letters)[:80].strip("-.")
    return identifier if identifier.strip("-._") else f"student-{_digest(name)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _submission(
    student: str, name: str, number: str, files: list[File], notebook: str
) -> Submission:
    files = [file for file in files if file.parts[-1] or file.problem] or files[:1]
    notes: list[str] = []
    try:
        chosen = load(_choice(files, name, notebook, notes), LARGEST_NOTEBOOK)
        path, content = chosen.path, chosen.content
        problem = printable(f"{chosen.called} {chosen.problem}") if chosen.problem else None
    except ValueError as error:
        path, content, problem = some(file.path for file in files), None, printable(str(error))
    said = tuple(map(printable, notes))
    return Submission(student, number, printable(name), content, printable(path), problem, said)


def _choice(files: list[File], name: str, notebook: str, notes: list[str]) -> File:
    """Return the notebook to grade: the one named right, of several the highest numbered."""
    files = _newest(files, notes)
    notebooks = [file for file in files if file.suffix == ".ipynb"]
    if not notebooks:
        files = unzipped(files)
        notebooks = [file for file in files if file.suffix == ".ipynb"]
    if not notebooks:
        raise ValueError(_no_notebook(files))
    right = [file for file in notebooks if _named(file.parts[-1], notebook)]
    among = [file for file in right or notebooks if not file.problem] or right or notebooks
    called = some(file.called for file in notebooks)
    if len(among) > 1 and not right:
        raise ValueError(f"{len(among)} notebooks and none named {notebook}.ipynb: {called}")
    chosen = max(among, key=_rank)
    if len(notebooks) > 1:
        notes.append(f"{len(notebooks)} notebooks ({called}), {chosen.called} was taken")
    elif not right and PurePosixPath(chosen.parts[-1]).stem != name:
        notes.append(f"the file was called '{chosen.parts[-1]}'")
    notes.extend(chosen.notes)
    return chosen


def _newest(files: list[File], notes: list[str]) -> list[File]:
    """Return the files of the newest attempt, if all notebooks say of which they are."""
    moments = {file.moment for file in files if file.moment or _is_work(file.parts[-1])}
    if "" in moments or len(moments) < 2:
        return files
    newest = [file for file in files if file.moment == max(moments)]
    notes.append(f"{len(moments)} attempts, the newest of {max(moments)} was taken")
    with_work = {file.moment for file in files if _is_work(file.parts[-1])}
    if with_work and max(moments) not in with_work:
        notes.append("an earlier attempt has a notebook or a zip file")
    return newest


def _rank(file: File) -> tuple[int, list[int], str]:
    """Order notebooks: the outermost last, then by the number a browser gave to a copy."""
    stems = [PurePosixPath(part).stem for part in reversed(file.parts)]
    found = [_COPY.search(stem) for stem in stems]
    numbers = [int(copy[1] or copy[2]) if copy else 0 for copy in found]
    return -len(file.parts), numbers, file.path


def _no_notebook(files: list[File]) -> str:
    for file in files:
        if file.problem and file.suffix in ("", ".zip"):
            return f"{file.called} {file.problem}"
    called = [file.called for file in files if file.parts[-1]]
    if not called:
        return "no notebook (.ipynb): nothing was handed in"
    many = f"{len(called)} file{'s' * (len(called) > 1)}"
    return f"no notebook (.ipynb) among the {many} handed in: {some(called)}"
