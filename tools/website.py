"""Write the course as pages for any browser, to be read offline: `make site`, into build/site.

What Sphinx reads is laid out in build/site-source as in the project, so that links between texts
lead where they did; what did not change is not written again, nor read again by Sphinx.
"""

import ast
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

# A grammar of addresses, which jsonschema would compile for a second, and nothing here needs.
sys.modules.setdefault("rfc3987_syntax", None)
import nbformat  # noqa: E402
from lessons import READING, lessons  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))  # for classroom, which nobody installs
SOURCE, SITE = PROJECT / "build" / "site-source", PROJECT / "build" / "site"
TEXTS = ("data", "models", "models/pretrained", "models/smallest", "benchmarks/results")
GUIDE, TASKS = "notebooks/assignment/README.md", "notebooks/assignment/tasks.md"
CONTENTS = """
```{{toctree}}
:hidden:
:caption: {}

{}
```
"""
INSTALLATION = """# Installs the lab where it is absent, once; this takes a while.
import sys
from importlib.util import find_spec

if not find_spec("labutils"):
    %pip install --quiet "eai-pruning-lab[device] @ git+{}"
if "google.colab" in sys.modules:
    sys.modules["google.colab"].output.enable_custom_widget_manager()
"""
PROGRAM = re.compile(r"(?<=\]\()(?!https?:)([^)\s]+\.(py|c|h))(?=\))")  # a link to one
AGAIN = """## This lesson again

From memory, next week: <a href="../clean/{}" download>the lesson without its code</a>, to be
written anew."""
PAGE = PROJECT / "docs" / "pruning-lab.html"
BESIDE = (
    "LICENSE",
    "environment.yml",
    ".devcontainer/devcontainer.json",
    "docs/explorer.png",
    "models/smallest/search.csv",
    "benchmarks/results/any_network.csv",
)
SHOWN = ("labutils/**/*.py", "labutils/device/c/*", "benchmarks/*.py")
EXPLORER = re.compile(r"\[([^]]*)\]\(docs/pruning-lab\.html\)")


def repository() -> str:
    """Return where the project is published, "" while it is not."""
    return project().get("urls", {}).get("Repository", "")


def elsewhere(name: str) -> str:
    """Return links to services that run a lesson, "" while it is published nowhere."""
    address = repository()
    if not address:
        return ""
    path = address.removeprefix("https://github.com/")
    copy = f"{path}/blob/gh-pages/elsewhere/{name}"  # see .github/workflows/publish.yml
    found = {
        "Colab": f"https://colab.research.google.com/github/{copy}",
        "Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{copy}",
        "Binder": f"https://mybinder.org/v2/gh/{path}/HEAD?urlpath=lab/tree/notebooks/{name}",
        "Codespaces": f"https://codespaces.new/{path}",
    }
    return f"\n\nIn a browser: {', '.join(f'[{name}]({link})' for name, link in found.items())}."


def project() -> dict:
    """Return what pyproject.toml says about the project."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pages() -> Iterator[tuple[str, list[Path], Callable[[], str]]]:
    """Name the source of each page, what it is made from, and the function that makes it."""
    names = [path.relative_to(PROJECT).as_posix() for path in lessons([])]
    texts = [GUIDE, *(f"{folder}/README.md" for folder in TEXTS)]
    yield "index.md", [PROJECT / "README.md", *lessons([])], lambda: index(names, texts)
    for name in names:
        path = PROJECT / name
        yield f"_extra/clean/{path.name}", [path], partial(lesson, path, without_code)
        if repository():
            yield f"_extra/elsewhere/{path.name}", [path], partial(lesson, path, with_installation)
        yield name, [path], partial(lesson, path, partial(for_page, name=path.name))
    for name in texts:
        yield name, [PROJECT / name], partial((PROJECT / name).read_text, encoding="utf-8")
    for pattern in SHOWN:
        for path in PROJECT.glob(pattern):
            yield f"{path.relative_to(PROJECT).as_posix()}.md", [path], partial(program, path)
    yield TASKS, [*(PROJECT / "notebooks" / "assignment").rglob("*.*")], task_sheet
    yield "api.md", [*(PROJECT / "labutils").glob("**/__init__.py")], api


def index(names: list[str], texts: list[str]) -> str:
    """Return the first page: the README, and the table of contents of all."""
    contents = {"Lessons": [*names, TASKS], "Reference": ["api.md", *texts]}
    toctrees = (CONTENTS.format(title, "\n".join(found)) for title, found in contents.items())
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    return EXPLORER.sub(r'<a href="pruning-lab.html">\1</a>', readme) + "".join(toctrees)


def lesson(path: Path, change: Callable[[NotebookNode], NotebookNode]) -> str:
    """Return a lesson's file, changed."""
    return nbformat.writes(change(nbformat.read(path, as_version=4)))


