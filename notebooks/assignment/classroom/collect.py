"""Which file did which student hand in?

Learning platforms lay out a class's work in different ways; `collect` reads them all, and
gives one `Submission` per student. Nothing is unpacked onto the disk, no link is followed,
and what one student got wrong is that student's problem, never an error for the class.
"""

import hashlib
import io
import itertools
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

LARGEST_NOTEBOOK = 20_000_000  # bytes, unpacked
LARGEST_ZIP = 50_000_000  # bytes: all the zip files of one student
MOST_ENTRIES = 10_000  # in one zip file

_MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)")
_BLACKBOARD = re.compile(
    r"(?P<number>.+)_(?P<name>[^_]+)_attempt_\d{4}(?:-\d\d){5}(?:_(?P<file>.+)|\.txt)"
)
_CANVAS = re.compile(r"(?P<name>[^_]+)_(?P<late>LATE_)?(?P<number>\d+)_\d+_(?P<file>.+)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[-_ T](\d\d)[-:.](\d\d)[-:.](\d\d)")
_COPY = re.compile(r" ?\((\d{1,9})\)$|[-_](\d{1,9})$")  # how browsers and platforms number copies
_OUTSIDE = "has a path that leads out of the archive"
_LINK = "is a link, and links are not followed"
# What zipfile raises on a damaged archive, besides its own error.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError)
_BROKEN += (EOFError, OSError, ArithmeticError, LookupError)


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Attributes
    ----------
    student : identifier, stable across runs and safe as a folder's name: letters, digits,
        ``.``, ``_`` and ``-``, never empty, no leading dot
    name : the student as the learning platform wrote them
    content : the notebook's bytes, None if there is none to be graded
    handed_in_as : path, inside what was given, of the chosen file or of what was found
    problem : why it cannot be graded, in one sentence, or None
    notes : what a teacher should know, a sentence each
    """

    student: str
    name: str
    content: bytes | None
    handed_in_as: str
    problem: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    path: str  # as found; a folder's ends in "/"
    open: Callable[[], IO[bytes]] | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()  # the path, cleaned; once it is a student's, below that student
    moment: str = ""  # of the attempt, as text that sorts by time
    content: bytes | None = None

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.parts[-1]).suffix.lower()

    @property
    def called(self) -> str:
        return "/".join(self.parts).rstrip("/") or "the folder"


def collect(submissions: Path, notebook: str = "lab2_pruning") -> list[Submission]:
    """Return what each student handed in, sorted by student.

    Parameters
    ----------
    submissions : a folder or zip file, as it came from Moodle, Canvas, Blackboard or nbgrader
        or with a folder or a notebook per student, or one notebook
    notebook : the assignment's name, without ``.ipynb``

    Raises
    ------
    FileNotFoundError, PermissionError
        `submissions` is not there, or cannot be read.
    ValueError
        It is neither a folder nor a zip file nor a notebook, is damaged, has too many entries
        or holds nothing to grade.
    """
    path = Path(submissions)
    with ExitStack() as stack:  # a zip file stays open until its notebooks are read
        students = _by_student(path, _files(path, stack), notebook)
        found = [file for _, files in students.values() for file in files]
        if not any(file.parts[-1] or file.problem for file in found):
            raise ValueError(
                f"{path} holds nothing to grade: give a folder or zip file with a folder or a "
                "notebook (.ipynb) for each student."
            )
        identifiers = _identifiers({key: name for key, (name, _) in students.items()})
        collected = [
            _submission(identifiers[key], name, files, notebook)
            for key, (name, files) in students.items()
        ]
    return sorted(collected, key=lambda submission: submission.student)


def _files(path: Path, stack: ExitStack) -> list[_File]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: give the folder or zip file in which the submissions are."
        )
    try:
        if path.is_dir():
            return sorted(_in_folder(path), key=lambda file: file.path)
        if path.is_file() and path.suffix.lower() == ".ipynb":
            return [_File(path.name, partial(path.open, "rb"), parts=(path.name,))]
        if path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
            return _in_zip(stack.enter_context(_open_zip(path)))
    except PermissionError as error:
        raise PermissionError(f"{path} cannot be read: give yourself the right to.") from error
    except ValueError as error:
        raise ValueError(
            f"{path} {error}: download it again, or unpack it and give the folder."
        ) from error
    raise ValueError(
        f"{path} is neither a folder nor a zip file: give the folder or zip file in which the "
        "submissions are, or one notebook (.ipynb)."
    )


def _in_folder(root: Path) -> Iterator[_File]:
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(root / inside) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            if not inside:
                raise
            yield _File(inside, problem="cannot be read", parts=_parts(inside))
            continue
        for entry in entries:
            file = _entry(root, inside + entry.name, entry)
            yield file
            if file.path.endswith("/") and not file.problem and not _ignored(entry.name):
                waiting.append(file.path)


def _entry(root: Path, path: str, entry: os.DirEntry[str]) -> _File:
    if entry.is_symlink():
        # A link to a student's folder is that student's; where it leads is not looked at.
        path = path if PurePosixPath(path).suffix else f"{path}/"
        return _File(path, problem=_LINK, parts=_parts(path))
    if entry.is_dir(follow_symlinks=False):
        return _File(f"{path}/", parts=_parts(f"{path}/"))
    if not entry.is_file(follow_symlinks=False):
        return _File(path, problem="is not a regular file", parts=_parts(path))
    return _File(path, partial((root / path).open, "rb"), parts=_parts(path))


def _open_zip(source: Path | io.BytesIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except PermissionError:
        raise
    except _BROKEN as error:
        raise ValueError("is not a whole zip file") from error


def _in_zip(archive: zipfile.ZipFile) -> list[_File]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"has {len(entries):,} entries, more than the {MOST_ENTRIES:,} allowed")
    times = Counter(entry.filename for entry in entries)
    files = []
    for entry in {entry.filename: entry for entry in entries}.values():  # the last of each name
        path = _zip_path(entry)
        count = times[entry.filename]
        notes = (f"the archive has the file {count} times, the last was taken",) * (count > 1)
        file = _File(path, partial(archive.open, entry), _zip_problem(entry, path), notes)
        files.append(replace(file, parts=_parts(path)))
    return sorted(files, key=lambda file: file.path)


def _zip_path(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    if not entry.flag_bits & 0x800:  # not marked as UTF-8, which it often is all the same
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _zip_problem(entry: zipfile.ZipInfo, path: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or re.match("[A-Za-z]:/", path):
        return _OUTSIDE
    if stat.S_ISLNK(entry.external_attr >> 16):
        return _LINK
    if entry.flag_bits & 1:
        return "is encrypted"
    # Of the others zipfile unpacks whole blocks, however large: no limit would hold.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in another way than zip files usually are"
    return ""


def _ignored(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _parts(path: str) -> tuple[str, ...]:
    """Return the steps of a path; one that ends at something ignored ends as a folder does."""
    *folders, name = path.split("/")
    steps = [step for step in folders if step not in ("", ".", "..")]
    kept = list(itertools.takewhile(lambda step: not _ignored(step), [*steps, name]))
    return tuple(kept) if len(kept) > len(steps) else (*kept, "")


def _is_work(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in (".ipynb", ".zip")


def _platform(name: str) -> re.Match[str] | None:
    matches = (pattern.fullmatch(name) for pattern in (_MOODLE, _BLACKBOARD, _CANVAS))
    return next(filter(None, matches), None)


def _named(name: str, notebook: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return suffix == ".ipynb" and notebook.lower() in (stem, _COPY.sub("", stem))


def _by_student(
    path: Path, files: list[_File], notebook: str
) -> dict[str, tuple[str, list[_File]]]:
    """Return each student's name and files, by a key no two students share."""
    if not path.is_dir() and path.suffix.lower() == ".ipynb":
        return {path.stem: (path.stem, files)}
    files = [file for file in _unwrapped(files, notebook) if any(file.parts)]
    loose = [file.parts[0] for file in files if len(file.parts) == 1]
    flat = any(_is_work(name) and not _platform(name) for name in loose)
    students: dict[str, tuple[str, list[_File]]] = {}
    for file in files:
        first = file.parts[0]
        # Beside students' folders, a loose list of grades is nobody's work.
        if len(file.parts) > 1 or flat or _is_work(first) or _platform(first):
            key, name, theirs = _label(file)
            students.setdefault(key, (name, []))[1].append(theirs)
    return students


