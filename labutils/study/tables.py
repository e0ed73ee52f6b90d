"""Keep the rows of a comparison in a CSV file that survives interruptions."""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from labutils.base import given
from labutils.base.writing import write_whole

HEADER = "# eai-pruning-lab comparison, format 1"
UNPRUNED = "unpruned"  # the method that changes nothing
KEY = ["method", "amount", "seed", "network", "part", "images", "batch", "digits"]
TEXTS = ("method", "network", "part", "widths", "error", "digits")
COLUMNS = [
    *("method", "amount", "seed", "network", "part", "images", "accuracy", "low", "high", "change"),
    *("sparsity", "removed", "widths", "parameters", "nonzero", "macs", "nonzero_macs"),
    *("bytes_dense", "bytes_file", "bytes_compressed", "batch", "latency", "latency_low"),
    *("latency_high", "speedup", "seconds", "error", "digits"),
]
# The fingerprint of what `load_mnist` returns. Files that have no column `digits` are older
# than it, and were measured on these.
PUBLISHED = "e1141cbc4f1e"


def save_comparison(table: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Write a table of `compare` to a CSV file, whole or not at all.

    The first line names the format; the rest is what any spreadsheet reads.
    """
    path = given.path(path)
    text = f"{HEADER}\n" + table.to_csv(index=False, lineterminator="\n")
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def load_comparison(path: str | os.PathLike) -> pd.DataFrame:
    """Read back what `compare` wrote, equal to the last digit.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no such file, a damaged one, or one of another format version.
    """
    path = given.path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path.resolve()}: compare(..., path=...) writes it."
        )
    first, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    if first.rstrip() != HEADER:
        raise ValueError(
            f"{path} is no comparison of this version of the lab: its first line should be "
            f"{HEADER!r}. Choose another path, or move the file away."
        )
    whole = rest[: rest.rfind("\n") + 1]  # a last line without its end was being written
    try:
        table = pd.read_csv(
            io.StringIO(whole),
            dtype=dict.fromkeys(TEXTS, str),
            engine="python",  # reads every float to its last digit
            keep_default_na=False,  # a method may be called "NA"
            na_values=[""],
        )
        if "digits" not in table:
            table["digits"] = PUBLISHED
        return as_table(table.fillna(dict.fromkeys(TEXTS, "")))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({reason}): measure under another path.") from error


def known_rows(path: Path) -> dict[tuple, dict[str, object]]:
    """Return a file's rows by their `KEY`, mending a last line that was cut off."""
    if not path.exists():
        return {}
    table = load_comparison(path)
    save_comparison(table, path)
    keys = table[KEY].itertuples(index=False, name=None)
    return dict(zip(keys, table.to_dict("records"), strict=True))


def as_table(rows: Iterable[Mapping[str, object]] | pd.DataFrame) -> pd.DataFrame:
    """Make the table of rows, filling in the change in points from the unpruned network."""
    table = pd.DataFrame(rows)[COLUMNS]
    same = ["seed", "network", "part", "images", "digits"]
    unpruned = table[table["method"] == UNPRUNED].set_index(same)["accuracy"]
    unpruned = unpruned[~unpruned.index.duplicated(keep="last")]
    before = unpruned.reindex(pd.MultiIndex.from_frame(table[same])).to_numpy()
    return table.assign(change=100 * (table["accuracy"].to_numpy() - before))


def append_row(path: Path, row: dict[str, object]) -> None:
    """Add a row to the file, which is made if need be; on return it is on the disk."""
    line = pd.DataFrame([row])[COLUMNS]
    if not path.exists():
        save_comparison(line, path)
        return
    with path.open("a", encoding="utf-8", newline="") as file:
        line.to_csv(file, header=False, index=False, lineterminator="\n")
        file.flush()
        os.fsync(file.fileno())
