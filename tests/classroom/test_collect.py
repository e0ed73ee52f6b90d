import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from classroom import incoming
from classroom.collect import Submission, _named, collect

NAME = "lab2_pruning"
RIGHT = f"{NAME}.ipynb"
BLACKBOARD = "Lab 2_{}_attempt_2026-11-{}-10-11-12"
MOODLE = "{}_assignsubmission_file_"


def folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def packed(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zipped(root, files):
    root.mkdir(exist_ok=True)
    path = root / "class.zip"
    path.write_bytes(packed(files))
    return path


def patched(content, at, value):
    """Change every local and central header of an archive, at the local header's offset."""
    content = bytearray(content)
    for signature, shift in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        for found in re.finditer(re.escape(signature), bytes(content)):
            place = found.start() + at + shift
            content[place : place + len(value)] = value
    return bytes(content)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def by_student(path):
    return {found.student: found for found in collect(path)}


def only(path):
    (found,) = collect(path)
    return found


@pytest.fixture(params=[folder, zipped])
def given(request, tmp_path):
    """Lay out files as a folder, then the same as a zip file."""
    return lambda files: request.param(tmp_path / "given", files)


LAYOUTS = {
    "folder each": ({"jdoe/lab2_pruning.ipynb": "jdoe", "ann/lab2_pruning.ipynb": "ann"}),
    "nbgrader": (
        {
            "jdoe/lab2_pruning/lab2_pruning.ipynb": "jdoe",
            "ann/lab2_pruning/lab2_pruning.ipynb": "ann",
        }
    ),
    "moodle": (
        {
            "Ann Lee_12345_assignsubmission_file_/lab2_pruning (1).ipynb": "Ann Lee",
            "Jörg Groß_12346_assignsubmission_file/lab2_pruning.ipynb": "Jörg Groß",
        }
    ),
    "moodle, flat": (
        {
            "Ann Lee_12345_assignsubmission_file_lab2_pruning.ipynb": "Ann Lee",
            "Bo_12346_assignsubmission_file_lab2_pruning.ipynb": "Bo",
        }
    ),
    "flat": ({"jdoe.ipynb": "jdoe", "ann.ipynb": "ann"}),
    "canvas": (
        {
            "leeann_12345_67890_lab2_pruning-1.ipynb": "leeann",
            "doejohn_LATE_12346_67891_lab2_pruning.ipynb": "doejohn",
        }
    ),
    "blackboard": (
        {
            f"{BLACKBOARD.format('jdoe', 20)}_lab2_pruning.ipynb": "jdoe",
            f"{BLACKBOARD.format('ann', 20)}_lab2_pruning.ipynb": "ann",
        }
    ),
}
IDENTIFIERS = {"Ann Lee": "Ann-Lee", "Jörg Groß": "Jorg-Gro"}


@pytest.mark.parametrize("wrap", ["", "Lab 2 submissions/"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(given, layout, wrap):
    files = {wrap + path: name.encode() for path, name in LAYOUTS[layout].items()}
    found = {submission.name: submission for submission in collect(given(files))}
    assert set(found) == set(LAYOUTS[layout].values())
    for path, name in LAYOUTS[layout].items():
        late = ("the platform marked it as late",) if "_LATE_" in path else ()
        identifier = IDENTIFIERS.get(name, name)
        assert found[name] == Submission(identifier, name, name.encode(), wrap + path, None, late)


@pytest.mark.parametrize("layout", ["folder each", "nbgrader", "moodle"])
def test_class_of_one(given, layout):
    path, name = next(iter(LAYOUTS[layout].items()))
    found = only(given({path: b"one"}))
    assert (found.name, found.content, found.problem) == (name, b"one", None)


def test_wrapped_class_of_one(given):
    assert only(given({"class/jdoe/lab2_pruning.ipynb": b"one"})).student == "jdoe"
    assert collect(given({"class/jdoe/lab2_pruning.ipynb": b"one"}))[0].content == b"one"


def test_files_beside_the_wrapping_folder(given):
    files = {"class/ann/lab2_pruning.ipynb": b"a", "class/bob/x.ipynb": b"b", "grades.csv": b"1"}
    assert list(by_student(given(files))) == ["ann", "bob"]


def test_sorted_by_student(given):
    files = {f"{name}.ipynb": b"1" for name in ("zoe", "Ann", "bob")}
    assert [found.student for found in collect(given(files))] == ["Ann", "bob", "zoe"]


def test_a_notebook_alone(tmp_path):
    path = folder(tmp_path, {"Jane Doe.ipynb": b"1"}) / "Jane Doe.ipynb"
    assert only(path) == Submission("Jane-Doe", "Jane Doe", b"1", "Jane Doe.ipynb", None, ())


def test_a_notebook_alone_named_like_the_assignment(tmp_path):
    assert only(folder(tmp_path, {RIGHT: b"1"}) / RIGHT).student == NAME


def test_another_assignment(given):
    path = given({"jdoe/lab3 (2).ipynb": b"3", "jdoe/lab2_pruning.ipynb": b"2"})
    assert collect(path, "lab3")[0].content == b"3"


def test_a_path_as_text(tmp_path):
    assert only(str(folder(tmp_path, {"jdoe.ipynb": b"1"}))).student == "jdoe"


@pytest.mark.parametrize(
    "junk",
    [
        "__MACOSX/jdoe/._lab2_pruning.ipynb",
        ".DS_Store",
        "jdoe/.DS_Store",
        "jdoe/.ipynb_checkpoints/lab2_pruning-checkpoint.ipynb",
        "jdoe/.hidden.ipynb",
        "jdoe/__MACOSX/lab2_pruning.ipynb",
    ],
)
def test_junk_is_ignored(given, junk):
    found = only(given({RIGHT.join(["jdoe/", ""]): b"1", junk: b"junk"}))
    assert (found.content, found.notes) == (b"1", ())


# Which notebook


def test_newest_attempt(given):
    paths = [f"{BLACKBOARD.format('jdoe', day)}_lab2_pruning.ipynb" for day in (19, 21, 20)]
    texts = {f"{BLACKBOARD.format('jdoe', day)}.txt": b"text" for day in (19, 20, 21)}
    found = only(given({path: path.encode() for path in paths} | texts))
    assert found.content == paths[1].encode()
    assert found.handed_in_as == paths[1]
    assert found.notes == ("3 attempts, the newest of 2026-11-21 10:11:12 was taken",)


def test_attempt_without_a_notebook(given):
    path = f"{BLACKBOARD.format('jdoe', 20)}.txt"
    found = only(given({path: b"text"}))
    assert (found.student, found.content, found.handed_in_as) == ("jdoe", None, path)
    assert found.problem == f"no notebook (.ipynb) among the 1 file handed in: {path}"


def test_newest_attempt_without_a_notebook(given):
    path = f"{BLACKBOARD.format('jdoe', 21)}.txt"
    older = f"{BLACKBOARD.format('jdoe', 20)}_lab2_pruning.ipynb"
    found = only(given({path: b"text", older: b"1"}))
    assert found.problem == f"no notebook (.ipynb) among the 1 file handed in: {path}"
    assert found.notes == (
        "2 attempts, the newest of 2026-11-21 10:11:12 was taken",
        "an earlier attempt has a notebook or a zip file",
    )


def test_attempts_in_folders(given):
    files = {f"jdoe/2026-11-{day} 10:11:12/{RIGHT}": f"{day}".encode() for day in (20, 22, 21)}
    found = by_student(given({**files, "jdoe/report.pdf": b"1", f"ann/{RIGHT}": b"2"}))["jdoe"]
    assert found.content == b"22"
    assert found.notes == ("3 attempts, the newest of 2026-11-22 10:11:12 was taken",)


def test_date_in_the_name_of_a_backup_does_not_count(given):
    backup = "jdoe/backup-2026-11-20-10-11-12.ipynb"
    assert only(given({f"jdoe/{RIGHT}": b"1", backup: b"2"})).content == b"1"


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ([RIGHT, "scratch.ipynb"], RIGHT),
        (["LAB2_Pruning.IPYNB", "scratch.ipynb"], "LAB2_Pruning.IPYNB"),
        (["lab2_pruning (1).ipynb", "scratch.ipynb"], "lab2_pruning (1).ipynb"),
        (["lab2_pruning(1).ipynb", "scratch.ipynb"], "lab2_pruning(1).ipynb"),
        (["lab2_pruning-1.ipynb", "scratch.ipynb"], "lab2_pruning-1.ipynb"),
        (["lab2_pruning_1.ipynb", "scratch.ipynb"], "lab2_pruning_1.ipynb"),
        (["lab2_pruning (1).ipynb", RIGHT], "lab2_pruning (1).ipynb"),
        (["lab2_pruning (10).ipynb", "lab2_pruning (9).ipynb"], "lab2_pruning (10).ipynb"),
        ([RIGHT, "old/lab2_pruning (3).ipynb"], RIGHT),
    ],
)
def test_named_like_the_assignment(given, names, taken):
    found = only(given({f"jdoe/{name}": name.encode() for name in names}))
    assert found.content == taken.encode()
    assert found.handed_in_as == f"jdoe/{taken}"
    listed = ", ".join(sorted(names))
    assert found.notes == (f"2 notebooks ({listed}), {taken} was taken",)


@pytest.mark.parametrize("number", ["1" * 5000, "x", "1.5"])
def test_odd_number_of_a_copy(number):
    assert not _named(f"{NAME}-{number}.ipynb", NAME)


def test_one_notebook_named_otherwise(given):
    found = only(given({"jdoe/my lab (1).ipynb": b"1", "jdoe/report.pdf": b"2"}))
    assert (found.content, found.problem) == (b"1", None)
    assert found.notes == ("the file was called 'my lab (1).ipynb'",)


def test_several_named_otherwise(given):
    found = only(given({"jdoe_1_2_a.ipynb": b"1", "jdoe_1_3_b.ipynb": b"2"}))
    assert found.content is None
    assert found.problem == "2 notebooks and none named lab2_pruning.ipynb: a.ipynb, b.ipynb"
    assert found.handed_in_as == "jdoe_1_2_a.ipynb, jdoe_1_3_b.ipynb"


def test_no_notebook(given):
    found = by_student(given({"jdoe/report.pdf": b"1", "jdoe/notes.txt": b"2", "ann/a.py": b"3"}))
    expected = "no notebook (.ipynb) among the 2 files handed in: notes.txt, report.pdf"
    assert found["jdoe"].problem == expected
    assert found["jdoe"].handed_in_as == "jdoe/notes.txt, jdoe/report.pdf"
    assert found["ann"].problem == "no notebook (.ipynb) among the 1 file handed in: a.py"


def test_many_files_are_not_all_listed(given):
    found = only(given({f"jdoe_1_{place}_{place}.txt": b"1" for place in range(8)}))
    assert found.problem.endswith(
        "among the 8 files handed in: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more"
    )


def test_file_of_another_kind_beside_notebooks(given):
    found = by_student(given({"jdoe.pdf": b"1", "ann.ipynb": b"2", "ann.pdf": b"3"}))
    assert found["jdoe"].problem == "no notebook (.ipynb) among the 1 file handed in: jdoe.pdf"
    assert found["ann"].content == b"2"


def test_file_of_another_kind_beside_folders(given):
    files = {"jdoe/lab2_pruning.ipynb": b"1", "ann/lab2_pruning.ipynb": b"2", "grades.csv": b"3"}
    assert list(by_student(given(files))) == ["ann", "jdoe"]


def test_folder_with_nothing_in_it(tmp_path):
    folder(tmp_path, {"ann/lab2_pruning.ipynb": b"1", "bob/.lab2_pruning.ipynb": b"2"})
    (tmp_path / "jdoe").mkdir()
    found = by_student(tmp_path)
    for student in ("bob", "jdoe"):
        assert found[student].problem == "no notebook (.ipynb): nothing was handed in"
        assert found[student].handed_in_as == f"{student}/"


def test_text_typed_into_moodle(given):
    text = "Ann Lee_12345_assignsubmission_onlinetext_/onlinetext.html"
    work = "Ann Lee_12345_assignsubmission_file_/lab2_pruning.ipynb"
    assert only(given({text: b"1", work: b"2"})).content == b"2"


# A zip file of the student's own


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("jdoe/lab2.zip", RIGHT),
        ("jdoe/lab2.ZIP", f"lab2/deep/{RIGHT}"),
        ("jdoe/lab2_pruning/lab2.zip", RIGHT),
        ("jdoe.zip", RIGHT),
        ("jdoe_1_2_lab2.zip", RIGHT),
        (f"{BLACKBOARD.format('jdoe', 20)}_lab2.zip", RIGHT),
    ],
)
def test_own_zip(given, path, inner):
    own = packed({inner: b"1", "__MACOSX/._lab2_pruning.ipynb": b"2", "data.csv": b"3"})
    found = by_student(given({path: own, "ann.ipynb": b"4"}))["jdoe"]
    assert found == Submission("jdoe", "jdoe", b"1", f"{path}/{inner}", None, ())


