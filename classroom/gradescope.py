"""How does Gradescope grade with the same checks, shut in the same way?

`python -m classroom.gradescope` writes eai-lab2-gradescope.zip, to be uploaded as an assignment's
autograder. What it grades with, and where results go, is laid down in
https://gradescope-autograders.readthedocs.io/en/latest/specs
"""

import argparse
import json
import re
import shlex
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from classroom.assignment import FOLDER, NAME, PROJECT, course_file, parts
from classroom.grade import grade
from classroom.handout.build import make_writable, zipped
from classroom.handout.contents import PACKED, read
from classroom.records import Records
from labutils.base.writing import write_whole

CODE = (*PACKED, "classroom/*", "notebooks/assignment/source/*")
SETUP = """\
#!/bin/sh
set -e
apt-get update
apt-get install -y bubblewrap python3-venv
python3 -m venv /autograder/python
/autograder/python/bin/pip install torch torchvision {index}
/autograder/python/bin/pip install --editable '/autograder/source[teacher]'
"""
# What is written first stays if the grading does not live to write its own.
RUN = """\
#!/bin/sh
base="${{AUTOGRADER:-/autograder}}"
mkdir -p "$base/results"
echo '{lost}' > "$base/results/results.json"
cd "$base/source" || exit
export ASSIGNMENT={name}
exec "${{PYTHON:-/autograder/python/bin/python}}" -m classroom.gradescope --grade "$base"{options}
"""
LOST = "The grading stopped before it was through. That is no mark: your teacher sees why."


def main() -> None:
    """Read the command line; build, or grade."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--out", type=Path, default=PROJECT / "dist", help="folder to write into")
    told.add_argument("--torch-index", default="", help="address of PyTorch without CUDA")
    told.add_argument("--leaderboard", action="store_true", help="of the networks of Exercise 8")
    told.add_argument("--unsafe", action="store_true", help="without a sandbox")
    told.add_argument("--grade", type=Path, help="what Gradescope calls: its folder /autograder")
    given = told.parse_args()
    if given.grade:
        text = json.dumps(results(given.grade, given.leaderboard, given.unsafe), indent=1)
        path = given.grade / "results" / "results.json"
        return write_whole(path, lambda file: file.write(text.encode()))
    try:
        options = " --leaderboard" * given.leaderboard + " --unsafe" * given.unsafe
        print(build(given.out, options, given.torch_index))
    except OSError as error:
        sys.exit(str(error))


def build(out: Path, options: str = "", torch_index: str = "") -> Path:
    """Write the zip file for Gradescope, with these options of the command; return its path."""
    if not FOLDER.is_relative_to(PROJECT):
        raise FileNotFoundError(f"{FOLDER} is not in {PROJECT}, which is what is packed: move it.")
    setup = SETUP.format(index=f"--index-url {shlex.quote(torch_index)}" if torch_index else "")
    run = RUN.format(
        name=shlex.quote(NAME), lost=json.dumps({"score": 0, "output": LOST}), options=options
    )
    files = {**read(PROJECT, CODE), "setup.sh": setup.encode(), "run_autograder": run.encode()}
    make_writable(out, "--out")
    path = out / "eai-lab2-gradescope.zip"
    write_whole(path, lambda file: file.write(zipped(files)))
    return path


def results(base: Path, leaderboard: bool, unsafe: bool) -> dict:
    """Grade what lies in `submission`; return what goes into results.json, whatever happens.

    What is printed, only teachers see.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            handed_in, course = Path(folder, "class"), Path(folder, "course")
            # As nbgrader lays it out, so that all of it is one student's.
            shutil.copytree(base / "submission", handed_in / "student" / NAME, symlinks=True)
            grade(handed_in, course, jobs=1, unsafe=unsafe, as_root=True)  # as it is there
            found = Records(course / "records").read("student")["latest"]
            released = parts(course_file(course, "release"))
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return {"score": 0, "output": LOST}
    print(*found["remarks"], sep="\n")
    if found["problem"]:
        return {"score": 0, "output": f"This could not be graded: {found['problem']}."}
    tests = [
        {
            "name": f"{part.exercise.capitalize()} ({part.name})",
            "score": found["marks"][part.name]["points"],
            "max_score": part.points,
            "output": found["marks"][part.name]["text"],
        }
        for part in released
        if part.kind == "check"
    ]
    told = {"score": sum(test["score"] for test in tests), "tests": tests}
    return {**told, "leaderboard": _places(found["marks"])} if leaderboard else told


def _places(marks: dict[str, dict]) -> list[dict]:
    """Return what a network is compared by, if it is one that counts."""
    said = re.search(
        r"([\d,]+) bytes, ([\d.]+)%.*: (?!0 of)", marks.get("ex8-check", {}).get("text", "")
    )
    if said is None:
        return []
    size = {"name": "Bytes", "value": int(said[1].replace(",", "")), "order": "asc"}
    return [size, {"name": "Right (%)", "value": float(said[2])}]


if __name__ == "__main__":
    main()
