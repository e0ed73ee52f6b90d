"""Write a file whole or not at all."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