def test_notebook_beside_own_zip(given):
    found = only(given({f"jdoe/{RIGHT}": b"1", "jdoe/lab2.zip": packed({RIGHT: b"2"})}))
    assert found.content == b"1"


def test_newest_of_own_zips(given):
    files = {f"jdoe/lab2{copy}.zip": packed({RIGHT: copy.encode()}) for copy in ("", " (1)")}
    found = by_student(given({**files, f"ann/{RIGHT}": b"1"}))["jdoe"]
    assert (found.content, found.handed_in_as) == (b" (1)", f"jdoe/lab2 (1).zip/{RIGHT}")
    listed = f"lab2 (1).zip/{RIGHT}, lab2.zip/{RIGHT}"
    assert found.notes == (f"2 notebooks ({listed}), lab2 (1).zip/{RIGHT} was taken",)


def test_zip_in_own_zip_is_not_opened(given):
    found = only(given({"jdoe_1_2_a.zip": packed({"b.zip": packed({RIGHT: b"1"})})}))
    assert found.problem == "no notebook (.ipynb) among the 1 file handed in: a.zip/b.zip"


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (packed({RIGHT: b"1" * 99})[:-30], "lab2.zip is not a whole zip file"),
        (b"no zip", "lab2.zip is not a whole zip file"),
        (b"", "lab2.zip is empty"),
        (patched(packed({RIGHT: b"1"}), 6, b"\1\0"), f"lab2.zip/{RIGHT} is encrypted"),
        (packed({RIGHT: b""}), f"lab2.zip/{RIGHT} is empty"),
        (
            packed({f"../../{RIGHT}": b"1"}),
            f"lab2.zip/{RIGHT} has a path that leads out of the archive",
        ),
        (packed({}), "no notebook (.ipynb): nothing was handed in"),
    ],
)
def test_bad_own_zip(given, own, problem):
    found = by_student(given({"jdoe/lab2.zip": own, f"ann/{RIGHT}": b"1"}))
    assert (found["jdoe"].content, found["jdoe"].problem) == (None, problem)
    assert found["ann"].content == b"1"


