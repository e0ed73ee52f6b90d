"""How are files packed so that the same files always give the same zip file?"""

import io
import os
import time
import zipfile
from collections.abc import Mapping

EARLIEST, LATEST = 315_532_800, 4_354_819_198  # 1980 to 2107: a zip file knows no other times


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return a zip file: sorted names, one time, one mode; the same with every clock and umask.

    The time of the files is the beginning of 1980, or ``SOURCE_DATE_EPOCH`` where that is set
    (seconds since 1970, see https://reproducible-builds.org/specs/source-date-epoch).

    Raises
    ------
    ValueError
        ``SOURCE_DATE_EPOCH`` is not a number.
    """
    moment, buffer = _moment(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, moment)
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=9)
    return buffer.getvalue()


def _moment() -> tuple[int, int, int, int, int, int]:
    given = os.environ.get("SOURCE_DATE_EPOCH") or str(EARLIEST)
    try:
        seconds = min(max(int(given), EARLIEST), LATEST)
    except ValueError:
        raise ValueError(
            f"SOURCE_DATE_EPOCH is {given!r}: give whole seconds since 1970, or unset it."
        ) from None
    return time.gmtime(seconds)[:6]
