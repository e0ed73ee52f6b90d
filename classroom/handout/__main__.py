"""Make the students' handout: `make handout`.

Writes NAME-handout.zip (the assignment without its solutions, the lessons and all they need),
handout.html (the tasks, to be printed) and, where there is a browser to print with, handout.pdf.
"""

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path

DIST = Path(__file__).resolve().parents[2] / "dist"


def main() -> None:
    """Read the command line, build, and say what was made."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--out", type=Path, default=DIST, help="folder to write into")
    given = told.parse_args()
    try:
        from classroom.handout.build import build
        from classroom.handout.sheet import print_page

        archive, page = build(given.out)
        print(_described(archive), page, sep="\n")
        print(print_page(page))
    except ModuleNotFoundError as error:
        missing = error.name.partition(".")[0]
        sys.exit(
            f"{missing} is not installed: install the extra [teacher]: "
            "pip install --editable '.[teacher]'"
        )
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))


def _described(archive: Path) -> str:
    with zipfile.ZipFile(archive) as packed:
        count = len(packed.namelist())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return f"{archive}: {count} files, {archive.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}"


if __name__ == "__main__":
    main()