def test_a_good_zip_beside_a_bad_one(given):
    found = only(given({"jdoe_1_2_a.zip": b"no zip", "jdoe_1_3_b.zip": packed({RIGHT: b"1"})}))
    assert found.content == b"1"


def test_own_zip_too_large(given, monkeypatch):
    monkeypatch.setattr(incoming, "LARGEST_ZIP", 2_000_000)
    own = packed({RIGHT: os.urandom(1_500_000)})
    found = by_student(given({"ann/a.zip": own + bytes(10**6), "bob/a.zip": own, "bob/b.zip": own}))
    assert found["ann"].problem == "a.zip is larger than the 2 MB allowed"
    assert found["bob"].problem == "the zip files have more than 2 MB together"


def test_own_zip_with_too_many_entries(given, monkeypatch):
    monkeypatch.setattr(incoming, "MOST_ENTRIES", 3)
    own = packed({f"{place}.txt": b"1" for place in range(4)})
    found = only(given({"jdoe_1_2_lab2.zip": own}))
    assert found.problem == "lab2.zip has 4 entries, more than the 3 allowed"


# Identifiers


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("jdoe", "jdoe"),
        ("Jürgen Åström", "Jurgen-Astrom"),
        ("O'Brien, Ann", "O-Brien-Ann"),
        ("j.doe_1-a", "j.doe_1-a"),
        ("-rf", "rf"),
        ("ﬁnn", "finn"),
        ("李雷", f"student-{digest('李雷')}"),
        ("___", f"student-{digest('___')}"),
        ("a" * 200, "a" * 80),
    ],
)
def test_identifier(given, name, identifier):
    found = by_student(given({f"{name}.ipynb": b"1", "other.ipynb": b"2"}))
    assert set(found) == {identifier, "other"}
    assert found[identifier].name == name


