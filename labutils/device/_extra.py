"""The packages of the extra `[device]`: imported where they are used, missed in one sentence."""

import importlib
from types import ModuleType

PIP_LINE = "pip install --editable '.[device]'"
PACKAGES = ("onnx", "onnxscript", "onnxruntime", "ziglang", "unicorn", "elftools")


def needed(name: str) -> ModuleType:
    """Import a package of the extra.

    Raises
    ------
    ModuleNotFoundError
        It is missing; the message says which pip line brings it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{error.name or name} is not installed, or not for this machine: in the project's "
            f"folder, {PIP_LINE} brings what lesson 06 needs.",
            name=error.name or name,
        ) from error


def missing() -> list[str]:
    """Return which packages of the extra cannot be imported."""
    return [name for name in PACKAGES if not _importable(name)]


def _importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
