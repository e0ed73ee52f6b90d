"""How long does grading a class take, and what does the sandbox cost?

    PYTHONPATH=. .venv/bin/python benchmarks/grading.py [STUDENTS]

Grades copies of the solved assignment, 20 if not told otherwise, two at a time, with the command a
teacher uses. Then starts a student's process with and without the sandbox, in turn.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from classroom.assignment import SOURCE
from classroom.sandbox import Limits
from classroom.session import Session

STARTS = 5


def start(*, unsafe: bool) -> float:
    """Return the seconds until a student's process answers."""
    begun = time.perf_counter()
    session = Session(Limits(), unsafe)
    session.run("first", "import labutils")
    session.close()
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    students = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        handed_in = Path(folder) / "class"
        handed_in.mkdir()
        for number in range(students):
            (handed_in / f"student{number:03}.ipynb").write_bytes(SOURCE.read_bytes())
        command = [sys.executable, "-m", "classroom.grade", "--as-root", handed_in]
        begun = time.perf_counter()
        subprocess.run([*command, "--course", Path(folder) / "course", "--jobs", "2"], check=True)
        seconds = time.perf_counter() - begun
    print(
        f"{students} submissions, two at a time: {seconds:.0f} s, {seconds / students:.1f} s each"
    )
    times = {True: [], False: []}
    for _ in range(STARTS):
        for unsafe, found in times.items():
            found.append(start(unsafe=unsafe))
    inside, outside = statistics.median(times[False]), statistics.median(times[True])
    print(f"start in the sandbox {inside:.2f} s, outside {outside:.2f} s: x {inside / outside:.2f}")


if __name__ == "__main__":
    main()