@pytest.mark.parametrize(
    "names", [("Ann Lee", "Ann-Lee"), ("Müller", "Muller"), ("a" * 90, "a" * 91), ("李", "李 ")]
)
def test_same_identifier_is_told_apart(tmp_path, names):
    path = zipped(tmp_path, {f"{name}/{RIGHT}": name.encode() for name in names})
    found = {submission.content.decode(): submission.student for submission in collect(path)}
    assert len(set(found.values())) == 2
    if names[0] == "Ann Lee":
        assert found == {name: f"Ann-Lee-{digest(name)}" for name in names}


def test_same_identifier_but_for_case(tmp_path):
    found = collect(zipped(tmp_path, {"JDoe.ipynb": b"1", "jdoe.ipynb": b"2"}))
    expected = {f"JDoe-{digest('JDoe')}", f"jdoe-{digest('jdoe')}"}
    assert {submission.student for submission in found} == expected


def test_same_name_in_canvas_and_moodle(given):
    canvas = {f"leeann_{user}_9_{RIGHT}": f"{user}".encode() for user in (1, 2)}
    moodle = {f"{MOODLE.format(f'Ann Lee_{user}')}/{RIGHT}": b"1" for user in (3, 4)}
    found = by_student(given(canvas | moodle))
    assert set(found) == {
        *(f"leeann-{digest(f'leeann_{user}')}" for user in (1, 2)),
        *(f"Ann-Lee-{digest(f'Ann Lee_{user}')}" for user in (3, 4)),
    }
    assert {one.name for one in found.values()} == {"leeann", "Ann Lee"}


