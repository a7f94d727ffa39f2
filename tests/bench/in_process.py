"""The same searches without a server: `python in_process.py DATA_DIR QUERIES.npy EF THREADS SECONDS`.

Opens the directory a stopped server left, through the Python package, and prints the queries a second of
one call that takes all queries: the engine's own speed, with next to nothing of Python in it. For one
thread also of a loop with one query a call. Run it under the cores that the server had.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

import nearfield


def rate(search: Callable[[], int], seconds: float) -> float:
    """Queries a second of repeated passes; the first pass warms and is not counted."""
    search()
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        count += search()
    return count / (time.perf_counter() - begun)


def main() -> None:
    directory, file, ef, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    queries = np.load(file)
    with nearfield.open(directory) as db:
        points = db.collection("bench")

        def together() -> int:
            points.search(queries, k=10, ef=ef, threads=threads)
            return len(queries)

        def singly() -> int:
            for query in queries:
                points.search(query, k=10, ef=ef, threads=1)
            return len(queries)

        figures = {"together": rate(together, seconds)}
        if threads == 1:
            figures["singly"] = rate(singly, seconds)
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