def _unwrapped(files: list[_File], notebook: str) -> list[_File]:
    """Return the files as seen from inside the one folder that holds the class, if one does."""
    sound = [file.parts for file in files if any(file.parts) and file.problem != _OUTSIDE]
    tops = {parts[0] for parts in sound if len(parts) > 1}
    loose = [parts[0] for parts in sound if len(parts) == 1]
    if len(tops) != 1 or any(_is_work(name) or _platform(name) for name in loose):
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
    if _platform(top) or any(_platform(name) for name in names):
        return not _platform(top)
    if any(_named(name, notebook) or name.lower() == notebook.lower() for name in names):
        return False
    work = [parts[0] for parts in inside if len(parts) == 1 and _is_work(parts[0])]
    return len(work) > 1 or (not work and any(len(parts) > 1 for parts in inside))


def _label(file: _File) -> tuple[str, str, _File]:
    """Return a student's key and name, and the file as theirs."""
    top, *below = file.parts
    platform = _platform(top)
    if platform:
        named = platform.groupdict()
        key, name = f"{named['name']}_{named['number']}", named["name"]
        parts = ([named["file"]] if named["file"] else []) + below or [top]
    else:
        named = {}
        key = name = top if below else PurePosixPath(top).stem
        parts = below or [top]
    late = ("the platform marked it as late",) if named.get("late") else ()
    # Only platforms' names and folders are trusted to say when: a backup has a date, too.
    dated = file.parts[1:-1] if _is_work(file.parts[-1]) else ()
    dated = file.parts if "_attempt_" in file.parts[-1] else dated
    found = _MOMENT.search("/".join(dated))
    moment = "{} {}:{}:{}".format(*found.groups()) if found else ""
    return key, name, replace(file, parts=tuple(parts), moment=moment, notes=late + file.notes)