def test_user_names_with_an_underscore_are_not_merged(given):
    files = {f"{BLACKBOARD.format(name, 20)}_{RIGHT}": b"1" for name in ("j_doe", "k_doe")}
    assert set(by_student(given(files))) == {
        f"doe-{digest(f'doe_Lab 2_{first}')}" for first in "jk"
    }


def test_name_that_looks_like_told_apart(tmp_path):
    names = ["a b", "a-b", f"a-b-{digest('a b')}"]
    assert len(by_student(zipped(tmp_path, {f"{name}.ipynb": b"1" for name in names}))) == 3


def test_every_identifier_is_safe(tmp_path):
    names = ["...a", "a/..b", "~", "con trol\n", "a\tb", "$(x)", "é", "\N{RIGHT-TO-LEFT OVERRIDE}z"]
    for student, found in by_student(
        zipped(tmp_path, {f"x{n}.ipynb": b"1" for n in names})
    ).items():
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", student)
        assert (found.name + found.handed_in_as).isprintable()


# Bad and hostile input


@pytest.mark.parametrize(
    "path", [f"jdoe/../../{RIGHT}", f"../jdoe/{RIGHT}", f"/jdoe/{RIGHT}", f"C:\\jdoe\\{RIGHT}"]
)
def test_path_that_leads_out(tmp_path, path):
    found = by_student(zipped(tmp_path, {path: b"evil", f"ann/{RIGHT}": b"1"}))
    (other,) = set(found) - {"ann"}
    assert found[other].content is None
    assert found[other].problem == f"{found[other].problem.split()[0]} {incoming.OUTSIDE}"
    assert found["ann"].content == b"1"


