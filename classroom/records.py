"""What came of each submission, and what does the teacher get to see of it?"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from classroom.assignment import columns, course_file, parts, settings
from classroom.collect import Submission
from classroom.examine import Result
from classroom.feedback import page
from classroom.gradebook import Course, Standing
from classroom.handout.build import zipped
from classroom.harmless import some, spreadsheet_cell
from classroom.platforms import ClassList, feedback_name
from labutils.base.writing import write_whole

DONE, NOTHING = "done", "nothing handed in"  # statuses
UPLOAD = "upload"  # folder of what the platform takes back
ALIKE = 3  # solutions that must agree before it is remarked; short ones do by themselves
LONG = 150  # characters of a solution that do not agree by chance


class Records:
    """A file for each student: the latest examination, and the latest that gave marks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def students(self) -> list[str]:
        """Return the students there is a record of."""
        return sorted(path.stem for path in self.folder.glob("[!.]*.json"))

    def read(self, student: str) -> dict:
        """Return a student's record; empty if there is none. A damaged one is a ValueError."""
        path = self.folder / f"{student}.json"
        try:
            return json.loads(path.read_bytes()) if path.exists() else {}
        except ValueError:
            raise ValueError(
                f"{path} is damaged: bring it back from your backup, or delete it, and the student "
                "is graded anew."
            ) from None

    def known(self, student: str, handed_in: str, version: str) -> bool:
        """Tell whether this very file was examined against this very assignment."""
        latest = self.read(student).get("latest", {})
        return latest.get("handed_in") == handed_in and latest.get("version") == version

    def keep(self, one: Submission, handed_in: str, version: str, result: Result) -> None:
        """Write what came of a submission; marks of an earlier one outlive a failure."""
        what = {"name": one.name, "number": one.number, "file": one.handed_in_as}
        latest = {**what, "handed_in": handed_in, "version": version, **asdict(result)}
        earlier = self.read(one.student).get("graded")
        record = {"latest": latest, "graded": earlier if result.problem else latest}
        _write(self.folder / f"{one.student}.json", json.dumps(record, indent=1).encode())


def tell(course: Course, records: Records, obey: Callable[[], None]) -> None:
    """Write the feedback pages that are missing, or older than what they show, and all in a zip."""
    released, pages = parts(course_file(course.folder, "release")), {}
    for student in records.students():
        obey()
        standing, graded = course.standing(student), records.read(student)["graded"]
        if standing is None or graded is None:
            continue
        told = {check: mark["text"] for check, mark in graded["marks"].items()}
        try:
            notebook = course.marked(student)
        except FileNotFoundError as error:  # one student's page; all others get theirs
            print(f"{student}: no feedback page, since {error.filename} is missing")
            continue
        content = page(graded["name"], notebook, released, standing, told).encode()
        pages[feedback_name(student, graded["number"], graded["file"])] = content
        _write(course.page(student), content)
    if pages:
        _write(course.folder / UPLOAD / "feedback.zip", zipped(pages))


def write_grades(course: Course, records: Records, class_list: ClassList | None = None) -> Path:
    """Write grades.csv: a row for each student ever graded, a column for each exercise.

    With a class list, also a row for each who handed in nothing; and the list, to be uploaded,
    with the grades that are done.
    """
    titles = list(columns(parts(course_file(course.folder, "release"))))
    everyone = {student: records.read(student) for student in records.students()}
    about = {s: (r["latest"]["number"], r["latest"]["name"]) for s, r in everyone.items()}
    remarks = _alike({s: r["graded"] for s, r in everyone.items() if r.get("graded")})
    listed, why, missing = class_list.match(about) if class_list else ({}, {}, [])
    table = [["student", "number", "name", *titles, "total", "status", "remarks", "file"]]
    grades = {}
    for student, record in everyone.items():
        latest, standing = record["latest"], course.standing(student)
        known = standing.by_exercise() if standing else {}
        points = [_number(known.get(title)) for title in titles]
        total = _number(sum(filter(None, known.values()))) if standing else ""
        noted = [*latest["remarks"], *remarks.get(student, []), *filter(None, [why.get(student)])]
        status = _status(record, standing)
        if status == DONE and student in listed:
            grades[listed[student]] = total
        row = [student, *about[student], *points, total, status, "; ".join(noted), latest["file"]]
        table.append(row)
    no_points = [""] * (len(titles) + 1)
    table += [["", one.number, one.name, *no_points, NOTHING, "", ""] for one in missing]
    text = io.StringIO()
    csv.writer(text).writerows([map(spreadsheet_cell, row) for row in table])
    # With a mark at the beginning, since without it Excel reads names in another alphabet.
    _write(course.folder / "grades.csv", text.getvalue().encode("utf-8-sig"))
    if class_list and (filled := class_list.filled(grades)):
        _write(course.folder / UPLOAD / class_list.path.name, filled)
    _sum_up(table, why)
    return course.folder / "grades.csv"


def _write(path: Path, content: bytes) -> None:
    """Write a file whole, if it says something else than it did."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(content))


def _number(points: float | None) -> str:
    return "" if points is None else f"{points:g}"


def _status(record: dict, standing: Standing | None) -> str:
    problem = record["latest"]["problem"]
    if problem:
        kept = " (the marks are those of an earlier file)" if standing else ""
        return f"not graded: {problem}{kept}"
    if not standing or not standing.complete:
        return "needs marking"
    missing = record["latest"]["unanswered"]
    return DONE + (f", but no cell answers {some(missing)}: look into the file" if missing else "")


def _alike(graded: dict[str, dict]) -> dict[str, list[str]]:
    """Return, by student, whose solutions are the same as others', or whose network alone.

    The same recipe makes the same network, to the bit; a network that other code is said to have
    made is worth a look.
    """
    cell, found = settings().network.get("cell", ""), {}
    for student, one in graded.items():
        others = {name: two for name, two in graded.items() if name != student}
        network = [
            name for name, two in others.items() if one["network"] == two["network"] != ""
            and one["solutions"].get(cell) != two["solutions"].get(cell)
        ]  # fmt: skip
        code = [name for name, two in others.items() if _shared(one, two) >= ALIKE]
        found[student] = [
            f"its {what} is just that of {some(names)}"
            for what, names in (("network", network), ("code", code)) if names
        ]  # fmt: skip
    return found


def _shared(one: dict, two: dict) -> int:
    """Count the solutions, of some length, that two students have in common."""
    solutions = one["solutions"].items()
    return sum(len(code) > LONG and code == two["solutions"].get(name) for name, code in solutions)


def _sum_up(table: list[list[str]], why: dict[str, str]) -> None:
    status = [row[table[0].index("status")] for row in table[1:]]
    for kind in (DONE, "needs marking", "not graded", NOTHING):
        if count := sum(text.startswith(kind) for text in status):
            print(f"{kind}: {count}")
    for (student, *_), text in zip(table[1:], status, strict=True):
        if text.startswith("not graded"):
            print(f"  {student}: {text}")
    for student, sentence in why.items():
        print(f"  {student}: {sentence}")