def for_page(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a lesson as the pages show it: readings without their source, links at the end."""
    for cell in notebook.cells:
        if READING in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-input")
    links = nbformat.v4.new_markdown_cell(AGAIN.format(name) + elsewhere(name), id="links")
    notebook.cells.append(links)
    return notebook


def with_installation(notebook: NotebookNode) -> NotebookNode:
    """Return a lesson that first installs the lab where it is absent, as on Colab."""
    cell = nbformat.v4.new_code_cell(INSTALLATION.format(repository()), id="installation")
    notebook.cells.insert(0, cell)
    return notebook


def without_code(notebook: NotebookNode) -> NotebookNode:
    """Return a copy of a lesson with the prose, and of the code nothing but imports."""
    cells = []
    for cell in notebook.cells:
        kept = dict(cell)
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
            source = "\n".join(ast.get_source_segment(cell.source, node) for node in imports)
            kept |= {"source": source, "outputs": [], "execution_count": None, "metadata": {}}
        cells.append(nbformat.from_dict(kept))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def program(path: Path) -> str:
    """Return a page that shows a program; who searches for words wants texts, not this."""
    name, code = path.relative_to(PROJECT).as_posix(), path.read_text(encoding="utf-8")
    language = "python" if path.suffix == ".py" else "c"
    return f"---\norphan: true\nnosearch: true\n---\n# {name}\n\n````{language}\n{code}````\n"


def task_sheet() -> str:
    """Return the assignment's texts and stubs as Markdown, without what students must not see."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearMarkScheme, ClearSolutions

    from classroom import assignment
    from classroom.handout import leaks

    notebook = nbformat.reads(assignment.complete().decode(), as_version=4)
    for step in (ClearSolutions(), ClearHiddenTests(), ClearMarkScheme()):
        notebook, _ = step.preprocess(notebook, {})
    parts = [
        f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source
        for cell in notebook.cells
        if cell.metadata.nbgrader.solution == (cell.cell_type == "code")
    ]
    text = re.sub(r"<details>.*?</details>\n*", "", "\n\n".join(parts), flags=re.DOTALL)
    secrets = leaks.secrets(nbformat.read(assignment.SOURCE, as_version=4))
    leaks.refuse({TASKS: text.encode()}, secrets)
    return text


def api() -> str:
    """Return a page on what `labutils` offers, room by room, which Sphinx fills in."""
    text = "# The package\n\n`import labutils as lab` gives what stands here as `labutils.`\n"
    rooms = {module.split(".")[1]: [] for module in offered().values()}
    for name, module in sorted(offered().items()):
        rooms[module.split(".")[1]].append(name)
    for room, names in rooms.items():
        about = ast.get_docstring(_tree(PROJECT / "labutils" / room))
        text += f"\n## {room}\n\n{about.partition('>>>')[0]}\n\n```{{eval-rst}}\n"
        for name in names:
            kind = "class" if name.rpartition(".")[2][0].isupper() else "function"
            text += f".. auto{kind}:: {name}\n"
        text += "```\n"
    return text


@cache
def offered() -> dict[str, str]:
    """Return the public names, each with its module, without loading PyTorch as they would."""
    package = PROJECT / "labutils"
    found = {f"labutils.{name}": module for name, module in _imported(package)}
    assigned = next(n for n in _tree(package / "device").body if isinstance(n, ast.Assign))
    for module, names in ast.literal_eval(assigned.value).items():
        found |= {f"labutils.device.{name}": f"labutils.device.{module}" for name in names.split()}
    checks = _imported(package / "checks")
    found |= {f"labutils.checks.{name}": module for name, module in checks}
    return {name: module for name, module in found.items() if not name.rpartition(".")[2].isupper()}


def shown(name: str) -> str | None:
    """Return the page that shows where a public name is defined."""
    module = offered().get(name)
    return module and f"{module.replace('.', '/')}.py.html"


def _imported(room: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(_tree(room)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("labutils."):
            for alias in node.names:
                if not alias.asname:
                    yield alias.name, node.module


def _tree(room: Path) -> ast.Module:
    return ast.parse((room / "__init__.py").read_text(encoding="utf-8"))


def lay_out() -> None:
    """Write what Sphinx reads, where its origin is newer; take away what is no page any more."""
    names, always = set(), [Path(__file__), PROJECT / "pyproject.toml"]
    for name, origins, make in pages():
        names.add(SOURCE / name)
        if is_newer(SOURCE / name, [*always, *origins]):
            continue
        text = make()
        write(SOURCE / name, text if name.startswith("_") else PROGRAM.sub(r"\1.md", text))
    for path in [*SOURCE.rglob("*.md"), *SOURCE.rglob("*.ipynb")]:
        if path not in names:
            path.unlink()
            shutil.rmtree(SITE, ignore_errors=True)  # its page is in there
    for name in BESIDE:
        write(SOURCE / name, (PROJECT / name).read_bytes())
    write(SOURCE / "_extra" / PAGE.name, PAGE.read_bytes())
    lay_out_explorers(SOURCE / "_static" / "explorer")


def is_newer(target: Path, origins: Iterable[Path]) -> bool:
    """Tell whether a file is there, and newer than what it is made from."""
    newest = max(origin.stat().st_mtime for origin in origins)
    return target.is_file() and target.stat().st_mtime > newest


def write(path: Path, content: str | bytes) -> None:
    """Write a file in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.partial")  # so that it is whole
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)


def lay_out_explorers(folder: Path) -> None:
    """Write what the explorers in the lessons need, once for all pages."""
    origins = [PROJECT / "labutils" / "page", PROJECT / "models" / "pretrained"]
    if is_newer(folder / "explorer.css", [p for place in origins for p in place.glob("*.*")]):
        return
    from labutils.page import page  # which loads PyTorch

    marks = "".join(path.read_text(encoding="utf-8") for path in lessons([]))
    write(folder / "data.js", f"const KNOWN = {page.quoted(page.known(marks))};")
    script = page.front_end() + page.ALIVE.replace("/* DATA */", "KNOWN")
    write(folder / "explorer.js", f"(() => {{ 'use strict';\n{script}\n}})();")
    write(folder / "explorer.css", page.STYLE)


def main() -> None:
    """Lay out the sources and build the pages; a warning of Sphinx's is an error."""
    from sphinx.cmd.build import main as build

    lay_out()
    options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", "build/site-trees"]
    os.chdir(PROJECT)
    failed = build([*options, *sys.argv[1:], str(SOURCE), str(SITE)])
    if failed:
        sys.exit(failed)
    print("The course: build/site/index.html")


if __name__ == "__main__":
    main()