def test_path_that_leads_to_another_student(tmp_path):
    files = {f"class/ann/{RIGHT}": b"1", f"class/bob/{RIGHT}": b"2", f"../ann/{RIGHT}": b"evil"}
    found = by_student(zipped(tmp_path, files))
    assert (found["ann"].content, found["bob"].content) == (b"1", b"2")


def test_nothing_is_written(tmp_path):
    path = zipped(tmp_path / "here", {f"../../x/{RIGHT}": b"1", f"ann/{RIGHT}": b"2"})
    collect(path)
    assert [found.name for found in tmp_path.rglob("*")] == ["here", "class.zip"]


@pytest.mark.parametrize("name", [RIGHT, "lab2.zip"])
def test_link_to_a_file(tmp_path, name):
    secret = folder(tmp_path, {f"secret/{name}": packed({RIGHT: b"secret"})}) / "secret" / name
    given = folder(tmp_path / "given", {f"ann/{RIGHT}": b"1", "jdoe/report.pdf": b"2"})
    (given / "jdoe" / name).symlink_to(secret)
    found = by_student(given)
    assert found["jdoe"].content is None
    assert found["jdoe"].problem == f"{name} is a link, and links are not followed"
    assert found["ann"].content == b"1"


@pytest.mark.parametrize("target", ["secret", "nowhere", "given"])
def test_link_to_a_folder(tmp_path, target):
    folder(tmp_path, {f"secret/{RIGHT}": b"secret"})
    given = folder(tmp_path / "given", {f"ann/{RIGHT}": b"1", "bob/report.pdf": b"2"})
    (given / "jdoe").symlink_to(tmp_path / target)
    (given / "bob" / "work").symlink_to(tmp_path / target)
    found = by_student(given)
    assert found["jdoe"].problem == "the folder is a link, and links are not followed"
    assert found["jdoe"].handed_in_as == "jdoe/"
    assert found["bob"].problem == "work is a link, and links are not followed"


def test_link_in_a_zip(tmp_path):
    entry = zipfile.ZipInfo(f"jdoe/{RIGHT}")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert only(path).problem == f"{RIGHT} is a link, and links are not followed"


def test_pipe_is_not_opened(tmp_path):
    folder(tmp_path, {f"ann/{RIGHT}": b"1"})
    (tmp_path / "jdoe").mkdir()
    os.mkfifo(tmp_path / "jdoe" / RIGHT)  # opened, it would wait for a writer
    os.mkfifo(tmp_path / "bob.ipynb")
    found = by_student(tmp_path)
    assert found["jdoe"].problem == f"{RIGHT} is not a regular file"
    assert found["bob"].problem == "bob.ipynb is not a regular file"


