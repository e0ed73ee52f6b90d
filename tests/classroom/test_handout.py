"""The students' handout: complete, the same every time, and without any solution."""

import errno
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

import nbformat
import pytest
from conftest import PROJECT

from classroom.assignment import NAME, SOURCE, columns, parts
from classroom.handout import build, contents, leaks, sheet
from classroom.handout.__main__ import main
from classroom.typeset import formula

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


pytestmark = pytest.mark.slow
ELSEWHERE = "import os; os.umask(0o077)\nfrom pathlib import Path\n" + (
    "from classroom.handout.build import build; build(Path('out'), Path('project'))"
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)\)")
CHECKS = [part.name for part in parts() if part.name.endswith("-check")]


def python(folder, code):
    """Start Python elsewhere, at another time of day, with another order of sets."""
    other = {"PYTHONPATH": str(PROJECT), "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env={**os.environ, **other}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process):
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Two handouts, and what was said: by the command here, and by a copy without git elsewhere."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    copy_project(there / "project")
    copy, said = python(there, ELSEWHERE), io.StringIO()
    with redirect_stdout(said), patch.object(sys, "argv", ["handout", "--out", str(here)]):
        main()
    finish(copy)
    return here, there / "out", said.getvalue()


def copy_project(target):
    """Copy what the handout is made of, with other times, and with what must stay out of it."""
    junk = {"labutils/__pycache__/x.pyc": b"", "data/MNIST/raw/t10k-images-idx3-ubyte": b"1"}
    files = {**contents.read(PROJECT), **junk, "labutils/.notes.txt": b"2", "tests/x.py": b"3"}
    for name, content in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.fixture(scope="module")
def unpacked(builds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    with zipfile.ZipFile(builds[0] / "eai-lab2-handout.zip") as file:
        file.extractall(folder)
    return folder / "eai-lab2"


@pytest.fixture(scope="module")
def files(unpacked):
    found = (path for path in unpacked.rglob("*") if path.is_file())
    return {path.relative_to(unpacked).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def students(files):
    return nbformat.reads(files["lab2_pruning.ipynb"].decode(), as_version=4)


@pytest.fixture(scope="module")
def source():
    return nbformat.read(SOURCE, as_version=4)


def validate(path):
    """Return what nbgrader's validator says of a notebook, and the notebook as it ran there."""
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, Execute
    from nbgrader.validator import Validator

    ran = []

    class Kept(Execute):
        def preprocess(self, notebook, resources):
            ran.append(notebook)
            return super().preprocess(notebook, resources)

    validator = Validator(preprocessors=[CheckCellMetadata, ClearOutput, Kept])
    with pytest.MonkeyPatch.context() as patches:
        patches.delenv("PYTHONPATH", raising=False)  # which no student has
        return validator.validate(str(path)), ran[0]


@pytest.fixture(scope="module")
def blank(unpacked, students):
    """The handout as it is, run to its end in a student's folder, with a question added."""
    path = unpacked / "blank.ipynb"
    cells = [*students.cells, nbformat.v4.new_code_cell("lab.__file__", id="which")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=students.metadata), path)
    return validate(path)


def errors(cell):
    return [o.evalue for o in cell.get("outputs", []) if o.output_type == "error"]


# What is in the zip file


def test_all_that_students_need_is_in_and_nothing_else(unpacked, files):
    assert [path.name for path in unpacked.parent.iterdir()] == ["eai-lab2"]
    tops = {name.split("/")[0] for name in files}
    assert tops == {
        *("README.md", "LICENSE", "start.py", "pyproject.toml", "setup.py", "etc"),
        "environment.yml",
        *(
            "lab2_pruning.ipynb",
            "pruning-lab.html",
            "notebooks",
            "labutils",
            "data",
            "models",
            "benchmarks",
        ),
    }
    unwanted = re.compile(r"__pycache__|\.pyc$|-ubyte$|checkpoint|/\.|\.lock$|assignment|make_")
    assert [name for name in files if unwanted.search(name)] == []
    lessons = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
    assert [path.stem[:2] for path in lessons] == [f"0{number}" for number in range(9)]
    package = [p for p in (PROJECT / "labutils").rglob("[!.]*.*") if p.suffix != ".pyc"]
    networks = sorted((PROJECT / "models").glob("*/*"))
    digits = sorted((PROJECT / "data").rglob("*.gz"))
    assert len(digits) == 4
    assert len(networks) > 7
    for path in (*lessons, *package, *networks, *digits):
        assert files[path.relative_to(PROJECT).as_posix()] == path.read_bytes()


def test_two_builds_give_the_same_bytes_and_keep_no_clock_and_no_umask(builds):
    one, other, said = builds
    for name in ("eai-lab2-handout.zip", "handout.html"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    entries = zipfile.ZipFile(one / "eai-lab2-handout.zip").infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644)
    }
    assert re.search(r"eai-lab2-handout\.zip: \d+ files, \d+\.\d MB, SHA-256 [0-9a-f]{64}\n", said)
    assert "handout.html\n" in said
    assert "handout.pdf" in said


# No solution leaves the house


def lines_inside_and_outside(notebook):
    """Return the lines of the teacher's notebook, those kept secret and those shown, stripped."""
    secret, shown = [], []
    for cell in notebook.cells:
        inside = False
        for line in map(str.strip, cell.source.splitlines()):
            if line.startswith(("### BEGIN", "### END")):
                inside = line.startswith("### BEGIN")
            else:
                (secret if inside else shown).append(line)
    return secret, shown


def test_no_secret_line_is_in_any_file(files, source):
    secret, shown = lines_inside_and_outside(source)
    shown = "\n".join(shown)
    telling = [s for s in secret if len(s) >= 12 and s.rstrip("(,") not in shown]
    assert len(telling) > 80
    assert any("Marking scheme" in line for line in telling)
    for line in telling:
        for text in (line, json.dumps(line, ensure_ascii=False)[1:-1]):  # as it is in a notebook
            assert [name for name, content in files.items() if text.encode() in content] == []
    for mark in ("BEGIN SOLUTION", "HIDDEN TESTS", "Marking scheme", "MARK SCHEME"):
        assert mark.encode() not in files["lab2_pruning.ipynb"]


def hidden_in_an_output(secret):
    output = nbformat.v4.new_output("stream", text=f"look:\n{secret}\n")
    cell = nbformat.v4.new_code_cell("print(look)", outputs=[output])
    return nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.parametrize(
    ("name", "secret", "written"),
    [
        ("labutils/sizes.py", "zeros += part.weight.numel() - present", "    {}\n"),
        ("labutils/sizes.py", "survives = torch.full([weight.numel()], True)", "x = 1  # {}"),
        ("notebooks/03.ipynb", 'tensor[kept2] if key.endswith("bias") else', hidden_in_an_output),
        ("README.md", "hard_widths = [(1, 1, 1), (3, 5, 7), (5, 2, 9)]", "{}"),
        ("data/x.gz", "A dense tensor stores each element, zero or not, in 4 bytes;", "\0{}\0"),
        ("a.md", "**Marking scheme.** 1 point: dense storage keeps zeros.", "{}"),
    ],
)
def test_a_planted_line_is_found(source, name, secret, written):
    (line,) = [x for x in SOURCE.read_text().split("\n") if json.dumps(secret)[1:-1] in x]
    line = json.loads(line.strip().rstrip(",")).strip()
    content = written(line) if callable(written) else written.format(line.replace(" ", "\n "))
    with pytest.raises(ValueError, match=r"give \w+-\w+ away: its line .* stands in"):
        leaks.refuse({name: content.encode()}, leaks.secrets(source))


def test_short_lines_are_no_leak_and_a_solution_without_marks_is_secret_altogether(source):
    harmless = b"import torch\nfrom labutils import checks\nbreak\nreturn best\nchecks.tune(\n"
    leaks.refuse({"labutils/x.py": harmless}, leaks.secrets(source))
    cell = next(cell for cell in source.cells if cell.id == "ex2-solution")
    unmarked = re.sub(r".*(BEGIN|END) SOLUTION\n?", "", cell.source)
    cell = nbformat.from_dict({**cell, "source": unmarked})
    found = leaks.secrets(nbformat.v4.new_notebook(cells=[cell]))
    assert ("ex2-solution", "survives[by_size[:victims]] = False") in found.values()
    assert ("ex2-solution", '"""Mark the weights that stay.') in found.values()


@pytest.fixture
def quick(monkeypatch, students):
    """Building without nbgrader, and without a screen full of files."""
    kept = nbformat.from_dict(students)
    monkeypatch.setattr(build, "students_version", lambda source: kept)
    monkeypatch.setattr(contents, "read", lambda project: {"start.py": b"x = 1\n"})


def test_nothing_is_written_with_a_leak(quick, monkeypatch, tmp_path, source):
    build.build(tmp_path / "good")
    assert len(list((tmp_path / "good").iterdir())) == 2
    monkeypatch.setattr(build, "students_version", lambda path: source)
    with pytest.raises(ValueError, match=r"would give ex1-solution away: .* in lab2_pruning.ipynb"):
        build.build(tmp_path / "bad")
    assert list((tmp_path / "bad").iterdir()) == []


# The students' notebook


def test_notebook_is_what_grading_expects_with_a_stub_for_every_solution(students, source):
    assert [cell.id for cell in students.cells] == [cell.id for cell in source.cells]
    for given, whole in zip(students.cells, source.cells, strict=True):
        assert whole.metadata.nbgrader.items() <= given.metadata.nbgrader.items()
        assert set(given.metadata) <= {"nbgrader", "deletable", "editable"}
        assert given.get("outputs", []) == []
        assert given.get("execution_count") is None
        if given.metadata.nbgrader.solution:
            stub = "    # YOUR CODE HERE\n    raise NotImplementedError"
            assert given.source.endswith(stub if given.cell_type == "code" else "YOUR ANSWER HERE")
    nbformat.validate(students)


def test_blank_notebook_runs_to_its_end_and_every_check_says_what_it_is(blank, unpacked):
    _, ran = blank
    assert [cell.id for cell in ran.cells if errors(cell)] == []
    by_id = {cell.id: cell for cell in ran.cells}
    for check in CHECKS:
        said = "".join(o.get("text", "") for o in by_id[check].outputs)
        assert re.match(rf"Exercise {check[2]}, \w+: not attempted\n", said)
    first = [cell.id for cell in ran.cells].index("ex1-check")
    outputs = [o for cell in ran.cells[: first + 1] for o in cell.get("outputs", [])]
    assert "stderr" not in [o.get("name") for o in outputs]
    where = Path(ran.cells[-1].outputs[0].data["text/plain"].strip("'"))
    assert where.resolve() == (unpacked / "labutils" / "__init__.py").resolve()


def test_validator_accepts_the_solved_notebook(unpacked, students, source):
    """All but Exercise 8, which trains for minutes."""
    solved = nbformat.from_dict(students)
    for cell, whole in zip(solved.cells, source.cells, strict=True):
        if cell.metadata.nbgrader.solution:
            cell.source = whole.source
    solved.cells = [c for c in solved.cells if c.id not in ("ex8-solution", "ex8-check")]
    nbformat.write(solved, unpacked / "solved.ipynb")
    result, ran = validate(unpacked / "solved.ipynb")
    assert result == {}
    assert "right" in next(cell for cell in ran.cells if cell.id == "ex7-check").outputs[0].text


# What comes with it


def text_of(name, content):
    if name.endswith(".md"):
        return content.decode()
    cells = json.loads(content)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def test_links_lead_somewhere(files):
    targets = [
        (name, os.path.normpath(Path(name).parent / target).replace(os.sep, "/"))
        for name, content in files.items() if name.endswith((".md", ".ipynb"))
        for target in LINK.findall(text_of(name, content))
    ]  # fmt: skip
    assert len(targets) > 10
    assert [(name, target) for name, target in targets if target not in files] == []


def test_instruction_names_what_is_there(files):
    text = files["README.md"].decode()
    commands = re.findall(r"^    .*$|`[^`]+`", text, flags=re.MULTILINE)
    named = {w.strip("`") for c in commands for w in c.split() if re.search(r"\w[./]\w|/`", w)}
    named -= {".venv/bin/activate", "help(lab.prune_magnitude)"}
    assert {"lab2_pruning.ipynb", "environment.yml", "notebooks/", "data/README.md"} <= named
    for name in named:
        assert name in files or any(file.startswith(name) for file in files), name
    assert len(text.splitlines()) < 60  # a page


def test_package_can_be_installed_from_the_folder(unpacked, files, tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    project = tomllib.loads(files["pyproject.toml"].decode())
    folders = [Path(name).parent for name in files if name.endswith("/__init__.py")]
    named = project["tool"]["setuptools"]["packages"]
    assert {".".join(folder.parts) for folder in folders} == set(named)
    shutil.copytree(unpacked, tmp_path / "lab", ignore=shutil.ignore_patterns("data", "models"))
    code = "import setuptools.build_meta as b; print(b.build_editable('.'))"  # as pip does it
    said = finish(python(tmp_path / "lab", code))
    assert (tmp_path / "lab" / said.split()[-1]).is_file()


def test_start_opens_the_assignment_and_offers_what_is_there(files, unpacked):
    assert 'FIRST = "lab2_pruning.ipynb"' in files["start.py"].decode()
    command = [sys.executable, "start.py", "help"]
    said = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^(\w+)  ", said, re.MULTILINE) == ["lab", "install", "page", "clean"]


# The tasks on paper


@pytest.fixture(scope="module")
def page(builds):
    return (builds[0] / "handout.html").read_text(encoding="utf-8")


def test_page_loads_nothing_and_its_formula_is_drawn(page):
    assert not re.search(r"<(script|link|img|iframe)\b", page)
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", page)
    assert "@import" not in page
    (drawn,) = re.findall(r"<math .*?</math>", page)
    assert "points=10·log(100000/bytes)log(" in re.sub(r"<[^>]+>", "", html.unescape(drawn))
    assert "<mfrac>" in drawn
    assert "$" not in page


def test_page_has_every_exercise_and_stub_and_no_hint_and_no_check(page):
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    points = columns(parts())
    for exercise in points:
        (head,) = re.findall(rf"^{exercise.capitalize()}\b.* · .*$", text, flags=re.MULTILINE)
        worth = re.search(r"· (\d+) minutes.* · (\d+) points$", head)
        assert float(worth[2]) == points[exercise], head
    rows = re.findall(r"<tr>\s*<td>(.*?)</td>.*?<td.*?>(\d+)</td>\s*<td.*?>(\d+)</td>", page, re.S)
    assert sum(int(minutes) for _, minutes, _ in rows) == 90
    assert sum(int(row[2]) for row in rows) == 100 == sum(points.values())
    assert [int(row[2]) for row in rows[:-1]] == list(points.values())[: len(rows) - 1]
    for part in parts():
        for function in part.functions if part.kind == "solution" else ():
            assert f"def {function}(" in text
    assert text.count("# YOUR CODE HERE") == 10
    for left_out in ("Hint", "<details", "checks.tune(", "YOUR ANSWER HERE", "More tests of"):
        assert left_out not in page


@pytest.mark.parametrize("tex", [r"\unheard{of}", "a_b_c", r"\left(x"])
def test_formula_that_is_none_is_told(tex):
    with pytest.raises(ValueError, match=re.escape(f"The formula {tex!r} cannot be drawn")):
        formula(tex)


def test_pdf_is_printed(builds):
    dist, _, said = builds
    if "no handout.pdf" in said:
        pytest.skip(said.splitlines()[-1])
    content = (dist / "handout.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert content.rstrip().endswith(b"%%EOF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 8


def test_without_a_browser_an_old_pdf_goes(tmp_path, monkeypatch):
    (tmp_path / "handout.html").write_text("<p>new")
    (tmp_path / "handout.pdf").write_text("old")
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    said = sheet.print_page(tmp_path / "handout.html")
    assert said == (
        "no handout.pdf: Playwright is not installed: pip install playwright, "
        "or print the page by hand."
    )
    assert not (tmp_path / "handout.pdf").exists()


# What can go wrong


def refuse(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_out_must_be_a_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match=r"is not a folder: choose another with --out"):
            build.build(out)
    monkeypatch.setattr(build.tempfile, "TemporaryFile", refuse(errno.EACCES))
    with pytest.raises(PermissionError, match=r"be written \(Permission denied\): choose another"):
        build.build(tmp_path)


def test_a_failed_write_leaves_what_was_there(quick, tmp_path, monkeypatch):
    build.build(tmp_path)
    before = (tmp_path / "eai-lab2-handout.zip").read_bytes()
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        build.build(tmp_path)
    assert (tmp_path / "eai-lab2-handout.zip").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eai-lab2-handout.zip", "handout.html"]


def test_without_nbgrader_the_extra_is_named(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.startswith(("nbgrader", "classroom.gradebook"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    monkeypatch.setattr(sys, "argv", ["handout", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^nbgrader is not installed: install the extra") as told:
        main()
    assert str(told.value).endswith("[teacher]: pip install --editable '.[teacher]'")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_told(tmp_path):
    path = tmp_path / f"{NAME}.ipynb"
    with pytest.raises(FileNotFoundError, match=rf"{NAME}.ipynb is missing: bring it back"):
        build.students_version(path)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("new")]), path)
    with pytest.raises(ValueError, match=r"no nbgrader metadata: 'new'. Give it a grade_id"):
        build.students_version(path)
    (tmp_path / "LICENSE").touch()
    with pytest.raises(FileNotFoundError, match=r"environment.yml is missing in .*: bring it back"):
        contents.read(tmp_path)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A small clone with a tracked, an ignored and a new file."""
    monkeypatch.setattr(contents, "PACKED", ("kept/*",))
    (tmp_path / "kept").mkdir()
    for name in ("tracked.py", "ignored.txt", "new.py"):
        (tmp_path / "kept" / name).write_text(name)
    (tmp_path / ".gitignore").write_text("*.txt\n")
    for command in (["init", "--quiet"], ["add", "kept/tracked.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_git_decides_what_is_packed_and_without_a_clone_the_folders(clone, capsys):
    assert list(contents.read(clone)) == ["kept/new.py", "kept/tracked.py"]
    assert capsys.readouterr().out == "Packed, though not in git yet: kept/new.py\n"
    (clone / "kept" / "tracked.py").rename(clone / "away")
    with pytest.raises(FileNotFoundError, match=r"`git checkout kept/tracked.py` brings it back"):
        contents.read(clone)
    (clone / "away").rename(clone / "kept" / "tracked.py")
    shutil.rmtree(clone / ".git")
    assert list(contents.read(clone)) == ["kept/ignored.txt", "kept/new.py", "kept/tracked.py"]
