"""Where is the lab: the folder that holds `data/` and `models/`, and what was installed?"""

import contextlib
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePath, PurePosixPath

import platformdirs

DISTRIBUTION = "eai-pruning-lab"
PROJECT = Path(__file__).resolve().parents[2]


def lab_home(part: str = "") -> Path:
    """Return the folder that holds `data/` and `models/`, or a part of the lab.

    The first of these that exists: the folder named by the environment variable
    ``EAI_LAB_HOME``; the project this package lies in; the nearest folder at or
    above the working directory that has both. Where there is none (the package was
    installed by itself), a cache folder of the user's, so that a download has a place.

    Parameters
    ----------
    part : a path in it, as ``"benchmarks/results"``. What the folder lacks of networks, results
        and lessons is taken from where the package was installed.

    Raises
    ------
    TypeError
        If `part` is no path in the lab.
    FileNotFoundError
        If ``EAI_LAB_HOME`` names a folder that does not exist.

    >>> lab_home("models/pretrained").is_dir()
    True
    """
    path = PurePath(part) if isinstance(part, str) else None
    if path is None or path.is_absolute() or ".." in path.parts or "\0" in part:
        raise TypeError(f"part={part!r:.60}: name a part of the lab, as 'models/pretrained'.")
    home = _home()
    places = (place / part for place in (home, PROJECT, *_installed()))
    return next((place for place in places if place.exists()), home / part)


def _home() -> Path:
    named = os.environ.get("EAI_LAB_HOME")
    if named and not Path(named).is_dir():
        raise FileNotFoundError(
            f"EAI_LAB_HOME is set to {named!r}, which is not a folder: set it to the "
            "folder that holds data/ and models/, or unset it."
        )
    here = Path.cwd()
    for folder in () if named else (PROJECT, here, *here.parents):
        if (folder / "data" / "MNIST").is_dir() and (folder / "models").is_dir():
            return folder
    home = Path(named).resolve() if named else cache_folder()
    with contextlib.suppress(OSError):  # where that is not allowed, saving a network says so
        (home / "models").mkdir(parents=True, exist_ok=True)
    return home


def _installed() -> Iterator[Path]:
    """Find the folder that an installation puts beside the package, see pyproject.toml."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files(DISTRIBUTION) or ():
            path = PurePosixPath(file.as_posix())
            if path.match(f"share/{DISTRIBUTION}/LICENSE"):
                yield Path(file.locate()).resolve().parent


def cache_folder() -> Path:
    """Return the user's folder for what can be made again; it need not be there."""
    return Path(platformdirs.user_cache_dir(DISTRIBUTION, appauthor=False))
