"""Make the students' handout: `make handout`.

    python -m classroom.handout [--out FOLDER]

Writes eai-lab2-handout.zip (the assignment without its solutions, the lessons and all they need),
handout.html (the tasks, to be printed) and, where there is a browser to print with, handout.pdf.
"""

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path

from classroom.assignment import PROJECT
from classroom.handout.build import build
from classroom.handout.paper import print_page


def main() -> None:
    """Read the command line, build, and say what was made."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--out", type=Path, default=PROJECT / "dist", help="folder to write into")
    given = told.parse_args()
    try:
        archive, page = build(given.out)
        print(_described(archive), page, sep="\n")
        print(print_page(page))
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        sys.exit(str(error))


def _described(archive: Path) -> str:
    with zipfile.ZipFile(archive) as packed:
        count = len(packed.namelist())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return f"{archive}: {count} files, {archive.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}"


if __name__ == "__main__":
    main()
