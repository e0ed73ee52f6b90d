"""Which files lie in a folder or a zip file, and what is in them?

Nothing is unpacked onto the disk, no link is followed, and a file that cannot be read is a file
with a problem, never an error.
"""

import io
import itertools
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

LARGEST_ZIP = 50_000_000  # bytes: all the zip files of one student
MOST_ENTRIES = 10_000  # in one zip file
OUTSIDE = "has a path that leads out of the archive"
_LINK = "is a link, and links are not followed"
# What zipfile raises on a damaged archive, besides its own error.
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError)
_BROKEN += (EOFError, OSError, ArithmeticError, LookupError)


@dataclass(frozen=True)
class File:
    """A file, or a folder, that was handed in."""

    path: str  # as found; a folder's ends in "/"
    open: Callable[[], IO[bytes]] | None = None  # gives its bytes, of a file that can be opened
    problem: str = ""  # why it cannot be read, to follow its name in a sentence
    notes: tuple[str, ...] = ()  # what a teacher should know
    parts: tuple[str, ...] = ()  # the path, cleaned; once it is a student's, below that student
    moment: str = ""  # of the attempt, as text that sorts by time
    content: bytes | None = None  # once loaded

    @property
    def suffix(self) -> str:
        """The end of its name, as ".ipynb", in small letters."""
        return PurePosixPath(self.parts[-1]).suffix.lower()

    @property
    def called(self) -> str:
        """What to call it in a message."""
        return "/".join(self.parts).rstrip("/") or "the folder"


def files_in(path: Path, stack: ExitStack) -> list[File]:
    """Return all there is in a folder or a zip file, or the one notebook itself.

    The stack keeps a zip file open until its files are loaded. What is raised, `collect` says.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: give the folder or zip file in which the submissions are."
        )
    try:
        if path.is_dir():
            return sorted(_in_folder(path), key=lambda file: file.path)
        if path.is_file() and path.suffix.lower() == ".ipynb":
            return [File(path.name, partial(path.open, "rb"), parts=(path.name,))]
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


def _in_folder(root: Path) -> list[File]:
    found = []

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root:
            raise error
        path = f"{Path(error.filename).relative_to(root).as_posix()}/"
        found.append(File(path, problem="cannot be read", parts=_parts(path)))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        found += [_entry(root, Path(folder, name)) for name in (*folders, *names)]
        folders[:] = [name for name in folders if not _ignored(name)]
    return found


def _entry(root: Path, place: Path) -> File:
    path, mode, problem = place.relative_to(root).as_posix(), place.lstat().st_mode, ""
    if stat.S_ISLNK(mode):
        # A link to a student's folder is that student's; where it leads is not looked at.
        path, problem = path if place.suffix else f"{path}/", _LINK
    elif stat.S_ISDIR(mode):
        path += "/"
    elif not stat.S_ISREG(mode):
        problem = "is not a regular file"
    stream = partial(place.open, "rb") if stat.S_ISREG(mode) else None
    return File(path, stream, problem, parts=_parts(path))


def _open_zip(source: Path | io.BytesIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except PermissionError:
        raise
    except _BROKEN as error:
        raise ValueError("is not a whole zip file") from error


def _in_zip(archive: zipfile.ZipFile) -> list[File]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"has {len(entries):,} entries, more than the {MOST_ENTRIES:,} allowed")
    times = Counter(entry.filename for entry in entries)
    files = []
    for entry in {entry.filename: entry for entry in entries}.values():  # the last of each name
        path, count = _zip_path(entry), times[entry.filename]
        notes = (f"the archive has the file {count} times, the last was taken",) * (count > 1)
        stream = partial(archive.open, entry)
        files.append(File(path, stream, _zip_problem(entry, path), notes, _parts(path)))
    return sorted(files, key=lambda file: file.path)


def _zip_path(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    if not entry.flag_bits & 0x800:  # not marked as UTF-8, which it often is all the same
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _zip_problem(entry: zipfile.ZipInfo, path: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or re.match("[A-Za-z]:/", path):
        return OUTSIDE
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


def load(file: File, most: int) -> File:
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


def unzipped(files: list[File]) -> list[File]:
    """Return the files with those inside zip files in the place of these, one level deep."""
    found, read = [], 0
    for file in files:
        packed = load(file, LARGEST_ZIP) if file.suffix == ".zip" else file
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
