"""Whatever a platform hands over, each student's notebook is found, or why there is none."""

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
from types import SimpleNamespace as Found

import pytest

from classroom import incoming
from classroom.collect import Submission, collect

NAME = "lab2_pruning"
RIGHT = f"{NAME}.ipynb"
BLACKBOARD = "Lab 2_{}_attempt_2026-11-{}-10-11-12"
ATTEMPT = f"{BLACKBOARD.format('jdoe', '{}')}_{RIGHT}"
TEXT = f"{BLACKBOARD.format('jdoe', '{}')}.txt"
TAKEN = "attempts, the newest of 2026-11-{} 10:11:12 was taken"
EARLIER = "an earlier attempt has a notebook or a zip file"
NONE = "no notebook (.ipynb) among the"
ONE = f"{NONE} 1 file handed in: "
COPIES = [f"lab2_pruning{copy}.ipynb" for copy in ("", " (1)", "(1)", "-1", "_1")]


def folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def packed(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name that is there twice
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return buffer.getvalue()


def zipped(root, files):
    """Write a zip file of these files, or one with just this content."""
    root.mkdir(exist_ok=True)
    path = root / "class.zip"
    path.write_bytes(files if isinstance(files, bytes) else packed(files))
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


def check(path, expected):
    """Compare the students with what is expected of each, or of jdoe, who is the only one.

    That is the content, the problem, or some attributes.
    """
    found = by_student(path)
    only = "jdoe-1" if "jdoe-1" in found else "jdoe"  # a number where the platform gave one
    expected = expected if isinstance(expected, dict) else {only: expected}
    assert list(found) == sorted(expected)
    for student, values in expected.items():
        if isinstance(values, bytes):
            values = Found(content=values, problem=None)
        elif isinstance(values, str):
            values = Found(content=None, problem=values)
        assert {name: getattr(found[student], name) for name in vars(values)} == vars(values)


@pytest.fixture(params=[folder, zipped])
def given(request, tmp_path):
    """Lay out files as a folder, then the same as a zip file."""
    return lambda files: request.param(tmp_path / "given", files)


LAYOUTS = {
    "folder each": {f"jdoe/{RIGHT}": "jdoe", f"ann/{RIGHT}": "ann"},
    "nbgrader": {f"jdoe/{NAME}/{RIGHT}": "jdoe", f"ann/{NAME}/{RIGHT}": "ann"},
    "moodle": {
        "Ann Lee_12345_assignsubmission_file_/lab2_pruning (1).ipynb": "Ann Lee",
        "Jörg Groß_12346_assignsubmission_file/lab2_pruning.ipynb": "Jörg Groß",
    },
    "moodle, flat": {
        f"Ann Lee_12345_assignsubmission_file_{RIGHT}": "Ann Lee",
        f"Bo_12346_assignsubmission_file_{RIGHT}": "Bo",
    },
    "flat": {"jdoe.ipynb": "jdoe", "ann.ipynb": "ann"},
    "canvas": {
        "leeann_12345_67890_lab2_pruning-1.ipynb": "leeann",
        "doejohn_LATE_12346_67891_lab2_pruning.ipynb": "doejohn",
    },
    "blackboard": {f"{BLACKBOARD.format(name, 20)}_{RIGHT}": name for name in ("jdoe", "ann")},
}
NUMBERS = {"Ann Lee": "12345", "leeann": "12345"}
NUMBERS |= dict.fromkeys(("Jörg Groß", "Bo", "doejohn"), "12346")
IDENTIFIERS = {"Ann Lee": "Ann-Lee-12345", "Jörg Groß": "Jorg-Gro-12346", "Bo": "Bo-12346"}
IDENTIFIERS |= {"leeann": "leeann-12345", "doejohn": "doejohn-12346"}


@pytest.mark.parametrize("wrap", ["", "Lab 2 submissions/"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(given, layout, wrap):
    files = {wrap + path: name.encode() for path, name in LAYOUTS[layout].items()}
    found = {submission.name: submission for submission in collect(given(files))}
    assert set(found) == set(LAYOUTS[layout].values())
    for path, name in LAYOUTS[layout].items():
        late = ("the platform marked it as late",) if "_LATE_" in path else ()
        identifier = IDENTIFIERS.get(name, name)
        number = NUMBERS.get(name, "")
        assert found[name] == Submission(
            identifier, number, name, name.encode(), wrap + path, None, late
        )


CALLED = {
    **{"jdoe": "jdoe", "Jürgen Åström": "Jurgen-Astrom", "O'Brien, Ann": "O-Brien-Ann"},
    **{"j.doe_1-a": "j.doe_1-a", "-rf": "rf", "ﬁnn": "finn", "a" * 200: "a" * 80},
    **{odd: f"student-{digest(odd)}" for odd in ("李雷", "___", "~")},
}
# Whether it lies in a folder or in a zip file: what is handed in, and what is found of whom.
GIVEN = {
    "one student": ({f"jdoe/{RIGHT}": b"1"}, b"1"),
    "one student, nbgrader": ({f"jdoe/{NAME}/{RIGHT}": b"1"}, b"1"),
    "one student, moodle": ({next(iter(LAYOUTS["moodle"])): b"1"}, {"Ann-Lee-12345": b"1"}),
    "one student, wrapped": ({f"class/jdoe/{RIGHT}": b"1"}, b"1"),
    "files beside the wrapping folder": (
        {f"class/ann/{RIGHT}": b"a", "class/Bob/x.ipynb": b"b", "grades.csv": b"1"},
        {"ann": b"a", "Bob": b"b"},
    ),
    "junk": (
        {f"jdoe/{RIGHT}": b"1"} | dict.fromkeys((
            *(f"__MACOSX/jdoe/._{RIGHT}", ".DS_Store", "jdoe/.DS_Store", "jdoe/.hidden.ipynb"),
            *("jdoe/.ipynb_checkpoints/lab2_pruning-checkpoint.ipynb", f"jdoe/__MACOSX/{RIGHT}"),
        ), b"2"),
        Found(content=b"1", notes=()),
    ),
    "newest attempt": (
        {ATTEMPT.format(day): b"%d" % day for day in (19, 21, 20)}
        | {TEXT.format(day): b"" for day in (19, 20, 21)},
        Found(content=b"21", handed_in_as=ATTEMPT.format(21), notes=("3 " + TAKEN.format(21),)),
    ),
    "newest attempt without a notebook": (
        {TEXT.format(21): b"text", ATTEMPT.format(20): b"1"},
        Found(problem=ONE + TEXT.format(21), notes=("2 " + TAKEN.format(21), EARLIER)),
    ),
    "attempts in folders": (
        {f"jdoe/2026-11-{day} 10:11:12/{RIGHT}": b"%d" % day for day in (20, 22, 21)}
        | {"jdoe/report.pdf": b"1", f"ann/{RIGHT}": b"2"},
        {"ann": b"2", "jdoe": Found(content=b"22", notes=("3 " + TAKEN.format(22),))},
    ),
    "the date of a backup does not count": (
        {f"jdoe/{RIGHT}": b"1", "jdoe/backup-2026-11-20-10-11-12.ipynb": b"2"},
        b"1",
    ),
    **{
        f"{taken} rather than {other}": (
            {f"jdoe/{name}": name.encode() for name in (taken, other)},
            Found(content=taken.encode(), handed_in_as=f"jdoe/{taken}", notes=(
                f"2 notebooks ({', '.join(sorted((taken, other)))}), {taken} was taken",)),
        )
        for taken, other in (
            *((name, "scratch.ipynb") for name in ("LAB2_Pruning.IPYNB", *COPIES)),
            (COPIES[1], RIGHT),
            ("lab2_pruning (10).ipynb", "lab2_pruning (9).ipynb"),
            (RIGHT, "old/lab2_pruning (3).ipynb"),
        )
    },
    "one notebook, named otherwise": (
        {"jdoe/my lab (1).ipynb": b"1", "jdoe/report.pdf": b"2"},
        Found(content=b"1", notes=("the file was called 'my lab (1).ipynb'",)),
    ),
    "several, named otherwise": (
        {"jdoe_1_2_a.ipynb": b"1", "jdoe_1_3_b.ipynb": b"2"},
        Found(content=None, problem=f"2 notebooks and none named {RIGHT}: a.ipynb, b.ipynb",
              handed_in_as="jdoe_1_2_a.ipynb, jdoe_1_3_b.ipynb"),
    ),
    "no notebook": (
        {"jdoe/report.pdf": b"1", "jdoe/notes.txt": b"2", "ann/a.py": b"3"},
        {"ann": f"{ONE}a.py", "jdoe": f"{NONE} 2 files handed in: notes.txt, report.pdf"},
    ),
    "many files are not all listed": (
        {f"jdoe_1_{place}_{place}.txt": b"1" for place in range(8)},
        f"{NONE} 8 files handed in: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more",
    ),
    "another kind beside notebooks": (
        {"jdoe.pdf": b"1", "ann.ipynb": b"2", "ann.pdf": b"3"},
        {"ann": b"2", "jdoe": f"{ONE}jdoe.pdf"},
    ),
    "another kind beside folders": (
        {f"jdoe/{RIGHT}": b"1", f"ann/{RIGHT}": b"2", "grades.csv": b"3"},
        {"ann": b"2", "jdoe": b"1"},
    ),
    "text typed into moodle": (
        {"Ann Lee_12345_assignsubmission_onlinetext_/onlinetext.html": b"1",
         f"Ann Lee_12345_assignsubmission_file_/{RIGHT}": b"2"},
        {"Ann-Lee-12345": b"2"},
    ),
    "an empty file": (
        {"jdoe.ipynb": b"", "ann.ipynb": b"1"},
        {"ann": b"1", "jdoe": Found(content=None, problem="jdoe.ipynb is empty")},
    ),
    "a large notebook": (
        {"ann.ipynb": bytes(20_000_000), "bob.ipynb": bytes(20_000_001)},
        {"ann": bytes(20_000_000), "bob": "bob.ipynb is larger than the 20 MB allowed"},
    ),
    **{
        f"own zip: {path}/{inner}": (
            {path: packed({inner: b"1", f"__MACOSX/._{RIGHT}": b"2", "data.csv": b"3"}),
             "ann.ipynb": b"4"},
            {"ann": b"4", "jdoe-1" if "_1_2" in path else "jdoe":
                Found(content=b"1", handed_in_as=f"{path}/{inner}", notes=())},
        )
        for path, inner in (
            ("jdoe/lab2.ZIP", f"lab2/deep/{RIGHT}"),
            ("jdoe/lab2_pruning/lab2.zip", RIGHT),
            ("jdoe.zip", RIGHT),
            ("jdoe_1_2_lab2.zip", RIGHT),
            (BLACKBOARD.format("jdoe", 20) + "_lab2.zip", RIGHT),
        )
    },
    **{
        f"bad own zip: {problem} {len(own)}": (
            {"jdoe/lab2.zip": own, f"ann/{RIGHT}": b"1"},
            {"ann": b"1", "jdoe": problem},
        )
        for own, problem in (
            (packed({RIGHT: b"1" * 99})[:-30], "lab2.zip is not a whole zip file"),
            (b"", "lab2.zip is empty"),
            (patched(packed({RIGHT: b"1"}), 6, b"\1\0"), f"lab2.zip/{RIGHT} is encrypted"),
            (packed({RIGHT: b""}), f"lab2.zip/{RIGHT} is empty"),
            (packed({f"../../{RIGHT}": b"1"}), f"lab2.zip/{RIGHT} {incoming.OUTSIDE}"),
            (packed({}), "no notebook (.ipynb): nothing was handed in"),
        )
    },
    "a notebook beside an own zip": (
        {f"jdoe/{RIGHT}": b"1", "jdoe/lab2.zip": packed({RIGHT: b"2"})},
        b"1",
    ),
    "newest of own zips": (
        {f"jdoe/lab2{copy}.zip": packed({RIGHT: b"1" + copy.encode()}) for copy in ("", " (1)")}
        | {f"ann/{RIGHT}": b"3"},
        {"ann": b"3", "jdoe": Found(content=b"1 (1)", notes=(
            f"2 notebooks (lab2 (1).zip/{RIGHT}, lab2.zip/{RIGHT}), lab2 (1).zip/{RIGHT} was "
            "taken",))},
    ),
    "a zip in an own zip is not opened": (
        {"jdoe_1_2_a.zip": packed({"b.zip": packed({RIGHT: b"1"})})},
        f"{ONE}a.zip/b.zip",
    ),
    "a good zip beside a bad one": (
        {"jdoe_1_2_a.zip": b"no zip", "jdoe_1_3_b.zip": packed({RIGHT: b"1"})},
        b"1",
    ),
    "names": (
        {f"{name}.ipynb": name.encode() for name in CALLED},
        {told: Found(name=name, content=name.encode()) for name, told in CALLED.items()},
    ),
    "one name in canvas and moodle": (
        {f"leeann_{user}_9_{RIGHT}": b"1" for user in (1, 2)}
        | {f"Ann Lee_{user}_assignsubmission_file_/{RIGHT}": b"2" for user in (3, 4)},
        {f"leeann-{user}": b"1" for user in (1, 2)}
        | {f"Ann-Lee-{user}": b"2" for user in (3, 4)},
    ),
    "user names with an underscore are not merged": (
        {f"{BLACKBOARD.format(name, 20)}_{RIGHT}": b"1" for name in ("j_doe", "k_doe")},
        {f"doe-{digest(f'doe_Lab 2_{first}')}": b"1" for first in "jk"},
    ),
}  # fmt: skip
ENCRYPTED = patched(packed({"jdoe.ipynb": b"1"}), 6, b"\1\0")
LIE = patched(packed({"jdoe.ipynb": bytes(30_000_000)}), 22, struct.pack("<I", 10))
STORED = packed({"jdoe.ipynb": b"original"}, zipfile.ZIP_STORED)
ODD_COPIES = [f"{NAME}-{number}.ipynb" for number in ("1.5", "1" * 5000, "x")]
ODD = "jdoe.ipynb is compressed in another way than zip files usually are"


def linked():
    entry = zipfile.ZipInfo(f"jdoe/{RIGHT}")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return packed([(entry, "/etc/passwd")])


def named(raw):
    """Return a zip file with a name in bytes, not marked as UTF-8."""
    placeholder = b"x" * len(raw) + b"."
    return packed({f"{placeholder.decode()}ipynb": b"1"}).replace(placeholder, raw + b".")


ZIPPED = {
    "a path that leads to another student": (
        {f"class/ann/{RIGHT}": b"1", f"class/bob/{RIGHT}": b"2", f"../ann/{RIGHT}": b"evil"},
        {"ann": b"1", "bob": b"2"},
    ),
    "but for case": (
        {"JDoe.ipynb": b"1", "jdoe.ipynb": b"2"},
        {f"JDoe-{digest('JDoe')}": b"1", f"jdoe-{digest('jdoe')}": b"2"},
    ),
    "one identifier": (
        {f"{name}/{RIGHT}": name.encode() for name in ("Ann Lee", "Ann-Lee")},
        {f"Ann-Lee-{digest(name)}": name.encode() for name in ("Ann Lee", "Ann-Lee")},
    ),
    "backslashes": ({f"class\\jdoe\\{RIGHT}": b"1"}, b"1"),
    "a link": (linked(), f"{RIGHT} is a link, and links are not followed"),
    "a declared size that is a lie": (LIE, "jdoe.ipynb is damaged"),
    "bzip2": (packed({"jdoe.ipynb": b"1"}, zipfile.ZIP_BZIP2), ODD),
    "lzma": (packed({"jdoe.ipynb": b"1"}, zipfile.ZIP_LZMA), ODD),
    "encrypted": (ENCRYPTED, "jdoe.ipynb is encrypted"),
    "damaged": (STORED.replace(b"original", b"changed!"), "jdoe.ipynb is damaged"),
    "a name twice": (
        packed([(f"jdoe/{RIGHT}", "first"), (f"jdoe/{RIGHT}", "last")]),
        Found(content=b"last", notes=("the archive has the file 2 times, the last was taken",)),
    ),
    "a name in UTF-8": (named("Müller".encode()), {"Muller": Found(name="Müller")}),
    "a name in cp437": (named(b"M\x81ller"), {"Muller": Found(name="Müller")}),
    "odd numbers of copies": (
        {f"jdoe_1_2_{name}": b"1" for name in ODD_COPIES},
        f"3 notebooks and none named {RIGHT}: {', '.join(ODD_COPIES)}",
    ),
    "a name that is nothing": (named(b"\xff"), {f"student-{digest(chr(0xA0))}": Found(name="?")}),
}


@pytest.mark.parametrize(("files", "expected"), GIVEN.values(), ids=GIVEN)
def test_given(given, files, expected):
    check(given(files), expected)


@pytest.mark.parametrize(("files", "expected"), ZIPPED.values(), ids=ZIPPED)
def test_zipped(tmp_path, files, expected):
    check(zipped(tmp_path, files), expected)


def test_a_notebook_alone(tmp_path):
    path = folder(tmp_path, {"Jane Doe.ipynb": b"1", RIGHT: b"2"})
    jane = Submission("Jane-Doe", "", "Jane Doe", b"1", "Jane Doe.ipynb", None, ())
    assert collect(path / "Jane Doe.ipynb") == [jane]
    check(str(path / RIGHT), {NAME: b"2"})


def test_another_assignment(given):
    path = given({"jdoe/lab3 (2).ipynb": b"3", f"jdoe/{RIGHT}": b"2"})
    assert collect(path, "lab3")[0].content == b"3"


def test_folder_with_nothing_in_it(tmp_path):
    folder(tmp_path, {f"ann/{RIGHT}": b"1", f"bob/.{RIGHT}": b"2"})
    (tmp_path / "jdoe").mkdir()
    nothing = "no notebook (.ipynb): nothing was handed in"
    empty = {name: Found(problem=nothing, handed_in_as=f"{name}/") for name in ("bob", "jdoe")}
    check(tmp_path, {"ann": b"1", **empty})


def test_own_zip_too_large_or_with_too_many_entries(given, monkeypatch):
    monkeypatch.setattr(incoming, "LARGEST_ZIP", 2_000_000)
    monkeypatch.setattr(incoming, "MOST_ENTRIES", 4)
    own, many = packed({RIGHT: os.urandom(1_500_000)}), dict.fromkeys("abcde", b"1")
    files = {"ann/a.zip": own + bytes(10**6), "bob/a.zip": own, "bob/b.zip": own}
    check(
        given({**files, "cyd/c.zip": packed(many)}),
        {
            "ann": "a.zip is larger than the 2 MB allowed",
            "bob": "the zip files have more than 2 MB together",
            "cyd": "c.zip has 5 entries, more than the 4 allowed",
        },
    )


@pytest.mark.parametrize(
    "names",
    [
        *(("Müller", "Muller"), ("a" * 90, "a" * 91), ("李", "李 ")),
        ("a b", "a-b", f"a-b-{digest('a b')}"),  # which looks like one that was told apart
        ("...a", "a/..b", "~", "con trol\n", "a\tb", "$(x)", "é", "\N{RIGHT-TO-LEFT OVERRIDE}z"),
    ],
)
def test_identifiers_are_safe_and_told_apart(tmp_path, names):
    found = collect(zipped(tmp_path, {f"x{name}/{RIGHT}": name.encode() for name in names}))
    assert len({one.student for one in found}) == len(found)
    for one in found:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", one.student)
        assert (one.name + one.handed_in_as).isprintable()


# Hostile input


@pytest.mark.parametrize(
    "path", [f"jdoe/../../{RIGHT}", f"../jdoe/{RIGHT}", f"/jdoe/{RIGHT}", f"C:\\jdoe\\{RIGHT}"]
)
def test_path_that_leads_out(tmp_path, path):
    found = by_student(zipped(tmp_path / "here", {path: b"evil", f"ann/{RIGHT}": b"1"}))
    assert found.pop("ann").content == b"1"
    (other,) = found.values()
    assert other.content is None
    assert other.problem == f"{other.problem.split()[0]} {incoming.OUTSIDE}"
    assert [found.name for found in tmp_path.rglob("*")] == ["here", "class.zip"]


@pytest.mark.parametrize("target", ["secret", "nowhere", "given"])
def test_links_are_not_followed(tmp_path, target):
    folder(tmp_path, {f"secret/{RIGHT}": b"secret", "secret/lab2.zip": packed({RIGHT: b"secret"})})
    given = folder(tmp_path / "given", {f"{name}/report.pdf": b"2" for name in ("ann", "bob")})
    (given / "jdoe").symlink_to(tmp_path / target)
    (given / "bob" / "work").symlink_to(tmp_path / target)
    (given / "ann" / RIGHT).symlink_to(tmp_path / target / RIGHT)
    (given / "cyd").mkdir()
    (given / "cyd" / "lab2.zip").symlink_to(tmp_path / target / "lab2.zip")
    link = "is a link, and links are not followed"
    jdoe = Found(content=None, problem=f"the folder {link}", handed_in_as="jdoe/")
    files = {"ann": f"{RIGHT} {link}", "bob": f"work {link}", "cyd": f"lab2.zip {link}"}
    check(given, {**files, "jdoe": jdoe})


def test_pipe_is_not_opened(tmp_path):
    folder(tmp_path, {f"ann/{RIGHT}": b"1"})
    (tmp_path / "jdoe").mkdir()
    os.mkfifo(tmp_path / "jdoe" / RIGHT)  # opened, it would wait for a writer
    os.mkfifo(tmp_path / "bob.ipynb")
    no = "is not a regular file"
    check(tmp_path, {"ann": b"1", "bob": f"bob.ipynb {no}", "jdoe": f"{RIGHT} {no}"})


def refusing(monkeypatch, owner, attribute, errors):
    """Let a function fail for paths of some names."""
    really = getattr(owner, attribute)

    def refuse(path, *arguments):
        code = errors.get(Path(path).name)
        if code:
            raise OSError(code, os.strerror(code), path)
        return really(path, *arguments)

    monkeypatch.setattr(owner, attribute, refuse)


def test_what_may_not_be_read(tmp_path, monkeypatch):
    path = zipped(tmp_path / "zip", {"jdoe.ipynb": b"1"})
    files = {"jdoe.ipynb": b"1", f"ann/{RIGHT}": b"2", "bob.ipynb": b"3", f"cyd/{RIGHT}": b"4"}
    folder(tmp_path / "all", files)
    refusing(monkeypatch, Path, "open", {"jdoe.ipynb": errno.EACCES, "bob.ipynb": errno.EIO})
    refusing(monkeypatch, os, "scandir", {"cyd": errno.EACCES, "zip": errno.EACCES})
    refusing(monkeypatch, zipfile, "ZipFile", {path.name: errno.EACCES})
    denied = {"jdoe": "jdoe.ipynb cannot be read: permission denied"}
    damaged = {"bob": "bob.ipynb is damaged", "cyd": "the folder cannot be read"}
    check(tmp_path / "all", {"ann": b"2", **damaged, **denied})
    for given in (path, path.parent):
        with pytest.raises(PermissionError, match="cannot be read: give yourself the right to"):
            collect(given)


def test_name_that_is_not_utf8(tmp_path):
    with open(os.fsencode(tmp_path) + b"/M\xfcller.ipynb", "wb") as file:
        file.write(b"1")
    assert collect(tmp_path) == [Submission("Muller", "", "Müller", b"1", "Müller.ipynb", None, ())]


def test_damage_anywhere_is_a_problem_or_one_sentence(tmp_path):
    whole = packed({f"ann/{RIGHT}": b"1" * 50, "bob/lab.zip": packed({RIGHT: b"2" * 50})})
    path = tmp_path / "class.zip"
    for place in range(len(whole)):
        for value in (0, 0xFF, whole[place] ^ 0x10):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with contextlib.suppress(ValueError):
                found = collect(path)
                assert all((one.content is None) == bool(one.problem) for one in found)


# Nothing to go on

NEITHER = (
    "{} is neither a folder nor a zip file: give the folder or zip file in which the submissions "
    "are, or one notebook (.ipynb)."
)
NOT_WHOLE = "{} is not a whole zip file: download it again, or unpack it and give the folder."
MANY = "has 10,001 entries, more than the 10,000 allowed: download it again, or unpack it"
NOTHING = (
    "{} holds nothing to grade: give a folder or zip file with a folder or a notebook (.ipynb) "
    "for each student."
)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("class.tar.gz", b"1", NEITHER),
        *(
            ("class.zip", content, NOT_WHOLE)
            for content in (b"", b"no zip", packed({"jdoe.ipynb": b"1" * 99})[:-10])
        ),
        ("class.zip", packed({"ü.ipynb": b"1"}).replace("ü".encode(), b"\xff\xff"), NOT_WHOLE),
        ("class.zip", packed({f"{place}.ipynb": b"" for place in range(10_001)}), MANY),
        *(
            (name, packed(dict.fromkeys(files, b"1")), NOTHING)
            for name, files in (("a.zip", []), ("a.zip", ["a.txt"]), ("a.zip", [".hidden.ipynb"]))
        ),
    ],
)
def test_a_file_that_holds_no_class(tmp_path, name, content, sentence):
    path = folder(tmp_path, {name: content}) / name
    with pytest.raises(ValueError, match=re.escape(sentence.format(path))):
        collect(path)


def test_what_is_no_class_at_all(tmp_path):
    (tmp_path / "empty" / "jdoe").mkdir(parents=True)
    folder(tmp_path / "text", {"notes.txt": b"1", ".hidden.ipynb": b"1"})
    os.mkfifo(tmp_path / "pipe")
    for name, kind, sentence in (
        ("empty", ValueError, NOTHING),
        ("text", ValueError, NOTHING),
        ("pipe", ValueError, NEITHER),
        ("gone", FileNotFoundError, "{} is not there: give the folder or zip file in which the "),
    ):
        with pytest.raises(kind, match=f"^{re.escape(sentence.format(tmp_path / name))}"):
            collect(tmp_path / name)


def test_zip_by_another_name(tmp_path):
    path = zipped(tmp_path, {"jdoe.ipynb": b"1"}).rename(tmp_path / "download")
    check(path, b"1")
