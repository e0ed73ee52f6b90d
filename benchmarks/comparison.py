"""What does a comparison cost, and what do two workers gain?

    python benchmarks/comparison.py

Seconds for 10, 20 and 40 rows in one process: is the cost linear, with and without the file
that makes it resumable? And the same rows on one and on two processes of a pool, and on one and
on two workers of a Dask cluster, in turn; the time until the workers have started is not counted.
"""

import statistics
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import labutils as lab

ROWS = (10, 20, 40)
IMAGES = 1000
ROUNDS = 3


def seconds(rows: int, executor: Executor | None = None, path: Path | None = None) -> float:
    """Time a comparison of so many rows."""
    amounts = [i / rows for i in range(rows - 1)]
    started = time.perf_counter()
    table = lab.compare(
        [lab.prune_magnitude], amounts, lab.load_pretrained(), images=IMAGES,
        executor=executor, path=path, progress=False,
    )  # fmt: skip
    assert len(table) == rows
    assert table["error"].eq("").all()
    return time.perf_counter() - started


def linear() -> None:
    """Print the cost of a row for more and more rows."""
    seconds(ROWS[0])
    for resumable in (False, True):
        per_row = {rows: [] for rows in ROWS}
        for round_ in range(ROUNDS):
            for rows in ROWS:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / f"{round_}.csv" if resumable else None
                    per_row[rows].append(seconds(rows, path=path) / rows)
        name = "with a file" if resumable else "without"
        texts = [f"{rows}: {1e3 * statistics.median(per_row[rows]):.0f}" for rows in ROWS]
        growth = statistics.median(per_row[ROWS[-1]]) / statistics.median(per_row[ROWS[0]])
        print(f"ms a row, {name:11} {', '.join(texts)}; last / first {growth:.2f}")


def speed_up(name: str, one: Executor, two: Executor) -> None:
    """Print how many times faster two workers are than one."""
    for executor in (one, two):
        seconds(12, executor)  # until every worker runs and has read the digits
    ratios = [seconds(40, one) / seconds(40, two) for _ in range(ROUNDS)]
    print(
        f"two workers against one, {name}: {statistics.median(ratios):.2f} times faster "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> None:
    """Print the figures."""
    linear()
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as one, ProcessPoolExecutor(2, spawn) as two:
        speed_up("process pool", one, two)
    from distributed import Client, LocalCluster

    clusters = [
        LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0", silence_logs=40)
        for n in (1, 2)
    ]
    clients = [Client(cluster) for cluster in clusters]
    speed_up("Dask cluster", *[client.get_executor() for client in clients])
    for opened in (*clients, *clusters):
        opened.close()


if __name__ == "__main__":
    main()
