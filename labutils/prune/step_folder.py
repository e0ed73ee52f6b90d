"""Keep the networks of an iterative pruning in a folder, with a note of what made them."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from labutils.base.digits import Split
from labutils.base.files import load_model, save_model
from labutils.base.structure import fingerprint
from labutils.base.writing import only_writer, write_whole

PLAN = "plan.json"
UNIMPORTANT = ("progress", "watch", "device")  # arguments that change no weight


@contextlib.contextmanager
def opened(path: str | Path | None, **given: object) -> Iterator["StepFolder | None"]:
    """Hold a folder for a `with` block, having made sure it is of a run with these arguments."""
    if path is None:
        yield None
        return
    with only_writer(Path(path), "pruning networks into"):
        plan = {name: _plain(value) for name, value in given.items() if name not in UNIMPORTANT}
        yield StepFolder(Path(path), plan)


class StepFolder:
    """The steps that are there already, and those to come. Nothing is written before the first."""

    def __init__(self, path: Path, plan: dict[str, object]) -> None:
        self.path, self.plan = path, plan
        if not path.exists():
            return
        if not path.is_dir():
            raise ValueError(f"{path.resolve()} is a file: give a folder, which need not be there.")
        if (path / PLAN).exists():
            self._compare(_read(path / PLAN))
        elif any(path.iterdir()):
            raise ValueError(
                f"{path.resolve()} holds other files: give a folder that is empty, or not there."
            )

    def load(self, number: int, amount: float) -> nn.Module | None:
        """Return the network of a step, or None if it is still to be made."""
        file = self._file(number, amount)
        return load_model(file) if file.exists() else None

    def keep(self, number: int, amount: float, model: nn.Module) -> None:
        """Write the network of a step."""
        self.path.mkdir(exist_ok=True)
        text = json.dumps(self.plan, indent=1) + "\n"
        write_whole(self.path / PLAN, lambda out: out.write(text.encode()))
        save_model(model, self._file(number, amount))

    def _file(self, number: int, amount: float) -> Path:
        return self.path / f"step_{number + 1:02}_{amount:g}.pth"

    def _compare(self, before: dict[str, object]) -> None:
        """Refuse to go on with steps that were made in another way; amounts may be added."""
        amounts = before["amounts"], self.plan["amounts"]
        shared = min(map(len, amounts))
        old, new = ({**p, "amounts": p["amounts"][:shared]} for p in (before, self.plan))
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if changed:
            raise ValueError(
                f"{self.path.resolve()} holds the steps of another run ({', '.join(changed)} "
                "differ): give another folder, or the same arguments to go on."
            )
        self.plan["amounts"] = max(amounts, key=len)


def _read(file: Path) -> dict[str, object]:
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(plan.get("amounts"), list):
            return plan
    except (ValueError, AttributeError):
        pass
    raise ValueError(f"{file.resolve()} is damaged: give another folder.")


def _plain(value: object) -> object:
    """Return what can be written down of an argument, and tells it from others."""
    if isinstance(value, nn.Module):
        return fingerprint(value)
    if isinstance(value, Split):
        return hashlib.sha256(value.images.contiguous().numpy().tobytes()).hexdigest()[:12]
    if callable(value):
        return getattr(value, "__qualname__", repr(value))
    return value if isinstance(value, (str, int, float, list, type(None))) else repr(value)