def test_large_notebook(given):
    found = by_student(given({"ann.ipynb": bytes(20_000_000), "bob.ipynb": bytes(20_000_001)}))
    assert len(found["ann"].content) == 20_000_000
    assert found["bob"].problem == "bob.ipynb is larger than the 20 MB allowed"
    assert found["bob"].content is None


def test_declared_size_is_a_lie(tmp_path):
    lie = patched(packed({"jdoe.ipynb": bytes(30_000_000)}), 22, struct.pack("<I", 10))
    (tmp_path / "class.zip").write_bytes(lie)
    assert only(tmp_path / "class.zip").problem == "jdoe.ipynb is damaged"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_no_limit_holds(tmp_path, compression):
    (tmp_path / "class.zip").write_bytes(packed({"jdoe.ipynb": b"1"}, compression))
    expected = "jdoe.ipynb is compressed in another way than zip files usually are"
    assert only(tmp_path / "class.zip").problem == expected


def test_encrypted(tmp_path):
    path = zipped(tmp_path, {"jdoe.ipynb": b"1"})
    path.write_bytes(patched(path.read_bytes(), 6, b"\1\0"))
    assert only(path).problem == "jdoe.ipynb is encrypted"


def test_damaged_entry(tmp_path):
    content = packed({"jdoe.ipynb": b"original"}, zipfile.ZIP_STORED)
    path = zipped(tmp_path, {})
    path.write_bytes(content.replace(b"original", b"changed!"))
    assert only(path).problem == "jdoe.ipynb is damaged"


def test_name_twice_in_a_zip(tmp_path):
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for content in ("first", "last"):
            archive.writestr(f"jdoe/{RIGHT}", content)
    found = only(path)
    assert found.content == b"last"
    assert found.notes == ("the archive has the file 2 times, the last was taken",)


def test_empty_file(given):
    found = by_student(given({"jdoe.ipynb": b"", "ann.ipynb": b"1"}))
    assert (found["jdoe"].content, found["jdoe"].problem) == (None, "jdoe.ipynb is empty")
    assert found["jdoe"].handed_in_as == "jdoe.ipynb"


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    folder(tmp_path, {"jdoe.ipynb": b"1", "ann.ipynb": b"2", "bob.ipynb": b"3"})
    really_open = Path.open

    def refuse(path, *arguments):
        if path.name == "jdoe.ipynb":
            raise PermissionError(errno.EACCES, "Permission denied")
        if path.name == "bob.ipynb":
            raise OSError(errno.EIO, "Input/output error")
        return really_open(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    found = by_student(tmp_path)
    assert found["jdoe"].problem == "jdoe.ipynb cannot be read: permission denied"
    assert found["bob"].problem == "bob.ipynb is damaged"
    assert found["ann"].content == b"2"


def refusing(monkeypatch, folder_name):
    really_scan = os.scandir

    def refuse(path):
        if Path(path).name == folder_name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really_scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_folder_that_may_not_be_read(tmp_path, monkeypatch):
    folder(tmp_path, {f"jdoe/{RIGHT}": b"1", f"ann/{RIGHT}": b"2"})
    refusing(monkeypatch, "jdoe")
    found = by_student(tmp_path)
    assert found["jdoe"].problem == "the folder cannot be read"
    assert found["ann"].content == b"2"


def test_name_that_is_not_utf8(tmp_path):
    name = os.fsencode(tmp_path) + b"/M\xfcller.ipynb"
    with open(name, "wb") as file:
        file.write(b"1")
    found = only(tmp_path)
    assert found == Submission("Muller", "Müller", b"1", "Müller.ipynb", None, ())


@pytest.mark.parametrize(
    ("raw", "name"), [("Müller".encode(), "Müller"), (b"M\x81ller", "Müller"), (b"\xff", "?")]
)
def test_name_not_marked_as_utf8_in_a_zip(tmp_path, raw, name):
    placeholder = "x" * len(raw)
    path = zipped(tmp_path, {f"{placeholder}.ipynb": b"1"})
    path.write_bytes(path.read_bytes().replace(placeholder.encode() + b".", raw + b"."))
    assert only(path).name == name


def test_backslashes_in_a_zip(tmp_path):
    found = only(zipped(tmp_path, {f"class\\jdoe\\{RIGHT}": b"1"}))
    assert (found.student, found.content) == ("jdoe", b"1")


# Nothing to go on


def test_path_missing(tmp_path):
    expected = f"{tmp_path}/gone is not there: give the folder or zip file in which the submissions"
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(expected)} are.$"):
        collect(tmp_path / "gone")


