"""Open the lessons where there is no clone of the project: python -m labutils [FOLDER].

A lesson that is in the folder already stays as it is, with the reader's work. What stands behind
the folder goes to JupyterLab, as --no-browser.
"""

import argparse
import re
import shutil
import sys
from pathlib import Path

from jupyterlab.labapp import LabApp

from labutils.base.home import lab_home

FIRST = "notebooks/00_start_here.ipynb"
LINK = r"\]\(\.\./([^)#\s]+)\)"  # in a lesson, to a file of the lab


def copy_lessons(folder: Path) -> None:
    """Make a folder the home of the lab, with the lessons and the files that they link to.

    Raises
    ------
    OSError
        It cannot be made or written.
    """
    for made in ("data/MNIST", "models", "notebooks"):
        (folder / made).mkdir(parents=True, exist_ok=True)
    lessons = sorted(lab_home(FIRST).parent.glob("0*.ipynb"))
    texts = "".join(lesson.read_text(encoding="utf-8") for lesson in lessons)
    parts = {f"notebooks/{lesson.name}" for lesson in lessons} | set(re.findall(LINK, texts))
    for part in sorted(part for part in parts if not (folder / part).exists()):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lab_home(part), folder / part)


def main(arguments: list[str] | None = None) -> None:
    """Copy the lessons and open JupyterLab on the first."""
    parser = argparse.ArgumentParser(prog="python -m labutils", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("pruning-lab"))
    parser.add_argument("--copy", action="store_true", help="do not open JupyterLab")
    asked, others = parser.parse_known_args(arguments)
    folder = asked.folder.absolute()
    try:
        copy_lessons(folder)
    except OSError as error:
        sys.exit(f"{folder} cannot be used ({error.strerror}): name another folder.")
    print(f"The lessons are in {folder}: the same command opens them again, with your work.")
    if not asked.copy:
        options = [f"--ServerApp.root_dir={folder}", f"--LabApp.default_url=/lab/tree/{FIRST}"]
        LabApp.launch_instance([*options, *others])


if __name__ == "__main__":
    main()
