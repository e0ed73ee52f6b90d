"""Which files of the project go to the students?"""

import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from classroom.harmless import some

PAGE = "docs/pruning-lab.html"  # the explorer for any browser; lies on top in the handout
FIRST = "notebooks/00_start_here.ipynb"  # what start.py opens; in the handout, the assignment
# A star stands for folders too. Lesson 05 draws the tables of the benchmarks.
PACKED = (
    *("LICENSE", "environment.yml", "pyproject.toml", "setup.py", "start.py", PAGE),
    "etc/*",
    *("notebooks/[0-9]*.ipynb", "labutils/*"),
    *("data/README.md", "data/MNIST/raw/train-images-*.gz", "data/MNIST/raw/train-labels-*.gz"),
    *("data/MNIST/raw/t10k-images-*.gz", "data/MNIST/raw/t10k-labels-*.gz"),
    *("models/README.md", "models/pretrained/*", "models/smallest/*"),
    *("benchmarks/recovery.py", "benchmarks/repair.py", "benchmarks/training_methods.py"),
    *("benchmarks/results/README.md", "benchmarks/results/*.csv"),
)
MADE = ("__pycache__", "*.pyc", "*-ubyte", "*.partial", "*.lock", ".*")  # never handed out


def read(project: Path, wanted: tuple[str, ...] | None = None) -> dict[str, bytes]:
    """Return the files of the handout, or others wanted, from their path to their content.

    In a clone these are the files that git tracks, or would: files that are ignored stay out,
    and new ones are named. Elsewhere all files are taken that no program made. FileNotFoundError
    if one is not there.
    """
    wanted = wanted or PACKED
    tracked = _git_files(project, "--cached")
    others = _git_files(project, "--others", "--exclude-standard")
    new = [name for name in others if _packed(name, wanted)]
    if new:
        print(f"Packed, though not in git yet: {some(new)}")
    known = [*tracked, *new] or _in_folders(project, wanted)
    names = sorted(name for name in known if _packed(name, wanted))
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise FileNotFoundError(
                f"{pattern} is missing in {project}: bring it back with git, or unpack it again."
            )
    return {name: _content(project, name) for name in names}


def _packed(name: str, wanted: tuple[str, ...]) -> bool:
    made = any(fnmatchcase(part, p) for part in PurePosixPath(name).parts for p in MADE)
    return not made and any(fnmatchcase(name, pattern) for pattern in wanted)


def _content(project: Path, name: str) -> bytes:
    try:
        return (project / name).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{name} is known to git, but not there: `git checkout {name}` brings it back, "
            f"`git rm {name}` lets it go for good."
        ) from None


def _git_files(project: Path, *options: str) -> list[str]:
    """Return what `git ls-files` does; nothing where there is no git or no clone."""
    if not (project / ".git").exists():
        return []
    command = ["git", "ls-files", "-z", *options]
    try:
        process = subprocess.run(command, cwd=project, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    return [name for name in process.stdout.decode().split("\0") if name]


def _in_folders(project: Path, wanted: tuple[str, ...]) -> Iterator[str]:
    for top in {PurePosixPath(pattern).parts[0] for pattern in wanted}:
        for path in [project / top, *(project / top).rglob("*")]:
            if path.is_file():
                yield path.relative_to(project).as_posix()