def _identifiers(names: dict[str, str]) -> dict[str, str]:
    """Return an identifier for each key, different even where case does not count."""
    plain = {key: _identifier(name) for key, name in names.items()}
    identifiers = plain
    for length in (8, 16, 64):
        times = Counter(identifier.lower() for identifier in identifiers.values())
        identifiers = {
            key: f"{plain[key]}-{_digest(key)[:length]}" if times[old.lower()] > 1 else old
            for key, old in identifiers.items()
        }
    return identifiers


def _identifier(name: str) -> str:
    spelled = unicodedata.normalize("NFKD", _printable(name))
    letters = "".join(letter for letter in spelled if not unicodedata.combining(letter))
    identifier = re.sub("[^A-Za-z0-9._-]+", "-", letters)[:80].strip("-.")
    return identifier if identifier.strip("-._") else f"student-{_digest(name)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _printable(text: str) -> str:
    """Return text that can be printed: bytes that are not UTF-8 are read as Latin-1."""
    text = re.sub("[\udc80-\udcff]", lambda byte: chr(ord(byte[0]) - 0xDC00), text)
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _listed(names: Iterable[str]) -> str:
    first, more = (names := list(names))[:5], len(names) - 5
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _submission(student: str, name: str, files: list[_File], notebook: str) -> Submission:
    files = [file for file in files if file.parts[-1] or file.problem] or files[:1]
    notes: list[str] = []
    try:
        chosen = _loaded(_choice(files, name, notebook, notes), LARGEST_NOTEBOOK)
        path, content = chosen.path, chosen.content
        problem = _printable(f"{chosen.called} {chosen.problem}") if chosen.problem else None
    except ValueError as error:
        path, content, problem = _listed(file.path for file in files), None, _printable(str(error))
    said = tuple(map(_printable, notes))
    return Submission(student, _printable(name), content, _printable(path), problem, said)