@pytest.mark.parametrize("name", ["notes.txt", "class.tar.gz"])
def test_neither_folder_nor_zip(tmp_path, name):
    path = folder(tmp_path, {name: b"1"}) / name
    expected = (
        f"{path} is neither a folder nor a zip file: give the folder or zip file in which the "
        "submissions are, or one notebook (.ipynb)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        collect(path)


def test_pipe_given(tmp_path):
    os.mkfifo(tmp_path / "class.zip")
    with pytest.raises(ValueError, match="neither a folder nor a zip file"):
        collect(tmp_path / "class.zip")


def test_zip_by_another_name(tmp_path):
    path = zipped(tmp_path, {"jdoe.ipynb": b"1"}).rename(tmp_path / "download")
    assert only(path).student == "jdoe"


@pytest.mark.parametrize("content", [b"", b"no zip", packed({"jdoe.ipynb": b"1" * 99})[:-10]])
def test_class_zip_that_is_not_whole(tmp_path, content):
    path = folder(tmp_path, {"class.zip": content}) / "class.zip"
    expected = (
        f"{path} is not a whole zip file: download it again, or unpack it and give the folder."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        collect(path)


def test_class_zip_with_a_name_that_is_not_the_utf8_it_says(tmp_path):
    path = zipped(tmp_path, {"ü.ipynb": b"1"})
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xff"))
    with pytest.raises(ValueError, match="is not a whole zip file: download it again, or unpack"):
        collect(path)


def test_class_zip_with_too_many_entries(tmp_path):
    path = zipped(tmp_path, {f"{place}.ipynb": b"" for place in range(10_001)})
    expected = "has 10,001 entries, more than the 10,000 allowed: download it again, or unpack it"
    with pytest.raises(ValueError, match=expected):
        collect(path)


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"1"}, {".hidden.ipynb": b"1"}])
def test_nothing_found(given, tmp_path, files):
    (tmp_path / "given").mkdir()
    path = given(files)
    expected = (
        f"{path} holds nothing to grade: give a folder or zip file with a folder or a notebook "
        "(.ipynb) for each student."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        collect(path)


def test_only_empty_folders(tmp_path):
    (tmp_path / "jdoe").mkdir()
    with pytest.raises(ValueError, match="holds nothing to grade"):
        collect(tmp_path)


def test_class_folder_that_may_not_be_read(tmp_path, monkeypatch):
    refusing(monkeypatch, tmp_path.name)
    with pytest.raises(PermissionError, match="cannot be read: give yourself the right to"):
        collect(tmp_path)


def test_damage_anywhere_is_a_problem_or_one_sentence(tmp_path):
    whole = packed({f"ann/{RIGHT}": b"1" * 50, "bob/lab.zip": packed({RIGHT: b"2" * 50})})
    path = tmp_path / "class.zip"
    for place in range(len(whole)):
        for value in (0, 0xFF, whole[place] ^ 0x10):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with contextlib.suppress(ValueError):
                found = collect(path)
                assert all((one.content is None) == bool(one.problem) for one in found)


def test_class_zip_that_may_not_be_read(tmp_path, monkeypatch):
    path = zipped(tmp_path, {"jdoe.ipynb": b"1"})

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(PermissionError, match="cannot be read: give yourself the right to"):
        collect(path)
