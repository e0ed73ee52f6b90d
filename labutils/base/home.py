"""Where is the lab: the folder that holds `data/` and `models/`?"""

import os
from pathlib import Path

import platformdirs


def lab_home() -> Path:
    """Return the folder that holds `data/` and `models/`.

    The first of these that exists: the folder named by the environment variable
    ``EAI_LAB_HOME``; the project this package lies in; the nearest folder at or
    above the working directory that has both. Where there is none (the package was
    installed by itself), a cache folder of the user's, so that a download has a place.

    Raises
    ------
    FileNotFoundError
        If ``EAI_LAB_HOME`` names a folder that does not exist.
    """
    named = os.environ.get("EAI_LAB_HOME")
    if named:
        if not Path(named).is_dir():
            raise FileNotFoundError(
                f"EAI_LAB_HOME is set to {named!r}, which is not a folder: set it to the "
                "folder that holds data/ and models/, or unset it."
            )
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parents[2], here, *here.parents):
        if (folder / "data" / "MNIST").is_dir() and (folder / "models").is_dir():
            return folder
    return cache_folder()


def cache_folder() -> Path:
    """Return the user's folder for what can be made again; it need not be there."""
    return Path(platformdirs.user_cache_dir("eai-pruning-lab", appauthor=False))