def _loaded(file: _File, most: int) -> _File:
    """Return a file with its content, of at most so many bytes, or with a problem."""
    if file.problem or file.open is None:
        return file
    try:
        with file.open() as stream:
            content = stream.read(most + 1)  # the size an archive declares may be a lie
    except PermissionError:
        return replace(file, problem="cannot be read: permission denied")
    except _BROKEN:
        return replace(file, problem="is damaged")
    if not content:
        return replace(file, problem="is empty")
    if len(content) > most:
        return replace(file, problem=f"is larger than the {most // 10**6} MB allowed")
    return replace(file, content=content)


def _choice(files: list[_File], name: str, notebook: str, notes: list[str]) -> _File:
    """Return the notebook to grade: the one named right, of several the highest numbered."""
    files = _newest(files, notes)
    notebooks = [file for file in files if file.suffix == ".ipynb"]
    if not notebooks:
        files = _unzipped(files)
        notebooks = [file for file in files if file.suffix == ".ipynb"]
    if not notebooks:
        raise ValueError(_no_notebook(files))
    right = [file for file in notebooks if _named(file.parts[-1], notebook)]
    among = [file for file in right or notebooks if not file.problem] or right or notebooks
    called = _listed(file.called for file in notebooks)
    if len(among) > 1 and not right:
        raise ValueError(f"{len(among)} notebooks and none named {notebook}.ipynb: {called}")
    chosen = max(among, key=_rank)
    if len(notebooks) > 1:
        notes.append(f"{len(notebooks)} notebooks ({called}), {chosen.called} was taken")
    elif not right and PurePosixPath(chosen.parts[-1]).stem != name:
        notes.append(f"the file was called '{chosen.parts[-1]}'")
    notes.extend(chosen.notes)
    return chosen


def _newest(files: list[_File], notes: list[str]) -> list[_File]:
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


def _rank(file: _File) -> tuple[int, list[int], str]:
    """Order notebooks: the outermost last, then by the number a browser gave to a copy."""
    stems = [PurePosixPath(part).stem for part in reversed(file.parts)]
    found = [_COPY.search(stem) for stem in stems]
    numbers = [int(copy[1] or copy[2]) if copy else 0 for copy in found]
    return -len(file.parts), numbers, file.path


def _unzipped(files: list[_File]) -> list[_File]:
    """Return the files with those inside zip files in the place of these, one level deep."""
    found, read = [], 0
    for file in files:
        packed = _loaded(file, LARGEST_ZIP) if file.suffix == ".zip" else file
        if packed.content is None:
            found.append(packed)
            continue
        read += len(packed.content)
        if read > LARGEST_ZIP:
            raise ValueError(f"the zip files have more than {LARGEST_ZIP // 10**6} MB together")
        try:
            inner = _in_zip(_open_zip(io.BytesIO(packed.content)))
        except ValueError as error:
            inner = []
            found.append(replace(packed, problem=str(error)))
        for one in inner:
            if one.parts[-1]:
                path, parts = f"{file.path}/{one.path}", file.parts + one.parts
                found.append(replace(one, path=path, parts=parts, notes=file.notes + one.notes))
    return found


def _no_notebook(files: list[_File]) -> str:
    for file in files:
        if file.problem and file.suffix in ("", ".zip"):
            return f"{file.called} {file.problem}"
    called = [file.called for file in files if file.parts[-1]]
    if not called:
        return "no notebook (.ipynb): nothing was handed in"
    many = f"{len(called)} file{'s' * (len(called) > 1)}"
    return f"no notebook (.ipynb) among the {many} handed in: {_listed(called)}"
