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

    Parameters
    ----------
    write : called with the open file

    Raises
    ------
    FileNotFoundError, PermissionError
        The folder is not there, or cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The folder {path.parent.resolve()} is not there: make it first, or choose another."
        ) from error
    except PermissionError as error:
        raise PermissionError(
            f"{path.resolve()} cannot be written: choose a folder of your own."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def only_writer(path: Path, doing: str = "comparing networks") -> Iterator[None]:
    """Hold a file or folder for a `with` block; a second program that wants it is told so."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent.resolve()} is not there: make it first, or choose another."
        )
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except PermissionError as error:
        raise PermissionError(
            f"{path.resolve()} cannot be written: choose a folder of your own."
        ) from error
    except Timeout as error:
        raise RuntimeError(
            f"Another program is {doing} into {path}: wait until it has finished, or "
            "give another path."
        ) from error
    try:
        yield
    finally:
        lock.release()
