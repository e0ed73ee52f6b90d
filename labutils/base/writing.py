"""Write a file whole or not at all, and one program at a time."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write beside the target, then rename: the rename is all or nothing.

    Of a link, what it points to is written.

    Parameters
    ----------
    write : called with the open file

    Raises
    ------
    OSError
        The folder is not there, or cannot be written; a device, a pipe or a folder is in the way.
    """
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not target.is_file():
        raise OSError(f"{path} is no ordinary file: choose another name.")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    with _clear_errors(target):
        try:
            with partial.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def only_writer(path: Path, doing: str = "comparing networks") -> Iterator[None]:
    """Hold a file or folder for a `with` block; a second program that wants it is told so."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    with _clear_errors(path):
        path.parent.stat()  # FileLock would make the folder
        try:
            lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"Another program is {doing} into {path}: wait until it has finished, or "
                "give another path."
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Say in one sentence what keeps a file from being written."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The folder {path.parent.absolute()} is not there: make it first, or choose another."
        ) from error
    except OSError as error:
        raise type(error)(
            f"{path.absolute()} cannot be written ({error.strerror}): choose a folder of your own, "
            "on a disk with room."
        ) from error
