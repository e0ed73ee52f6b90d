"""A platform's list of the class is matched, never guessed at, and goes back as it came."""

import re

import pytest

from classroom.platforms import ClassList, feedback_name

MOODLE = (
    'Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be '
    'changed","Last modified (submission)","Last modified (grade)","Feedback comments"\n'
    '"Participant 12345","Ann Lee",ann@x.y,"Submitted for grading - ",,100.00,Yes,"Monday, 2 '
    'November 2026, 9:00 AM",-,"She said ""no"",\nand =1+1"\n'
    '"Participant 12346","Jörg Groß",j@x.y,"No submission","",100.00,Yes,-,-,\n'
    '"Participant 12347","Bo Ek",b@x.y,"No submission",5,100.00,Yes,-,-,\n'
)
CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Lab 2 (901),Current Score\r\n"
    ",,,,,Manual Posting,\r\n"
    "    Points Possible,,,,,100.00,(read only)\r\n"
    '"Lee, Ann",12345,s1,ann,A,,1\r\n'
    '"Groß, Jörg",12346,s2,jorg,A,N/A,\r\n'
    '"Ek, Bo",12347,s3,bo,A,,\r\n'
)
TABS = (
    '"Last Name"\t"First Name"\t"Username"\t"Grade"\n'
    '"Lee"\t"Ann"\t"ann"\t""\n"Groß"\t"Jörg"\t"jorg"\t""\n"Ek"\t"Bo"\t"bo"\t"5"'
)
PARTICIPANTS = "First name;Last name;Email address\nAnn;Lee;a@x.y\nJörg;Groß;b@x.y\nBo;Ek;c@x.y\n"
TWO = PARTICIPANTS + "ann;LEE;d@x.y\n"
SUBMITTED = {
    "Moodle": {"a": ("12345", "Ann Lee"), "j": ("12346", "Group 1-Jörg Groß")},
    "Canvas": {"a": ("12345", "leeann"), "j": ("12346", "großjörg")},
    "tabs": {"a": ("", "ann"), "j": ("", "jorg")},
    "names": {"a": ("", "Ann Lee"), "j": ("", "Jo\u0308rg Groß")},
}
AFTER = {
    "Moodle": [('Submitted for grading - ",,100', 'Submitted for grading - ",49.5,100'),
               ('"No submission","",', '"No submission","7",')],
    "Canvas": [("ann,A,,1", "ann,A,49.5,1"), ("A,N/A,", "A,7,")],
    "tabs": [('"ann"\t""', '"ann"\t"49.5"'), ('"jorg"\t""', '"jorg"\t"7"')],
}  # fmt: skip


def class_list(folder, text, column=""):
    path = folder / "class.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return ClassList(path, column)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("text", "kind"),
    [(MOODLE, "Moodle"), (CANVAS, "Canvas"), (TABS, "tabs"), (PARTICIPANTS, "names")],
)
def test_grades_go_in_and_all_else_stays(tmp_path, text, kind, mark):
    given = class_list(tmp_path, mark + text)
    found, why, missing = given.match(SUBMITTED[kind])
    assert {student: one.row for student, one in found.items()} == {
        student: next(one.row for one in given.listed if one.name in names)
        for student, names in (("a", ("Ann Lee", "Lee, Ann")), ("j", ("Jörg Groß", "Groß, Jörg")))
    }
    assert (why, [one.name in ("Bo Ek", "Ek, Bo") for one in missing]) == ({}, [True])
    for before, after in AFTER.get(kind, []):
        text = text.replace(before, after)
    filled = given.filled({found["a"]: "49.5", found["j"]: "7"})
    assert filled == ((mark + text).encode() if kind in AFTER else None)
    assert kind not in AFTER or given.filled({}) == given.path.read_bytes()


@pytest.mark.parametrize(
    ("text", "number", "name", "sentence", "missing"),
    [
        (MOODLE, "99999", "Ann Lee", "Ann Lee 99999 is not in the class list", 3),
        (MOODLE, "12345", "Bo Ek", "12345 is Ann Lee in the class list, and Bo Ek here", 2),
        (MOODLE, "12345", "Participant", "", 2),
        (MOODLE, "", "jdoe", "jdoe is not in the class list", 3),
        (MOODLE, "", "?", "? is not in the class list", 3),
        (TWO, "", "Ann Lee", "Ann Lee is 2 times in the class list", 2),
        (PARTICIPANTS, "12345", "Ann Lee", "", 2),
        (CANVAS, "", "Ann Lee", "", 2),
    ],
)
def test_nobody_is_guessed(tmp_path, text, number, name, sentence, missing):
    found, why, left = class_list(tmp_path, text).match({"a": (number, name)})
    assert (why.get("a", ""), "a" in found, len(left)) == (sentence, not sentence, missing)


def test_two_who_may_be_one_are_neither(tmp_path):
    students = {"a": ("", "Ann Lee"), "ann": ("", "ann-lee"), "b": ("", "Bo Ek")}
    found, why, missing = class_list(tmp_path, PARTICIPANTS).match(students)
    assert (list(found), list(why), [one.name for one in missing]) == (
        ["b"], ["a", "ann"], ["Jörg Groß"],
    )  # fmt: skip
    assert why["a"] == "others, too, are Ann Lee of the class list by their name"


@pytest.mark.parametrize(
    ("text", "column", "sentence"),
    [
        ("", "", "lists nobody: give Moodle's grading worksheet or participants"),
        ("name,points\nAnn,1\n", "", "lists nobody: give Moodle's grading worksheet or partici"
         "pants, or Canvas's gradebook, in English; here are name, points."),
        (MOODLE.encode("latin-1"), "", "is not in UTF-8: download it again."),
        (MOODLE + "x\n", "", "has 1 cells in row 5 and 10 headings: download it again."),
        (CANVAS.replace("Current Score", "Lab 3 (902)"), "",
         "has 2 columns for the grades (Lab 2 (901), Lab 3 (902)): name one, as ARGS="),
        (CANVAS, "Lab 2", "has 0 columns for the grades (Student, ID, SIS User ID, SIS Login"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_a_class_is_refused(tmp_path, text, column, sentence):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'class.csv'} {sentence}")):
        class_list(tmp_path, text, column)


def test_the_column_may_be_named(tmp_path):
    given = class_list(tmp_path, CANVAS, "Section")
    assert b"ann,7,,1" in given.filled({given.listed[0]: "7"})
    with pytest.raises(FileNotFoundError, match="is no file: give the list that you downloaded"):
        ClassList(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("number", "handed_in_as", "name"),
    [
        ("7", "Lab/A Lee_7_assignsubmission_file/x/lab.ipynb", "A Lee_7_assignsubmission_file/"),
        ("7", "A Lee_7_assignsubmission_file_lab.ipynb", "A Lee_7_assignsubmission_file_/"),
        ("7", "leeann_LATE_7_89_lab.zip/lab.ipynb", "leeann_LATE_7_89_"),
        ("", "a/Bo Ek_8_assignsubmission_file_/lab.ipynb", "a/"),  # as whoever wants another's
        ("7", "x_7_1_y/Bo Ek_8_assignsubmission_file_/lab.ipynb", "x_7_1_"),
        ("", "Lab 2_ann_attempt_2026-11-20-10-11-12_lab.ipynb", "a/"),
        ("", "a/lab2_pruning/lab.ipynb", "a/"),
    ],
)
def test_feedback_is_named_as_the_platform_named_what_was_handed_in(number, handed_in_as, name):
    assert feedback_name("a", number, handed_in_as) == f"{name}feedback.html"
